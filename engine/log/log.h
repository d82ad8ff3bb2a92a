// One partition's log: the segments in a directory `<data>/<topic>-<partition>`, in Kafka's formats
// (FORMAT.md). It belongs to one core; everything here is called on that core.
//
// Four ends, log_start <= durable_end <= written_end <= log_end:
//   log_start    the first offset that may be read
//   durable_end  all below is in the journal, too, where the log's durability asks for it (else it
//                is written_end): what may be acknowledged
//   written_end  all below is in the page cache of its segment: what can be read
//   log_end      the next offset to assign; what lies between is queued or being written
//
// Append* assigns and queues at once. A writer task writes what is queued, one write in flight at a
// time, all that came meanwhile joining the next vectored write, straight from the caller's bytes:
// they must stay where they are until written_end() has passed them or their append has failed.
//
// Durability (LogConfig): with kJournal each write is an op with two halves, the segment write and
// an entry in the core's journal, which go out in the same turn; the op is durable when both are
// done, here and in all ops before it. Large ops are synced in place instead (bypass). Another
// durability takes effect between two writes.
//
// Space. While the file system has less than its reserve (DiskReserve) appends are refused
// (kNoSpace); what was queued before is written.
//
// Failed writes. No space: the whole queue fails, log_end falls back to written_end, and appends
// are refused (kNoSpace) until the file system has space again. Anything else: the log is poisoned,
// no appends (kPoisoned) until it is opened anew. A journal that closed refuses appends to all
// kJournal logs of its core (kJournalClosed). Reads go on in all cases; what was written but is not
// durable then is never acknowledged.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "engine/base/ring_queue.h"
#include "engine/base/types.h"
#include "engine/log/batch.h"
#include "engine/log/compaction.h"
#include "engine/log/epoch_cache.h"
#include "engine/log/journal/journal_partition.h"
#include "engine/log/log_environment.h"
#include "engine/log/log_observer.h"
#include "engine/log/log_options.h"
#include "engine/log/position_cache.h"
#include "engine/log/read_plan.h"
#include "engine/log/reader_hold.h"
#include "engine/log/segment.h"
#include "engine/task/sync.h"
#include "engine/task/task.h"

namespace ringtail::log {

struct TopicPartition {
  std::string topic;
  int32_t partition = 0;

  // "<topic>-<partition>", the name of its directory.
  std::string ToString() const { return topic + "-" + std::to_string(partition); }
};

enum class AppendError : uint8_t {
  kNone,
  kNoSpace,        // the file system is full: KAFKA_STORAGE_ERROR, retriable
  kPoisoned,       // a write or sync failed: KAFKA_STORAGE_ERROR until the log is opened anew
  kJournalClosed,  // the core's journal failed: KAFKA_STORAGE_ERROR until a restart
  kClosed,         // being closed or truncated: NOT_LEADER_OR_FOLLOWER
  kBadBatches,     // not whole batches, or larger than a segment may be
  // More offsets than a segment can index; AppendVerbatim: does not start at or after log_end, or
  // runs backwards.
  kBadOffset,
};

// What an append did. Pass it to WaitWritten as it is.
struct AppendResult {
  AppendError error = AppendError::kNone;
  base::Offset base_offset;  // of the first batch
  base::Offset end_offset;   // exclusive; where the next append begins
  int64_t max_timestamp_ms = kNoTimestamp;
  uint32_t generation = 0;  // log_end has fallen back this often before

