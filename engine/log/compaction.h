// What a compaction of a log goes by. The log knows segments and files; which records are the
// latest of their keys is the filter's matter (engine/partition/compaction.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "engine/log/batch.h"
#include "engine/task/task.h"

namespace ringtail::log {

class BatchFilter {
 public:
  enum class Verdict : uint8_t {
    kKeep,     // as it is
    kReplace,  // what was appended to `out` comes in its place: the same offsets, epoch, producer
    kRemove,   // all of its records go, and nothing must be told of it any more
    kEmpty,    // all of its records go, its header stays (AppendEmptyBatch)
  };
  virtual ~BatchFilter() = default;

  // The batches of the dirty part come first, all of them in order. False: there is no room for
  // this one, and the pass goes no further than to it.
  virtual bool Learn(const BatchView& batch) = 0;
  // Then those of all that is rewritten, in order. An error ends the pass.
  virtual absl::StatusOr<Verdict> Filter(const BatchView& batch, std::vector<uint8_t>* out) = 0;
};

// How fast a pass may read and write: it is never in a hurry, appends are.
class CompactionPace {
 public:
  virtual ~CompactionPace() = default;
  // After `bytes` were read or written; ends when the next may be.
  virtual task::Task<void> Spend(int64_t bytes) = 0;
};

// Offsets at segments' starts; see Log::CompactableEnd.
struct CompactionRange {
  base::Offset dirty_from;  // what is below has been compacted before
  base::Offset end;         // exclusive
};

struct CompactionResult {
  base::Offset clean_end;     // all below is compacted now
  int64_t bytes_learned = 0;  // read to learn keys
  int64_t bytes_before = 0;   // of the segments that were rewritten
  int64_t bytes_after = 0;
  size_t segments_before = 0;
  size_t segments_after = 0;
};

}  // namespace ringtail::log
