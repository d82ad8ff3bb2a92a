// What can be set about logs: for a whole core (LogOptions) and for one topic (LogConfig).
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/types.h"
#include "engine/log/disk_reserve.h"

namespace ringtail::log {

enum class WritePath : uint8_t {
  kAuto,    // by size, and by how long inline writes took lately
  kRing,    // always through the ring
  kInline,  // always pwritev on the core's own thread
};

// What an acknowledged append has gone through (journal.md §1).
enum class Durability : uint8_t {
  kPageCache,  // its segment write: survives the process, not the machine
  kJournal,    // its segment write and its frame in the journal: survives a power cut
};

struct LogOptions {
  WritePath write_path = WritePath::kAuto;
  // kAuto: a write of up to this many bytes is made inline. Derived by perf/compare (append).
  int64_t inline_bytes_max = 1 << 20;
  // kAuto: inline writes that took longer, two of them within twice the shortest pause, send this
  // core's writes to the ring for a while, which doubles from the shortest to the longest pause as
  // long as the writes tried in between are slow.
  base::Nanos inline_slow_ns = 1 * base::kNanosPerMilli;
  base::Nanos inline_pause_min_ns = 50 * base::kNanosPerMilli;
  base::Nanos inline_pause_max_ns = 2 * base::kNanosPerSecond;

  // One vectored write takes at most this much of what is queued (a larger single append goes
  // alone).
  int64_t write_bytes_max = 4 << 20;

  // Preallocation: what a partition wrote in the last second, within these bounds; 0: none.
  int64_t allocate_bytes_min = 64 << 10;
  int64_t allocate_bytes_max = 16 << 20;

  // Files kept open per core. More are open only while that many are in use.
  size_t open_files_max = 2000;

  int64_t recovery_read_bytes = 1 << 20;

  DiskReserveOptions reserve;
};

// Per topic; Kafka's names are in the comments. May be changed at any time.
struct LogConfig {
  int64_t segment_bytes_max = 1 << 30;          // segment.bytes, at most 2^31 - 1
  int64_t segment_ms = 7 * 24 * 3600 * 1000LL;  // segment.ms
  int64_t index_interval_bytes = 4096;          // index.interval.bytes
  int64_t index_bytes_max = 10 << 20;           // segment.index.bytes
  // Counts where the core has a journal; without one all logs are kPageCache.
  Durability durability = Durability::kPageCache;  // ringtail.durability
};

}  // namespace ringtail::log
