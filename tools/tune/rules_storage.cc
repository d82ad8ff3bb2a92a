// The file system of the data directory, and the disks below it.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tools/tune/rule.h"

namespace ringtail::tune {
namespace {

bool IsOneOf(const std::string& word, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* each) { return word == each; });
}

// A file of /sys/block/DEVICE/queue; udev(7) sets it whenever the device appears.
void SetQueue(Finding* finding, const std::string& device, const std::string& path,
              const std::string& value) {
  SetFile(finding, path, value);
  finding->lasting = {absl::StrCat("echo 'ACTION==\"add|change\", KERNEL==\"", device,
                                   "\", ATTR{queue/", path.substr(path.rfind('/') + 1), "}=\"",
                                   value, "\"' >> /etc/udev/rules.d/90-ringtail.rules")};
}

void JudgeType(const Machine& machine, const std::string& type, Finding* finding) {
  const StorageFacts& storage = machine.storage;
  if (type == "xfs") return;
  if (type == "ext4") {
    // What /sys/fs/ext4 shows for a file system that was made with -O ^has_journal.
    if (storage.ext4_journal.value.value_or("") == "<none>") {
      Say(finding, Verdict::kWarning,
          "it has no journal of its own: a power cut leaves it to be repaired, and files may be "
          "lost that the broker had made durable");
      finding->now = {absl::StrCat("tune2fs -O has_journal ", storage.mount.value->source,
                                   "  # while it is not mounted")};
      return;
    }
    finding->note =
        "XFS takes buffered writes without a worker thread, but the broker works around";
    return;
  }
  if (IsOneOf(type, {"tmpfs", "ramfs"})) {
    Say(finding, Verdict::kWarning, "memory: nothing survives a restart of the machine");
  } else if (type == "overlay") {
    Say(finding, Verdict::kWarning,
        "a container's layer: slower, and gone with the container; put the directory on a volume");
  } else if (IsOneOf(type, {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "virtiofs"}) ||
             absl::StartsWith(type, "fuse")) {
    Say(finding, Verdict::kWarning,
        "another machine or process stands behind it: what it calls durable is its word, and each "
        "write waits for it");
  } else {
    Say(finding, Verdict::kAdvice,
        "the broker is measured on ext4 and XFS; the journal overwrites in place, which "
        "copy-on-write file systems turn into new blocks");
  }
}

void FileSystem(const Machine& machine, Profile, Findings* findings) {
  const Fact<Mount>& mount = machine.storage.mount;
  Finding finding = About("storage.file_system", "file system", mount);
  Because(&finding,
          "The journal is one direct, flushed overwrite for all partitions of a core, segments are "
          "written through the page cache: both depend on what the file system does at once and "
          "what it hands to a worker thread.",
          "engine/log/JOURNAL.md; perf/README.md; ext4(5); xfs(5)");
  if (mount.value) {
    finding.found = absl::StrCat(mount.value->type, " at ", mount.value->point, " for ",
                                 machine.storage.directory);
    JudgeType(machine, mount.value->type, &finding);
  }
  findings->push_back(std::move(finding));
}

struct BadOption {
  Verdict verdict;
  const char* remount;  // what is right; empty: not while it is mounted
  const char* why;
};

std::vector<BadOption> BadOptions(const Mount& mount) {
  std::vector<BadOption> bad;
  const auto has = [&mount](const char* option) { return HasOption(mount, option); };
  if (has("ro")) bad.push_back({Verdict::kWarning, "rw", "read-only: the broker cannot start"});
  if (has("nobarrier") || OptionValue(mount, "barrier").value_or("") == "0") {
    bad.push_back(
        {Verdict::kWarning, "barrier=1",
         "no flushes are sent to the disk: a power cut loses what was acknowledged, unless "
         "the disk's cache has a battery"});
  }
  if (OptionValue(mount, "data").value_or("") == "journal") {
    bad.push_back(
        {Verdict::kWarning, "",
         "data=journal: each byte is written twice, and there are no direct writes, which "
         "the broker's journal uses"});
  }
  if (has("sync")) bad.push_back({Verdict::kAdvice, "async", "sync: each buffered write waits"});
  // strictatime is what is not named.
  if (!has("relatime") && !has("noatime") && IsOneOf(mount.type, {"ext4", "xfs", "btrfs"})) {
    bad.push_back({Verdict::kAdvice, "noatime",
                   "neither relatime nor noatime: each read of a segment changes its inode"});
  }
  if (has("discard") && IsOneOf(mount.type, {"ext4", "xfs"})) {
    bad.push_back(
        {Verdict::kAdvice, "nodiscard",
         "discard: each segment that retention removes is told to the disk at once, while "
         "journals are written; fstrim does it at a quiet time"});
  }
  return bad;
}

