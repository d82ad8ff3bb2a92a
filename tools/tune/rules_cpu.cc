// Cores, power management, clock; and what is only to know: virtualisation and mitigations.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tools/tune/rule.h"

namespace ringtail::tune {
namespace {

// What a core looks for work before it sleeps (--busy_poll_us): leaving an idle state that takes
// longer than that is what a record would notice.
constexpr int64_t kExitLatencyMaxUs = 20;

void Cores(const Machine& machine, Profile, Findings* findings) {
  const CpuFacts& cpu = machine.cpu;
  Finding finding = About("cpu.cores", "CPUs", cpu.online);
  Because(&finding,
          "One core thread runs on each CPU that the broker may use, pinned; another number of "
          "cores serves the same data.",
          "Documentation/ABI/testing/sysfs-devices-system-cpu; cpuset(7)");
  if (cpu.online.value) {
    finding.found =
        absl::StrCat(cpu.online.value->size(), " online (", FormatCpuList(*cpu.online.value), ")");
    if (cpu.allowed.value) {
      absl::StrAppend(&finding.found, "; may use ", FormatCpuList(*cpu.allowed.value), " (",
                      cpu.allowed.source, ")");
    }
    if (cpu.isolated.value && !cpu.isolated.value->empty()) {
      absl::StrAppend(&finding.found, "; isolated ", FormatCpuList(*cpu.isolated.value));
      finding.note =
          "the broker pins itself to isolated CPUs where --cores names them and it may use them: "
          "start it with `taskset -c` or CPUAffinity=";
    }
    if (cpu.present.value && *cpu.present.value != *cpu.online.value) {
      Say(&finding, Verdict::kInfo,
          absl::StrCat("present are ", FormatCpuList(*cpu.present.value), ": some are offline"));
    }
  }
  findings->push_back(std::move(finding));
}

void Smt(const Machine& machine, Profile profile, Findings* findings) {
  const Fact<int64_t>& active = machine.cpu.smt_active;
  Finding finding = About("cpu.smt", "hardware threads", active);
  Because(&finding,
          "Two threads of a core share its execution units and caches: more bytes in all, but one "
          "waits for the other.",
          "Documentation/ABI/testing/sysfs-devices-system-cpu (smt/active)");
  if (active.value) {
    finding.found = *active.value != 0 ? "several a core" : "one a core";
    if (*active.value != 0) {
      if (profile == Profile::kThroughput) finding.note = "all are used: see the flags below";
      if (profile == Profile::kLatency || profile == Profile::kBalanced) {
        finding.note = "one of each core is used: see the flags below";
      }
    }
  }
  findings->push_back(std::move(finding));
}

void Numa(const Machine& machine, Profile, Findings* findings) {
  const std::vector<NumaNode>& nodes = machine.cpu.nodes;
  Finding finding{
      .id = "cpu.numa", .title = "NUMA nodes", .source = "/sys/devices/system/node/nodeN/cpulist"};
  Because(&finding,
          "A core's memory is taken on the node where the core first touches it, so pinned cores "
          "have theirs near; a disk or a network card of another node is farther for all of it.",
          "numa(7); Documentation/ABI/stable/sysfs-devices-node");
  if (nodes.empty()) {
    Say(&finding, Verdict::kUnknown, "no node with CPUs is shown");
  } else {
    std::vector<std::string> parts;
    for (const NumaNode& node : nodes) {
      parts.push_back(absl::StrCat("node ", node.id, ": ", FormatCpuList(node.cpus)));
    }
    for (const Disk& disk : machine.storage.disks) {
      if (disk.node >= 0) parts.push_back(absl::StrCat(disk.name, " at node ", disk.node));
    }
    for (const Nic& nic : machine.nics) {
      if (nic.node >= 0) parts.push_back(absl::StrCat(nic.name, " at node ", nic.node));
    }
    finding.found = absl::StrJoin(parts, "; ");
  }
  findings->push_back(std::move(finding));
}

void NumaBalancing(const Machine& machine, Profile profile, Findings* findings) {
  Finding finding =
      AboutSysctl(machine, "cpu.numa_balancing", "NUMA balancing", "kernel.numa_balancing");
  Because(&finding,
          "The kernel unmaps memory from time to time to see by the faults who uses it. Pinned "
          "cores have theirs near already and only pay for the faults.",
          "Documentation/admin-guide/sysctl/kernel.rst (numa_balancing)");
  if (machine.sysctl("kernel.numa_balancing").value && finding.found != "0") {
    if (machine.cpu.nodes.size() < 2) {
      finding.note = "one node: nothing is balanced";
    } else if (profile == Profile::kLaptop) {
      finding.note = "costs little without load";
    } else {
      Say(&finding, Verdict::kAdvice, "off, where the broker is what the machine is for");
      SetSysctl(&finding, "kernel.numa_balancing", "0");
    }
  }
  findings->push_back(std::move(finding));
}

// "powersave" of a driver that picks frequencies by itself does not mean the lowest one.
bool PicksByItself(const std::string& driver) {
  return driver == "intel_pstate" || driver == "amd-pstate-epp";
}

std::string WantedGovernor(const CpuFacts& cpu, Profile profile, const std::string& governor) {
  const auto available = [&cpu](const char* name) {
    const auto& all = cpu.governors_available;
    return std::find(all.begin(), all.end(), name) != all.end();
  };
  if (profile == Profile::kLatency || profile == Profile::kThroughput) {
    return governor != "performance" && available("performance") ? "performance" : governor;
  }
  const bool lowest = governor == "powersave" && !PicksByItself(cpu.governor_driver);
  return lowest && available("schedutil") ? "schedutil" : governor;
}

// Commands for `cpus`, or for every CPU where these are all of them.
void SetGovernor(const CpuList& cpus, bool all, const std::string& wanted, Finding* finding) {
  const std::string file = "/cpufreq/scaling_governor";
  if (all) {
    const std::string files = absl::StrCat("/sys/devices/system/cpu/cpu*", file);
    finding->now = {absl::StrCat("echo ", wanted, " | tee ", files)};
    finding->lasting = {absl::StrCat("echo 'w ", files, " - - - - ", wanted,
                                     "' >> /etc/tmpfiles.d/90-ringtail.conf")};
    return;
  }
  const std::string each = absl::StrCat("for n in ", absl::StrJoin(cpus, " "), "; do echo ");
  finding->now.push_back(
      absl::StrCat(each, wanted, " > /sys/devices/system/cpu/cpu$n", file, "; done"));
  finding->lasting.push_back(absl::StrCat(each, "\"w /sys/devices/system/cpu/cpu$n", file,
                                          " - - - - ", wanted,
                                          "\"; done >> /etc/tmpfiles.d/90-ringtail.conf"));
}

void Governor(const Machine& machine, Profile profile, Findings* findings) {
  const CpuFacts& cpu = machine.cpu;
  Finding finding{
      .id = "cpu.governor", .title = "frequency governor", .source = cpu.governor.source};
  Because(&finding,
          "A core that mostly waits for the network looks idle to a governor, which lowers its "
          "frequency; the next record then meets a slow core.",
          "Documentation/admin-guide/pm/cpufreq.rst, intel_pstate.rst, amd-pstate.rst");
  if (cpu.governor.cpus_by_value.empty()) {
    Say(&finding, Verdict::kUnknown,
        absl::StrCat(cpu.governor.unknown,
                     "; in a virtual machine the frequency is the host's affair"));
  }
  std::vector<std::string> parts;
  for (const auto& [governor, cpus] : cpu.governor.cpus_by_value) {
    parts.push_back(absl::StrCat(governor, " on ", FormatCpuList(cpus)));
    const std::string wanted = WantedGovernor(cpu, profile, governor);
    if (wanted == governor) continue;
    Say(&finding, Verdict::kAdvice, absl::StrCat(wanted, " for this profile"));
    for (const int number : cpus) {
      const std::string frequency =
          absl::StrCat("/sys/devices/system/cpu/cpu", number, "/cpufreq/");
      finding.changes.push_back(
          {.path = absl::StrCat(frequency, "scaling_governor"),
           .value = wanted,
           .also = {absl::StrCat(frequency, "energy_performance_preference")}});
    }
    SetGovernor(cpus, cpu.governor.cpus_by_value.size() == 1, wanted, &finding);
  }
  finding.found = absl::StrJoin(parts, ", ");
  if (!cpu.governor_driver.empty()) {
    absl::StrAppend(&finding.found, " (driver ", cpu.governor_driver, ")");
  }
  findings->push_back(std::move(finding));
}

std::string IdleText(const CpuFacts& cpu) {
  std::vector<std::string> states;
  for (const IdleState& state : cpu.idle_states) {
    states.push_back(absl::StrCat(state.name, " ", state.exit_latency_us, " us",
                                  state.enabled_on.empty() ? " (off)" : ""));
  }
  return absl::StrCat("driver ", cpu.idle_driver.value.value_or("none"), ": ",
                      absl::StrJoin(states, ", "));
}

void Idle(const Machine& machine, Profile profile, Findings* findings) {
  const CpuFacts& cpu = machine.cpu;
  Finding finding{.id = "cpu.idle",
                  .title = "idle states",
                  .source = "/sys/devices/system/cpu/cpuN/cpuidle/stateM/latency"};
  Because(&finding,
          "A core without work sleeps; the deeper the state, the longer it takes to come back when "
          "a record arrives. The broker looks for work for 20 us before it sleeps "
          "(--busy_poll_us); what takes longer to leave is felt.",
          "Documentation/admin-guide/pm/cpuidle.rst");
  if (cpu.idle_states.empty()) {
    Say(&finding, Verdict::kUnknown,
        absl::StrCat("no states are shown (driver ", cpu.idle_driver.value.value_or("unknown"),
                     ")"));
    findings->push_back(std::move(finding));
    return;
  }
  finding.found = IdleText(cpu);
  // Somebody holds /dev/cpu_dma_latency: states that take longer to leave are not entered.
  const int64_t bound = cpu.dma_latency_us.value.value_or(INT64_MAX);
  for (const IdleState& state : cpu.idle_states) {
    if (state.exit_latency_us <= kExitLatencyMaxUs || state.enabled_on.empty() ||
        state.exit_latency_us > bound) {
      continue;
    }
    if (profile != Profile::kLatency) {
      finding.note = "deep states save power; --profile latency would turn them off";
      break;
    }
    Say(&finding, Verdict::kAdvice, "off what takes over 20 us to leave; it costs power and heat");
    const std::string tail = absl::StrCat("/cpuidle/state", state.index, "/disable");
    const std::string files = absl::StrCat("/sys/devices/system/cpu/cpu*", tail);
    finding.now.push_back(absl::StrCat("echo 1 | tee ", files));
    finding.lasting.push_back(
        absl::StrCat("echo 'w ", files, " - - - - 1' >> /etc/tmpfiles.d/90-ringtail.conf"));
    for (const int number : state.enabled_on) {
      finding.changes.push_back(
          {.path = absl::StrCat("/sys/devices/system/cpu/cpu", number, tail), .value = "1"});
    }
  }
  findings->push_back(std::move(finding));
}

void DmaLatency(const Machine& machine, Profile, Findings* findings) {
  const Fact<int64_t>& bound = machine.cpu.dma_latency_us;
  Finding finding = About("cpu.dma_latency", "latency asked for", bound);
  Because(&finding,
          "A process may keep all CPUs out of deep idle states for as long as it holds this file "
          "open; it is the other way to do what cpu.idle is about.",
          "Documentation/power/pm_qos_interface.rst");
  constexpr int64_t kNobodyAsksUs = 2'000'000'000;  // PM_QOS_CPU_LATENCY_DEFAULT_VALUE
  if (bound.value) {
    finding.found = *bound.value >= kNobodyAsksUs ? "none" : absl::StrCat(*bound.value, " us");
    finding.verdict = Verdict::kInfo;
  }
  findings->push_back(std::move(finding));
}

void Clock(const Machine& machine, Profile, Findings* findings) {
  const Fact<std::string>& clock = machine.cpu.clocksource;
  Finding finding = About("cpu.clocksource", "clock source", clock);
  Because(
      &finding,
      "The broker reads the clock for each request. With some sources that is a read of memory, "
      "with others a system call and an access to a slow device.",
      "vdso(7); Documentation/admin-guide/kernel-parameters.txt (clocksource, tsc)");
  if (clock.value) {
    finding.found = *clock.value;
    const std::vector<std::string>& all = machine.cpu.clocksources_available;
    if (*clock.value == "hpet" || *clock.value == "acpi_pm" || *clock.value == "jiffies" ||
        *clock.value == "refined-jiffies") {
      Say(&finding, Verdict::kWarning,
          "each reading is a system call; the kernel may have found the TSC unstable: `dmesg | "
          "grep -i tsc` says so");
      // Not for a program to do: the kernel may have left the TSC for a reason.
      if (std::find(all.begin(), all.end(), "tsc") != all.end()) {
        finding.now = {absl::StrCat("echo tsc > ", clock.source)};
        finding.lasting = {
            "# clocksource=tsc in GRUB_CMDLINE_LINUX of /etc/default/grub, then: update-grub"};
      }
    }
  }
  findings->push_back(std::move(finding));
}

void Autogroup(const Machine& machine, Profile, Findings* findings) {
  Finding finding = AboutSysctl(machine, "cpu.autogroup", "scheduler's autogroups",
                                "kernel.sched_autogroup_enabled");
  Because(
      &finding,
      "Sessions share the CPU time, not processes: a broker started from a terminal shares with "
      "what else runs in it. A systemd unit is in a group of its own and is not concerned.",
      "sched(7) (The autogroup feature)");
  if (finding.verdict == Verdict::kFine) finding.verdict = Verdict::kInfo;
  findings->push_back(std::move(finding));
}

void Virtualisation(const Machine& machine, Profile, Findings* findings) {
  Finding finding = About("cpu.virtualisation", "virtualisation", machine.virtualisation);
  Because(&finding,
          "In a virtual machine the host decides about frequencies, deep sleep and the disk's "
          "queue, and takes CPU time away (steal in /proc/stat).",
          "Documentation/virt/guest-halt-polling.rst; proc(5) (/proc/stat)");
  if (machine.virtualisation.value) {
    Say(&finding, Verdict::kInfo, "");
    finding.found = *machine.virtualisation.value;
    if (InContainer(machine)) {
      absl::StrAppend(&finding.found, "; a container (", machine.container.source, ")");
      finding.note = "what is below /proc/sys and /sys is mostly the host's, to be set there";
    }
  }
  findings->push_back(std::move(finding));
}

void Mitigations(const Machine& machine, Profile, Findings* findings) {
  Finding finding{.id = "cpu.mitigations",
                  .title = "mitigations",
                  .source = "/sys/devices/system/cpu/vulnerabilities/*"};
  Because(&finding,
          "They make each way into the kernel dearer. This is to explain figures, not to turn them "
          "off: that is a question of who else runs code here.",
          "Documentation/admin-guide/hw-vuln/index.rst");
  std::vector<std::string> mitigated, vulnerable;
  for (const auto& [name, state] : machine.vulnerabilities) {
    if (absl::StartsWith(state, "Mitigation")) mitigated.push_back(name);
    if (absl::StartsWith(state, "Vulnerable")) vulnerable.push_back(name);
  }
  finding.verdict = Verdict::kInfo;
  const auto named = [](const std::vector<std::string>& names, const char* what) {
    return names.empty()
               ? absl::StrCat("none ", what)
               : absl::StrCat(names.size(), " ", what, " (", absl::StrJoin(names, ", "), ")");
  };
  finding.found =
      absl::StrCat(named(mitigated, "mitigated"), ", ", named(vulnerable, "vulnerable"));
  if (machine.vulnerabilities.empty()) {
    finding.found.clear();
    Say(&finding, Verdict::kUnknown, "the directory cannot be read, or is empty");
  }
  findings->push_back(std::move(finding));
}

}  // namespace

std::vector<Rule> CpuRules() {
  return {&Cores,      &Smt,   &Numa,      &NumaBalancing,  &Governor,   &Idle,
          &DmaLatency, &Clock, &Autogroup, &Virtualisation, &Mitigations};
}

}  // namespace ringtail::tune
