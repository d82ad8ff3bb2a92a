// The figures of a path: what each is called for people, which way is better, and how its values
// are written.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "perf/lab/difference.h"
#include "perf/lab/result.h"

namespace ringtail::lab {

// No figure of this world is larger; what claims to be is damage.
inline constexpr double kFigureMax = 1e15;

enum class Subject { kRate, kCpu, kLatency, kDetail };

struct FigureKind {
  const char* name;  // its key in PathResult::rounds
  Subject subject;
  const char* heading;  // over a column: "CPU"
  const char* unit;     // below it: "s/GB"
  const char* words;    // in a sentence: "CPU seconds per GB"

  bool more_is_better() const { return subject == Subject::kRate; }
};

// In the order of the reports' columns.
const std::vector<FigureKind>& FigureKinds();
const FigureKind& KindOf(absl::string_view name);  // of one that there is

// What bytes and operations are counted in. A group uses the first whose rate any of its paths has.
struct Measure {
  const FigureKind* rate = nullptr;
  const FigureKind* cpu = nullptr;
};
std::optional<Measure> MeasureOf(const GroupResult& group);

// Null where the path has no such figure, or values that are none: not finite, below 0, above
// kFigureMax.
const std::vector<double>* RoundsOf(const PathResult& path, absl::string_view figure);
std::optional<Middle> MiddleOf(const PathResult& path, absl::string_view figure);

// Those that any path of the group has, in the order of FigureKinds.
std::vector<const FigureKind*> FiguresOf(const GroupResult& group);

// Three digits, or all those before the point: "2.31", "0.041", "1480", "412k" from 10,000 on for
// operations per second.
std::string FormatValue(const FigureKind& kind, double value);
// "4%": how far the middle half reaches from the median, to its farther side; "" for one round.
std::string FormatSpread(const PathResult& path, const FigureKind& kind);

// `value` as a multiple of `base`; of zero it is the largest that is told.
inline constexpr double kFactorMax = 1000;
double FactorOf(double value, double base);
std::string FormatFactor(double factor);  // "1.4x", "1.04x", ">999x"

}  // namespace ringtail::lab
