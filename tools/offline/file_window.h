// A file, seen through a buffer that holds what is asked for and some more.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/bytes.h"

namespace ringtail::offline {

class FileWindow {
 public:
  static constexpr size_t kBytes = size_t{4} << 20;  // read at once, at least

  FileWindow(const std::string& path, int64_t bytes)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)), bytes_(bytes) {
    if (fd_ < 0) error_ = errno;
  }
  ~FileWindow() {
    if (fd_ >= 0) close(fd_);
  }
  FileWindow(const FileWindow&) = delete;
  FileWindow& operator=(const FileWindow&) = delete;

  // Up to `wanted` bytes, fewer at the end of the file or where it cannot be read.
  base::ByteView At(int64_t position, size_t wanted) {
    wanted = std::min<size_t>(wanted, static_cast<size_t>(std::max<int64_t>(bytes_ - position, 0)));
    const bool inside = position >= at_ && position + static_cast<int64_t>(wanted) <=
                                               at_ + static_cast<int64_t>(data_.size());
    if (!inside) Fill(position, std::max(wanted, kBytes));
    if (position < at_) return {};
    const auto skip = static_cast<size_t>(position - at_);
    if (skip >= data_.size()) return {};
    return base::ByteView(data_).subspan(skip, std::min(wanted, data_.size() - skip));
  }
  // 0, or the errno of the last read that failed.
  int error() const { return error_; }

 private:
  void Fill(int64_t position, size_t wanted) {
    wanted = std::min<size_t>(wanted, static_cast<size_t>(bytes_ - position));
    data_.resize(wanted);
    at_ = position;
    size_t got = 0;
    while (fd_ >= 0 && got < wanted) {
      const ssize_t done =
          pread(fd_, data_.data() + got, wanted - got, position + static_cast<int64_t>(got));
      if (done < 0) error_ = errno;
      if (done <= 0) break;
      got += static_cast<size_t>(done);
    }
    data_.resize(got);
  }

  int fd_;
  int64_t bytes_;
  int64_t at_ = 0;
  int error_ = 0;
  std::vector<uint8_t> data_;
};

}  // namespace ringtail::offline
