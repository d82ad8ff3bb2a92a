#include "tools/tune/broker_flags.h"

#include <algorithm>
#include <bit>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tools/tune/rule.h"

namespace ringtail::tune {
namespace {

constexpr int64_t kMiB = 1 << 20;
// Defaults of proto/config.proto.
constexpr int64_t kCoreBytesMax = 256 * kMiB;
constexpr int64_t kGroupBytesMax = 256 * kMiB;
constexpr int64_t kConnectionBytesMax = 100 * kMiB;
constexpr int64_t kBufferBytesKept = 32 * kMiB;

struct Placement {
  CpuList cpus;
  std::string why;
};

// The node of the disk, or of the card where the disk's is unknown; -1 where neither says.
int NodeOfDevices(const Machine& machine) {
  for (const Disk& disk : machine.storage.disks) {
    if (disk.node >= 0) return disk.node;
  }
  for (const Nic& nic : machine.nics) {
    if (nic.node >= 0) return nic.node;
  }
  return -1;
}

// The first hardware thread of each core.
CpuList OnePerCore(const CpuFacts& cpu, const CpuList& cpus) {
  CpuList chosen;
  std::set<int> taken;
  for (const int number : cpus) {
    if (taken.contains(number)) continue;
    chosen.push_back(number);
    const auto siblings = cpu.siblings.find(number);
    if (siblings == cpu.siblings.end()) continue;
    taken.insert(siblings->second.begin(), siblings->second.end());
  }
  return chosen;
}

void NearTheDevices(const Machine& machine, Placement* placement) {
  const int node = NodeOfDevices(machine);
  if (machine.cpu.nodes.size() < 2 || node < 0) return;
  for (const NumaNode& each : machine.cpu.nodes) {
    const CpuList near = Intersect(placement->cpus, each.cpus);
    if (each.id != node || near.empty()) continue;
    placement->cpus = near;
    absl::StrAppend(&placement->why, "; node ", node, ", where the disk or the network card is");
  }
}

Placement PlaceCores(const Machine& machine, Profile profile) {
  const CpuFacts& cpu = machine.cpu;
  Placement placement{.cpus = cpu.allowed.value.value_or(CpuList())};
  if (cpu.online.value) {
    placement.cpus =
        placement.cpus.empty() ? *cpu.online.value : Intersect(placement.cpus, *cpu.online.value);
  }
  const CpuList isolated = Intersect(placement.cpus, cpu.isolated.value.value_or(CpuList()));
  if (!isolated.empty() && profile == Profile::kLatency) {
    return {isolated, "the CPUs that are isolated from everything else"};
  }
  if (profile == Profile::kThroughput) return {placement.cpus, "all that it may use"};
  const size_t before = placement.cpus.size();
  placement.cpus = OnePerCore(cpu, placement.cpus);
  placement.why =
      placement.cpus.size() < before ? "one hardware thread of each core" : "all that it may use";
  if (profile != Profile::kLatency) return placement;
  NearTheDevices(machine, &placement);
  constexpr size_t kManyCores = 4;
  if (placement.cpus.size() >= kManyCores) {
    absl::StrAppend(&placement.why, "; CPU ", placement.cpus.front(),
                    " is left to interrupts and to others");
    placement.cpus.erase(placement.cpus.begin());
  }
  return placement;
}

// A list as --cores takes it, which tells a list from a number by a comma or a dash.
std::string CoresList(const CpuList& cpus) {
  return cpus.size() == 1 ? absl::StrCat(cpus[0], "-", cpus[0]) : FormatCpuList(cpus);
}

// Returns how many cores that makes.
int ProposeCores(const Machine& machine, Profile profile, std::vector<BrokerFlag>* flags) {
  const Placement placement = PlaceCores(machine, profile);
  int cores = std::max(static_cast<int>(placement.cpus.size()), 1);
  const std::optional<double>& quota = machine.cgroup.cpus.value;
  if (quota && *quota < cores) {
    cores = std::max(static_cast<int>(*quota), 1);
    flags->push_back(
        {absl::StrCat("--cores=", cores),
         absl::StrCat("what a quota of ", *quota, " CPUs can keep busy without being stopped (",
                      machine.cgroup.cpus.source, ")")});
    flags->push_back({"--nopin_cores",
                      "a quota names no CPUs: other containers may be pinned to the same ones"});
    flags->push_back({"--busy_poll_us=0", "looking for work would use the quota up"});
    return cores;
  }
  constexpr int kLaptopCores = 2;
  if (profile == Profile::kLaptop) {
    cores = std::min(cores, kLaptopCores);
    flags->push_back({absl::StrCat("--cores=", cores), "enough to develop with"});
    flags->push_back({"--nopin_cores", "leaves placement to the scheduler, which saves power"});
    flags->push_back({"--busy_poll_us=0", "an idle machine sleeps at once"});
    return cores;
  }
  const CpuList& allowed = machine.cpu.allowed.value ? *machine.cpu.allowed.value : placement.cpus;
  if (placement.cpus != allowed && !placement.cpus.empty()) {
    flags->push_back({absl::StrCat("--cores=", CoresList(placement.cpus)), placement.why});
  }
  if (profile == Profile::kLatency) {
    flags->push_back({"--busy_poll_us=100",
                      "looks longer before it sleeps; adapts down where that finds nothing "
                      "(perf/README.md: without any, p50 is 13 % higher)"});
  }
  return cores;
}

int64_t PowerOfTwo(int64_t bytes) {
  return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(bytes, 1))));
}

