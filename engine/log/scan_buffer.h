// A sliding view of a segment's file for whoever reads all of it: as large as the largest batch
// needs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/bytes.h"
#include "engine/io/file.h"
#include "engine/log/file_cache.h"
#include "engine/log/log_environment.h"
#include "engine/task/task.h"

namespace ringtail::log {

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

}  // namespace ringtail::log
