// The segments of one partition, read batch by batch with every CRC, beside where the journal says
// that the log ends. Reads only, by pread: a bad sector is damage at a byte, not a crash.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/log/journal/recovery_chain.h"

namespace ringtail::offline {

// Bytes that a start writes again from the journal, whatever the segment has there.
struct Rewritten {
  int64_t end = 0;           // in the segment
  uint64_t next_offset = 0;  // behind it
};

// What the journal proves of a log; without a record and entries, nothing.
struct Proof {
  std::optional<log::LogEnd> end;
  bool exact = false;  // nothing counts behind `end`
  uint64_t log_start = 0;
  // Offset indexes of segments from this one on are made anew by the next start.
  uint64_t indexes_below = UINT64_MAX;
  // By segment and position where they begin.
  std::map<uint64_t, std::map<int64_t, Rewritten>> rewritten;
};

// A stretch of a segment that is not whole batches.
struct Damage {
  std::string path;
  int64_t from = 0;
  int64_t to = 0;  // where whole batches go on, or the file ends
  uint64_t first_offset = 0;
  uint64_t next_offset = 0;  // of what follows; the log's end if nothing does
  std::string reason;
};

struct SegmentState {
  uint64_t base = 0;
  std::string path;
  int64_t bytes = 0;         // of the file
  int64_t whole_bytes = 0;   // up to the first damage, or the end of its batches
  uint64_t next_offset = 0;  // there
  uint64_t batches = 0;
  std::string index_damage;  // of the offset index; empty: it fits the batches, or is not there
};

struct LogState {
  std::vector<SegmentState> segments;  // in order
  std::vector<Damage> damage;
  int64_t bytes_rewritten = 0;  // from the journal, by the next start
  int64_t bytes_behind = 0;     // behind what counts, preallocated zeros left out
  uint64_t start = 0;           // the first offset that is there
  uint64_t end = 0;             // behind the last batch that counts
  // Where the log is whole up to.
  log::LogEnd whole;
};

// Errors: the directory cannot be listed.
absl::StatusOr<LogState> CheckLog(const std::string& directory, const Proof& proof);

}  // namespace ringtail::offline
