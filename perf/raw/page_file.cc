#include "perf/raw/page_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "perf/lib/check.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::Require;

constexpr int64_t kChunkBytes = 1 << 20;

}  // namespace

PageFile::PageFile(const std::string& directory, int64_t bytes, bool direct)
    : pages_(bytes / kChunkBytes * (kChunkBytes / kPageBytes)) {
  if (pages_ == 0) throw perf::Unavailable("1 MiB of space is needed for the file that is read");
  const std::string path = directory + "/pages";
  const int flags = O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | (direct ? O_DIRECT : 0);
  const int fd = open(path.c_str(), flags, 0600);
  if (fd < 0 && errno == EINVAL && direct) {
    unlink(path.c_str());
    throw perf::Unavailable("O_DIRECT: the file system of " + directory + " has none (EINVAL)");
  }
  fd_ = perf::Fd(CheckCall(fd, "open"));
  unlink(path.c_str());
  const perf::Buffer chunk(kChunkBytes);
  for (int64_t position = 0; position < pages_ * kPageBytes; position += kChunkBytes) {
    for (int64_t at = 0; at < kChunkBytes; at += kPageBytes) {
      const int64_t stamp = position + at;
      std::memcpy(chunk.data() + at, &stamp, sizeof(stamp));
    }
    const ssize_t written = pwrite(fd_.get(), chunk.data(), chunk.size(), position);
    Require(CheckCall(written, "pwrite") == kChunkBytes, "pwrite wrote less");
  }
  if (direct) CheckCall(fdatasync(fd_.get()), "fdatasync");
}

int64_t PageFile::NextPosition() { return scattered_.Below(pages_) * kPageBytes; }

void PageFile::Check(int64_t result, const char* page, int64_t position) {
  if (result < 0)
    throw std::system_error(static_cast<int>(-result), std::generic_category(), "read");
  int64_t stamp;
  std::memcpy(&stamp, page, sizeof(stamp));
  Require(result == kPageBytes && stamp == position, "a read brought the wrong bytes");
}

}  // namespace ringtail::raw
