#include "perf/compare/engine_durable.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <utility>

#include "engine/base/result.h"
#include "engine/core/core.h"
#include "engine/log/journal/core_journal.h"
#include "engine/log/journal/file_system_sync.h"
#include "engine/log/log.h"
#include "engine/log/log_environment.h"
#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/engine_core.h"
#include "perf/lib/latencies.h"
#include "perf/lib/os.h"
#include "perf/raw/durable.h"

namespace ringtail::compare {
namespace {

constexpr int kSlowEvery = 4;
constexpr size_t kFastContenders = 3;
constexpr base::Nanos kZeroing = 2 * base::kNanosPerSecond;  // the first files' zeros, unmeasured
const char* const kNames[] = {"raw frame, O_DIRECT|DSYNC", "page cache alone",
                              "engine, journal and segments", "fdatasync one by one",
                              "fdatasync, 8 in flight"};

class Bench {
 public:
  Bench(const EngineDurableOptions& options, const perf::EncodedBatch& batch)
      : options_(options),
        batches_(static_cast<size_t>(options.partitions) * raw::kDurableBytes),
        frame_(options.directory),
        cached_(options.directory, "cached", options.partitions, Operations()),
        one_by_one_(options.directory, "each", options.partitions, Operations()),
        eight_(options.directory, "eight", options.partitions, Operations()) {
    perf::Require(batch.bytes.size() == raw::kDurableBytes, "batches of 4 KiB are compared");
    for (int i = 0; i < options.partitions; ++i) {
      char* at = batches_.data() + i * raw::kDurableBytes;
      std::memcpy(at, batch.bytes.data(), batch.bytes.size());
      sources_.push_back(at);
    }
    for (const char* name : kNames) outcomes_.push_back({name, {}});
  }

  task::Task<absl::Status> Run() {
    core::Core& core = core::Core::Current();
    RT_CO_ASSIGN_OR_RETURN(const auto group, log::SyncThread::Start(options_.directory));
    RT_CO_ASSIGN_OR_RETURN(const auto journal, co_await OpenJournal(core.io(), group.get()));
    log::LogEnvironment env(core.io(), log::LogOptions{}, &core);
    env.set_journal(journal.get());
    log::LogObserver observer;
    for (int i = 0; i < options_.partitions; ++i) {
      log::LogConfig config;
      config.durability = log::Durability::kJournal;
      const std::string directory = options_.directory + "/durable-" + std::to_string(i);
      RT_CO_ASSIGN_OR_RETURN(
          auto log, co_await log::Log::Create(env, observer, directory, config, {"durable", i},
                                              base::Uuid::Random()));
      logs_.push_back(std::move(log));
    }
    co_await core.scheduler().SleepUntil(core.now() + kZeroing);
    absl::Status status = co_await Measure();
    const log::JournalMetrics& metrics = journal->journal().metrics();
    report_ = std::to_string(metrics.frames) + " frames, p50 " +
              std::to_string(metrics.frame_us.Percentile(50)) + " us, p99 " +
              std::to_string(metrics.frame_us.Percentile(99)) + " us, " +
              std::to_string(metrics.entries_per_frame.Percentile(50)) +
              " entries in half of them; " + std::to_string(metrics.stalls) + " stalls";
    for (auto& log : logs_) status.Update(co_await log->CloseAndRemove());
    status.Update(co_await journal->Close());
    logs_.clear();
    co_return status;
  }

  std::vector<perf::Outcome> TakeOutcomes() { return std::move(outcomes_); }
  const std::string& report() const { return report_; }

 private:
  int Operations() const { return (options_.rounds + 1) * options_.operations; }

