#include "perf/compare/engine_compaction.h"

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <utility>
#include <vector>

#include "engine/core/core.h"
#include "engine/log/log.h"
#include "engine/log/log_environment.h"
#include "engine/partition/compaction.h"
#include "engine/records/record_batch_builder.h"
#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/engine_core.h"

namespace ringtail::compare {
namespace {

constexpr int64_t kPieceBytes = 1 << 20;
constexpr size_t kKeyMemory = size_t{64} << 20;
constexpr int64_t kDeleteRetentionMs = 24 * 3600 * 1000;

// One batch after the other of what both compact.
class Content {
 public:
  explicit Content(const CompactionRunOptions& options)
      : options_(options),
        value_(static_cast<size_t>(options.value_bytes), 'v'),
        builder_({.batch_bytes_max = static_cast<size_t>(options.batch_bytes)}) {}

  std::vector<uint8_t> Next() {
    const int64_t base = next_;
    while (true) {
      const std::string key = "key-" + std::to_string(next_ % options_.keys);
      const records::RecordInput record = {.key = base::AsBytes(key),
                                           .value = base::AsBytes(value_),
                                           .timestamp_ms = 1'700'000'000'000 + next_};
      if (builder_.Append(record) != records::AppendResult::kAppended) break;
      ++next_;
    }
    auto batch = builder_.Finish({.base_offset = base::Offset(base)});
    perf::Require(batch.ok(), "no batch");
    return *std::move(batch);
  }

 private:
  const CompactionRunOptions& options_;
  std::string value_;
  records::RecordBatchBuilder builder_;
  int64_t next_ = 0;
};

struct Round {
  CompactionRunOptions options;
  double wall_s = 0;
  double cpu_s = 0;
  double before_bytes = 0;
  double after_bytes = 0;
  partition::CompactionCounters counters;

  perf::Figures Figures() const {
    const double gb = before_bytes / perf::kBytesPerGb;
    return {{"gb_per_s", gb / wall_s},
            {"cpu_s_per_gb", cpu_s / gb},
            {"kept", after_bytes / before_bytes}};
  }
};

struct NoPace : log::CompactionPace {
  task::Task<void> Spend(int64_t) override { co_await task::Yield(); }
};

task::Task<absl::Status> Fill(log::Log* log, const CompactionRunOptions& options) {
  Content content(options);
  while (log->size_bytes() < options.total_bytes) {
    std::vector<uint8_t> batch = content.Next();
    const log::AppendResult append = log->AppendAsLeader(batch, /*leader_epoch=*/0);
    if (!append.ok()) co_return absl::InternalError("the log refused an append");
    const absl::Status written = co_await log->WaitWritten(append, base::kNever);
    if (!written.ok()) co_return written;
  }
  const absl::Status rolled = log->Roll();
  if (!rolled.ok()) co_return rolled;
  co_return co_await log->Sync();
}

task::Task<absl::Status> RunRound(Round* round) {
  core::Core& core = core::Core::Current();
  log::LogEnvironment env(core.io(), log::LogOptions{}, &core);
  log::LogObserver observer;
  log::LogConfig config;
  config.segment_bytes_max = round->options.segment_bytes;
  auto log = co_await log::Log::Create(env, observer, round->options.directory + "/compacted-0",
                                       config, {"compacted", 0}, base::Uuid{});
  if (!log.ok()) co_return log.status();
  absl::Status status = co_await Fill(log->get(), round->options);
  if (!status.ok()) co_return status;
  // Full segments are trimmed and indexed in the background.
  absl::StatusOr<base::Offset> end = co_await (*log)->CompactableEnd();
  while (end.ok() && *end < (*log)->log_end()) {
    co_await core.scheduler().SleepUntil(core.now() + base::kNanosPerMilli);
    end = co_await (*log)->CompactableEnd();
  }
  if (!end.ok()) co_return end.status();
  sync();
  const perf::Meter meter(getpid());
  partition::LatestByKey filter(kKeyMemory, kDeleteRetentionMs, 0, &round->counters);
  NoPace pace;
  const auto done = co_await (*log)->Compact({base::Offset(0), *end}, filter, pace);
  round->wall_s = meter.WallSeconds();
  round->cpu_s = meter.CpuSeconds();
  if (!done.ok()) co_return done.status();
  round->before_bytes = static_cast<double>(done->bytes_before);
  round->after_bytes = static_cast<double>(done->bytes_after);
  co_return co_await (*log)->CloseAndRemove();
}

class File {
 public:
  File(const std::string& path, int flags) : path_(path), fd_(open(path.c_str(), flags, 0644)) {
    perf::Require(fd_ >= 0, "cannot open " + path);
  }
  File(const File&) = delete;
  ~File() { close(fd_); }
  int fd() const { return fd_; }
  void Write(const std::vector<uint8_t>& bytes) {
    perf::Require(
        pwrite(fd_, bytes.data(), bytes.size(), at_) == static_cast<ssize_t>(bytes.size()),
        "cannot write " + path_);
    at_ += static_cast<off_t>(bytes.size());
  }
  int64_t written() const { return at_; }

