// The batches of a segment, whole and checked, one after the other: for whoever looks into all of
// them while the log is in use.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "engine/log/batch.h"
#include "engine/log/scan_buffer.h"

namespace ringtail::log {

class SegmentStream {
 public:
  // The file's first `bytes`; the pin is held as long as the stream lives.
  SegmentStream(LogEnvironment& env, FilePin pin, int64_t bytes)
      : pin_(std::move(pin)), bytes_(bytes), buffer_(env, pin_, bytes) {}
  SegmentStream(const SegmentStream&) = delete;
  SegmentStream& operator=(const SegmentStream&) = delete;

  // False at the end. DataLoss: what comes next is no whole batch, or its CRC is wrong.
  task::Task<absl::StatusOr<bool>> Next() {
    position_ += batch_bytes_;
    batch_bytes_ = 0;
    if (position_ >= bytes_) co_return false;
    int64_t wanted = static_cast<int64_t>(kBatchHeaderBytes);
    if (!buffer_.Has(position_, wanted)) {
      RT_CO_RETURN_IF_ERROR(co_await buffer_.Fill(position_, wanted));
    }
    const auto header = ParseBatchHeader(buffer_.At(position_));
    BatchError error = header.error;
    if (error == BatchError::kNone) {
      wanted = static_cast<int64_t>(header.batch.size_bytes());
      if (wanted > bytes_ - position_) error = BatchError::kTooShort;
    }
    if (error == BatchError::kNone) {
      if (!buffer_.Has(position_, wanted)) {
        RT_CO_RETURN_IF_ERROR(co_await buffer_.Fill(position_, wanted));
      }
      const auto parsed = ParseBatch(buffer_.At(position_));
      error = parsed.ok() ? ValidateBatch(parsed.batch, BatchRules::Verbatim()) : parsed.error;
      batch_ = parsed.batch;
    }
    if (error != BatchError::kNone) {
      co_return absl::DataLossError(
          absl::StrCat(pin_.file()->path(), " at byte ", position_, ": ", BatchErrorText(error)));
    }
    batch_bytes_ = wanted;
    co_return true;
  }
  // Valid until the next call.
  const BatchView& batch() const { return batch_; }
  bool is_last() const { return position_ + batch_bytes_ >= bytes_; }

 private:
  FilePin pin_;
  int64_t bytes_;
  ScanBuffer buffer_;
  int64_t position_ = 0;
  int64_t batch_bytes_ = 0;
  BatchView batch_;
};

}  // namespace ringtail::log
