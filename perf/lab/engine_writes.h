// The broker's own way to store a batch: logs of one core over its ring, with and without the
// journal. No server and no socket.
#pragma once

#include <cstdint>
#include <string>

#include "engine/log/log_options.h"
#include "perf/lib/rounds.h"

namespace ringtail::lab {

struct EngineWriteOptions {
  std::string directory;  // must exist; the logs made in it are removed again
  int64_t batch_bytes = 64 << 10;
  int partitions = 1;
  log::WritePath path = log::WritePath::kAuto;
  bool journal = false;  // each operation ends when all is durable, else when it is written
  int64_t space_bytes = 256 << 20;  // it ends early when the logs hold so much
};

// Runs for `seconds` in this process, after a short warm-up. An operation is a batch to each
// partition. Figures as WorkMeter's. Throws perf::Unavailable where there is no ring.
perf::Figures RunEngineWrites(const EngineWriteOptions& options, double seconds);

}  // namespace ringtail::lab
