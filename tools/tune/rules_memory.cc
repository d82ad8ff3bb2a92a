// Page cache and its write-back, swapping, large pages.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "tools/tune/rule.h"

namespace ringtail::tune {
namespace {

constexpr int64_t kMiB = 1 << 20;
// A core's journal, which bounds what it has dirtied and not synced (--journal_bytes_max).
constexpr int64_t kJournalBytes = 1024 * kMiB;
constexpr int64_t kLatencyBackgroundBytes = 512 * kMiB;

// One of the two pairs of vm.dirty_*: whichever of bytes and ratio is not 0 holds.
struct DirtyLimit {
  std::string bytes_name;
  std::string ratio_name;
  std::string in_force;  // the name of the one that holds
  std::optional<int64_t> bytes;
};

// A group of version 2 has limits of its own, the same part of its memory (cgroup-v2.rst,
// Writeback); one of version 1 has none.
std::optional<int64_t> GroupMemory(const Machine& machine) {
  if (machine.cgroup.version != 2 || !machine.memory_bytes.value) return {};
  const std::optional<int64_t>& group = machine.cgroup.memory_max.value;
  return group && *group < *machine.memory_bytes.value ? group : std::nullopt;
}

DirtyLimit ReadDirty(const Machine& machine, const std::string& pair) {
  DirtyLimit limit{.bytes_name = absl::StrCat(pair, "_bytes"),
                   .ratio_name = absl::StrCat(pair, "_ratio")};
  const auto number = [&machine](const std::string& name) {
    return ParseInt(machine.sysctl(name).value.value_or(""));
  };
  const std::optional<int64_t> bytes = number(limit.bytes_name);
  const std::optional<int64_t> ratio = number(limit.ratio_name);
  limit.in_force = bytes.value_or(0) > 0 ? limit.bytes_name : limit.ratio_name;
  if (bytes.value_or(0) > 0) {
    limit.bytes = bytes;
  } else if (ratio && *ratio >= 0 && *ratio <= 100 && machine.memory_bytes.value) {
    limit.bytes = GroupMemory(machine).value_or(*machine.memory_bytes.value) / 100 * *ratio;
  }
  return limit;
}

Finding AboutDirty(const Machine& machine, const char* id, const char* title,
                   const DirtyLimit& limit) {
  Finding finding = AboutSysctl(machine, id, title, limit.in_force.c_str());
  if (finding.found.empty()) return finding;
  const bool ratio = limit.in_force == limit.ratio_name;
  absl::StrAppend(&finding.found, ratio ? " %" : " bytes");
  if (ratio && limit.bytes) {
    absl::StrAppend(&finding.found, " of available memory, at most ", SizeText(*limit.bytes));
  }
  return finding;
}

bool WantsLessBackground(const DirtyLimit& background, Profile profile) {
  return profile == Profile::kLatency && background.bytes.value_or(0) > kJournalBytes;
}

void DirtyBackground(const Machine& machine, Profile profile, Findings* findings) {
  const DirtyLimit limit = ReadDirty(machine, "vm.dirty_background");
  Finding finding = AboutDirty(machine, "memory.dirty_background", "write-back begins at", limit);
  Because(&finding,
          "Below it, the kernel leaves written pages alone until they are old or the broker syncs "
          "them; what begins late comes in bursts, beside which the journal is written.",
          "Documentation/admin-guide/sysctl/vm.rst (dirty_background_bytes, "
          "dirty_background_ratio)");
  if (WantsLessBackground(limit, profile)) {
    Say(&finding, Verdict::kAdvice, "smaller bursts, begun earlier");
    SetSysctl(&finding, limit.bytes_name, absl::StrCat(kLatencyBackgroundBytes), limit.ratio_name);
  }
  findings->push_back(std::move(finding));
}

// The smallest ratio with which writers run free up to `needed`, or the largest that one would set.
int64_t WantedRatio(Profile profile, int64_t begins, int64_t percent, int64_t needed) {
  const int64_t most = profile == Profile::kThroughput ? 60 : 40;
  int64_t ratio = 30;
  while (ratio < most && (begins + ratio * percent) / 2 < needed) ratio += 10;
  return ratio;
}

// The kernel makes writers wait from the middle between the two limits on.
void DirtyMaximum(const Machine& machine, Profile profile, Findings* findings) {
  const DirtyLimit limit = ReadDirty(machine, "vm.dirty");
  const DirtyLimit background = ReadDirty(machine, "vm.dirty_background");
  Finding finding = AboutDirty(machine, "memory.dirty", "writers wait at", limit);
  Because(&finding,
          "From the middle between this and where write-back begins, whoever writes to the page "
          "cache is made to sleep: a core thread, for milliseconds, with all its partitions. What "
          "the broker dirties is bounded by its journals, at most 1 GiB a core unless "
          "--journal_bytes_max says otherwise.",
          "Documentation/admin-guide/sysctl/vm.rst (dirty_bytes, dirty_ratio); Linux "
          "mm/page-writeback.c "
          "(dirty_freerun_ceiling)");
  if (limit.bytes && background.bytes && machine.memory_bytes.value) {
    const int64_t begins =
        WantsLessBackground(background, profile) ? kLatencyBackgroundBytes : *background.bytes;
    const int64_t needed = CoreCount(machine) * kJournalBytes;
    const auto free_run = [begins](int64_t maximum) { return (begins + maximum) / 2; };
    finding.note = absl::StrCat("writers run free up to ", SizeText(free_run(*limit.bytes)), ", ",
                                CoreCount(machine), " cores may dirty ", SizeText(needed));
    const int64_t percent = *machine.memory_bytes.value / 100;
    const int64_t wanted = WantedRatio(profile, begins, percent, needed);
    if (free_run(*limit.bytes) >= needed || profile == Profile::kLaptop) {
      // Enough, or nobody waits for it.
    } else if (GroupMemory(machine)) {
      Say(&finding, Verdict::kInfo,
          absl::StrCat(finding.note,
                       "; the group's memory bounds it, --journal_bytes_max what the "
                       "broker dirties"));
    } else if (wanted * percent > *limit.bytes) {
      Say(&finding, Verdict::kAdvice, finding.note);
      SetSysctl(&finding, limit.ratio_name, absl::StrCat(wanted), limit.bytes_name);
    }
  }
  findings->push_back(std::move(finding));
}

void DirtyAge(const Machine& machine, Profile, Findings* findings) {
  Finding finding = AboutSysctl(machine, "memory.dirty_age", "written at the latest after",
                                "vm.dirty_expire_centisecs");
  Because(&finding,
          "The broker syncs segments by itself after 10 s (--journal_sync_age_ms), before the "
          "kernel's usual 30 s are over.",
          "Documentation/admin-guide/sysctl/vm.rst (dirty_expire_centisecs, "
          "dirty_writeback_centisecs)");
  const std::optional<int64_t> centiseconds = ParseInt(finding.found);
  if (centiseconds) finding.found = absl::StrCat(*centiseconds / 100, " s");
  if (machine.sysctl("vm.dirty_writeback_centisecs").value.value_or("") == "0") {
    Say(&finding, Verdict::kAdvice,
        absl::StrCat(SysctlPath("vm.dirty_writeback_centisecs"),
                     " is 0: the kernel never looks. With --durability=page_cache segments stay in "
                     "memory alone"));
    finding.now = {"sysctl -w vm.dirty_writeback_centisecs=500"};
    finding.lasting = {
        "echo 'vm.dirty_writeback_centisecs = 500' >> /etc/sysctl.d/90-ringtail.conf"};
  }
  findings->push_back(std::move(finding));
}

bool IsMemory(const std::string& swap) { return absl::StartsWith(swap, "/dev/zram"); }

void Swappiness(const Machine& machine, Profile profile, Findings* findings) {
  Finding finding = AboutSysctl(machine, "memory.swappiness", "swappiness", "vm.swappiness");
  Because(&finding,
          "The page cache of a log always grows; with a high value the kernel makes room by "
          "swapping out what the broker has not touched for a while, and a core waits for the disk "
          "when it does.",
          "Documentation/admin-guide/sysctl/vm.rst (swappiness)");
  const std::optional<int64_t> value = ParseInt(finding.found);
  const int64_t most = profile == Profile::kLatency ? 1 : 10;
  if (!value || !machine.swaps.value) {
    if (value) finding.note = absl::StrCat("whether there is swap is unknown (/proc/swaps)");
  } else if (machine.swaps.value->empty()) {
    finding.note = "there is no swap (/proc/swaps)";
  } else if (std::all_of(machine.swaps.value->begin(), machine.swaps.value->end(), IsMemory)) {
    finding.note = "swap is compressed memory, not a disk (/proc/swaps)";
  } else if (*value > most && profile != Profile::kLaptop) {
    Say(&finding, Verdict::kAdvice,
        absl::StrCat("swap is on ", absl::StrJoin(*machine.swaps.value, ", ")));
    SetSysctl(&finding, "vm.swappiness", absl::StrCat(most));
  }
  findings->push_back(std::move(finding));
}

void ZoneReclaim(const Machine& machine, Profile, Findings* findings) {
  Finding finding =
      AboutSysctl(machine, "memory.zone_reclaim", "zone reclaim", "vm.zone_reclaim_mode");
  Because(&finding,
          "If set, a node that is full drops page cache instead of using another node's free "
          "memory: the tail that consumers read goes although there is room for it.",
          "Documentation/admin-guide/sysctl/vm.rst (zone_reclaim_mode)");
  if (!finding.found.empty() && finding.found != "0") {
    Say(&finding, Verdict::kAdvice, "off for what lives in the page cache");
    SetSysctl(&finding, "vm.zone_reclaim_mode", "0");
  }
  findings->push_back(std::move(finding));
}

void HugePages(const Machine& machine, Profile profile, Findings* findings) {
  const Fact<std::string>& fact = machine.huge_pages;
  Finding finding = About("memory.huge_pages", "transparent huge pages", fact);
  Because(
      &finding,
      "The broker asks for large pages where they help, for its journals' frames "
      "(MADV_COLLAPSE, which no setting here switches off). \"always\" gives them to "
      "everything: more memory when idle, and each first touch zeroes 2 MiB while a core waits.",
      "Documentation/admin-guide/mm/transhuge.rst; madvise(2) (MADV_COLLAPSE)");
  if (fact.value) {
    finding.found = *fact.value;
    if (Chosen(*fact.value) == "always" && profile == Profile::kLatency) {
      Say(&finding, Verdict::kAdvice, "madvise: those who ask get them");
      SetFile(&finding, fact.source, "madvise");
    }
  }
  findings->push_back(std::move(finding));
}

void HugePagesDefrag(const Machine& machine, Profile profile, Findings* findings) {
  const Fact<std::string>& fact = machine.huge_pages_defrag;
  Finding finding = About("memory.huge_pages_defrag", "compaction for huge pages", fact);
  Because(&finding,
          "With \"always\" a page fault reclaims and compacts memory before it goes on, wherever "
          "large pages are in use.",
          "Documentation/admin-guide/mm/transhuge.rst (defrag)");
  if (fact.value) {
    finding.found = *fact.value;
    if (Chosen(*fact.value) == "always" && profile != Profile::kLaptop) {
      Say(&finding, Verdict::kAdvice, "madvise, the kernel's default");
      SetFile(&finding, fact.source, "madvise");
    }
  }
  findings->push_back(std::move(finding));
}

void Maps(const Machine& machine, Profile, Findings* findings) {
  constexpr int64_t kDefault = 65530;
  Finding finding =
      AboutSysctl(machine, "memory.map_count", "mappings a process may have", "vm.max_map_count");
  Because(&finding,
          "The broker maps no file for long, only what it sends with --send_path=mapped; the "
          "kernel's default is far above what it needs.",
          "Documentation/admin-guide/sysctl/vm.rst (max_map_count)");
  const std::optional<int64_t> value = ParseInt(finding.found);
  if (value && *value < kDefault) {
    Say(&finding, Verdict::kAdvice, "less than the kernel's default");
    SetSysctl(&finding, "vm.max_map_count", absl::StrCat(kDefault));
  }
  findings->push_back(std::move(finding));
}

}  // namespace

std::vector<Rule> MemoryRules() {
  return {&DirtyBackground, &DirtyMaximum, &DirtyAge,        &Swappiness,
          &ZoneReclaim,     &HugePages,    &HugePagesDefrag, &Maps};
}

}  // namespace ringtail::tune
