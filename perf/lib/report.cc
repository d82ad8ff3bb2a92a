#include "perf/lib/report.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "perf/lib/check.h"

namespace ringtail::perf {
namespace {

constexpr double kQuietLoadMax = 0.7;

std::string Cell(const Outcome& outcome, const Column& column) {
  if (outcome.rounds.count(column.figure) == 0) return "-";
  const Spread spread = outcome.Of(column.figure);
  char text[96];
  std::snprintf(text, sizeof(text), "%.*f (%.*f..%.*f)", column.digits, spread.median,
                column.digits, spread.min, column.digits, spread.max);
  return text;
}

std::string Machine() {
  utsname name;
  CheckCall(uname(&name), "uname");
  return std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " cores, " + name.sysname + " " +
         name.release;
}

}  // namespace

std::string SizeName(int64_t bytes) {
  if (bytes >= 1 << 20 && bytes % (1 << 20) == 0) return std::to_string(bytes >> 20) + " MiB";
  if (bytes >= 1 << 10 && bytes % (1 << 10) == 0) return std::to_string(bytes >> 10) + " KiB";
  return std::to_string(bytes) + " B";
}

Report::Report(std::string title) : title_(std::move(title)) {
  std::printf("%s\n%s; medians of interleaved rounds (smallest..largest)\n", title_.c_str(),
              Machine().c_str());
  double load = 0;
  if (getloadavg(&load, 1) == 1 && load > kQuietLoadMax) {
    char text[96];
    std::snprintf(text, sizeof(text),
                  "The machine is busy (load %.1f): figures rank, but do not judge.", load);
    Note(text);
  }
}

void Report::Table(const std::string& heading, const std::vector<Outcome>& outcomes,
                   const std::vector<Column>& columns) {
  std::vector<std::vector<std::string>> rows = {{heading}};
  for (const Column& column : columns) rows[0].push_back(column.heading);
  for (const Outcome& outcome : outcomes) {
    rows.push_back({outcome.name});
    for (const Column& column : columns) rows.back().push_back(Cell(outcome, column));
  }
  std::vector<size_t> widths(columns.size() + 1, 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::printf("\n");
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      std::printf(i == 0 ? "%-*s" : "  %*s", static_cast<int>(widths[i]), row[i].c_str());
    }
    std::printf("\n");
  }
  std::fflush(stdout);
  sections_.push_back({heading, outcomes});
}

void Report::Note(const std::string& line) {
  std::printf("%s\n", line.c_str());
  notes_.push_back(line);
}

void Report::Add(const Goal& goal) {
  std::printf(
      "  %-8s %s: %.3g%s (rounds %.3g..%.3g; goal: at %s %.3g%s)\n", goal.Met() ? "met" : "NOT MET",
      goal.name.c_str(), goal.value.median, goal.unit.c_str(), goal.value.min, goal.value.max,
      goal.sense == Goal::Sense::kAtLeast ? "least" : "most", goal.limit, goal.unit.c_str());
  std::fflush(stdout);
  goals_.push_back(goal);
}

bool Report::AllMet() const {
  return std::all_of(goals_.begin(), goals_.end(), [](const Goal& goal) { return goal.Met(); });
}

void Report::WriteJson(const std::string& path) const {
  if (path.empty()) return;
  nlohmann::json out = {{"title", title_}, {"machine", Machine()}, {"notes", notes_}};
  for (const Section& section : sections_) {
    for (const Outcome& outcome : section.outcomes) {
      out["sections"][section.heading][outcome.name] = outcome.rounds;
    }
  }
  for (const Goal& goal : goals_) {
    out["goals"].push_back({{"name", goal.name},
                            {"value", goal.value.median},
                            {"at_least", goal.sense == Goal::Sense::kAtLeast},
                            {"limit", goal.limit},
                            {"unit", goal.unit},
                            {"met", goal.Met()}});
  }
  std::ofstream file(path);
  file << out.dump(2) << "\n";
  Require(static_cast<bool>(file), "cannot write " + path);
}

}  // namespace ringtail::perf
