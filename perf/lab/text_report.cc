#include "perf/lab/text_report.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "perf/lab/figures.h"
#include "perf/lab/report_words.h"
#include "perf/lab/summary.h"
#include "perf/lab/text_layout.h"
#include "perf/lab/verdicts.h"

namespace ringtail::lab {
namespace {

// What is left out to save width, in this order.
struct Omission {
  Subject subject;
  const char* figure;  // null: the spread of all figures of the subject
};
constexpr Omission kOmissions[] = {{Subject::kLatency, nullptr},
                                   {Subject::kLatency, "p999_us"},
                                   {Subject::kDetail, "syscalls_per_op"},
                                   {Subject::kDetail, "switches_per_op"},
                                   {Subject::kCpu, nullptr},
                                   {Subject::kLatency, "p99_us"},
                                   {Subject::kLatency, "p50_us"},
                                   {Subject::kRate, nullptr}};

// How many of them, from the first on.
using Level = size_t;

bool Shows(const FigureKind& kind, Level level) {
  return std::none_of(kOmissions, kOmissions + level, [&](const Omission& omission) {
    return omission.figure != nullptr && absl::string_view(omission.figure) == kind.name;
  });
}

bool ShowsSpread(const FigureKind& kind, Level level) {
  return kind.subject != Subject::kDetail &&
         std::none_of(kOmissions, kOmissions + level, [&](const Omission& omission) {
           return omission.figure == nullptr && omission.subject == kind.subject;
         });
}

std::string Cell(const PathResult& path, const FigureKind& kind, bool spread) {
  const std::optional<Middle> middle = MiddleOf(path, kind.name);
  if (!middle) return "-";
  std::string cell = FormatValue(kind, middle->median);
  const std::string percent = spread ? FormatSpread(path, kind) : "";
  // Padded behind, so that the medians stand below each other.
  if (!percent.empty()) absl::StrAppend(&cell, " ±", percent, percent.size() < 3 ? " " : "");
  return cell;
}

std::string PathName(const PathResult& path) {
  return absl::StrCat(Printable(path.path), path.engine ? " [engine]" : "");
}

TextTable TableOf(const GroupResult& group, Level level) {
  std::vector<const FigureKind*> columns = FiguresOf(group);
  std::erase_if(columns, [&](const FigureKind* kind) { return !Shows(*kind, level); });
  std::vector<std::string> headings = {"path"};
  std::vector<std::string> units = {""};
  for (const FigureKind* kind : columns) {
    headings.emplace_back(kind->heading);
    units.emplace_back(kind->unit);
  }
  headings.emplace_back("verdict");
  units.emplace_back("");
  TextTable table;
  table.AddRow(headings);
  table.AddRow(units);
  for (const Ranking& ranking : Rank(group)) {
    const std::string promise = PromiseWords(ranking.promise);
    if (!promise.empty()) table.AddLine(absl::StrCat(" ", promise));
    for (const Ranked& ranked : ranking.paths) {
      std::vector<std::string> row = {PathName(*ranked.path)};
      for (const FigureKind* kind : columns) {
        row.push_back(Cell(*ranked.path, *kind, ShowsSpread(*kind, level)));
      }
      row.push_back(VerdictText(ranked.verdict));
      table.AddRow(row);
    }
  }
  return table;
}

void AppendGroup(const GroupResult& group, Level level, size_t width, std::string* out) {
  absl::StrAppend(out, "\n", Wrap("", GroupName(group), width));
  const bool measured = std::any_of(group.paths.begin(), group.paths.end(),
                                    [](const PathResult& path) { return path.measured(); });
  if (measured) absl::StrAppend(out, TableOf(group, level).Text(width));
  for (const PathResult& path : group.paths) {
    if (path.measured()) continue;
    const std::string reason =
        path.unavailable.empty() ? "not reached" : Printable(path.unavailable);
    absl::StrAppend(out,
                    Wrap("  unavailable: ", absl::StrCat(PathName(path), ": ", reason), width));
  }
}

void AppendHead(const LabResult& result, size_t width, std::string* out) {
  absl::StrAppend(
      out,
      Wrap("",
           absl::StrCat("I/O path lab, ", VersionText(result), ", ", DateText(result.started_ms),
                        ", took ", DurationText(result.seconds), result.quick ? ", quick" : ""),
           width));
  for (const auto& [name, value] : result.machine) {
    const std::string label = Printable(name);
    const size_t space = 13 - std::min<size_t>(13, WidthOf(label));
    absl::StrAppend(out, Wrap(absl::StrCat("  ", label, std::string(space, ' '), " "),
                              Printable(value), width));
  }
  if (result.partial) {
    absl::StrAppend(out, Wrap("partial: ",
                              "it was stopped before the end; groups are missing, or have fewer "
                              "rounds",
                              width));
  }
  for (const std::string& note : result.notes) {
    absl::StrAppend(out, Wrap("note: ", Printable(note), width));
  }
}

void AppendLegend(Level level, size_t width, std::string* out) {
  absl::StrAppend(
      out, "\n",
      Wrap("",
           "Medians of interleaved rounds; ± says how far they reach. Verdicts are "
           "among paths of the same promise: 1.4x takes 1.4 times as long as the best, CPU 1.2x "
           "takes 1.2 times its CPU, = best is inside the spread. [engine] is the broker's own "
           "code, all else a raw loop over the kernel's calls.",
           width));
  std::vector<std::string> omitted;
  for (const FigureKind& kind : FigureKinds()) {
    if (!Shows(kind, level)) omitted.emplace_back(kind.heading);
  }
  if (omitted.empty()) return;
  absl::StrAppend(out, Wrap("",
                            absl::StrCat("Left out at this width, but in the HTML and the JSON: ",
                                         absl::StrJoin(omitted, ", "), "."),
                            width));
}

void AppendSummary(const LabResult& result, size_t width, std::string* out) {
  absl::StrAppend(out, "\nSummary\n");
  const std::vector<FamilySummary> summaries = Summarize(result);
  for (const FamilySummary& summary : summaries) {
    absl::StrAppend(out, Wrap("  ", FamilyName(summary), width),
                    Wrap("    ", absl::StrCat(summary.preference, " ", summary.exceptions), width));
    if (!summary.broker.empty()) absl::StrAppend(out, Wrap("    ", summary.broker, width));
  }
  if (summaries.empty()) absl::StrAppend(out, "  nothing was measured\n");
}

// The first level at which all groups fit, or the last.
Level LevelFor(const LabResult& result, size_t width) {
  for (Level level = 0; level < std::size(kOmissions); ++level) {
    const bool fits = std::all_of(
        result.groups.begin(), result.groups.end(),
        [&](const GroupResult& group) { return TableOf(group, level).Width() <= width; });
    if (fits) return level;
  }
  return std::size(kOmissions);
}

}  // namespace

std::string TextReport(const LabResult& result, size_t width) {
  width = std::max(width, kTextWidthMin);
  const Level level = LevelFor(result, width);
  std::string out;
  AppendHead(result, width, &out);
  AppendLegend(level, width, &out);
  for (const GroupResult& group : result.groups) AppendGroup(group, level, width, &out);
  AppendSummary(result, width, &out);
  return out;
}

}  // namespace ringtail::lab
