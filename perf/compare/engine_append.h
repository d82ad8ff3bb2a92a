// Appends through the engine, as the broker's partitions do: a log on a core loop over the real
// ring, default options. No server and no socket: what the log itself costs.
#pragma once

#include <cstdint>
#include <string>

#include "perf/lib/native.h"
#include "perf/lib/rounds.h"

namespace ringtail::compare {

struct EngineAppendOptions {
  std::string directory;  // must exist; the log made in it is removed again
  int64_t total_bytes = 1 << 30;
  int depth = 1;  // appends queued and not yet written; the log joins those that wait
};

// Appends `batch` again and again, each append waited for until it is in the page cache. Figures:
// gb_per_s, cpu_s_per_gb (user and system time of this process, io-wq workers included, removal
// not).
perf::Figures RunEngineAppend(const EngineAppendOptions& options, const perf::EncodedBatch& batch);

}  // namespace ringtail::compare
