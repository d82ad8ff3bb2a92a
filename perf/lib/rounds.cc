#include "perf/lib/rounds.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "perf/lib/check.h"

namespace ringtail::perf {
namespace {

void ShowProgress(int round, int total, const std::string& name) {
  static const bool terminal = isatty(STDERR_FILENO) != 0;
  if (terminal) std::fprintf(stderr, "\r\033[Kround %d of %d: %s", round + 1, total, name.c_str());
}

void ClearProgress() {
  if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r\033[K");
}

}  // namespace

Spread SpreadOf(std::vector<double> values) {
  Require(!values.empty(), "no rounds to take a median of");
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

Spread Outcome::Of(const std::string& figure) const {
  const auto found = rounds.find(figure);
  Require(found != rounds.end(), name + " has no figure " + figure);
  return SpreadOf(found->second);
}

Spread RatioOf(const Outcome& numerator, const Outcome& denominator, const std::string& figure) {
  const std::vector<double>& above = numerator.rounds.at(figure);
  const std::vector<double>& below = denominator.rounds.at(figure);
  Require(above.size() == below.size(), "rounds that cannot be paired");
  std::vector<double> ratios;
  for (size_t i = 0; i < above.size(); ++i) ratios.push_back(above[i] / below[i]);
  Spread spread = SpreadOf(ratios);
  spread.median = numerator.Median(figure) / denominator.Median(figure);
  return spread;
}

const Outcome& Largest(const std::vector<Outcome>& outcomes, const std::string& figure) {
  return *std::max_element(outcomes.begin(), outcomes.end(),
                           [&](const Outcome& left, const Outcome& right) {
                             return left.Median(figure) < right.Median(figure);
                           });
}

const Outcome& Smallest(const std::vector<Outcome>& outcomes, const std::string& figure) {
  return *std::min_element(outcomes.begin(), outcomes.end(),
                           [&](const Outcome& left, const Outcome& right) {
                             return left.Median(figure) < right.Median(figure);
                           });
}

std::vector<Outcome> RunInterleaved(const std::vector<Contender>& contenders, int rounds,
                                    int warmups) {
  std::vector<Outcome> outcomes;
  for (const Contender& contender : contenders) outcomes.push_back({contender.name, {}});
  for (int round = 0; round < warmups + rounds; ++round) {
    for (size_t turn = 0; turn < contenders.size(); ++turn) {
      const size_t index = round % 2 == 0 ? turn : contenders.size() - 1 - turn;
      ShowProgress(round, warmups + rounds, contenders[index].name);
      const Figures figures = contenders[index].run();
      if (round < warmups) continue;
      for (const auto& [figure, value] : figures) outcomes[index].rounds[figure].push_back(value);
    }
  }
  ClearProgress();
  return outcomes;
}

}  // namespace ringtail::perf
