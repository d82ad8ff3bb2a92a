// A memory control group of our own: what the processes in it touch of memory and of files' pages
// is at most `limit_bytes`. Needs root and the memory controller, of version 1 or 2
// (Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst in Linux).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace ringtail::perf {

class MemoryGroup {
 public:
  // Throws where it cannot be made.
  explicit MemoryGroup(int64_t limit_bytes);
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;
  // Processes that are still in it go to the group above.
  ~MemoryGroup();

  // What the process touches from now on counts; its threads come along.
  void Add(pid_t process) const;

 private:
  std::string parent_;
  std::string path_;
};

}  // namespace ringtail::perf
