// compare_durable_produce: 1 KiB records in batches of 1 MB and of 64 KiB, durable when
// acknowledged, beside a raw receive-and-pwrite loop that makes nothing durable.

#include <unistd.h>

#include "absl/flags/flag.h"
#include "perf/lib/broker.h"
#include "perf/lib/clock.h"
#include "perf/lib/native.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/receive.h"

ABSL_FLAG(std::string, ringtaild, "bazel-bin/server/ringtaild", "the broker");
ABSL_FLAG(std::vector<std::string>, broker_flags, {},
          "further flags of the broker, for experiments");
ABSL_FLAG(std::vector<std::string>, batch_bytes, (std::vector<std::string>{"1000000", "65536"}),
          "batch sizes");
ABSL_FLAG(int64_t, total_mb, 600, "MB measured per round");
ABSL_FLAG(int64_t, in_flight_kib, 4096, "bytes outstanding");
ABSL_FLAG(int, rounds, 5, "rounds per contender");
ABSL_FLAG(std::string, only, "",
          "run only contenders whose name contains this, and judge nothing: for a profile");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

constexpr unsigned kZeroingSeconds = 2;  // the journal's first files get their zeros

// One round against a fresh broker. What it still has to write when the load ends, it writes when
// it stops: that counts for the device's bytes, not for its CPU.
perf::Figures RunBroker(const std::string& durability, const perf::EncodedBatch& batch,
                        const perf::LoadOptions& load) {
  std::vector<std::string> flags = {"--durability=" + durability, "--cores=1"};
  for (const std::string& flag : absl::GetFlag(FLAGS_broker_flags)) flags.push_back(flag);
  perf::Broker broker(absl::GetFlag(FLAGS_ringtaild), flags);
  const int64_t device_bytes = perf::DeviceBytesWritten(broker.data_directory());
  perf::Figures figures;
  {
    const perf::PartitionAddress partition = perf::CreateTopicOnCore0(broker.native_port(), "bulk");
    sleep(kZeroingSeconds);
    const perf::NativeConnection connection(partition.port);
    perf::ProduceWire wire(partition, batch);
    figures = perf::RunLoad(connection.fd(), wire, broker.pid(), load);
  }
  const auto size = static_cast<int64_t>(batch.bytes.size());
  raw::AddPerGb(size, figures);
  broker.Stop();
  figures["device_bytes_per_byte"] =
      static_cast<double>(perf::DeviceBytesWritten(broker.data_directory()) - device_bytes) /
      static_cast<double>(size * (load.requests + load.warmup_requests));
  return figures;
}

void RunSize(perf::Report& report, const std::string& directory, int64_t batch_bytes) {
  const perf::EncodedBatch batch = perf::MakeBatch(batch_bytes, 1024);
  perf::LoadOptions load;
  load.window = static_cast<int>((absl::GetFlag(FLAGS_in_flight_kib) << 10) / batch_bytes);
  load.requests = absl::GetFlag(FLAGS_total_mb) * 1'000'000 / batch_bytes;
  load.warmup_requests = load.requests / 10;
  std::vector<perf::Contender> contenders;
  for (const int64_t chunk_kib : {16, 64, 256}) {
    raw::ReceiveOptions options;
    options.directory = directory;
    options.message_bytes = batch_bytes;
    options.chunk_bytes = chunk_kib << 10;
    if (options.chunk_bytes > batch_bytes) continue;
    contenders.push_back({"raw receive and pwrite, " + raw::Name(options), [=] {
                            perf::Figures figures = raw::RunReceive(options, load);
                            figures["device_bytes_per_byte"] = 0;  // it syncs nothing
                            return figures;
                          }});
  }
  for (const char* durability : {"page_cache", "journal"}) {
    contenders.push_back({std::string("broker, ") + durability,
                          [&, durability] { return RunBroker(durability, batch, load); }});
  }
  const std::string& only = absl::GetFlag(FLAGS_only);
  std::erase_if(contenders, [&](const perf::Contender& contender) {
    return contender.name.find(only) == std::string::npos;
  });
  const auto outcomes = perf::RunInterleaved(contenders, absl::GetFlag(FLAGS_rounds), 0);
  const std::string name = std::to_string(batch_bytes) + " B";
  report.Table("batches of " + name + ", window of " + std::to_string(load.window), outcomes,
               {{"gb_per_s", "GB/s", 2},
                {"cpu_s_per_gb", "server CPU s/GB", 3},
                {"client_cpu_s_per_gb", "client CPU s/GB", 3},
                {"p50_us", "p50 us", 0},
                {"p99_us", "p99 us", 0},
                {"device_bytes_per_byte", "device bytes/byte", 2}});
  if (!only.empty()) return;
  const std::vector<perf::Outcome> raw(outcomes.begin(), outcomes.end() - 2);
  report.Add({"(h) server CPU/GB, batches of " + name + ", broker / raw",
              perf::RatioOf(outcomes.back(), perf::Smallest(raw, "cpu_s_per_gb"), "cpu_s_per_gb"),
              perf::Goal::Sense::kAtMost, 2, "x"});
}

int Main() {
  perf::PinToCpu(perf::kClientCpu);
  const perf::ScratchDir scratch(perf::ScratchParent());
  perf::Report report("(h) Batches of 1 KiB records, durable, in " + perf::ScratchParent());
  for (const std::string& bytes : absl::GetFlag(FLAGS_batch_bytes)) {
    RunSize(report, scratch.path(), std::stoll(bytes));
  }
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Durable batches beside a raw receive loop.",
                                    ringtail::compare::Main);
}
