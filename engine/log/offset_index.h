// A segment's .index: from offsets to positions of batches, an entry each index_interval_bytes.
// Entries that are not in the file yet are in memory; a sealed segment's are all in the file and
// are searched there, page by page, from the page cache where it has them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "engine/log/file_cache.h"
#include "engine/task/task.h"

namespace ringtail::log {

// 8 bytes, big endian: int32 offset relative to the segment's base, int32 position.
struct IndexEntry {
  base::Offset offset;   // the *last* offset of the batch
  int64_t position = 0;  // where that batch starts

  bool operator==(const IndexEntry&) const = default;
};
inline constexpr int64_t kIndexEntryBytes = 8;

class OffsetIndex {
 public:
  OffsetIndex(FileCache& files, io::Backend& io, FileRef file, base::Offset segment_base)
      : files_(files), io_(io), file_(std::move(file)), base_(segment_base) {}

  int64_t count() const { return file_entries_ + static_cast<int64_t>(tail_.size()); }
  int64_t size_bytes() const { return count() * kIndexEntryBytes; }
  int64_t unsaved() const { return static_cast<int64_t>(tail_.size()); }
  const FileRef& file() const { return file_; }

  // The first `file_entries` of the file count; false: the rest of the file is to be cut.
  void Trust(int64_t file_entries, bool exact = true);
  // Nothing in the file counts any more.
  void Reset();
  // Offsets and positions rise.
  void Append(base::Offset last_offset, int64_t position);
  // The last entry whose offset is <= `offset`: a scan from its position finds the batch of
  // `offset`. nullopt: scan from the segment's start.
  task::Task<absl::StatusOr<std::optional<IndexEntry>>> Lookup(base::Offset offset);
  // The last entry whose position is <= `position`.
  task::Task<absl::StatusOr<std::optional<IndexEntry>>> LookupPosition(int64_t position);
  // Drops entries of batches that start at or after `position`, if they are not saved yet.
  void TruncateUnsaved(int64_t position);
  // The same for all. The file is cut by the next Save().
  task::Task<absl::Status> TruncateTo(int64_t position);
  // Writes the entries of batches that start below `position` to the file, and makes it.
  task::Task<absl::Status> Save(int64_t position);

 private:
  FileCache& files_;
  io::Backend& io_;
  FileRef file_;
  base::Offset base_;
  int64_t file_entries_ = 0;
  bool cut_file_ = false;  // the file may hold more than file_entries_
  std::vector<IndexEntry> tail_;
};

}  // namespace ringtail::log
