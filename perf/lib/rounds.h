// Interleaved rounds: contenders take turns within one run, the order reversed every other round,
// so that drift of a shared machine falls on all of them alike. What counts is the median; the
// spread says how far to trust it.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace ringtail::perf {

// What one round of one contender yields: figure name to value. Names carry the unit ("gb_per_s").
using Figures = std::map<std::string, double>;

struct Contender {
  std::string name;
  std::function<Figures()> run;
};

struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
};

// Of an unordered, non-empty list; an even count gives the mean of the middle two.
Spread SpreadOf(std::vector<double> values);

// The rounds of one contender, figure by figure.
struct Outcome {
  std::string name;
  std::map<std::string, std::vector<double>> rounds;

  Spread Of(const std::string& figure) const;
  double Median(const std::string& figure) const { return Of(figure).median; }
};

// A figure of one contender over the same of another: the ratio of the medians, and the smallest
// and largest ratio of two rounds that ran next to each other.
Spread RatioOf(const Outcome& numerator, const Outcome& denominator, const std::string& figure);

// The contender whose median of `figure` is the largest, or the smallest.
const Outcome& Largest(const std::vector<Outcome>& outcomes, const std::string& figure);
const Outcome& Smallest(const std::vector<Outcome>& outcomes, const std::string& figure);

// Runs `warmups` unrecorded rounds and then `rounds` recorded ones. The outcomes stand in the
// contenders' order. Writes a progress line to stderr where that is a terminal.
std::vector<Outcome> RunInterleaved(const std::vector<Contender>& contenders, int rounds,
                                    int warmups);

}  // namespace ringtail::perf
