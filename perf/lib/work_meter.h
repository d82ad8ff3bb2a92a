// What work costs the process that does it: time, CPU, context switches and, where the machine lets
// them be counted, system calls; and how long each operation took.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>

#include "perf/lib/clock.h"
#include "perf/lib/latencies.h"
#include "perf/lib/os.h"
#include "perf/lib/rounds.h"

namespace ringtail::perf {

class WorkMeter {
 public:
  // Measures a process, this one unless told, from now on. Of another process the context switches
  // are those of the threads it still has, the system calls those of its main thread and of threads
  // that it makes from now on.
  explicit WorkMeter(pid_t pid = getpid());

  // An operation that took so long.
  void Add(int64_t latency_ns) { latencies_.Add(latency_ns); }

  // Figures of all since construction, of `operations` that moved `bytes` together (0: not counted
  // in bytes): ops_per_s, cpu_us_per_op, switches_per_op, syscalls_per_op (where
  // /sys/kernel/tracing and perf_event_open allow it), gb_per_s, cpu_s_per_gb, and of what was
  // added p50_us, p99_us, p999_us.
  Figures Finish(int64_t operations, int64_t bytes);

 private:
  Latencies latencies_;
  pid_t pid_;
  Fd syscalls_;
  int64_t start_switches_;
  Meter meter_;
};

}  // namespace ringtail::perf
