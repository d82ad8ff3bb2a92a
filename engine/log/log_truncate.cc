// Removing records, from either end. A cut refuses appends, lets what is queued be written, keeps
// new readers below its point and waits for the old ones.
#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/journal/mutants.h"
#include "engine/log/log.h"

namespace ringtail::log {

task::Task<void> Log::Exclude() {
  while (exclusive_) co_await readers_changed_.Wait();
  exclusive_ = true;
  while (readers_ > 0) co_await readers_changed_.Wait();
}

void Log::Include() {
  exclusive_ = false;
  readers_changed_.NotifyAll();
}

// Whoever saves or removes files has ended when it does, and none begins: EndCut() undoes it. No
// lock is held while the cut's entry waits: the reclaim that makes room for it needs it.
task::Task<absl::Status> Log::BeginCut(base::Offset end, base::Nanos deadline) {
  if (closed_ || cutting_) co_return absl::AbortedError(name_.ToString() + ": closing or cutting");
  cutting_ = true;
  untouched_ = false;
  read_limit_ = end;
  co_await QueueDrained();
  // Readers that looked at the ends before read_limit_ was set take their pins.
  co_await Exclude();
  Include();
  observer_.OnRevoke(end);
  while (pins_.AnyAbove(end)) {
    if (co_await pins_.released().WaitUntil(deadline)) continue;
    if (!pins_.AnyAbove(end)) break;
    cutting_ = false;
    read_limit_ = base::Offset(std::numeric_limits<int64_t>::max());
    co_return absl::DeadlineExceededError(name_.ToString() + ": readers hold what is to be cut");
  }
  co_await BackgroundDone();
  co_await maintenance_.Lock();
  maintenance_.Unlock();
  co_return absl::OkStatus();
}

void Log::EndCut() {
  cutting_ = false;
  read_limit_ = base::Offset(std::numeric_limits<int64_t>::max());
  readers_changed_.NotifyAll();
}

task::Task<void> Log::CutEnded() {
  while (cutting_) co_await readers_changed_.Wait();
}

task::Task<void> Log::LockFiles() {
  co_await maintenance_.Lock();
  co_await Exclude();
}

void Log::UnlockFiles() {
  Include();
  maintenance_.Unlock();
}

void Log::SetEnd(base::Offset end, const absl::Status& why) {
  durable_end_ = written_end_ = log_end_ = end;
  synced_end_ = std::min(synced_end_, end);
  recovery_point_ = std::min(recovery_point_, active().base());
  append_positions_.ForgetFrom(end);
  plan_positions_.ForgetFrom(end);
  if (epochs_.TruncateFromEnd(end)) epochs_dirty_ = true;
  std::erase_if(new_snapshots_, [&](const auto& made) { return made.first > end; });
  FailFrom(end, why);
}

task::Task<absl::Status> Log::Truncate(base::Offset end, base::Nanos deadline) {
  if (end >= log_end_) co_return absl::OkStatus();
  if (end < segments_.front()->base()) co_return co_await TruncateFullyAndStartAt(end, deadline);
  RT_CO_RETURN_IF_ERROR(co_await BeginCut(end, deadline));
  const absl::StatusOr<LogEnd> place = co_await PlaceOfCut(end);
  uint64_t op = 0;
  absl::Status status = place.status();
  if (kMutantCutBeforeTruncate && status.ok()) {
    co_await LockFiles();
    status = co_await CutAt(*place);
    UnlockFiles();
  }
  if (status.ok()) status = co_await StageCut(*place, 0, &op);
  if (!status.ok()) {
    EndCut();  // nothing was changed
    co_return status;
  }
  co_await LockFiles();
  RT_CHECK(journal_ == nullptr || journal_->Journaled(op));  // J13
  status = co_await CutAt(*place);
  if (status.ok()) status = co_await Replay(/*clean=*/false);
  if (!status.ok()) Poison(status);
  UnlockFiles();
  if (status.ok()) status = co_await CutDone(op);
  EndCut();
  StartBackground();
  co_return status;
}

// Where the log ends when it is cut at `end`: there, or before it if a batch reaches past it.
task::Task<absl::StatusOr<LogEnd>> Log::PlaceOfCut(base::Offset end) {
  while (exclusive_) co_await readers_changed_.Wait();
  ReaderHold hold(&readers_, &readers_changed_);
  size_t index = segments_.size() - 1;
  while (index > 0 && segments_[index]->base() > end) --index;
  Segment& segment = *segments_[index];
  RT_CO_ASSIGN_OR_RETURN(const Located located, co_await LocateIn(segment, end));
  const base::Offset cut = located.bytes > 0 ? std::min(end, located.base_offset) : end;
  const int64_t bytes = located.bytes > 0 ? located.position : segment.written_bytes;
  co_return LogEnd{static_cast<uint64_t>(cut.value()),
                   static_cast<uint64_t>(segment.base().value()), static_cast<uint32_t>(bytes)};
}

// Later files go first, so that a crash in between leaves a log without a hole.
task::Task<absl::Status> Log::CutAt(LogEnd end) {
  ++env_.counters().truncations;
  const base::Offset cut(static_cast<int64_t>(end.offset));
  std::vector<std::unique_ptr<Segment>> removed;
  while (static_cast<uint64_t>(active().base().value()) != end.segment_base) {
    removed.push_back(std::move(segments_.back()));
    segments_.pop_back();
  }
  RT_CO_RETURN_IF_ERROR(co_await RemoveFiles(std::move(removed)));
  RT_CO_RETURN_IF_ERROR(co_await CutSegment(active(), end));
  SetEnd(cut, absl::AbortedError(name_.ToString() + ": truncated"));
  log_start_ = std::min(log_start_, cut);
  RT_CO_RETURN_IF_ERROR(co_await RemoveSnapshotsPast(cut));
  RT_CO_RETURN_IF_ERROR(co_await SyncWritten());
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::CutSegment(Segment& segment, LogEnd end) {
  const base::Offset cut(static_cast<int64_t>(end.offset));
  const int64_t bytes = end.position;
  RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await PinForWriting(segment));
  const int error = env_.io().Truncate(pin.fd(), bytes);
  if (error != 0) co_return io::ErrnoStatus(-error, "truncate", segment.file()->path());
  segment.written_bytes = segment.allocated_bytes = bytes;
  segment.writeback_bytes = -1;
  segment.dirty = true;
  segment.saved = false;
  RT_CO_RETURN_IF_ERROR(co_await segment.index().TruncateTo(bytes));
  RT_CO_RETURN_IF_ERROR(co_await segment.time_index().TruncateTo(cut));
  RT_CO_RETURN_IF_ERROR(co_await LoadTotals(segment, bytes, nullptr));
  RT_CO_RETURN_IF_ERROR(co_await segment.index().Save(bytes));
  co_return co_await segment.time_index().Save(cut);
}

task::Task<absl::Status> Log::TruncateFullyAndStartAt(base::Offset start, base::Nanos deadline) {
  RT_CO_RETURN_IF_ERROR(co_await BeginCut(base::Offset(-1), deadline));
  const LogEnd place = {static_cast<uint64_t>(start.value()), static_cast<uint64_t>(start.value()),
                        0};
  uint64_t op = 0;
  const absl::Status staged = co_await StageCut(place, kTruncateStartFresh, &op);
  if (!staged.ok()) {
    EndCut();  // nothing was changed
    co_return staged;
  }
  co_await LockFiles();
  RT_CHECK(journal_ == nullptr || journal_->Journaled(op));  // J13
  ++env_.counters().truncations;
  std::vector<std::unique_ptr<Segment>> removed;
  std::move(segments_.rbegin(), segments_.rend(), std::back_inserter(removed));
  segments_.clear();
  AddSegment(start);
  absl::Status status = co_await RemoveFiles(std::move(removed));
  log_start_ = start;
  append_positions_.Clear();
  plan_positions_.Clear();
  epochs_.Clear();
  epochs_dirty_ = true;
  SetEnd(start, absl::AbortedError(name_.ToString() + ": truncated"));
  synced_end_ = recovery_point_ = start;
  for (const base::Offset end : std::vector<base::Offset>(snapshots_)) {
    if (status.ok()) status = co_await RemoveSnapshot(end);
  }
  observer_.ResetProducers();
  if (status.ok()) status = co_await SyncWritten();
  if (!status.ok()) Poison(status);
  UnlockFiles();
  if (status.ok()) status = co_await CutDone(op);
  EndCut();
  StartBackground();
  co_return status;
}

task::Task<absl::Status> Log::RemoveSnapshotsPast(base::Offset end) {
  for (const base::Offset snapshot : std::vector<base::Offset>(snapshots_)) {
    if (snapshot > end) RT_CO_RETURN_IF_ERROR(co_await RemoveSnapshot(snapshot));
  }
  co_return absl::OkStatus();
}

// In the order given. Descriptors that readers have pinned stay readable.
task::Task<absl::Status> Log::RemoveFiles(std::vector<std::unique_ptr<Segment>> segments) {
  for (const auto& segment : segments) {
    for (const FileRef& file :
         {segment->file(), segment->index().file(), segment->time_index().file()}) {
      const absl::Status status = co_await io::Unlink(env_.io(), file->path());
      if (!status.ok() && !absl::IsNotFound(status)) co_return status;
    }
    RT_CO_RETURN_IF_ERROR(co_await RemoveSnapshot(segment->base()));
    ++env_.counters().segments_removed;
  }
  if (!segments.empty()) directory_dirty_ = true;
  co_return absl::OkStatus();
}

task::Task<absl::StatusOr<size_t>> Log::RemoveSegmentsBelowStart() {
  co_await maintenance_.Lock();
  if (closed_ || poisoned_ || cutting_) {
    maintenance_.Unlock();
    co_return absl::AbortedError(name_.ToString() + ": closed, failed or being cut");
  }
  RT_CHECK(journal_ == nullptr ||  // J13
           static_cast<uint64_t>(log_start_.value()) <= journal_->durable_start());
  co_await Exclude();
  size_t count = 0;
  while (count + 1 < segments_.size() && segments_[count + 1]->base() <= log_start_ &&
         !segments_[count]->allocating && segments_[count + 1]->base() <= written_end_) {
    ++count;
  }
  const auto last = segments_.begin() + static_cast<ptrdiff_t>(count);
  std::vector<std::unique_ptr<Segment>> removed(std::make_move_iterator(segments_.begin()),
                                                std::make_move_iterator(last));
  segments_.erase(segments_.begin(), last);
  Include();
  const absl::Status status = co_await RemoveFiles(std::move(removed));
  maintenance_.Unlock();
  if (!status.ok()) co_return status;
  co_return count;
}

task::Task<absl::StatusOr<std::vector<SegmentInfo>>> Log::Segments() {
  while (exclusive_) co_await readers_changed_.Wait();
  ReaderHold hold(&readers_, &readers_changed_);
  std::vector<SegmentInfo> infos;
  for (size_t i = 0; i < segments_.size(); ++i) {
    Segment& segment = *segments_[i];
    RT_CO_RETURN_IF_ERROR(co_await segment.LoadMaxTimestamp());
    SegmentInfo info;
    info.base = segment.base();
    info.active = i + 1 == segments_.size();
    info.end = info.active ? log_end_ : segments_[i + 1]->base();
    info.bytes = segment.totals.bytes;
    info.first_timestamp_ms = segment.totals.first_timestamp_ms;
    info.max_timestamp_ms = segment.totals.max_timestamp_ms;
    const absl::StatusOr<io::FileInfo> file = env_.io().StatPath(segment.file()->path());
    info.modified_ms = file.ok() ? file->modified_ms : segment.created_ms;
    infos.push_back(info);
  }
  co_return infos;
}

}  // namespace ringtail::log