  bool ok() const { return error == AppendError::kNone; }
};

struct RecoveredLog {
  // Proven: the log ends at `end` and so do its files: nothing is cut at open, and what cannot be
  // read below is damage (DataLoss). Else: scanned on from there, cut at the first bad batch.
  bool proven = false;
  LogEnd end;
  // Indexes and epochs of segments that end at or below this are as they were saved; from the
  // segment that starts here on they are made again from the batches.
  base::Offset rebuild_from;
  base::Offset log_start;
  bool page_cache = false;  // the mode it was in
  // What is found behind `end` may be in the page cache only, though it counts as clean.
  bool write_again = false;
  // Not empty: damaged. Opens for reading up to `end`, appends are refused with this.
  std::string closed_reason;
};

struct OpenOptions {
  // The data directory was closed cleanly (see data_directory.h): sizes and indexes are trusted.
  bool clean = false;
  // Segments that end at or below this were synced, so that they need no scan.
  base::Offset recovery_point;
  // From log-start-offset-checkpoint.
  base::Offset log_start;
  // What the journal names the log by; counts where the core has one.
  base::Uuid topic_id;
  // What recovery of the journals has found; replaces recovery_point and log_start.
  std::optional<RecoveredLog> recovered;
  // Whose partition.metadata recovery has just read, and it is this partition's; may be empty.
  std::string checked_directory;
};

struct RecoveryInfo {
  bool scanned = false;  // false: trusted as it was
  int64_t bytes_scanned = 0;
  int64_t bytes_cut = 0;          // damaged or unfinished, behind the last whole batch
  uint32_t segments_removed = 0;  // behind a cut, or debris
  std::string cut_reason;         // for the log; empty where nothing but zeros was cut
};

struct TimestampOffset {
  int64_t timestamp_ms = kNoTimestamp;
  base::Offset offset;
  int32_t leader_epoch = -1;
};

class Log : private JournaledLog {
 public:
  // Makes the directory and an empty log that starts at offset 0. AlreadyExists.
  // `env` and `observer` outlive the log.
  static task::Task<absl::StatusOr<std::unique_ptr<Log>>> Create(
      LogEnvironment& env, LogObserver& observer, std::string directory, LogConfig config,
      TopicPartition name, base::Uuid topic_id);
  // Opens what is there, or an empty log where the directory holds no segment. NotFound without a
  // directory. `info` may be null.
  static task::Task<absl::StatusOr<std::unique_ptr<Log>>> Open(
      LogEnvironment& env, LogObserver& observer, std::string directory, LogConfig config,
      TopicPartition name, OpenOptions options, RecoveryInfo* info);
  ~Log() override;  // closed, or the backend has dropped all operations
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  const TopicPartition& name() const { return name_; }
  const std::string& directory() const { return directory_; }
  const LogConfig& config() const { return config_; }
  // Another durability takes effect behind what is queued now.
  void SetConfig(const LogConfig& config);

  base::Offset log_start() const { return log_start_; }
  base::Offset durable_end() const { return durable_end_; }
  base::Offset written_end() const { return written_end_; }
  base::Offset log_end() const { return log_end_; }
  // Everything below was synced to the device.
  base::Offset synced_end() const { return synced_end_; }
  // Segments that end at or below it were closed and synced with their indexes: what
  // OpenOptions::recovery_point takes after a crash.
  base::Offset recovery_point() const { return recovery_point_; }
  // What is not durable by now will not be: poisoned, or the journal failed.
  bool failed() const { return poisoned_ || (journal_failed_ && Journaled()); }
  // Ok, or why appends are refused.
  const absl::Status& write_status() const { return write_status_; }
  // Bytes of batches in all segments, preallocated space not counted.
  int64_t size_bytes() const;
  int64_t index_bytes() const;
  // What the segments' files have been given beyond their batches.
  int64_t preallocated_bytes() const;
  size_t segment_count() const { return segments_.size(); }
  int64_t queued_bytes() const { return queued_bytes_; }
  const EpochCache& epochs() const { return epochs_; }

  // --- Append. Neither suspends; `batches` are whole, validated batches (batch.h).
  // Assigns offsets from log_end on and the epoch, in place.
  AppendResult AppendAsLeader(base::MutableByteView batches, int32_t leader_epoch);
  // Takes offsets and epochs as they stand. Gaps are fine.
  AppendResult AppendVerbatim(base::ByteView batches);
  // Ends when the append is written. ResourceExhausted or DataLoss: its write failed. Aborted: the
  // log was truncated below it or closed. DeadlineExceeded: it may still be written later.
  task::Task<absl::Status> WaitWritten(AppendResult append, base::Nanos deadline);
  // The same, until it is durable, too. After an error it may or may not be there after a restart.
  task::Task<absl::Status> WaitDurable(AppendResult append, base::Nanos deadline);

