// Rewriting full segments with fewer records while the log is in use. A group of segments that
// follow each other becomes one file; a crash at any moment leaves the old ones, or the new one.
//
//   00..B.log.cleaned   written and synced
//   00..B.log.swap      renamed, the name synced: from here on it takes the place of all segments
//                       that begin within it, at a start if need be (log_recovery.cc)
//   00..B.log           renamed when the others, and the old indexes, are gone
#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/journal/core_journal.h"
#include "engine/log/log.h"
#include "engine/log/segment_stream.h"

namespace ringtail::log {
namespace {

constexpr size_t kWriteBytes = 1 << 20;
constexpr int64_t kPaceBytes = 64 << 10;

}  // namespace

// A segment as it was when the pass began. Retention may take it away meanwhile, its file stays
// readable.
struct Log::CompactionSource {
  base::Offset base;
  base::Offset end;
  FileRef file;
  int64_t bytes = 0;
  int64_t index_bytes = 0;
};

// What becomes of a group.
struct Log::Rewritten {
  std::unique_ptr<Segment> segment;  // its file is the one that is being written
  FilePin pin;
  std::vector<uint8_t> buffer;  // not written yet
  int64_t bytes_before = 0;
  size_t sources = 0;
  bool changed = false;
};

absl::Status Log::CompactionEnded() const {
  return absl::AbortedError(name_.ToString() + ": closed, cut or failed while it was compacted");
}

task::Task<absl::StatusOr<base::Offset>> Log::CompactableEnd() {
  if (!MayCompact()) co_return CompactionEnded();
  base::Offset limit = synced_end_;
  if (journal_ != nullptr) {
    RT_CO_RETURN_IF_ERROR(co_await env_.journal()->sync().Settle(journal_.get()));
    // An IN_PLACE may come to name where the log ends now: in a full segment, if the active one is
    // empty.
    limit = base::Offset(
        static_cast<int64_t>(std::min(journal_->settled_segment(), WrittenPlace().segment_base)));
  }
  limit = std::min(limit, durable_end_);
  base::Offset end = segments_.front()->base();
  for (size_t i = 0; i + 1 < segments_.size() && segments_[i]->saved; ++i) {
    if (segments_[i + 1]->base() > limit) break;
    end = segments_[i + 1]->base();
  }
  co_return end;
}

task::Task<absl::StatusOr<CompactionResult>> Log::Compact(CompactionRange range,
                                                          BatchFilter& filter,
                                                          CompactionPace& pace) {
  if (!MayCompact() || compacting_) co_return CompactionEnded();
  compacting_ = true;
  absl::StatusOr<CompactionResult> result = co_await CompactNow(range, filter, pace);
  compacting_ = false;
  background_done_.NotifyAll();
  co_return result;
}

task::Task<absl::StatusOr<CompactionResult>> Log::CompactNow(CompactionRange range,
                                                             BatchFilter& filter,
                                                             CompactionPace& pace) {
  CompactionResult result;
  std::vector<CompactionSource> sources;
  for (size_t i = 0; i + 1 < segments_.size() && segments_[i + 1]->base() <= range.end; ++i) {
    Segment& segment = *segments_[i];
    if (!segment.saved) break;                             // past CompactableEnd()
    if (segments_[i + 1]->base() <= log_start_) continue;  // RemoveSegmentsBelowStart() has it
    sources.push_back({segment.base(), segments_[i + 1]->base(), segment.file(),
                       segment.written_bytes, segment.index().size_bytes()});
  }
  RT_CO_ASSIGN_OR_RETURN(result.clean_end,
                         co_await LearnDirty(sources, range, filter, pace, &result));
  Rewritten group;
  absl::Status status;
  for (const CompactionSource& source : sources) {
    if (source.base >= result.clean_end) break;
    if (group.segment != nullptr && !Joins(group, source)) {
      status = co_await PutInPlace(&group, &result);
      if (!status.ok()) break;
    }
    if (group.segment == nullptr) status = co_await BeginGroup(&group, source.base);
    if (status.ok()) status = co_await Rewrite(&group, source, result.clean_end, filter, pace);
    if (!status.ok()) break;
  }
  if (status.ok() && group.segment != nullptr) status = co_await PutInPlace(&group, &result);
  if (group.segment != nullptr) co_await GiveUp(&group);
  if (!status.ok()) co_return status;
  co_return result;
}

task::Task<absl::StatusOr<base::Offset>> Log::LearnDirty(
    const std::vector<CompactionSource>& sources, CompactionRange range, BatchFilter& filter,
    CompactionPace& pace, CompactionResult* result) {
  int64_t unpaced = 0;
  for (const CompactionSource& source : sources) {
    if (source.end <= range.dirty_from) continue;
    RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await env_.files().Pin(source.file));
    SegmentStream stream(env_, pin, source.bytes);
    while (true) {
      RT_CO_ASSIGN_OR_RETURN(const bool more, co_await stream.Next());
      if (!MayCompact()) co_return CompactionEnded();
      if (!more) break;
      const BatchView& batch = stream.batch();
      if (batch.last_offset() < range.dirty_from) continue;
      if (!filter.Learn(batch)) co_return batch.base_offset();
      const auto bytes = static_cast<int64_t>(batch.size_bytes());
      result->bytes_learned += bytes;
      unpaced += bytes;
      if (unpaced >= kPaceBytes) co_await pace.Spend(std::exchange(unpaced, 0));
    }
    if (stream.error() != BatchError::kNone) co_return stream.Damage();
  }
  co_return sources.empty() ? range.dirty_from : sources.back().end;
}

