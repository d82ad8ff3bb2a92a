// compare_retention: latency of durable appends while retention drops segments and reclaim syncs
// and frees the journal, beside the same load without either.

#include <unistd.h>

#include "absl/flags/flag.h"
#include "perf/lib/broker.h"
#include "perf/lib/native.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"

ABSL_FLAG(std::string, ringtaild, "bazel-bin/server/ringtaild", "the broker");
ABSL_FLAG(std::vector<std::string>, broker_flags, {},
          "further flags of the broker, for experiments");
ABSL_FLAG(double, rate, 2000, "records of 4 KiB per second");
ABSL_FLAG(double, seconds, 4, "how long a round measures");
ABSL_FLAG(int, rounds, 7, "rounds per contender");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

constexpr int64_t kRecordBytes = 4096;
constexpr unsigned kZeroingSeconds = 2;  // the journal's first files get their zeros

// Both roll a segment every 4 MiB: twice a second.
const std::map<std::string, std::string> kTopic = {{"segment.bytes", "4194304"}};
const std::map<std::string, std::string> kRetained = {{"segment.bytes", "4194304"},
                                                      {"retention.bytes", "8388608"}};
const std::vector<std::string> kQuiet = {
    "--journal_sync_age_ms=3600000", "--journal_file_bytes=256MiB", "--journal_bytes_max=512MiB"};
// 16 MiB in four files, which it laps every two seconds.
const std::vector<std::string> kBusy = {"--journal_sync_age_ms=200", "--journal_file_bytes=4MiB",
                                        "--journal_bytes_max=16MiB", "--retention_check_ms=100"};

perf::Figures RunBroker(const std::vector<std::string>& more,
                        const std::map<std::string, std::string>& topic) {
  std::vector<std::string> flags = {"--durability=journal", "--cores=1"};
  flags.insert(flags.end(), more.begin(), more.end());
  for (const std::string& flag : absl::GetFlag(FLAGS_broker_flags)) flags.push_back(flag);
  const perf::Broker broker(absl::GetFlag(FLAGS_ringtaild), flags);
  const perf::PartitionAddress partition =
      perf::CreateTopicOnCore0(broker.native_port(), "retained", topic);
  sleep(kZeroingSeconds);
  const perf::NativeConnection connection(partition.port);
  perf::ProduceWire wire(partition, perf::MakeSingleRecord(kRecordBytes));
  perf::LoadOptions load;
  load.rate_per_s = absl::GetFlag(FLAGS_rate);
  load.requests = static_cast<int64_t>(load.rate_per_s * absl::GetFlag(FLAGS_seconds));
  load.warmup_requests = static_cast<int64_t>(load.rate_per_s);
  return perf::RunLoad(connection.fd(), wire, broker.pid(), load);
}

int Main() {
  perf::PinToCpu(perf::kClientCpu);
  perf::Report report("(j) Durable appends while retention and reclaim run, in " +
                      perf::ScratchParent());
  const std::vector<perf::Contender> contenders = {
      {"neither", [] { return RunBroker(kQuiet, kTopic); }},
      {"retention and reclaim", [] { return RunBroker(kBusy, kRetained); }}};
  const auto outcomes = perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 0);
  report.Table("open loop", outcomes,
               {{"p50_us", "p50 us", 1},
                {"p99_us", "p99 us", 1},
                {"p999_us", "p99.9 us", 1},
                {"p9999_us", "p99.99 us", 1},
                {"cpu_us_per_request", "server CPU us", 2}});
  report.Add({"(j) append p99.9, with / without",
              perf::RatioOf(outcomes[1], outcomes[0], "p999_us"), perf::Goal::Sense::kAtMost, 1.5,
              "x"});
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Durable appends while retention and reclaim run.",
                                    ringtail::compare::Main);
}
