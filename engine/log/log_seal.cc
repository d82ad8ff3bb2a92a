// What happens to a log behind its appends: full segments are trimmed, indexed and synced,
// snapshots and epochs are written; and how a log is closed.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"
#include "engine/log/log.h"

namespace ringtail::log {
namespace {

// Entries of the active segment's index that are kept in memory before they are saved.
constexpr int64_t kUnsavedEntriesMax = 4096;

// Whole after a crash of the process; a power cut may leave anything. For files that recovery can
// do without.
task::Task<absl::Status> ReplaceUnsynced(io::Backend& io, std::string path, std::string content) {
  const std::string temporary = path + ".tmp";
  RT_CO_RETURN_IF_ERROR(
      co_await io::WriteNewFile(io, temporary, std::move(content), /*sync=*/false));
  co_return co_await io::Rename(io, temporary, path);
}

}  // namespace

void Log::StartBackground() {
  if (background_ || closed_ || cutting_) return;
  background_ = true;
  task::Spawn("log background", Background());
}

bool Log::HasBackgroundWork() const {
  for (size_t i = segments_.size() - 1; i-- > 0;) {
    if (segments_[i]->saved) break;
    if (segments_[i + 1]->base() <= written_end_) return true;
  }
  return segments_.back()->index().unsaved() > kUnsavedEntriesMax;
}

task::Task<void> Log::Background() {
  const size_t turn = co_await env_.background().Acquire(1);
  co_await maintenance_.Lock();
  absl::Status status;
  while (status.ok() && !closed_ && !poisoned_ && HasBackgroundWork()) {
    status = co_await SaveSealed();
    if (status.ok() && active().index().unsaved() > kUnsavedEntriesMax) {
      Segment& segment = active();
      status = co_await segment.index().Save(segment.written_bytes);
    }
  }
  // What could not be written for want of space is tried again after the next append.
  if (absl::IsDataLoss(status)) Poison(status);
  maintenance_.Unlock();
  env_.background().Release(turn);
  background_ = false;
  background_done_.NotifyAll();
}

// Batches below the recovery point are not read again for their epochs, so these come first; the
// batches above tell theirs, so that nobody else writes the file.
task::Task<absl::Status> Log::SaveEpochs(bool sync) {
  if (!epochs_dirty_ && !(sync && epochs_unsynced_)) co_return absl::OkStatus();
  epochs_dirty_ = false;
  const std::string path = absl::StrCat(directory_, "/", kEpochCheckpointFile);
  const absl::Status status = sync ? co_await io::ReplaceFile(env_.io(), path, epochs_.Encode())
                                   : co_await ReplaceUnsynced(env_.io(), path, epochs_.Encode());
  if (status.ok()) {
    epochs_unsynced_ = !sync;
  } else {
    epochs_dirty_ = true;
  }
  co_return status;
}

// Segments that are full and wholly written. Moves the recovery point to where the rest begins.
task::Task<absl::Status> Log::SaveSealed() {
  for (size_t i = 0; i + 1 < segments_.size(); ++i) {
    Segment& segment = *segments_[i];
    if (segment.saved) continue;
    if (segments_[i + 1]->base() > written_end_) break;
    segment.EndTimeIndex();  // recovery, which found it sealed, has not
    RT_CO_RETURN_IF_ERROR(co_await SaveSegment(segment, /*sync=*/true));
    RT_CO_RETURN_IF_ERROR(co_await SyncNames());
    RT_CO_RETURN_IF_ERROR(co_await SaveEpochs(/*sync=*/true));
    segment.saved = true;
    recovery_point_ = std::max(recovery_point_, segments_[i + 1]->base());
    synced_end_ = std::max(synced_end_, recovery_point_);
    TellSynced({static_cast<uint64_t>(segment.totals.next_offset.value()),
                static_cast<uint64_t>(segment.base().value()),
                static_cast<uint32_t>(segment.written_bytes)});
  }
  co_return co_await WriteSnapshots(/*sync=*/false);
}

// The files hold what is written, no more, and with `sync` so does the device.
task::Task<absl::Status> Log::SaveSegment(Segment& segment, bool sync) {
  RT_CO_RETURN_IF_ERROR(co_await TrimSegment(segment));
  RT_CO_RETURN_IF_ERROR(co_await segment.index().Save(segment.written_bytes));
  RT_CO_RETURN_IF_ERROR(co_await segment.time_index().Save(written_end_));
  directory_dirty_ = true;
  if (!sync) co_return absl::OkStatus();
  for (const FileRef& file :
       {segment.file(), segment.index().file(), segment.time_index().file()}) {
    RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await env_.files().Pin(file));
    const bool is_log = file.get() == segment.file().get();
    if (is_log) segment.dirty = false;
    const absl::Status synced = co_await io::SyncFile(env_.io(), pin.fd(), file->path());
    if (!synced.ok()) {
      segment.dirty = true;
      Poison(synced);
      co_return synced;
    }
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::TrimSegment(Segment& segment) {
  while (segment.allocating) co_await background_done_.Wait();
  RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await PinForWriting(segment));
  // A write in flight may be past written_bytes: its segment is left alone.
  if (writing_ && &segment == &active()) co_return absl::OkStatus();
  if (segment.allocated_bytes <= segment.written_bytes) co_return absl::OkStatus();
  const int error = env_.io().Truncate(pin.fd(), segment.written_bytes);
  if (error != 0) co_return io::ErrnoStatus(-error, "trim", segment.file()->path());
  segment.allocated_bytes = segment.written_bytes;
  co_return absl::OkStatus();
}

// Snapshots stay as long as the segment that starts there, the newest one in any case.
task::Task<absl::Status> Log::WriteSnapshots(bool sync) {
  while (!new_snapshots_.empty() && new_snapshots_.front().first <= written_end_) {
    const auto [end, content] = std::move(new_snapshots_.front());
    new_snapshots_.erase(new_snapshots_.begin());
    const std::string path = directory_ + "/" + SegmentFileName(end, kSnapshotSuffix);
    if (sync) {
      RT_CO_RETURN_IF_ERROR(co_await io::ReplaceFile(env_.io(), path, content));
    } else {
      RT_CO_RETURN_IF_ERROR(co_await ReplaceUnsynced(env_.io(), path, content));
    }
    std::erase(snapshots_, end);
    snapshots_.push_back(end);
  }
  std::sort(snapshots_.begin(), snapshots_.end());
  std::vector<base::Offset> stale;
  for (size_t i = 0; i + 1 < snapshots_.size(); ++i) {
    const base::Offset end = snapshots_[i];
    const bool kept = end == history_start_ ||
                      std::any_of(segments_.begin(), segments_.end(),
                                  [&](const auto& segment) { return segment->base() == end; });
    if (!kept) stale.push_back(end);
  }
  for (const base::Offset end : stale) RT_CO_RETURN_IF_ERROR(co_await RemoveSnapshot(end));
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::RemoveSnapshot(base::Offset end) {
  std::erase(snapshots_, end);
  const absl::Status status =
      co_await io::Unlink(env_.io(), directory_ + "/" + SegmentFileName(end, kSnapshotSuffix));
  co_return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

task::Task<absl::Status> Log::SyncNames() {
  if (!directory_dirty_) co_return absl::OkStatus();
  directory_dirty_ = false;
  const absl::Status synced = co_await io::SyncDirectory(env_.io(), directory_);
  if (!synced.ok()) {
    directory_dirty_ = true;
    Poison(synced);
  }
  co_return synced;
}

// The recovery point vouches for indexes and file sizes, too, so that it never lies within the
// active segment, which may be rolled right where it was synced.
task::Task<absl::Status> Log::SyncWritten() {
  const base::Offset end = written_end_;
  const base::Offset sealed_end = std::min(active().base(), end);
  RT_CO_RETURN_IF_ERROR(co_await SyncFiles());
  synced_end_ = std::max(synced_end_, end);
  recovery_point_ = std::max(recovery_point_, sealed_end);
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::Sync() {
  co_await maintenance_.Lock();
  absl::Status status = closed_ ? absl::AbortedError(name_.ToString() + ": closed") : write_status_;
  if (!poisoned_ && !closed_) status = co_await SyncWritten();
  maintenance_.Unlock();
  co_return status;
}

task::Task<absl::Status> Log::TrimIdle() {
  co_await maintenance_.Lock();
  absl::Status status;
  Segment& segment = active();
  if (!closed_ && !writing_ && segment.allocated_bytes > segment.written_bytes) {
    status = co_await TrimSegment(segment);
  }
  maintenance_.Unlock();
  co_return status;
}

task::Task<void> Log::BackgroundDone() {
  while (background_ || compacting_) co_await background_done_.Wait();
  for (size_t i = 0; i < segments_.size(); ++i) {
    while (segments_[i]->allocating) co_await background_done_.Wait();
  }
}

task::Task<absl::Status> Log::Close() { return CloseAndSave(/*sync=*/true); }
task::Task<absl::Status> Log::CloseUnsynced() { return CloseAndSave(/*sync=*/false); }

task::Task<absl::Status> Log::CloseAndSave(bool sync) {
  if (closed_) co_return absl::AbortedError(name_.ToString() + ": closed");
  closed_ = true;
  co_await QueueDrained();
  co_await CutEnded();
  co_await BackgroundDone();
  if (read_only_) co_return absl::OkStatus();
  absl::Status status = co_await OpsDone();
  co_await maintenance_.Lock();
  if (status.ok()) status = poisoned_ ? write_status_ : co_await SaveAll(sync);
  maintenance_.Unlock();
  co_return status;
}

// Nothing came since a clean stop left the files behind, or nothing that is not in them.
bool Log::IsSaved() {
  return untouched_ && !epochs_dirty_ && !epochs_unsynced_ && !directory_dirty_ &&
         !active().dirty && active().index().unsaved() == 0;
}

task::Task<absl::Status> Log::SaveAll(bool sync) {
  if (IsSaved()) {
    AllIsSynced();
    co_return absl::OkStatus();
  }
  RT_CO_RETURN_IF_ERROR(co_await SaveSealed());
  active().EndTimeIndex();
  RT_CO_RETURN_IF_ERROR(co_await SaveSegment(active(), sync));
  const base::Offset recalled = std::max(log_start_, log_end_ - kHistoryRecordsMax);
  history_start_ = observer_.ProducerHistoryStart(recalled).value_or(log_end_);
  AddSnapshot(history_start_);
  if (history_start_ < log_end_) AddSnapshot(log_end_);
  RT_CO_RETURN_IF_ERROR(co_await WriteSnapshots(sync));
  if (!epochs_unsynced_) epochs_dirty_ = true;  // there is perhaps no file yet
  RT_CO_RETURN_IF_ERROR(co_await SaveEpochs(sync));
  if (!sync) co_return absl::OkStatus();
  directory_dirty_ = true;
  RT_CO_RETURN_IF_ERROR(co_await SyncWritten());
  AllIsSynced();
  co_return absl::OkStatus();
}

// The active segment is as a sealed one now.
void Log::AllIsSynced() {
  for (const auto& segment : segments_) segment->dirty = false;
  directory_dirty_ = epochs_dirty_ = epochs_unsynced_ = false;
  unsynced_bytes_ = 0;
  recovery_point_ = synced_end_ = log_end_;
  TellSynced(WrittenPlace());
}

task::Task<absl::Status> Log::CloseAndRemove() {
  closed_ = true;
  observer_.OnRevoke(log_start_);
  co_await QueueDrained();
  co_await CutEnded();
  co_await BackgroundDone();
  uint64_t op = 0;
  if (journal_ != nullptr) op = co_await StageDrop();
  co_await maintenance_.Lock();
  const absl::Status status =
      journal_ != nullptr
          ? co_await Drop(op)
          : co_await io::RemoveDirectoryWithFiles(env_.io(), directory_, kPartitionMetadataFile);
  maintenance_.Unlock();
  co_return status;
}

}  // namespace ringtail::log
