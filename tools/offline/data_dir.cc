#include "tools/offline/data_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <tuple>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"
#include "engine/log/journal/journal_checkpoint.h"
#include "engine/log/journal/journal_manifest.h"

namespace ringtail::offline {
namespace {

constexpr uint32_t kClosedFlags = log::kRecordPoisoned | log::kRecordRefused;

using Key = log::JournalKey;

Key KeyOf(const log::EntryHeader& entry) { return {entry.topic_id, entry.partition}; }
Key KeyOf(const log::CheckpointRecord& record) { return {record.topic_id, record.partition}; }

absl::Status ReadFiles(BlockingBackend& io, const log::Manifest& manifest, CoreState* core) {
  auto files = RunBlocking(io, log::ListJournalFiles(io, core->directory, manifest.dir_id));
  if (!files.ok()) return files.status();
  core->files = *std::move(files);
  return absl::OkStatus();
}

// As recovery chooses: the newest of the two that is whole and of the MANIFEST's run.
void ReadSlots(BlockingBackend& io, const log::Manifest& manifest, CoreState* core) {
  for (uint32_t slot = 0; slot < 2; ++slot) {
    core->slots[slot] = RunBlocking(io, log::ReadCheckpointSlot(io, core->directory, slot));
    const auto& read = core->slots[slot];
    if (!read.ok() || read->header.dir_id != manifest.dir_id || read->header.run != manifest.run ||
        read->header.core != core->core) {
      continue;
    }
    if (core->newest && core->checkpoint().header.number > read->header.number) continue;
    core->newest = slot;
  }
}

log::JournalScanOptions ScanOptions(const CoreState& core, const base::Uuid& dir_id, uint32_t run,
                                    uint32_t of_core) {
  log::JournalScanOptions options;
  options.directory = core.directory;
  options.run = run;
  options.core = of_core;
  options.dir_id = dir_id;
  return options;
}

absl::Status ScanRing(BlockingBackend& io, const log::Manifest& manifest, CoreState* core) {
  if (!core->newest || manifest.state == log::ManifestState::kClean) return absl::OkStatus();
  const log::Checkpoint& checkpoint = core->checkpoint();
  uint64_t synced_seq = 0;
  for (const log::CheckpointRecord& record : checkpoint.records) {
    if ((record.flags & log::kRecordRefused) == 0) {
      synced_seq = std::max(synced_seq, record.sync_seq);
    }
  }
  auto scan = RunBlocking(
      io, log::ScanJournal(io, ScanOptions(*core, manifest.dir_id, manifest.run, core->core),
                           core->files, checkpoint.header.tail_file, checkpoint.header.tail_seq,
                           synced_seq));
  if (!scan.ok()) return scan.status();
  core->scan = *std::move(scan);
  return absl::OkStatus();
}

// Entries of closed partitions, from files of earlier runs that were kept for them.
void ScanHeld(BlockingBackend& io, const log::Manifest& manifest,
              const std::vector<log::JournalFileFound>& all, CoreState* core) {
  if (!core->newest) return;
  std::map<Key, uint32_t> flags;
  for (const auto& record : core->checkpoint().records) flags[KeyOf(record)] = record.flags;
  for (const log::HeldFile& held : core->checkpoint().held) {
    const auto file = std::find_if(all.begin(), all.end(), [&](const auto& each) {
      return each.run == held.run && each.core == held.core && each.number == held.file_number;
    });
    if (file == all.end()) continue;
    core->scan.files.push_back(*file);
    core->scan.files.back().end_block = held.end_block;
    bool gaps = false;
    auto entries = RunBlocking(
        io, log::ScanHeldFile(io, ScanOptions(*core, manifest.dir_id, held.run, held.core),
                              core->scan.files.back(),
                              static_cast<uint32_t>(core->scan.files.size() - 1), &gaps));
    if (!entries.ok()) continue;
    for (log::ScannedEntry& each : *entries) {
      const auto found = flags.find(KeyOf(each.entry));
      if (found == flags.end() || (found->second & kClosedFlags) == 0) continue;
      core->scan.entries.push_back(std::move(each));
    }
  }
  const auto order = [](const log::ScannedEntry& each) {
    return std::tie(each.run, each.seq, each.index);
  };
  std::sort(core->scan.entries.begin(), core->scan.entries.end(),
            [&](const auto& a, const auto& b) { return order(a) < order(b); });
  core->scan.entries.erase(
      std::unique(core->scan.entries.begin(), core->scan.entries.end(),
                  [&](const auto& a, const auto& b) { return order(a) == order(b); }),
      core->scan.entries.end());
}

void ReadJournals(BlockingBackend& io, DataDir* dir) {
  const log::Manifest& manifest = *dir->manifest;
  std::vector<log::JournalFileFound> all;
  for (uint32_t number = 0; number < manifest.cores; ++number) {
    auto core = std::make_unique<CoreState>();
    core->core = number;
    core->directory = log::JournalCoreDirectory(dir->path, number);
    ReadSlots(io, manifest, core.get());
    core->status = ReadFiles(io, manifest, core.get());
    if (!core->status.ok()) {
      dir->refusals.push_back(std::string(core->status.message()));
    } else if (!core->newest) {
      dir->refusals.push_back(
          absl::StrCat(core->directory, " has no whole checkpoint of run ", manifest.run));
    }
    all.insert(all.end(), core->files.begin(), core->files.end());
    dir->cores.push_back(std::move(core));
  }
  for (const auto& core : dir->cores) {
    if (!core->status.ok()) continue;
    core->status = ScanRing(io, manifest, core.get());
    if (!core->status.ok()) dir->refusals.push_back(std::string(core->status.message()));
    ScanHeld(io, manifest, all, core.get());
  }
}

absl::Status ReadPartitions(BlockingBackend& io, DataDir* dir) {
  RT_ASSIGN_OR_RETURN(auto entries, io.ListDirectory(dir->path));
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  std::map<Key, std::vector<std::string>> names;
  for (const io::DirectoryEntry& entry : entries) {
    log::PartitionDirectory parsed;
    if (!entry.is_directory || !log::ParsePartitionDirectory(entry.name, &parsed)) continue;
    PartitionFacts facts;
    facts.name = entry.name;
    facts.directory = absl::StrCat(dir->path, "/", entry.name);
    facts.topic_id = RunBlocking(io, log::ReadPartitionMetadata(io, facts.directory));
    facts.partition = static_cast<uint32_t>(parsed.partition);
    if (facts.topic_id.ok()) names[{*facts.topic_id, facts.partition}].push_back(entry.name);
    dir->partitions.push_back(std::move(facts));
  }
  for (PartitionFacts& facts : dir->partitions) {
    if (!facts.topic_id.ok()) continue;
    for (const std::string& other : names[{*facts.topic_id, facts.partition}]) {
      if (other != facts.name) facts.same_id.push_back(other);
    }
  }
  return absl::OkStatus();
}

// What each core's journal has of each partition, those without a directory included.
void Connect(DataDir* dir) {
  std::map<Key, std::vector<PartitionFacts*>> known;
  std::map<Key, PartitionFacts> missing;
  for (PartitionFacts& facts : dir->partitions) {
    if (facts.topic_id.ok()) known[{*facts.topic_id, facts.partition}].push_back(&facts);
  }
  const auto each_of = [&](const Key& key, const CoreState& core,
                           const std::function<void(PartitionFacts*)>& work) {
    std::vector<PartitionFacts*>& all = known[key];
    if (all.empty()) {
      PartitionFacts& facts = missing[key];
      facts.name = absl::StrCat("topic id ", key.first.ToString(), ", partition ", key.second);
      facts.topic_id = key.first;
      facts.partition = key.second;
      all.push_back(&facts);
    }
    for (PartitionFacts* facts : all) {
      if (facts->core != &core) ++facts->cores;
      facts->core = &core;
      work(facts);
    }
  };
  for (const auto& core : dir->cores) {
    if (!core->newest) continue;
    for (const auto& record : core->checkpoint().records) {
      each_of(KeyOf(record), *core, [&](PartitionFacts* facts) { facts->record = record; });
    }
    for (const log::ScannedEntry& entry : core->scan.entries) {
      each_of(KeyOf(entry.entry), *core, [&](PartitionFacts* facts) {
        if (facts->record && entry.seq <= facts->record->sync_seq) return;
        facts->entries.push_back(&entry);
      });
    }
  }
  for (auto& [key, facts] : missing) {
    // Dropped, and the checkpoint does not know yet.
    const bool dropped = std::any_of(facts.entries.begin(), facts.entries.end(), [](auto* each) {
      return each->entry.type == static_cast<uint8_t>(log::EntryType::kDrop);
    });
    if (!dropped) dir->partitions.push_back(std::move(facts));
  }
}

}  // namespace

absl::StatusOr<DirectoryLock> DirectoryLock::Take(const std::string& data_dir, bool exclusive) {
  const std::string path = absl::StrCat(data_dir, "/.lock");
  const int fd = open(path.c_str(), O_CLOEXEC | (exclusive ? O_RDWR | O_CREAT : O_RDONLY), 0640);
  // Without the file no broker has ever run here.
  if (fd < 0 && errno == ENOENT && !exclusive) return DirectoryLock(-1);
  if (fd < 0) return io::ErrnoStatus(errno, "open", path);
  DirectoryLock lock(fd);
  if (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return lock;
  char holder[32] = {};
  const ssize_t got = pread(fd, holder, sizeof(holder) - 1, 0);
  return absl::FailedPreconditionError(
      absl::StrCat(data_dir, " is in use by process ",
                   got > 0 ? absl::StripAsciiWhitespace(holder) : "unknown", "; stop it first"));
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<DataDir> ReadDataDir(BlockingBackend& io, const std::string& path) {
  DataDir dir;
  dir.path = path;
  RT_ASSIGN_OR_RETURN(const io::FileInfo info, io.StatPath(path));
  if (!info.is_directory) return absl::InvalidArgumentError(path + " is not a directory");
  dir.manifest = RunBlocking(io, log::ReadManifest(io, path));
  if (dir.manifest.ok()) {
    ReadJournals(io, &dir);
  } else if (!absl::IsNotFound(dir.manifest.status())) {
    dir.refusals.push_back(std::string(dir.manifest.status().message()));
  } else if (io.StatPath(log::JournalCoreDirectory(path, 0)).ok()) {
    dir.refusals.push_back(absl::StrCat(log::JournalManifestPath(path), " is missing"));
  }
  RT_RETURN_IF_ERROR(ReadPartitions(io, &dir));
  Connect(&dir);
  return dir;
}

}  // namespace ringtail::offline
