// Reading and writing a number of bytes: the least that a recovery of so much must do.
#pragma once

#include <cstdint>
#include <string>

#include "perf/lib/rounds.h"

namespace ringtail::raw {

// Reads `bytes` that are on the device but not in the page cache, 1 MiB at a time, writes them to a
// file that has them already (in the page cache, too, as after kill -9) and syncs that. Figures:
// seconds, seconds_per_gib.
perf::Figures RunCopy(const std::string& directory, int64_t bytes);

}  // namespace ringtail::raw
