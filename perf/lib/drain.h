// The draining client: takes bytes off a connection as cheaply as a consumer that looks at its data
// can, and measures how fast they came and what they cost the server. The same client drains raw
// loops and the broker.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

#include "perf/lib/os.h"
#include "perf/lib/rounds.h"

namespace ringtail::perf {

struct DrainOptions {
  double warmup_s = 0.2;
  double seconds = 1.0;
  int64_t buffer_bytes = 256 << 10;  // received at a time, into the same memory again and again
};

// Takes bytes off a blocking socket.
class Drainer {
 public:
  Drainer(int fd, const DrainOptions& options);

  // Receives what has come, up to `limit` bytes; blocks for the first. Throws at the end of the
  // stream.
  int64_t DrainSome(int64_t limit);
  // Receives exactly `bytes`.
  void Drain(int64_t bytes);

 private:
  int fd_;
  Buffer buffer_;
};

// Calls `step`, which drains something and returns how many payload bytes that was, first
// unmeasured and then measured. Figures: gb_per_s, cpu_s_per_gb (process `server`).
Figures MeasureDrain(pid_t server, const DrainOptions& options,
                     const std::function<int64_t()>& step);

}  // namespace ringtail::perf
