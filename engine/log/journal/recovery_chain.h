// What the entries of one partition say about its log, in order: where it ends, and which bytes
// must be in which segment. Pure: what it takes from the segments it asks for (SegmentEvidence).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/log/journal/journal_format.h"
#include "engine/log/journal/journal_partition.h"
#include "engine/log/journal/journal_scan.h"
#include "engine/task/task.h"

namespace ringtail::log {

// Asked where the journal has lost what the segments may still have.
class SegmentEvidence {
 public:
  virtual ~SegmentEvidence() = default;
  // Whether the segment has these bytes at the entry's place (by its payload_crc).
  virtual task::Task<bool> Holds(const EntryHeader& entry) = 0;
  // Whether whole, valid batches lead from one place to the other, through as many segments as it
  // takes. The ends of segments that are passed are added to `lengths`.
  virtual task::Task<bool> Connects(LogEnd from, LogEnd to,
                                    std::map<uint64_t, uint32_t>* lengths) = 0;
};

struct Chain {
  bool has_end = false;  // else nothing says where the log ends
  LogEnd end;
  LogEnd start;   // R, the last IN_PLACE, or the place of the first entry
  LogEnd lowest;  // of `start` and the truncations behind it: files must reach it
  uint64_t log_start = 0;
  uint32_t leader_epoch = 0;
  bool page_cache = false;
  bool dropped = false;
  bool ends_cut = false;                    // the last that moved the end was a TRUNCATE
  bool released = false;                    // to another core
  std::vector<const ScannedEntry*> writes;  // APPENDs to be in the segments, in order
  std::map<uint64_t, uint32_t> lengths;     // of segments from `lowest` on, by base
  uint32_t healed = 0;
  bool refused = false;
  bool suspect = false;  // of a refused one, too: what came behind is known to nobody
  bool lossy = false;    // frames are lost that may have had entries of it
  std::string reason;    // of refused, else of suspect
};

// `entries`: of this partition, by seq, all above record->sync_seq. `lost`: frames of that journal.
// Unimplemented: an entry of a type that this version does not know.
task::Task<absl::StatusOr<Chain>> FollowChain(std::optional<CheckpointRecord> record,
                                              std::vector<const ScannedEntry*> entries,
                                              const std::vector<SeqRange>& lost,
                                              SegmentEvidence& evidence);

}  // namespace ringtail::log