// As much as fits into a segment, as far as that can be told before it is rewritten.
bool Log::Joins(const Rewritten& group, const CompactionSource& source) const {
  Segment& segment = *group.segment;
  return segment.totals.bytes + source.bytes <= config_.segment_bytes_max &&
         source.end - segment.base() <= std::numeric_limits<int32_t>::max() &&
         segment.index().size_bytes() + source.index_bytes <= config_.index_bytes_max;
}

task::Task<absl::Status> Log::BeginGroup(Rewritten* group, base::Offset base) {
  *group = Rewritten();
  group->segment = std::make_unique<Segment>(env_.files(), env_.io(), directory_, base);
  group->segment->SetFilePath(env_.files(),
                              directory_ + "/" + SegmentFileName(base, kCleanedSuffix));
  RT_CO_ASSIGN_OR_RETURN(group->pin,
                         co_await env_.files().Pin(group->segment->file(), /*create=*/true));
  const int error = env_.io().Truncate(group->pin.fd(), 0);  // an earlier one may have failed
  if (error != 0) co_return io::ErrnoStatus(-error, "truncate", group->segment->file()->path());
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::Rewrite(Rewritten* group, const CompactionSource& source,
                                      base::Offset clean_end, BatchFilter& filter,
                                      CompactionPace& pace) {
  RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await env_.files().Pin(source.file));
  SegmentStream stream(env_, pin, source.bytes);
  int64_t unpaced = 0;
  while (true) {
    RT_CO_ASSIGN_OR_RETURN(const bool more, co_await stream.Next());
    if (!MayCompact()) co_return CompactionEnded();
    if (env_.reserve().low()) co_return absl::ResourceExhaustedError("the disk is low");
    if (!more) break;
    const BatchView& batch = stream.batch();
    BatchFilter::Verdict verdict = BatchFilter::Verdict::kKeep;
    const size_t before = group->buffer.size();
    if (batch.last_offset() < log_start_) {
      verdict = BatchFilter::Verdict::kRemove;
    } else if (batch.base_offset() < clean_end) {
      RT_CO_ASSIGN_OR_RETURN(verdict, filter.Filter(batch, &group->buffer));
    }
    // Each segment begins where the one before ends: this one must tell its end.
    if (verdict == BatchFilter::Verdict::kRemove &&
        (stream.is_last() || observer_.IsLastOfProducer(batch))) {
      verdict = BatchFilter::Verdict::kEmpty;
    }
    if (verdict == BatchFilter::Verdict::kKeep) {
      group->buffer.insert(group->buffer.end(), batch.bytes().begin(), batch.bytes().end());
    } else if (verdict == BatchFilter::Verdict::kEmpty) {
      AppendEmptyBatch(batch, &group->buffer);
    }
    group->changed |= group->buffer.size() - before != batch.size_bytes() ||
                      verdict == BatchFilter::Verdict::kReplace;
    if (group->buffer.size() > before) {
      const auto written = ParseBatchHeader(base::ByteView(group->buffer).subspan(before));
      RT_CHECK(written.ok() && written.batch.last_offset() == batch.last_offset());
      group->segment->NoteBatch(written.batch, config_);
    }
    unpaced += static_cast<int64_t>(batch.size_bytes());
    if (group->buffer.size() >= kWriteBytes) {
      RT_CO_RETURN_IF_ERROR(co_await WriteOut(group));
    }
    if (unpaced >= kPaceBytes) co_await pace.Spend(std::exchange(unpaced, 0));
  }
  if (stream.error() != BatchError::kNone) co_return stream.Damage();
  group->bytes_before += source.bytes;
  ++group->sources;
  co_return absl::OkStatus();
}

