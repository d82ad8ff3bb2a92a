// Compaction of a log through the engine, and the same by a raw loop: read, keep of each key the
// latest, write, sync.
#pragma once

#include <cstdint>
#include <string>

#include "perf/lib/rounds.h"

namespace ringtail::compare {

struct CompactionRunOptions {
  std::string directory;
  int64_t total_bytes = 256 << 20;
  int64_t segment_bytes = 32 << 20;
  int64_t batch_bytes = 64 << 10;
  int64_t value_bytes = 1000;
  int64_t keys = 100'000;  // each record has one of them, by turns
};

// Makes a log, compacts it once, removes it. Figures, per GB that the log held: gb_per_s,
// cpu_s_per_gb; and kept, the part of it that is left.
perf::Figures RunEngineCompaction(const CompactionRunOptions& options);
// The same of files with the same content: read in pieces of 1 MiB, twice, with the engine's own
// code for batches and keys between plain system calls.
perf::Figures RunRawCompaction(const CompactionRunOptions& options);

}  // namespace ringtail::compare
