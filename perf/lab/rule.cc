#include "perf/lab/rule.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/log/log_options.h"
#include "perf/lab/difference.h"
#include "perf/lab/families.h"
#include "perf/lib/report.h"

namespace ringtail::lab {
namespace {

using io::SendPath;
using io::SendRule;

constexpr const char* kCpu = "cpu_s_per_gb";

std::optional<int64_t> ValueOf(const GroupResult& group, const std::string& name) {
  for (const Parameter& parameter : group.parameters) {
    if (parameter.name == name) return parameter.value;
  }
  return std::nullopt;
}

const std::vector<double>* CpuOf(const GroupResult& group, const std::string& path) {
  for (const PathResult& each : group.paths) {
    if (each.path != path) continue;
    const auto found = each.rounds.find(kCpu);
    return found == each.rounds.end() || found->second.empty() ? nullptr : &found->second;
  }
  return nullptr;
}

using BySize = std::map<int64_t, std::vector<const GroupResult*>>;

BySize GroupsOf(const LabResult& result, const std::string& family,
                std::optional<int64_t> residency) {
  BySize groups;
  for (const GroupResult& group : result.groups) {
    const std::optional<int64_t> size = ValueOf(group, "size");
    if (group.family != family || !size.has_value() || *size <= 0) continue;
    if (residency.has_value() && ValueOf(group, "residency") != residency) continue;
    groups[*size].push_back(&group);
  }
  return groups;
}

// Whether `path` was measured in all groups and is cheaper than `base` in each beyond the spread.
bool Cheaper(const std::vector<const GroupResult*>& groups, const std::string& path,
             const std::string& base) {
  return std::all_of(groups.begin(), groups.end(), [&](const GroupResult* group) {
    const std::vector<double>* mine = CpuOf(*group, path);
    const std::vector<double>* its = CpuOf(*group, base);
    return mine != nullptr && its != nullptr && DifferenceOf(*mine, *its) == Difference::kLower;
  });
}

// The mean over the groups, in logarithms so that none outweighs the others.
double CostOf(const std::vector<const GroupResult*>& groups, const std::string& path) {
  double sum = 0;
  for (const GroupResult* group : groups) {
    const std::vector<double>* cpu = CpuOf(*group, path);
    if (cpu == nullptr) return std::numeric_limits<double>::infinity();
    sum += std::log(std::max(MiddleOf(*cpu).median, 1e-9));
  }
  return sum / static_cast<double>(groups.size());
}

std::string NameOf(SendPath path) {
  const auto name = io::SendPathName(path);
  return SenderName({name.data(), name.size()});
}

// Of `candidates` the cheapest; `standard` unless that is cheaper than it everywhere.
SendPath BestPath(const std::vector<const GroupResult*>& groups,
                  const std::vector<SendPath>& candidates, SendPath standard) {
  SendPath best = standard;
  double least = std::numeric_limits<double>::infinity();
  for (const SendPath path : candidates) {
    const double cost = CostOf(groups, NameOf(path));
    if (cost >= least) continue;
    least = cost;
    best = path;
  }
  return Cheaper(groups, NameOf(best), NameOf(standard)) ? best : standard;
}

// Of both, a power of two where one lies between them.
int64_t Between(int64_t smaller, int64_t larger) {
  const double mean = std::sqrt(static_cast<double>(smaller) * static_cast<double>(larger));
  const auto power = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(mean)));
  return power >= smaller ? power : static_cast<int64_t>(mean);
}

bool Measured(const std::vector<const GroupResult*>& groups, const std::string& path) {
  return std::any_of(groups.begin(), groups.end(),
                     [&](const GroupResult* group) { return CpuOf(*group, path) != nullptr; });
}

void ChooseHot(const LabResult& result, Rule* rule) {
  const SendRule standard;
  std::vector<SendRule::Step> steps;
  int64_t before = 0;
  for (const auto& [size, groups] : GroupsOf(result, "send", 0)) {
    const SendPath usual = standard.Choose(size, true);
    if (!Measured(groups, NameOf(usual))) continue;
    const SendPath path = BestPath(groups,
                                   {SendPath::kCopy, SendPath::kSendfile, SendPath::kMapped,
                                    SendPath::kSendZeroCopy, SendPath::kSplice},
                                   usual);
    const auto name = io::SendPathName(path);
    rule->send_reasons.push_back(absl::StrCat(
        "hot ranges of ", perf::SizeName(size), " by ", name, ": ",
        path == usual ? "nothing is cheaper beyond the spread"
                      : absl::StrCat("less CPU for a byte than by ", io::SendPathName(usual))));
    if (!steps.empty() && steps.back().path != path) steps.back().bytes_max = Between(before, size);
    if (steps.empty() || steps.back().path != path) steps.push_back({.path = path});
    before = size;
    if (steps.size() == SendRule::kStepsMax) break;
  }
  if (steps.empty()) {
    rule->send_reasons.push_back("hot ranges keep the default: they were not measured");
    return;
  }
  // Below the smallest size that was measured, the default holds.
  const SendRule::Step& first = standard.hot.front();
  const int64_t smallest = GroupsOf(result, "send", 0).begin()->first;
  if (smallest > first.bytes_max && steps.front().path != first.path &&
      steps.size() < SendRule::kStepsMax) {
    steps.insert(steps.begin(), first);
  }
  rule->send.hot = std::move(steps);
}

void ChooseInline(const LabResult& result, Rule* rule) {
  int64_t before = 0;
  bool measured = false;
  for (const auto& [size, groups] : GroupsOf(result, "write", std::nullopt)) {
    if (!Measured(groups, kAppendInline) || !Measured(groups, kAppendRing)) continue;
    measured = true;
    if (Cheaper(groups, kAppendRing, kAppendInline)) {
      rule->inline_write_bytes_max = before == 0 ? 0 : Between(before, size);
      rule->write_reasons.push_back(absl::StrCat("writes through the ring from ",
                                                 perf::SizeName(size),
                                                 " on: less CPU for a byte than inline"));
      return;
    }
    before = size;
  }
  rule->write_reasons.push_back(
      measured
          ? absl::StrCat("writes inline: the ring is not cheaper up to ", perf::SizeName(before))
          : std::string("writes keep the default: they were not measured"));
}

}  // namespace

Rule RuleOf(const LabResult& result) {
  Rule rule;
  rule.inline_write_bytes_max = log::LogOptions().inline_bytes_max;
  ChooseHot(result, &rule);
  // Other paths may take less CPU, but leave behind them what others would have to read again.
  rule.send_reasons.push_back("cold ranges by copy, the one path that reads around the page cache");
  ChooseInline(result, &rule);
  return rule;
}

std::vector<Flag> FlagsOf(const Rule& rule) {
  std::vector<Flag> flags;
  if (!(rule.send == io::SendRule())) {
    flags.push_back(
        {"--send_rule=" + io::ToText(rule.send), absl::StrJoin(rule.send_reasons, "; ")});
  }
  if (rule.inline_write_bytes_max != log::LogOptions().inline_bytes_max) {
    flags.push_back({absl::StrCat("--inline_write_bytes_max=", rule.inline_write_bytes_max),
                     absl::StrJoin(rule.write_reasons, "; ")});
  }
  return flags;
}

}  // namespace ringtail::lab
