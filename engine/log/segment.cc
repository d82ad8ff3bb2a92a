#include "engine/log/segment.h"

#include "engine/base/result.h"

namespace ringtail::log {

Segment::Segment(FileCache& files, io::Backend& io, const std::string& directory, base::Offset base)
    : base_(base),
      file_(files.Add(directory + "/" + SegmentFileName(base, kLogSuffix))),
      index_(files, io, files.Add(directory + "/" + SegmentFileName(base, kIndexSuffix)), base),
      time_index_(files, io, files.Add(directory + "/" + SegmentFileName(base, kTimeIndexSuffix)),
                  base) {
  totals = EmptyTotals();
}

Segment::Totals Segment::EmptyTotals() const {
  Totals empty;
  empty.next_offset = empty.max_timestamp_offset = base_;
  return empty;
}

// Entries come about as in Kafka's LogSegment.append: when more than the interval has passed since
// the last one, the batch gets one, and the time index with it.
void Segment::NoteBatch(const BatchHeader& batch, const LogConfig& config) {
  const int64_t batch_bytes = static_cast<int64_t>(batch.size_bytes());
  if (totals.bytes == 0) totals.first_timestamp_ms = batch.max_timestamp_ms();
  if (batch.max_timestamp_ms() > totals.max_timestamp_ms) {
    totals.max_timestamp_ms = batch.max_timestamp_ms();
    totals.max_timestamp_offset = batch.last_offset();
  }
  if (totals.bytes_since_index > config.index_interval_bytes) {
    index_.Append(batch.last_offset(), totals.bytes);
    time_index_.MaybeAppend(totals.max_timestamp_ms, totals.max_timestamp_offset);
    totals.bytes_since_index = 0;
  }
  totals.bytes += batch_bytes;
  totals.next_offset = batch.next_offset();
  totals.bytes_since_index += batch_bytes;
}

void Segment::EndTimeIndex() {
  if (totals.max_timestamp_ms >= 0) {
    time_index_.MaybeAppend(totals.max_timestamp_ms, totals.max_timestamp_offset);
  }
}

void Segment::PutBack(const Totals& before, base::Offset end) {
  totals = before;
  index_.TruncateUnsaved(before.bytes);
  time_index_.TruncateUnsaved(end);
}

task::Task<absl::Status> Segment::LoadMaxTimestamp() {
  if (max_loaded) co_return absl::OkStatus();
  RT_CO_RETURN_IF_ERROR(co_await time_index_.LoadLast());
  if (max_loaded) co_return absl::OkStatus();
  max_loaded = true;
  if (time_index_.last().timestamp_ms > totals.max_timestamp_ms) {
    totals.max_timestamp_ms = time_index_.last().timestamp_ms;
    totals.max_timestamp_offset = time_index_.last().offset;
  }
  co_return absl::OkStatus();
}

}  // namespace ringtail::log