// Half of the memory stays page cache: a quarter for requests, an eighth for groups, the rest for
// what has no flag.
void ProposeMemory(const Machine& machine, int cores, std::vector<BrokerFlag>* flags) {
  int64_t memory = machine.memory_bytes.value.value_or(0);
  std::string source = machine.memory_bytes.source;
  if (machine.cgroup.memory_max.value &&
      (memory == 0 || *machine.cgroup.memory_max.value < memory)) {
    memory = *machine.cgroup.memory_max.value;
    source = machine.cgroup.memory_max.source;
  }
  if (memory == 0) return;
  const std::string of = absl::StrCat(" of ", SizeText(memory), " (", source, ")");
  constexpr int64_t kLeast = 16 * kMiB;
  const auto mib = [](const char* name, int64_t bytes) {
    return absl::StrCat("--", name, "=", bytes / kMiB, "MiB");
  };
  const int64_t requests = std::max(PowerOfTwo(memory / 4 / cores), kLeast);
  if (requests < kCoreBytesMax) {
    flags->push_back({mib("core_bytes_max", requests),
                      absl::StrCat("requests of ", cores, " cores: a quarter", of)});
    if (requests < kConnectionBytesMax) {
      flags->push_back({mib("connection_bytes_max", requests / 2), "half of a core's"});
    }
    if (requests / 8 < kBufferBytesKept) {
      flags->push_back(
          {mib("buffer_bytes_kept", std::max(requests / 8, kMiB)), "an eighth of a core's"});
    }
  }
  const int64_t groups = std::max(PowerOfTwo(memory / 8 / cores), kLeast);
  if (groups < kGroupBytesMax) {
    flags->push_back({mib("group_bytes_max", groups),
                      absl::StrCat("consumer groups of ", cores, " cores: an eighth", of)});
  }
}

std::string Quoted(const std::string& text) {
  const bool plain = text.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                         "_-./=,:@+%") == std::string::npos;
  return plain ? text : absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

}  // namespace

CpuList CoreCpus(const Machine& machine, Profile profile) {
  return PlaceCores(machine, profile).cpus;
}

std::vector<BrokerFlag> ProposeFlags(const Machine& machine, Profile profile) {
  std::vector<BrokerFlag> flags;
  const int cores = ProposeCores(machine, profile, &flags);
  ProposeMemory(machine, cores, &flags);
  if (InContainer(machine)) {
    flags.push_back(
        {"--advertise=broker",
         "where only one mapped port is reachable; leave it out with the host's network"});
  }
  return flags;
}

std::string BrokerCommand(const Machine& machine, const std::vector<BrokerFlag>& flags) {
  std::string command =
      absl::StrCat("ringtaild ", Quoted(absl::StrCat("--data_dir=", machine.storage.directory)));
  for (const BrokerFlag& flag : flags) absl::StrAppend(&command, " ", Quoted(flag.flag));
  return command;
}

}  // namespace ringtail::tune
