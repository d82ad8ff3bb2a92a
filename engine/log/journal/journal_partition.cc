#include "engine/log/journal/journal_partition.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/log/journal/journal_sync.h"
#include "engine/log/journal/mutants.h"
#include "engine/task/scheduler.h"

namespace ringtail::log {
namespace {

bool MovesEnd(EntryType type) {
  return type == EntryType::kAppend || type == EntryType::kInPlace || type == EntryType::kTruncate;
}

LogEnd EndAfter(const EntryHeader& entry) {
  LogEnd end = {entry.end_offset, entry.segment_base, entry.position};
  if (static_cast<EntryType>(entry.type) == EntryType::kAppend) end.position += entry.payload_bytes;
  return end;
}

// J6: an APPEND goes on where the log ends, or opens a segment, which is named after where the one
// before ended or, where offsets have a gap, at most after its own first offset.
bool Continues(const EntryHeader& entry, const LogEnd& end) {
  if (entry.base_offset < end.offset) return false;
  return (entry.segment_base == end.segment_base && entry.position == end.position) ||
         (entry.position == 0 && entry.segment_base >= end.offset &&
          entry.segment_base <= entry.base_offset);
}

}  // namespace

JournalPartition::JournalPartition(Journal& journal, JournaledLog& log, base::Uuid topic_id,
                                   uint32_t partition)
    : journal_(journal), log_(log), topic_id_(topic_id), partition_(partition) {}

JournalPartition::~JournalPartition() {
  if (sync_ != nullptr) sync_->Forget(this);  // all ends at once
  journal_.Detach(this);
}

void JournalPartition::SetBase(const Mark& base) {
  RT_CHECK(ops_.empty() && last_seq_ == 0);
  published_ = base;
  has_record_ = has_base_ = true;
  done_end_ = end_before_frame_ = staged_end_ = base.end;
  settled_segment_ = durable_segment_ = told_segment_ = base.end.segment_base;  // recovery told it
  log_start_ = durable_start_ = base.log_start;
  leader_epoch_ = base.leader_epoch;
  page_cache_ = base.page_cache;
}

JournalPartition::Staged JournalPartition::Stage(EntryHeader entry, const Payload& payload) {
  RT_CHECK(!poisoned_ && !dropped_ && sync_ != nullptr);  // J11
  entry.topic_id = topic_id_;
  entry.partition = partition_;
  entry.payload_bytes = static_cast<uint32_t>(payload.bytes());
  const auto type = static_cast<EntryType>(entry.type);
  // What was pending then is rolled back in the log, and not here.
  if (journal_.state() == Journal::State::kClosed) return {StageError::kClosed, 0, 0};
  RT_CHECK(type != EntryType::kAppend || !has_base_ || Continues(entry, staged_end_));  // J6
  TellStart(durable_start_, &entry);
  const uint64_t op = first_op_ + ops_.size();
  const StageResult staged = journal_.Stage(entry, payload, this, op);
  if (!staged.ok()) return {staged.error, 0, 0};
  RT_CHECK(ops_.empty() || ops_.back().seq <= staged.seq);  // J2
  if (!has_base_) {  // empty, at any offset: it begins where its first entry does
    has_base_ = true;
    done_end_ = {type == EntryType::kAppend ? entry.base_offset : entry.end_offset,
                 entry.segment_base, entry.position};
    base_ = end_before_frame_ = staged_end_ = done_end_;
  }
  if (MovesEnd(type)) staged_end_ = EndAfter(entry);
  ops_.push_back({entry, staged.seq});
  return {StageError::kNone, staged.seq, op};
}

JournalPartition::Op* JournalPartition::Find(uint64_t op) {
  RT_CHECK(op >= first_op_ && op < first_op_ + ops_.size());
  return &ops_[op - first_op_];
}

void JournalPartition::Applied(uint64_t op) {
  if (failed_) return;
  Find(op)->applied = true;
  Advance();
}

void JournalPartition::Abandoned(uint64_t op) {
  if (failed_) return;
  Find(op)->abandoned = true;
  Advance();
}

void JournalPartition::OnPlaced(uint64_t token, uint64_t seq, uint32_t file_number) {
  if (files_.empty()) live_since_ = task::Scheduler::Current().now();
  const bool was_clean = files_.empty();
  if (was_clean || files_.back().number != file_number) files_.push_back({file_number, seq});
  RT_CHECK(seq >= last_seq_);
  last_seq_ = seq;
  if (was_clean && sync_ != nullptr) sync_->Enlist(this);
}

void JournalPartition::OnDurable(uint64_t token, uint64_t seq) {
  if (failed_) return;
  Op* op = Find(token);
  op->journaled = true;
  const auto type = static_cast<EntryType>(op->entry.type);
  if (type == EntryType::kTruncate) durable_start_ = StartAfterCut(op->entry, durable_start_);
  if (type == EntryType::kTrim) durable_start_ = std::max(durable_start_, op->entry.base_offset);
  Advance();
}

void JournalPartition::OnFailed(uint64_t token, const absl::Status& why) {
  failed_ = true;
  log_.OnJournalFailed(token, why);
}

void JournalPartition::Advance() {
  while (!ops_.empty() && !poisoned_) {  // J11: no more acks
    const Op op = ops_.front();
    if (!op.journaled || !(op.applied || op.abandoned)) return;
    ops_.pop_front();
    const uint64_t number = first_op_++;
    Finish(op);
    op.abandoned ? log_.OnAbandoned(number) : log_.OnDurable(number, done_end_);
  }
}

void JournalPartition::Finish(const Op& op) {
  RT_CHECK(kMutantAckBeforeFrame || op.seq <= journal_.durable_seq());  // J1
  if (op.seq != done_seq_) end_before_frame_ = done_end_;
  done_seq_ = op.seq;
  if (op.abandoned) return;
  const auto type = static_cast<EntryType>(op.entry.type);
  if (MovesEnd(type)) done_end_ = EndAfter(op.entry);
  switch (type) {
    case EntryType::kAppend:
    case EntryType::kEpoch:
      leader_epoch_ = std::max(leader_epoch_, op.entry.leader_epoch);
      break;
    case EntryType::kInPlace:
      NotePlace(op.seq, op.entry.segment_base);
      page_cache_ = (op.entry.flags & kInPlacePageCache) != 0;
      break;
    case EntryType::kTruncate:
      log_start_ = StartAfterCut(op.entry, log_start_);
      NotePlace(op.seq, op.entry.segment_base);
      break;
    case EntryType::kTrim:
      log_start_ = std::max(log_start_, op.entry.base_offset);
      break;
    case EntryType::kDrop:
      dropped_ = true;
      break;
  }
}

void JournalPartition::NotePlace(uint64_t seq, uint64_t segment_base) {
  while (!places_.empty() && places_.back().segment_base >= segment_base) places_.pop_back();
  places_.push_back({seq, segment_base});
  for (uint64_t* segment : {&settled_segment_, &durable_segment_, &told_segment_}) {
    *segment = std::min(*segment, segment_base);
  }
}

// S is the last frame all of whose entries of this partition are done; R is the end there, which is
// not done_end_ where one entry of a frame is done and the next is not.
JournalPartition::Mark JournalPartition::Take() const {
  Mark mark;
  mark.seq = journal_.durable_seq();
  mark.end = done_end_;
  if (!ops_.empty()) {
    mark.seq = std::min(mark.seq, ops_.front().seq - 1);
    if (ops_.front().seq == done_seq_) mark.end = end_before_frame_;
  }
  mark.log_start = log_start_;
  mark.leader_epoch = leader_epoch_;
  mark.page_cache = page_cache_;
  mark.dropped = dropped_ && ops_.empty();
  mark.truncations = log_.truncation_count();
  mark.taken_at = task::Scheduler::Current().now();
  return mark;
}

void JournalPartition::SyncedTo(const LogEnd& end) {
  RT_CHECK(page_cache_ && ops_.empty() && !poisoned_);
  done_end_ = end_before_frame_ = staged_end_ = synced_to_ = end;
  if (published_.page_cache && published_.end != end) {
    published_.end = end;
    if (sync_ != nullptr) sync_->changed_ = true;
  }
}

// For a checkpoint to say, where the journal takes no TRIM any more.
bool JournalPartition::MoveStart(uint64_t start) {
  if (!page_cache_ || failed_ || poisoned_ || dropped_ || !ops_.empty()) return false;
  log_start_ = std::max(log_start_, start);
  return true;
}

void JournalPartition::CheckpointIsDurable() {
  settled_segment_ = durable_segment_;
  durable_segment_ = told_segment_;
}

uint64_t JournalPartition::oldest_seq() const {
  return files_.empty() ? UINT64_MAX : std::max(files_.front().first_seq, published_.seq + 1);
}

void JournalPartition::Publish(const Mark& mark) {
  RT_CHECK(mark.seq >= published_.seq && !poisoned_);  // only grows
  RT_CHECK(mark.truncations == log_.truncation_count() || kMutantPublishAfterTruncation);  // J4
  published_ = mark;
  // What SyncedTo() has said since the mark was taken stands.
  const bool later = synced_to_ == done_end_ && synced_to_.offset > mark.end.offset;
  if (mark.page_cache && page_cache_ && later) published_.end = synced_to_;
  has_record_ = true;
  std::erase_if(places_, [&](const Place& place) { return place.seq <= mark.seq; });
  while (!files_.empty()) {
    const bool synced =
        files_.size() > 1 ? mark.seq + 1 >= files_[1].first_seq : mark.seq >= last_seq_;
    if (!synced) break;
    files_.pop_front();
  }
  live_since_ = mark.taken_at;
}

uint64_t JournalPartition::NeededFrom(const CheckpointRecord& record) const {
  return places_.empty() ? record.segment_base
                         : std::min(record.segment_base, places_.front().segment_base);
}

std::optional<CheckpointRecord> JournalPartition::Record() const {
  // Without a base nothing was ever staged, which is worth saying.
  if (published_.dropped || (has_base_ && !has_record_ && !poisoned_)) return std::nullopt;
  CheckpointRecord record;
  record.topic_id = topic_id_;
  record.partition = partition_;
  record.flags = (published_.page_cache ? kRecordPageCache : 0) | (poisoned_ ? kRecordPoisoned : 0);
  const LogEnd& end = has_record_ ? published_.end : base_;
  record.sync_seq = published_.seq;
  record.offset = end.offset;
  record.segment_base = end.segment_base;
  record.position = end.position;
  record.log_start = published_.log_start;
  record.leader_epoch = published_.leader_epoch;
  return record;
}

}  // namespace ringtail::log
