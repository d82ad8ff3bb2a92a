// Limits of the control groups, of both versions. A limit of a group above holds as well, so the
// tightest on the way up counts.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tools/tune/gather.h"

namespace ringtail::tune {
namespace {

constexpr int kLevelsMax = 64;
// Version 1 writes "no limit" as the largest number of whole pages.
constexpr int64_t kNoMemoryLimit = int64_t{1} << 62;

struct Groups {
  int version = 0;
  std::vector<std::string> levels;  // directories, from the group itself up to the mount
  std::string unknown;
};

bool Has(const std::vector<std::string>& words, absl::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// In a container without a namespace of its own the process sees the host's path of its group, and
// the mount shows that group as its root; with one, both are "/".
std::vector<std::string> Levels(const Mount& mount, absl::string_view path) {
  absl::string_view below = path;
  if (mount.root != "/" && !absl::ConsumePrefix(&below, mount.root)) below = "/";
  std::string directory = absl::StrCat(mount.point, absl::StripSuffix(below, "/"));
  std::vector<std::string> levels;
  while (directory.size() >= mount.point.size() && levels.size() < kLevelsMax) {
    levels.push_back(directory);
    directory = directory.substr(0, directory.rfind('/'));
  }
  return levels;
}

class Reader {
 public:
  Reader(const Tree& tree, const std::string& subject) : tree_(tree) {
    const std::string path = absl::StrCat(subject, "/cgroup");
    const absl::StatusOr<std::string> lines = tree.Read(path);
    if (!lines.ok()) unknown_ = absl::StrCat(path, ": ", lines.status().message());
    lines_ = ParseCgroup(lines.ok() ? *lines : "");
    const absl::StatusOr<std::string> mounts = tree.Read("/proc/self/mountinfo");
    if (!mounts.ok()) unknown_ = absl::StrCat("/proc/self/mountinfo: ", mounts.status().message());
    mounts_ = ParseMountInfo(mounts.ok() ? *mounts : "");
  }

  Groups Find(absl::string_view controller) const {
    for (const CgroupLine& line : lines_) {
      const bool first = Has(line.controllers, controller);
      if (!first && !line.controllers.empty()) continue;
      for (const Mount& mount : mounts_) {
        if (first ? mount.type != "cgroup" || !HasOption(mount, controller)
                  : mount.type != "cgroup2") {
          continue;
        }
        Groups groups{.version = first ? 1 : 2, .levels = Levels(mount, line.path)};
        if (!tree_.Exists(groups.levels.front())) {
          groups.unknown = absl::StrCat("the group ", line.path, " is not seen at ", mount.point);
        }
        return groups;
      }
    }
    return {.unknown = unknown_.empty() ? absl::StrCat("no mount has the controller ", controller)
                                        : unknown_};
  }

  const Tree& tree() const { return tree_; }

 private:
  const Tree& tree_;
  std::vector<CgroupLine> lines_;
  std::vector<Mount> mounts_;
  std::string unknown_;
};

// The smallest number that `file` has on the way up.
Fact<int64_t> SmallestOf(const Reader& reader, const Groups& groups, const std::string& file) {
  Fact<int64_t> fact{.unknown = groups.unknown};
  if (!groups.levels.empty()) fact.source = absl::StrCat(groups.levels.front(), "/", file);
  for (const std::string& level : groups.levels) {
    const Fact<int64_t> here = ReadInt(reader.tree(), absl::StrCat(level, "/", file));
    if (!here.value || *here.value < 0 || *here.value >= kNoMemoryLimit) continue;
    if (!fact.value || *here.value < *fact.value) {
      fact = {.value = here.value, .source = here.source};
    }
  }
  return fact;
}

// CPUs' worth of time: quota by period.
std::optional<double> QuotaOf(const Tree& tree, const Groups& groups, const std::string& level) {
  double quota = 0, period = 0;
  std::vector<std::string> words;
  if (groups.version == 2) {
    words = absl::StrSplit(ReadText(tree, absl::StrCat(level, "/cpu.max")).value.value_or(""), ' ');
  } else {
    words = {ReadText(tree, absl::StrCat(level, "/cpu.cfs_quota_us")).value.value_or(""),
             ReadText(tree, absl::StrCat(level, "/cpu.cfs_period_us")).value.value_or("")};
  }
  if (words.size() != 2 || !absl::SimpleAtod(words[0], &quota) ||
      !absl::SimpleAtod(words[1], &period) || !(quota > 0) || !(period > 0) || quota > 1e15) {
    return {};
  }
  return quota / period;
}

void GatherCpuTime(const Reader& reader, CgroupFacts* facts) {
  const Groups groups = reader.Find("cpu");
  facts->version = std::max(facts->version, groups.version);
  facts->cpus.unknown = facts->throttled.unknown = groups.unknown;
  const std::string file = groups.version == 1 ? "/cpu.cfs_quota_us" : "/cpu.max";
  if (!groups.levels.empty()) facts->cpus.source = absl::StrCat(groups.levels.front(), file);
  for (const std::string& level : groups.levels) {
    const std::optional<double> cpus = QuotaOf(reader.tree(), groups, level);
    if (!cpus || (facts->cpus.value && *cpus >= *facts->cpus.value)) continue;
    facts->cpus = {.value = cpus, .source = absl::StrCat(level, file)};
    facts->throttled.source = absl::StrCat(level, "/cpu.stat");
    const absl::StatusOr<std::string> stat = reader.tree().Read(facts->throttled.source);
    facts->throttled.value.reset();
    for (absl::string_view line : absl::StrSplit(stat.ok() ? *stat : "", '\n')) {
      if (absl::ConsumePrefix(&line, "nr_throttled ")) facts->throttled.value = ParseInt(line);
    }
  }
}

void GatherIo(const Reader& reader, CgroupFacts* facts) {
  Groups groups = reader.Find("blkio");
  if (groups.version != 1) groups = reader.Find("io");
  facts->io_max.unknown = groups.unknown;
  const std::vector<std::string> files =
      groups.version == 1 ? std::vector<std::string>{"blkio.throttle.read_bps_device",
                                                     "blkio.throttle.write_bps_device",
                                                     "blkio.throttle.read_iops_device",
                                                     "blkio.throttle.write_iops_device"}
                          : std::vector<std::string>{"io.max"};
  if (!groups.levels.empty()) {
    facts->io_max.source = absl::StrCat(groups.levels.front(), "/", files.back());
  }
  for (const std::string& level : groups.levels) {
    for (const std::string& file : files) {
      const Fact<std::string> text = ReadText(reader.tree(), absl::StrCat(level, "/", file));
      if (text.value && !text.value->empty() && !facts->io_max.value) facts->io_max = text;
    }
  }
}

}  // namespace

void GatherCgroup(const Tree& tree, Machine* machine) {
  CgroupFacts& facts = machine->cgroup;
  const Reader reader(tree, machine->subject);
  GatherCpuTime(reader, &facts);

  const Groups memory = reader.Find("memory");
  if (memory.version == 1) facts.version = 1;
  facts.memory_max =
      SmallestOf(reader, memory, memory.version == 1 ? "memory.limit_in_bytes" : "memory.max");
  facts.memory_high.source = absl::StrCat(machine->subject, "/cgroup");
  facts.memory_high.unknown = memory.version == 1 ? "version 1 has no such limit" : memory.unknown;
  if (memory.version == 2) facts.memory_high = SmallestOf(reader, memory, "memory.high");

  const Groups cpuset = reader.Find("cpuset");
  if (cpuset.version == 1) facts.version = 1;
  facts.cpuset.unknown = cpuset.unknown;
  // A group that was not given the controller has no such file, and is bound by the one above.
  const char* file = cpuset.version == 1 ? "/cpuset.effective_cpus" : "/cpuset.cpus.effective";
  for (const std::string& level : cpuset.levels) {
    if (!facts.cpuset.value) facts.cpuset = ReadText(tree, absl::StrCat(level, file));
  }
  GatherIo(reader, &facts);
}

}  // namespace ringtail::tune
