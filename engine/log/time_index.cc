#include "engine/log/time_index.h"

#include <algorithm>
#include <array>

#include "engine/base/endian.h"
#include "engine/base/result.h"
#include "engine/log/file_read.h"

namespace ringtail::log {
namespace {

constexpr size_t kTimestampAt = 0;
constexpr size_t kOffsetAt = 8;
using EntryBytes = std::array<uint8_t, kTimeEntryBytes>;

int64_t Timestamp(const uint8_t* entry) { return base::LoadBe<int64_t>(entry + kTimestampAt); }
int64_t RelativeOffset(const uint8_t* entry) { return base::LoadBe<int32_t>(entry + kOffsetAt); }

}  // namespace

void TimeIndex::Trust(int64_t file_entries) {
  file_entries_ = file_entries;
  cut_file_ = false;
  tail_.clear();
  file_last_ = {-1, base_};
}

void TimeIndex::Reset() {
  Trust(0);
  cut_file_ = true;
}

task::Task<absl::Status> TimeIndex::LoadLast() {
  file_last_ = {-1, base_};
  EntryBytes last;
  RT_CO_ASSIGN_OR_RETURN(const int64_t count,
                         co_await CountEntries(files_, io_, file_, file_entries_, kTimeEntryBytes,
                                               &Timestamp, INT64_MAX, last.data()));
  if (count > 0) file_last_ = {Timestamp(last.data()), base_ + RelativeOffset(last.data())};
  co_return absl::OkStatus();
}

void TimeIndex::MaybeAppend(int64_t timestamp_ms, base::Offset offset) {
  const TimeEntry before = last();
  if (timestamp_ms <= before.timestamp_ms) return;
  if (count() > 0 && offset <= before.offset) return;
  tail_.push_back({timestamp_ms, offset});
}

task::Task<absl::StatusOr<std::optional<TimeEntry>>> TimeIndex::LookupBelow(int64_t timestamp_ms) {
  if (!tail_.empty() && tail_.front().timestamp_ms < timestamp_ms) {
    auto at = std::lower_bound(
        tail_.begin(), tail_.end(), timestamp_ms,
        [](const TimeEntry& entry, int64_t key) { return entry.timestamp_ms < key; });
    co_return *(at - 1);
  }
  EntryBytes last;
  RT_CO_ASSIGN_OR_RETURN(const int64_t count,
                         co_await CountEntries(files_, io_, file_, file_entries_, kTimeEntryBytes,
                                               &Timestamp, timestamp_ms - 1, last.data()));
  if (count == 0) co_return std::nullopt;
  co_return TimeEntry{Timestamp(last.data()), base_ + RelativeOffset(last.data())};
}

void TimeIndex::TruncateUnsaved(base::Offset end) {
  while (!tail_.empty() && tail_.back().offset >= end) tail_.pop_back();
}

task::Task<absl::Status> TimeIndex::TruncateTo(base::Offset end) {
  TruncateUnsaved(end);
  if (!tail_.empty() || file_entries_ == 0) co_return absl::OkStatus();
  EntryBytes last;
  RT_CO_ASSIGN_OR_RETURN(const int64_t count,
                         co_await CountEntries(files_, io_, file_, file_entries_, kTimeEntryBytes,
                                               &RelativeOffset, end - base_ - 1, last.data()));
  cut_file_ |= count < file_entries_;
  file_entries_ = count;
  co_return co_await LoadLast();
}

task::Task<absl::Status> TimeIndex::Save(base::Offset end) {
  size_t count = 0;
  while (count < tail_.size() && tail_[count].offset < end) ++count;
  std::vector<uint8_t> bytes(count * kTimeEntryBytes);
  for (size_t i = 0; i < count; ++i) {
    uint8_t* entry = bytes.data() + i * kTimeEntryBytes;
    base::StoreBe<int64_t>(entry + kTimestampAt, tail_[i].timestamp_ms);
    base::StoreBe<int32_t>(entry + kOffsetAt, static_cast<int32_t>(tail_[i].offset - base_));
  }
  RT_CO_RETURN_IF_ERROR(
      co_await WriteTail(files_, io_, file_, bytes, file_entries_ * kTimeEntryBytes, cut_file_));
  cut_file_ = false;
  file_entries_ += static_cast<int64_t>(count);
  if (count > 0) file_last_ = tail_[count - 1];
  tail_.erase(tail_.begin(), tail_.begin() + static_cast<ptrdiff_t>(count));
  if (tail_.empty()) tail_.shrink_to_fit();
  co_return absl::OkStatus();
}

}  // namespace ringtail::log
