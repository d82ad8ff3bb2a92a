// compare_fetch: native fetch of hot data beside a raw non-blocking sendfile loop with the same
// chunks.

#include <algorithm>

#include "absl/flags/flag.h"
#include "perf/lib/broker.h"
#include "perf/lib/check.h"
#include "perf/lib/native.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/fetch.h"

ABSL_FLAG(std::string, ringtaild, "bazel-bin/server/ringtaild", "the broker");
ABSL_FLAG(std::vector<std::string>, broker_flags, {},
          "further flags of the broker, for experiments");
ABSL_FLAG(std::vector<std::string>, chunk_kib, (std::vector<std::string>{"64", "256", "1024"}),
          "bytes asked for per fetch, in KiB");
ABSL_FLAG(int64_t, data_mib, 512, "hot data that is sent round and round");
ABSL_FLAG(int64_t, in_flight_kib, 4096, "KiB asked for and not yet received, at least 4 fetches");
ABSL_FLAG(int64_t, buffer_kib, 256, "the client's receive buffer");
ABSL_FLAG(double, seconds, 1.0, "measured seconds per round");
ABSL_FLAG(int, rounds, 7, "rounds per contender");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

constexpr int64_t kBatchBytes = 64 << 10;
constexpr int64_t kGoalChunkBytes = 256 << 10;

// Puts `batches` of them into the partition.
void Fill(const perf::PartitionAddress& partition, const perf::EncodedBatch& batch, int64_t batches,
          pid_t broker) {
  const perf::NativeConnection connection(partition.port);
  perf::ProduceWire wire(partition, batch);
  perf::LoadOptions load;
  load.window = 4;
  load.warmup_requests = 0;
  load.requests = batches;
  perf::RunLoad(connection.fd(), wire, broker, load);
}

void Judge(perf::Report& report, const std::string& chunk,
           const std::vector<perf::Outcome>& outcomes) {
  const perf::Outcome& broker = outcomes.back();
  const std::vector<perf::Outcome> raw(outcomes.begin(), outcomes.end() - 1);
  report.Add({"(b) fetch GB/s, broker / raw, " + chunk,
              perf::RatioOf(broker, perf::Largest(raw, "gb_per_s"), "gb_per_s"),
              perf::Goal::Sense::kAtLeast, 0.9, "x"});
  report.Add({"(b) fetch server CPU/GB, broker / raw, " + chunk,
              perf::RatioOf(broker, perf::Smallest(raw, "cpu_s_per_gb"), "cpu_s_per_gb"),
              perf::Goal::Sense::kAtMost, 1.15, "x"});
}

int Main() {
  perf::PinToCpu(perf::kClientCpu);
  const perf::ScratchDir scratch(perf::ScratchParent());
  const int64_t data_bytes = absl::GetFlag(FLAGS_data_mib) << 20;
  const std::string file = raw::MakeHotFile(scratch.path(), data_bytes);
  const perf::Broker broker(absl::GetFlag(FLAGS_ringtaild), absl::GetFlag(FLAGS_broker_flags));
  const perf::PartitionAddress partition = perf::CreateTopicOnCore0(broker.native_port(), "hot");
  const perf::EncodedBatch batch = perf::MakeBatch(kBatchBytes, 1024);
  const int64_t batches = data_bytes / kBatchBytes;
  Fill(partition, batch, batches, broker.pid());

  perf::DrainOptions drain;
  drain.seconds = absl::GetFlag(FLAGS_seconds);
  drain.buffer_bytes = absl::GetFlag(FLAGS_buffer_kib) << 10;
  perf::Report report("(b) Fetch of hot data over loopback TCP");
  for (const std::string& kib : absl::GetFlag(FLAGS_chunk_kib)) {
    const int64_t chunk_bytes = std::stoll(kib) << 10;
    // A streaming raw loop never waits to be asked, so the fetches must not run dry either.
    const int64_t asked = (absl::GetFlag(FLAGS_in_flight_kib) << 10) / chunk_bytes;
    const int window = static_cast<int>(std::max<int64_t>(4, asked));
    std::vector<perf::Contender> contenders;
    for (const bool on_request : {false, true}) {
      const raw::FetchOptions options = {raw::FetchMethod::kSendfile, chunk_bytes, on_request};
      contenders.push_back({"raw " + raw::Name(options),
                            [=] { return raw::RunFetch(file, options, drain, window); }});
    }
    contenders.push_back(
        {"broker, native fetch", [&, chunk_bytes, window] {
           const perf::NativeConnection connection(partition.port);
           perf::FetchStream stream(connection.fd(), partition, batch, batches, chunk_bytes, drain);
           stream.Start(window);
           return perf::MeasureDrain(broker.pid(), drain, [&] { return stream.Step(); });
         }});
    const auto outcomes = perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 0);
    report.Table("chunks of " + perf::SizeName(chunk_bytes), outcomes,
                 {{"gb_per_s", "GB/s", 2},
                  {"cpu_s_per_gb", "server CPU s/GB", 3},
                  {"client_cpu_s_per_gb", "client CPU s/GB", 3}});
    if (chunk_bytes >= kGoalChunkBytes) Judge(report, perf::SizeName(chunk_bytes), outcomes);
  }
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Native fetch beside a raw sendfile loop.",
                                    ringtail::compare::Main);
}
