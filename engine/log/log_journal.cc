// A log's side of its core's journal: ops with two halves, bypass, modes, and what reclaim asks.
#include <algorithm>
#include <coroutine>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"
#include "engine/log/journal/core_journal.h"
#include "engine/log/journal/mutants.h"
#include "engine/log/log.h"
#include "engine/task/scheduler.h"

namespace ringtail::log {
namespace {

constexpr base::Nanos kSwitchRetry = base::kNanosPerSecond;
constexpr size_t kAloneTasks = 1;  // ready when no other log writes: the end of the turn's flush

// Ends in the loop's next turn, behind the poll that hands over what this turn submits.
class NextTurn : private task::Timer {
 public:
  NextTurn() : Timer(&Fire) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    waiter_ = waiter;
    Arm(task::Scheduler::Current(), task::Scheduler::Current().now());
  }
  void await_resume() const {}

 private:
  static void Fire(Timer* timer) {
    task::Scheduler::Current().Ready(static_cast<NextTurn*>(timer)->waiter_);
  }
  std::coroutine_handle<> waiter_;
};

EntryHeader EntryAt(EntryType type, const LogEnd& end) {
  EntryHeader entry;
  entry.type = static_cast<uint8_t>(type);
  entry.base_offset = entry.end_offset = end.offset;
  entry.segment_base = end.segment_base;
  entry.position = end.position;
  return entry;
}

}  // namespace

// --- Joining the journal.

// A log that no record speaks of starts in the mode kJournal, whatever is configured: the switch to
// page_cache, before its first append, puts that on record.
task::Task<absl::Status> Log::Attach(OpenOptions options) {
  durable_end_ = written_end_;
  if (env_.journal() == nullptr) co_return absl::OkStatus();
  const bool recovered = options.recovered.has_value();
  if (recovered && !options.recovered->closed_reason.empty()) {
    write_status_ = absl::FailedPreconditionError(options.recovered->closed_reason);
    poisoned_ = read_only_ = true;
    co_return absl::OkStatus();
  }
  untouched_ = recovered && options.clean && options.recovered->proven;
  if (!recovered || !options.recovered->proven) RT_CO_RETURN_IF_ERROR(co_await SyncWritten());
  mode_ =
      recovered && options.recovered->page_cache ? Durability::kPageCache : Durability::kJournal;
  JournaledLog& self = *this;
  journal_ = std::make_unique<JournalPartition>(env_.journal()->journal(), self, options.topic_id,
                                                static_cast<uint32_t>(name_.partition));
  env_.journal()->sync().Add(journal_.get());
  if (!recovered && log_end_.value() == 0) co_return absl::OkStatus();  // new: empty
  JournalPartition::Mark base;
  base.end = WrittenPlace();
  base.log_start = static_cast<uint64_t>(log_start_.value());
  base.leader_epoch = static_cast<uint32_t>(std::max(epochs_.latest(), 0));
  base.page_cache = mode_ == Durability::kPageCache;
  journal_->SetBase(base);
  co_return absl::OkStatus();
}

bool Log::JournalClosed() const {
  return journal_ != nullptr && env_.journal()->journal().state() == Journal::State::kClosed;
}

// Where what is written ends. A segment that is still empty has no file perhaps: the end of the one
// before is the same place.
LogEnd Log::WrittenPlace() {
  size_t index = segments_.size() - 1;
  if (!queue_.empty()) {
    while (segments_[index].get() != queue_.front().segment) --index;
  }
  if (segments_[index]->written_bytes == 0 && index > 0) --index;
  const Segment& segment = *segments_[index];
  return {static_cast<uint64_t>(written_end_.value()),
          static_cast<uint64_t>(segment.base().value()),
          static_cast<uint32_t>(segment.written_bytes)};
}

// --- Staging.

// Waits for room as long as it takes. `error` kClosed: WhyNotStaged().
task::Task<JournalPartition::Staged> Log::StageEntry(EntryHeader entry,
                                                     std::span<const iovec> parts) {
  const Payload payload(parts);
  const bool drops = entry.type == static_cast<uint8_t>(EntryType::kDrop);
  while (!poisoned_ && (drops || !dropping_)) {
    const JournalPartition::Staged staged = journal_->Stage(entry, payload);
    if (staged.error != StageError::kFull && staged.error != StageError::kStalled) {
      RT_CHECK(staged.error != StageError::kTooLarge);
      co_return staged;
    }
    co_await env_.journal()->journal().WaitForRoom(payload.bytes(), base::kNever);
  }
  co_return JournalPartition::Staged{.error = StageError::kClosed};
}

