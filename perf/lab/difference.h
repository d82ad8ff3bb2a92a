// When two measurements differ: where their rounds do not overlap, of many rounds without the most
// extreme. Anything less is called no difference. (Of pairs of equal paths 10 in 100 are told apart
// by chance in 3 rounds, 1 in 5, 3 in 7, and none in 9.)
#pragma once

#include <vector>

namespace ringtail::lab {

// The median, and what is left of the rounds when a seventh of them has been dropped at either end.
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
