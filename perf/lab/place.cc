// Where the lab runs: the machine's description, and the directory it may write to.
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "perf/lab/runner.h"
#include "perf/lib/check.h"
#include "perf/lib/report.h"

namespace ringtail::lab {
namespace {

constexpr int64_t kSpaceBytesMin = 64 << 20;
constexpr int64_t kSpaceBytesMax = 1 << 30;
constexpr int64_t kSpaceShare = 8;
constexpr double kBusyLoad = 0.5;

std::string CpuModel() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

struct MountPoint {
  std::string device;
  std::string type;
  std::string options;
};

// The mount of the longest path that `directory` lies below.
MountPoint MountOf(const std::string& directory) {
  const std::string real = std::filesystem::canonical(directory).string();
  std::ifstream file("/proc/self/mounts");
  MountPoint found;
  size_t longest = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string device, path, type, options;
    if (!(words >> device >> path >> type >> options)) continue;
    const bool below =
        path == "/" || real == path || (real.starts_with(path) && real[path.size()] == '/');
    if (!below || path.size() < longest) continue;
    longest = path.size();
    found = {device, type, options};
  }
  return found;
}

double Load() {
  double loads[1];
  return getloadavg(loads, 1) == 1 ? loads[0] : 0;
}

}  // namespace

void DescribeMachine(const std::string& directory, LabResult* result) {
  utsname name;
  perf::CheckCall(uname(&name), "uname");
  const MountPoint mount = MountOf(directory);
  const unsigned cpus = std::thread::hardware_concurrency();
  result->machine = {{"kernel", absl::StrCat(name.sysname, " ", name.release, " ", name.machine)},
                     {"cpu", CpuModel()},
                     {"cpus", std::to_string(cpus)},
                     {"directory", directory},
                     {"file system", absl::StrCat(mount.type, " (", mount.options, ")")},
                     {"device", mount.device}};
  if (mount.type == "tmpfs" || mount.type == "ramfs") {
    result->notes.push_back(absl::StrCat(directory, " is in memory (", mount.type,
                                         "): writes to it say nothing of a disk. --dir names "
                                         "another."));
  }
  if (cpus < 2) {
    result->notes.push_back("There is one CPU: server and client take turns on it.");
  }
  if (const double load = Load(); load > kBusyLoad * cpus) {
    result->notes.push_back(absl::StrCat("The machine was busy when it started (load ",
                                         static_cast<int>(load * 10) / 10.0,
                                         "): the figures rank, but do not judge."));
  }
}

int64_t SpaceFor(const std::string& directory) {
  struct statvfs space;
  perf::CheckCall(statvfs(directory.c_str(), &space), directory.c_str());
  perf::CheckCall(access(directory.c_str(), W_OK | X_OK), directory.c_str());
  const auto free_bytes = static_cast<int64_t>(space.f_bavail * space.f_frsize);
  const int64_t bytes = std::min(free_bytes / kSpaceShare, kSpaceBytesMax);
  perf::Require(bytes >= kSpaceBytesMin,
                absl::StrCat(directory, " has ", free_bytes >> 20,
                             " MiB free; the lab takes an "
                             "eighth of that at most, and needs 64 MiB. --dir names another."));
  return bytes;
}

}  // namespace ringtail::lab
