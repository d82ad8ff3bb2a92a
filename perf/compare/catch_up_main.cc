// compare_catch_up: what a consumer that reads old data from the disk gets of it, and what it costs
// a producer beside it. The broker is in a memory control group that holds half of the old data, so
// that no pass finds anything of the one before in the page cache.

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "perf/lib/broker.h"
#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/load.h"
#include "perf/lib/memory_group.h"
#include "perf/lib/native.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"
#include "perf/raw/fetch.h"
#include "perf/raw/read.h"

ABSL_FLAG(std::string, ringtaild, "bazel-bin/server/ringtaild", "the broker");
ABSL_FLAG(std::vector<std::string>, broker_flags, {},
          "further flags of the broker, for experiments");
ABSL_FLAG(int64_t, memory_mib, 512, "what the broker may take of memory and page cache");
ABSL_FLAG(double, rate, 1000, "records of 1 KiB per second of the producer");
ABSL_FLAG(double, seconds, 4, "how long a round measures");
ABSL_FLAG(int, readers, 1, "consumers of old data, each of a partition of its own");
ABSL_FLAG(int, rounds, 5, "rounds per contender");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

constexpr int64_t kBatchBytes = 64 << 10;
constexpr int64_t kChunkBytes = 1 << 20;  // what consumers ask of a partition by default
constexpr int kWindow = 2;                // the next one is asked for while one is looked at
constexpr int64_t kValueBytes = 1024;

// What the readers have had, in memory that they share with this process.
class SharedCount {
 public:
  SharedCount()
      : count_(new(mmap(nullptr, sizeof(*count_), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0)) std::atomic<int64_t>(0)) {}
  std::atomic<int64_t>& operator*() const { return *count_; }

 private:
  std::atomic<int64_t>* count_;
};

class Bench {
 public:
  Bench()
      : group_(absl::GetFlag(FLAGS_memory_mib) << 20),
        broker_(absl::GetFlag(FLAGS_ringtaild), Flags()),
        batch_(perf::MakeBatch(kBatchBytes, kValueBytes)),
        batches_(2 * (absl::GetFlag(FLAGS_memory_mib) << 20) / kBatchBytes /
                 absl::GetFlag(FLAGS_readers)) {
    group_.Add(broker_.pid());
    for (int i = 0; i < absl::GetFlag(FLAGS_readers); ++i) {
      old_.push_back(perf::CreateTopicOnCore0(broker_.native_port(), "old" + std::to_string(i)));
      Fill(old_.back());
    }
    broker_.Stop();  // all of it is on the device
    broker_.Restart();
    group_.Add(broker_.pid());
    for (perf::PartitionAddress& each : old_) each.port = broker_.native_port();
    paced_ = perf::CreateTopicOnCore0(broker_.native_port(), "paced");
  }

  // The producer, with so many readers beside it.
  perf::Figures RunProducer(int readers) {
    const perf::NativeConnection connection(paced_.port);
    perf::ProduceWire wire(paced_, perf::MakeSingleRecord(kValueBytes));
    const SharedCount received;
    std::vector<perf::Child> children;
    for (int i = 0; i < readers; ++i) {
      const perf::PartitionAddress& from = old_[static_cast<size_t>(i)];
      children.push_back(perf::Child::Fork([&] { ReadForEver(from, *received); }));
    }
    perf::LoadOptions load;
    load.rate_per_s = absl::GetFlag(FLAGS_rate);
    load.requests = static_cast<int64_t>(load.rate_per_s * absl::GetFlag(FLAGS_seconds));
    const perf::Meter meter(broker_.pid());
    perf::Figures figures = perf::RunLoad(connection.fd(), wire, broker_.pid(), load);
    const double seconds = meter.WallSeconds();
    const double gb = static_cast<double>(*received) / perf::kBytesPerGb;
    figures["gb_per_s"] = gb / seconds;
    figures["cpu_s"] = meter.CpuSeconds() / seconds;
    return figures;
  }

