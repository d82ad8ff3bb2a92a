#include "tools/tune/rule.h"

#include <fnmatch.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "tools/tune/rules.h"

namespace ringtail::tune {
namespace {

// Everything that a rule here sets, and what the kernel changes with it. No more: --revert runs as
// root on what a file says, so the file must not be able to name anything else.
constexpr const char* kChangeable[] = {
    "/proc/sys/kernel/numa_balancing",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/net/ipv4/tcp_max_syn_backlog",
    "/proc/sys/net/ipv4/tcp_rmem",
    "/proc/sys/net/ipv4/tcp_slow_start_after_idle",
    "/proc/sys/net/ipv4/tcp_wmem",
    "/proc/sys/vm/dirty_background_bytes",
    "/proc/sys/vm/dirty_background_ratio",
    "/proc/sys/vm/dirty_bytes",
    "/proc/sys/vm/dirty_ratio",
    "/proc/sys/vm/max_map_count",
    "/proc/sys/vm/swappiness",
    "/proc/sys/vm/zone_reclaim_mode",
    "/sys/block/*/queue/iosched/*",
    "/sys/block/*/queue/nr_requests",
    "/sys/block/*/queue/read_ahead_kb",
    "/sys/block/*/queue/scheduler",
    "/sys/block/*/queue/wbt_lat_usec",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/energy_performance_preference",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor",
    "/sys/devices/system/cpu/cpu[0-9]*/cpuidle/state[0-9]*/disable",
    "/sys/kernel/mm/transparent_hugepage/defrag",
    "/sys/kernel/mm/transparent_hugepage/enabled",
};

}  // namespace

absl::string_view ProfileName(Profile profile) {
  switch (profile) {
    case Profile::kLatency:
      return "latency";
    case Profile::kThroughput:
      return "throughput";
    case Profile::kBalanced:
      return "balanced";
    case Profile::kLaptop:
      return "laptop";
  }
  return "";
}

absl::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kFine:
      return "fine";
    case Verdict::kInfo:
      return "info";
    case Verdict::kUnknown:
      return "unknown";
    case Verdict::kAdvice:
      return "advice";
    case Verdict::kWarning:
      return "warning";
  }
  return "";
}

bool IsChangeable(const std::string& path) {
  if (absl::StrContains(path, "/../") || absl::StrContains(path, "/./")) return false;
  return std::any_of(std::begin(kChangeable), std::end(kChangeable), [&path](const char* pattern) {
    return fnmatch(pattern, path.c_str(), FNM_PATHNAME | FNM_NOESCAPE | FNM_PERIOD) == 0;
  });
}

Finding AboutSysctl(const Machine& machine, const char* id, const char* title, const char* name) {
  const Fact<std::string>& fact = machine.sysctl(name);
  Finding finding = About(id, title, fact);
  if (fact.value) finding.found = *fact.value;
  return finding;
}

void Because(Finding* finding, const char* why, const char* reference) {
  finding->why = why;
  finding->reference = reference;
}

void Say(Finding* finding, Verdict verdict, std::string note) {
  finding->verdict = verdict;
  finding->note = std::move(note);
}

void SetSysctl(Finding* finding, const std::string& name, const std::string& value,
               const std::string& also) {
  const bool quoted = absl::StrContains(value, " ");
  finding->now.push_back(quoted ? absl::StrCat("sysctl -w ", name, "='", value, "'")
                                : absl::StrCat("sysctl -w ", name, "=", value));
  finding->lasting.push_back(
      absl::StrCat("echo '", name, " = ", value, "' >> /etc/sysctl.d/90-ringtail.conf"));
  finding->changes.push_back({.path = SysctlPath(name), .value = value});
  if (!also.empty()) finding->changes.back().also = {SysctlPath(also)};
}

void SetFile(Finding* finding, const std::string& path, const std::string& value) {
  finding->now.push_back(absl::StrCat("echo ", value, " > ", path));
  finding->lasting.push_back(
      absl::StrCat("echo 'w ", path, " - - - - ", value, "' >> /etc/tmpfiles.d/90-ringtail.conf"));
  finding->changes.push_back({.path = path, .value = value});
}

std::string SizeText(int64_t bytes) {
  const char* units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double size = static_cast<double>(bytes);
  size_t unit = 0;
  for (; size >= 1024 && unit + 1 < std::size(units); ++unit) size /= 1024;
  const bool whole = std::fabs(size - std::round(size)) < 0.05;
  return absl::StrFormat("%.*f %s", whole ? 0 : 1, size, units[unit]);
}

int CoreCount(const Machine& machine) {
  const CpuFacts& cpu = machine.cpu;
  size_t cores = cpu.allowed.value ? cpu.allowed.value->size() : 0;
  if (cores == 0 && cpu.online.value) cores = cpu.online.value->size();
  int count = std::max(static_cast<int>(cores), 1);
  if (machine.cgroup.cpus.value && *machine.cgroup.cpus.value < count) {
    count = std::max(static_cast<int>(*machine.cgroup.cpus.value), 1);
  }
  return count;
}

bool InContainer(const Machine& machine) { return machine.container.value.has_value(); }

std::vector<Finding> Judge(const Machine& machine, Profile profile) {
  Findings findings;
  for (const auto& rules : {CpuRules(), InterruptRules(), StorageRules(), MemoryRules(),
                            LimitRules(), CgroupRules(), NetworkRules(), KernelRules()}) {
    for (const Rule rule : rules) rule(machine, profile, &findings);
  }
  return findings;
}

}  // namespace ringtail::tune
