// The batches of a segment, whole and checked, one after the other, for whoever reads all of them:
// recovery's scan, and compaction. Its window is as large as the largest batch needs.
//
//   while (true) {
//     RT_CO_ASSIGN_OR_RETURN(const bool more, co_await stream.Next());
//     if (!more) break;
//     use(stream.batch());
//   }
//   if (stream.error() != BatchError::kNone) ...
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/bytes.h"
#include "engine/log/batch.h"
#include "engine/log/file_cache.h"
#include "engine/log/log_environment.h"
#include "engine/task/task.h"

namespace ringtail::log {

class SegmentStream {
 public:
  // The file's first `bytes`. The pin outlives the stream.
  SegmentStream(LogEnvironment& env, const FilePin& pin, int64_t bytes);
  SegmentStream(const SegmentStream&) = delete;
  SegmentStream& operator=(const SegmentStream&) = delete;

  // False at the end, or error() says what is wrong with what lies at position(). Not ok: a read
  // failed.
  task::Task<absl::StatusOr<bool>> Next();
  // Valid until the next call of Next().
  const BatchView& batch() const { return batch_; }
  bool is_last() const { return position_ + batch_bytes_ >= bytes_; }

  int64_t position() const { return position_; }
  BatchError error() const { return error_; }
  // DataLoss, which names the file and the place.
  absl::Status Damage() const;
  // What is in memory from position() on: a batch's header at least, where the file has as much.
  base::ByteView rest() const;

 private:
  bool Has(int64_t wanted) const;
  task::Task<absl::Status> Load(int64_t wanted);

  LogEnvironment& env_;
  const FilePin& pin_;
  int64_t bytes_;
  std::vector<uint8_t> window_;
  int64_t window_at_ = 0;
  int64_t window_bytes_ = 0;
  int64_t position_ = 0;
  int64_t batch_bytes_ = 0;
  BatchView batch_;
  BatchError error_ = BatchError::kNone;
};

}  // namespace ringtail::log
