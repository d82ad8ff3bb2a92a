#include "perf/lab/broker_groups.h"

#include <algorithm>
#include <deque>
#include <map>
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

// The broker that a load is put on, and the topic that it makes there.
struct Target {
  uint16_t native_port = 0;
  pid_t pid = 0;
  std::string topic = "lab";
  std::map<std::string, std::string> topic_configs;
};
using Load = std::function<perf::Figures(const Target& target, double seconds)>;

struct Setting {
  std::string name;
  std::string value;
};

constexpr char kDurability[] = "durability";

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

perf::PartitionAddress MakeTopic(const Target& target) {
  return perf::CreateTopicOnCore0(target.native_port, target.topic, target.topic_configs);
}

perf::Figures Produce(const Target& target, const perf::EncodedBatch& batch,
                      const perf::LoadOptions& load, int64_t bytes_per_request) {
  const perf::PartitionAddress partition = MakeTopic(target);
  const perf::NativeConnection connection(partition.port);
  perf::ProduceWire wire(partition, batch);
  return Named(perf::RunLoad(connection.fd(), wire, target.pid, load), bytes_per_request);
}

// Single records at a rate, each acknowledged: latency counts from when one was due.
Load PacedRecords(double rate_per_s) {
  return [=](const Target& target, double seconds) {
    perf::LoadOptions load;
    load.rate_per_s = rate_per_s;
    load.requests = std::max<int64_t>(static_cast<int64_t>(rate_per_s * seconds), 20);
    load.warmup_requests = load.requests / 5;
    return Produce(target, perf::MakeSingleRecord(kRecordBytes), load, 0);
  };
}

// Batches as fast as they are acknowledged, a few outstanding.
Load Batches(int64_t batch_bytes, int64_t space_bytes) {
  return [=](const Target& target, double seconds) {
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
    return Produce(target, batch, load, static_cast<int64_t>(batch.bytes.size()));
  };
}

// Hot data, `chunk_bytes` a request, a few outstanding.
Load Fetches(int64_t chunk_bytes, int64_t data_bytes) {
  return [=](const Target& target, double seconds) {
    const perf::PartitionAddress partition = MakeTopic(target);
    const perf::EncodedBatch batch = perf::MakeBatch(kFetchBatchBytes, kRecordBytes);
    perf::LoadOptions fill;
    fill.window = 16;
    fill.warmup_requests = 0;
    fill.requests = std::max(data_bytes, 4 * chunk_bytes) / kFetchBatchBytes;
    const perf::NativeConnection connection(partition.port);
    perf::ProduceWire wire(partition, batch);
    perf::RunLoad(connection.fd(), wire, target.pid, fill);
    const perf::DrainOptions drain = {.warmup_s = seconds / 5, .seconds = seconds};
    perf::FetchStream stream(connection.fd(), partition, batch, fill.requests, chunk_bytes, drain);
    stream.Start(kWindow);
    const perf::Figures drained =
        perf::MeasureDrain(target.pid, drain, [&] { return stream.Step(); });
    return perf::Figures{{"gb_per_s", drained.at("gb_per_s")},
                         {"cpu_s_per_gb", drained.at("cpu_s_per_gb")}};
  };
}

