// compare_compaction: what compaction costs beside a raw read-filter-write loop, and the latency of
// appends to a compacted topic while it runs.
#include "absl/flags/flag.h"
#include "perf/compare/engine_compaction.h"
#include "perf/lib/native.h"
#include "perf/lib/os.h"
#include "perf/lib/paced_appends.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"

ABSL_FLAG(std::string, ringtaild, "bazel-bin/server/ringtaild", "the broker");
ABSL_FLAG(int64_t, total_mib, 256, "what a round compacts");
ABSL_FLAG(double, rate, 2000, "records of 4 KiB per second");
ABSL_FLAG(double, seconds, 4, "how long a round measures");
ABSL_FLAG(int, rounds, 5, "rounds per contender");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

constexpr int64_t kRecordBytes = 4096;
const std::map<std::string, std::string> kKept = {{"segment.bytes", "2097152"}};
const std::map<std::string, std::string> kCompacted = {{"segment.bytes", "2097152"},
                                                       {"cleanup.policy", "compact"},
                                                       {"min.cleanable.dirty.ratio", "0.1"}};

// Both sync their journal five times a second, so that compaction always has something to do.
perf::Figures RunBroker(const std::map<std::string, std::string>& topic) {
  return perf::RunPacedAppends({
      .ringtaild = absl::GetFlag(FLAGS_ringtaild),
      .flags = {"--journal_sync_age_ms=200", "--compaction_check_ms=100"},
      .topic = topic,
      .record = perf::MakeSingleRecord(kRecordBytes, "key"),
      .rate_per_s = absl::GetFlag(FLAGS_rate),
      .seconds = absl::GetFlag(FLAGS_seconds),
  });
}

void CompareCost(perf::Report& report) {
  const perf::ScratchDir scratch(perf::ScratchParent());
  CompactionRunOptions options;
  options.directory = scratch.path();
  options.total_bytes = absl::GetFlag(FLAGS_total_mib) << 20;
  const auto outcomes =
      perf::RunInterleaved({{"raw read, filter, write", [&] { return RunRawCompaction(options); }},
                            {"engine", [&] { return RunEngineCompaction(options); }}},
                           absl::GetFlag(FLAGS_rounds), 1);
  report.Table("1 KiB records of 100,000 keys", outcomes,
               {{"gb_per_s", "GB/s", 3}, {"cpu_s_per_gb", "CPU s/GB", 3}, {"kept", "kept", 2}});
  report.Add({"(k) CPU per GB, engine / raw",
              perf::RatioOf(outcomes[1], outcomes[0], "cpu_s_per_gb"), perf::Goal::Sense::kAtMost,
              1.5, "x"});
}

void CompareLatency(perf::Report& report) {
  const auto outcomes = perf::RunInterleaved({{"without", [] { return RunBroker(kKept); }},
                                              {"compaction", [] { return RunBroker(kCompacted); }}},
                                             absl::GetFlag(FLAGS_rounds), 0);
  report.Table("appends meanwhile, open loop", outcomes,
               {{"p50_us", "p50 us", 1},
                {"p99_us", "p99 us", 1},
                {"p999_us", "p99.9 us", 1},
                {"cpu_us_per_request", "server CPU us", 2}});
  report.Add({"(k) append p99, with / without", perf::RatioOf(outcomes[1], outcomes[0], "p99_us"),
              perf::Goal::Sense::kAtMost, 1.5, "x"});
}

int Main() {
  perf::PinToCpu(perf::kServerCpu);
  perf::Report report("(k) Compaction, in " + perf::ScratchParent());
  CompareCost(report);
  perf::PinToCpu(perf::kClientCpu);
  CompareLatency(report);
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(
      argc, argv, "Compaction beside a raw loop, and appends beside it.", ringtail::compare::Main);
}
