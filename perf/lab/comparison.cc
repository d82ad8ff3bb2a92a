#include "perf/lab/comparison.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "perf/lab/report_words.h"
#include "perf/lab/text_layout.h"
#include "perf/lab/text_report.h"

namespace ringtail::lab {
namespace {

constexpr double kFactorMin = 1.005;

// Parameters by what they are, not by how they are written, and in any order.
using CellKey = std::tuple<std::string, std::set<std::tuple<std::string, int64_t>>, std::string>;

struct CellAt {
  const GroupResult* group;
  const PathResult* path;
};

// Names may all have the value 0; then the text counts as well.
std::string KeyName(const Parameter& parameter) {
  return parameter.value == 0 ? absl::StrCat(parameter.name, "=", parameter.text) : parameter.name;
}

CellKey KeyOf(const CellAt& cell) {
  CellKey key;
  std::get<0>(key) = cell.group->family;
  for (const Parameter& parameter : cell.group->parameters) {
    std::get<1>(key).emplace(KeyName(parameter), parameter.value);
  }
  std::get<2>(key) = cell.path->path;
  return key;
}

std::vector<CellAt> CellsOf(const LabResult& result) {
  std::vector<CellAt> cells;
  for (const GroupResult& group : result.groups) {
    for (const PathResult& path : group.paths) cells.push_back({&group, &path});
  }
  return cells;
}

bool Matters(const FigureKind& kind) {
  return kind.subject == Subject::kRate || kind.subject == Subject::kCpu ||
         kind.name == absl::string_view("p50_us") || kind.name == absl::string_view("p99_us");
}

void AddMissing(const CellAt& cell, const char* when, const std::string& reason,
                std::map<std::string, std::vector<std::string>>* missing) {
  (*missing)[GroupName(*cell.group)].push_back(
      absl::StrCat(Printable(cell.path->path),
                   reason.empty() ? "" : absl::StrCat(" (", when, ": ", Printable(reason), ")")));
}

// Sorted by the worst of each cell, and within it.
void SortChanges(std::vector<Change>* changes) {
  std::map<std::string, double> largest;
  const auto cell = [](const Change& change) { return change.group + "\n" + change.path; };
  for (const Change& change : *changes) {
    double& factor = largest[cell(change)];
    factor = std::max(factor, change.factor());
  }
  std::sort(changes->begin(), changes->end(), [&](const Change& left, const Change& right) {
    return std::tuple(-largest[cell(left)], cell(left), -left.factor(), left.kind) <
           std::tuple(-largest[cell(right)], cell(right), -right.factor(), right.kind);
  });
}

void CompareCell(const CellAt& before, const CellAt& after, Comparison* comparison) {
  ++comparison->cells;
  for (const FigureKind& kind : FigureKinds()) {
    const std::vector<double>* old_rounds = RoundsOf(*before.path, kind.name);
    const std::vector<double>* new_rounds = RoundsOf(*after.path, kind.name);
    if (!Matters(kind) || old_rounds == nullptr || new_rounds == nullptr) continue;
    Change change = {GroupName(*after.group),
                     Printable(after.path->path),
                     &kind,
                     MiddleOf(*old_rounds).median,
                     MiddleOf(*new_rounds).median,
                     DifferenceOf(*new_rounds, *old_rounds)};
    if (change.difference == Difference::kNone || change.factor() < kFactorMin) {
      ++comparison->unchanged;
    } else {
      (change.worse() ? comparison->worse : comparison->better).push_back(std::move(change));
    }
  }
}

std::string Percent(const Change& change) {
  if (change.before == 0) return "from 0";
  const double percent = 100 * (change.after / change.before - 1);
  if (percent > 999) return FormatFactor(FactorOf(change.after, change.before));
  return absl::StrFormat("%+.*f%%", std::abs(percent) < 9.95 ? 1 : 0, percent);
}

void AppendChanges(const char* heading, const std::vector<Change>& changes, size_t width,
                   std::string* out) {
  if (changes.empty()) return;
  absl::StrAppend(out, "\n", heading, "\n");
  TextTable table;
  std::string cell;
  for (const Change& change : changes) {
    const std::string name = absl::StrCat(change.group, ": ", change.path);
    const std::string unit =
        change.kind->unit[0] == '\0' ? "" : absl::StrCat(" ", change.kind->unit);
    if (name != cell) table.AddLine(Cut(absl::StrCat("  ", name), width));
    cell = name;
    table.AddRow({absl::StrCat("  ", change.kind->heading, unit),
                  FormatValue(*change.kind, change.before), "->",
                  FormatValue(*change.kind, change.after), Percent(change), ""});
  }
  absl::StrAppend(out, table.Text(width));
}

void AppendMachines(const LabResult& before, const LabResult& after, size_t width,
                    std::string* out) {
  std::set<std::string> names;
  for (const auto& [name, value] : before.machine) names.insert(name);
  for (const auto& [name, value] : after.machine) names.insert(name);
  std::string differences;
  for (const std::string& name : names) {
    const auto value = [&](const LabResult& result) {
      const auto found = result.machine.find(name);
      return found == result.machine.end() ? std::string("(not said)") : Printable(found->second);
    };
    if (value(before) == value(after)) continue;
    absl::StrAppend(&differences, Wrap(absl::StrCat("  ", Printable(name), ": "),
                                       absl::StrCat(value(before), " -> ", value(after)), width));
  }
  if (differences.empty()) return;
  absl::StrAppend(
      out,
      Wrap("",
           "The machines differ, so what changed may be theirs rather than the program's:", width),
      differences);
}

void AppendMissing(const char* heading,
                   const std::map<std::string, std::vector<std::string>>& missing, size_t width,
                   std::string* out) {
  if (missing.empty()) return;
  absl::StrAppend(out, "\n", heading, "\n");
  for (const auto& [group, paths] : missing) {
    absl::StrAppend(out, Wrap("  ", absl::StrCat(group, ": ", absl::StrJoin(paths, "; ")), width));
  }
}

std::string ResultName(const LabResult& result) {
  return absl::StrCat(VersionText(result), " of ", DateText(result.started_ms),
                      result.quick ? ", quick" : "", result.partial ? ", partial" : "");
}

}  // namespace

bool Change::worse() const {
  return difference == (kind->more_is_better() ? Difference::kLower : Difference::kHigher);
}

double Change::factor() const { return std::max(FactorOf(after, before), FactorOf(before, after)); }

Comparison Compare(const LabResult& before, const LabResult& after) {
  std::map<CellKey, CellAt> old_cells;
  for (const CellAt& cell : CellsOf(before)) old_cells.emplace(KeyOf(cell), cell);
  Comparison comparison;
  for (const CellAt& cell : CellsOf(after)) {
    const auto found = old_cells.find(KeyOf(cell));
    const CellAt old_cell = found == old_cells.end() ? CellAt{} : found->second;
    if (found != old_cells.end()) old_cells.erase(found);
    const bool measured_before = old_cell.path != nullptr && old_cell.path->measured();
    const std::string reason = old_cell.path == nullptr ? "" : old_cell.path->unavailable;
    const std::string& now = cell.path->unavailable;
    if (measured_before && cell.path->measured()) {
      CompareCell(old_cell, cell, &comparison);
    } else if (cell.path->measured()) {
      AddMissing(cell, "before", reason, &comparison.only_after);
    } else if (measured_before) {
      AddMissing(cell, "now", now, &comparison.only_before);
    }
  }
  for (const CellAt& cell : CellsOf(before)) {
    if (old_cells.contains(KeyOf(cell)) && cell.path->measured()) {
      AddMissing(cell, "now", "", &comparison.only_before);
    }
  }
  SortChanges(&comparison.worse);
  SortChanges(&comparison.better);
  return comparison;
}

std::string ComparisonText(const LabResult& before, const LabResult& after, size_t width) {
  width = std::max(width, kTextWidthMin);
  const Comparison comparison = Compare(before, after);
  std::string out = Wrap("now:    ", ResultName(after), width);
  absl::StrAppend(&out, Wrap("before: ", ResultName(before), width));
  AppendMachines(before, after, width, &out);
  AppendChanges("Worse, beyond the spread", comparison.worse, width, &out);
  AppendChanges("Better, beyond the spread", comparison.better, width, &out);
  AppendMissing("Measured before, not now", comparison.only_before, width, &out);
  AppendMissing("Measured now, not before", comparison.only_after, width, &out);
  absl::StrAppend(&out, "\n",
                  Wrap("",
                       absl::StrCat(Count(comparison.cells, "path"), " in both: ",
                                    Count(comparison.worse.size(), "figure"), " worse, ",
                                    comparison.better.size(), " better, ", comparison.unchanged,
                                    " without a difference beyond the spread. A lone figure "
                                    "may have changed by chance."),
                       width));
  return out;
}

}  // namespace ringtail::lab
