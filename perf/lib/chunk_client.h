// Clients that ask a server for chunks and drain them, over many connections at once: what sends
// are measured with, raw loops and the engine alike.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "perf/lib/rounds.h"

namespace ringtail::perf {

struct ChunkLoad {
  int connections = 1;
  int window = 2;  // chunks asked for and not yet received, for each connection
  int64_t request_bytes = 64;
  int64_t chunk_bytes = 64 << 10;
  int64_t bytes_max = 0;  // over 0: each connection asks for no more than its share of so many
};

// Connects, waits for the byte on each connection with which the server says that it is set up, and
// asks for chunks for `seconds`: behind a warm-up of a fifth of that, or, where bytes_max is given,
// without one and until all has come if that is earlier. An operation is a chunk. Figures as
// WorkMeter's, of process `server`.
Figures RunChunkClient(uint16_t port, pid_t server, const ChunkLoad& load, double seconds);

}  // namespace ringtail::perf
