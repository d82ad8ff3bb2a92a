// SimBackend: operations on files and directories.
#include <fcntl.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "engine/base/check.h"
#include "tests/sim/backend.h"

namespace ringtail::sim {
namespace {

using io::Op;
using io::OpCode;

constexpr int64_t kMicro = 1000;

bool Aligned(const Op& op) {
  if (op.position % kSectorBytes != 0) return false;
  for (uint32_t i = 0; i < op.vector_count; ++i) {
    if (op.vectors[i].iov_len % kSectorBytes != 0) return false;
    if (reinterpret_cast<uintptr_t>(op.vectors[i].iov_base) % kSectorBytes != 0) return false;
  }
  return true;
}

bool Spoils(FaultKind kind) { return kind >= FaultKind::kBitFlip; }

bool IsDurable(const Op& op, const SimProcess::Fd& fd) {
  return (op.flags & io::kDataSync) != 0 || (fd.flags & O_DSYNC) != 0;
}

}  // namespace

Faults::Hit SimBackend::MatchFault(OpCode code, absl::string_view path) {
  const Faults::Hit hit = world_.faults().Match(code, path, process_.name(), world_.rng());
  if (hit.kind == FaultKind::kPause) world_.Pause();
  return hit;
}

base::Nanos SimBackend::FileLatency(const Flight& flight) {
  const Op& op = *flight.op;
  Rng& rng = world_.rng();
  const SimProcess::Fd* fd = process_.Find(op.fd);
  switch (op.code) {
    case OpCode::kRead:
      if (fd != nullptr && fd->kind == SimProcess::Fd::kFile && !(fd->flags & O_DIRECT) &&
          process_.disk().Resident(fd->inode, op.position,
                                   TotalBytes(op.vectors, op.vector_count))) {
        return rng.Latency(1 * kMicro, 10 * kMicro);
      }
      return rng.Latency(40 * kMicro, 300 * kMicro);
    case OpCode::kWrite:
      if (fd != nullptr && IsDurable(op, *fd)) return rng.Latency(50 * kMicro, 400 * kMicro);
      return rng.Latency(2 * kMicro, 40 * kMicro);
    case OpCode::kSync:
    case OpCode::kSyncAll:
      return rng.Latency(80 * kMicro, 2000 * kMicro);
    default:
      return rng.Latency(3 * kMicro, 80 * kMicro);
  }
}

int64_t SimBackend::DoFileOp(Flight& flight) {
  const Op& op = *flight.op;
  if (flight.hit.kind == FaultKind::kError) return -flight.hit.error;
  SimDisk& disk = process_.disk();
  switch (op.code) {
    case OpCode::kOpen:
      return DoOpen(op);
    case OpCode::kClose:
      return DoClose(op.fd);
    case OpCode::kUnlink:
      return disk.Unlink(op.path);
    case OpCode::kRemoveDirectory:
      return disk.RemoveDirectory(op.path);
    case OpCode::kRename:
      return disk.Rename(op.path, op.path2);
    case OpCode::kMakeDirectory:
      return disk.MakeDirectory(op.path, world_.wall_ms());
    default:
      break;
  }
  const SimProcess::Fd* fd = process_.Find(op.fd);
  if (fd == nullptr) return -EBADF;
  if (fd->kind != SimProcess::Fd::kFile) return op.code == OpCode::kRead ? -ESPIPE : -EINVAL;
  const bool writable = (fd->flags & O_ACCMODE) != O_RDONLY;
  switch (op.code) {
    case OpCode::kRead:
      return DoRead(flight, *fd);
    case OpCode::kWrite:
      return DoWrite(flight, *fd);
    case OpCode::kSync:
    case OpCode::kSyncAll:
      return DoSync(flight, *fd);
    case OpCode::kWriteback:
      disk.WriteBack(fd->inode, op.position, op.length);
      return 0;
    case OpCode::kAllocate:
      if (!writable) return -EBADF;
      return disk.Allocate(fd->inode, op.position, op.length, world_.wall_ms());
    case OpCode::kDropCache:
      disk.DropCache(fd->inode, op.position, op.length);
      return 0;
    default:
      return -EINVAL;
  }
}

// A path of /proc/self/fd is that descriptor's file, whatever has become of its name.
int64_t SimBackend::DoOpen(const Op& op) {
  absl::string_view path = op.path;
  SimProcess::Fd fd;
  fd.kind = SimProcess::Fd::kFile;
  fd.flags = op.open_flags;
  int number = 0;
  if (absl::ConsumePrefix(&path, "/proc/self/fd/") && absl::SimpleAtoi(path, &number)) {
    const SimProcess::Fd* same = process_.Find(number);
    if (same == nullptr || same->kind != SimProcess::Fd::kFile) return -ENOENT;
    process_.disk().Reopen(same->inode);
    fd.inode = same->inode;
    fd.path = same->path;
    return process_.Add(std::move(fd));
  }
  const int64_t inode = process_.disk().Open(op.path, op.open_flags, world_.wall_ms());
  if (inode < 0) return inode;
  fd.inode = static_cast<InodeId>(inode);
  fd.path = op.path;
  return process_.Add(std::move(fd));
}

int64_t SimBackend::DoClose(int number) {
  const SimProcess::Fd* fd = process_.Find(number);
  if (fd == nullptr) return -EBADF;
  RT_CHECK(fd->in_flight == 0);
  const SimProcess::Fd closed = *fd;
  process_.Remove(number);
  if (closed.kind == SimProcess::Fd::kFile) {
    process_.disk().Close(closed.inode);
  } else {
    world_.network().Close(closed.channel);
  }
  return 0;
}

int64_t SimBackend::DoRead(Flight& flight, const SimProcess::Fd& fd) {
  const Op& op = *flight.op;
  if ((fd.flags & O_ACCMODE) == O_WRONLY) return -EBADF;
  const bool direct = (fd.flags & O_DIRECT) != 0;
  if (direct && !Aligned(op)) return -EINVAL;
  int64_t bytes = TotalBytes(op.vectors, op.vector_count);
  if (flight.hit.kind == FaultKind::kShort && bytes > 1) bytes = world_.rng().Between(1, bytes - 1);
  const std::vector<iovec> part = Slice(op.vectors, op.vector_count, 0, bytes);
  return process_.disk().Read(fd.inode, part.data(), part.size(), op.position, direct,
                              features_.dont_cache && (op.flags & io::kDontCache) != 0);
}

int64_t SimBackend::DoWrite(Flight& flight, const SimProcess::Fd& fd) {
  const Op& op = *flight.op;
  if ((fd.flags & O_ACCMODE) == O_RDONLY) return -EBADF;
  const bool direct = (fd.flags & O_DIRECT) != 0;
  if (direct && !Aligned(op)) return -EINVAL;
  int64_t bytes = TotalBytes(op.vectors, op.vector_count);
  if (flight.hit.kind == FaultKind::kShort) {
    const int64_t unit = direct ? kSectorBytes : 1;
    if (bytes > unit) bytes = world_.rng().Between(1, bytes / unit - (bytes % unit == 0)) * unit;
  }
  SimDisk& disk = process_.disk();
  const std::vector<iovec> part = Slice(op.vectors, op.vector_count, 0, bytes);
  // Before the write, so that no background writeback gets there first.
  if (Spoils(flight.hit.kind)) disk.SpoilWrite(fd.inode, op.position, bytes, flight.hit.kind);
  const int64_t written =
      disk.Write(fd.inode, part.data(), part.size(), op.position, world_.wall_ms());
  if (written <= 0) return written;
  if (IsDurable(op, fd)) disk.MakeDurable(fd.inode, op.position, written);
  return written;
}

int64_t SimBackend::DoSync(Flight& flight, const SimProcess::Fd& fd) {
  if (flight.hit.kind == FaultKind::kFailSync) {
    process_.disk().FailSync(flight.snapshot);
    return -flight.hit.error;
  }
  process_.disk().FinishSync(flight.snapshot);
  return 0;
}

// An operation that was in flight when its process was killed or its machine lost power.
void SimBackend::ApplyPartly(Flight& flight, bool power_cut) {
  const Op& op = *flight.op;
  Rng& rng = world_.rng();
  SimProcess::Fd* fd = process_.Find(op.fd);
  if (op.code != OpCode::kWrite) {
    const bool names = op.code == OpCode::kUnlink || op.code == OpCode::kRename ||
                       op.code == OpCode::kMakeDirectory || op.code == OpCode::kRemoveDirectory;
    const bool rest =
        op.code == OpCode::kAllocate || op.code == OpCode::kSync || op.code == OpCode::kSyncAll;
    const bool opens_new = op.code == OpCode::kOpen && (op.open_flags & (O_CREAT | O_TRUNC)) != 0;
    if (!rng.Chance(0.5) || flight.hit.kind == FaultKind::kError) return;
    // What a cut-off sync has done is what the cut itself leaves of dirty sectors.
    const bool sync = op.code == OpCode::kSync || op.code == OpCode::kSyncAll;
    if (names || (rest && fd != nullptr && !(sync && power_cut))) DoFileOp(flight);
    if (opens_new) {
      const int64_t inode = process_.disk().Open(op.path, op.open_flags, world_.wall_ms());
      if (inode > 0) process_.disk().Close(static_cast<InodeId>(inode));
    }
    return;
  }
  if (fd == nullptr || fd->kind != SimProcess::Fd::kFile || flight.hit.kind == FaultKind::kError) {
    return;
  }
  const int64_t bytes = TotalBytes(op.vectors, op.vector_count);
  const bool direct = (fd->flags & O_DIRECT) != 0;
  if (direct && !Aligned(op)) return;
  SimDisk& disk = process_.disk();
  if (power_cut && direct) {
    // Its sectors are dirty now, and the cut's policy decides which of them there are.
    disk.Write(fd->inode, op.vectors, op.vector_count, op.position, world_.wall_ms());
    return;
  }
  const uint64_t fate = rng.Below(3);
  if (fate == 0) return;
  if (fate == 1 || !direct) {
    const int64_t kept = fate == 1 ? bytes : rng.Between(0, bytes);
    const std::vector<iovec> part = Slice(op.vectors, op.vector_count, 0, kept);
    const int64_t written =
        disk.Write(fd->inode, part.data(), part.size(), op.position, world_.wall_ms());
    if (IsDurable(op, *fd) && !power_cut) disk.MakeDurable(fd->inode, op.position, written);
    return;
  }
  for (int64_t at = 0; at < bytes; at += kSectorBytes) {
    if (rng.Chance(0.5)) continue;
    const std::vector<iovec> part = Slice(op.vectors, op.vector_count, at, kSectorBytes);
    disk.Write(fd->inode, part.data(), part.size(), op.position + at, world_.wall_ms());
    if (IsDurable(op, *fd)) disk.MakeDurable(fd->inode, op.position + at, kSectorBytes);
  }
}

}  // namespace ringtail::sim