absl::Status Log::WhyNotStaged() const {
  if (poisoned_) return write_status_;
  if (JournalClosed()) return env_.journal()->journal().status();
  return absl::AbortedError(name_.ToString() + ": being deleted, or the broker stops");
}

// Its frame is durable when it ends; `op` is to be told as applied.
task::Task<absl::Status> Log::StageDurably(EntryHeader entry, uint64_t* op) {
  const JournalPartition::Staged staged = co_await StageEntry(entry, {});
  if (!staged.ok()) co_return WhyNotStaged();
  *op = staged.op;
  co_return co_await env_.journal()->journal().WaitDurable(staged.seq);
}

// The same for an entry that asks nothing of the segments.
task::Task<absl::Status> Log::Record(EntryHeader entry) {
  uint64_t op = 0;
  RT_CO_RETURN_IF_ERROR(co_await StageDurably(entry, &op));
  journal_->Applied(op);
  co_return absl::OkStatus();
}

// Ends when all ops are done, or never will be.
task::Task<absl::Status> Log::OpsDone() {
  while (journal_ != nullptr && journal_->pending_ops() > 0 && !poisoned_ && !journal_failed_) {
    co_await ops_changed_.Wait();
  }
  if (poisoned_) co_return write_status_;
  co_return journal_failed_ ? env_.journal()->journal().status() : absl::OkStatus();
}

// The entry of an op that failed may be durable: it must not come back behind what is appended now.
task::Task<absl::Status> Log::StagePendingCut() {
  if (!cut_pending_) co_return absl::OkStatus();
  const JournalPartition::Staged staged =
      co_await StageEntry(EntryAt(EntryType::kTruncate, WrittenPlace()), {});
  if (!staged.ok()) co_return WhyNotStaged();
  cut_pending_ = false;
  journal_->Applied(staged.op);
  co_return absl::OkStatus();
}

// --- Writing.

task::Task<void> Log::WriteJournaled(FilePin pin) {
  CoreJournal& core = *env_.journal();
  const int64_t fits = static_cast<int64_t>(core.journal().payload_bytes_max());
  const int64_t bypass_bytes = static_cast<int64_t>(core.bypass_bytes());
  // As many batches as fit a frame, or one that is larger.
  int64_t bytes = 0;
  size_t entries = GatherWrite(fits, &bytes);
  bool bypass = bytes >= bypass_bytes && core.TakeBypass();
  if (!bypass && bytes > fits) {
    co_await core.WaitForBypass();
    bypass = true;
  }
  if (bypass) {
    entries = GatherWrite(env_.options().write_bytes_max, &bytes);
    co_await WriteInPlace(std::move(pin), entries, bytes);
    core.ReturnBypass();
    co_return;
  }
  co_await WriteOp(std::move(pin), entries, bytes);
}

// The segment write begins in the turn in which the entry is staged, or where other logs have
// something to write, too, in the next one: inline writes take this thread, so the frame with all
// their entries goes out first, and the device works meanwhile. Neither waits for the other.
// 4 KiB to each of 64 partitions, ext4: see (f) in perf/README.md.
task::Task<void> Log::WriteOp(FilePin pin, size_t entries, int64_t bytes) {
  Segment& segment = *queue_.front().segment;
  absl::Status status = co_await StagePendingCut();
  JournalPartition::Staged staged{.error = StageError::kClosed};
  if (status.ok()) {
    const auto first = ParseBatchHeader(queue_.front().bytes);
    RT_CHECK(first.ok());
    EntryHeader entry;
    entry.type = static_cast<uint8_t>(EntryType::kAppend);
    entry.base_offset = static_cast<uint64_t>(first.batch.base_offset().value());
    entry.end_offset = static_cast<uint64_t>(queue_[entries - 1].end.value());
    entry.leader_epoch = static_cast<uint32_t>(std::max(first.batch.leader_epoch(), 0));
    entry.segment_base = static_cast<uint64_t>(segment.base().value());
    entry.position = static_cast<uint32_t>(segment.written_bytes);
    staged = co_await StageEntry(entry, vectors_);
  }
  if (!staged.ok()) {
    FailQueue(status.ok() ? WhyNotStaged() : status);
    co_return;
  }
  if (task::Scheduler::Current().ready_count() > kAloneTasks) {
    co_await NextTurn();
    // The turn was over before all had staged theirs.
    if (env_.journal()->journal().next_seq() <= staged.seq) co_await NextTurn();
  }
  const int64_t done = co_await WriteGathered(pin, segment, bytes);
  if (done == bytes) {
    Written(entries, bytes);
    journal_->Applied(staged.op);
    co_return;
  }
  const absl::Status why = WriteError(done, segment);
  const bool transient = absl::IsResourceExhausted(why);
  if (transient) {
    journal_->Abandoned(staged.op);
    cut_pending_ = true;
  }
  WriteFailed(why, transient, bytes);
}

