#include "engine/log/segment_scan.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "engine/log/scan_buffer.h"

namespace ringtail::log {
namespace {

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
