// Reads the headers of a segment's batches, one after the other, through a small window: at once
// where they are in the page cache.
#pragma once

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "engine/io/backend.h"
#include "engine/log/batch.h"
#include "engine/log/file_cache.h"
#include "engine/log/log_environment.h"
#include "engine/task/task.h"

namespace ringtail::log {

class HeaderReader {
 public:
  // Batches end at or before `end`, a position in the file.
  HeaderReader(LogEnvironment& env, const FilePin& pin, int64_t end)
      : env_(env), pin_(pin), end_(end) {}

  // True: header() is that of the batch at `position`. False: it takes a Load().
  bool Try(int64_t position);
  // DataLoss where no whole batch starts at `position`.
  task::Task<absl::Status> Load(int64_t position);
  // Valid until the next call of the others.
  const BatchHeader& header() const { return header_; }

 private:
  base::MutableByteView Window(int64_t position);
  BatchError Parse(int64_t position);

  LogEnvironment& env_;
  const FilePin& pin_;
  int64_t end_;
  int64_t window_at_ = 0;
  int64_t window_bytes_ = 0;
  BatchHeader header_;
  std::array<uint8_t, 4096> window_;
};

}  // namespace ringtail::log
