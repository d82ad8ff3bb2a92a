// Which path of a group is the best, and how far behind it the others are. Only paths of the same
// promise compete, and what lies inside the spread is no difference.
#pragma once

#include <string>
#include <vector>

#include "perf/lab/result.h"

namespace ringtail::lab {

enum class Standing {
  kUnknown,  // it has no rate to be judged by
  kAlone,    // nothing else was measured beside it
  kBest,
  kLevel,   // neither slower than the best nor with more CPU
  kBehind,  // one of them, or both
};

struct Verdict {
  Standing standing = Standing::kUnknown;
  bool slower = false;
  bool cpu_differs = false;
  double slower_factor = 1;  // how many times as long the same work takes
  double cpu_factor = 1;     // below 1 where it is slower, but takes less CPU
};
std::string VerdictText(const Verdict& verdict);  // "best", "= best", "1.4x, CPU 1.2x", ""

struct Ranked {
  const PathResult* path;
  Verdict verdict;
};

// Measured paths of one promise: the best, then by their rate, then those without.
struct Ranking {
  Promise promise = Promise::kNone;
  std::vector<Ranked> paths;
};

// Points into `group`, which has to outlive it. In the order of Promise; none is empty.
std::vector<Ranking> Rank(const GroupResult& group);

// The one with the least CPU among those that nothing is faster than; null where none has the rate.
const PathResult* BestOf(const std::vector<const PathResult*>& paths, const GroupResult& group);

// What `path` is beside `best`, which is nowhere beaten by more than its spread.
Verdict Judge(const PathResult& path, const PathResult& best, const GroupResult& group);

}  // namespace ringtail::lab