// Bypass: too large for a frame, or for two copies to pay. Synced where it belongs, then vouched
// for by one small entry.
task::Task<void> Log::WriteInPlace(FilePin pin, size_t entries, int64_t bytes) {
  Segment& segment = *queue_.front().segment;
  absl::Status status = co_await StagePendingCut();
  if (status.ok()) status = co_await OpsDone();
  if (!status.ok()) {
    FailQueue(status);
    co_return;
  }
  const int64_t done = co_await WriteGathered(pin, segment, bytes);
  if (done != bytes) {
    const absl::Status why = WriteError(done, segment);
    WriteFailed(why, absl::IsResourceExhausted(why), bytes);
    co_return;
  }
  ++env_.counters().bypasses;
  const uint32_t epoch = static_cast<uint32_t>(std::max(epochs_.latest(), 0));
  Written(entries, bytes);
  EntryHeader entry = EntryAt(EntryType::kInPlace, WrittenPlace());
  entry.leader_epoch = epoch;
  status = co_await SyncWithSpace();
  if (!status.ok()) {
    Poison(status);
    co_return;
  }
  const JournalPartition::Staged staged = co_await StageEntry(entry, {});
  if (!staged.ok()) {
    FailUndurable(WhyNotStaged());
    co_return;
  }
  journal_->Applied(staged.op);
}

// --- Modes.

bool Log::MustSwitchMode() const {
  return journal_ != nullptr && config_.durability != mode_ && !closed_ && !poisoned_ &&
         !JournalClosed();
}

// Behind what was queued before, ahead of what is queued now. What is on disk up to here is synced
// in either direction, so that one entry says all: earlier ones are void.
task::Task<void> Log::SwitchMode() {
  const Durability to = config_.durability;
  absl::Status status = co_await StagePendingCut();
  if (status.ok()) status = co_await OpsDone();
  if (status.ok()) status = co_await SyncInPlace();
  if (status.ok()) {
    EntryHeader entry = EntryAt(EntryType::kInPlace, WrittenPlace());
    entry.leader_epoch = static_cast<uint32_t>(std::max(epochs_.latest(), 0));
    entry.flags = to == Durability::kPageCache ? kInPlacePageCache : 0;
    status = co_await Record(entry);
  }
  if (status.ok()) {
    mode_ = to;
    durable_end_ = written_end_;
    co_return;
  }
  if (poisoned_ || JournalClosed()) {
    if (!queue_.empty()) FailQueue(status);
    co_return;
  }
  co_await ops_changed_.WaitUntil(task::Scheduler::Current().now() + kSwitchRetry);
}

task::Task<absl::Status> Log::BeginEpoch(int32_t leader_epoch) {
  const bool first = epochs_.latest() < 0 && leader_epoch == 0;  // that of every new log
  if (journal_ == nullptr || poisoned_ || first || leader_epoch <= epochs_.latest()) {
    co_return absl::OkStatus();
  }
  EntryHeader entry;
  entry.type = static_cast<uint8_t>(EntryType::kEpoch);
  entry.leader_epoch = static_cast<uint32_t>(leader_epoch);
  entry.base_offset = entry.end_offset = static_cast<uint64_t>(log_end_.value());
  co_return co_await Record(entry);
}

