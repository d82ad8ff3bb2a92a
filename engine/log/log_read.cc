// Finding batches by offset and by time, and planning reads of them.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/log/batch_records.h"
#include "engine/log/file_read.h"
#include "engine/log/header_reader.h"
#include "engine/log/log.h"

namespace ringtail::log {

// The last segment that starts at or below `offset`, or else the first.
size_t Log::SegmentIndexFor(base::Offset offset) const {
  auto after =
      std::upper_bound(segments_.begin(), segments_.end(), offset,
                       [](base::Offset key, const auto& segment) { return key < segment->base(); });
  return after == segments_.begin() ? 0 : static_cast<size_t>(after - segments_.begin()) - 1;
}

base::Offset Log::SegmentEnd(size_t index) const {
  if (index + 1 >= segments_.size()) return written_end_;
  return std::min(segments_[index + 1]->base(), written_end_);
}

// The first batch whose last offset is at or past `offset`.
task::Task<absl::StatusOr<Log::Located>> Log::LocateIn(Segment& segment, base::Offset offset) {
  Located located;
  RT_CO_ASSIGN_OR_RETURN(const auto entry, co_await segment.index().Lookup(offset));
  if (entry.has_value()) located.position = entry->position;
  const int64_t end = segment.written_bytes;
  if (located.position >= end) co_return located;
  RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await env_.files().Pin(segment.file()));
  HeaderReader reader(env_, pin, end);
  while (located.position < end) {
    if (!reader.Try(located.position)) {
      RT_CO_RETURN_IF_ERROR(co_await reader.Load(located.position));
    }
    const BatchHeader& batch = reader.header();
    if (batch.last_offset() >= offset) {
      located.bytes = static_cast<int64_t>(batch.size_bytes());
      located.base_offset = batch.base_offset();
      located.last_offset = batch.last_offset();
      located.max_timestamp_ms = batch.max_timestamp_ms();
      co_return located;
    }
    located.position += static_cast<int64_t>(batch.size_bytes());
  }
  co_return located;
}

task::Task<absl::StatusOr<int64_t>> Log::PositionOf(Segment& segment, base::Offset offset) {
  if (offset <= segment.base()) co_return 0;
  if (const auto known = append_positions_.Find(offset, segment.base())) co_return *known;
  if (const auto known = plan_positions_.Find(offset, segment.base())) co_return *known;
  RT_CO_ASSIGN_OR_RETURN(const Located located, co_await LocateIn(segment, offset));
  co_return located.position;
}

task::Task<absl::StatusOr<ReadPlan>> Log::PlanRead(base::Offset from, base::Offset upper_bound,
                                                   int64_t bytes_max, bool at_least_one_batch) {
  while (exclusive_) co_await readers_changed_.Wait();
  if (from < log_start_ || from > log_end_) {
    co_return absl::OutOfRangeError(absl::StrCat(name_.ToString(), ": offset ", from.value(),
                                                 " is not in [", log_start_.value(), ", ",
                                                 log_end_.value(), "]"));
  }
  ++env_.counters().plans;
  ReadPlan plan;
  plan.base_offset = plan.next_offset = from;
  const base::Offset upper = std::min({upper_bound, written_end_, read_limit_});
  ReaderHold hold(&readers_, &readers_changed_);
  for (size_t i = SegmentIndexFor(from); i < segments_.size() && from < upper; ++i) {
    Segment& segment = *segments_[i];
    if (upper <= segment.base()) break;
    RT_CO_ASSIGN_OR_RETURN(const int64_t start, co_await PositionOf(segment, from));
    int64_t end = segment.written_bytes;
    if (upper < SegmentEnd(i)) {
      RT_CO_ASSIGN_OR_RETURN(end, co_await PositionOf(segment, upper));
    }
    if (start >= end) continue;  // compaction left nothing from `from` on
    plan.position = base::Position(start);
    plan.bytes = end - start;
    plan.next_offset = std::min(upper, SegmentEnd(i));
    if (plan.bytes > bytes_max) {
      RT_CO_RETURN_IF_ERROR(co_await CutPlan(segment, bytes_max, at_least_one_batch, &plan));
    }
    if (plan.bytes == 0) break;
    FilePin file = env_.files().TryPin(segment.file());
    if (!file) {
      RT_CO_ASSIGN_OR_RETURN(file, co_await env_.files().Pin(segment.file()));
    }
    plan.fd = file.fd();
    plan.pin = pins_.Take(std::move(file), plan.next_offset);
    break;
  }
  co_return plan;
}

