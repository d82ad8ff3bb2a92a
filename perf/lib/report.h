// What a measuring program prints: a table for people, goals with their verdicts, and the same as
// JSON.
#pragma once

#include <string>
#include <vector>

#include "perf/lib/rounds.h"

namespace ringtail::perf {

// A figure to print: its key in Figures, the column's heading, and the digits behind the point.
struct Column {
  std::string figure;
  std::string heading;
  int digits = 2;
};

// A measured value against its limit.
struct Goal {
  enum class Sense { kAtLeast, kAtMost };
  std::string name;
  Spread value;  // the median counts
  Sense sense = Sense::kAtLeast;
  double limit = 0;
  std::string unit;  // "x" for a ratio

  bool Met() const {
    return sense == Sense::kAtLeast ? value.median >= limit : value.median <= limit;
  }
};

class Report {
 public:
  explicit Report(std::string title);

  // Prints one row per outcome at once: the median and, in brackets, the smallest and the largest
  // round.
  void Table(const std::string& heading, const std::vector<Outcome>& outcomes,
             const std::vector<Column>& columns);

  void Note(const std::string& line);

  // Prints the value beside its limit and whether it is met.
  void Add(const Goal& goal);

  // Writes everything added so far to `path` ("" writes nothing).
  void WriteJson(const std::string& path) const;

  bool AllMet() const;

 private:
  struct Section {
    std::string heading;
    std::vector<Outcome> outcomes;
  };

  std::string title_;
  std::vector<Section> sections_;
  std::vector<Goal> goals_;
  std::vector<std::string> notes_;
};

// "4 KiB", "1 MiB"; bytes that are no whole KiB stay bytes.
std::string SizeName(int64_t bytes);

}  // namespace ringtail::perf