// --- Cuts and the end.

// Ok: it is durable that the log ends at `end`, and `op` waits for being told that it does.
task::Task<absl::Status> Log::StageCut(LogEnd end, uint8_t flags, uint64_t* op) {
  if (journal_ != nullptr) {
    RT_CO_RETURN_IF_ERROR(co_await OpsDone());
    EntryHeader entry = EntryAt(EntryType::kTruncate, end);
    entry.flags = flags;
    RT_CO_RETURN_IF_ERROR(co_await StageDurably(entry, op));
    cut_pending_ = false;
  }
  ++truncations_;
  co_return absl::OkStatus();
}

// The cut is made and synced. A page_cache log's further appends have no entries: recovery cuts at
// a TRUNCATE that is the last word, and scans on from this.
task::Task<absl::Status> Log::CutDone(uint64_t op) {
  if (journal_ == nullptr) co_return absl::OkStatus();
  journal_->Applied(op);
  if (mode_ != Durability::kPageCache) co_return absl::OkStatus();
  EntryHeader entry = EntryAt(EntryType::kInPlace, WrittenPlace());
  entry.flags = kInPlacePageCache;
  co_return co_await Record(entry);
}

task::Task<absl::Status> Log::Trim(base::Offset start) {
  start = std::min(start, durable_end_);
  if (start <= log_start_) co_return absl::OkStatus();
  if (closed_ || poisoned_) co_return absl::AbortedError(name_.ToString() + ": closed or failed");
  if (journal_ != nullptr) RT_CO_RETURN_IF_ERROR(co_await RecordTrim(start));
  start = std::min(start, durable_end_);  // a truncation may have come between
  if (start <= log_start_) co_return absl::OkStatus();
  log_start_ = start;
  if (epochs_.TruncateFromStart(start)) epochs_dirty_ = true;
  co_return absl::OkStatus();
}

// Retention of a page_cache log outlives its core's journal: nothing of such a log is in the
// journal alone, so a checkpoint, which is a file of its own, can say where it starts.
task::Task<absl::Status> Log::RecordTrim(base::Offset start) {
  if (JournalClosed() && mode_ == Durability::kPageCache) {
    co_return co_await env_.journal()->sync().RecordStart(journal_.get(),
                                                          static_cast<uint64_t>(start.value()));
  }
  EntryHeader entry;
  entry.type = static_cast<uint8_t>(EntryType::kTrim);
  entry.base_offset = entry.end_offset = static_cast<uint64_t>(start.value());
  co_return co_await Record(entry);
}

// The op of a DROP that is durable; 0: a journal that failed takes none, and the catalog, which
// knows that the topic is gone, has the next start finish it.
task::Task<uint64_t> Log::StageDrop() {
  dropping_ = true;
  if (poisoned_ || JournalClosed()) co_return 0;
  EntryHeader entry;
  entry.type = static_cast<uint8_t>(EntryType::kDrop);
  uint64_t op = 0;
  co_return (co_await StageDurably(entry, &op)).ok() ? op : 0;
}

task::Task<absl::Status> Log::Drop(uint64_t op) {
  const std::string gone =
      absl::StrCat(directory_, ".", journal_->topic_id().ToString(), "-delete");
  absl::Status status = co_await io::Rename(env_.io(), directory_, gone);
  if (status.ok()) status = co_await io::SyncDirectory(env_.io(), io::ParentOf(directory_));
  dropped_ = true;
  if (status.ok() && op != 0) journal_->Applied(op);
  maintenance_.Unlock();  // a sync in flight may wait for it
  co_await env_.journal()->sync().Remove(journal_.get());
  co_await maintenance_.Lock();
  if (!status.ok()) co_return status;
  co_return co_await io::RemoveDirectoryWithFiles(env_.io(), gone, kPartitionMetadataFile);
}

// What the journal and its reclaim tell and ask.

void Log::FailUndurable(const absl::Status& why) {
  if (durable_end_ >= written_end_) return;
  FailFrom(durable_end_, why);
  observer_.OnRolledBack(durable_end_, why);
}