  // --- Read.
  // Batches from the one that holds `from` on: whole ones, below `upper_bound` (at most written_end
  // counts), of one segment, at most `bytes_max` bytes - or one batch, if that is larger and
  // `at_least_one_batch`. Empty where there is nothing (yet). OutOfRange: `from` is below log_start
  // or above log_end.
  task::Task<absl::StatusOr<ReadPlan>> PlanRead(base::Offset from, base::Offset upper_bound,
                                                int64_t bytes_max, bool at_least_one_batch);
  // The first record at or after `timestamp_ms`; nullopt where all are older. For records in a
  // compressed batch, the batch's first offset is the answer: clients read forward from there.
  task::Task<absl::StatusOr<std::optional<TimestampOffset>>> OffsetForTimestamp(
      int64_t timestamp_ms, base::Offset upper_bound);
  // The record with the largest timestamp; for a compressed batch, the batch's last offset.
  task::Task<absl::StatusOr<std::optional<TimestampOffset>>> OffsetOfMaxTimestamp();

  // --- Cut. One of these at a time; appends are refused meanwhile.
  // Removes all at or after `end`. Aborts waits on what is removed. DeadlineExceeded where plans
  // that reach past `end` are still pinned by then: nothing was changed.
  task::Task<absl::Status> Truncate(base::Offset end, base::Nanos deadline);
  // Removes everything and goes on at `start`.
  task::Task<absl::Status> TruncateFullyAndStartAt(base::Offset start, base::Nanos deadline);
  // Moves log_start, durably: reads below fail from then on. Does not go back, nor past
  // durable_end.
  task::Task<absl::Status> Trim(base::Offset start);
  // Whether segments lie wholly below log_start; the last one does not count.
  bool HasSegmentsBelowStart() const {
    return segments_.size() > 1 && segments_[1]->base() <= log_start_;
  }
  // Removes them. Returns how many.
  task::Task<absl::StatusOr<size_t>> RemoveSegmentsBelowStart();
  // What retention judges by, oldest first; max_timestamp_ms may have to be read.
  task::Task<absl::StatusOr<std::vector<SegmentInfo>>> Segments();

  // --- Compaction.
  // Segments that end at or below it may be rewritten: full, durable, and nothing that a start may
  // have to redo lies in them.
  task::Task<absl::StatusOr<base::Offset>> CompactableEnd();
  // Rewrites what lies in the range, and below it what the filter has learnt of to be outdated;
  // small segments that follow each other become one. Takes turns with appends and readers, whose
  // plans stay as they are. Aborted: the log is closed, or cut. One at a time. `filter` and `pace`
  // live until it ends.
  task::Task<absl::StatusOr<CompactionResult>> Compact(CompactionRange range, BatchFilter& filter,
                                                       CompactionPace& pace);

  // Ends the one that runs, soon, and refuses further ones: the log is about to be closed.
  void StopCompacting() { compaction_stopped_ = true; }

  // --- Durability and end.
  // Makes it durable that `leader_epoch` begins here; before the first append of that epoch.
  task::Task<absl::Status> BeginEpoch(int32_t leader_epoch);
  // Syncs what is written: moves synced_end, and recovery_point to the active segment's start.
  task::Task<absl::Status> Sync();
  // Ends the segment now, as when it is full. Nothing to do where it is empty.
  absl::Status Roll();
  // Gives back preallocated space of an idle log.
  task::Task<absl::Status> TrimIdle();
  // Waits for the write in flight, trims, writes indexes and snapshot, syncs. Appends are refused
  // from the call on. The log can still be read until it is destroyed.
  task::Task<absl::Status> Close();
  // The same, but syncs nothing: for many logs at once. Their owner then syncs the whole file
  // system and says so with AllIsSynced() to each that closed well; before that nothing counts as
  // synced.
  task::Task<absl::Status> CloseUnsynced();
  void AllIsSynced();
  // Close without any of the writing; deleted durably when it ends, though some of its files may
  // be left in a directory "*-delete" after an error.
  task::Task<absl::Status> CloseAndRemove();

