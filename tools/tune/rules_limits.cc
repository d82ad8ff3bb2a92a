// Limits of the process and of the control group.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "tools/tune/rule.h"

namespace ringtail::tune {
namespace {

constexpr int64_t kKiB = 1024;
constexpr int64_t kMiB = 1024 * kKiB;
constexpr int64_t kWantedDescriptors = 65536;
constexpr const char* kInTheShell = "  # as root, in the shell that starts the broker";
constexpr int64_t kRingBytes = 200 * kKiB;  // of a core's ring, README.md (Containers)

std::string Number(int64_t limit) {
  return limit == kUnlimited ? "unlimited" : absl::StrCat(limit);
}

const char* Whose(const Machine& machine) {
  return machine.subject_is_broker ? "of the running broker"
                                   : "of this shell; a service has its own";
}

// What the broker makes of its descriptors (server/process_options.cc): half for segments' files.
std::string DescriptorShare(const Machine& machine, int64_t descriptors) {
  const int64_t cores = CoreCount(machine);
  const int64_t files = std::min<int64_t>(descriptors / 2 / cores, 2000);
  const int64_t own = std::min<int64_t>(64, descriptors / 4);
  const int64_t connections =
      std::clamp<int64_t>((descriptors - descriptors / 2 - own) / cores, 1, 10'000);
  return absl::StrCat("each of ", cores, " cores keeps ", files, " segment files open and takes ",
                      connections, " connections");
}

void Descriptors(const Machine& machine, Profile profile, Findings* findings) {
  const Fact<Limit>& limit = machine.descriptors;
  Finding finding = About("limits.descriptors", "open files", limit);
  Because(&finding,
          "The broker raises its own limit to the hard one and shares it between connections and "
          "segment files; beyond that partitions take turns and connections are closed.",
          "getrlimit(2) (RLIMIT_NOFILE); systemd.exec(5); limits.conf(5); README.md (Limits and "
          "defaults)");
  if (limit.value) {
    const int64_t hard = limit.value->hard;
    finding.found = absl::StrCat("hard limit ", Number(hard), ", ", Whose(machine));
    finding.note = DescriptorShare(machine, hard);
    constexpr int64_t kFewDescriptors = 4096;
    const bool few = hard < kFewDescriptors;
    if (hard < kWantedDescriptors && (profile != Profile::kLaptop || few)) {
      Say(&finding, few ? Verdict::kWarning : Verdict::kAdvice, finding.note);
      finding.now = {absl::StrCat("ulimit -n ", kWantedDescriptors, kInTheShell)};
      finding.lasting = {absl::StrCat("systemctl edit ringtail.service  # [Service] LimitNOFILE=",
                                      kWantedDescriptors)};
    }
  }
  findings->push_back(std::move(finding));
}

void SystemFiles(const Machine& machine, Profile, Findings* findings) {
  for (const char* name : {"fs.file-max", "fs.nr_open"}) {
    const bool all = std::string(name) == "fs.file-max";
    Finding finding =
        AboutSysctl(machine, all ? "limits.file_max" : "limits.nr_open",
                    all ? "open files of the machine" : "most that a process may be allowed", name);
    Because(&finding, "What a process's own limit cannot go beyond.",
            "Documentation/admin-guide/sysctl/fs.rst (file-max, nr_open)");
    const std::optional<int64_t> value = ParseInt(finding.found);
    if (value && *value < kWantedDescriptors) {
      Say(&finding, Verdict::kAdvice, "less than the broker can use");
      // Not for --apply: lowering it again would hit those who use it by then.
      finding.now = {absl::StrCat("sysctl -w ", name, "=1048576")};
      finding.lasting = {
          absl::StrCat("echo '", name, " = 1048576' >> /etc/sysctl.d/90-ringtail.conf")};
    }
    findings->push_back(std::move(finding));
  }
}

void LockedMemory(const Machine& machine, Profile, Findings* findings) {
  const Fact<Limit>& limit = machine.locked_memory;
  Finding finding = About("limits.memlock", "locked memory", limit);
  Because(&finding,
          "For an ordinary user the memory of the rings counts against it, some 200 KiB a core; "
          "the broker does not start where it is too little.",
          "getrlimit(2) (RLIMIT_MEMLOCK); systemd.exec(5); README.md (Containers)");
  if (limit.value) {
    const int64_t hard = limit.value->hard;
    const int64_t needed = CoreCount(machine) * kRingBytes;
    finding.found = absl::StrCat("hard limit ", hard == kUnlimited ? "unlimited" : SizeText(hard),
                                 ", ", Whose(machine));
    finding.note = absl::StrCat(CoreCount(machine), " cores need ", SizeText(needed));
    // A soft limit below the hard one is not raised by the broker.
    if (limit.value->soft < needed) {
      const bool exempt = machine.may_lock_memory.value.value_or(0) != 0;
      if (exempt) absl::StrAppend(&finding.note, "; root (CAP_IPC_LOCK) is exempt");
      Say(&finding, exempt ? Verdict::kInfo : Verdict::kWarning, finding.note);
      finding.now = {absl::StrCat("ulimit -l 65536", kInTheShell),
                     "docker run --ulimit memlock=67108864:67108864 ..."};
      finding.lasting = {"systemctl edit ringtail.service  # [Service] LimitMEMLOCK=64M"};
    }
  }
  findings->push_back(std::move(finding));
}

// A fact without a value and without a reason is a limit that is not set.
template <typename T>
bool NotSet(const Fact<T>& fact) {
  return !fact.value && fact.unknown.empty();
}

template <typename T>
Finding AboutLimit(const char* id, const char* title, const Fact<T>& fact) {
  Finding finding = About(id, title, fact);
  if (NotSet(fact)) {
    Say(&finding, Verdict::kFine, "");
    finding.found = "no limit";
  }
  return finding;
}

void CpuTime(const Machine& machine, Profile profile, Findings* findings) {
  const CgroupFacts& cgroup = machine.cgroup;
  Finding finding = AboutLimit("cgroup.cpu", "CPU time", cgroup.cpus);
  Because(&finding,
          "A quota that is used up stops all threads until the next period, 100 ms unless said: "
          "core threads with all their partitions. CPUs of their own (a cpuset) never stop them.",
          "Documentation/scheduler/sched-bwc.rst; Documentation/admin-guide/cgroup-v2.rst "
          "(cpu.max); systemd.resource-control(5)");
  if (cgroup.cpus.value) {
    finding.found = absl::StrFormat("%.2f CPUs", *cgroup.cpus.value);
    const int64_t throttled = cgroup.throttled.value.value_or(0);
    finding.note = cgroup.throttled.value ? absl::StrCat("stopped ", throttled, " times so far (",
                                                         cgroup.throttled.source, ")")
                                          : "how often it stopped cannot be read";
    if (throttled > 0 || profile == Profile::kLatency) {
      Say(&finding, Verdict::kWarning, finding.note);
    } else if (profile != Profile::kLaptop) {
      Say(&finding, Verdict::kAdvice, finding.note);
    }
    if (finding.verdict != Verdict::kFine) {
      const int cores = std::max(static_cast<int>(*cgroup.cpus.value), 1);
      const std::string cpus = cores == 1 ? "0" : absl::StrCat("0-", cores - 1);
      finding.now = {absl::StrCat("docker update --cpu-quota=-1 --cpuset-cpus=", cpus,
                                  " CONTAINER  # or others")};
      finding.lasting = {absl::StrCat("systemctl set-property UNIT CPUQuota= AllowedCPUs=", cpus,
                                      "  # or others")};
    }
  }
  findings->push_back(std::move(finding));
}

void CpuSet(const Machine& machine, Profile, Findings* findings) {
  const Fact<std::string>& cpuset = machine.cgroup.cpuset;
  Finding finding = About("cgroup.cpuset", "CPUs of the group", cpuset);
  Because(&finding, "The broker has a core on each of them, and takes no other.",
          "cpuset(7); Documentation/admin-guide/cgroup-v2.rst (cpuset.cpus.effective)");
  if (cpuset.value) finding.found = cpuset.value->empty() ? "not set" : *cpuset.value;
  findings->push_back(std::move(finding));
}

void Memory(const Machine& machine, Profile, Findings* findings) {
  const CgroupFacts& cgroup = machine.cgroup;
  Finding finding = AboutLimit("cgroup.memory", "memory", cgroup.memory_max);
  Because(&finding,
          "The page cache of the segments counts as well: it is dropped when the limit comes near, "
          "what the broker holds itself is not, and then the process is killed.",
          "Documentation/admin-guide/cgroup-v2.rst (memory.max); "
          "Documentation/admin-guide/cgroup-v1/memory.rst");
  if (cgroup.memory_max.value) {
    const int64_t bytes = *cgroup.memory_max.value;
    finding.found = SizeText(bytes);
    if (machine.memory_bytes.value) {
      absl::StrAppend(&finding.found, " of ", SizeText(*machine.memory_bytes.value));
    }
    finding.note = "the flags below keep within it";
    constexpr int64_t kLeastPerCore = 256 * kMiB;
    if (bytes < CoreCount(machine) * kLeastPerCore) {
      Say(&finding, Verdict::kAdvice,
          absl::StrCat("little for ", CoreCount(machine),
                       " cores: give it more, or fewer cores (--cores)"));
      const int64_t mib = CoreCount(machine) * kLeastPerCore / kMiB;
      finding.now = {absl::StrCat("docker update --memory=", mib, "m CONTAINER")};
      finding.lasting = {absl::StrCat("systemctl set-property UNIT MemoryMax=", mib, "M")};
    }
  }
  findings->push_back(std::move(finding));
}

void MemoryHigh(const Machine& machine, Profile profile, Findings* findings) {
  const Fact<int64_t>& high = machine.cgroup.memory_high;
  Finding finding = AboutLimit("cgroup.memory_high", "memory before throttling", high);
  Because(&finding,
          "A log fills any limit with page cache. Above this one every thread that takes memory "
          "first frees some, core threads too, and is made to sleep.",
          "Documentation/admin-guide/cgroup-v2.rst (memory.high)");
  if (machine.cgroup.version == 1 && finding.verdict == Verdict::kUnknown) {
    finding.found = finding.note;
    Say(&finding, Verdict::kInfo, "");
  }
  if (high.value) {
    finding.found = SizeText(*high.value);
    if (profile != Profile::kLaptop) {
      Say(&finding, Verdict::kAdvice, "leave the limit to memory.max");
      finding.lasting = {"systemctl set-property UNIT MemoryHigh=infinity"};
    }
  }
  findings->push_back(std::move(finding));
}

void Io(const Machine& machine, Profile profile, Findings* findings) {
  const Fact<std::string>& io = machine.cgroup.io_max;
  Finding finding = AboutLimit("cgroup.io", "disk", io);
  Because(&finding,
          "A limit of requests or bytes holds journal writes back, and an append is acknowledged "
          "when its journal write is done.",
          "Documentation/admin-guide/cgroup-v2.rst (io.max); "
          "Documentation/admin-guide/cgroup-v1/blkio-controller.rst");
  if (io.value) {
    finding.found = *io.value;
    Say(&finding, profile == Profile::kLatency ? Verdict::kAdvice : Verdict::kInfo,
        "appends wait once it is reached");
    if (profile == Profile::kLatency) {
      finding.lasting = {
          "systemctl set-property UNIT IOReadBandwidthMax= IOWriteBandwidthMax= "
          "IOReadIOPSMax= IOWriteIOPSMax="};
    }
  }
  findings->push_back(std::move(finding));
}

}  // namespace

std::vector<Rule> LimitRules() { return {&Descriptors, &SystemFiles, &LockedMemory}; }

std::vector<Rule> CgroupRules() { return {&CpuTime, &CpuSet, &Memory, &MemoryHigh, &Io}; }

}  // namespace ringtail::tune
