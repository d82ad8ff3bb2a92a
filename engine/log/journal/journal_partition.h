// One partition's side of its core's journal. An op has two halves, the journal entry and what it
// does to the segments ("applied"); it is done when both are, here and in all ops before it. From
// that follow durable_end, and what a checkpoint may say of the partition: (S, R), "entries up to S
// are in place and lead to the log end R".
//
// The log stages each op with Stage(), tells Applied() when its segment half is done, and is told
// OnDurable(op). Everything on the core of the journal. Destroyed after JournalSync::Remove(), or
// when all of the core ends; before its journal.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/bytes.h"
#include "engine/base/ring_queue.h"
#include "engine/base/types.h"
#include "engine/log/journal/journal.h"
#include "engine/log/journal/journal_format.h"
#include "engine/task/intrusive_list.h"
#include "engine/task/task.h"

namespace ringtail::log {

// Where a log ends: at the byte `position` of the segment that begins at segment_base.
struct LogEnd {
  uint64_t offset = 0;
  uint64_t segment_base = 0;
  uint32_t position = 0;

  bool operator==(const LogEnd&) const = default;
};

// What the journal and its reclaim ask of a log. Calls must not suspend, tasks may.
class JournaledLog {
 public:
  virtual ~JournaledLog() = default;

  // The op, and all before it, are in the journal and in the segments; all below `end` is durable.
  virtual void OnDurable(uint64_t op, const LogEnd& end) = 0;
  // An op that was abandoned is out of the way.
  virtual void OnAbandoned(uint64_t op) {}
  // The journal closed: the op's outcome is unknown until a restart. No appends from now on.
  virtual void OnJournalFailed(uint64_t op, const absl::Status& why) = 0;

  // Makes all that is applied durable in its place: segments that have unsynced bytes, then the
  // directory if files came or went; after a DROP, the rename to "-delete" and its parent.
  virtual task::Task<absl::Status> SyncInPlace() = 0;
  // Starts the same for a group sync, without waiting for the device (kWriteback per segment). Not
  // ok: this one must be synced by itself.
  virtual task::Task<absl::Status> StartWriteback() = 0;
  // About how much StartWriteback would write.
  virtual int64_t unsynced_bytes() const = 0;
  // Truncations so far: + 1 before a file is cut or unlinked by one.
  virtual uint64_t truncation_count() const = 0;
  // Entries up to this point need no sync any more.
  virtual void OnSynced(uint64_t seq, const LogEnd& end) {}
  // A sync failed: POISONED. No appends until a restart, reads go on, entries are kept.
  virtual void OnPoisoned(const absl::Status& why) = 0;
};

class JournalPartition : public JournalClient, public task::ListNode {
 public:
  // (S, R) and what else a checkpoint says, as of one moment.
  struct Mark {
    uint64_t seq = 0;
    LogEnd end;
    uint64_t log_start = 0;
    uint32_t leader_epoch = 0;
    bool page_cache = false;
    bool dropped = false;
    uint64_t truncations = 0;
    base::Nanos taken_at = 0;
  };

  JournalPartition(Journal& journal, JournaledLog& log, base::Uuid topic_id, uint32_t partition);
  ~JournalPartition() override;

  // What recovery left, or the end of a synced log that enters the journal: R before all ops, with
  // S = 0 (a new run begins at frame 1). Without it the partition is empty, at any offset.
  void SetBase(const Mark& base);

  struct Staged {
    StageError error = StageError::kNone;
    uint64_t seq = 0;
    uint64_t op = 0;
    bool ok() const { return error == StageError::kNone; }
  };
  // `entry` needs type, flags, leader_epoch, offsets and place; id and partition are filled in.
  Staged Stage(EntryHeader entry, const Payload& payload);
  // The segment half is done. For an IN_PLACE: at once, as its bytes were synced before.
  void Applied(uint64_t op);
  // The segment half failed for lack of space: the op changes nothing, and a TRUNCATE to its start
  // is staged before anything else.
  void Abandoned(uint64_t op);

  // page_cache mode, no op pending: all below `end` has been synced (a sealed segment, flush.ms),
  // so that the next checkpoint spares recovery the scan. It is in no entry.
  void SyncedTo(const LogEnd& end);