  // Reads producer snapshots and batches again, through the observer.
  task::Task<absl::Status> ReplayProducers();

 private:
  struct Queued {
    Segment* segment;
    int64_t position;
    base::ByteView bytes;
    base::Offset end;
    Segment::Totals before;  // of the segment
  };
  struct Rollback {
    uint32_t generation;  // appends of this generation or before ...
    base::Offset end;     // ... that end past this have failed
    absl::Status status;
  };
  struct Waiter : task::ListNode {
    base::Offset end;
    bool durable = false;  // waits for durable_end, not for written_end
    bool done = false;
    task::WaitList changed;
  };
  // A batch found in a segment; bytes == 0: there is none at or after the offset asked for.
  struct Located {
    int64_t position = 0;
    int64_t bytes = 0;
    base::Offset base_offset;
    base::Offset last_offset;
    int64_t max_timestamp_ms = kNoTimestamp;
  };
  class Recovery;
  // Producers' batches are recalled from so far before a snapshot.
  static constexpr int64_t kHistoryRecordsMax = 20'000;

  Log(LogEnvironment& env, LogObserver& observer, std::string directory, LogConfig config,
      TopicPartition name);

  Segment& active() { return *segments_.back(); }
  void AddSegment(base::Offset base);

  // log.cc: appends and the ends.
  AppendError WhyRefused(int64_t bytes);
  AppendResult Refuse(AppendError error) const;
  bool MustRoll(int64_t bytes, int64_t max_timestamp_ms, base::Offset last_offset);
  void RollTo(base::Offset base);
  void AddSnapshot(base::Offset end);
  void Enqueue(base::ByteView batches, AppendResult& result);
  void WakeWaiters();
  void FailFrom(base::Offset end, const absl::Status& why);
  absl::Status FailureOf(const AppendResult& append) const;
  task::Task<absl::Status> WaitFor(AppendResult append, bool durable, base::Nanos deadline);

  // appender.cc: the writer task.
  task::Task<void> WriteQueue();
  task::Task<absl::StatusOr<FilePin>> PinForWriting(Segment& segment, bool append = false);
  size_t GatherWrite(int64_t bytes_max, int64_t* bytes);
  task::Task<int64_t> WriteGathered(const FilePin& pin, Segment& segment, int64_t bytes);
  static absl::Status WriteError(int64_t done, const Segment& segment);
  void StartWriter();
  int64_t WriteInline(int fd, int64_t position);
  void Written(size_t entries, int64_t bytes);
  void WriteFailed(const absl::Status& why, bool transient, int64_t bytes);
  void FailQueue(const absl::Status& why);
  void Poison(const absl::Status& why);
  void MaybeAllocate(Segment& segment);
  task::Task<void> AllocateAhead(Segment* segment, int64_t from, int64_t bytes);
  task::Task<void> QueueDrained();

  // log_seal.cc: what happens to a segment once it is full, and at the end.
  void StartBackground();
  bool HasBackgroundWork() const;
  task::Task<void> Background();
  task::Task<absl::Status> SaveEpochs(bool sync);
  task::Task<absl::Status> SaveSealed();
  task::Task<absl::Status> SaveSegment(Segment& segment, bool sync);
  bool IsSaved();
  task::Task<absl::Status> CloseAndSave(bool sync);
  task::Task<absl::Status> SaveAll(bool sync);
  task::Task<absl::Status> TrimSegment(Segment& segment);
  task::Task<absl::Status> WriteSnapshots(bool sync);
  task::Task<absl::Status> RemoveSnapshot(base::Offset end);
  task::Task<absl::Status> SyncNames();
  task::Task<absl::Status> SyncWritten();
  task::Task<void> BackgroundDone();

