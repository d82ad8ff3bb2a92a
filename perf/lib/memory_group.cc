#include "perf/lib/memory_group.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "perf/lib/check.h"

namespace ringtail::perf {
namespace {

bool HasWord(std::istream& words, const std::string& wanted, char separator) {
  for (std::string word; std::getline(words, word, separator);) {
    if (word == wanted || word == wanted + "\n") return true;
  }
  return false;
}

struct Mount {
  std::string path;
  bool version2 = false;
};

// Where the memory controller is: a mount of its own (version 1), or the common one.
Mount MemoryController() {
  std::ifstream mounts("/proc/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device, path, type, options;
    fields >> device >> path >> type >> options;
    std::istringstream words(options);
    if (type == "cgroup" && HasWord(words, "memory", ',')) return {path, false};
    if (type != "cgroup2") continue;
    std::ifstream controllers(path + "/cgroup.controllers");
    if (HasWord(controllers, "memory", ' ')) return {path, true};
  }
  throw Unavailable("there is no memory controller of control groups in /proc/mounts");
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  Require(file.good(), "cannot write " + text + " to " + path);
}

}  // namespace

MemoryGroup::MemoryGroup(int64_t limit_bytes) {
  const Mount mount = MemoryController();
  parent_ = mount.path;
  path_ = mount.path + "/ringtail-perf-" + std::to_string(getpid());
  if (mount.version2) WriteFile(parent_ + "/cgroup.subtree_control", "+memory");
  CheckCall(mkdir(path_.c_str(), 0755), "make a control group");
  WriteFile(path_ + (mount.version2 ? "/memory.max" : "/memory.limit_in_bytes"),
            std::to_string(limit_bytes));
}

MemoryGroup::~MemoryGroup() {
  std::ifstream processes(path_ + "/cgroup.procs");
  for (std::string process; std::getline(processes, process);) {
    std::ofstream(parent_ + "/cgroup.procs") << process << std::flush;
  }
  rmdir(path_.c_str());
}

void MemoryGroup::Add(pid_t process) const {
  WriteFile(path_ + "/cgroup.procs", std::to_string(process));
}

}  // namespace ringtail::perf