void Log::OnDurable(uint64_t, const LogEnd& end) {
  ops_changed_.NotifyAll();
  const base::Offset offset(static_cast<int64_t>(end.offset));
  if (mode_ != Durability::kJournal || offset <= durable_end_) return;
  RT_CHECK(offset <= written_end_ || kMutantAckBeforeFrame);  // J1
  durable_end_ = offset;
  WakeWaiters();
  observer_.OnDurable(durable_end_);
}

void Log::OnAbandoned(uint64_t) { ops_changed_.NotifyAll(); }

void Log::OnJournalFailed(uint64_t, const absl::Status& why) {
  if (std::exchange(journal_failed_, true)) return;
  ops_changed_.NotifyAll();
  if (mode_ == Durability::kJournal) FailUndurable(why);
}

void Log::OnPoisoned(const absl::Status& why) { Poison(why); }

// Whatever was sealed is saved with its indexes and epochs first: recovery trusts them below the
// segment in which R lies.
task::Task<absl::Status> Log::SyncFiles() {
  const int64_t before = unsynced_bytes_;
  RT_CO_RETURN_IF_ERROR(co_await SaveSealed());
  for (size_t i = 0; i < segments_.size(); ++i) {
    Segment& segment = *segments_[i];
    if (!segment.dirty) continue;
    RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await env_.files().Pin(segment.file()));
    segment.dirty = false;
    const absl::Status synced = co_await io::SyncFile(env_.io(), pin.fd(), segment.file()->path());
    if (!synced.ok()) {
      segment.dirty = true;
      Poison(synced);
      co_return synced;
    }
  }
  RT_CO_RETURN_IF_ERROR(co_await SyncNames());
  RT_CO_RETURN_IF_ERROR(co_await SaveEpochs(/*sync=*/true));
  unsynced_bytes_ -= before;
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::SyncInPlace() {
  co_await maintenance_.Lock();
  absl::Status status;
  if (!dropped_) status = poisoned_ ? write_status_ : co_await SyncFiles();
  maintenance_.Unlock();
  co_return status;
}

// No space for an index or a snapshot is no failed sync: it is tried again until there is.
task::Task<absl::Status> Log::SyncWithSpace() {
  while (true) {
    const absl::Status status = co_await SyncInPlace();
    if (!absl::IsResourceExhausted(status) || poisoned_ || closed_) co_return status;
    co_await ops_changed_.WaitUntil(task::Scheduler::Current().now() + kSwitchRetry);
  }
}

task::Task<absl::Status> Log::StartWriteback() {
  co_await maintenance_.Lock();
  absl::Status status;
  if (!dropped_) status = poisoned_ ? write_status_ : co_await WriteBackFiles();
  maintenance_.Unlock();
  co_return status;
}

task::Task<absl::Status> Log::WriteBackFiles() {
  RT_CO_RETURN_IF_ERROR(co_await SaveSealed());
  RT_CO_RETURN_IF_ERROR(co_await SaveEpochs(/*sync=*/false));
  for (size_t i = 0; i < segments_.size(); ++i) {
    Segment& segment = *segments_[i];
    if (!segment.dirty) continue;
    RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await env_.files().Pin(segment.file()));
    segment.writeback_bytes = segment.written_bytes;
    RT_CO_RETURN_IF_ERROR(co_await io::StartWriteback(env_.io(), pin.fd(), 0, segment.written_bytes,
                                                      segment.file()->path()));
  }
  co_return absl::OkStatus();
}

// After a group sync: what was written since it began is still unsynced.
void Log::OnSynced(uint64_t, const LogEnd&) {
  bool all = true;
  for (const auto& segment : segments_) {
    if (segment->dirty && segment->writeback_bytes == segment->written_bytes) {
      segment->dirty = false;
    }
    all = all && !segment->dirty;
  }
  if (all) unsynced_bytes_ = 0;
  epochs_unsynced_ = false;  // written before the sync began, or synced by themselves
}

// A page_cache log has no entries that lead to its end: sealed segments say how far it is synced.
void Log::TellSynced(const LogEnd& end) {
  if (journal_ == nullptr || mode_ != Durability::kPageCache || poisoned_) return;
  if (journal_->pending_ops() > 0 || end.offset <= journal_->durable_end().offset) return;
  journal_->SyncedTo(end);
}

}  // namespace ringtail::log
