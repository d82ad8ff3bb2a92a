// The clocks of a measurement: wall time, and the CPU time of a whole process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

namespace ringtail::perf {

inline constexpr int64_t kNsPerSecond = 1'000'000'000;
inline constexpr double kBytesPerGb = 1e9;

// Monotonic time in nanoseconds.
int64_t NowNs();

// User and system time of all threads of `pid`, ended ones included, in nanoseconds (the kernel's
// process CPU clock, not the 10 ms ticks of /proc/PID/stat). io_uring's io-wq workers are threads
// of the process that owns the ring, so their time is in it. Writeback by the kernel's own threads
// is nobody's, so not in it.
int64_t ProcessCpuNs(pid_t pid);

// The same for this process.
int64_t SelfCpuNs();

// CPU time by thread name from /proc/PID/task/*/schedstat, live threads only: tells loop from io-wq
// worker.
std::map<std::string, int64_t> ThreadCpuNs(pid_t pid);

// Resident memory of `pid` in bytes, and the part of it that is not backed by files.
struct Memory {
  int64_t resident_bytes = 0;
  int64_t anonymous_bytes = 0;
};
Memory ProcessMemory(pid_t pid);

// Bytes written so far to the block device that holds `path` (for a loop device: to the loop
// device), by whomever. 0 where the file system has no block device of its own.
int64_t DeviceBytesWritten(const std::string& path);

// Runs while a measurement does: wall and CPU time of `pid` since construction.
class Meter {
 public:
  explicit Meter(pid_t pid);

  double WallSeconds() const;
  double CpuSeconds() const;

 private:
  pid_t pid_;
  int64_t start_ns_;
  int64_t start_cpu_ns_;
};

}  // namespace ringtail::perf
