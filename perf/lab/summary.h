// What a result says about the machine as a whole: which path each family is best served by, and
// what the broker's own code costs above the kernel's path.
#pragma once

#include <string>
#include <vector>

#include "perf/lab/result.h"

namespace ringtail::lab {

// How often a path is the best of its promise, or level with it.
struct Lead {
  std::string path;
  bool engine = false;
  size_t groups = 0;
};

struct FamilySummary {
  std::string family;
  Promise promise = Promise::kNone;
  size_t groups = 0;  // in which something was measured
  std::vector<Lead>
      leads;  // the most groups first, raw loops first; those that never lead are not in it
  std::string preference;  // a sentence: which paths to take
  std::string exceptions;  // a sentence: what to take where those are behind
  std::string broker;      // a sentence or two: the broker's best path beside the best raw loop
};

// In the order in which families come up, then of Promise.
std::vector<FamilySummary> Summarize(const LabResult& result);

// "write, durable".
std::string FamilyName(const FamilySummary& summary);

}  // namespace ringtail::lab