  // log_journal.cc: the log's side of the journal.
  bool JournalClosed() const;
  bool Journaled() const { return journal_ != nullptr && mode_ == Durability::kJournal; }
  task::Task<absl::Status> Attach(OpenOptions options);
  LogEnd WrittenPlace();
  task::Task<JournalPartition::Staged> StageEntry(EntryHeader entry, std::span<const iovec> parts);
  task::Task<absl::Status> StageDurably(EntryHeader entry, uint64_t* op);
  task::Task<absl::Status> Record(EntryHeader entry);
  absl::Status WhyNotStaged() const;
  task::Task<void> WriteJournaled(FilePin pin);
  task::Task<void> WriteOp(FilePin pin, size_t entries, int64_t bytes);
  task::Task<void> WriteInPlace(FilePin pin, size_t entries, int64_t bytes);
  task::Task<absl::Status> StagePendingCut();
  task::Task<absl::Status> OpsDone();
  bool MustSwitchMode() const;
  task::Task<void> SwitchMode();
  task::Task<absl::Status> SyncFiles();
  task::Task<absl::Status> SyncWithSpace();
  task::Task<absl::Status> WriteBackFiles();
  void TellSynced(const LogEnd& end);
  task::Task<absl::Status> StageCut(LogEnd end, uint8_t flags, uint64_t* op);
  task::Task<absl::Status> CutDone(uint64_t op);
  task::Task<uint64_t> StageDrop();
  task::Task<absl::Status> Drop(uint64_t op);
  task::Task<absl::Status> RecordTrim(base::Offset start);
  void FailUndurable(const absl::Status& why);
  void OnDurable(uint64_t op, const LogEnd& end) override;
  void OnAbandoned(uint64_t op) override;
  void OnJournalFailed(uint64_t op, const absl::Status& why) override;
  task::Task<absl::Status> SyncInPlace() override;
  task::Task<absl::Status> StartWriteback() override;
  int64_t unsynced_bytes() const override { return unsynced_bytes_; }
  uint64_t truncation_count() const override { return truncations_; }
  void OnSynced(uint64_t seq, const LogEnd& end) override;
  void OnPoisoned(const absl::Status& why) override;

  // log_read.cc
  size_t SegmentIndexFor(base::Offset offset) const;
  base::Offset SegmentEnd(size_t index) const;
  task::Task<absl::StatusOr<Located>> LocateIn(Segment& segment, base::Offset offset);
  task::Task<absl::StatusOr<int64_t>> PositionOf(Segment& segment, base::Offset offset);
  task::Task<absl::Status> CutPlan(Segment& segment, int64_t bytes_max, bool at_least_one_batch,
                                   ReadPlan* plan);
  task::Task<absl::StatusOr<std::optional<TimestampOffset>>> FindTimestampIn(
      Segment& segment, int64_t timestamp_ms, base::Offset upper_bound);

  // log_truncate.cc
  task::Task<void> Exclude();
  void Include();
  task::Task<absl::Status> BeginCut(base::Offset end, base::Nanos deadline);
  void EndCut();
  task::Task<void> CutEnded();
  task::Task<void> LockFiles();
  void UnlockFiles();
  task::Task<absl::StatusOr<LogEnd>> PlaceOfCut(base::Offset end);
  task::Task<absl::Status> CutAt(LogEnd end);
  task::Task<absl::Status> CutSegment(Segment& segment, LogEnd end);
  task::Task<absl::Status> RemoveFiles(std::vector<std::unique_ptr<Segment>> segments);
  task::Task<absl::Status> RemoveSnapshotsPast(base::Offset end);
  void SetEnd(base::Offset end, const absl::Status& why);

  // log_compact.cc
  struct CompactionSource;
  struct Rewritten;
  bool MayCompact() const { return !closed_ && !cutting_ && !poisoned_ && !compaction_stopped_; }
  absl::Status CompactionEnded() const;
  task::Task<absl::StatusOr<CompactionResult>> CompactNow(CompactionRange range,
                                                          BatchFilter& filter,
                                                          CompactionPace& pace);
  task::Task<absl::StatusOr<base::Offset>> LearnDirty(const std::vector<CompactionSource>& sources,
                                                      CompactionRange range, BatchFilter& filter,
                                                      CompactionPace& pace,
                                                      CompactionResult* result);
  bool Joins(const Rewritten& group, const CompactionSource& source) const;
  task::Task<absl::Status> BeginGroup(Rewritten* group, base::Offset base);
  task::Task<absl::Status> Rewrite(Rewritten* group, const CompactionSource& source,
                                   base::Offset clean_end, BatchFilter& filter,
                                   CompactionPace& pace);
  task::Task<absl::Status> WriteOut(Rewritten* group);
  task::Task<void> GiveUp(Rewritten* group);
  task::Task<absl::Status> PutInPlace(Rewritten* group, CompactionResult* result);
  task::Task<absl::Status> SwapIn(Rewritten* group);
  task::Task<absl::Status> RemoveReplaced(std::vector<std::unique_ptr<Segment>> old);

