// SimBackend: the calls that answer at once.
#include <fcntl.h>

#include <algorithm>

#include "engine/base/check.h"
#include "tests/sim/backend.h"

namespace ringtail::sim {
namespace {

using io::OpCode;

constexpr base::Nanos kInlineWriteNs = 2'000;

}  // namespace

bool SimBackend::InlineFault(OpCode code, absl::string_view path, Faults::Hit* hit,
                             int64_t* result) {
  *hit = MatchFault(code, path);
  if (hit->kind == FaultKind::kDelay) world_.Advance(hit->delay_ns);
  if (hit->kind != FaultKind::kError) return false;
  *result = -hit->error;
  return true;
}

int64_t SimBackend::WriteInline(int number, const iovec* vectors, int count, int64_t position) {
  if (dead_) return -EBADF;
  const SimProcess::Fd* fd = process_.Find(number);
  if (fd == nullptr || fd->kind != SimProcess::Fd::kFile) return -EBADF;
  if ((fd->flags & O_ACCMODE) == O_RDONLY) return -EBADF;
  const base::Nanos started = world_.now();
  world_.Advance(kInlineWriteNs);
  world_.Trace("write inline", number, position);
  Faults::Hit hit;
  int64_t result = 0;
  if (!InlineFault(OpCode::kWrite, fd->path, &hit, &result)) {
    int64_t bytes = TotalBytes(vectors, static_cast<size_t>(count));
    if (hit.kind == FaultKind::kShort && bytes > 1) bytes = world_.rng().Between(1, bytes - 1);
    const std::vector<iovec> part = Slice(vectors, static_cast<size_t>(count), 0, bytes);
    SimDisk& disk = process_.disk();
    if (hit.kind >= FaultKind::kBitFlip && bytes > 0) {
      disk.SpoilWrite(fd->inode, position, bytes, hit.kind);
    }
    result = disk.Write(fd->inode, part.data(), part.size(), position, world_.wall_ms());
  }
  ++counters_.inline_writes;
  counters_.inline_write_max_ns =
      std::max(counters_.inline_write_max_ns, static_cast<uint64_t>(world_.now() - started));
  return result;
}

int64_t SimBackend::ReadNowait(int number, const iovec* vectors, int count, int64_t position) {
  if (dead_) return -EBADF;
  const SimProcess::Fd* fd = process_.Find(number);
  if (fd == nullptr || fd->kind != SimProcess::Fd::kFile) return -EBADF;
  if ((fd->flags & O_ACCMODE) == O_WRONLY) return -EBADF;
  Faults::Hit hit;
  int64_t result = 0;
  if (InlineFault(OpCode::kRead, fd->path, &hit, &result)) return result;
  int64_t bytes = TotalBytes(vectors, static_cast<size_t>(count));
  if (hit.kind == FaultKind::kShort && bytes > 1) bytes = world_.rng().Between(1, bytes - 1);
  const std::vector<iovec> part = Slice(vectors, static_cast<size_t>(count), 0, bytes);
  return process_.disk().ReadResident(fd->inode, part.data(), part.size(), position);
}

int64_t SimBackend::ReadBlocking(int number, void* data, size_t bytes, int64_t position) {
  if (dead_) return -EBADF;
  const SimProcess::Fd* fd = process_.Find(number);
  if (fd == nullptr || fd->kind != SimProcess::Fd::kFile) return -EBADF;
  if ((fd->flags & O_ACCMODE) == O_WRONLY) return -EBADF;
  Faults::Hit hit;
  int64_t result = 0;
  if (InlineFault(OpCode::kRead, fd->path, &hit, &result)) return result;
  world_.Advance(world_.rng().Latency(1'000, 100'000));
  if (hit.kind == FaultKind::kShort && bytes > 1) {
    bytes = static_cast<size_t>(world_.rng().Between(1, static_cast<int64_t>(bytes) - 1));
  }
  const iovec vector{data, bytes};
  return process_.disk().Read(fd->inode, &vector, 1, position, (fd->flags & O_DIRECT) != 0, false);
}

bool SimBackend::Resident(int number, int64_t position, int64_t length) {
  const SimProcess::Fd* fd = dead_ ? nullptr : process_.Find(number);
  if (fd == nullptr || fd->kind != SimProcess::Fd::kFile) return false;
  return process_.disk().Resident(fd->inode, position, length);
}

int SimBackend::Truncate(int number, int64_t size_bytes) {
  if (dead_) return -EBADF;
  const SimProcess::Fd* fd = process_.Find(number);
  if (fd == nullptr) return -EBADF;
  if (fd->kind != SimProcess::Fd::kFile || (fd->flags & O_ACCMODE) == O_RDONLY) return -EINVAL;
  Faults::Hit hit;
  int64_t result = 0;
  if (InlineFault(kTruncate, fd->path, &hit, &result)) return static_cast<int>(result);
  world_.Trace("truncate", number, size_bytes);
  return process_.disk().Truncate(fd->inode, size_bytes, world_.wall_ms());
}

absl::StatusOr<io::FileInfo> SimBackend::Stat(int number) {
  const SimProcess::Fd* fd = dead_ ? nullptr : process_.Find(number);
  if (fd == nullptr || fd->kind != SimProcess::Fd::kFile) return ErrorStatus(-EBADF, "stat", "fd");
  io::FileInfo info;
  process_.disk().Info(fd->inode, &info);
  return info;
}

absl::StatusOr<io::FileInfo> SimBackend::StatPath(const std::string& path) {
  const int64_t inode = process_.disk().Lookup(path);
  if (inode < 0) return ErrorStatus(inode, "stat", path);
  io::FileInfo info;
  process_.disk().Info(static_cast<InodeId>(inode), &info);
  return info;
}

absl::StatusOr<std::vector<io::DirectoryEntry>> SimBackend::ListDirectory(const std::string& path) {
  std::vector<io::DirectoryEntry> entries;
  const int result = process_.disk().List(path, &entries);
  if (result < 0) return ErrorStatus(result, "list", path);
  // A directory has no order that anyone may rely on.
  for (size_t i = entries.size(); i > 1; --i) {
    std::swap(entries[i - 1], entries[world_.rng().Below(i)]);
  }
  return entries;
}

absl::StatusOr<io::DiskSpace> SimBackend::Space(const std::string& path) {
  const int64_t inode = process_.disk().Lookup(path);
  if (inode < 0) return ErrorStatus(inode, "statvfs", path);
  return process_.disk().Space();
}

absl::StatusOr<const uint8_t*> SimBackend::Map(int number, int64_t position, int64_t length) {
  const SimProcess::Fd* fd = dead_ ? nullptr : process_.Find(number);
  if (fd == nullptr || fd->kind != SimProcess::Fd::kFile) return ErrorStatus(-EBADF, "mmap", "fd");
  Faults::Hit hit;
  int64_t result = 0;
  if (InlineFault(OpCode::kRead, fd->path, &hit, &result)) {
    return ErrorStatus(result, "mmap", fd->path);
  }
  if (!process_.disk().Resident(fd->inode, position, length)) ++cold_touches_;
  const uint8_t* data = process_.disk().Map(fd->inode, position, length);
  if (data == nullptr) return ErrorStatus(-EINVAL, "mmap", fd->path);
  process_.mappings_.push_back(data);
  return data;
}

void SimBackend::Unmap(const uint8_t* data, int64_t length) {
  if (dead_) return;
  RT_CHECK(std::erase(process_.mappings_, data) == 1);
  process_.disk().Unmap(data);
}

void SimBackend::CloseInline(int fd) {
  if (dead_) return;
  RT_CHECK(DoClose(fd) == 0);
}

}  // namespace ringtail::sim
