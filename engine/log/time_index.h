// A segment's .timeindex: from timestamps to offsets. Kept like the offset index: new entries in
// memory, saved ones searched in the file.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "engine/log/file_cache.h"
#include "engine/task/task.h"

namespace ringtail::log {

// 12 bytes, big endian: int64 timestamp, int32 offset relative to the segment's base. Says that
// `timestamp_ms` is the largest among all records up to `offset`, which has it.
struct TimeEntry {
  int64_t timestamp_ms = -1;
  base::Offset offset;
};
inline constexpr int64_t kTimeEntryBytes = 12;

class TimeIndex {
 public:
  TimeIndex(FileCache& files, io::Backend& io, FileRef file, base::Offset segment_base)
      : files_(files), io_(io), file_(std::move(file)), base_(segment_base) {}

  int64_t count() const { return file_entries_ + static_cast<int64_t>(tail_.size()); }
  int64_t size_bytes() const { return count() * kTimeEntryBytes; }
  int64_t unsaved() const { return static_cast<int64_t>(tail_.size()); }
  const FileRef& file() const { return file_; }

  void Trust(int64_t file_entries, TimeEntry last);
  void Reset();
  // Appends if the timestamp is above the last entry's (as Kafka does; equal or older ones say
  // nothing new).
  void MaybeAppend(int64_t timestamp_ms, base::Offset offset);
  // {-1, segment base} where empty.
  TimeEntry last() const { return last_; }
  // The last entry whose timestamp is < `timestamp_ms`; nullopt: scan from the segment's start.
  task::Task<absl::StatusOr<std::optional<TimeEntry>>> LookupBelow(int64_t timestamp_ms);
  // Drops entries with offsets at or past `end`.
  task::Task<absl::Status> TruncateTo(base::Offset end);
  task::Task<absl::Status> Save();
  // Reads the last entry of the file.
  task::Task<absl::StatusOr<TimeEntry>> ReadLast(int64_t file_entries);

 private:
  enum class Key : uint8_t { kTime, kOffset };
  task::Task<absl::StatusOr<int64_t>> CountInFile(Key key, int64_t limit, TimeEntry* last);

  FileCache& files_;
  io::Backend& io_;
  FileRef file_;
  base::Offset base_;
  int64_t file_entries_ = 0;
  std::vector<TimeEntry> tail_;
  TimeEntry last_;
};

}  // namespace ringtail::log
