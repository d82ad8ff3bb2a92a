// Two threads that wake each other in turn, both asleep in between, each on a CPU of its own: what
// a message to another thread costs by each means the kernel offers for it.
#pragma once

#include "perf/lib/rounds.h"

namespace ringtail::raw {

enum class WakePath {
  kSpin,         // a shared word, and nobody sleeps: the floor
  kFutex,        // FUTEX_WAIT and FUTEX_WAKE on a shared word
  kEventfd,      // read and write
  kPipe,         // the same, a byte at a time
  kRingEventfd,  // write, and a ring's read: what a loop that sleeps in its ring needs
  kMessageRing,  // MSG_RING from one thread's ring to the other's
};

const char* Name(WakePath path);

// In the calling process, on kServerCpu and kClientCpu. An operation is a round trip; its CPU is
// that of both threads. Figures: as WorkMeter's, with latencies, but without syscalls_per_op, which
// would count one thread alone.
perf::Figures RunWake(WakePath path, double seconds);

}  // namespace ringtail::raw
