// compare_recovery: start after kill -9 with a journal that holds so much that is not synced,
// beside reading and writing as much.

#include <algorithm>

#include "absl/flags/flag.h"
#include "perf/lib/broker.h"
#include "perf/lib/native.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/copy.h"

ABSL_FLAG(std::string, ringtaild, "bazel-bin/server/ringtaild", "the broker");
ABSL_FLAG(std::vector<std::string>, broker_flags, {},
          "further flags of the broker, for experiments");
ABSL_FLAG(std::vector<std::string>, fill_mib, (std::vector<std::string>{"64", "256", "768"}),
          "MiB in the journal of core 0, at most 960");
ABSL_FLAG(int64_t, batch_bytes, 65536, "of the batches that fill it");
ABSL_FLAG(int, rounds, 3, "rounds per contender");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

constexpr double kGib = double{1 << 30};

// One journal file that is never full, and no reclaim: all that is appended has to be replayed.
const std::vector<std::string> kFlags = {"--durability=journal", "--cores=1",
                                         "--journal_file_bytes=1GiB", "--journal_bytes_max=2GiB",
                                         "--journal_sync_age_ms=3600000"};

perf::Figures RunBroker(int64_t fill_bytes) {
  std::vector<std::string> flags = kFlags;
  for (const std::string& flag : absl::GetFlag(FLAGS_broker_flags)) flags.push_back(flag);
  perf::Broker broker(absl::GetFlag(FLAGS_ringtaild), flags);
  {
    const perf::EncodedBatch batch = perf::MakeBatch(absl::GetFlag(FLAGS_batch_bytes), 1024);
    const perf::PartitionAddress partition = perf::CreateTopicOnCore0(broker.native_port(), "fill");
    const perf::NativeConnection connection(partition.port);
    perf::ProduceWire wire(partition, batch);
    perf::LoadOptions load;
    load.window = 16;
    load.warmup_requests = 0;
    load.requests = fill_bytes / static_cast<int64_t>(batch.bytes.size());
    perf::RunLoad(connection.fd(), wire, broker.pid(), load);
  }
  broker.Kill();
  broker.Restart();
  const double seconds = broker.start_to_ready_ms() / 1e3;
  return {{"seconds", seconds},
          {"seconds_per_gib", seconds * kGib / static_cast<double>(fill_bytes)}};
}

void RunFill(perf::Report& report, const std::string& directory, int64_t mib) {
  const int64_t fill_bytes = mib << 20;
  const std::vector<perf::Contender> contenders = {
      {"raw read, write and sync", [=] { return raw::RunCopy(directory, fill_bytes); }},
      {"broker, start to ready", [=] { return RunBroker(fill_bytes); }}};
  const auto outcomes = perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 0);
  const std::string name = std::to_string(mib) + " MiB";
  report.Table(name + " to replay", outcomes,
               {{"seconds", "s", 3}, {"seconds_per_gib", "s/GiB", 2}});
  // Either will do: 4 s per GiB, or 1.3 times what the raw loop takes.
  const double raw_limit = 1.3 * outcomes[0].Median("seconds_per_gib");
  report.Add({"(i) start to ready with " + name +
                  " to replay (1.3x raw: " + std::to_string(raw_limit).substr(0, 4) + " s/GiB)",
              outcomes[1].Of("seconds_per_gib"), perf::Goal::Sense::kAtMost,
              std::max(4.0, raw_limit), "s/GiB"});
}

int Main() {
  const perf::ScratchDir scratch(perf::ScratchParent());
  perf::Report report("(i) Start after kill -9 against the journal's fill, in " +
                      perf::ScratchParent());
  for (const std::string& mib : absl::GetFlag(FLAGS_fill_mib)) {
    RunFill(report, scratch.path(), std::stoll(mib));
  }
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Start after a kill, by journal fill.",
                                    ringtail::compare::Main);
}
