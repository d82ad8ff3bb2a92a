#include "engine/log/segment_scan.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "engine/log/segment_stream.h"

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
  SegmentStream stream(env, pin, info.size_bytes);
  while (true) {
    RT_CO_ASSIGN_OR_RETURN(const bool more, co_await stream.Next());
    if (!more) break;
    const BatchView& batch = stream.batch();
    result.reason = WrongPlace(batch, segment_base, result.next_offset);
    if (!result.reason.empty()) break;
    visit(batch);
    result.next_offset = batch.next_offset();
    result.valid_bytes += static_cast<int64_t>(batch.size_bytes());
  }
  if (stream.error() != BatchError::kNone) {
    const base::ByteView rest = stream.rest();
    const size_t looked_at = std::min<size_t>(rest.size(), kBatchHeaderBytes);
    if (!AllZero(rest.first(looked_at)))
      result.reason = std::string(BatchErrorText(stream.error()));
  }
  co_return result;
}

}  // namespace ringtail::log
