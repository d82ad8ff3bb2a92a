// One segment of a log: a .log file, its two indexes, and what is known of them. Plain state and
// the bookkeeping of appends; whoever writes and reads is in appender, log_read and log_recovery.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/types.h"
#include "engine/log/batch.h"
#include "engine/log/file_cache.h"
#include "engine/log/log_options.h"
#include "engine/log/offset_index.h"
#include "engine/log/time_index.h"

namespace ringtail::log {

// "00000000000000000042" + suffix.
std::string SegmentFileName(base::Offset base, const char* suffix);
inline constexpr char kLogSuffix[] = ".log";
inline constexpr char kIndexSuffix[] = ".index";
inline constexpr char kTimeIndexSuffix[] = ".timeindex";
inline constexpr char kSnapshotSuffix[] = ".snapshot";

// For retention.
struct SegmentInfo {
  base::Offset base;
  base::Offset end;  // exclusive: where the next segment starts, or log_end
  int64_t bytes = 0;
  int64_t max_timestamp_ms = -1;  // -1: no record has one
  int64_t modified_ms = 0;        // of the file, for segments without timestamps
  bool active = false;
};

class Segment {
 public:
  Segment(FileCache& files, io::Backend& io, const std::string& directory, base::Offset base);
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  base::Offset base() const { return base_; }
  const FileRef& file() const { return file_; }
  OffsetIndex& index() { return index_; }
  TimeIndex& time_index() { return time_index_; }

  // Index entries and timestamps for a batch that is put at `bytes`, which grows by it.
  void NoteBatch(const BatchHeader& batch, const LogConfig& config);
  // Ends the time index with the largest timestamp.
  void Seal();

  int64_t bytes = 0;                // of batches, those queued included
  int64_t written_bytes = 0;        // of batches that are in the file
  int64_t allocated_bytes = 0;      // the file's size as far as it was preallocated
  bool created = false;             // the .log file exists
  bool allocating = false;          // a preallocation is on its way
  bool dirty = false;               // written to since the last sync
  int64_t first_timestamp_ms = -1;  // of the first batch (its largest), for segment.ms
  bool max_known = true;  // false: max_timestamp_ms must be read from the time index first
  int64_t max_timestamp_ms = -1;
  base::Offset max_timestamp_offset;  // last offset of the first batch that has it
  int64_t bytes_since_index = 0;
  uint32_t generation = 0;  // of the files under this name; compaction makes a new one

 private:
  base::Offset base_;
  FileRef file_;
  OffsetIndex index_;
  TimeIndex time_index_;
};

}  // namespace ringtail::log