 private:
  std::string path_;
  int fd_;
  off_t at_ = 0;
};

// All batches of a file, read piece by piece.
template <class Visit>
void ForBatches(const std::string& path, Visit visit) {
  const File file(path, O_RDONLY);
  std::vector<uint8_t> window;
  off_t at = 0;
  for (bool more = true; more;) {
    const size_t left = window.size();
    window.resize(left + kPieceBytes);
    const ssize_t done = pread(file.fd(), window.data() + left, kPieceBytes, at);
    perf::Require(done >= 0, "cannot read " + path);
    at += done;
    more = done > 0;
    window.resize(left + static_cast<size_t>(done));
    log::BatchWalker walker(window);
    while (walker.Next()) {
      perf::Require(
          log::ValidateBatch(walker.batch(), log::BatchRules::Verbatim()) == log::BatchError::kNone,
          "a damaged batch");
      visit(walker.batch());
    }
    window.erase(window.begin(), window.begin() + static_cast<ptrdiff_t>(walker.end()));
  }
}

std::vector<std::string> WriteFiles(const CompactionRunOptions& options) {
  std::vector<std::string> paths;
  Content content(options);
  std::unique_ptr<File> file;
  for (int64_t total = 0; total < options.total_bytes;) {
    if (file == nullptr || file->written() + options.batch_bytes > options.segment_bytes) {
      paths.push_back(options.directory + "/raw." + std::to_string(paths.size()));
      file = std::make_unique<File>(paths.back(), O_CREAT | O_TRUNC | O_WRONLY);
    }
    const std::vector<uint8_t> batch = content.Next();
    file->Write(batch);
    total += static_cast<int64_t>(batch.size());
  }
  return paths;
}

void CompactFiles(const std::vector<std::string>& paths, Round* round) {
  partition::LatestByKey filter(kKeyMemory, kDeleteRetentionMs, 0, &round->counters);
  for (const std::string& path : paths) {
    ForBatches(path, [&](const log::BatchView& batch) {
      perf::Require(filter.Learn(batch), "too many keys");
    });
  }
  for (const std::string& path : paths) {
    File out(path + ".new", O_CREAT | O_TRUNC | O_WRONLY);
    std::vector<uint8_t> buffer;
    ForBatches(path, [&](const log::BatchView& batch) {
      round->before_bytes += static_cast<double>(batch.size_bytes());
      const auto verdict = filter.Filter(batch, &buffer);
      perf::Require(verdict.ok(), "no verdict");
      if (*verdict == log::BatchFilter::Verdict::kKeep) {
        buffer.insert(buffer.end(), batch.bytes().begin(), batch.bytes().end());
      }
      if (static_cast<int64_t>(buffer.size()) < kPieceBytes) return;
      out.Write(buffer);
      buffer.clear();
    });
    out.Write(buffer);
    round->after_bytes += static_cast<double>(out.written());
    perf::Require(fdatasync(out.fd()) == 0 && rename((path + ".new").c_str(), path.c_str()) == 0,
                  "cannot replace " + path);
  }
}

}  // namespace

perf::Figures RunEngineCompaction(const CompactionRunOptions& options) {
  Round round;
  round.options = options;
  perf::RunOnCore([&round] { return RunRound(&round); });
  return round.Figures();
}

perf::Figures RunRawCompaction(const CompactionRunOptions& options) {
  Round round;
  const std::vector<std::string> paths = WriteFiles(options);
  sync();
  const perf::Meter meter(getpid());
  CompactFiles(paths, &round);
  round.wall_s = meter.WallSeconds();
  round.cpu_s = meter.CpuSeconds();
  for (const std::string& path : paths) unlink(path.c_str());
  return round.Figures();
}

}  // namespace ringtail::compare