// Each once: those of the mount and of the file system overlap.
std::string OptionsText(const Mount& mount) {
  std::vector<std::string> shown;
  for (const absl::string_view option : absl::StrSplit(mount.options, ',')) {
    if (std::find(shown.begin(), shown.end(), option) == shown.end()) shown.emplace_back(option);
  }
  return absl::StrJoin(shown, ",");
}

void MountOptions(const Machine& machine, Profile profile, Findings* findings) {
  const Fact<Mount>& fact = machine.storage.mount;
  Finding finding = About("storage.mount", "mount options", fact);
  Because(&finding, "Some change what is durable, others add writes to reads and removals.",
          "mount(8); ext4(5); xfs(5); fstrim(8); Documentation/admin-guide/ext4.rst");
  if (fact.value) {
    const Mount& mount = *fact.value;
    finding.found = OptionsText(mount);
    std::vector<std::string> notes, remount;
    for (const BadOption& bad : BadOptions(mount)) {
      if (profile == Profile::kLaptop && bad.verdict != Verdict::kWarning) continue;
      finding.verdict = std::max(finding.verdict, bad.verdict);
      notes.emplace_back(bad.why);
      if (*bad.remount != '\0') remount.emplace_back(bad.remount);
    }
    finding.note = absl::StrJoin(notes, ". ");
    if (!remount.empty()) {
      const std::string options = absl::StrJoin(remount, ",");
      finding.now = {absl::StrCat("mount -o remount,", options, " ", mount.point)};
      if (remount.back() == "nodiscard") finding.lasting = {"systemctl enable --now fstrim.timer"};
      finding.lasting.push_back(absl::StrCat("# in /etc/fstab, ", options, " for ", mount.point));
    }
  }
  findings->push_back(std::move(finding));
}

void Device(const Disk& disk, Finding* finding) {
  if (!disk.rotational.value) return;
  finding->found =
      absl::StrCat(absl::StartsWith(disk.name, "nvme") ? "NVMe, " : "",
                   disk.virtual_disk ? "virtual, " : "", "rotational ", *disk.rotational.value);
  if (*disk.rotational.value == 0) return;
  if (disk.virtual_disk) {
    Say(finding, Verdict::kInfo, "the flag of a virtual disk says little about what is behind it");
  } else {
    Say(finding, Verdict::kAdvice,
        "heads move between journals and segments: some ten milliseconds for each durable append");
  }
}

// "none" unless heads move. A virtual disk's host orders requests itself.
std::string WantedScheduler(const Disk& disk, Profile profile) {
  const std::string now = Chosen(disk.scheduler.value.value_or(""));
  if (profile == Profile::kLaptop) return now;
  const bool moves = disk.rotational.value.value_or(0) != 0 && !disk.virtual_disk;
  if (moves) return now == "none" ? "mq-deadline" : now;
  const bool eager = profile == Profile::kLatency || profile == Profile::kThroughput;
  if (now == "none" || (now == "mq-deadline" && !eager)) return now;
  return "none";
}

void Scheduler(const Disk& disk, Profile profile, Finding* finding) {
  if (!disk.scheduler.value) return;
  finding->found = *disk.scheduler.value;
  const std::string wanted = WantedScheduler(disk, profile);
  const std::vector<std::string> all = Choices(*disk.scheduler.value);
  if (wanted == Chosen(*disk.scheduler.value)) return;
  if (std::find(all.begin(), all.end(), wanted) == all.end()) return;
  Say(finding, Verdict::kAdvice, absl::StrCat(wanted, ": the journal's writes go straight on"));
  SetQueue(finding, disk.name, disk.scheduler.source, wanted);
  std::vector<std::string>& also = finding->changes.back().also;
  also = disk.scheduler_settings;
  for (const auto* fact : {&disk.requests, &disk.throttle_latency_us}) {
    if (fact->value) also.push_back(fact->source);
  }
}

void Requests(const Disk& disk, Finding* finding) {
  constexpr int64_t kRequestsMin = 32;
  if (!disk.requests.value) return;
  finding->found = absl::StrCat(*disk.requests.value);
  if (*disk.requests.value >= kRequestsMin) return;
  Say(finding, Verdict::kAdvice, "so few make journals wait behind the writing of segments");
  SetQueue(finding, disk.name, disk.requests.source, "128");
}

void WriteCache(const Disk& disk, Finding* finding) {
  if (!disk.write_cache.value) return;
  finding->found = *disk.write_cache.value;
  if (disk.fua.value) absl::StrAppend(&finding->found, ", fua ", *disk.fua.value);
  const bool writes_through = *disk.write_cache.value == "write through";
  if (writes_through && disk.device_cache.value.value_or("") == "write back") {
    Say(finding, Verdict::kWarning,
        absl::StrCat("the device says \"write back\" (", disk.device_cache.source,
                     "): somebody has told the kernel not to flush it, and a power cut loses what "
                     "was acknowledged"));
    finding->now = {absl::StrCat("echo 'write back' > ", disk.write_cache.source)};
  } else if (writes_through) {
    finding->note = "nothing volatile to flush: a durable write is a plain one";
  } else if (disk.fua.value.value_or(0) != 0) {
    finding->note = "a durable write is one request";
  } else {
    finding->note =
        "a durable write is a request and a flush; leave it so (\"write through\" would switch off "
        "the flush, not the cache)";
  }
}

