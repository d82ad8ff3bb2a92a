// compare_idle: what an empty broker takes to start, and what it takes for doing nothing.

#include <unistd.h>

#include "absl/flags/flag.h"
#include "perf/lib/broker.h"
#include "perf/lib/clock.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"

ABSL_FLAG(std::string, ringtaild, "bazel-bin/server/ringtaild", "the broker");
ABSL_FLAG(std::vector<std::string>, broker_flags, {},
          "further flags of the broker, for experiments");
ABSL_FLAG(double, settle_s, 0.5, "seconds after the start that are not measured");
ABSL_FLAG(double, seconds, 3.0, "measured seconds per round");
ABSL_FLAG(int, rounds, 5, "starts of the broker");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

void Sleep(double seconds) { usleep(static_cast<useconds_t>(seconds * 1e6)); }

perf::Figures RunBroker() {
  const perf::Broker broker(absl::GetFlag(FLAGS_ringtaild), absl::GetFlag(FLAGS_broker_flags));
  Sleep(absl::GetFlag(FLAGS_settle_s));
  const perf::Meter meter(broker.pid());
  Sleep(absl::GetFlag(FLAGS_seconds));
  const double cpu_percent = 100 * meter.CpuSeconds() / meter.WallSeconds();
  const perf::Memory memory = perf::ProcessMemory(broker.pid());
  return {{"start_ms", broker.start_to_ready_ms()},
          {"cpu_percent", cpu_percent},
          {"resident_mib", static_cast<double>(memory.resident_bytes) / (1 << 20)},
          {"anonymous_mib", static_cast<double>(memory.anonymous_bytes) / (1 << 20)}};
}

int Main() {
  perf::Report report("(e) An empty broker");
  const auto outcomes =
      perf::RunInterleaved({{"broker", RunBroker}}, absl::GetFlag(FLAGS_rounds), 0);
  const perf::Outcome& broker = outcomes.front();
  report.Table("idle", outcomes,
               {{"start_ms", "start to ready ms", 1},
                {"cpu_percent", "% of a core", 3},
                {"resident_mib", "resident MiB", 1},
                {"anonymous_mib", "of it anonymous MiB", 1}});
  constexpr auto kAtMost = perf::Goal::Sense::kAtMost;
  report.Add({"(e) resident", broker.Of("resident_mib"), kAtMost, 32, " MiB"});
  report.Add({"(e) idle CPU", broker.Of("cpu_percent"), kAtMost, 0.1, " % of a core"});
  report.Add({"(e) start to ready", broker.Of("start_ms"), kAtMost, 50, " ms"});
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "An idle broker: start, memory, CPU.",
                                    ringtail::compare::Main);
}
