#include "tools/offline/blocking_backend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "engine/io/file.h"

namespace ringtail::offline {
namespace {

int32_t OrErrno(int64_t result) { return static_cast<int32_t>(result < 0 ? -errno : result); }

int32_t Execute(io::Op* op) {
  const int count = static_cast<int>(op->vector_count);
  switch (op->code) {
    case io::OpCode::kNop:
    case io::OpCode::kDropCache:
    case io::OpCode::kWriteback:
      return 0;
    case io::OpCode::kRead:
      return OrErrno(preadv(op->fd, op->vectors, count, op->position));
    case io::OpCode::kWrite:
      return OrErrno(pwritev2(op->fd, op->vectors, count, op->position,
                              (op->flags & io::kDataSync) != 0 ? RWF_DSYNC : 0));
    case io::OpCode::kSync:
      return OrErrno(fdatasync(op->fd));
    case io::OpCode::kSyncAll:
      return OrErrno(fsync(op->fd));
    case io::OpCode::kAllocate:
      return OrErrno(fallocate(op->fd, 0, op->position, op->length));
    case io::OpCode::kOpen:
      return OrErrno(open(op->path, op->open_flags | O_CLOEXEC, op->mode));
    case io::OpCode::kClose:
      return OrErrno(close(op->fd));
    case io::OpCode::kUnlink:
      return OrErrno(unlink(op->path));
    case io::OpCode::kRemoveDirectory:
      return OrErrno(rmdir(op->path));
    case io::OpCode::kRename:
      return OrErrno(rename(op->path, op->path2));
    case io::OpCode::kMakeDirectory:
      return OrErrno(mkdir(op->path, op->mode));
    default:
      return -ENOSYS;
  }
}

absl::Status NoSockets() { return absl::UnimplementedError("a tool has no sockets"); }

io::FileInfo InfoOf(const struct stat& info) {
  io::FileInfo out;
  out.size_bytes = info.st_size;
  out.allocated_bytes = info.st_blocks * 512;
  out.modified_ms = info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1'000'000;
  out.is_directory = S_ISDIR(info.st_mode);
  return out;
}

int64_t NanosOf(clockid_t clock) {
  timespec now = {};
  clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

void BlockingBackend::SubmitLinked(io::Op* first, io::Op* second) {
  Submit(first);
  Submit(second);
}

size_t BlockingBackend::Poll(base::Nanos) {
  const std::vector<io::Op*> now = std::exchange(submitted_, {});
  for (io::Op* op : now) {
    op->result = Execute(op);
    if (op->waiter) {
      task::Scheduler::Current().Ready(op->waiter);
    } else if (op->on_complete != nullptr) {
      op->on_complete(op);
    }
  }
  return now.size();
}

base::Nanos BlockingBackend::Now() { return NanosOf(CLOCK_BOOTTIME); }
int64_t BlockingBackend::WallMillis() { return NanosOf(CLOCK_REALTIME) / 1'000'000; }

int64_t BlockingBackend::WriteInline(int fd, const iovec* vectors, int count, int64_t position) {
  const ssize_t done = pwritev(fd, vectors, count, position);
  return done < 0 ? -errno : done;
}

int64_t BlockingBackend::ReadNowait(int fd, const iovec* vectors, int count, int64_t position) {
  const ssize_t done = preadv(fd, vectors, count, position);
  return done < 0 ? -errno : done;
}

int64_t BlockingBackend::ReadBlocking(int fd, void* data, size_t bytes, int64_t position) {
  const ssize_t done = pread(fd, data, bytes, position);
  return done < 0 ? -errno : done;
}

int BlockingBackend::Truncate(int fd, int64_t size_bytes) {
  return ftruncate(fd, size_bytes) == 0 ? 0 : -errno;
}

absl::StatusOr<io::FileInfo> BlockingBackend::Stat(int fd) {
  struct stat info;
  if (fstat(fd, &info) != 0) return io::ErrnoStatus(errno, "stat", absl::StrCat("fd ", fd));
  return InfoOf(info);
}

absl::StatusOr<io::FileInfo> BlockingBackend::StatPath(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return io::ErrnoStatus(errno, "stat", path);
  return InfoOf(info);
}

absl::StatusOr<std::vector<io::DirectoryEntry>> BlockingBackend::ListDirectory(
    const std::string& path) {
  DIR* const directory = opendir(path.c_str());
  if (directory == nullptr) return io::ErrnoStatus(errno, "open", path);
  std::vector<io::DirectoryEntry> entries;
  errno = 0;
  while (const dirent* each = readdir(directory)) {
    const absl::string_view name = each->d_name;
    if (name == "." || name == "..") continue;
    struct stat info;
    const bool found = fstatat(dirfd(directory), each->d_name, &info, 0) == 0;
    entries.push_back({std::string(name), found && S_ISDIR(info.st_mode)});
    errno = 0;
  }
  const int error = errno;
  closedir(directory);
  if (error != 0) return io::ErrnoStatus(error, "read", path);
  return entries;
}

absl::StatusOr<io::DiskSpace> BlockingBackend::Space(const std::string& path) {
  struct statvfs info;
  if (statvfs(path.c_str(), &info) != 0) return io::ErrnoStatus(errno, "statvfs", path);
  const auto unit = static_cast<int64_t>(info.f_frsize);
  return io::DiskSpace{static_cast<int64_t>(info.f_blocks) * unit,
                       static_cast<int64_t>(info.f_bavail) * unit};
}

absl::StatusOr<const uint8_t*> BlockingBackend::Map(int fd, int64_t position, int64_t length) {
  void* const data =
      mmap(nullptr, static_cast<size_t>(length), PROT_READ, MAP_SHARED, fd, position);
  if (data == MAP_FAILED) return io::ErrnoStatus(errno, "mmap", absl::StrCat("fd ", fd));
  return static_cast<const uint8_t*>(data);
}

void BlockingBackend::Unmap(const uint8_t* data, int64_t length) {
  munmap(const_cast<uint8_t*>(data), static_cast<size_t>(length));
}

absl::StatusOr<int> BlockingBackend::Listen(const std::string&, uint16_t, bool) {
  return NoSockets();
}
absl::StatusOr<uint16_t> BlockingBackend::LocalPort(int) { return NoSockets(); }
absl::StatusOr<int> BlockingBackend::StreamSocket(bool) { return NoSockets(); }
void BlockingBackend::CloseInline(int fd) { close(fd); }
int64_t BlockingBackend::SendfileNowait(int, int, int64_t, int64_t) { return -ENOSYS; }
int64_t BlockingBackend::SendNowait(int, const iovec*, int, bool) { return -ENOSYS; }
absl::StatusOr<std::pair<int, int>> BlockingBackend::Pipe(int64_t) { return NoSockets(); }

}  // namespace ringtail::offline
