#include "perf/lab/html_report.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "perf/lab/html/report_css.h"
#include "perf/lab/html/report_js.h"
#include "perf/lab/html_family.h"
#include "perf/lab/html_text.h"
#include "perf/lab/report_words.h"
#include "perf/lab/summary.h"

namespace ringtail::lab {
namespace {

struct Family {
  std::string id;
  std::string name;
  std::vector<const GroupResult*> groups;
};

std::vector<Family> FamiliesOf(const LabResult& result) {
  std::vector<Family> families;
  for (const GroupResult& group : result.groups) {
    auto family = std::find_if(families.begin(), families.end(),
                               [&](const Family& each) { return each.name == group.family; });
    if (family == families.end()) {
      // Names may hold anything, ids may not.
      family = families.insert(family, {absl::StrCat("f", families.size()), group.family, {}});
    }
    family->groups.push_back(&group);
  }
  return families;
}

std::string RoundsText(const LabResult& result) {
  size_t least = SIZE_MAX;
  size_t most = 0;
  for (const GroupResult& group : result.groups) {
    for (const PathResult& path : group.paths) {
      for (const auto& [figure, rounds] : path.rounds) {
        least = std::min(least, rounds.size());
        most = std::max(most, rounds.size());
      }
    }
  }
  if (most == 0) return "no rounds";
  return least == most ? Count(most, "round") : absl::StrCat(least, " to ", most, " rounds");
}

std::string HeadHtml(const LabResult& result) {
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
      "<title>I/O path lab, ",
      Escape(VersionText(result)), "</title>\n<style>\n", kReportCss, "</style>\n</head>\n");
}

std::string BannersHtml(const LabResult& result) {
  std::string out;
  if (result.partial) {
    absl::StrAppend(&out,
                    "<p class=\"banner\"><strong>Partial.</strong> The run was stopped before its "
                    "end: groups are missing, or have fewer rounds.</p>\n");
  }
  if (result.notes.empty()) return out;
  absl::StrAppend(&out, "<ul class=\"notes\" aria-label=\"Notes\">");
  for (const std::string& note : result.notes) {
    absl::StrAppend(&out, "<li>", Escape(note), "</li>");
  }
  return absl::StrCat(out, "</ul>\n");
}

// What leads, as bars: of how many groups.
std::string LeadsHtml(const FamilySummary& summary) {
  constexpr size_t kShown = 3;
  std::string out = "<ol class=\"leads\">";
  for (size_t i = 0; i < std::min(kShown, summary.leads.size()); ++i) {
    const Lead& lead = summary.leads[i];
    const double share =
        100 * static_cast<double>(lead.groups) / static_cast<double>(summary.groups);
    absl::StrAppend(&out, "<li><span class=\"lead\">", Escape(lead.path),
                    lead.engine ? " <span class=\"tag\">engine</span>" : "",
                    "</span><span class=\"share\">", lead.groups, " of ", summary.groups,
                    "</span><span class=\"meter\" aria-hidden=\"true\"><span style=\"width:",
                    absl::StrFormat("%.0f", share), "%\"></span></span></li>");
  }
  return absl::StrCat(out, "</ol>\n");
}

std::string SummaryHtml(const LabResult& result) {
  const std::vector<FamilySummary> summaries = Summarize(result);
  std::string out =
      "<section id=\"summary\">\n<h2>What this machine prefers</h2>\n"
      "<p class=\"hint\">In how many groups a path is the best of its promise, or level with it; "
      "and "
      "the broker's best path beside the best raw loop.</p>\n<div class=\"cards\">\n";
  for (const FamilySummary& summary : summaries) {
    absl::StrAppend(&out, "<article class=\"card\"><h3>", Escape(FamilyName(summary)), "</h3>\n",
                    LeadsHtml(summary));
    // The bars say the rest.
    const std::string& words = summary.leads.empty() ? summary.preference : summary.exceptions;
    if (!words.empty()) absl::StrAppend(&out, "<p>", Escape(words), "</p>\n");
    if (!summary.broker.empty()) {
      absl::StrAppend(&out, "<p class=\"broker\">", Escape(summary.broker), "</p>\n");
    }
    absl::StrAppend(&out, "</article>\n");
  }
  absl::StrAppend(&out, "</div>\n");
  if (summaries.empty()) absl::StrAppend(&out, "<p>Nothing was measured.</p>\n");
  return absl::StrCat(out, "</section>\n");
}

std::string MachineHtml(const LabResult& result) {
  std::string out = "<section id=\"machine\">\n<h2>Machine</h2>\n<dl>\n";
  for (const auto& [name, value] : result.machine) {
    absl::StrAppend(&out, "<div><dt>", Escape(name), "</dt><dd>", Escape(value), "</dd></div>\n");
  }
  absl::StrAppend(&out, "</dl>\n");
  if (result.machine.empty()) absl::StrAppend(&out, "<p>Nothing is known of it.</p>\n");
  return absl::StrCat(out, "</section>\n");
}

std::string MethodHtml(const LabResult& result) {
  return absl::StrCat(
      "<section id=\"method\">\n<h2>How it was measured</h2>\n<ul class=\"method\">\n"
      "<li>The paths of a group do the same work and take turns, the order reversed every other "
      "round, so that drift of the machine falls on all alike: ",
      RoundsText(result),
      ". Each round is a process of its own.</li>\n"
      "<li>Values are medians. ± and the whiskers say how far the middle half of the rounds "
      "reaches "
      "(with three rounds or fewer, all of them). Where those of two paths overlap, they do not "
      "differ. Chance alone separates some that are equal, the more the fewer the rounds.</li>\n"
      "<li>CPU is user and system time of the measured process, its io_uring workers included. A "
      "GB "
      "is 10<sup>9</sup> bytes.</li>\n"
      "<li>Latency is that of one operation, from its start to its end.</li>\n"
      "<li>Paths of different promises (page cache, device, durable) do not compete. Of one "
      "promise, <em>best</em> is the one with the least CPU among those that nothing is faster "
      "than; <em>= best</em> does not differ from it; <em>1.4x</em> takes 1.4 times as long; "
      "<em>CPU 1.2x</em> takes 1.2 times its CPU.</li>\n"
      "<li><span class=\"tag\">engine</span> marks the broker's own code; all others are raw loops "
      "over the kernel's calls.</li>\n</ul>\n</section>\n");
}

std::string NavigationHtml(const std::vector<Family>& families) {
  std::string out = "<nav aria-label=\"Parts\"><a href=\"#summary\">Summary</a>";
  for (const Family& family : families) {
    absl::StrAppend(&out, "<a href=\"#", family.id, "\">", Escape(family.name), "</a>");
  }
  return absl::StrCat(out,
                      "<a href=\"#machine\">Machine</a><a href=\"#method\">Method</a>"
                      "<label class=\"filter\" hidden>Paths <input type=\"search\" id=\"filter\" "
                      "placeholder=\"filter tables\"></label></nav>\n");
}

}  // namespace

std::string HtmlReport(const LabResult& result) {
  const std::vector<Family> families = FamiliesOf(result);
  std::string out = HeadHtml(result);
  absl::StrAppend(&out, "<body>\n<header>\n<h1>I/O path lab</h1>\n<p class=\"run\">",
                  Escape(VersionText(result)), " · ", DateText(result.started_ms), " · took ",
                  DurationText(result.seconds), result.quick ? " · quick" : "", " · ",
                  RoundsText(result), "</p>\n", BannersHtml(result), "</header>\n",
                  NavigationHtml(families), "<main>\n", SummaryHtml(result));
  for (const Family& family : families) {
    absl::StrAppend(&out, "<section id=\"", family.id, "\">\n<h2>",
                    Escape(FamilyTitle(family.name)), "</h2>\n",
                    FamilyHtml(family.id, family.name, family.groups), "</section>\n");
  }
  return absl::StrCat(out, MachineHtml(result), MethodHtml(result), "</main>\n<script>\n",
                      kReportJs, "</script>\n</body>\n</html>\n");
}

}  // namespace ringtail::lab
