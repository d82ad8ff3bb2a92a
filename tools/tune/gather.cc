#include "tools/tune/gather.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace ringtail::tune {
namespace {

constexpr const char* kSysctls[] = {
    "fs.file-max",
    "fs.nr_open",
    "kernel.io_uring_disabled",
    "kernel.io_uring_group",
    "kernel.numa_balancing",
    "kernel.sched_autogroup_enabled",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
    "vm.dirty_background_bytes",
    "vm.dirty_background_ratio",
    "vm.dirty_bytes",
    "vm.dirty_expire_centisecs",
    "vm.dirty_ratio",
    "vm.dirty_writeback_centisecs",
    "vm.max_map_count",
    "vm.swappiness",
    "vm.zone_reclaim_mode",
};

bool IsNumber(const std::string& name) {
  return !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
}

// The broker writes its process into the lock file of its directory, and leaves it there.
void FindSubject(const Tree& tree, const std::string& directory, Machine* machine) {
  const absl::StatusOr<std::string> pid = tree.ReadValue(absl::StrCat(directory, "/.lock"));
  if (!pid.ok() || !IsNumber(*pid)) return;
  const std::string process = absl::StrCat("/proc/", *pid);
  const absl::StatusOr<std::string> name = tree.ReadValue(absl::StrCat(process, "/comm"));
  if (!name.ok() || *name != "ringtaild") return;
  machine->subject = process;
  machine->subject_is_broker = true;
}

Fact<Limit> LimitOf(const Fact<std::string>& limits, absl::string_view name) {
  Fact<Limit> fact{.source = limits.source, .unknown = limits.unknown};
  if (!limits.value) return fact;
  fact.value = ParseLimit(*limits.value, name);
  if (!fact.value) fact.unknown = absl::StrCat("no line \"", name, "\" with two numbers");
  return fact;
}

Fact<std::string> ReadWhole(const Tree& tree, const std::string& path) {
  Fact<std::string> fact{.source = path};
  absl::StatusOr<std::string> text = tree.Read(path);
  if (text.ok()) {
    fact.value = *std::move(text);
  } else {
    fact.unknown = std::string(text.status().message());
  }
  return fact;
}

void GatherProcess(const Tree& tree, Machine* machine) {
  const Fact<std::string> limits = ReadWhole(tree, absl::StrCat(machine->subject, "/limits"));
  machine->descriptors = LimitOf(limits, "Max open files");
  machine->locked_memory = LimitOf(limits, "Max locked memory");
  const Fact<std::string> status = ReadWhole(tree, absl::StrCat(machine->subject, "/status"));
  const std::string text = status.value.value_or("");
  const auto missing = [&status](const char* field) {
    return status.value ? absl::StrCat("no line \"", field, "\"") : status.unknown;
  };

  machine->cpu.allowed.source = status.source;
  const std::optional<std::string> cpus = ParseField(text, "Cpus_allowed_list");
  if (cpus) machine->cpu.allowed.value = ParseCpuList(*cpus);
  if (!machine->cpu.allowed.value) machine->cpu.allowed.unknown = missing("Cpus_allowed_list");

  machine->may_lock_memory.source = status.source;
  constexpr int kCapIpcLock = 14;  // linux/capability.h
  uint64_t capabilities = 0;
  const std::optional<std::string> effective = ParseField(text, "CapEff");
  if (effective && absl::SimpleHexAtoi(*effective, &capabilities)) {
    machine->may_lock_memory.value = capabilities >> kCapIpcLock & 1;
  } else {
    machine->may_lock_memory.unknown = missing("CapEff");
  }

  machine->seccomp.source = status.source;
  const std::optional<std::string> seccomp = ParseField(text, "Seccomp");
  if (seccomp) machine->seccomp.value = ParseInt(*seccomp);
  if (!machine->seccomp.value) machine->seccomp.unknown = missing("Seccomp");
}

void GatherMemory(const Tree& tree, Machine* machine) {
  const Fact<std::string> info = ReadWhole(tree, "/proc/meminfo");
  machine->memory_bytes.source = info.source;
  const std::optional<std::string> total = ParseField(info.value.value_or(""), "MemTotal");
  const std::vector<std::string> words = absl::StrSplit(total.value_or(""), ' ');
  const std::optional<int64_t> kib = ParseInt(words[0]);
  if (kib && *kib > 0 && *kib < INT64_MAX / 1024) {
    machine->memory_bytes.value = *kib * 1024;
  } else {
    machine->memory_bytes.unknown = info.value ? "no line \"MemTotal\"" : info.unknown;
  }

  const Fact<std::string> swaps = ReadWhole(tree, "/proc/swaps");
  machine->swaps = {.source = swaps.source, .unknown = swaps.unknown};
  if (swaps.value) {
    machine->swaps.value.emplace();
    const std::vector<std::string> lines = absl::StrSplit(*swaps.value, '\n', absl::SkipEmpty());
    for (size_t i = 1; i < lines.size(); ++i) {  // the first is a heading
      const std::vector<std::string> fields = absl::StrSplit(Squeeze(lines[i]), ' ');
      machine->swaps.value->push_back(fields[0]);
    }
  }
  machine->huge_pages = ReadText(tree, "/sys/kernel/mm/transparent_hugepage/enabled");
  machine->huge_pages_defrag = ReadText(tree, "/sys/kernel/mm/transparent_hugepage/defrag");
}

// An entry count that no ring can have and no memory to write to: EINVAL or EFAULT from a kernel
// that would set one up, EPERM or ENOSYS where it is refused.
Fact<std::string> ProbeUring(const Tree& tree) {
  Fact<std::string> fact{.source = "io_uring_setup(2)"};
  if (!tree.is_this_machine()) {
    fact.unknown = "another machine's files do not tell";
    return fact;
  }
  const long result = syscall(SYS_io_uring_setup, 0, nullptr);
  if (result >= 0) close(static_cast<int>(result));
  fact.value = result >= 0 || errno == EINVAL || errno == EFAULT ? "allowed" : strerror(errno);
  return fact;
}

Fact<std::string> FindVirtualisation(const Tree& tree) {
  const Fact<std::string> info = ReadWhole(tree, "/proc/cpuinfo");
  Fact<std::string> fact{.source = info.source, .unknown = info.unknown};
  if (!info.value) return fact;
  const size_t flags = info.value->find("flags\t");
  if (flags == std::string::npos) {
    fact.unknown = "no line \"flags\"";
    return fact;
  }
  const absl::string_view line =
      absl::string_view(*info.value).substr(flags, info.value->find('\n', flags) - flags);
  fact.value = absl::StrContains(absl::StrCat(line, " "), " hypervisor ")
                   ? "a virtual machine (the CPU has the flag hypervisor)"
                   : "none (the CPU has no flag hypervisor)";
  for (const char* path : {"/sys/hypervisor/type", "/sys/class/dmi/id/product_name"}) {
    const Fact<std::string> name = ReadText(tree, path);
    if (name.value && !name.value->empty()) absl::StrAppend(&*fact.value, ", ", *name.value);
  }
  return fact;
}

void FindContainer(const Tree& tree, Machine* machine) {
  // kthreadd is the second process of every Linux, and of the first PID namespace alone.
  machine->sees_all_processes = tree.ReadValue("/proc/2/comm").value_or("") == "kthreadd";
  machine->container.source = "/run/.containerenv, /.dockerenv, /run/systemd/container";
  if (machine->sees_all_processes) return;
  for (const char* path : {"/run/.containerenv", "/.dockerenv"}) {
    if (tree.Exists(path)) machine->container = {.value = path, .source = path};
  }
  const Fact<std::string> named = ReadText(tree, "/run/systemd/container");
  if (named.value && !named.value->empty()) machine->container = named;
}

void FindIrqbalance(const Tree& tree, Machine* machine) {
  machine->irqbalance_pid.source = "/proc/*/comm";
  for (const std::string& name : tree.List("/proc")) {
    if (!IsNumber(name)) continue;
    const std::string file = absl::StrCat("/proc/", name, "/comm");
    if (tree.ReadValue(file).value_or("") != "irqbalance") continue;
    machine->irqbalance_pid = {.value = ParseInt(name), .source = file};
    return;
  }
  if (!machine->sees_all_processes) {
    machine->irqbalance_pid.unknown = "the processes of the machine are not all seen from here";
  }
}

void GatherKernel(const Tree& tree, Machine* machine) {
  for (const char* name : kSysctls) machine->sysctls[name] = ReadText(tree, SysctlPath(name));
  const Fact<std::string> release = ReadText(tree, "/proc/sys/kernel/osrelease");
  machine->kernel = {.source = release.source, .unknown = release.unknown};
  machine->kernel_release = release.value.value_or("");
  if (release.value) machine->kernel.value = ParseKernelVersion(*release.value);
  if (release.value && !machine->kernel.value) machine->kernel.unknown = "no version in it";
  machine->uring = ProbeUring(tree);
  machine->virtualisation = FindVirtualisation(tree);
  FindContainer(tree, machine);
  FindIrqbalance(tree, machine);
  machine->boot = ReadText(tree, "/proc/sys/kernel/random/boot_id");
  const std::string vulnerabilities = "/sys/devices/system/cpu/vulnerabilities";
  for (const std::string& name : tree.List(vulnerabilities)) {
    const Fact<std::string> state = ReadText(tree, absl::StrCat(vulnerabilities, "/", name));
    if (state.value) machine->vulnerabilities[name] = *state.value;
  }
}

}  // namespace

