#include "perf/lab/difference.h"

#include <algorithm>
#include <cmath>

#include "perf/lib/check.h"

namespace ringtail::lab {
namespace {

// Between the two values next to it.
double At(const std::vector<double>& sorted, double fraction) {
  const double at = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(at));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - std::floor(at));
}

}  // namespace

Middle MiddleOf(std::vector<double> rounds) {
  perf::Require(!rounds.empty(), "no rounds to take the middle of");
  std::sort(rounds.begin(), rounds.end());
  if (rounds.size() <= 3) return {At(rounds, 0.5), rounds.front(), rounds.back()};
  return {At(rounds, 0.5), At(rounds, 0.25), At(rounds, 0.75)};
}

Difference DifferenceOf(const std::vector<double>& rounds, const std::vector<double>& base) {
  const Middle here = MiddleOf(rounds);
  const Middle there = MiddleOf(base);
  if (here.low > there.high) return Difference::kHigher;
  if (here.high < there.low) return Difference::kLower;
  return Difference::kNone;
}

}  // namespace ringtail::lab
