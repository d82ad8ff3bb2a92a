// What work costs the process that does it: time, CPU, context switches and, where the machine lets
// them be counted, system calls; and how long each operation took.
#pragma once

#include <cstdint>

#include "perf/lib/latencies.h"
#include "perf/lib/os.h"
#include "perf/lib/rounds.h"

namespace ringtail::perf {

class WorkMeter {
 public:
  // Measures this process from now on.
  WorkMeter();

  double WallSeconds() const;
  // An operation that took so long.
  void Add(int64_t latency_ns) { latencies_.Add(latency_ns); }

  // Figures of all since construction, of `operations` that moved `bytes` together (0: not counted
  // in bytes): ops_per_s, cpu_us_per_op, switches_per_op, syscalls_per_op (where
  // /sys/kernel/tracing and perf_event_open allow it), gb_per_s, cpu_s_per_gb, and of what was
  // added p50_us, p99_us, p999_us.
  Figures Finish(int64_t operations, int64_t bytes);

 private:
  Latencies latencies_;
  Fd syscalls_;
  int64_t start_ns_;
  int64_t start_cpu_ns_;
  int64_t start_switches_;
};

}  // namespace ringtail::perf
