#include "perf/lab/engine_writes.h"

#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "engine/base/result.h"
#include "engine/core/core.h"
#include "engine/log/journal/core_journal.h"
#include "engine/log/journal/file_system_sync.h"
#include "engine/log/log.h"
#include "engine/log/log_environment.h"
#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/engine_core.h"
#include "perf/lib/native.h"
#include "perf/lib/os.h"
#include "perf/lib/timed_work.h"

namespace ringtail::lab {
namespace {

// Small files, so that those of the journal have their zeros soon. It laps them as a broker laps
// its larger ones.
constexpr int64_t kJournalFileBytes = 16 << 20;
constexpr base::Nanos kZeroing = 100 * base::kNanosPerMilli;

class Writes {
 public:
  Writes(const EngineWriteOptions& options, double seconds)
      : options_(options), seconds_(seconds), scratch_(options.directory) {
    const perf::EncodedBatch batch = perf::MakeBatch(options.batch_bytes, 1024);
    // The log writes from them, and stamps each with its offset. Page-aligned as the raw loops'
    // are.
    for (int i = 0; i < options.partitions; ++i) {
      batches_.push_back(std::make_unique<perf::Buffer>(batch.bytes.size()));
      std::memcpy(batches_.back()->data(), batch.bytes.data(), batch.bytes.size());
    }
  }

  task::Task<absl::Status> Run() {
    core::Core& core = core::Core::Current();
    RT_CO_ASSIGN_OR_RETURN(const auto group, log::SyncThread::Start(scratch_.path()));
    log::LogEnvironment env(core.io(), log::LogOptions{.write_path = options_.path}, &core);
    std::unique_ptr<log::CoreJournal> journal;
    if (options_.journal) {
      RT_CO_ASSIGN_OR_RETURN(journal, co_await OpenJournal(core.io(), group.get()));
      env.set_journal(journal.get());
    }
    RT_CO_RETURN_IF_ERROR(co_await MakeLogs(env));
    if (options_.journal) co_await core.scheduler().SleepUntil(core.now() + kZeroing);
    absl::Status status = co_await Measure();
    for (auto& log : logs_) status.Update(co_await log->CloseAndRemove());
    if (journal != nullptr) status.Update(co_await journal->Close());
    logs_.clear();
    co_return status;
  }

  perf::Figures TakeFigures() { return std::move(figures_); }

 private:
  task::Task<absl::StatusOr<std::unique_ptr<log::CoreJournal>>> OpenJournal(
      io::Backend& io, log::FileSystemSync* group) {
    const std::string directory = scratch_.path() + "/journal";
    std::filesystem::create_directory(directory);
    log::CoreJournalOptions options;
    options.journal.directory = directory + "/core-0000";
    options.journal.dir_id = base::Uuid::Random();
    options.journal.file_bytes = kJournalFileBytes;
    options.reclaim.sync_path = directory + "/sync";
    co_return co_await log::CoreJournal::Open(io, group, std::move(options));
  }

  task::Task<absl::Status> MakeLogs(log::LogEnvironment& env) {
    for (int i = 0; i < options_.partitions; ++i) {
      log::LogConfig config;
      if (options_.journal) config.durability = log::Durability::kJournal;
      RT_CO_ASSIGN_OR_RETURN(
          auto log,
          co_await log::Log::Create(env, observer_, scratch_.path() + "/" + std::to_string(i),
                                    config, {"lab", i}, base::Uuid::Random()));
      logs_.push_back(std::move(log));
    }
    co_return absl::OkStatus();
  }

  task::Task<absl::Status> AppendToEach() {
    appends_.clear();
    for (size_t i = 0; i < logs_.size(); ++i) {
      const perf::Buffer& batch = *batches_[i];
      appends_.push_back(
          logs_[i]->AppendAsLeader({reinterpret_cast<uint8_t*>(batch.data()), batch.size()}, 0));
      if (!appends_.back().ok()) co_return absl::InternalError("the log refused an append");
    }
    for (size_t i = 0; i < logs_.size(); ++i) {
      absl::Status status = options_.journal
                                ? co_await logs_[i]->WaitDurable(appends_[i], base::kNever)
                                : co_await logs_[i]->WaitWritten(appends_[i], base::kNever);
      if (!status.ok()) co_return status;
    }
    co_return absl::OkStatus();
  }

  task::Task<absl::Status> Measure() {
    const int64_t bytes = options_.batch_bytes * options_.partitions;
    const int64_t operations_max = std::max<int64_t>(options_.space_bytes / bytes, 2);
    perf::TimedWork work(seconds_);
    int64_t start_ns = perf::NowNs();
    for (int64_t operations = 0; !work.done(); ++operations) {
      RT_CO_RETURN_IF_ERROR(co_await AppendToEach());
      const int64_t end_ns = perf::NowNs();
      work.AddLatency(end_ns - std::exchange(start_ns, end_ns));
      if (operations >= operations_max) work.EndWithNext();
      work.Count(1, bytes, end_ns);
    }
    figures_ = work.figures();
    co_return absl::OkStatus();
  }

  const EngineWriteOptions options_;
  const double seconds_;
  const perf::ScratchDir scratch_;
  std::vector<std::unique_ptr<perf::Buffer>> batches_;
  log::LogObserver observer_;
  std::vector<std::unique_ptr<log::Log>> logs_;
  std::vector<log::AppendResult> appends_;
  perf::Figures figures_;
};

}  // namespace

perf::Figures RunEngineWrites(const EngineWriteOptions& options, double seconds) {
  Writes writes(options, seconds);
  perf::RunOnCore([&writes] { return writes.Run(); });
  return writes.TakeFigures();
}

}  // namespace ringtail::lab
