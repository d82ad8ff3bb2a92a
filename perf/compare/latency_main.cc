// compare_latency: produce and acknowledge one 1 KiB record at a time, beside a raw echo and
// pwrite.

#include "absl/flags/flag.h"
#include "perf/lib/broker.h"
#include "perf/lib/native.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/echo.h"

ABSL_FLAG(std::string, ringtaild, "bazel-bin/server/ringtaild", "the broker");
ABSL_FLAG(std::vector<std::string>, broker_flags, {},
          "further flags of the broker, for experiments");
ABSL_FLAG(double, rate, 5000, "records per second of the open loop");
ABSL_FLAG(int64_t, requests, 10000, "records measured per round");
ABSL_FLAG(bool, spin, false, "the client polls its socket instead of sleeping on it");
ABSL_FLAG(int, rounds, 7, "rounds per contender");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

// One round against a fresh broker.
perf::Figures RunBroker(const perf::LoadOptions& load) {
  const perf::Broker broker(absl::GetFlag(FLAGS_ringtaild), absl::GetFlag(FLAGS_broker_flags));
  const perf::PartitionAddress partition = perf::CreateTopicOnCore0(broker.native_port(), "single");
  const perf::NativeConnection connection(partition.port);
  perf::ProduceWire wire(partition, perf::MakeSingleRecord(raw::kEchoWriteBytes));
  return perf::RunLoad(connection.fd(), wire, broker.pid(), load);
}

std::vector<perf::Outcome> RunTable(perf::Report& report, const std::string& heading,
                                    const std::string& directory, const perf::LoadOptions& load) {
  std::vector<perf::Contender> contenders;
  for (const raw::EchoLoop loop :
       {raw::EchoLoop::kBlocking, raw::EchoLoop::kEpoll, raw::EchoLoop::kRing}) {
    const raw::EchoOptions options = {directory, loop, true};
    contenders.push_back(
        {"raw " + raw::Name(options), [=] { return raw::RunEcho(options, load); }});
  }
  contenders.push_back({"broker, native produce", [=] { return RunBroker(load); }});
  const auto outcomes = perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 0);
  report.Table(heading, outcomes,
               {{"p50_us", "p50 us", 1},
                {"p99_us", "p99 us", 1},
                {"p999_us", "p99.9 us", 1},
                {"p9999_us", "p99.99 us", 1},
                {"cpu_us_per_request", "server CPU us", 2}});
  return outcomes;
}

// Adds the goal that the broker's figure be at most `limit` times the best raw loop's.
void Judge(perf::Report& report, const std::string& name, const std::string& figure, double limit,
           const std::vector<perf::Outcome>& outcomes) {
  const std::vector<perf::Outcome> raw(outcomes.begin(), outcomes.end() - 1);
  report.Add({name, perf::RatioOf(outcomes.back(), perf::Smallest(raw, figure), figure),
              perf::Goal::Sense::kAtMost, limit, "x"});
}

int Main() {
  perf::PinToCpu(perf::kClientCpu);
  const perf::ScratchDir scratch(perf::ScratchParent());
  perf::Report report("(c) Produce and acknowledge one 1 KiB record at a time");
  perf::LoadOptions load;
  load.spin = absl::GetFlag(FLAGS_spin);
  load.requests = absl::GetFlag(FLAGS_requests);
  const auto closed = RunTable(report, "closed loop, one outstanding", scratch.path(), load);
  Judge(report, "(c) p50, one at a time, broker / raw", "p50_us", 1.5, closed);
  load.rate_per_s = absl::GetFlag(FLAGS_rate);
  const std::string rate = std::to_string(static_cast<int>(load.rate_per_s)) + "/s";
  const auto open = RunTable(report, "open loop, " + rate, scratch.path(), load);
  Judge(report, "(c) p50 at " + rate + ", broker / raw", "p50_us", 1.5, open);
  Judge(report, "(c) server CPU at " + rate + ", broker / raw", "cpu_us_per_request", 2, open);
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Produce of single records beside a raw echo.",
                                    ringtail::compare::Main);
}
