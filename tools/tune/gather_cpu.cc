// Cores, power management, clock.
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tools/tune/gather.h"

namespace ringtail::tune {
namespace {

constexpr const char* kCpus = "/sys/devices/system/cpu";

// The number behind `prefix` in "cpu12", "node0", "state3".
std::optional<int> NumberBehind(absl::string_view name, absl::string_view prefix) {
  int number = 0;
  if (!absl::ConsumePrefix(&name, prefix) || name.empty() || name.size() > 5) return {};
  for (const char c : name) {
    if (c < '0' || c > '9') return {};
    number = number * 10 + (c - '0');
  }
  return number;
}

void GatherGovernor(const Tree& tree, const CpuList& cpus, CpuFacts* facts) {
  PerCpu& governor = facts->governor;
  governor.source = absl::StrCat(kCpus, "/cpuN/cpufreq/scaling_governor");
  for (const int cpu : cpus) {
    const std::string frequency = absl::StrCat(kCpus, "/cpu", cpu, "/cpufreq");
    const Fact<std::string> value = ReadText(tree, absl::StrCat(frequency, "/scaling_governor"));
    if (!value.value) {
      if (governor.unknown.empty()) governor.unknown = value.unknown;
      continue;
    }
    if (governor.cpus_by_value.empty()) {
      facts->governor_driver =
          ReadText(tree, absl::StrCat(frequency, "/scaling_driver")).value.value_or("");
      facts->governors_available =
          Choices(ReadText(tree, absl::StrCat(frequency, "/scaling_available_governors"))
                      .value.value_or(""));
    }
    governor.cpus_by_value[*value.value].push_back(cpu);
  }
  if (!governor.cpus_by_value.empty()) governor.unknown.clear();
}

void GatherIdle(const Tree& tree, const CpuList& cpus, CpuFacts* facts) {
  facts->idle_driver = ReadText(tree, absl::StrCat(kCpus, "/cpuidle/current_driver"));
  std::map<int, IdleState> states;
  for (const int cpu : cpus) {
    const std::string idle = absl::StrCat(kCpus, "/cpu", cpu, "/cpuidle");
    for (const std::string& name : tree.List(idle)) {
      const std::optional<int> index = NumberBehind(name, "state");
      const std::string directory = absl::StrCat(idle, "/", name);
      const Fact<int64_t> latency = ReadInt(tree, absl::StrCat(directory, "/latency"));
      const Fact<int64_t> disabled = ReadInt(tree, absl::StrCat(directory, "/disable"));
      if (!index || !latency.value || !disabled.value) continue;
      IdleState& state = states[*index];
      state.index = *index;
      state.name = ReadText(tree, absl::StrCat(directory, "/name")).value.value_or(name);
      state.exit_latency_us = std::max(state.exit_latency_us, *latency.value);
      if (*disabled.value == 0) state.enabled_on.push_back(cpu);
    }
  }
  for (const auto& [index, state] : states) facts->idle_states.push_back(state);

  // 4 bytes of the machine's order; reading them asks for nothing (pm_qos_interface.rst).
  facts->dma_latency_us.source = "/dev/cpu_dma_latency";
  const absl::StatusOr<std::string> bytes = tree.Read("/dev/cpu_dma_latency");
  int32_t latency_us = 0;
  if (!bytes.ok()) {
    facts->dma_latency_us.unknown = std::string(bytes.status().message());
  } else if (bytes->size() != sizeof(latency_us)) {
    facts->dma_latency_us.unknown = absl::StrCat(bytes->size(), " bytes instead of 4");
  } else {
    memcpy(&latency_us, bytes->data(), sizeof(latency_us));
    facts->dma_latency_us.value = latency_us;
  }
}

}  // namespace

void GatherCpu(const Tree& tree, Machine* machine) {
  CpuFacts& facts = machine->cpu;
  facts.online = ReadCpus(tree, absl::StrCat(kCpus, "/online"));
  facts.present = ReadCpus(tree, absl::StrCat(kCpus, "/present"));
  facts.isolated = ReadCpus(tree, absl::StrCat(kCpus, "/isolated"));
  facts.smt_active = ReadInt(tree, absl::StrCat(kCpus, "/smt/active"));
  const CpuList cpus = facts.online.value.value_or(CpuList());
  for (const int cpu : cpus) {
    const Fact<CpuList> siblings =
        ReadCpus(tree, absl::StrCat(kCpus, "/cpu", cpu, "/topology/thread_siblings_list"));
    if (siblings.value) facts.siblings[cpu] = *siblings.value;
  }
  for (const std::string& name : tree.List("/sys/devices/system/node")) {
    const std::optional<int> id = NumberBehind(name, "node");
    const Fact<CpuList> list =
        ReadCpus(tree, absl::StrCat("/sys/devices/system/node/", name, "/cpulist"));
    // A node may have memory alone.
    if (id && list.value && !list.value->empty()) facts.nodes.push_back({*id, *list.value});
  }
  GatherGovernor(tree, cpus, &facts);
  GatherIdle(tree, cpus, &facts);
  const std::string clock = "/sys/devices/system/clocksource/clocksource0";
  facts.clocksource = ReadText(tree, absl::StrCat(clock, "/current_clocksource"));
  facts.clocksources_available =
      Choices(ReadText(tree, absl::StrCat(clock, "/available_clocksource")).value.value_or(""));
}

}  // namespace ringtail::tune
