// Reads that never block the core: from the page cache at once, through the ring otherwise.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/bytes.h"
#include "engine/io/backend.h"
#include "engine/log/file_cache.h"
#include "engine/task/task.h"

namespace ringtail::log {

// Fills `into` from `position`; fewer bytes only at the end of the file. `ring_reads`, if not null,
// counts the calls that had to wait.
task::Task<absl::StatusOr<size_t>> ReadCached(io::Backend& io, const FilePin& pin,
                                              base::MutableByteView into, int64_t position,
                                              uint64_t* ring_reads = nullptr);

// Entries of `entry_bytes` each in the first `count` places of an index file, in rising order of
// key. Returns how many, from the first, have key(entry) <= limit, and copies the last of those to
// `last` (entry_bytes). DataLoss where the file is shorter.
task::Task<absl::StatusOr<int64_t>> CountEntries(FileCache& files, io::Backend& io, FileRef file,
                                                 int64_t count, int64_t entry_bytes,
                                                 int64_t (*key)(const uint8_t* entry),
                                                 int64_t limit, uint8_t* last);

// Writes `bytes` at `position` of an index file, making it if need be, and ends the file there.
task::Task<absl::Status> WriteTail(FileCache& files, io::Backend& io, FileRef file,
                                   base::ByteView bytes, int64_t position, bool cut);

}  // namespace ringtail::log