  task::Task<absl::StatusOr<std::unique_ptr<log::CoreJournal>>> OpenJournal(
      io::Backend& io, log::FileSystemSync* group) {
    const std::string directory = options_.directory + "/journal";
    std::filesystem::create_directory(directory);
    log::CoreJournalOptions options;
    options.journal.directory = directory + "/core-0000";
    options.journal.dir_id = base::Uuid::Random();
    options.journal.depth = static_cast<size_t>(options_.depth);
    options.reclaim.sync_path = directory + "/sync";
    co_return co_await log::CoreJournal::Open(io, group, std::move(options));
  }

  // One batch to each partition, and all of them durable.
  task::Task<absl::Status> AppendToEach() {
    appends_.clear();
    for (size_t i = 0; i < logs_.size(); ++i) {
      auto* bytes = reinterpret_cast<uint8_t*>(const_cast<char*>(sources_[i]));
      appends_.push_back(logs_[i]->AppendAsLeader({bytes, raw::kDurableBytes}, 0));
      if (!appends_.back().ok()) co_return absl::InternalError("the log refused an append");
    }
    for (size_t i = 0; i < logs_.size(); ++i) {
      RT_CO_RETURN_IF_ERROR(co_await logs_[i]->WaitDurable(appends_[i], base::kNever));
    }
    co_return absl::OkStatus();
  }

  void WriteRawFrames() {
    // A frame holds 250 such entries.
    constexpr int kEntriesMax = 250;
    constexpr int64_t kEntryBytes = raw::kDurableBytes + 72;
    for (int left = options_.partitions; left > 0; left -= kEntriesMax) {
      const int64_t bytes = std::min(left, kEntriesMax) * kEntryBytes + 64;
      frame_.Write((bytes + 4095) / 4096 * 4096);
    }
  }

  task::Task<absl::Status> RunOne(size_t contender) {
    switch (contender) {
      case 0:
        WriteRawFrames();
        break;
      case 1:
        cached_.Write(sources_);
        break;
      case 2:
        co_return co_await AppendToEach();
      case 3:
        one_by_one_.Write(sources_);
        one_by_one_.SyncOneByOne();
        break;
      case 4:
        eight_.Write(sources_);
        eight_.SyncEightAtOnce();
        break;
    }
    co_return absl::OkStatus();
  }

  // The first round is warm-up.
  task::Task<absl::Status> Measure() {
    const size_t all = outcomes_.size();
    for (int round = 0; round <= options_.rounds; ++round) {
      std::vector<perf::Latencies> latencies(all);
      for (int i = 0; i < options_.operations; ++i) {
        const size_t among = i % kSlowEvery == 0 ? all : kFastContenders;
        for (size_t turn = 0; turn < among; ++turn) {
          const size_t each = (static_cast<size_t>(i) + turn) % among;
          const int64_t start_ns = perf::NowNs();
          RT_CO_RETURN_IF_ERROR(co_await RunOne(each));
          latencies[each].Add(perf::NowNs() - start_ns);
        }
      }
      for (size_t i = 0; i < all && round > 0; ++i) {
        outcomes_[i].rounds["p50_us"].push_back(latencies[i].PercentileUs(0.5));
        outcomes_[i].rounds["p99_us"].push_back(latencies[i].PercentileUs(0.99));
      }
    }
    co_return absl::OkStatus();
  }

  EngineDurableOptions options_;
  perf::Buffer batches_;
  std::vector<const char*> sources_;
  raw::DirectFile frame_;
  raw::GrowingFiles cached_;
  raw::GrowingFiles one_by_one_;
  raw::GrowingFiles eight_;
  std::vector<std::unique_ptr<log::Log>> logs_;
  std::vector<log::AppendResult> appends_;
  std::vector<perf::Outcome> outcomes_;
  std::string report_;
};

}  // namespace

std::vector<perf::Outcome> RunEngineDurable(const EngineDurableOptions& options,
                                            const perf::EncodedBatch& batch, std::string* journal) {
  Bench bench(options, batch);
  perf::RunOnCore([&bench] { return bench.Run(); });
  *journal = bench.report();
  return bench.TakeOutcomes();
}

}  // namespace ringtail::compare