task::Task<absl::Status> Log::WriteOut(Rewritten* group) {
  iovec vector{group->buffer.data(), group->buffer.size()};
  const int64_t position = group->segment->written_bytes;
  const int64_t done = co_await io::WriteFully(env_.io(), group->pin.fd(), &vector, 1, position, 0);
  if (done != static_cast<int64_t>(group->buffer.size())) {
    co_return io::ErrnoStatus(done < 0 ? static_cast<int>(-done) : ENOSPC, "write",
                              group->segment->file()->path());
  }
  group->segment->written_bytes += done;
  group->buffer.clear();
  co_return absl::OkStatus();
}

task::Task<void> Log::GiveUp(Rewritten* group) {
  const std::string path = group->segment->file()->path();
  *group = Rewritten();
  (void)co_await io::Unlink(env_.io(), path);  // debris at the next start, at the worst
}

// Leaves the group empty.
task::Task<absl::Status> Log::PutInPlace(Rewritten* group, CompactionResult* result) {
  result->bytes_before += group->bytes_before;
  result->bytes_after += group->segment->totals.bytes;
  result->segments_before += group->sources;
  ++result->segments_after;
  if (!group->changed && group->sources == 1) {
    co_await GiveUp(group);
    co_return absl::OkStatus();
  }
  RT_CO_RETURN_IF_ERROR(co_await WriteOut(group));
  Segment& segment = *group->segment;
  segment.EndTimeIndex();
  segment.created = true;
  segment.allocated_bytes = segment.written_bytes;
  RT_CO_RETURN_IF_ERROR(co_await io::SyncFile(env_.io(), group->pin.fd(), segment.file()->path()));
  co_await maintenance_.Lock();
  const absl::Status status = co_await SwapIn(group);
  maintenance_.Unlock();
  co_return status;
}

// Not Ok with group->segment set: nothing was changed. After the first rename there is no way back.
task::Task<absl::Status> Log::SwapIn(Rewritten* group) {
  if (!MayCompact()) co_return CompactionEnded();
  const base::Offset base = group->segment->base();
  const size_t at = SegmentIndexFor(base);  // stays: only at the end may segments come meanwhile
  if (segments_[at]->base() != base) {      // below the log's start now
    co_await GiveUp(group);
    co_return absl::OkStatus();
  }
  RT_CHECK(segments_.size() - at > group->sources);
  const std::string path = directory_ + "/" + SegmentFileName(base, kLogSuffix);
  const std::string swap = directory_ + "/" + SegmentFileName(base, kSwapSuffix);
  RT_CO_RETURN_IF_ERROR(co_await io::Rename(env_.io(), group->segment->file()->path(), swap));
  group->segment->SetFilePath(env_.files(), swap);
  group->pin.Release();
  untouched_ = false;
  directory_dirty_ = true;
  std::unique_ptr<Segment> fresh = std::move(group->segment);
  absl::Status status = co_await SyncNames();
  if (!status.ok()) co_return status;  // poisoned: the next start finds the old ones or the new
  co_await Exclude();
  Segment& segment = *fresh;
  std::vector<std::unique_ptr<Segment>> old;
  old.push_back(std::exchange(segments_[at], std::move(fresh)));
  const auto rest = segments_.begin() + static_cast<ptrdiff_t>(at) + 1;
  const auto rest_end = rest + static_cast<ptrdiff_t>(group->sources) - 1;
  std::move(rest, rest_end, std::back_inserter(old));
  segments_.erase(rest, rest_end);
  append_positions_.Clear();
  plan_positions_.Clear();
  Include();
  status = co_await RemoveReplaced(std::move(old));
  if (status.ok()) status = co_await SyncNames();
  if (status.ok()) {
    co_await Exclude();  // nobody opens it by a name that it has no more
    status = co_await io::Rename(env_.io(), swap, path);
    if (status.ok()) segment.SetFilePath(env_.files(), path);
    Include();
  }
  if (status.ok()) status = co_await SaveSegment(segment, /*sync=*/true);
  if (status.ok()) status = co_await SyncNames();
  if (status.ok()) segment.saved = true;
  if (!status.ok() && !absl::IsResourceExhausted(status)) Poison(status);
  co_return status;
}

// Their files, but for the first one's .log, which the new one takes the place of.
task::Task<absl::Status> Log::RemoveReplaced(std::vector<std::unique_ptr<Segment>> old) {
  for (size_t i = 0; i < old.size(); ++i) {
    std::vector<FileRef> files = {old[i]->index().file(), old[i]->time_index().file()};
    if (i > 0) files.push_back(old[i]->file());
    for (const FileRef& file : files) {
      const absl::Status status = co_await io::Unlink(env_.io(), file->path());
      if (!status.ok() && !absl::IsNotFound(status)) co_return status;
    }
  }
  directory_dirty_ = true;
  co_return absl::OkStatus();
}

}  // namespace ringtail::log
