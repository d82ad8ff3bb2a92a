// compare_append: append through the engine beside raw pwritev and ring loops of the same batch
// size.

#include <algorithm>

#include "absl/flags/flag.h"
#include "perf/compare/engine_append.h"
#include "perf/lib/os.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/append.h"

ABSL_FLAG(std::vector<std::string>, batch_kib, (std::vector<std::string>{"4", "64", "1024"}),
          "batch sizes in KiB");
ABSL_FLAG(int64_t, total_mib, 1024, "MiB appended per round, at most 4096");
ABSL_FLAG(int, rounds, 7, "rounds per contender");
ABSL_FLAG(std::string, only, "",
          "run only contenders whose name contains this, and judge nothing: for a profile");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

constexpr int64_t kGoalBatchBytes = 64 << 10;
constexpr int kDepth = 4;

std::vector<perf::Outcome> RunSize(const std::string& directory, int64_t batch_bytes,
                                   int64_t total_bytes) {
  const perf::EncodedBatch batch = perf::MakeBatch(batch_bytes, 1024);
  std::vector<perf::Contender> contenders;
  for (const raw::AppendOptions& options :
       raw::AppendVariants(directory, batch_bytes, total_bytes)) {
    contenders.push_back({"raw " + raw::Name(options), [=] { return raw::RunAppend(options); }});
  }
  for (const int depth : {kDepth, 1}) {
    const EngineAppendOptions options = {directory, total_bytes, depth};
    contenders.push_back({"engine, " + std::to_string(depth) + " at a time",
                          [=] { return RunEngineAppend(options, batch); }});
  }
  std::erase_if(contenders, [](const perf::Contender& contender) {
    return contender.name.find(absl::GetFlag(FLAGS_only)) == std::string::npos;
  });
  return perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 1);
}

int Main() {
  const perf::ScratchDir scratch(perf::ScratchParent());
  perf::Report report("(a) Append to the page cache, fresh pages, in " + scratch.path());
  const int64_t total_bytes = std::min<int64_t>(absl::GetFlag(FLAGS_total_mib), 4096) << 20;
  for (const std::string& kib : absl::GetFlag(FLAGS_batch_kib)) {
    const int64_t batch_bytes = std::stoll(kib) << 10;
    const auto outcomes = RunSize(scratch.path(), batch_bytes, total_bytes);
    report.Table("batches of " + perf::SizeName(batch_bytes), outcomes,
                 {{"gb_per_s", "GB/s", 2}, {"cpu_s_per_gb", "CPU s/GB", 3}});
    if (batch_bytes < kGoalBatchBytes || !absl::GetFlag(FLAGS_only).empty()) continue;
    const std::vector<perf::Outcome> raw(outcomes.begin(), outcomes.end() - 2);
    report.Add({"(a) append GB/s, engine / raw, " + perf::SizeName(batch_bytes),
                perf::RatioOf(outcomes.back(), perf::Largest(raw, "gb_per_s"), "gb_per_s"),
                perf::Goal::Sense::kAtLeast, 0.9, "x"});
  }
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Append through the engine beside raw loops.",
                                    ringtail::compare::Main);
}
