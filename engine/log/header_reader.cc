#include "engine/log/header_reader.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "engine/log/file_read.h"

namespace ringtail::log {

base::MutableByteView HeaderReader::Window(int64_t position) {
  const int64_t bytes = std::min(static_cast<int64_t>(window_.size()), end_ - position);
  return {window_.data(), static_cast<size_t>(std::max<int64_t>(bytes, 0))};
}

BatchError HeaderReader::Parse(int64_t position) {
  const int64_t skip = position - window_at_;
  const base::ByteView bytes(window_.data() + skip, static_cast<size_t>(window_bytes_ - skip));
  const auto parsed = ParseBatchHeader(bytes);
  if (!parsed.ok()) return parsed.error;
  if (position + static_cast<int64_t>(parsed.batch.size_bytes()) > end_) {
    return BatchError::kTooShort;
  }
  header_ = parsed.batch;
  ++env_.counters().plan_headers;
  return BatchError::kNone;
}

bool HeaderReader::Try(int64_t position) {
  if (position >= window_at_ &&
      position + static_cast<int64_t>(kBatchHeaderBytes) <= window_at_ + window_bytes_) {
    return Parse(position) == BatchError::kNone;
  }
  const base::MutableByteView window = Window(position);
  const iovec vector{window.data(), window.size()};
  const int64_t done = env_.io().ReadNowait(pin_.fd(), &vector, 1, position);
  if (done < static_cast<int64_t>(kBatchHeaderBytes)) return false;
  window_at_ = position;
  window_bytes_ = done;
  return Parse(position) == BatchError::kNone;
}

task::Task<absl::Status> HeaderReader::Load(int64_t position) {
  RT_CO_ASSIGN_OR_RETURN(const size_t done,
                         co_await ReadCached(env_.io(), pin_, Window(position), position,
                                             &env_.counters().plan_ring_reads));
  window_at_ = position;
  window_bytes_ = static_cast<int64_t>(done);
  const BatchError error = Parse(position);
  if (error == BatchError::kNone) co_return absl::OkStatus();
  co_return absl::DataLossError(absl::StrCat("no batch where one should be: ", pin_.file()->path(),
                                             " at ", position, ": ", BatchErrorText(error)));
}

}  // namespace ringtail::log