  // Whether the entry of an op that is pending is durable.
  bool Journaled(uint64_t op) { return Find(op)->journaled; }
  // The largest start that a durable TRIM, or a TRUNCATE that starts afresh, has named.
  uint64_t durable_start() const { return durable_start_; }

  // The lowest segment that a start needs as it was, by the older of the two newest checkpoints:
  // whichever of them it finds, it touches nothing below. See JournalSync::Settle.
  uint64_t settled_segment() const { return settled_segment_; }

  const base::Uuid& topic_id() const { return topic_id_; }
  const LogEnd& durable_end() const { return done_end_; }
  size_t pending_ops() const { return ops_.size(); }

  // --- For JournalSync.
  Mark Take() const;
  bool has_live_entries() const { return !files_.empty(); }
  uint32_t oldest_file() const { return files_.front().number; }
  uint64_t oldest_seq() const;  // of a live entry, at most
  base::Nanos live_since() const { return live_since_; }
  bool poisoned() const { return poisoned_; }
  void set_poisoned() { poisoned_ = true; }
  // The mark's sync ended well and no truncation came between.
  void Publish(const Mark& mark);
  bool dropped() const { return published_.dropped; }
  // nullopt: there is nothing to say yet.
  std::optional<CheckpointRecord> Record() const;
  // The lowest segment that a start by this record, Record(), needs as it was: R's, or that of an
  // entry behind S.
  uint64_t NeededFrom(const CheckpointRecord& record) const;
  JournaledLog& log() { return log_; }
  // Files with live entries, oldest first.
  template <class Visit>
  void VisitFiles(Visit visit) const {
    for (size_t i = 0; i < files_.size(); ++i) visit(files_[i].number);
  }

 private:
  friend class JournalSync;
  struct Op {
    EntryHeader entry;
    uint64_t seq;
    bool journaled = false;
    bool applied = false;
    bool abandoned = false;
  };
  struct FileSpan {
    uint32_t number;
    uint64_t first_seq;  // of this partition's entries in it
  };

  void OnPlaced(uint64_t token, uint64_t seq, uint32_t file_number) override;
  void OnDurable(uint64_t token, uint64_t seq) override;
  void OnFailed(uint64_t token, const absl::Status& why) override;
  bool MoveStart(uint64_t start);
  // A checkpoint that says told_segment_ is durable.
  void CheckpointIsDurable();
  Op* Find(uint64_t op);
  void Advance();
  void Finish(const Op& op);
  void NotePlace(uint64_t seq, uint64_t segment_base);

  Journal& journal_;
  JournaledLog& log_;
  base::Uuid topic_id_;
  uint32_t partition_;
  base::RingQueue<Op> ops_;  // pending, in order; the front has number first_op_
  uint64_t first_op_ = 1;
  bool failed_ = false;

  LogEnd done_end_;          // after all ops that are done
  LogEnd synced_to_;         // the latest SyncedTo()
  uint64_t done_seq_ = 0;    // frame of the last of them
  LogEnd end_before_frame_;  // before the first of them in that frame
  uint64_t log_start_ = 0;
  uint32_t leader_epoch_ = 0;
  uint64_t durable_start_ = 0;
  bool page_cache_ = false;
  bool dropped_ = false;

  base::RingQueue<FileSpan> files_;  // with live entries
  uint64_t last_seq_ = 0;            // of the last placed entry
  base::Nanos live_since_ = 0;
  LogEnd staged_end_;  // after all ops
  LogEnd base_;        // where it began, if SetBase told nothing
  bool has_base_ = false;
  bool has_record_ = false;
  Mark published_;
  // NeededFrom() by the checkpoint that is being written, then by the newest; by the newest durable
  // one; by the one before.
  uint64_t told_segment_ = 0;
  uint64_t durable_segment_ = 0;
  uint64_t settled_segment_ = 0;
  // Where TRUNCATE and IN_PLACE entries behind S say that the log ends, but for those that a later
  // one goes below: the first is the lowest. R does not bound them: SyncedTo() moves it alone.
  struct Place {
    uint64_t seq;
    uint64_t segment_base;
  };
  std::vector<Place> places_;
  bool poisoned_ = false;
  bool syncing_ = false;
  class JournalSync* sync_ = nullptr;
};

}  // namespace ringtail::log
