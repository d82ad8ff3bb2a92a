// Parsers of the small formats that /proc and /sys speak. Each takes any bytes: a file may be cut
// off, of a kernel that writes it another way, or a fixture's. What makes no sense has no value;
// no number is believed beyond what Linux can have.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ringtail::tune {

using CpuList = std::vector<int>;  // ascending, each once

inline constexpr int kCpusMax = 8192;  // NR_CPUS of the largest x86-64 configuration

// "0-3,8-11"; nothing for the empty list. No value: not such a list, or a CPU beyond kCpusMax.
std::optional<CpuList> ParseCpuList(absl::string_view text);
std::string FormatCpuList(const CpuList& cpus);
CpuList Intersect(const CpuList& a, const CpuList& b);

// A whole number with blanks around it at most.
std::optional<int64_t> ParseInt(absl::string_view text);

// Runs of blanks become one, those at the ends go: how values are compared and shown.
std::string Squeeze(absl::string_view text);

// "none [mq-deadline] kyber": the one in use, and all of them. A text without brackets is the one.
std::string Chosen(absl::string_view text);
std::vector<std::string> Choices(absl::string_view text);

struct KernelVersion {
  int major = 0;
  int minor = 0;
  friend auto operator<=>(const KernelVersion&, const KernelVersion&) = default;
};
std::optional<KernelVersion> ParseKernelVersion(absl::string_view release);

// A line of /proc/PID/mountinfo, proc(5); octal escapes in paths are undone.
struct Mount {
  std::string device;  // "254:0"
  std::string root;    // the directory of the file system that is mounted here
  std::string point;
  std::string options;  // of the mount and of the file system, with commas
  std::string type;
  std::string source;
};
std::vector<Mount> ParseMountInfo(absl::string_view text);
// The one that `path` lies on: the longest mount point above it, of equal ones the last.
const Mount* MountOf(const std::vector<Mount>& mounts, absl::string_view path);
bool HasOption(const Mount& mount, absl::string_view option);
// "ordered" of "data=ordered"; nothing where it is not given.
std::optional<std::string> OptionValue(const Mount& mount, absl::string_view name);

// A line of /proc/PID/cgroup, cgroups(7): version 2 has no controllers in it.
struct CgroupLine {
  std::vector<std::string> controllers;
  std::string path;
};
std::vector<CgroupLine> ParseCgroup(absl::string_view text);

// A line of /proc/PID/limits; kUnlimited for "unlimited".
struct Limit {
  int64_t soft = 0;
  int64_t hard = 0;
};
inline constexpr int64_t kUnlimited = INT64_MAX;
std::optional<Limit> ParseLimit(absl::string_view limits, absl::string_view name);

// The text behind "Name:" in /proc/PID/status and /proc/meminfo.
std::optional<std::string> ParseField(absl::string_view text, absl::string_view name);

}  // namespace ringtail::tune
