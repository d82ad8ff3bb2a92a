// The calls of UringBackend on files and the clocks that need no ring.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "engine/base/check.h"
#include "engine/io/file.h"
#include "engine/io/uring_abi.h"
#include "engine/io/uring_backend.h"

namespace ringtail::io {
namespace {

constexpr int64_t kPageBytes = 4096;
constexpr int64_t kProbeEveryPageBytes = 64 << 10;

int64_t PagesOf(int64_t position, int64_t length) {
  return (position + length - 1) / kPageBytes - position / kPageBytes + 1;
}

base::Nanos ClockNanos(clockid_t clock) {
  timespec time = {};
  clock_gettime(clock, &time);
  return time.tv_sec * base::kNanosPerSecond + time.tv_nsec;
}

FileInfo InfoOf(const struct stat& stat) {
  FileInfo info;
  info.size_bytes = stat.st_size;
  info.allocated_bytes = stat.st_blocks * 512;
  info.modified_ms = stat.st_mtim.tv_sec * 1000 + stat.st_mtim.tv_nsec / base::kNanosPerMilli;
  info.is_directory = S_ISDIR(stat.st_mode);
  return info;
}

// Without cachestat: one byte of each page, or beyond 64 KiB of every fourth (few reads bring
// fewer), is read if that does not wait.
bool ResidentByReading(int fd, int64_t position, int64_t length) {
  const int64_t step = length <= kProbeEveryPageBytes ? kPageBytes : 4 * kPageBytes;
  uint8_t byte = 0;
  const iovec vector = {&byte, 1};
  for (int64_t at = position; at < position + length; at += step) {
    if (preadv2(fd, &vector, 1, at, abi::kRwfNowait) < 0) return false;
  }
  return preadv2(fd, &vector, 1, position + length - 1, abi::kRwfNowait) >= 0;
}

}  // namespace

base::Nanos UringBackend::Now() { return ClockNanos(CLOCK_BOOTTIME); }

int64_t UringBackend::WallMillis() { return ClockNanos(CLOCK_REALTIME) / base::kNanosPerMilli; }

int64_t UringBackend::WriteInline(int fd, const iovec* vectors, int count, int64_t position) {
  const base::Nanos started = Now();
  const ssize_t bytes = pwritev(fd, vectors, count, position);
  const int64_t result = bytes < 0 ? -errno : bytes;
  ++counters_.inline_writes;
  counters_.inline_write_max_ns =
      std::max(counters_.inline_write_max_ns, static_cast<uint64_t>(Now() - started));
  return result;
}

int64_t UringBackend::ReadNowait(int fd, const iovec* vectors, int count, int64_t position) {
  const ssize_t bytes = preadv2(fd, vectors, count, position, abi::kRwfNowait);
  if (bytes >= 0) return bytes;
  return errno == EOPNOTSUPP ? -EAGAIN : -errno;  // a file system that cannot tell
}

int64_t UringBackend::ReadBlocking(int fd, void* data, size_t bytes, int64_t position) {
  ssize_t result;
  do {
    result = pread(fd, data, bytes, position);
  } while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : result;
}

bool UringBackend::Resident(int fd, int64_t position, int64_t length) {
  if (length <= 0) return true;
  if (!features_.cachestat) return ResidentByReading(fd, position, length);
  abi::CachestatRange range = {static_cast<uint64_t>(position), static_cast<uint64_t>(length)};
  // The kernel counts too few where its walk lets another thread run inside a large folio (seen on
  // Linux 6.18: one look in 60,000 while the CPU is shared, one of 900 of these twice). So where
  // pages are missing that were not evicted, it is asked again.
  constexpr int kLooksMax = 3;
  for (int look = 0; look < kLooksMax; ++look) {
    abi::Cachestat result = {};
    if (syscall(abi::kSysCachestat, fd, &range, &result, 0) != 0) return false;
    if (result.cached_pages >= static_cast<uint64_t>(PagesOf(position, length))) return true;
    if (result.cached_pages == 0 || result.evicted_pages > 0) break;
  }
  return false;
}

void UringBackend::NoReadAhead(int fd) { posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM); }

int UringBackend::Truncate(int fd, int64_t size_bytes) {
  return ftruncate(fd, size_bytes) == 0 ? 0 : -errno;
}

absl::StatusOr<FileInfo> UringBackend::Stat(int fd) {
  struct stat stat = {};
  if (fstat(fd, &stat) != 0) return ErrnoStatus(errno, "stat", "descriptor");
  return InfoOf(stat);
}

absl::StatusOr<FileInfo> UringBackend::StatPath(const std::string& path) {
  struct stat stat = {};
  if (::stat(path.c_str(), &stat) != 0) return ErrnoStatus(errno, "stat", path);
  return InfoOf(stat);
}

absl::StatusOr<std::vector<DirectoryEntry>> UringBackend::ListDirectory(const std::string& path) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return ErrnoStatus(errno, "list", path);
  std::vector<DirectoryEntry> entries;
  errno = 0;
  while (const dirent* found = readdir(directory)) {
    DirectoryEntry entry{found->d_name, found->d_type == DT_DIR};
    if (entry.name == "." || entry.name == "..") continue;
    if (found->d_type == DT_UNKNOWN) {
      struct stat stat = {};
      entry.is_directory =
          fstatat(dirfd(directory), found->d_name, &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
          S_ISDIR(stat.st_mode);
    }
    entries.push_back(std::move(entry));
    errno = 0;
  }
  const int error = errno;
  closedir(directory);
  if (error != 0) return ErrnoStatus(error, "list", path);
  return entries;
}

absl::StatusOr<DiskSpace> UringBackend::Space(const std::string& path) {
  struct statvfs space = {};
  if (statvfs(path.c_str(), &space) != 0) return ErrnoStatus(errno, "statvfs", path);
  const auto fragment = static_cast<int64_t>(space.f_frsize);
  // f_bavail is what df shows: also for root, whom ext4 would give its last blocks. They are for
  // repairs.
  return DiskSpace{static_cast<int64_t>(space.f_blocks) * fragment,
                   static_cast<int64_t>(space.f_bavail) * fragment};
}

absl::StatusOr<const uint8_t*> UringBackend::Map(int fd, int64_t position, int64_t length) {
  const int64_t lead = position % kPageBytes;
  void* memory =
      mmap(nullptr, static_cast<size_t>(length + lead), PROT_READ, MAP_SHARED, fd, position - lead);
  if (memory == MAP_FAILED) return ErrnoStatus(errno, "mmap", "descriptor");
  return static_cast<const uint8_t*>(memory) + lead;
}

void UringBackend::Unmap(const uint8_t* data, int64_t length) {
  const auto lead = static_cast<int64_t>(reinterpret_cast<uintptr_t>(data) % kPageBytes);
  RT_CHECK(munmap(const_cast<uint8_t*>(data) - lead, static_cast<size_t>(length + lead)) == 0);
}

}  // namespace ringtail::io
