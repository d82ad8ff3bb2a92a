#include "perf/lab/html_family.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "perf/lab/figures.h"
#include "perf/lab/html_chart.h"
#include "perf/lab/html_text.h"
#include "perf/lab/report_words.h"
#include "perf/lab/verdicts.h"

namespace ringtail::lab {
namespace {

using Groups = std::vector<const GroupResult*>;

const Parameter* ParameterOf(const GroupResult& group, const std::string& name) {
  for (const Parameter& parameter : group.parameters) {
    if (parameter.name == name) return &parameter;
  }
  return nullptr;
}

// The parameter along which charts run: "size" if it varies, else the one with the most values; ""
// where none has two.
std::string AxisOf(const Groups& groups) {
  std::map<std::string, std::set<int64_t>> values;
  for (const GroupResult* group : groups) {
    for (const Parameter& parameter : group->parameters) {
      values[parameter.name].insert(parameter.value);
    }
  }
  if (values["size"].size() > 1) return "size";
  std::string axis;
  size_t most = 1;
  for (const auto& [name, each] : values) {
    if (each.size() <= most) continue;
    axis = name;
    most = each.size();
  }
  return axis;
}

// Paths that stand in one row of charts: of one promise, with all parameters equal but the axis.
struct Panel {
  Promise promise = Promise::kNone;
  std::string rest;  // the other parameters
  Groups groups;     // along the axis
  std::vector<Look> looks;
};

// Measured paths of a promise. The broker's own are green, none of the others is.
std::vector<Look> LooksOf(const Groups& groups, Promise promise) {
  constexpr size_t kRawColors[] = {0, 1, 2, 4, 5, 6};
  constexpr size_t kEngineColors[] = {3, 7};
  std::vector<Look> looks;
  size_t raw = 0;
  size_t engine = 0;
  for (const GroupResult* group : groups) {
    for (const PathResult& path : group->paths) {
      const bool known = std::any_of(looks.begin(), looks.end(),
                                     [&](const Look& look) { return look.path == path.path; });
      if (!path.measured() || path.promise != promise || known) continue;
      const size_t color = path.engine ? kEngineColors[engine++ % std::size(kEngineColors)]
                                       : kRawColors[raw++ % std::size(kRawColors)];
      looks.push_back({path.path, path.engine, color, looks.size()});
    }
  }
  return looks;
}

const PathResult* PathOf(const GroupResult& group, const std::string& path, Promise promise) {
  for (const PathResult& each : group.paths) {
    if (each.path == path && each.promise == promise) return &each;
  }
  return nullptr;
}

// All groups by their parameters without the axis.
std::vector<Panel> WithoutAxis(const Groups& groups, const std::string& axis) {
  std::vector<Panel> panels;
  for (const GroupResult* group : groups) {
    std::vector<Parameter> rest = group->parameters;
    std::erase_if(rest, [&](const Parameter& each) { return each.name == axis; });
    const std::string name = ParametersName(rest);
    auto panel = std::find_if(panels.begin(), panels.end(),
                              [&](const Panel& each) { return each.rest == name; });
    if (panel == panels.end()) panel = panels.insert(panel, {Promise::kNone, name, {}, {}});
    panel->groups.push_back(group);
  }
  const auto along = [&](const GroupResult* group) {
    const Parameter* parameter = ParameterOf(*group, axis);
    return parameter == nullptr ? 0 : parameter->value;
  };
  for (Panel& panel : panels) {
    std::sort(panel.groups.begin(), panel.groups.end(),
              [&](const auto* left, const auto* right) { return along(left) < along(right); });
  }
  return panels;
}

bool Shows(const Panel& panel, const Look& look) {
  return std::any_of(panel.groups.begin(), panel.groups.end(), [&](const GroupResult* group) {
    const PathResult* path = PathOf(*group, look.path, panel.promise);
    return path != nullptr && path->measured();
  });
}

std::vector<Panel> PanelsOf(const Groups& groups, const std::string& axis) {
  std::vector<Panel> panels;
  const std::vector<Panel> parts = WithoutAxis(groups, axis);
  for (const Promise promise :
       {Promise::kNone, Promise::kPageCache, Promise::kDevice, Promise::kDurable}) {
    const std::vector<Look> looks = LooksOf(groups, promise);
    for (Panel panel : parts) {
      panel.promise = promise;
      std::copy_if(looks.begin(), looks.end(), std::back_inserter(panel.looks),
                   [&](const Look& look) { return Shows(panel, look); });
      if (!panel.looks.empty()) panels.push_back(std::move(panel));
    }
  }
  return panels;
}

// Without the series that have nothing to show.
Chart ChartOf(const Panel& panel, const std::string& axis, const FigureKind& kind) {
  Chart chart;
  chart.kind = &kind;
  for (const GroupResult* group : panel.groups) {
    const Parameter* parameter = ParameterOf(*group, axis);
    chart.ticks.push_back(parameter == nullptr ? "" : ParametersName({*parameter}));
  }
  for (const Look& look : panel.looks) {
    Chart::Series series = {look, {}};
    for (const GroupResult* group : panel.groups) {
      const PathResult* path = PathOf(*group, look.path, panel.promise);
      series.at.push_back(path == nullptr ? std::nullopt : MiddleOf(*path, kind.name));
    }
    const bool any = std::any_of(series.at.begin(), series.at.end(),
                                 [](const auto& middle) { return middle.has_value(); });
    if (any) chart.series.push_back(std::move(series));
  }
  return chart;
}

// p50 as the median and p99 as the upper end.
Chart LatencyOf(const Panel& panel, const std::string& axis) {
  Chart chart = ChartOf(panel, axis, KindOf("p50_us"));
  for (Chart::Series& series : chart.series) {
    for (size_t i = 0; i < series.at.size(); ++i) {
      const PathResult* path = PathOf(*panel.groups[i], series.look.path, panel.promise);
      if (path == nullptr || !series.at[i]) continue;
      const double p50 = series.at[i]->median;
      const std::optional<Middle> p99 = MiddleOf(*path, "p99_us");
      series.at[i] = Middle{p50, p50, p99 ? std::max(p99->median, p50) : p50};
    }
  }
  return chart;
}

std::string Figure(const std::string& svg, absl::string_view caption, absl::string_view which) {
  return absl::StrCat("<figure><figcaption>", Escape(caption), " <span>", Escape(which),
                      "</span></figcaption>", svg, "</figure>\n");
}

std::string PanelTitle(const Panel& panel) {
  const std::string promise = PromiseWords(panel.promise);
  return absl::StrCat(promise, promise.empty() || panel.rest.empty() ? "" : ", ", panel.rest);
}

std::string PanelHtml(const Panel& panel, const std::string& id, const std::string& family,
                      const std::string& axis) {
  const std::string title = PanelTitle(panel);
  std::string out = "<section class=\"panel\">\n";
  if (!title.empty()) absl::StrAppend(&out, "<h3>", Escape(title), "</h3>\n");
  absl::StrAppend(&out, "<ul class=\"legend\">");
  for (const Look& look : panel.looks) {
    absl::StrAppend(&out, "<li>", KeySvg(look), Escape(look.path),
                    look.engine ? " <span class=\"tag\">engine</span>" : "", "</li>");
  }
  absl::StrAppend(&out, "</ul>\n<div class=\"charts\">\n");
  std::optional<Measure> measure;
  for (const GroupResult* group : panel.groups) {
    if (!measure) measure = MeasureOf(*group);
  }
  const std::string where = absl::StrCat(family, title.empty() ? "" : ", ", title);
  const auto add = [&](const FigureKind& kind, absl::string_view name, absl::string_view which) {
    Chart chart = ChartOf(panel, axis, kind);
    if (chart.series.empty()) return;
    chart.id = absl::StrCat(id, "-", kind.name);
    chart.title =
        absl::StrCat(name, " of ", where, ", ", kind.words, "; the same is in the tables");
    absl::StrAppend(
        &out,
        Figure(chart.ticks.size() > 1 ? LinesSvg(chart) : BarsSvg(chart),
               absl::StrCat(name, ", ", kind.subject == Subject::kRate ? kind.heading : kind.unit),
               which));
  };
  if (measure) {
    add(*measure->rate, "Throughput", "more is better");
    add(*measure->cpu, "CPU", "less is better");
  }
  Chart latency = LatencyOf(panel, axis);
  if (!latency.series.empty()) {
    latency.id = absl::StrCat(id, "-latency");
    latency.title = absl::StrCat("p50 and p99 of ", where, " in us; the same is in the tables");
    absl::StrAppend(&out, Figure(RangesSvg(latency), "Latency, us", "mark: p50, end: p99"));
  }
  return absl::StrCat(out, "</div>\n</section>\n");
}

std::string CellHtml(const PathResult& path, const FigureKind& kind) {
  const std::optional<Middle> middle = MiddleOf(path, kind.name);
  if (!middle) return "<td>-</td>";
  const std::string spread = FormatSpread(path, kind);
  return absl::StrCat("<td data-value=\"", absl::StrFormat("%.9g", middle->median), "\" title=\"",
                      FormatValue(kind, middle->low), " to ", FormatValue(kind, middle->high),
                      "\">", FormatValue(kind, middle->median),
                      spread.empty() ? "" : absl::StrCat(" <small>±", Escape(spread), "</small>"),
                      "</td>");
}

std::string NameHtml(const PathResult& path) {
  return absl::StrCat("<th scope=\"row\">", Escape(path.path),
                      path.engine ? " <span class=\"tag\">engine</span>" : "", "</th>");
}

// A verdict and the class that colours it.
std::string VerdictHtml(const Verdict& verdict) {
  const bool first = verdict.standing == Standing::kBest;
  const char* kind = first ? "best" : verdict.standing == Standing::kLevel ? "level" : "behind";
  // Sorts as it is read: the best first.
  const double order = first ? 0 : std::max(verdict.slower_factor, verdict.cpu_factor);
  return absl::StrCat("<td class=\"verdict ", kind, "\" data-value=\"",
                      absl::StrFormat("%.6g", order), "\">", Escape(VerdictText(verdict)), "</td>");
}

std::string TableHtml(const GroupResult& group) {
  const std::vector<const FigureKind*> columns = FiguresOf(group);
  const std::string name = Escape(GroupName(group));
  std::string out =
      absl::StrCat("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"", name,
                   "\"><table class=\"paths\"><caption>", name,
                   "</caption>\n<thead><tr><th scope=\"col\">path</th>");
  for (const FigureKind* kind : columns) {
    absl::StrAppend(&out, "<th scope=\"col\" title=\"", kind->words, "\">", kind->heading,
                    kind->unit[0] == '\0' ? "" : absl::StrCat(" <small>", kind->unit, "</small>"),
                    "</th>");
  }
  absl::StrAppend(&out, "<th scope=\"col\">verdict</th></tr></thead>\n");
  const size_t span = columns.size() + 2;
  for (const Ranking& ranking : Rank(group)) {
    absl::StrAppend(&out, "<tbody>");
    const std::string promise = PromiseWords(ranking.promise);
    if (!promise.empty()) {
      absl::StrAppend(&out, "<tr class=\"promise\"><th scope=\"rowgroup\" colspan=\"", span, "\">",
                      promise, "</th></tr>\n");
    }
    for (const Ranked& ranked : ranking.paths) {
      absl::StrAppend(&out, "<tr>", NameHtml(*ranked.path));
      for (const FigureKind* kind : columns) absl::StrAppend(&out, CellHtml(*ranked.path, *kind));
      absl::StrAppend(&out, VerdictHtml(ranked.verdict), "</tr>\n");
    }
    absl::StrAppend(&out, "</tbody>\n");
  }
  std::string gone;
  for (const PathResult& path : group.paths) {
    if (path.measured()) continue;
    absl::StrAppend(&gone, "<tr class=\"gone\">", NameHtml(path), "<td colspan=\"", span - 1, "\">",
                    path.unavailable.empty() ? "not reached" : "unavailable: ",
                    Escape(path.unavailable), "</td></tr>\n");
  }
  if (!gone.empty()) absl::StrAppend(&out, "<tbody>", gone, "</tbody>");
  return absl::StrCat(out, "</table></div>\n");
}

}  // namespace

std::string FamilyTitle(const std::string& family) {
  constexpr std::pair<const char*, const char*> kTitles[] = {
      {"write", "Writing to files"},         {"send", "Sending files to sockets"},
      {"receive", "Receiving from sockets"}, {"wake", "Waking another thread"},
      {"ring", "Rings and their flags"},
  };
  for (const auto& [name, title] : kTitles) {
    if (family == name) return title;
  }
  return Printable(family);
}

std::string FamilyHtml(const std::string& id, const std::string& family,
                       const std::vector<const GroupResult*>& groups) {
  const std::string axis = AxisOf(groups);
  std::string out;
  const std::vector<Panel> panels = PanelsOf(groups, axis);
  for (size_t i = 0; i < panels.size(); ++i) {
    absl::StrAppend(&out, PanelHtml(panels[i], absl::StrCat(id, "-", i), family, axis));
  }
  absl::StrAppend(&out, "<details open><summary>Tables (", Count(groups.size(), "group"),
                  ")</summary>\n");
  for (const GroupResult* group : groups) absl::StrAppend(&out, TableHtml(*group));
  return absl::StrCat(out, "</details>\n");
}

}  // namespace ringtail::lab
