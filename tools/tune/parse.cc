#include "tools/tune/parse.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace ringtail::tune {
namespace {

// SimpleAtoi takes signs and blanks, which the kernel does not write inside a list.
std::optional<int> ParseCpu(absl::string_view text) {
  int cpu = 0;
  if (text.empty() || !std::all_of(text.begin(), text.end(), absl::ascii_isdigit)) return {};
  if (!absl::SimpleAtoi(text, &cpu) || cpu >= kCpusMax) return {};
  return cpu;
}

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

// "\040" for a blank, as in "/mnt/my\040disk".
std::string Unescape(absl::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && IsOctal(text[i + 1]) && IsOctal(text[i + 2]) &&
        IsOctal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool IsAbove(absl::string_view point, absl::string_view path) {
  if (point == "/") return absl::StartsWith(path, "/");
  return absl::StartsWith(path, point) &&
         (path.size() == point.size() || path[point.size()] == '/');
}

std::optional<int64_t> ParseLimitValue(absl::string_view text) {
  if (text == "unlimited") return kUnlimited;
  return ParseInt(text);
}

}  // namespace

std::optional<CpuList> ParseCpuList(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  std::set<int> cpus;
  if (text.empty()) return CpuList();
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<absl::string_view> ends = absl::StrSplit(part, '-');
    const std::optional<int> first = ParseCpu(ends.front());
    const std::optional<int> last = ParseCpu(ends.back());
    if (ends.size() > 2 || !first || !last || *last < *first) return {};
    for (int cpu = *first; cpu <= *last; ++cpu) cpus.insert(cpu);
  }
  return CpuList(cpus.begin(), cpus.end());
}

std::string FormatCpuList(const CpuList& cpus) {
  std::vector<std::string> runs;
  for (size_t first = 0; first < cpus.size();) {
    size_t last = first;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
    runs.push_back(first == last ? absl::StrCat(cpus[first])
                                 : absl::StrCat(cpus[first], "-", cpus[last]));
    first = last + 1;
  }
  return absl::StrJoin(runs, ",");
}

CpuList Intersect(const CpuList& a, const CpuList& b) {
  CpuList both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return both;
}

std::optional<int64_t> ParseInt(absl::string_view text) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number)) return {};
  return number;
}

std::string Squeeze(absl::string_view text) {
  return absl::StrJoin(absl::StrSplit(text, absl::ByAnyChar(" \t\n\r\v\f"), absl::SkipEmpty()),
                       " ");
}

std::string Chosen(absl::string_view text) {
  const size_t open = text.find('[');
  const size_t close = text.find(']', open == absl::string_view::npos ? 0 : open);
  if (open == absl::string_view::npos || close == absl::string_view::npos) return Squeeze(text);
  return std::string(text.substr(open + 1, close - open - 1));
}

std::vector<std::string> Choices(absl::string_view text) {
  std::vector<std::string> all;
  for (absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" \t\n"), absl::SkipEmpty())) {
    absl::ConsumePrefix(&word, "[");
    absl::ConsumeSuffix(&word, "]");
    all.emplace_back(word);
  }
  return all;
}

std::optional<KernelVersion> ParseKernelVersion(absl::string_view release) {
  const std::vector<absl::string_view> parts =
      absl::StrSplit(release, absl::ByAnyChar(".-+ \n"), absl::SkipEmpty());
  KernelVersion version;
  if (parts.size() < 2 || !absl::SimpleAtoi(parts[0], &version.major) ||
      !absl::SimpleAtoi(parts[1], &version.minor) || version.major < 0 || version.minor < 0) {
    return {};
  }
  return version;
}

std::vector<Mount> ParseMountInfo(absl::string_view text) {
  std::vector<Mount> mounts;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> halves = absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (halves.size() != 2) continue;
    const std::vector<absl::string_view> left = absl::StrSplit(halves[0], ' ');
    const std::vector<absl::string_view> right = absl::StrSplit(halves[1], ' ');
    if (left.size() < 6 || right.size() < 3) continue;
    mounts.push_back({.device = std::string(left[2]),
                      .root = Unescape(left[3]),
                      .point = Unescape(left[4]),
                      .options = absl::StrCat(left[5], ",", right[2]),
                      .type = std::string(right[0]),
                      .source = Unescape(right[1])});
  }
  return mounts;
}

const Mount* MountOf(const std::vector<Mount>& mounts, absl::string_view path) {
  const Mount* best = nullptr;
  for (const Mount& mount : mounts) {
    if (!IsAbove(mount.point, path)) continue;
    if (best == nullptr || mount.point.size() >= best->point.size()) best = &mount;
  }
  return best;
}

bool HasOption(const Mount& mount, absl::string_view option) {
  const std::vector<absl::string_view> all = absl::StrSplit(mount.options, ',');
  return std::find(all.begin(), all.end(), option) != all.end();
}

std::optional<std::string> OptionValue(const Mount& mount, absl::string_view name) {
  for (absl::string_view option : absl::StrSplit(mount.options, ',')) {
    if (absl::ConsumePrefix(&option, name) && absl::ConsumePrefix(&option, "=")) {
      return std::string(option);
    }
  }
  return {};
}

std::vector<CgroupLine> ParseCgroup(absl::string_view text) {
  std::vector<CgroupLine> lines;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3 || !absl::StartsWith(parts[2], "/")) continue;
    lines.push_back({.controllers = absl::StrSplit(parts[1], ',', absl::SkipEmpty()),
                     .path = std::string(parts[2])});
  }
  return lines;
}

std::optional<Limit> ParseLimit(absl::string_view limits, absl::string_view name) {
  for (absl::string_view line : absl::StrSplit(limits, '\n')) {
    if (!absl::ConsumePrefix(&line, name)) continue;
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.size() < 2) return {};
    const std::optional<int64_t> soft = ParseLimitValue(words[0]);
    const std::optional<int64_t> hard = ParseLimitValue(words[1]);
    if (!soft || !hard) return {};
    return Limit{*soft, *hard};
  }
  return {};
}

std::optional<std::string> ParseField(absl::string_view text, absl::string_view name) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::ConsumePrefix(&line, name) && absl::ConsumePrefix(&line, ":")) return Squeeze(line);
  }
  return {};
}

}  // namespace ringtail::tune
