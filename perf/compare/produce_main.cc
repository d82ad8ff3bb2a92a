// compare_produce: produce of 1 KiB records in 1 MB batches, beside a raw receive-and-pwrite loop.

#include "absl/flags/flag.h"
#include "perf/lib/broker.h"
#include "perf/lib/native.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/receive.h"

ABSL_FLAG(std::string, ringtaild, "bazel-bin/server/ringtaild", "the broker");
ABSL_FLAG(std::vector<std::string>, broker_flags, {},
          "further flags of the broker, for experiments");
ABSL_FLAG(int64_t, batches, 1000, "batches of 1 MB measured per round");
ABSL_FLAG(int, window, 4, "batches outstanding");
ABSL_FLAG(int, rounds, 7, "rounds per contender");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

constexpr int64_t kBatchBytes = 1'000'000;

// One round against a fresh broker, so that every round writes to fresh pages and leaves nothing.
perf::Figures RunBroker(const perf::EncodedBatch& batch, const perf::LoadOptions& load) {
  const perf::Broker broker(absl::GetFlag(FLAGS_ringtaild), absl::GetFlag(FLAGS_broker_flags));
  const perf::PartitionAddress partition = perf::CreateTopicOnCore0(broker.native_port(), "bulk");
  const perf::NativeConnection connection(partition.port);
  perf::ProduceWire wire(partition, batch);
  perf::Figures figures = perf::RunLoad(connection.fd(), wire, broker.pid(), load);
  raw::AddPerGb(kBatchBytes, figures);
  return figures;
}

int Main() {
  perf::PinToCpu(perf::kClientCpu);
  const perf::ScratchDir scratch(perf::ScratchParent());
  perf::Report report("(d) Produce of 1 KiB records in 1 MB batches");
  const perf::EncodedBatch batch = perf::MakeBatch(kBatchBytes, 1024);
  perf::LoadOptions load;
  load.window = absl::GetFlag(FLAGS_window);
  load.warmup_requests = 100;
  load.requests = absl::GetFlag(FLAGS_batches);

  std::vector<perf::Contender> contenders;
  for (const int64_t chunk_kib : {16, 64, 128, 256}) {
    raw::ReceiveOptions options;
    options.directory = scratch.path();
    options.message_bytes = kBatchBytes;
    options.chunk_bytes = chunk_kib << 10;
    contenders.push_back({"raw receive and pwrite, " + raw::Name(options),
                          [=] { return raw::RunReceive(options, load); }});
  }
  contenders.push_back({"broker, native produce", [&] { return RunBroker(batch, load); }});
  const auto outcomes = perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 1);
  report.Table("window of " + std::to_string(load.window), outcomes,
               {{"gb_per_s", "GB/s", 2},
                {"cpu_s_per_gb", "server CPU s/GB", 3},
                {"client_cpu_s_per_gb", "client CPU s/GB", 3},
                {"p50_us", "p50 us", 0},
                {"p99_us", "p99 us", 0}});
  const std::vector<perf::Outcome> raw(outcomes.begin(), outcomes.end() - 1);
  report.Add({"(d) server CPU/GB, broker / raw",
              perf::RatioOf(outcomes.back(), perf::Smallest(raw, "cpu_s_per_gb"), "cpu_s_per_gb"),
              perf::Goal::Sense::kAtMost, 1.4, "x"});
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Produce of batches beside a raw receive loop.",
                                    ringtail::compare::Main);
}
