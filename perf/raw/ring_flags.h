// What a ring's set-up flags cost and save, and files, buffers and the ring itself that are
// registered: operations that do nothing, and reads of 4 KiB.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "perf/lib/rounds.h"
#include "perf/raw/ring.h"

namespace ringtail::raw {

struct RingVariant {
  std::string name;
  RingOptions options;
  bool registered_file = false;
  bool registered_buffer = false;
};

// SQPOLL's thread stands on kClientCpu. It is a thread of the process, so its CPU is in the
// process's figures: what it spins away until it sleeps, too. The process waits in the kernel there
// as everywhere; it could also spin on the completion queue, for a second CPU.
std::vector<RingVariant> NopVariants();
// Of what is in the page cache; all with the broker's flags.
std::vector<RingVariant> HotReadVariants();
// By O_DIRECT.
std::vector<RingVariant> DirectReadVariants();

struct PageReads {
  std::string directory;   // of the file, which is removed again
  int64_t file_bytes = 0;  // in whole MiB
  bool direct = false;
  int depth = 1;  // reads in flight
  double seconds = 1;
};

// In the calling process; figures as WorkMeter's. An operation is a NOP, `batch` of which go in
// with one call; without latencies, for the clock would be a good part of them.
perf::Figures RunNops(const RingVariant& variant, int batch, double seconds);
// An operation is a read of a page; with latencies.
perf::Figures RunRingReads(const RingVariant& variant, const PageReads& reads);
// The same by pread, one at a time.
perf::Figures RunPreads(const PageReads& reads);

}  // namespace ringtail::raw
