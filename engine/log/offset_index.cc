#include "engine/log/offset_index.h"

#include <algorithm>
#include <array>

#include "engine/base/check.h"
#include "engine/base/endian.h"
#include "engine/base/result.h"
#include "engine/log/file_read.h"

namespace ringtail::log {
namespace {

constexpr size_t kOffsetAt = 0;
constexpr size_t kPositionAt = 4;
using EntryBytes = std::array<uint8_t, kIndexEntryBytes>;

int64_t RelativeOffset(const uint8_t* entry) { return base::LoadBe<int32_t>(entry + kOffsetAt); }
int64_t EntryPosition(const uint8_t* entry) { return base::LoadBe<int32_t>(entry + kPositionAt); }

}  // namespace

void OffsetIndex::Trust(int64_t file_entries, bool exact) {
  file_entries_ = file_entries;
  cut_file_ = !exact;
  tail_.clear();
}

void OffsetIndex::Reset() { Trust(0, /*exact=*/false); }

void OffsetIndex::Append(base::Offset last_offset, int64_t position) {
  RT_CHECK(tail_.empty() ||
           (tail_.back().offset < last_offset && tail_.back().position < position));
  tail_.push_back({last_offset, position});
}

task::Task<absl::StatusOr<std::optional<IndexEntry>>> OffsetIndex::Lookup(base::Offset offset) {
  if (!tail_.empty() && tail_.front().offset <= offset) {
    auto after = std::upper_bound(
        tail_.begin(), tail_.end(), offset,
        [](base::Offset key, const IndexEntry& entry) { return key < entry.offset; });
    co_return *(after - 1);
  }
  EntryBytes last;
  RT_CO_ASSIGN_OR_RETURN(const int64_t count,
                         co_await CountEntries(files_, io_, file_, file_entries_, kIndexEntryBytes,
                                               &RelativeOffset, offset - base_, last.data()));
  if (count == 0) co_return std::nullopt;
  co_return IndexEntry{base_ + RelativeOffset(last.data()), EntryPosition(last.data())};
}

task::Task<absl::StatusOr<std::optional<IndexEntry>>> OffsetIndex::LookupPosition(
    int64_t position) {
  if (!tail_.empty() && tail_.front().position <= position) {
    auto after =
        std::upper_bound(tail_.begin(), tail_.end(), position,
                         [](int64_t key, const IndexEntry& entry) { return key < entry.position; });
    co_return *(after - 1);
  }
  EntryBytes last;
  RT_CO_ASSIGN_OR_RETURN(const int64_t count,
                         co_await CountEntries(files_, io_, file_, file_entries_, kIndexEntryBytes,
                                               &EntryPosition, position, last.data()));
  if (count == 0) co_return std::nullopt;
  co_return IndexEntry{base_ + RelativeOffset(last.data()), EntryPosition(last.data())};
}

void OffsetIndex::TruncateUnsaved(int64_t position) {
  while (!tail_.empty() && tail_.back().position >= position) tail_.pop_back();
}

task::Task<absl::Status> OffsetIndex::TruncateTo(int64_t position) {
  TruncateUnsaved(position);
  if (!tail_.empty() || file_entries_ == 0) co_return absl::OkStatus();
  EntryBytes last;
  RT_CO_ASSIGN_OR_RETURN(const int64_t count,
                         co_await CountEntries(files_, io_, file_, file_entries_, kIndexEntryBytes,
                                               &EntryPosition, position - 1, last.data()));
  cut_file_ |= count < file_entries_;
  file_entries_ = count;
  co_return absl::OkStatus();
}

task::Task<absl::Status> OffsetIndex::Save(int64_t position) {
  size_t count = 0;
  while (count < tail_.size() && tail_[count].position < position) ++count;
  std::vector<uint8_t> bytes(count * kIndexEntryBytes);
  for (size_t i = 0; i < count; ++i) {
    uint8_t* entry = bytes.data() + i * kIndexEntryBytes;
    base::StoreBe<int32_t>(entry + kOffsetAt, static_cast<int32_t>(tail_[i].offset - base_));
    base::StoreBe<int32_t>(entry + kPositionAt, static_cast<int32_t>(tail_[i].position));
  }
  RT_CO_RETURN_IF_ERROR(
      co_await WriteTail(files_, io_, file_, bytes, file_entries_ * kIndexEntryBytes, cut_file_));
  cut_file_ = false;
  file_entries_ += static_cast<int64_t>(count);
  tail_.erase(tail_.begin(), tail_.begin() + static_cast<ptrdiff_t>(count));
  if (tail_.empty()) tail_.shrink_to_fit();
  co_return absl::OkStatus();
}

}  // namespace ringtail::log
