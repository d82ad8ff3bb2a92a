#include "perf/lab/verdicts.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "perf/lab/difference.h"
#include "perf/lab/figures.h"

namespace ringtail::lab {
namespace {

// `missing` where there is none.
double Median(const PathResult& path, const FigureKind* kind, double missing) {
  const std::optional<Middle> middle = MiddleOf(path, kind->name);
  return middle ? middle->median : missing;
}

double CpuMedian(const PathResult& path, const Measure& measure) {
  return Median(path, measure.cpu, std::numeric_limits<double>::max());
}

Ranking RankPromise(Promise promise, const GroupResult& group) {
  Ranking ranking;
  ranking.promise = promise;
  std::vector<const PathResult*> paths;
  for (const PathResult& path : group.paths) {
    if (path.promise == promise && path.measured()) paths.push_back(&path);
  }
  const std::optional<Measure> measure = MeasureOf(group);
  const PathResult* best = BestOf(paths, group);
  const auto rated = std::count_if(paths.begin(), paths.end(), [&](const PathResult* path) {
    return measure && RoundsOf(*path, measure->rate->name) != nullptr;
  });
  if (best != nullptr) {
    const auto order = [&](const PathResult* path) {
      // Those that are equal stay as they came.
      return std::tuple(path != best, -Median(*path, measure->rate, -1), path - group.paths.data());
    };
    std::sort(paths.begin(), paths.end(),
              [&](const auto* left, const auto* right) { return order(left) < order(right); });
  }
  for (const PathResult* path : paths) {
    Verdict verdict = best == nullptr ? Verdict() : Judge(*path, *best, group);
    if (path == best) verdict.standing = rated == 1 ? Standing::kAlone : Standing::kBest;
    ranking.paths.push_back({path, verdict});
  }
  return ranking;
}

}  // namespace

std::string VerdictText(const Verdict& verdict) {
  switch (verdict.standing) {
    case Standing::kUnknown:
      return "";
    case Standing::kAlone:
      return "alone";
    case Standing::kBest:
      return "best";
    case Standing::kLevel:
      return "= best";
    case Standing::kBehind:
      break;
  }
  return absl::StrCat(verdict.slower ? FormatFactor(verdict.slower_factor) : "",
                      verdict.slower && verdict.cpu_differs ? ", " : "",
                      verdict.cpu_differs ? "CPU " : "",
                      verdict.cpu_differs ? FormatFactor(verdict.cpu_factor) : "");
}

std::vector<Ranking> Rank(const GroupResult& group) {
  std::vector<Ranking> rankings;
  for (const Promise promise :
       {Promise::kNone, Promise::kPageCache, Promise::kDevice, Promise::kDurable}) {
    Ranking ranking = RankPromise(promise, group);
    if (!ranking.paths.empty()) rankings.push_back(std::move(ranking));
  }
  return rankings;
}

const PathResult* BestOf(const std::vector<const PathResult*>& paths, const GroupResult& group) {
  const std::optional<Measure> measure = MeasureOf(group);
  if (!measure) return nullptr;
  const PathResult* best = nullptr;
  for (const PathResult* path : paths) {
    const std::vector<double>* rate = RoundsOf(*path, measure->rate->name);
    if (rate == nullptr) continue;
    // The highest median is never beaten, so there is always one.
    const bool beaten = std::any_of(paths.begin(), paths.end(), [&](const PathResult* other) {
      const std::vector<double>* others = RoundsOf(*other, measure->rate->name);
      return others != nullptr && DifferenceOf(*others, *rate) == Difference::kHigher;
    });
    if (beaten) continue;
    if (best == nullptr || CpuMedian(*path, *measure) < CpuMedian(*best, *measure)) best = path;
  }
  return best;
}

Verdict Judge(const PathResult& path, const PathResult& best, const GroupResult& group) {
  Verdict verdict;
  const std::optional<Measure> measure = MeasureOf(group);
  if (!measure) return verdict;
  const std::vector<double>* rate = RoundsOf(path, measure->rate->name);
  const std::vector<double>* best_rate = RoundsOf(best, measure->rate->name);
  if (rate == nullptr || best_rate == nullptr) return verdict;
  verdict.slower = DifferenceOf(*rate, *best_rate) == Difference::kLower;
  verdict.slower_factor = FactorOf(MiddleOf(*best_rate).median, MiddleOf(*rate).median);
  const std::vector<double>* cpu = RoundsOf(path, measure->cpu->name);
  const std::vector<double>* best_cpu = RoundsOf(best, measure->cpu->name);
  Difference cpu_difference = Difference::kNone;
  if (cpu != nullptr && best_cpu != nullptr) {
    cpu_difference = DifferenceOf(*cpu, *best_cpu);
    verdict.cpu_differs = cpu_difference != Difference::kNone;
    verdict.cpu_factor = FactorOf(MiddleOf(*cpu).median, MiddleOf(*best_cpu).median);
  }
  const bool behind = verdict.slower || cpu_difference == Difference::kHigher;
  verdict.standing = behind ? Standing::kBehind : Standing::kLevel;
  return verdict;
}

}  // namespace ringtail::lab
