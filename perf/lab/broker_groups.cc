#include "perf/lab/broker_groups.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "perf/lib/broker.h"
#include "perf/lib/isolated.h"
#include "perf/lib/load.h"
#include "perf/lib/native.h"
#include "perf/lib/os.h"
#include "perf/lib/report.h"
#include "perf/lib/work_meter.h"

namespace ringtail::lab {
namespace {

constexpr int64_t kRecordBytes = 1024;
constexpr int64_t kFetchBatchBytes = 64 << 10;
constexpr int kWindow = 4;

// A load on a broker whose flags are given; returns its figures.
using Load = std::function<perf::Figures(const perf::Broker& broker, double seconds)>;

// RunLoad's figures under the lab's names.
perf::Figures Named(const perf::Figures& load, int64_t bytes_per_request) {
  perf::Figures figures = {{"ops_per_s", load.at("requests_per_s")},
                           {"cpu_us_per_op", load.at("cpu_us_per_request")}};
  for (const char* name : {"p50_us", "p99_us", "p999_us"}) figures[name] = load.at(name);
  if (bytes_per_request > 0) {
    const double gb = static_cast<double>(bytes_per_request) / 1e9;
    figures["gb_per_s"] = load.at("requests_per_s") * gb;
    figures["cpu_s_per_gb"] = load.at("cpu_us_per_request") / 1e6 / gb;
  }
  return figures;
}

perf::Figures Produce(const perf::Broker& broker, const perf::EncodedBatch& batch,
                      const perf::LoadOptions& load, int64_t bytes_per_request) {
  const perf::PartitionAddress partition = perf::CreateTopicOnCore0(broker.native_port(), "lab");
  const perf::NativeConnection connection(partition.port);
  perf::ProduceWire wire(partition, batch);
  return Named(perf::RunLoad(connection.fd(), wire, broker.pid(), load), bytes_per_request);
}

// Single records at a rate, each acknowledged: latency counts from when one was due.
Load PacedRecords(double rate_per_s) {
  return [=](const perf::Broker& broker, double seconds) {
    perf::LoadOptions load;
    load.rate_per_s = rate_per_s;
    load.requests = std::max<int64_t>(static_cast<int64_t>(rate_per_s * seconds), 20);
    load.warmup_requests = load.requests / 5;
    return Produce(broker, perf::MakeSingleRecord(kRecordBytes), load, 0);
  };
}

// Batches as fast as they are acknowledged, a few outstanding.
Load Batches(int64_t batch_bytes, int64_t space_bytes) {
  return [=](const perf::Broker& broker, double seconds) {
    // About as many as can be done in that time, and as there is room for (the journal holds them
    // once more).
    constexpr double kBytesPerSecond = 3e8;
    const auto wanted = static_cast<int64_t>(seconds * kBytesPerSecond) / batch_bytes;
    perf::LoadOptions load;
    load.window = kWindow;
    load.requests =
        std::clamp<int64_t>(wanted, 20, std::max<int64_t>(space_bytes / 2 / batch_bytes, 20));
    load.requests = std::min<int64_t>(load.requests, static_cast<int64_t>(seconds * 20'000) + 20);
    load.warmup_requests = load.requests / 5;
    const perf::EncodedBatch batch = batch_bytes > 4 * kRecordBytes
                                         ? perf::MakeBatch(batch_bytes, kRecordBytes)
                                         : perf::MakeSingleRecord(batch_bytes);
    return Produce(broker, batch, load, static_cast<int64_t>(batch.bytes.size()));
  };
}

// Hot data, `chunk_bytes` a request, a few outstanding.
Load Fetches(int64_t chunk_bytes, int64_t data_bytes) {
  return [=](const perf::Broker& broker, double seconds) {
    const perf::PartitionAddress partition = perf::CreateTopicOnCore0(broker.native_port(), "lab");
    const perf::EncodedBatch batch = perf::MakeBatch(kFetchBatchBytes, kRecordBytes);
    perf::LoadOptions fill;
    fill.window = 16;
    fill.warmup_requests = 0;
    fill.requests = std::max(data_bytes, 4 * chunk_bytes) / kFetchBatchBytes;
    const perf::NativeConnection connection(partition.port);
    perf::ProduceWire wire(partition, batch);
    perf::RunLoad(connection.fd(), wire, broker.pid(), fill);
    const perf::DrainOptions drain = {.warmup_s = seconds / 5, .seconds = seconds};
    perf::FetchStream stream(connection.fd(), partition, batch, fill.requests, chunk_bytes, drain);
    stream.Start(kWindow);
    const perf::Figures drained =
        perf::MeasureDrain(broker.pid(), drain, [&] { return stream.Step(); });
    return perf::Figures{{"gb_per_s", drained.at("gb_per_s")},
                         {"cpu_s_per_gb", drained.at("cpu_s_per_gb")}};
  };
}

// One producer for each core, on a partition that it owns.
Load BatchesToEachCore(int cores, int64_t batch_bytes) {
  return [=](const perf::Broker& broker, double seconds) {
    const perf::EncodedBatch batch = perf::MakeBatch(batch_bytes, kRecordBytes);
    perf::LoadOptions load;
    load.window = kWindow;
    load.requests = std::max<int64_t>(static_cast<int64_t>(seconds * 2'000), 20);
    load.warmup_requests = load.requests / 5;
    std::deque<perf::Isolated> producers;
    std::vector<perf::PartitionAddress> partitions;
    for (int core = 0; core < cores; ++core) {
      partitions.push_back(perf::CreateTopicOnCore(broker.native_port(), absl::StrCat("lab-", core),
                                                   static_cast<uint32_t>(core)));
    }
    perf::WorkMeter meter(broker.pid());
    for (int core = 0; core < cores; ++core) {
      producers.emplace_back(perf::kClientCpu + core, [&, core] {
        const perf::NativeConnection connection(partitions[static_cast<size_t>(core)].port);
        perf::ProduceWire wire(partitions[static_cast<size_t>(core)], batch);
        return perf::RunLoad(connection.fd(), wire, broker.pid(), load);
      });
    }
    perf::Figures worst;
    for (perf::Isolated& producer : producers) {
      const perf::Figures figures = producer.Await(perf::DeadlineSeconds(seconds));
      for (const char* name : {"p50_us", "p99_us", "p999_us"}) {
        worst[name] = std::max(worst[name], figures.at(name));
      }
    }
    const int64_t requests = (load.requests + load.warmup_requests) * cores;
    perf::Figures all = meter.Finish(requests, requests * batch_bytes);
    all.insert(worst.begin(), worst.end());
    return all;
  };
}

class Sweeps {
 public:
  explicit Sweeps(const BrokerSelection& selection) : selection_(selection) {}

  // A group of one flag: its values, all under the same load.
  void Add(const std::string& flag, const std::vector<std::string>& values, const std::string& what,
           const std::vector<std::string>& with, const Load& load) {
    Group group{"broker", {{"flag", 0, flag}, {"load", 0, what}}, {}};
    for (const std::string& value : values) {
      std::vector<std::string> flags = with;
      flags.push_back(absl::StrCat("--", flag, "=", value));
      group.cells.push_back(MakeCell(value, flags, load));
    }
    groups_.push_back(std::move(group));
  }

  // A group without a flag: loads beside each other.
  void AddLoads(const std::string& what, const std::vector<std::pair<std::string, Load>>& loads) {
    Group group{"broker", {{"load", 0, what}}, {}};
    for (const auto& [name, load] : loads) group.cells.push_back(MakeCell(name, {}, load));
    groups_.push_back(std::move(group));
  }

  // As many producers as cores, so each value has a load of its own.
  void AddCores(const std::vector<std::pair<std::string, Load>>& cores, const std::string& with) {
    Group group{
        "broker", {{"flag", 0, "cores"}, {"load", 0, "batches of 64 KiB to each core"}}, {}};
    for (const auto& [count, load] : cores) {
      group.cells.push_back(MakeCell(count, {with, absl::StrCat("--cores=", count)}, load));
    }
    groups_.push_back(std::move(group));
  }

  std::vector<Group> Take() { return std::move(groups_); }

 private:
  Cell MakeCell(const std::string& path, const std::vector<std::string>& with, const Load& load) {
    std::vector<std::string> flags = {"--durability=journal"};  // the broker's own default
    flags.insert(flags.end(), with.begin(), with.end());
    flags.insert(flags.end(), selection_.flags.begin(), selection_.flags.end());
    return {path, true, Promise::kNone,
            [flags, load, program = selection_.program,
             directory = selection_.directory](double seconds) {
              perf::PinToCpu(perf::kClientCpu);
              const perf::Broker broker(program, flags, directory);
              return load(broker, seconds);
            }};
  }

  const BrokerSelection& selection_;
  std::vector<Group> groups_;
};

}  // namespace

std::vector<Group> BrokerGroups(const BrokerSelection& selection) {
  const bool quick = selection.quick;
  const int64_t data_bytes = std::min<int64_t>(selection.space_bytes / 4, 64 << 20);
  const std::string page_cache = "--durability=page_cache";
  Sweeps sweeps(selection);
  sweeps.Add("durability", {"journal", "page_cache"}, "1,000 records/s of 1 KiB", {},
             PacedRecords(1000));
  if (!quick) {
    sweeps.Add("durability", {"journal", "page_cache"}, "batches of 64 KiB", {},
               Batches(64 << 10, selection.space_bytes));
  }
  sweeps.Add("busy_poll_us",
             quick ? std::vector<std::string>{"0", "20", "100"}
                   : std::vector<std::string>{"0", "5", "20", "50", "100", "500"},
             "5,000 records/s of 1 KiB", {}, PacedRecords(5000));
  sweeps.Add("journal_depth", {"1", "2", "4"}, "5,000 records/s of 1 KiB", {}, PacedRecords(5000));
  sweeps.Add("write_path", {"auto", "inline", "ring"}, "batches of 64 KiB, page cache",
             {page_cache}, Batches(64 << 10, selection.space_bytes));
  for (const int64_t chunk : quick ? std::vector<int64_t>{256 << 10}
                                   : std::vector<int64_t>{64 << 10, 256 << 10, 1 << 20}) {
    sweeps.Add("send_path", {"auto", "sendfile", "copy", "mapped", "splice", "send_zc"},
               absl::StrCat("hot fetches of ", perf::SizeName(chunk)), {page_cache},
               Fetches(chunk, data_bytes));
  }
  std::vector<std::pair<std::string, Load>> sizes;
  for (const int64_t size : {int64_t{1} << 10, int64_t{16} << 10, int64_t{64} << 10,
                             int64_t{256} << 10, int64_t{1} << 20}) {
    sizes.emplace_back(perf::SizeName(size), Batches(size, selection.space_bytes));
  }
  sweeps.AddLoads("batches of this size", sizes);
  std::vector<std::pair<std::string, Load>> cores;
  for (int count = 1; count <= perf::CpuCount(); count *= 2) {
    cores.emplace_back(absl::StrCat(count), BatchesToEachCore(count, 64 << 10));
  }
  sweeps.AddCores(cores, page_cache);
  return sweeps.Take();
}

}  // namespace ringtail::lab
