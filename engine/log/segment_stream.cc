#include "engine/log/segment_stream.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "engine/io/file.h"

namespace ringtail::log {

SegmentStream::SegmentStream(LogEnvironment& env, const FilePin& pin, int64_t bytes)
    : env_(env),
      pin_(pin),
      bytes_(bytes),
      window_(static_cast<size_t>(
          std::min(env.options().recovery_read_bytes, std::max<int64_t>(bytes, 1)))) {}

base::ByteView SegmentStream::rest() const {
  return base::ByteView(window_).subspan(
      static_cast<size_t>(position_ - window_at_),
      static_cast<size_t>(window_at_ + window_bytes_ - position_));
}

absl::Status SegmentStream::Damage() const {
  return absl::DataLossError(
      absl::StrCat(pin_.file()->path(), " at byte ", position_, ": ", BatchErrorText(error_)));
}

// Whether `wanted` bytes from position_ on are in memory, or all to the end of the file.
bool SegmentStream::Has(int64_t wanted) const {
  return position_ >= window_at_ &&
         std::min(position_ + wanted, bytes_) <= window_at_ + window_bytes_;
}

task::Task<absl::Status> SegmentStream::Load(int64_t wanted) {
  if (Has(wanted)) co_return absl::OkStatus();
  const int64_t left = bytes_ - position_;
  const int64_t bytes = std::min(left, std::max(wanted, env_.options().recovery_read_bytes));
  if (static_cast<int64_t>(window_.size()) < bytes) window_.resize(static_cast<size_t>(bytes));
  iovec vector{window_.data(), static_cast<size_t>(bytes)};
  const int64_t done = co_await io::ReadFully(env_.io(), pin_.fd(), &vector, 1, position_);
  if (done < 0) {
    co_return io::ErrnoStatus(static_cast<int>(-done), "read", pin_.file()->path());
  }
  if (done < bytes) co_return absl::UnavailableError("file shrank: " + pin_.file()->path());
  window_at_ = position_;
  window_bytes_ = done;
  co_return absl::OkStatus();
}

task::Task<absl::StatusOr<bool>> SegmentStream::Next() {
  position_ += batch_bytes_;
  batch_bytes_ = 0;
  if (position_ >= bytes_) co_return false;
  RT_CO_RETURN_IF_ERROR(co_await Load(static_cast<int64_t>(kBatchHeaderBytes)));
  const auto header = ParseBatchHeader(rest());
  error_ = header.error;
  if (!header.ok()) co_return false;
  const auto batch_bytes = static_cast<int64_t>(header.batch.size_bytes());
  if (batch_bytes > bytes_ - position_) {
    error_ = BatchError::kTooShort;
    co_return false;
  }
  RT_CO_RETURN_IF_ERROR(co_await Load(batch_bytes));
  const auto parsed = ParseBatch(rest());
  error_ = parsed.ok() ? ValidateBatch(parsed.batch, BatchRules::Verbatim()) : parsed.error;
  if (error_ != BatchError::kNone) co_return false;
  batch_ = parsed.batch;
  batch_bytes_ = batch_bytes;
  co_return true;
}

}  // namespace ringtail::log
