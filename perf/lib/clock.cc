#include "perf/lib/clock.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "perf/lib/check.h"

namespace ringtail::perf {
namespace {

int64_t ReadClock(clockid_t clock) {
  timespec now;
  CheckCall(clock_gettime(clock, &now), "clock_gettime");
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

}  // namespace

int64_t NowNs() { return ReadClock(CLOCK_MONOTONIC); }

int64_t SelfCpuNs() { return ReadClock(CLOCK_PROCESS_CPUTIME_ID); }

int64_t ProcessCpuNs(pid_t pid) {
  clockid_t clock;
  const int error = clock_getcpuclockid(pid, &clock);
  if (error != 0) throw std::system_error(error, std::generic_category(), "clock_getcpuclockid");
  return ReadClock(clock);
}

std::map<std::string, int64_t> ThreadCpuNs(pid_t pid) {
  std::map<std::string, int64_t> by_name;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::ifstream comm(task.path() / "comm");
    std::ifstream schedstat(task.path() / "schedstat");
    std::string name;
    int64_t cpu_ns = 0;
    if (std::getline(comm, name) && schedstat >> cpu_ns) by_name[name] += cpu_ns;
  }
  return by_name;
}

Memory ProcessMemory(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  Memory memory;
  std::string line;
  while (std::getline(status, line)) {
    std::istringstream words(line);
    std::string key;
    int64_t kib = 0;
    words >> key >> kib;
    if (key == "VmRSS:") memory.resident_bytes = kib * 1024;
    if (key == "RssAnon:") memory.anonymous_bytes = kib * 1024;
  }
  Require(memory.resident_bytes > 0, "no VmRSS for process " + std::to_string(pid));
  return memory;
}

int64_t DeviceBytesWritten(const std::string& path) {
  struct stat info;
  CheckCall(stat(path.c_str(), &info), "stat");
  std::ifstream file("/sys/dev/block/" + std::to_string(major(info.st_dev)) + ":" +
                     std::to_string(minor(info.st_dev)) + "/stat");
  constexpr int kSectorsWritten = 7;  // the fields before it, and their order: Linux's iostats.txt
  constexpr int64_t kSectorBytes = 512;
  int64_t value = 0;
  for (int field = 0; field < kSectorsWritten; ++field) {
    if (!(file >> value)) return 0;
  }
  return value * kSectorBytes;
}

Meter::Meter(pid_t pid) : pid_(pid), start_ns_(NowNs()), start_cpu_ns_(ProcessCpuNs(pid)) {}

double Meter::WallSeconds() const { return (NowNs() - start_ns_) / 1e9; }

double Meter::CpuSeconds() const { return (ProcessCpuNs(pid_) - start_cpu_ns_) / 1e9; }

}  // namespace ringtail::perf
