#include "tools/offline/copy_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "engine/io/file.h"

namespace ringtail::offline {
namespace {

constexpr size_t kCopyBytes = size_t{4} << 20;
constexpr size_t kKernelCopyBytes = size_t{1} << 30;

// How far the kernel brought it; the rest is left to reads and writes, which say what is wrong.
int64_t CopyInKernel(int in, int out, int64_t bytes) {
  off_t at_in = 0, at_out = 0;
  while (at_out < bytes) {
    const size_t wanted = std::min(kKernelCopyBytes, static_cast<size_t>(bytes - at_out));
    if (copy_file_range(in, &at_in, out, &at_out, wanted, 0) <= 0) break;
  }
  return at_out;
}

}  // namespace

absl::Status CopyFile(const std::string& from, const std::string& to, int64_t bytes) {
  const int in = open(from.c_str(), O_RDONLY | O_CLOEXEC);
  if (in < 0) return io::ErrnoStatus(errno, "open", from);
  const auto close_in = absl::MakeCleanup([in] { close(in); });
  const int out = open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (out < 0) return io::ErrnoStatus(errno, "open", to);
  const auto close_out = absl::MakeCleanup([out] { close(out); });
  int64_t at = CopyInKernel(in, out, bytes);
  std::string buffer(at < bytes ? kCopyBytes : 0, '\0');
  while (at < bytes) {
    const size_t wanted = std::min(kCopyBytes, static_cast<size_t>(bytes - at));
    const ssize_t got = pread(in, buffer.data(), wanted, at);
    if (got < 0) return io::ErrnoStatus(errno, "read", from);
    if (got == 0) {
      return absl::UnavailableError(absl::StrCat(from, " ends at byte ", at, ", not at ", bytes));
    }
    for (ssize_t put = 0; put < got;) {
      const ssize_t done =
          pwrite(out, buffer.data() + put, static_cast<size_t>(got - put), at + put);
      if (done < 0) return io::ErrnoStatus(errno, "write", to);
      put += done;
    }
    at += got;
  }
  return fsync(out) == 0 ? absl::OkStatus() : io::ErrnoStatus(errno, "fsync", to);
}

}  // namespace ringtail::offline
