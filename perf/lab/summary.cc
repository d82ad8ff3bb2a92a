#include "perf/lab/summary.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "perf/lab/difference.h"
#include "perf/lab/figures.h"
#include "perf/lab/report_words.h"
#include "perf/lab/verdicts.h"

namespace ringtail::lab {
namespace {

constexpr size_t kNamed = 3;  // of a list; the others are counted

struct RankedGroup {
  const GroupResult* group;
  Ranking ranking;
};

bool Leads(const Verdict& verdict) {
  return verdict.standing == Standing::kBest || verdict.standing == Standing::kLevel ||
         verdict.standing == Standing::kAlone;
}

std::vector<Lead> LeadsOf(const std::vector<RankedGroup>& groups) {
  std::vector<Lead> leads;
  for (const RankedGroup& each : groups) {
    for (const Ranked& ranked : each.ranking.paths) {
      if (!Leads(ranked.verdict)) continue;
      auto lead = std::find_if(leads.begin(), leads.end(), [&](const Lead& other) {
        return other.path == ranked.path->path && other.engine == ranked.path->engine;
      });
      if (lead == leads.end()) {
        lead = leads.insert(lead, {ranked.path->path, ranked.path->engine, 0});
      }
      ++lead->groups;
    }
  }
  std::sort(leads.begin(), leads.end(), [](const Lead& left, const Lead& right) {
    return std::tie(right.groups, left.engine, left.path) <
           std::tie(left.groups, right.engine, right.path);
  });
  return leads;
}

// " in 6 of 8 groups"; "" where there is but one.
std::string OfGroups(size_t count, size_t groups) {
  if (groups == 1) return "";
  return count == groups ? absl::StrCat(" in all ", groups, " groups")
                         : absl::StrCat(" in ", count, " of ", groups, " groups");
}

// The groups in which none of the foremost leads, by what does: "Else: splice (1 MiB, hot;
// 1 MiB, cold)."
std::string Exceptions(const std::vector<Lead>& leads, const std::vector<RankedGroup>& groups) {
  std::map<std::string, std::vector<std::string>> exceptions;
  for (const RankedGroup& each : groups) {
    const bool led = std::any_of(
        each.ranking.paths.begin(), each.ranking.paths.end(), [&](const Ranked& ranked) {
          return std::any_of(leads.begin(), leads.end(), [&](const Lead& lead) {
            return Leads(ranked.verdict) && lead.groups == leads[0].groups &&
                   lead.path == ranked.path->path;
          });
        });
    const Ranked& first = each.ranking.paths.front();
    if (led || !Leads(first.verdict)) continue;
    exceptions[Printable(first.path->path)].push_back(ParametersName(each.group->parameters));
  }
  std::vector<std::string> parts;
  for (auto& [path, names] : exceptions) {
    const size_t more = names.size() - std::min(names.size(), kNamed);
    names.resize(names.size() - more);
    parts.push_back(absl::StrCat(path, " (", absl::StrJoin(names, "; "),
                                 more > 0 ? absl::StrCat("; ", more, " more") : "", ")"));
  }
  return parts.empty() ? "" : absl::StrCat("Else: ", absl::StrJoin(parts, ", "), ".");
}

std::string Preference(const std::vector<Lead>& leads, const std::vector<RankedGroup>& groups) {
  if (leads.empty()) return "Nothing has a rate to be judged by.";
  const bool alone = std::all_of(groups.begin(), groups.end(), [](const RankedGroup& each) {
    return each.ranking.paths.front().verdict.standing == Standing::kAlone;
  });
  if (alone && leads.size() == 1) {
    return absl::StrCat("Nothing was measured beside ", Printable(leads[0].path), ".");
  }
  std::vector<std::string> names;
  for (const Lead& lead : leads) {
    if (lead.groups < leads[0].groups) break;
    names.push_back(absl::StrCat(Printable(lead.path), lead.engine ? " [engine]" : ""));
  }
  const size_t more = names.size() - std::min(names.size(), kNamed);
  names.resize(names.size() - more);
  return absl::StrCat(absl::StrJoin(names, ", "),
                      more > 0 ? absl::StrCat(" and ", more, " more") : "",
                      names.size() > 1 ? ": each best or level with it" : ": best or level with it",
                      OfGroups(leads[0].groups, groups.size()), ".");
}

// One figure of the broker's best path beside the best raw loop's, over the groups.
struct Tally {
  size_t groups = 0;
  size_t same = 0;
  size_t better = 0;
  size_t worse = 0;
  std::vector<double> factors;  // above 1 is worse
  double worst_factor = 0;      // of those that are worse
  std::string worst;            // "64 KiB, 1 file: journal beside pwrite"
};

void Add(const FigureKind& kind, const PathResult& engine, const PathResult& raw,
         const GroupResult& group, Tally* tally) {
  const std::vector<double>* here = RoundsOf(engine, kind.name);
  const std::vector<double>* there = RoundsOf(raw, kind.name);
  if (here == nullptr || there == nullptr) return;
  const double value = MiddleOf(*here).median;
  const double base = MiddleOf(*there).median;
  const double factor = kind.more_is_better() ? FactorOf(base, value) : FactorOf(value, base);
  const Difference worse = kind.more_is_better() ? Difference::kLower : Difference::kHigher;
  const Difference difference = DifferenceOf(*here, *there);
  ++tally->groups;
  tally->factors.push_back(factor);
  if (difference == Difference::kNone) {
    ++tally->same;
  } else if (difference != worse) {
    ++tally->better;
  } else {
    ++tally->worse;
    if (factor <= tally->worst_factor) return;
    tally->worst_factor = factor;
    const std::string parameters = ParametersName(group.parameters);
    tally->worst = absl::StrCat(parameters, parameters.empty() ? "" : ": ", Printable(engine.path),
                                " beside ", Printable(raw.path));
  }
}

// "as fast in 6 of 8 groups, faster in 1, slower in 1, at most 1.3x (...)".
std::string TallyWords(const Tally& tally, absl::string_view same, absl::string_view better,
                       absl::string_view worse) {
  std::vector<std::string> parts;
  const auto part = [&](absl::string_view word, size_t count) {
    if (count == 0) return;
    parts.push_back(absl::StrCat(
        word, parts.empty() ? OfGroups(count, tally.groups) : absl::StrCat(" in ", count)));
  };
  part(same, tally.same);
  part(better, tally.better);
  part(worse, tally.worse);
  std::string words = absl::StrJoin(parts, ", ");
  if (tally.worse > 0) {
    absl::StrAppend(&words, ", ", tally.worse > 1 ? "at most " : "",
                    FormatFactor(tally.worst_factor), " (", tally.worst, ")");
  }
  return words;
}

std::string Broker(const std::vector<RankedGroup>& groups) {
  Tally speed;
  Tally cpu;
  for (const RankedGroup& each : groups) {
    std::vector<const PathResult*> engine;
    std::vector<const PathResult*> raw;
    for (const Ranked& ranked : each.ranking.paths) {
      (ranked.path->engine ? engine : raw).push_back(ranked.path);
    }
    const PathResult* best_engine = BestOf(engine, *each.group);
    const PathResult* best_raw = BestOf(raw, *each.group);
    if (best_engine == nullptr || best_raw == nullptr) continue;
    const Measure measure = *MeasureOf(*each.group);
    Add(*measure.rate, *best_engine, *best_raw, *each.group, &speed);
    Add(*measure.cpu, *best_engine, *best_raw, *each.group, &cpu);
  }
  if (speed.groups == 0) return "";
  std::string words = absl::StrCat("Beside the best raw loop, the broker's best path is ",
                                   TallyWords(speed, "as fast", "faster", "slower"), ".");
  if (cpu.groups > 0) {
    absl::StrAppend(&words, " Its CPU is ", TallyWords(cpu, "the same", "less", "more"));
    if (cpu.groups > 1) {
      absl::StrAppend(&words, "; ", FormatFactor(MedianOf(cpu.factors)), " in the median");
    }
    words += ".";
  }
  return words;
}

}  // namespace

std::vector<FamilySummary> Summarize(const LabResult& result) {
  std::vector<std::string> families;
  std::map<std::string, std::map<Promise, std::vector<RankedGroup>>> ranked;
  for (const GroupResult& group : result.groups) {
    if (std::find(families.begin(), families.end(), group.family) == families.end()) {
      families.push_back(group.family);
    }
    for (Ranking& ranking : Rank(group)) {
      const Promise promise = ranking.promise;
      ranked[group.family][promise].push_back({&group, std::move(ranking)});
    }
  }
  std::vector<FamilySummary> summaries;
  for (const std::string& family : families) {
    for (const auto& [promise, groups] : ranked[family]) {
      FamilySummary summary = {family, promise, groups.size(), LeadsOf(groups), "", "", ""};
      summary.preference = Preference(summary.leads, groups);
      summary.exceptions = Exceptions(summary.leads, groups);
      summary.broker = Broker(groups);
      summaries.push_back(std::move(summary));
    }
  }
  return summaries;
}

std::string FamilyName(const FamilySummary& summary) {
  const std::string promise = PromiseWords(summary.promise);
  return absl::StrCat(Printable(summary.family), promise.empty() ? "" : ", ", promise);
}

}  // namespace ringtail::lab
