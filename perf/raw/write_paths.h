// The kernel's ways to store a batch at the end of each of some files, with what each leaves
// undone: the limits that the broker's appends are compared with.
#pragma once

#include <cstdint>
#include <string>

#include "perf/lib/rounds.h"

namespace ringtail::raw {

enum class WritePath {
  // In the page cache when it ends.
  kPwrite,
  kPwritevDontCache,  // RWF_DONTCACHE: written back and dropped at once
  kRing,              // IORING_OP_WRITE, all files in one submission
  kRingFixed,         // IORING_OP_WRITE_FIXED from a registered buffer to registered files
  // At the device, which may lose it with its power.
  kDirect,      // pwrite with O_DIRECT
  kRingDirect,  // all files in one submission
  // Durable.
  kPwriteFdatasync,  // pwrite and fdatasync, file after file
  kPwritevDsync,     // pwritev2 with RWF_DSYNC
  kDirectDsync,  // O_DIRECT and RWF_DSYNC, to space that was written before, as a journal has it
  kRingDirectDsync,  // the same, all files in one submission
};

std::string Name(WritePath path);

struct WriteOptions {
  std::string directory;  // must exist; the files made in it are removed again
  WritePath path = WritePath::kPwrite;
  int64_t batch_bytes = 64 << 10;
  int files = 1;
  int64_t space_bytes = 256 << 20;  // of all files together: they are emptied when it is used up
};

// Runs for `seconds` in this process, after a short warm-up. An operation is a batch to each file.
// Figures as WorkMeter's, preallocation (16 MiB at a time) included. Throws perf::Unavailable where
// kernel or file system lack the path.
perf::Figures RunWrites(const WriteOptions& options, double seconds);

}  // namespace ringtail::raw