// One producer for each core, on a partition that it owns.
Load BatchesToEachCore(int cores, int64_t batch_bytes) {
  return [=](const Target& target, double seconds) {
    const perf::EncodedBatch batch = perf::MakeBatch(batch_bytes, kRecordBytes);
    perf::LoadOptions load;
    load.window = kWindow;
    load.requests = std::max<int64_t>(static_cast<int64_t>(seconds * 2'000), 20);
    load.warmup_requests = load.requests / 5;
    std::deque<perf::Isolated> producers;
    std::vector<perf::PartitionAddress> partitions;
    for (int core = 0; core < cores; ++core) {
      partitions.push_back(perf::CreateTopicOnCore(
          target.native_port, absl::StrCat(target.topic, "-", core), static_cast<uint32_t>(core)));
    }
    perf::WorkMeter meter(target.pid);
    for (int core = 0; core < cores; ++core) {
      producers.emplace_back(perf::kClientCpu + core, [&, core] {
        const perf::NativeConnection connection(partitions[static_cast<size_t>(core)].port);
        perf::ProduceWire wire(partitions[static_cast<size_t>(core)], batch);
        return perf::RunLoad(connection.fd(), wire, target.pid, load);
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
           const std::vector<Setting>& with, const Load& load) {
    Group group{"broker", {{"flag", 0, flag}, {"load", 0, what}}, {}};
    for (const std::string& value : values) {
      std::vector<Setting> settings = with;
      settings.push_back({flag, value});
      group.cells.push_back(MakeCell(value, settings, load));
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
  void AddCores(const std::vector<std::pair<std::string, Load>>& cores, const Setting& with) {
    Group group{
        "broker", {{"flag", 0, "cores"}, {"load", 0, "batches of 64 KiB to each core"}}, {}};
    for (const auto& [count, load] : cores) {
      group.cells.push_back(MakeCell(count, {with, {"cores", count}}, load));
    }
    groups_.push_back(std::move(group));
  }

  std::vector<Group> Take() { return std::move(groups_); }

 private:
  Cell MakeCell(const std::string& path, const std::vector<Setting>& with, const Load& load) {
    Cell cell{path, true, Promise::kNone, {}};
    cell.run = selection_.running != nullptr ? OnRunning(with, load) : OnFresh(with, load);
    return cell;
  }

  std::function<perf::Figures(double)> OnFresh(const std::vector<Setting>& with,
                                               const Load& load) const {
    std::vector<std::string> flags = {"--durability=journal"};  // the broker's own default
    for (const auto& [name, value] : with) flags.push_back(absl::StrCat("--", name, "=", value));
    flags.insert(flags.end(), selection_.flags.begin(), selection_.flags.end());
    return [flags, load, program = selection_.program,
            directory = selection_.directory](double seconds) {
      perf::PinToCpu(perf::kClientCpu);
      const perf::Broker broker(program, flags, directory);
      return load({broker.native_port(), broker.pid()}, seconds);
    };
  }

  // Durability is its topic's.
  std::function<perf::Figures(double)> OnRunning(const std::vector<Setting>& with,
                                                 const Load& load) const {
    Setting swept;
    std::string durability = "journal";
    for (const Setting& setting : with) {
      if (setting.name == kDurability) {
        durability = setting.value;
      } else {
        swept = setting;
      }
    }
    return [swept, durability, load, broker = selection_.running](double seconds) {
      perf::PinToCpu(perf::kClientCpu);
      broker->Set(swept.name, swept.value);
      const Target target = {.native_port = broker->native_port(),
                             .pid = broker->pid(),
                             .topic = broker->TopicName(),
                             .topic_configs = {{"ringtail.durability", durability}}};
      const perf::Figures figures = load(target, seconds);
      broker->DeleteTopic(target.topic);
      return figures;
    };
  }

  const BrokerSelection& selection_;
  std::vector<Group> groups_;
};

}  // namespace

std::vector<std::string> SweptSettings() {
  return {"busy_poll_us", "write_path", "send_path", "journal_bypass_bytes"};
}

std::vector<Group> BrokerGroups(const BrokerSelection& selection) {
  const bool quick = selection.quick;
  const int64_t data_bytes = std::min<int64_t>(selection.space_bytes / 4, 64 << 20);
  const Setting page_cache = {kDurability, "page_cache"};
  Sweeps sweeps(selection);
  sweeps.Add(kDurability, {"journal", "page_cache"}, "1,000 records/s of 1 KiB", {},
             PacedRecords(1000));
  if (!quick) {
    sweeps.Add(kDurability, {"journal", "page_cache"}, "batches of 64 KiB", {},
               Batches(64 << 10, selection.space_bytes));
  }
  sweeps.Add("busy_poll_us",
             quick ? std::vector<std::string>{"0", "20", "100"}
                   : std::vector<std::string>{"0", "5", "20", "50", "100", "500"},
             "5,000 records/s of 1 KiB", {}, PacedRecords(5000));
  if (selection.running == nullptr) {
    sweeps.Add("journal_depth", {"1", "2", "4"}, "5,000 records/s of 1 KiB", {},
               PacedRecords(5000));
  }
  sweeps.Add("write_path", {"auto", "inline", "ring"}, "batches of 64 KiB, page cache",
             {page_cache}, Batches(64 << 10, selection.space_bytes));
  for (const int64_t chunk : quick ? std::vector<int64_t>{256 << 10}
                                   : std::vector<int64_t>{64 << 10, 256 << 10, 1 << 20}) {
    sweeps.Add("send_path", {"auto", "sendfile", "copy", "mapped", "splice", "send_zc"},
               absl::StrCat("hot fetches of ", perf::SizeName(chunk)), {page_cache},
               Fetches(chunk, data_bytes));
  }
  sweeps.Add("journal_bypass_bytes", {"65536", "262144", "1048576"}, "batches of 256 KiB", {},
             Batches(256 << 10, selection.space_bytes));
  std::vector<std::pair<std::string, Load>> sizes;
  for (const int64_t size : {int64_t{1} << 10, int64_t{16} << 10, int64_t{64} << 10,
                             int64_t{256} << 10, int64_t{1} << 20}) {
    sizes.emplace_back(perf::SizeName(size), Batches(size, selection.space_bytes));
  }
  sweeps.AddLoads("batches of this size", sizes);
  if (selection.running != nullptr) return sweeps.Take();
  std::vector<std::pair<std::string, Load>> cores;
  for (int count = 1; count <= perf::CpuCount(); count *= 2) {
    cores.emplace_back(absl::StrCat(count), BatchesToEachCore(count, 64 << 10));
  }
  sweeps.AddCores(cores, page_cache);
  return sweeps.Take();
}

}  // namespace ringtail::lab