void Throttling(const Disk& disk, Finding* finding) {
  if (!disk.throttle_latency_us.value) return;
  const int64_t latency_us = *disk.throttle_latency_us.value;
  finding->found = latency_us == 0 ? "off" : absl::StrCat(latency_us, " us");
  if (latency_us != 0) return;
  Say(finding, Verdict::kInfo,
      absl::StrCat("`echo -1 > ", disk.throttle_latency_us.source, "` sets the default again"));
}

// `judge` fills a finding about `fact` of each disk.
template <typename T, typename Judge>
void ForEachDisk(const Machine& machine, Findings* findings, const char* id, const char* title,
                 const char* why, const char* reference, Fact<T> Disk::* fact, Judge judge) {
  for (const Disk& disk : machine.storage.disks) {
    Finding finding = About(id, absl::StrCat(title, " of ", disk.name), disk.*fact);
    Because(&finding, why, reference);
    judge(disk, &finding);
    findings->push_back(std::move(finding));
  }
}

void Disks(const Machine& machine, Profile profile, Findings* findings) {
  constexpr const char* kSysfsBlock = "Documentation/ABI/stable/sysfs-block";
  if (machine.storage.disks.empty()) {
    Finding finding{.id = "storage.disk", .title = "disk", .source = "/sys/dev/block"};
    Say(&finding, Verdict::kUnknown,
        "the file system is not on a block device that /sys shows, so nothing is said about "
        "scheduler, read-ahead and write cache");
    Because(&finding, "The disk decides what a durable append costs.", kSysfsBlock);
    findings->push_back(std::move(finding));
    return;
  }
  ForEachDisk(machine, findings, "storage.disk", "kind",
              "Journals and segments are written at the same time, in different places.",
              "Documentation/ABI/stable/sysfs-block (rotational)", &Disk::rotational, &Device);
  ForEachDisk(machine, findings, "storage.scheduler", "scheduler",
              "With a scheduler each request goes through a queue that CPUs share; without, from a "
              "CPU's own queue straight to the disk's.",
              "Documentation/block/blk-mq.rst, switching-sched.rst", &Disk::scheduler,
              [profile](const Disk& disk, Finding* finding) { Scheduler(disk, profile, finding); });
  ForEachDisk(machine, findings, "storage.requests", "nr_requests",
              "How many requests may wait for the disk; whoever comes then sleeps.",
              "Documentation/ABI/stable/sysfs-block (nr_requests)", &Disk::requests, &Requests);
  ForEachDisk(machine, findings, "storage.write_cache", "write cache",
              "What the disk holds in volatile memory must be flushed before an append is "
              "acknowledged; FUA spares the flush.",
              "Documentation/block/writeback_cache_control.rst; "
              "Documentation/ABI/stable/sysfs-block (write_cache, fua)",
              &Disk::write_cache, &WriteCache);
  ForEachDisk(machine, findings, "storage.throttling", "write-back throttling",
              "The kernel holds the writing of segments back where it slows other requests, as "
              "those of the journal.",
              "Documentation/ABI/stable/sysfs-block (wbt_lat_usec)", &Disk::throttle_latency_us,
              &Throttling);
}

void ReadAhead(const Machine& machine, Profile profile, Findings* findings) {
  const StorageFacts& storage = machine.storage;
  if (storage.top.empty()) return;
  Finding finding = About("storage.read_ahead", absl::StrCat("read-ahead of ", storage.top),
                          storage.read_ahead_kib);
  Because(
      &finding,
      "A consumer that catches up reads segments from end to end; with less read ahead the disk "
      "is asked more often, and idle in between.",
      "Documentation/ABI/stable/sysfs-block (read_ahead_kb)");
  if (storage.read_ahead_kib.value) {
    constexpr int64_t kDefaultKib = 128;
    constexpr int64_t kStreamingKib = 1024;
    const int64_t kib = *storage.read_ahead_kib.value;
    const int64_t least = profile == Profile::kThroughput ? kStreamingKib : kDefaultKib;
    finding.found = absl::StrCat(kib, " KiB");
    if (kib < least) {
      Say(&finding, Verdict::kAdvice, absl::StrCat("at least ", least, " KiB for this profile"));
      SetQueue(&finding, storage.top, storage.read_ahead_kib.source, absl::StrCat(least));
    }
  }
  findings->push_back(std::move(finding));
}

}  // namespace

std::vector<Rule> StorageRules() { return {&FileSystem, &MountOptions, &Disks, &ReadAhead}; }

}  // namespace ringtail::tune
