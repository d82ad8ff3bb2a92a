// One segment of a log: a .log file, its two indexes, and what is known of them. Plain state and
// the bookkeeping of appends; whoever writes and reads is in appender, log_read and log_recovery.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "engine/base/types.h"
#include "engine/log/batch.h"
#include "engine/log/file_cache.h"
#include "engine/log/log_options.h"
#include "engine/log/offset_index.h"
#include "engine/log/segment_name.h"
#include "engine/log/time_index.h"
#include "engine/task/task.h"

namespace ringtail::log {

// For retention.
struct SegmentInfo {
  base::Offset base;
  base::Offset end;  // exclusive: where the next segment starts, or log_end
  int64_t bytes = 0;
  int64_t first_timestamp_ms = -1;  // the first batch's largest; -1: not known
  int64_t max_timestamp_ms = -1;    // -1: no record has one
  int64_t modified_ms = 0;          // of the file, for segments without timestamps
  bool active = false;

  // When its newest record is from; where none tells, or one tells a time to come, when the file
  // was last changed.
  int64_t newest_ms(int64_t now_ms) const {
    const bool stamped = max_timestamp_ms >= 0 && max_timestamp_ms <= now_ms;
    return stamped ? max_timestamp_ms : modified_ms;
  }
};

class Segment {
 public:
  // What the batches of the segment add up to, those included that are queued for writing. Plain,
  // so that a failed write puts back what was before.
  struct Totals {
    int64_t bytes = 0;
    base::Offset next_offset;  // after the last batch; the segment's base where there is none
    int64_t first_timestamp_ms =
        kNoTimestamp;  // the first batch's largest: segment.ms counts from it
    int64_t max_timestamp_ms = kNoTimestamp;
    base::Offset max_timestamp_offset;  // the last offset of the first batch that has it
    int64_t bytes_since_index = 0;
  };

  Segment(FileCache& files, io::Backend& io, const std::string& directory, base::Offset base);
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  base::Offset base() const { return base_; }
  const FileRef& file() const { return file_; }
  // The .log file is at `path` for now: a new one, which is not in its place yet.
  void SetFilePath(FileCache& files, std::string path) { files.SetPath(file_, std::move(path)); }
  OffsetIndex& index() { return index_; }
  TimeIndex& time_index() { return time_index_; }

  Totals EmptyTotals() const;
  // Index entries and timestamps for a batch that is put at totals.bytes, which grows by it.
  void NoteBatch(const BatchHeader& batch, const LogConfig& config);
  // Ends the time index with the largest timestamp, as Kafka does when it rolls or closes.
  void EndTimeIndex();
  // Undoes NoteBatch calls of batches whose index entries were not saved.
  void PutBack(const Totals& before, base::Offset end);
  // Reads the largest timestamp of a trusted segment, where that has not been done.
  task::Task<absl::Status> LoadMaxTimestamp();

  Totals totals;
  int64_t written_bytes = 0;     // of batches that are in the file
  int64_t allocated_bytes = 0;   // the file's size, where it was preallocated past written_bytes
  bool created = false;          // the .log file exists
  bool allocating = false;       // a preallocation is on its way
  bool dirty = false;            // written to since the last sync
  int64_t writeback_bytes = -1;  // written_bytes when the last group sync began
  bool saved = false;            // sealed: trimmed, indexes in their files, synced
  bool max_loaded = true;        // false: LoadMaxTimestamp() first
  int64_t created_ms = 0;        // wall clock

 private:
  base::Offset base_;
  FileRef file_;
  OffsetIndex index_;
  TimeIndex time_index_;
};

}  // namespace ringtail::log
