#include "perf/lab/runner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <utility>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"

namespace ringtail::lab {
namespace {

constexpr double kQuickSeconds = 50;
constexpr double kSeconds = 600;
constexpr int kQuickRounds = 3;
constexpr int kRounds = 7;
// Beside the measured time of a cell: its warm-up, and a process that is made and sets up.
constexpr double kWarmUp = 0.2;
constexpr double kSetUpSeconds = 0.05;
constexpr double kCellSecondsMin = 0.02;
constexpr double kCellSecondsMax = 1;

bool Matches(const std::string& wanted, const Group& group, const Cell& cell) {
  return wanted == group.family || cell.path.find(wanted) != std::string::npos ||
         std::any_of(group.parameters.begin(), group.parameters.end(),
                     [&](const Parameter& parameter) { return parameter.text == wanted; });
}

// What is measured of a cell, and what came out.
struct Measured {
  const Cell* cell = nullptr;
  PathResult* result = nullptr;
  std::string what;
  int failures = 0;
  std::string error;  // of the last of them
};

std::string NameOf(const Group& group, const Cell& cell) {
  std::string name = group.family;
  for (const Parameter& parameter : group.parameters) name += " " + parameter.text;
  return name + ": " + cell.path;
}

void AddRound(const perf::Figures& figures, PathResult* result) {
  for (const auto& [name, value] : figures) {
    perf::Require(std::isfinite(value), "the figure " + name + " is no number");
  }
  // A figure that only some rounds have says nothing that could be compared.
  const size_t before = result->rounds.empty() ? 0 : result->rounds.begin()->second.size();
  std::erase_if(result->rounds, [&](const auto& each) { return !figures.contains(each.first); });
  for (const auto& [name, value] : figures) {
    if (before > 0 && !result->rounds.contains(name)) continue;
    result->rounds[name].push_back(value);
  }
}

class Lab {
 public:
  Lab(const RunOptions& options, std::vector<Group> groups, const Hooks& hooks, LabResult* result)
      : options_(options), groups_(std::move(groups)), hooks_(hooks), result_(result) {
    result_->groups.resize(groups_.size());
    for (size_t i = 0; i < groups_.size(); ++i) {
      GroupResult& group = result_->groups[i];
      group.family = groups_[i].family;
      group.parameters = groups_[i].parameters;
      for (const Cell& cell : groups_[i].cells) {
        group.paths.push_back({cell.path, cell.engine, cell.promise, {}, ""});
      }
      std::vector<Measured>& row = cells_.emplace_back();
      for (size_t j = 0; j < group.paths.size(); ++j) {
        row.push_back(
            {&groups_[i].cells[j], &group.paths[j], NameOf(groups_[i], groups_[i].cells[j])});
      }
      count_ += row.size();
    }
  }

  // What a round takes beyond the measured time - processes that are made, files that are filled -
  // is known after the first, and comes off the measured time of the others.
  void Run() {
    const bool quick = options_.quick;
    // Cells warm up by themselves; a round that does not count warms the machine up.
    const int warmups = quick ? 0 : 1;
    rounds_ = warmups + (options_.rounds > 0 ? options_.rounds : quick ? kQuickRounds : kRounds);
    total_s_ = options_.seconds > 0 ? options_.seconds : quick ? kQuickSeconds : kSeconds;
    const auto cells = static_cast<double>(count_);
    double overhead_s = kSetUpSeconds;
    for (int round = 0; round < rounds_; ++round) {
      const double began_s = PassedSeconds();
      const double each_s = (total_s_ - began_s) / (rounds_ - round) / cells - overhead_s;
      const double cell_s = std::clamp(each_s / (1 + kWarmUp), kCellSecondsMin, kCellSecondsMax);
      if (!RunRound(round, cell_s, round >= warmups)) return;
      overhead_s = (PassedSeconds() - began_s) / cells - cell_s * (1 + kWarmUp);
      // Longer than asked for where even the shortest cells take so much.
      const double needed_s = PassedSeconds() + (rounds_ - round - 1) * cells *
                                                    (overhead_s + kCellSecondsMin * (1 + kWarmUp));
      total_s_ = std::max(total_s_, needed_s);
    }
    // Forgiven, but there was no other round.
    for (const std::vector<Measured>& row : cells_) {
      for (const Measured& cell : row) {
        if (!cell.result->measured() && cell.result->unavailable.empty()) {
          cell.result->unavailable = cell.error;
        }
      }
    }
  }

