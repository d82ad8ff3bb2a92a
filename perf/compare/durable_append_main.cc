// compare_durable_append: one core makes 4 KiB of each of N partitions durable, beside raw frames,
// the page cache and fdatasync.

#include "absl/flags/flag.h"
#include "perf/compare/engine_durable.h"
#include "perf/lib/os.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/durable.h"

ABSL_FLAG(std::vector<std::string>, partitions, (std::vector<std::string>{"1", "8", "64", "256"}),
          "how many partitions");
ABSL_FLAG(int, depth, 2, "journal writes in flight");
ABSL_FLAG(int, operations, 24, "operations of each contender in a round");
ABSL_FLAG(int, rounds, 7, "rounds per contender");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

// By how much fdatasync must be slower: one by one, and 8 in flight.
struct Least {
  int partitions;
  double one_by_one;
  double eight;  // 0: not asked
};
constexpr Least kLeast[] = {{1, 1.4, 0}, {8, 4, 0}, {64, 8, 2.5}, {256, 12, 2.5}};

void Judge(perf::Report& report, int partitions, const std::vector<perf::Outcome>& outcomes) {
  const perf::Outcome& engine = outcomes[2];
  const std::string name = "(f) " + std::to_string(partitions) + " partitions, p50, ";
  const perf::Outcome& floor =
      outcomes[0].Median("p50_us") > outcomes[1].Median("p50_us") ? outcomes[0] : outcomes[1];
  report.Add({name + "engine / slower of frame and page cache",
              perf::RatioOf(engine, floor, "p50_us"), perf::Goal::Sense::kAtMost, 1.5, "x"});
  for (const Least& least : kLeast) {
    if (least.partitions != partitions) continue;
    report.Add({name + "fdatasync one by one / engine",
                perf::RatioOf(outcomes[3], engine, "p50_us"), perf::Goal::Sense::kAtLeast,
                least.one_by_one, "x"});
    if (least.eight == 0) continue;
    report.Add({name + "fdatasync 8 in flight / engine",
                perf::RatioOf(outcomes[4], engine, "p50_us"), perf::Goal::Sense::kAtLeast,
                least.eight, "x"});
  }
}

int Main() {
  perf::PinToCpu(perf::kServerCpu);
  perf::Report report("(f) 4 KiB to each of N partitions, durable, in " + perf::ScratchParent());
  const perf::EncodedBatch batch = perf::MakeBatch(raw::kDurableBytes, 1024);
  for (const std::string& partitions : absl::GetFlag(FLAGS_partitions)) {
    const perf::ScratchDir scratch(perf::ScratchParent());
    EngineDurableOptions options;
    options.directory = scratch.path();
    options.partitions = std::stoi(partitions);
    options.rounds = absl::GetFlag(FLAGS_rounds);
    options.operations = absl::GetFlag(FLAGS_operations);
    options.depth = absl::GetFlag(FLAGS_depth);
    std::string journal;
    const auto outcomes = RunEngineDurable(options, batch, &journal);
    report.Table(partitions + " partitions", outcomes,
                 {{"p50_us", "p50 us", 0}, {"p99_us", "p99 us", 0}});
    report.Note("journal: " + journal);
    Judge(report, options.partitions, outcomes);
  }
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Durable appends of many partitions.",
                                    ringtail::compare::Main);
}
