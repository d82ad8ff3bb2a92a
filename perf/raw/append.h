// Raw append: the least work that puts batches at the end of a file in the page cache. The limit
// that the engine's appender is compared with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "perf/lib/rounds.h"

namespace ringtail::raw {

enum class AppendMethod {
  kPwritev,    // one pwritev a batch
  kRing,       // IORING_OP_WRITE
  kRingFixed,  // IORING_OP_WRITE_FIXED with a registered buffer and file
};

enum class Preallocate {
  kNone,   // every write extends the file
  kSteps,  // size-setting fallocate, 16 MiB at a time, as the file fills
  kWhole,  // size-setting fallocate of all of it first
};

struct AppendOptions {
  std::string directory;  // must exist; the file made in it is removed again
  int64_t batch_bytes = 64 << 10;
  int64_t total_bytes = 1 << 30;  // written once, to fresh pages, as an append-only log does
  AppendMethod method = AppendMethod::kPwritev;
  int in_flight = 1;  // for the ring: writes submitted and not yet completed
  Preallocate preallocate = Preallocate::kSteps;
};

std::string Name(const AppendOptions& options);

// The variants that compete for "best raw append" at one batch size.
std::vector<AppendOptions> AppendVariants(const std::string& directory, int64_t batch_bytes,
                                          int64_t total_bytes);

// Runs one round. Figures: gb_per_s, cpu_s_per_gb (user and system time of this process, io-wq
// workers included, preallocation included, removal of the file not).
perf::Figures RunAppend(const AppendOptions& options);

}  // namespace ringtail::raw
