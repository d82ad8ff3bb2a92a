// Durable appends of many partitions through the engine: logs and the journal of one core, as the
// broker's cores use them, in turns with raw ways to the same.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "perf/lib/native.h"
#include "perf/lib/rounds.h"

namespace ringtail::compare {

struct EngineDurableOptions {
  std::string directory;
  int partitions = 1;
  int rounds = 10;
  int operations = 30;  // of each contender in a round: one batch to each partition
  int depth = 2;        // of the journal
};

// The slow contenders, which sync each file, run every fourth operation only. Each operation of one
// contender is followed by one of the next. Outcomes: raw frame, page cache, engine, fdatasync one
// by one, fdatasync 8 in flight; each with the figures p50_us and p99_us. `journal`: what the
// journal says of itself in the end.
std::vector<perf::Outcome> RunEngineDurable(const EngineDurableOptions& options,
                                            const perf::EncodedBatch& batch, std::string* journal);

}  // namespace ringtail::compare