 private:
  // False: it was stopped.
  bool RunRound(int round, double cell_s, bool counts) {
    size_t step = 0;
    for (std::vector<Measured>& row : cells_) {
      for (size_t turn = 0; turn < row.size(); ++turn, ++step) {
        Measured& cell = row[round % 2 == 0 ? turn : row.size() - 1 - turn];
        if (hooks_.stop && hooks_.stop()) {
          result_->partial = true;
          return false;
        }
        if (hooks_.progress) {
          const double part = static_cast<double>(step) / static_cast<double>(count_);
          hooks_.progress((round + part) / rounds_, std::max(total_s_ - PassedSeconds(), 0.0),
                          cell.what);
        }
        if (cell.result->unavailable.empty()) Measure(cell, cell_s, counts);
      }
    }
    return true;
  }

  double PassedSeconds() const {
    return static_cast<double>(perf::NowNs() - start_ns_) / perf::kNsPerSecond;
  }

  void Measure(Measured& cell, double seconds, bool counts) {
    try {
      const perf::Figures figures = cell.cell->run(seconds);
      if (counts) AddRound(figures, cell.result);
    } catch (const perf::Unavailable& why) {
      cell.result->unavailable = why.what();
    } catch (const std::exception& error) {
      // A stop ends the measured process, too.
      if (hooks_.stop && hooks_.stop()) return;
      cell.error = std::string("failed: ") + error.what();
      if (++cell.failures < 2) return;
      cell.result->unavailable = cell.error;
    }
    if (!cell.result->unavailable.empty()) cell.result->rounds.clear();
  }

  const RunOptions& options_;
  const std::vector<Group> groups_;
  const Hooks& hooks_;
  LabResult* result_;
  std::vector<std::vector<Measured>> cells_;
  size_t count_ = 0;
  int rounds_ = 0;
  double total_s_ = 0;
  const int64_t start_ns_ = perf::NowNs();
};

}  // namespace

std::vector<Group> AllGroups(const Selection& selection) {
  using Family = std::vector<Group> (*)(const Selection&);
  constexpr Family kAll[] = {WriteGroups, SendGroups, ReceiveGroups, WakeGroups, RingGroups};
  std::vector<Group> all;
  for (const Family family : kAll) {
    for (Group& group : family(selection)) all.push_back(std::move(group));
  }
  return all;
}

std::vector<Group> Choose(std::vector<Group> groups, const std::vector<std::string>& only) {
  if (only.empty()) return groups;
  for (Group& group : groups) {
    std::erase_if(group.cells, [&](const Cell& cell) {
      return std::none_of(only.begin(), only.end(),
                          [&](const std::string& wanted) { return Matches(wanted, group, cell); });
    });
  }
  std::erase_if(groups, [](const Group& group) { return group.cells.empty(); });
  perf::Require(!groups.empty(),
                "nothing is left to measure: --only takes families, parts of the "
                "names of paths, and what a report's headings say");
  return groups;
}

void Run(const RunOptions& options, std::vector<Group> groups, const Hooks& hooks,
         LabResult* result) {
  const int64_t start_ns = perf::NowNs();
  result->quick = options.quick;
  result->started_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                           std::chrono::system_clock::now().time_since_epoch())
                           .count();
  Lab(options, std::move(groups), hooks, result).Run();
  // What was stopped before its first round has nothing to show.
  if (result->partial) {
    for (GroupResult& group : result->groups) {
      std::erase_if(group.paths, [](const PathResult& path) {
        return !path.measured() && path.unavailable.empty();
      });
    }
    std::erase_if(result->groups, [](const GroupResult& group) { return group.paths.empty(); });
  }
  result->seconds = static_cast<double>(perf::NowNs() - start_ns) / perf::kNsPerSecond;
}

}  // namespace ringtail::lab