// Ends the plan at the last batch boundary within bytes_max.
task::Task<absl::Status> Log::CutPlan(Segment& segment, int64_t bytes_max, bool at_least_one_batch,
                                      ReadPlan* plan) {
  const int64_t start = plan->position.value();
  const int64_t end = start + plan->bytes;
  const int64_t limit = start + std::max<int64_t>(bytes_max, 0);
  RT_CO_ASSIGN_OR_RETURN(const auto entry, co_await segment.index().LookupPosition(limit));
  int64_t cut = entry.has_value() ? std::max(entry->position, start) : start;
  RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await env_.files().Pin(segment.file()));
  HeaderReader reader(env_, pin, segment.written_bytes);
  while (cut < end) {
    if (!reader.Try(cut)) RT_CO_RETURN_IF_ERROR(co_await reader.Load(cut));
    const BatchHeader& batch = reader.header();
    const int64_t next = cut + static_cast<int64_t>(batch.size_bytes());
    plan->next_offset = batch.base_offset();
    if (next > limit && !(cut == start && at_least_one_batch)) break;
    cut = next;
    plan->next_offset = batch.next_offset();
    if (cut >= limit) break;
  }
  plan->bytes = cut - start;
  if (cut < end) plan_positions_.Note(plan->next_offset, segment.base(), cut);
  co_return absl::OkStatus();
}

task::Task<absl::StatusOr<std::optional<TimestampOffset>>> Log::OffsetForTimestamp(
    int64_t timestamp_ms, base::Offset upper_bound) {
  while (exclusive_) co_await readers_changed_.Wait();
  ReaderHold hold(&readers_, &readers_changed_);
  const base::Offset upper = std::min(upper_bound, written_end_);
  for (size_t i = SegmentIndexFor(log_start_); i < segments_.size(); ++i) {
    Segment& segment = *segments_[i];
    if (segment.base() >= upper) break;
    RT_CO_RETURN_IF_ERROR(co_await segment.LoadMaxTimestamp());
    if (segment.totals.max_timestamp_ms < timestamp_ms) continue;
    RT_CO_ASSIGN_OR_RETURN(auto found, co_await FindTimestampIn(segment, timestamp_ms, upper));
    if (found.has_value()) co_return found;
  }
  co_return std::nullopt;
}

namespace {

task::Task<absl::StatusOr<std::vector<uint8_t>>> ReadBatch(io::Backend& io, const FilePin& pin,
                                                           int64_t position, size_t bytes) {
  std::vector<uint8_t> data(bytes);
  RT_CO_ASSIGN_OR_RETURN(const size_t done, co_await ReadCached(io, pin, data, position));
  if (done < bytes) co_return absl::DataLossError("batch cut off: " + pin.file()->path());
  co_return data;
}

// The first record of the batch at or past both bounds, or nullopt.
std::optional<RecordAt> FirstRecordAt(const BatchView& batch, int64_t timestamp_ms,
                                      base::Offset from) {
  RecordCursor cursor(batch.records(), batch.record_count());
  while (cursor.Next()) {
    const RecordAt at{RecordOffset(batch, cursor.record()),
                      RecordTimestampMs(batch, cursor.record())};
    if (at.timestamp_ms >= timestamp_ms && at.offset >= from) return at;
  }
  return std::nullopt;
}

}  // namespace