std::string SysctlPath(const std::string& name) {
  return absl::StrCat("/proc/sys/", absl::StrReplaceAll(name, {{".", "/"}}));
}

Fact<std::string> ReadText(const Tree& tree, const std::string& path) {
  Fact<std::string> fact{.source = path};
  absl::StatusOr<std::string> value = tree.ReadValue(path);
  if (value.ok()) {
    fact.value = *std::move(value);
  } else {
    fact.unknown = std::string(value.status().message());
  }
  return fact;
}

Fact<int64_t> ReadInt(const Tree& tree, const std::string& path) {
  const Fact<std::string> text = ReadText(tree, path);
  Fact<int64_t> fact{.source = path, .unknown = text.unknown};
  if (!text.value) return fact;
  fact.value = ParseInt(*text.value);
  if (!fact.value) fact.unknown = absl::StrCat("no number: \"", text.value->substr(0, 40), "\"");
  return fact;
}

Fact<CpuList> ReadCpus(const Tree& tree, const std::string& path) {
  const Fact<std::string> text = ReadText(tree, path);
  Fact<CpuList> fact{.source = path, .unknown = text.unknown};
  if (!text.value) return fact;
  fact.value = ParseCpuList(*text.value);
  if (!fact.value) fact.unknown = absl::StrCat("no CPUs: \"", text.value->substr(0, 40), "\"");
  return fact;
}

Machine Gather(const Tree& tree, const std::string& directory) {
  Machine machine;
  FindSubject(tree, directory, &machine);
  GatherProcess(tree, &machine);
  GatherCpu(tree, &machine);
  GatherStorage(tree, directory, &machine);
  GatherMemory(tree, &machine);
  GatherCgroup(tree, &machine);
  GatherNetwork(tree, &machine);
  GatherKernel(tree, &machine);
  return machine;
}

}  // namespace ringtail::tune
