// When two measurements differ: where the middle halves of their rounds do not overlap. Anything
// less is called no difference.
#pragma once

#include <vector>

namespace ringtail::lab {

// The middle half of the rounds; with three or fewer, all of them.
struct Middle {
  double median = 0;
  double low = 0;
  double high = 0;
};
Middle MiddleOf(std::vector<double> rounds);

enum class Difference { kNone, kHigher, kLower };
// Of `rounds` against `base`; neither empty.
Difference DifferenceOf(const std::vector<double>& rounds, const std::vector<double>& base);

}  // namespace ringtail::lab