task::Task<absl::StatusOr<std::optional<TimestampOffset>>> Log::FindTimestampIn(
    Segment& segment, int64_t timestamp_ms, base::Offset upper_bound) {
  base::Offset from = std::max(log_start_, segment.base());
  RT_CO_ASSIGN_OR_RETURN(const auto older, co_await segment.time_index().LookupBelow(timestamp_ms));
  if (older.has_value()) from = std::max(from, older->offset + 1);
  RT_CO_ASSIGN_OR_RETURN(const Located located, co_await LocateIn(segment, from));
  if (located.bytes == 0) co_return std::nullopt;
  RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await env_.files().Pin(segment.file()));
  HeaderReader reader(env_, pin, segment.written_bytes);
  const int64_t end = segment.written_bytes;
  for (int64_t position = located.position; position < end;) {
    if (!reader.Try(position)) RT_CO_RETURN_IF_ERROR(co_await reader.Load(position));
    const BatchHeader& header = reader.header();
    if (header.base_offset() >= upper_bound) break;
    const size_t bytes = header.size_bytes();
    if (header.max_timestamp_ms() < timestamp_ms) {
      position += static_cast<int64_t>(bytes);
      continue;
    }
    const bool dated = !header.has_delete_horizon();  // else the base timestamp is none of a record
    TimestampOffset answer{
        dated ? std::max(header.base_timestamp_ms(), timestamp_ms) : timestamp_ms,
        std::max(header.base_offset(), from), header.leader_epoch()};
    if (header.log_append_time()) answer.timestamp_ms = header.max_timestamp_ms();
    if (header.compressed() || header.log_append_time()) co_return answer;
    RT_CO_ASSIGN_OR_RETURN(const std::vector<uint8_t> data,
                           co_await ReadBatch(env_.io(), pin, position, bytes));
    const auto parsed = ParseBatch(data);
    if (!parsed.ok()) co_return absl::DataLossError("batch changed: " + pin.file()->path());
    if (const auto record = FirstRecordAt(parsed.batch, timestamp_ms, from)) {
      if (record->offset >= upper_bound) break;
      co_return TimestampOffset{record->timestamp_ms, record->offset, parsed.batch.leader_epoch()};
    }
    position += static_cast<int64_t>(bytes);
  }
  co_return std::nullopt;
}

task::Task<absl::StatusOr<std::optional<TimestampOffset>>> Log::OffsetOfMaxTimestamp() {
  while (exclusive_) co_await readers_changed_.Wait();
  ReaderHold hold(&readers_, &readers_changed_);
  Segment* latest = nullptr;
  for (size_t i = SegmentIndexFor(log_start_); i < segments_.size(); ++i) {
    Segment* segment = segments_[i].get();
    RT_CO_RETURN_IF_ERROR(co_await segment->LoadMaxTimestamp());
    const int64_t most = latest == nullptr ? kNoTimestamp : latest->totals.max_timestamp_ms;
    if (segment->totals.max_timestamp_ms > most) latest = segment;
  }
  if (latest == nullptr) co_return std::nullopt;
  const base::Offset last = latest->totals.max_timestamp_offset;
  RT_CO_ASSIGN_OR_RETURN(const Located located, co_await LocateIn(*latest, last));
  if (located.bytes == 0 || located.last_offset < log_start_) co_return std::nullopt;
  RT_CO_ASSIGN_OR_RETURN(const FilePin pin, co_await env_.files().Pin(latest->file()));
  RT_CO_ASSIGN_OR_RETURN(
      const std::vector<uint8_t> data,
      co_await ReadBatch(env_.io(), pin, located.position, static_cast<size_t>(located.bytes)));
  const auto parsed = ParseBatch(data);
  if (!parsed.ok()) co_return absl::DataLossError("batch changed: " + pin.file()->path());
  const BatchView& batch = parsed.batch;
  TimestampOffset answer{batch.max_timestamp_ms(), batch.last_offset(), batch.leader_epoch()};
  if (!batch.compressed()) {
    if (const auto record = FindMaxTimestamp(batch, batch.records())) {
      answer.offset = record->offset;
    }
  }
  co_return answer;
}

}  // namespace ringtail::log
