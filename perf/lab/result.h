// What the lab has found: every round of every cell, and where it was measured. The reports are
// made from this alone, so that a stored result can be read and compared later.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "perf/lab/cell.h"

namespace ringtail::lab {

struct PathResult {
  std::string path;
  bool engine = false;
  Promise promise = Promise::kNone;
  // Figure to its value in each round, in the order of the rounds; all of the same length.
  std::map<std::string, std::vector<double>> rounds;
  std::string unavailable;  // why there are no rounds; "" where there are

  bool measured() const { return !rounds.empty(); }
};

struct GroupResult {
  std::string family;
  std::vector<Parameter> parameters;
  std::vector<PathResult> paths;
};

struct LabResult {
  std::string version;     // of the program
  int64_t started_ms = 0;  // since the Unix epoch
  double seconds = 0;      // how long it took
  bool quick = false;
  bool partial = false;  // it was stopped before the end: groups are missing, or have fewer rounds
  // "kernel", "cpu", "cpus", "file system", "device", "directory": name to what was found.
  std::map<std::string, std::string> machine;
  std::vector<std::string> notes;  // what a reader should know: a busy machine, a directory in RAM
  std::vector<GroupResult> groups;
};

}  // namespace ringtail::lab
