// Which CPUs the devices interrupt.
#include <set>

#include "absl/strings/str_join.h"
#include "tools/tune/broker_flags.h"
#include "tools/tune/rule.h"

namespace ringtail::tune {
namespace {

CpuList DeliveredTo(const DeviceInterrupts& device) {
  std::set<int> cpus;
  for (const Interrupt& interrupt : device.interrupts) {
    cpus.insert(interrupt.effective.begin(), interrupt.effective.end());
  }
  return {cpus.begin(), cpus.end()};
}

std::string Text(const DeviceInterrupts& device) {
  return absl::StrCat(device.interrupts.size(), ", on CPU ", FormatCpuList(DeliveredTo(device)));
}

bool AllOnOne(const Machine& machine, const DeviceInterrupts& device) {
  return device.interrupts.size() > 1 && DeliveredTo(device).size() == 1 &&
         machine.cpu.online.value && machine.cpu.online.value->size() > 1;
}

void Balance(const Machine& machine, Profile profile, Findings* findings) {
  const Fact<int64_t>& pid = machine.irqbalance_pid;
  Finding finding{.id = "irq.balance", .title = "irqbalance", .source = pid.source};
  Because(&finding,
          "It moves interrupts between CPUs by load: good where nothing is pinned, a source of "
          "rare slow answers on CPUs that core threads have to themselves.",
          "irqbalance(1); Documentation/core-api/irq/irq-affinity.rst");
  if (pid.value) {
    finding.found = absl::StrCat("runs, process ", *pid.value);
    if (profile == Profile::kLatency) {
      Say(&finding, Verdict::kAdvice, "keep it away from the CPUs of the cores (the flags below)");
      finding.now = {"systemctl stop irqbalance"};
      finding.lasting = {absl::StrCat(
          "echo 'IRQBALANCE_BANNED_CPULIST=", FormatCpuList(CoreCpus(machine, profile)),
          "' >> /etc/default/irqbalance && systemctl restart irqbalance")};
    }
  } else if (!pid.unknown.empty()) {
    Say(&finding, Verdict::kUnknown, pid.unknown);
  } else {
    finding.found = "does not run";
  }
  findings->push_back(std::move(finding));
}

void Network(const Machine& machine, Profile profile, Findings* findings) {
  for (const Nic& nic : machine.nics) {
    Finding finding{.id = "irq.network",
                    .title = absl::StrCat("interrupts of ", nic.name),
                    .source = nic.interrupts.source};
    Because(&finding,
            "The CPU that takes a card's interrupt also runs TCP for what has arrived. One CPU for "
            "a fast card is a limit, and slows the core thread on it.",
            "Documentation/networking/scaling.rst; Documentation/core-api/irq/irq-affinity.rst");
    if (nic.interrupts.interrupts.empty()) {
      Say(&finding, Verdict::kUnknown, nic.interrupts.unknown);
      findings->push_back(std::move(finding));
      continue;
    }
    finding.found = absl::StrCat(Text(nic.interrupts), "; receive queues: ", nic.receive_queues);
    // rps_cpus is a mask, "00,00000000" where nothing is steered.
    if (nic.steering_cpus.find_first_not_of("0,") != std::string::npos) {
      absl::StrAppend(&finding.found, "; rps_cpus ", nic.steering_cpus);
    }
    if (AllOnOne(machine, nic.interrupts) && nic.receive_queues > 1 &&
        profile != Profile::kLaptop && !machine.irqbalance_pid.value &&
        machine.irqbalance_pid.unknown.empty()) {
      Say(&finding, Verdict::kAdvice,
          "spread them: all are on one CPU, and irqbalance is not here");
      // Not for --apply: a driver may manage them itself and refuse, and a reset undoes it.
      const CpuList& online = *machine.cpu.online.value;
      for (size_t i = 0; i < nic.interrupts.interrupts.size(); ++i) {
        finding.now.push_back(absl::StrCat("echo ", online[i % online.size()], " > /proc/irq/",
                                           nic.interrupts.interrupts[i].number,
                                           "/smp_affinity_list"));
      }
      finding.lasting = {"apt-get install irqbalance"};
    } else if (nic.receive_queues == 1) {
      finding.note =
          "one queue: one CPU takes all that arrives. Where that CPU is busy, rps_cpus spreads the "
          "work behind the interrupt";
    }
    findings->push_back(std::move(finding));
  }
}

void Disks(const Machine& machine, Profile, Findings* findings) {
  for (const Disk& disk : machine.storage.disks) {
    Finding finding{.id = "irq.disk",
                    .title = absl::StrCat("interrupts of ", disk.name),
                    .source = disk.interrupts.source};
    Because(&finding,
            "A write's end is told to the CPU that takes the interrupt and handed on from there; "
            "NVMe has up to a queue and an interrupt for each CPU, managed by the kernel.",
            "Documentation/block/blk-mq.rst; Documentation/core-api/irq/irq-affinity.rst");
    if (disk.interrupts.interrupts.empty()) {
      Say(&finding, Verdict::kUnknown, disk.interrupts.unknown);
    } else {
      finding.found = Text(disk.interrupts);
    }
    findings->push_back(std::move(finding));
  }
}

}  // namespace

std::vector<Rule> InterruptRules() { return {&Balance, &Network, &Disks}; }

}  // namespace ringtail::tune
