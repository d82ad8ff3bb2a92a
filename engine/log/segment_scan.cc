#include "engine/log/segment_scan.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "engine/io/file.h"

namespace ringtail::log {
namespace {

// A sliding view of the file, as large as the largest batch needs.
class ScanBuffer {
 public:
  ScanBuffer(LogEnvironment& env, const FilePin& pin, int64_t file_bytes)
      : env_(env),
        pin_(pin),
        file_bytes_(file_bytes),
        data_(static_cast<size_t>(
            std::min(env.options().recovery_read_bytes, std::max<int64_t>(file_bytes, 1)))) {}

  // What is in memory from `position` on.
  base::ByteView At(int64_t position) const {
    return base::ByteView(data_).subspan(static_cast<size_t>(position - at_),
                                         static_cast<size_t>(at_ + size_ - position));
  }
  // Whether that is `wanted` bytes, or reaches the end of the file.
  bool Has(int64_t position, int64_t wanted) const {
    return position >= at_ && std::min(position + wanted, file_bytes_) <= at_ + size_;
  }
  task::Task<absl::Status> Fill(int64_t position, int64_t wanted) {
    const int64_t left = file_bytes_ - position;
    const int64_t bytes = std::min(left, std::max(wanted, env_.options().recovery_read_bytes));
    if (static_cast<int64_t>(data_.size()) < bytes) data_.resize(static_cast<size_t>(bytes));
    iovec vector{data_.data(), static_cast<size_t>(bytes)};
    const int64_t done = co_await io::ReadFully(env_.io(), pin_.fd(), &vector, 1, position);
    if (done < 0) {
      co_return io::ErrnoStatus(static_cast<int>(-done), "read", pin_.file()->path());
    }
    if (done < bytes) co_return absl::UnavailableError("file shrank: " + pin_.file()->path());
    at_ = position;
    size_ = done;
    co_return absl::OkStatus();
  }

 private:
  LogEnvironment& env_;
  const FilePin& pin_;
  int64_t file_bytes_;
  std::vector<uint8_t> data_;
  int64_t at_ = 0;
  int64_t size_ = 0;
};

bool AllZero(base::ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

// Empty, or what is wrong with the place of the batch in the log.
std::string WrongPlace(const BatchHeader& batch, base::Offset segment_base, base::Offset next) {
  if (batch.base_offset() < next)
    return absl::StrCat("offset goes back to ", batch.base_offset().value());
  if (batch.last_offset() - segment_base > std::numeric_limits<int32_t>::max()) {
    return absl::StrCat("offset too far from the segment's: ", batch.last_offset().value());
  }
  return "";
}

}  // namespace

task::Task<absl::StatusOr<ScanResult>> ScanSegment(
    LogEnvironment& env, const FilePin& pin, base::Offset segment_base,
    const std::function<void(const BatchHeader&)>& visit) {
  ScanResult result;
  result.next_offset = segment_base;
  RT_CO_ASSIGN_OR_RETURN(const io::FileInfo info, env.io().Stat(pin.fd()));
  result.file_bytes = info.size_bytes;
  BatchRules rules = BatchRules::Verbatim();
  rules.check_crc = true;
  ScanBuffer buffer(env, pin, info.size_bytes);
  while (result.valid_bytes < info.size_bytes) {
    const int64_t position = result.valid_bytes;
    const int64_t left = info.size_bytes - position;
    int64_t wanted = static_cast<int64_t>(kBatchHeaderBytes);
    if (!buffer.Has(position, wanted))
      RT_CO_RETURN_IF_ERROR(co_await buffer.Fill(position, wanted));
    const auto header = ParseBatchHeader(buffer.At(position));
    BatchError error = header.error;
    if (error == BatchError::kNone) {
      wanted = static_cast<int64_t>(header.batch.size_bytes());
      if (wanted > left) error = BatchError::kTooShort;
    }
    if (error == BatchError::kNone) {
      if (!buffer.Has(position, wanted)) {
        RT_CO_RETURN_IF_ERROR(co_await buffer.Fill(position, wanted));
      }
      const auto parsed = ParseBatch(buffer.At(position));
      error = parsed.ok() ? ValidateBatch(parsed.batch, rules) : parsed.error;
      if (error == BatchError::kNone) {
        result.reason = WrongPlace(parsed.batch, segment_base, result.next_offset);
        if (!result.reason.empty()) break;
        visit(parsed.batch);
        result.next_offset = parsed.batch.next_offset();
        result.valid_bytes += wanted;
        continue;
      }
    }
    const base::ByteView rest = buffer.At(position);
    const size_t looked_at = std::min<size_t>(rest.size(), kBatchHeaderBytes);
    if (!AllZero(rest.first(looked_at))) result.reason = std::string(BatchErrorText(error));
    break;
  }
  co_return result;
}

}  // namespace ringtail::log
