// What a recovery starts from: which directory is whose partition, and what the journals have.
#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"
#include "engine/log/journal/journal_checkpoint.h"
#include "engine/log/journal/recovery_run.h"
#include "engine/task/scheduler.h"
#include "engine/task/sync.h"

namespace ringtail::log {
namespace {

task::Task<void> ReadOwner(io::Backend& io, std::string path, absl::StatusOr<base::Uuid>* owner) {
  *owner = co_await ReadPartitionMetadata(io, std::move(path));
}

}  // namespace

// --- The partitions that have a directory.

task::Task<absl::Status> RecoveryRun::FindDirectories() {
  RT_CO_ASSIGN_OR_RETURN(const auto entries, io_.ListDirectory(options_.data_dir));
  std::vector<std::string> names;
  for (const io::DirectoryEntry& entry : entries) {
    if (!entry.is_directory) continue;
    if (absl::EndsWith(entry.name, "-delete")) {
      // Its DROP, or the catalog, was durable before it was named so.
      const std::string path = absl::StrCat(options_.data_dir, "/", entry.name);
      const absl::Status removed =
          co_await io::RemoveDirectoryWithFiles(io_, path, kPartitionMetadataFile);
      if (!removed.ok()) RT_LOG(kWarn, "{}: cannot be removed: {}", path, removed.message());
      continue;
    }
    PartitionDirectory parsed;
    if (ParsePartitionDirectory(entry.name, &parsed)) names.push_back(entry.name);
  }
  std::vector<absl::StatusOr<base::Uuid>> owners(names.size());
  co_await ForEachOnCores(names.size(), [&](io::Backend& io, size_t i) {
    return ReadOwner(io, absl::StrCat(options_.data_dir, "/", names[i]), &owners[i]);
  });
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string path = absl::StrCat(options_.data_dir, "/", names[i]);
    const absl::StatusOr<base::Uuid>& owner = owners[i];
    if (absl::IsNotFound(owner.status())) continue;
    if (!owner.ok()) {
      // Its partition is closed for now, as if the directory were gone. The next start looks again.
      RT_LOG(kError, "{}: it is not known whose partition it is: {}", path,
             owner.status().message());
      absl::StrAppend(&unreadable_, unreadable_.empty() ? "" : ", ", path);
      continue;
    }
    PartitionDirectory parsed;
    ParsePartitionDirectory(names[i], &parsed);
    directories_[{*owner, static_cast<uint32_t>(parsed.partition)}].push_back(path);
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> RecoveryRun::LoadJournals() {
  const auto cores = io_.ListDirectory(JournalDirectory(options_.data_dir));
  if (!cores.ok()) co_return cores.status();
  for (const io::DirectoryEntry& entry : *cores) {
    uint32_t core = 0;
    if (!entry.is_directory || !ParseJournalCoreDirectory(entry.name, &core)) continue;
    RT_CO_ASSIGN_OR_RETURN(
        auto files, co_await ListJournalFiles(io_, JournalCoreDirectory(options_.data_dir, core),
                                              manifest_.dir_id));
    for (JournalFileFound& file : files) {
      if (options_.progress != nullptr && file.run == manifest_.run && !clean_) {
        options_.progress->bytes_total += static_cast<uint64_t>(file.bytes);
      }
      all_files_.push_back(std::move(file));
    }
  }
  for (uint32_t core = 0; core < manifest_.cores; ++core) {
    journals_.push_back(std::make_unique<OldJournal>());
    journals_.back()->core = core;
    journals_.back()->directory = JournalCoreDirectory(options_.data_dir, core);
  }
  co_await ForEachOnCores(journals_.size(), [this](io::Backend& io, size_t i) {
    return LoadJournal(io, journals_[i].get());
  });
  for (const auto& journal : journals_) {
    RT_CO_RETURN_IF_ERROR(journal->status);
    if (journal->lost.empty()) continue;
    if (!options_.accept_journal_loss) {
      co_return absl::FailedPreconditionError(absl::StrCat(
          journal->lost, ": put journal/ back from a copy of the data directory; ",
          "--accept_journal_loss starts without, and closes the partitions that may have lost ",
          "records"));
    }
    RT_LOG(kError, "{}: given up, as asked: partitions that may have been in it are closed",
           journal->lost);
  }
  co_return absl::OkStatus();
}

task::Task<void> RecoveryRun::LoadJournal(io::Backend& io, OldJournal* journal) {
  journal->status = co_await LoadCheckpoint(io, journal);
  if (!journal->status.ok() || !journal->lost.empty()) co_return;
  for (const CheckpointRecord& record : journal->checkpoint.records) {
    journal->records[{record.topic_id, record.partition}] = record;
  }
  std::vector<JournalFileFound> files;
  const std::string prefix = absl::StrCat(journal->directory, "/");
  for (const JournalFileFound& file : all_files_) {
    if (absl::StartsWith(file.path, prefix)) files.push_back(file);
  }
  uint64_t synced_seq = 0;
  for (const auto& [key, record] : journal->records) {
    // A closed partition's is perhaps of the run in which it was closed.
    if ((record.flags & (kRecordRefused | kRecordPoisoned)) != 0) continue;
    synced_seq = std::max(synced_seq, record.sync_seq);
  }
  const JournalScanOptions scan{.directory = journal->directory,
                                .run = manifest_.run,
                                .core = journal->core,
                                .dir_id = manifest_.dir_id,
                                .read_bytes = options_.read_bytes};
  if (!clean_) {
    const CheckpointHeader& header = journal->checkpoint.header;
    auto scanned = co_await ScanJournal(io, scan, std::move(files), header.tail_file,
                                        header.tail_seq, synced_seq);
    journal->status = scanned.status();
    if (!scanned.ok()) co_return;
    journal->scan = *std::move(scanned);
    if (options_.progress != nullptr) {
      for (const JournalFileFound& file : journal->scan.files) {
        if (file.run == manifest_.run) {
          options_.progress->bytes_read += static_cast<uint64_t>(file.bytes);
        }
      }
    }
  }
  journal->status = co_await LoadHeld(io, journal);
  if (journal->status.ok()) Sort(journal);
}

// The newest valid slot of the run. Without one nothing is known of where the journal begins.
task::Task<absl::Status> RecoveryRun::LoadCheckpoint(io::Backend& io, OldJournal* journal) {
  std::string why;
  for (uint32_t slot = 0; slot < 2; ++slot) {
    auto checkpoint = co_await ReadCheckpointSlot(io, journal->directory, slot);
    if (absl::IsFailedPrecondition(checkpoint.status())) co_return checkpoint.status();
    if (!checkpoint.ok()) {
      absl::StrAppend(&why, why.empty() ? "" : "; ", checkpoint.status().message());
      continue;
    }
    const CheckpointHeader& header = checkpoint->header;
    if (header.dir_id != manifest_.dir_id) {
      co_return absl::FailedPreconditionError(
          absl::StrCat(journal->directory, "/", CheckpointFileName(slot),
                       ": belongs to another data directory; ",
                       "move it away, or put back the journal/ that belongs here"));
    }
    if (header.run != manifest_.run || header.core != journal->core) continue;
    if (journal->slot.has_value() && header.number < journal->checkpoint.header.number) continue;
    journal->slot = slot;
    journal->checkpoint = *std::move(checkpoint);
  }
  if (!journal->slot.has_value()) {
    journal->lost = absl::StrCat(journal->directory, " has no checkpoint of run ", manifest_.run,
                                 why.empty() ? "" : ": ", why);
  }
  co_return absl::OkStatus();
}

// Entries of poisoned and refused partitions, in files that were kept for them.
task::Task<absl::Status> RecoveryRun::LoadHeld(io::Backend& io, OldJournal* journal) {
  std::vector<ScannedEntry> kept;
  for (const HeldFile& held : journal->checkpoint.held) {
    const auto file = std::find_if(all_files_.begin(), all_files_.end(), [&](const auto& each) {
      return each.run == held.run && each.core == held.core && each.number == held.file_number;
    });
    if (file == all_files_.end()) {
      RT_LOG(kError,
             "journal file {} of core {}, run {}, was kept for a closed partition and is "
             "missing",
             held.file_number, held.core, held.run);
      journal->held_lost = absl::StrCat("journal file ", held.file_number, " of core ", held.core,
                                        ", run ", held.run, ", is missing");
      continue;
    }
    const JournalScanOptions scan{.directory = journal->directory,
                                  .run = held.run,
                                  .core = held.core,
                                  .dir_id = manifest_.dir_id,
                                  .read_bytes = options_.read_bytes};
    journal->scan.files.push_back(*file);
    journal->scan.files.back().end_block = held.end_block;
    const auto index = static_cast<uint32_t>(journal->scan.files.size() - 1);
    bool gaps = file->cut_short;
    RT_CO_ASSIGN_OR_RETURN(
        auto entries, co_await ScanHeldFile(io, scan, journal->scan.files.back(), index, &gaps));
    if (gaps) journal->held_lost = absl::StrCat(file->path, " is damaged");
    for (ScannedEntry& each : entries) {
      const auto record = journal->records.find({each.entry.topic_id, each.entry.partition});
      if (record == journal->records.end()) continue;
      if ((record->second.flags & (kRecordPoisoned | kRecordRefused)) == 0) continue;
      kept.push_back(std::move(each));
    }
  }
  std::sort(kept.begin(), kept.end(), [](const ScannedEntry& a, const ScannedEntry& b) {
    return std::tie(a.run, a.seq, a.index) < std::tie(b.run, b.seq, b.index);
  });
  std::vector<ScannedEntry>& all = journal->scan.entries;
  all.insert(all.begin(), std::make_move_iterator(kept.begin()),
             std::make_move_iterator(kept.end()));
  co_return absl::OkStatus();
}

void RecoveryRun::Sort(OldJournal* journal) {
  for (const ScannedEntry& each : journal->scan.entries) {
    const JournalKey key(each.entry.topic_id, each.entry.partition);
    const auto record = journal->records.find(key);
    if (record != journal->records.end() && each.seq <= record->second.sync_seq) continue;
    std::vector<const ScannedEntry*>& entries = journal->entries[key];
    // A held file may still be in the ring, and is then found twice.
    if (!entries.empty() &&
        std::tie(entries.back()->run, entries.back()->seq, entries.back()->index) >=
            std::tie(each.run, each.seq, each.index)) {
      continue;
    }
    entries.push_back(&each);
  }
}

bool RecoveryRun::AnyLost() const {
  return all_lost_ || std::any_of(journals_.begin(), journals_.end(), [](const auto& journal) {
           return !journal->lost.empty() || !journal->scan.lost.empty();
         });
}

std::map<JournalKey, std::vector<RecoveryRun::OldJournal*>> RecoveryRun::Owners() {
  std::map<JournalKey, std::vector<OldJournal*>> owners;
  for (const auto& [key, paths] : directories_) owners[key];
  for (const auto& journal : journals_) {
    for (const auto& [key, record] : journal->records) owners[key].push_back(journal.get());
    for (const auto& [key, entries] : journal->entries) {
      std::vector<OldJournal*>& all = owners[key];
      if (all.empty() || all.back() != journal.get()) all.push_back(journal.get());
    }
  }
  return owners;
}

}  // namespace ringtail::log