  // log_recovery.cc
  task::Task<absl::Status> LoadTotals(Segment& segment, int64_t bytes, base::Offset* next_offset);
  task::Task<absl::Status> Replay(bool clean);
  base::Offset HistoryStart(base::Offset end, bool clean) const;
  template <class Visit>
  task::Task<absl::Status> VisitBatches(base::Offset from, base::Offset to, Visit visit);

  LogEnvironment& env_;
  LogObserver& observer_;
  std::string directory_;
  LogConfig config_;
  TopicPartition name_;
  std::vector<std::unique_ptr<Segment>> segments_;  // by base; never empty once open
  EpochCache epochs_;
  PositionCache append_positions_{32};  // of the latest appends
  PositionCache plan_positions_{8};     // where the latest plans ended
  LogPins pins_;

  base::Offset log_start_;
  base::Offset durable_end_;
  base::Offset written_end_;
  base::Offset log_end_;
  base::Offset synced_end_;
  base::Offset recovery_point_;

  base::RingQueue<Queued> queue_;
  std::vector<iovec> vectors_;  // of the write in flight
  int64_t queued_bytes_ = 0;
  bool writing_ = false;
  task::WaitList queue_drained_;
  uint32_t generation_ = 0;
  base::RingQueue<Rollback> rollbacks_;
  task::IntrusiveList<Waiter> waiters_;
  absl::Status write_status_;
  bool poisoned_ = false;
  bool closed_ = false;
  bool cutting_ = false;                // no appends
  bool exclusive_ = false;              // segments_ is being changed: readers wait
  base::Offset read_limit_{INT64_MAX};  // plans stay below it: what is above is being cut
  size_t readers_ = 0;                  // tasks that hold segments across a suspension
  task::WaitList readers_changed_;
  base::Nanos space_checked_ = 0;

  std::unique_ptr<JournalPartition> journal_;  // null: the core has none
  Durability mode_ = Durability::kPageCache;   // in force; config_ has the one that is asked for
  bool journal_failed_ = false;                // it closed while ops were pending
  bool cut_pending_ = false;                   // an abandoned entry: TRUNCATE before the next op
  bool dropping_ = false;                      // no entry follows the DROP
  bool dropped_ = false;
  bool read_only_ = false;  // opened although damaged: OpenOptions::recovered
  bool untouched_ = false;  // its files are as a clean stop left them
  uint64_t truncations_ = 0;
  int64_t unsynced_bytes_ = 0;
  task::WaitList ops_changed_;

  base::Nanos rate_since_ = 0;  // bytes written in this second and the last set the step
  int64_t rate_bytes_ = 0;
  int64_t rate_bytes_before_ = 0;
  base::Nanos allocate_after_ = 0;  // after a failed preallocation

  std::vector<base::Offset> snapshots_;  // offsets of the .snapshot files, rising
  std::vector<std::pair<base::Offset, std::string>> new_snapshots_;  // to be written
  base::Offset history_start_{-1};  // of a clean stop's snapshots the first
  bool epochs_dirty_ = false;       // the checkpoint file is behind
  bool epochs_unsynced_ = false;    // it may not survive a power cut
  bool directory_dirty_ = false;    // files came or went since the last sync of the directory
  bool background_ = false;
  bool compacting_ = false;
  bool compaction_stopped_ = false;
  task::WaitList background_done_;
  task::AsyncMutex maintenance_;  // whoever trims, saves, syncs or cuts files
};

}  // namespace ringtail::log
