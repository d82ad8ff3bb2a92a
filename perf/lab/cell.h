// What the lab measures: groups of cells. The cells of a group do the same work by different paths
// and are compared with each other; those of different promises do not compete.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "perf/lib/rounds.h"

namespace ringtail::lab {

// Where the bytes are when an operation ends.
enum class Promise {
  kNone,       // nothing is stored
  kPageCache,  // in the kernel's memory
  kDevice,     // handed to the device, which may lose them with its power
  kDurable,    // they survive a power cut
};

// What names a cell's work beside its family.
struct Parameter {
  std::string name;  // "size", "files", "connections", "residency"
  int64_t value = 0;
  std::string text;  // as people read it: "64 KiB", "cold"

  bool operator==(const Parameter&) const = default;
};

struct Cell {
  std::string path;     // "pwrite", "sendfile"; unique in its group
  bool engine = false;  // the broker's own code; else a raw loop over the kernel's calls
  Promise promise = Promise::kNone;
  // Measures for about so many seconds. Figures, as far as they are known:
  //   gb_per_s, cpu_s_per_gb                     of work that is counted in bytes
  //   ops_per_s, cpu_us_per_op                   of work that is counted in operations
  //   p50_us, p99_us, p999_us                    of an operation
  //   switches_per_op                            context switches of the measured process
  //   syscalls_per_op                            where the machine lets them be counted
  // CPU is that of the measured process, kernel workers of its rings included. Throws
  // perf::Unavailable where this machine cannot do it, and perf's other errors where it should have
  // worked.
  std::function<perf::Figures(double seconds)> run;
};

struct Group {
  std::string family;  // "write", "send", "receive", "wake", "ring"
  std::vector<Parameter> parameters;
  std::vector<Cell> cells;
};

}  // namespace ringtail::lab
