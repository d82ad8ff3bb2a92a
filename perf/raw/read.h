// Raw read: pread of a hot file, front to back, into one buffer. The copy out of the page cache
// that every send path which is not zero-copy pays.
#pragma once

#include <cstdint>
#include <string>

#include "perf/lib/rounds.h"

namespace ringtail::raw {

// Reads `file` once in chunks of `chunk_bytes`. Figures: gb_per_s, cpu_s_per_gb.
perf::Figures RunRead(const std::string& file, int64_t chunk_bytes);

}  // namespace ringtail::raw
