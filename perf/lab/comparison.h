// Two results beside each other: what has changed by more than the spread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "perf/lab/figures.h"
#include "perf/lab/result.h"

namespace ringtail::lab {

// A figure of a cell that both results have.
struct Change {
  std::string group;
  std::string path;
  const FigureKind* kind = nullptr;
  double before = 0;
  double after = 0;
  Difference difference = Difference::kNone;  // of `after` against `before`

  bool worse() const;
  double factor() const;  // how many times as good the better of the two is; at least 1
};

struct Comparison {
  // Rates, CPU, p50 and p99 that changed: the largest factor first, but all of a cell stay
  // together.
  std::vector<Change> worse;
  std::vector<Change> better;
  size_t unchanged = 0;  // figures
  size_t cells = 0;      // that both have measured
  // Measured in one of them alone: group to paths, with the reason where there is one.
  std::map<std::string, std::vector<std::string>> only_before;
  std::map<std::string, std::vector<std::string>> only_after;
};

// Cells are the same where family, parameters and path are. A change below 0.5 % is none, however
// narrow the spread is.
Comparison Compare(const LabResult& before, const LabResult& after);

std::string ComparisonText(const LabResult& before, const LabResult& after, size_t width);

}  // namespace ringtail::lab