  // One process that reads a log's file front to back, in the same group.
  perf::Figures RunRawRead() {
    const std::string file = LargestLog();
    raw::DropFromCache(file);
    const SharedCount bytes_per_s;
    perf::Child child = perf::Child::Fork([&] {
      group_.Add(getpid());
      *bytes_per_s =
          static_cast<int64_t>(raw::RunRead(file, kChunkBytes).at("gb_per_s") * perf::kBytesPerGb);
    });
    child.Wait();
    return {{"gb_per_s", static_cast<double>(*bytes_per_s) / perf::kBytesPerGb}};
  }

 private:
  static std::vector<std::string> Flags() {
    std::vector<std::string> flags = {"--durability=journal", "--cores=1"};
    for (const std::string& flag : absl::GetFlag(FLAGS_broker_flags)) flags.push_back(flag);
    return flags;
  }

  void Fill(const perf::PartitionAddress& partition) {
    const perf::NativeConnection connection(partition.port);
    perf::ProduceWire wire(partition, batch_);
    perf::LoadOptions load;
    load.window = 4;
    load.warmup_requests = 0;
    load.requests = batches_;
    perf::RunLoad(connection.fd(), wire, broker_.pid(), load);
  }

  // It gives way at once to the producer's client, whose waits are what is measured. (With a nice
  // value instead, it would keep that CPU for up to 3 ms.)
  void ReadForEver(const perf::PartitionAddress& from, std::atomic<int64_t>& received) const {
    const sched_param none = {};
    perf::CheckCall(sched_setscheduler(0, SCHED_IDLE, &none), "sched_setscheduler");
    const perf::NativeConnection connection(from.port);
    const perf::DrainOptions drain;
    perf::FetchStream stream(connection.fd(), from, batch_, batches_, kChunkBytes, drain);
    stream.Start(kWindow);
    while (true) received += stream.Step();
  }

  std::string LargestLog() const {
    std::string largest;
    uintmax_t bytes = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(broker_.data_directory())) {
      if (entry.path().extension() != ".log" || entry.file_size() <= bytes) continue;
      bytes = entry.file_size();
      largest = entry.path();
    }
    return largest;
  }

  perf::MemoryGroup group_;
  perf::Broker broker_;
  perf::EncodedBatch batch_;
  int64_t batches_;
  std::vector<perf::PartitionAddress> old_;
  perf::PartitionAddress paced_;
};

int Main() {
  perf::PinToCpu(perf::kClientCpu);
  const int readers = absl::GetFlag(FLAGS_readers);
  perf::Require(readers > 0, "--readers must be at least 1");
  Bench bench;
  perf::Report report("(l) Old data is read beside a producer, in " + perf::ScratchParent());
  const auto outcomes = perf::RunInterleaved(
      {{"raw sequential read, alone", [&] { return bench.RunRawRead(); }},
       {"producer alone", [&] { return bench.RunProducer(0); }},
       {"producer and catch-up reader", [&] { return bench.RunProducer(readers); }}},
      absl::GetFlag(FLAGS_rounds), 1);
  report.Table(std::to_string(absl::GetFlag(FLAGS_memory_mib)) + " MiB of memory, twice that read",
               outcomes,
               {{"gb_per_s", "GB/s read", 2},
                {"p50_us", "p50 us", 1},
                {"p99_us", "p99 us", 1},
                {"p999_us", "p99.9 us", 1},
                {"cpu_s", "server CPU", 2}});
  report.Add({"(l) GB/s read, broker / raw read alone",
              perf::RatioOf(outcomes[2], outcomes[0], "gb_per_s"), perf::Goal::Sense::kAtLeast, 0.5,
              "x"});
  report.Add({"(l) producer's p99, with a reader / alone",
              perf::RatioOf(outcomes[2], outcomes[1], "p99_us"), perf::Goal::Sense::kAtMost, 1.5,
              "x"});
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Old data is read beside a producer.",
                                    ringtail::compare::Main);
}
