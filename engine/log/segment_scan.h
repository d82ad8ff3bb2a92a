// Reading a segment that nothing vouches for: every batch is checked, from the start to the first
// one that is damaged, unfinished or out of order.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "engine/log/batch.h"
#include "engine/log/file_cache.h"
#include "engine/log/log_environment.h"
#include "engine/task/task.h"

namespace ringtail::log {

struct ScanResult {
  int64_t valid_bytes = 0;  // whole, valid batches from the start of the file
  int64_t file_bytes = 0;
  base::Offset next_offset;  // after the last valid batch
  std::string reason;  // why it ended before the end of the file; empty: zeros or nothing follow
};

// `visit` is called for every valid batch, in order, with its header in memory. `segment_base`
// bounds the offsets. Reads in pieces of LogOptions::recovery_read_bytes.
task::Task<absl::StatusOr<ScanResult>> ScanSegment(
    LogEnvironment& env, const FilePin& pin, base::Offset segment_base,
    const std::function<void(const BatchHeader&)>& visit);

}  // namespace ringtail::log
