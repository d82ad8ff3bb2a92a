// A segment's .timeindex: from timestamps to offsets. Kept like the offset index: new entries in
// memory, saved ones searched in the file.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "engine/log/file_cache.h"
#include "engine/task/task.h"

namespace ringtail::log {

// 12 bytes, big endian: int64 timestamp, int32 offset relative to the segment's base. Says that
// `timestamp_ms` is the largest among all records up to `offset`, the last offset of the first
// batch that has it.
struct TimeEntry {
  int64_t timestamp_ms = -1;
  base::Offset offset;

  bool operator==(const TimeEntry&) const = default;
};
inline constexpr int64_t kTimeEntryBytes = 12;

class TimeIndex {
 public:
  TimeIndex(FileCache& files, io::Backend& io, FileRef file, base::Offset segment_base)
      : files_(files),
        io_(io),
        file_(std::move(file)),
        base_(segment_base),
        file_last_{-1, segment_base} {}

  int64_t count() const { return file_entries_ + static_cast<int64_t>(tail_.size()); }
  int64_t size_bytes() const { return count() * kTimeEntryBytes; }
  int64_t unsaved() const { return static_cast<int64_t>(tail_.size()); }
  const FileRef& file() const { return file_; }

  // The file's first `file_entries` count. Its last one is read before it is needed: see LoadLast.
  void Trust(int64_t file_entries);
  void Reset();
  // Reads the last trusted entry. Before it, last() and MaybeAppend() must not be used.
  task::Task<absl::Status> LoadLast();
  // Appends if timestamp and offset are above the last entry's, as Kafka does.
  void MaybeAppend(int64_t timestamp_ms, base::Offset offset);
  // {-1, segment base} where empty.
  TimeEntry last() const { return tail_.empty() ? file_last_ : tail_.back(); }
  // The last entry whose timestamp is < `timestamp_ms`; nullopt: scan from the segment's start.
  task::Task<absl::StatusOr<std::optional<TimeEntry>>> LookupBelow(int64_t timestamp_ms);
  // Drops entries with offsets at or past `end`, if they are not saved yet.
  void TruncateUnsaved(base::Offset end);
  // The same for all. The file is cut by the next Save().
  task::Task<absl::Status> TruncateTo(base::Offset end);
  // Writes the entries with offsets below `end` to the file, and makes it.
  task::Task<absl::Status> Save(base::Offset end);

 private:
  FileCache& files_;
  io::Backend& io_;
  FileRef file_;
  base::Offset base_;
  int64_t file_entries_ = 0;
  bool cut_file_ = false;
  TimeEntry file_last_;
  std::vector<TimeEntry> tail_;
};

}  // namespace ringtail::log
