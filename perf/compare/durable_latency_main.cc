// compare_durable_latency: single 1 KiB records, durable when acknowledged, beside the sum of a raw
// echo and a raw paced O_DIRECT|DSYNC write.

#include "absl/flags/flag.h"
#include "perf/lib/broker.h"
#include "perf/lib/native.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/durable.h"
#include "perf/raw/echo.h"

ABSL_FLAG(std::string, ringtaild, "bazel-bin/server/ringtaild", "the broker");
ABSL_FLAG(std::vector<std::string>, broker_flags, {},
          "further flags of the broker, for experiments");
ABSL_FLAG(std::vector<std::string>, rates, (std::vector<std::string>{"1000", "5000"}),
          "records per second");
ABSL_FLAG(double, seconds, 2, "how long a round measures");
ABSL_FLAG(int, rounds, 7, "rounds per contender");
ABSL_FLAG(std::string, only, "",
          "run only contenders whose name contains this, and judge nothing: for a profile");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

constexpr const char* kJudged[] = {"p50_us", "p99_us", "cpu_us_per_request"};

perf::Figures RunBroker(const perf::LoadOptions& load) {
  std::vector<std::string> flags = {"--durability=journal"};
  for (const std::string& flag : absl::GetFlag(FLAGS_broker_flags)) flags.push_back(flag);
  const perf::Broker broker(absl::GetFlag(FLAGS_ringtaild), flags);
  const perf::PartitionAddress partition = perf::CreateTopicOnCore0(broker.native_port(), "single");
  const perf::NativeConnection connection(partition.port);
  perf::ProduceWire wire(partition, perf::MakeSingleRecord(raw::kEchoWriteBytes));
  return perf::RunLoad(connection.fd(), wire, broker.pid(), load);
}

// Round by round: what both would cost one after the other.
perf::Outcome Sum(const perf::Outcome& echo, const perf::Outcome& write) {
  perf::Outcome sum;
  sum.name = "sum: " + echo.name + ", and the write";
  for (const char* figure : kJudged) {
    const auto& above = echo.rounds.at(figure);
    const auto& below = write.rounds.at(figure);
    for (size_t i = 0; i < above.size(); ++i) sum.rounds[figure].push_back(above[i] + below[i]);
  }
  return sum;
}

void RunRate(perf::Report& report, const std::string& directory, double rate) {
  perf::LoadOptions load;
  load.rate_per_s = rate;
  load.requests = static_cast<int64_t>(rate * absl::GetFlag(FLAGS_seconds));
  load.warmup_requests = static_cast<int64_t>(rate / 2);
  std::vector<perf::Contender> contenders;
  for (const raw::EchoLoop loop : {raw::EchoLoop::kBlocking, raw::EchoLoop::kRing}) {
    const raw::EchoOptions options = {directory, loop, false};
    contenders.push_back(
        {"raw " + raw::Name(options), [=] { return raw::RunEcho(options, load); }});
  }
  contenders.push_back({"raw 4 KiB O_DIRECT|DSYNC, paced",
                        [=] { return raw::RunPacedDirectWrites(directory, rate, load.requests); }});
  contenders.push_back({"broker, native produce", [=] { return RunBroker(load); }});
  const std::string& only = absl::GetFlag(FLAGS_only);
  std::erase_if(contenders, [&](const perf::Contender& contender) {
    return contender.name.find(only) == std::string::npos;
  });
  auto outcomes = perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 0);
  const std::vector<perf::Column> columns = {
      {"p50_us", "p50 us", 1}, {"p99_us", "p99 us", 1}, {"cpu_us_per_request", "server CPU us", 2}};
  const std::string name = std::to_string(static_cast<int>(rate)) + "/s";
  if (!only.empty()) return report.Table(name, outcomes, columns);
  const perf::Outcome broker = outcomes.back();
  outcomes.pop_back();
  const perf::Outcome write = outcomes.back();
  // Of the echo loops the better one, figure by figure.
  const std::vector<perf::Outcome> echoes(outcomes.begin(), outcomes.end() - 1);
  outcomes.push_back(Sum(perf::Smallest(echoes, "p50_us"), write));
  outcomes.push_back(broker);
  report.Table(name, outcomes, columns);
  for (const char* figure : kJudged) {
    const perf::Outcome sum = Sum(perf::Smallest(echoes, figure), write);
    report.Add({"(g) " + name + ", " + figure + ", broker / sum of echo and write",
                perf::RatioOf(broker, sum, figure), perf::Goal::Sense::kAtMost, 1.5, "x"});
  }
}

int Main() {
  perf::PinToCpu(perf::kClientCpu);
  const perf::ScratchDir scratch(perf::ScratchParent());
  perf::Report report("(g) Single 1 KiB records, durable, in " + perf::ScratchParent());
  for (const std::string& rate : absl::GetFlag(FLAGS_rates)) {
    RunRate(report, scratch.path(), std::stod(rate));
  }
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Durable single records beside raw loops.",
                                    ringtail::compare::Main);
}
