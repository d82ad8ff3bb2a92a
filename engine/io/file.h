// Files by coroutine: thin calls that fill an Op and await it. Errors come back with the path or
// the file's name in them, once, here.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "engine/io/backend.h"
#include "engine/task/task.h"

namespace ringtail::io {

// "what path: strerror": ENOENT NotFound, EEXIST AlreadyExists, ENOSPC and EDQUOT
// ResourceExhausted, EACCES, EPERM and EROFS PermissionDenied, EIO DataLoss, all else Unavailable.
absl::Status ErrnoStatus(int error, absl::string_view what, absl::string_view path);

// The directory of what `path` names; "." for a path of one name.
std::string ParentOf(const std::string& path);

// Bytes or -errno; continues after a short result until all vectors are done, or no progress
// (the count so far, for reads: end of file). Vectors are changed.
task::Task<int64_t> ReadFully(Backend& backend, int fd, iovec* vectors, int count,
                              int64_t position);
task::Task<int64_t> WriteFully(Backend& backend, int fd, iovec* vectors, int count,
                               int64_t position, uint32_t flags);

task::Task<absl::StatusOr<int>> OpenFile(Backend& backend, std::string path, int open_flags,
                                         uint32_t mode = 0644);
task::Task<void> CloseFile(Backend& backend, int fd);
task::Task<absl::Status> SyncFile(Backend& backend, int fd, std::string path);  // fdatasync
task::Task<absl::Status> SyncDirectory(Backend& backend, std::string path);     // open, fsync
task::Task<absl::Status> Allocate(Backend& backend, int fd, int64_t position, int64_t length,
                                  std::string path);
// Of dirty pages; does not wait for the device.
task::Task<absl::Status> StartWriteback(Backend& backend, int fd, int64_t position, int64_t length,
                                        std::string path);
task::Task<absl::Status> Unlink(Backend& backend, std::string path);
task::Task<absl::Status> Rename(Backend& backend, std::string from, std::string to);
// Existing directories are fine; parents must exist.
task::Task<absl::Status> MakeDirectory(Backend& backend, std::string path);
// Removes a directory with the plain files in it; the file named `last`, if it is there, after all
// others: whoever finds what a crash left of the directory can still tell whose it was.
task::Task<absl::Status> RemoveDirectoryWithFiles(Backend& backend, std::string path,
                                                  std::string last = "");

// Reads a whole small file (at most `bytes_max`, else OutOfRange).
task::Task<absl::StatusOr<std::string>> ReadWholeFile(Backend& backend, std::string path,
                                                      int64_t bytes_max);
// Makes the file anew; what it holds is on the device with `sync`, its name is not.
task::Task<absl::Status> WriteNewFile(Backend& backend, std::string path, std::string content,
                                      bool sync);
// Writes `path`.tmp, fsync, rename, fsync of the directory: the file is old or new, whole.
task::Task<absl::Status> ReplaceFile(Backend& backend, std::string path, std::string content);

}  // namespace ringtail::io
