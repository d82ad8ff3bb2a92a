#include "engine/io/file.h"

#include <fcntl.h>

#include <algorithm>

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/result.h"

namespace ringtail::io {
namespace {

// Skips `bytes` of the vectors; returns how many vectors are done.
int Advance(iovec* vectors, int count, size_t bytes) {
  int done = 0;
  while (done < count && bytes >= vectors[done].iov_len) bytes -= vectors[done++].iov_len;
  if (done < count) {
    vectors[done].iov_base = static_cast<uint8_t*>(vectors[done].iov_base) + bytes;
    vectors[done].iov_len -= bytes;
  }
  return done;
}

bool IsTransient(int64_t result) { return result == -EINTR || result == -EAGAIN; }

constexpr int kVectorsPerOp = 1024;      // IOV_MAX
constexpr int kTransientErrorsMax = 16;  // then it is not transient

task::Task<int64_t> TransferFully(Backend& backend, Op op, iovec* vectors, int count) {
  int64_t total = 0;
  int transient = 0;
  int next = Advance(vectors, count, 0);
  while (next < count) {
    op.vectors = vectors + next;
    op.vector_count = static_cast<uint32_t>(std::min(count - next, kVectorsPerOp));
    const int64_t result = co_await Run(backend, &op);
    if (IsTransient(result) && ++transient <= kTransientErrorsMax) continue;
    if (result < 0) co_return result;
    if (result == 0) break;
    transient = 0;
    total += result;
    op.position += result;
    next += Advance(vectors + next, count - next, static_cast<size_t>(result));
  }
  co_return total;
}

task::Task<absl::Status> RunPathOp(Backend& backend, OpCode code, std::string path,
                                   absl::string_view what) {
  Op op;
  op.code = code;
  op.path = path.c_str();
  op.mode = 0755;
  const int32_t result = co_await Run(backend, &op);
  co_return result < 0 ? ErrnoStatus(-result, what, path) : absl::OkStatus();
}

task::Task<absl::Status> RunRangeOp(Backend& backend, OpCode code, int fd, int64_t position,
                                    int64_t length, std::string path, absl::string_view what) {
  Op op;
  op.code = code;
  op.fd = fd;
  op.position = position;
  op.length = length;
  const int32_t result = co_await Run(backend, &op);
  co_return result < 0 ? ErrnoStatus(-result, what, path) : absl::OkStatus();
}

}  // namespace

absl::Status ErrnoStatus(int error, absl::string_view what, absl::string_view path) {
  const std::string text = absl::StrCat(what, " ", path, ": ", strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(text);
    case EEXIST:
      return absl::AlreadyExistsError(text);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(text);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    case EIO:
      return absl::DataLossError(text);
    default:
      return absl::UnavailableError(text);
  }
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

task::Task<int64_t> ReadFully(Backend& backend, int fd, iovec* vectors, int count,
                              int64_t position) {
  Op op;
  op.code = OpCode::kRead;
  op.fd = fd;
  op.position = position;
  return TransferFully(backend, op, vectors, count);
}

task::Task<int64_t> WriteFully(Backend& backend, int fd, iovec* vectors, int count,
                               int64_t position, uint32_t flags) {
  Op op;
  op.code = OpCode::kWrite;
  op.flags = flags;
  op.fd = fd;
  op.position = position;
  return TransferFully(backend, op, vectors, count);
}

task::Task<absl::StatusOr<int>> OpenFile(Backend& backend, std::string path, int open_flags,
                                         uint32_t mode) {
  Op op;
  op.code = OpCode::kOpen;
  op.path = path.c_str();
  op.open_flags = open_flags;
  op.mode = mode;
  const int32_t result = co_await Run(backend, &op);
  if (result < 0) co_return ErrnoStatus(-result, "open", path);
  co_return result;
}

task::Task<void> CloseFile(Backend& backend, int fd) {
  Op op;
  op.code = OpCode::kClose;
  op.fd = fd;
  // Linux closes the descriptor whatever it returns; what mattered was synced before.
  co_await Run(backend, &op);
}

task::Task<absl::Status> SyncFile(Backend& backend, int fd, std::string path) {
  Op op;
  op.code = OpCode::kSync;
  op.fd = fd;
  const int32_t result = co_await Run(backend, &op);
  co_return result < 0 ? ErrnoStatus(-result, "sync", path) : absl::OkStatus();
}

task::Task<absl::Status> SyncDirectory(Backend& backend, std::string path) {
  RT_CO_ASSIGN_OR_RETURN(const int fd, co_await OpenFile(backend, path, O_RDONLY | O_DIRECTORY, 0));
  Op op;
  op.code = OpCode::kSyncAll;
  op.fd = fd;
  const int32_t result = co_await Run(backend, &op);
  co_await CloseFile(backend, fd);
  co_return result < 0 ? ErrnoStatus(-result, "sync", path) : absl::OkStatus();
}

task::Task<absl::Status> Allocate(Backend& backend, int fd, int64_t position, int64_t length,
                                  std::string path) {
  return RunRangeOp(backend, OpCode::kAllocate, fd, position, length, std::move(path), "allocate");
}

task::Task<absl::Status> StartWriteback(Backend& backend, int fd, int64_t position, int64_t length,
                                        std::string path) {
  return RunRangeOp(backend, OpCode::kWriteback, fd, position, length, std::move(path),
                    "write back");
}

task::Task<absl::Status> Unlink(Backend& backend, std::string path) {
  return RunPathOp(backend, OpCode::kUnlink, std::move(path), "unlink");
}

task::Task<absl::Status> Rename(Backend& backend, std::string from, std::string to) {
  Op op;
  op.code = OpCode::kRename;
  op.path = from.c_str();
  op.path2 = to.c_str();
  const int32_t result = co_await Run(backend, &op);
  co_return result < 0 ? ErrnoStatus(-result, "rename", absl::StrCat(from, " to ", to))
                       : absl::OkStatus();
}

task::Task<absl::Status> MakeDirectory(Backend& backend, std::string path) {
  const absl::Status status =
      co_await RunPathOp(backend, OpCode::kMakeDirectory, path, "make directory");
  if (!absl::IsAlreadyExists(status)) co_return status;
  RT_CO_ASSIGN_OR_RETURN(const FileInfo info, backend.StatPath(path));
  co_return info.is_directory ? absl::OkStatus() : status;
}

task::Task<absl::Status> RemoveDirectoryWithFiles(Backend& backend, std::string path,
                                                  std::string last) {
  RT_CO_ASSIGN_OR_RETURN(std::vector<DirectoryEntry> entries, backend.ListDirectory(path));
  const auto held_back =
      std::find_if(entries.begin(), entries.end(),
                   [&](const DirectoryEntry& entry) { return entry.name == last; });
  if (held_back != entries.end()) std::rotate(held_back, held_back + 1, entries.end());
  for (const DirectoryEntry& entry : entries) {
    if (entry.is_directory) {
      co_return absl::FailedPreconditionError(
          absl::StrCat("remove ", path, ": holds the directory ", entry.name));
    }
    const absl::Status status = co_await Unlink(backend, absl::StrCat(path, "/", entry.name));
    if (!status.ok() && !absl::IsNotFound(status)) co_return status;
  }
  co_return co_await RunPathOp(backend, OpCode::kRemoveDirectory, path, "remove directory");
}

task::Task<absl::StatusOr<std::string>> ReadWholeFile(Backend& backend, std::string path,
                                                      int64_t bytes_max) {
  RT_CO_ASSIGN_OR_RETURN(const int fd, co_await OpenFile(backend, path, O_RDONLY, 0));
  const absl::StatusOr<FileInfo> info = backend.Stat(fd);
  std::string content;
  int64_t bytes = 0;
  if (info.ok() && info->size_bytes <= bytes_max) {
    content.resize(static_cast<size_t>(info->size_bytes));
    iovec vector = {content.data(), content.size()};
    bytes = co_await ReadFully(backend, fd, &vector, 1, 0);
  }
  co_await CloseFile(backend, fd);
  if (!info.ok()) co_return info.status();
  if (info->size_bytes > bytes_max) {
    co_return absl::OutOfRangeError(
        absl::StrCat("read ", path, ": ", info->size_bytes, " bytes, more than ", bytes_max));
  }
  if (bytes < 0) co_return ErrnoStatus(static_cast<int>(-bytes), "read", path);
  content.resize(static_cast<size_t>(bytes));
  co_return content;
}

task::Task<absl::Status> WriteNewFile(Backend& backend, std::string path, std::string content,
                                      bool sync) {
  RT_CO_ASSIGN_OR_RETURN(const int fd,
                         co_await OpenFile(backend, path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  iovec vector = {content.data(), content.size()};
  const int64_t written = co_await WriteFully(backend, fd, &vector, 1, 0, 0);
  absl::Status status;
  if (written < 0) {
    status = ErrnoStatus(static_cast<int>(-written), "write", path);
  } else if (static_cast<size_t>(written) != content.size()) {
    status = ErrnoStatus(ENOSPC, "write", path);
  } else if (sync) {
    status = co_await SyncFile(backend, fd, path);
  }
  co_await CloseFile(backend, fd);
  co_return status;
}

task::Task<absl::Status> ReplaceFile(Backend& backend, std::string path, std::string content) {
  const std::string temporary = absl::StrCat(path, ".tmp");
  absl::Status status =
      co_await WriteNewFile(backend, temporary, std::move(content), /*sync=*/true);
  if (status.ok()) status = co_await Rename(backend, temporary, path);
  if (!status.ok()) {
    const absl::Status ignored = co_await Unlink(backend, temporary);
    static_cast<void>(ignored);  // what went wrong first is what is told
    co_return status;
  }
  co_return co_await SyncDirectory(backend, ParentOf(path));
}

}  // namespace ringtail::io
