// compare_retention: latency of durable appends while retention drops segments and reclaim syncs
// and frees the journal, beside the same load without either.

#include "absl/flags/flag.h"
#include "perf/lib/native.h"
#include "perf/lib/os.h"
#include "perf/lib/paced_appends.h"
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

// Both roll a segment every 4 MiB: twice a second.
const std::map<std::string, std::string> kTopic = {{"segment.bytes", "4194304"}};
const std::map<std::string, std::string> kRetained = {{"segment.bytes", "4194304"},
                                                      {"retention.bytes", "8388608"}};
const std::vector<std::string> kQuiet = {
    "--journal_sync_age_ms=3600000", "--journal_file_bytes=256MiB", "--journal_bytes_max=512MiB"};
// 16 MiB in four files, which it laps every two seconds.
const std::vector<std::string> kBusy = {"--journal_sync_age_ms=200", "--journal_file_bytes=4MiB",
                                        "--journal_bytes_max=16MiB", "--retention_check_ms=100"};

perf::Figures RunBroker(std::vector<std::string> flags,
                        const std::map<std::string, std::string>& topic) {
  for (const std::string& flag : absl::GetFlag(FLAGS_broker_flags)) flags.push_back(flag);
  return perf::RunPacedAppends({
      .ringtaild = absl::GetFlag(FLAGS_ringtaild),
      .flags = std::move(flags),
      .topic = topic,
      .record = perf::MakeSingleRecord(kRecordBytes),
      .rate_per_s = absl::GetFlag(FLAGS_rate),
      .seconds = absl::GetFlag(FLAGS_seconds),
  });
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
