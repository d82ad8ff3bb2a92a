#include "perf/lib/work_meter.h"

#include <linux/perf_event.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace ringtail::perf {
namespace {

int64_t SwitchesOfThread(const std::filesystem::path& task) {
  std::ifstream file(task / "status");
  int64_t all = 0;
  for (std::string line; std::getline(file, line);) {
    const size_t at = line.find("ctxt_switches:");
    if (at != std::string::npos) all += std::strtoll(line.c_str() + at + 14, nullptr, 10);
  }
  return all;
}

int64_t Switches(pid_t pid) {
  if (pid == getpid()) {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw + usage.ru_nivcsw;
  }
  int64_t all = 0;
  std::error_code gone;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
    all += SwitchesOfThread(task.path());
  }
  return all;
}

// Counts entries into the kernel of a process's main thread and of the threads it makes. An empty
// Fd where that is not allowed (perf_event_open(2): /proc/sys/kernel/perf_event_paranoid, tracefs
// not mounted).
Fd CountSyscalls(pid_t pid) {
  std::ifstream file("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id");
  uint64_t id = 0;
  if (!(file >> id)) return Fd();
  perf_event_attr attributes = {};
  attributes.type = PERF_TYPE_TRACEPOINT;
  attributes.size = sizeof(attributes);
  attributes.config = id;
  attributes.inherit = 1;
  return Fd(static_cast<int>(
      syscall(SYS_perf_event_open, &attributes, pid, -1, -1, PERF_FLAG_FD_CLOEXEC)));
}

}  // namespace

WorkMeter::WorkMeter(pid_t pid)
    : pid_(pid), syscalls_(CountSyscalls(pid)), start_switches_(Switches(pid)), meter_(pid) {}

Figures WorkMeter::Finish(int64_t operations, int64_t bytes) {
  const double wall_s = meter_.WallSeconds();
  const double cpu_s = meter_.CpuSeconds();
  const auto count = static_cast<double>(operations);
  Figures figures = {
      {"ops_per_s", count / wall_s},
      {"cpu_us_per_op", cpu_s * 1e6 / count},
      {"switches_per_op", static_cast<double>(Switches(pid_) - start_switches_) / count}};
  uint64_t calls = 0;
  if (syscalls_.get() >= 0 && read(syscalls_.get(), &calls, sizeof(calls)) == sizeof(calls)) {
    figures["syscalls_per_op"] = static_cast<double>(calls) / count;
  }
  if (bytes > 0) {
    const double gb = static_cast<double>(bytes) / kBytesPerGb;
    figures["gb_per_s"] = gb / wall_s;
    figures["cpu_s_per_gb"] = cpu_s / gb;
  }
  if (latencies_.size() > 0) {
    figures["p50_us"] = latencies_.PercentileUs(0.5);
    figures["p99_us"] = latencies_.PercentileUs(0.99);
    figures["p999_us"] = latencies_.PercentileUs(0.999);
  }
  return figures;
}

}  // namespace ringtail::perf
