// The half of chunk_server.h that is driven by a ring.
#pragma once

#include <vector>

#include "perf/lib/os.h"
#include "perf/raw/chunk_server.h"

namespace ringtail::raw {

// Serves `sockets`, which block, until all are closed by their peers; says on each that it is set
// up.
void ServeByRing(const ChunkOptions& options, std::vector<perf::Fd> sockets);

}  // namespace ringtail::raw
