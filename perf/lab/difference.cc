#include "perf/lab/difference.h"

#include <algorithm>

#include "perf/lib/check.h"

namespace ringtail::lab {

Middle MiddleOf(std::vector<double> rounds) {
  perf::Require(!rounds.empty(), "no rounds to take the middle of");
  std::sort(rounds.begin(), rounds.end());
  const size_t count = rounds.size();
  const size_t dropped = count / 7;
  const double median =
      count % 2 == 1 ? rounds[count / 2] : (rounds[count / 2 - 1] + rounds[count / 2]) / 2;
  return {median, rounds[dropped], rounds[count - 1 - dropped]};
}

Difference DifferenceOf(const std::vector<double>& rounds, const std::vector<double>& base) {
  const Middle here = MiddleOf(rounds);
  const Middle there = MiddleOf(base);
  if (here.low > there.high) return Difference::kHigher;
  if (here.high < there.low) return Difference::kLower;
  return Difference::kNone;
}

}  // namespace ringtail::lab
