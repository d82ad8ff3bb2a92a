// What the compactions of a core's partitions have done.
#pragma once

#include <cstdint>

namespace ringtail::partition {

struct CompactionCounters {
  uint64_t passes = 0;
  uint64_t failures = 0;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t records_removed = 0;
  uint64_t tombstones_removed = 0;
  uint64_t batches_unreadable = 0;  // kept whole: records that are not what the header says
};

}  // namespace ringtail::partition
