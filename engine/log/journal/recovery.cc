#include "engine/log/journal/recovery.h"

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
#include "engine/log/journal/journal_manifest.h"
#include "engine/log/journal/mutants.h"
#include "engine/log/journal/recovery_run.h"
#include "engine/task/scheduler.h"
#include "engine/task/sync.h"

namespace ringtail::log {
namespace {

constexpr size_t kDirectoriesAtOnce = 32;
constexpr size_t kPartitionsAtOnce = 32;

// A directory without a MANIFEST is new, or Kafka's; one with journal files had one.
absl::Status CheckNoJournals(io::Backend& io, const RecoveryOptions& options) {
  const std::string journal = JournalDirectory(options.data_dir);
  const auto cores = io.ListDirectory(journal);
  if (!cores.ok()) return absl::OkStatus();
  for (const io::DirectoryEntry& core : *cores) {
    uint32_t number = 0;
    if (!core.is_directory || !ParseJournalCoreDirectory(core.name, &number)) continue;
    const auto files = io.ListDirectory(absl::StrCat(journal, "/", core.name));
    if (!files.ok()) return files.status();
    for (const io::DirectoryEntry& file : *files) {
      if (!ParseJournalFileName(file.name, &number)) continue;
      const std::string what =
          absl::StrCat(JournalManifestPath(options.data_dir), " is missing, but ", journal, "/",
                       core.name, "/", file.name, " is there");
      if (options.accept_journal_loss) {
        RT_LOG(kWarn, "{}: the journals are given up, as asked", what);
        return absl::OkStatus();
      }
      return absl::FailedPreconditionError(
          absl::StrCat(what, ": put the MANIFEST back from a copy; --accept_journal_loss starts ",
                       "without what the journals have"));
    }
  }
  return absl::OkStatus();
}

// What a first start that was cut off has left, or journals that were given up.
task::Task<absl::Status> RemoveLeftovers(io::Backend& io, std::string data_dir) {
  const std::string journal = JournalDirectory(data_dir);
  const auto cores = io.ListDirectory(journal);
  if (!cores.ok()) co_return absl::IsNotFound(cores.status()) ? absl::OkStatus() : cores.status();
  for (const io::DirectoryEntry& core : *cores) {
    uint32_t number = 0;
    if (!core.is_directory || !ParseJournalCoreDirectory(core.name, &number)) continue;
    const std::string directory = absl::StrCat(journal, "/", core.name);
    RT_CO_ASSIGN_OR_RETURN(const auto files, io.ListDirectory(directory));
    for (const io::DirectoryEntry& file : files) {
      RT_CO_RETURN_IF_ERROR(co_await io::Unlink(io, absl::StrCat(directory, "/", file.name)));
    }
    RT_CO_RETURN_IF_ERROR(co_await io::SyncDirectory(io, directory));
  }
  co_return absl::OkStatus();
}

task::Task<absl::StatusOr<RecoveryResult>> StartFresh(io::Backend& io, RecoveryOptions& options) {
  RT_CO_RETURN_IF_ERROR(CheckNoJournals(io, options));
  RT_CO_RETURN_IF_ERROR(co_await RemoveLeftovers(io, options.data_dir));
  RecoveryResult result;
  result.dir_id = base::Uuid::Random();
  RT_CO_RETURN_IF_ERROR(co_await io::MakeDirectory(io, JournalDirectory(options.data_dir)));
  for (uint32_t core = 0; core < options.cores; ++core) {
    const std::string directory = JournalCoreDirectory(options.data_dir, core);
    RT_CO_RETURN_IF_ERROR(co_await io::MakeDirectory(io, directory));
    RT_CO_ASSIGN_OR_RETURN(const NextSlot next, co_await FindNextSlot(io, directory, {}));
    CheckpointWriter writer(io, directory, next.slot, next.number);
    RT_CO_RETURN_IF_ERROR(co_await writer.Write(FirstCheckpoint(result.run, core, result.dir_id)));
    result.cores.push_back(
        {.checkpoint_slot = 1 - next.slot, .checkpoint_number = next.number + 1});
  }
  RT_CO_RETURN_IF_ERROR(co_await io::SyncDirectory(io, JournalDirectory(options.data_dir)));
  Manifest manifest;
  manifest.run = result.run;
  manifest.cores = options.cores;
  manifest.state = ManifestState::kOpen;
  manifest.created_ms = static_cast<uint64_t>(io.WallMillis());
  manifest.dir_id = result.dir_id;
  RT_CO_RETURN_IF_ERROR(co_await WriteManifest(io, options.data_dir, manifest));
  co_return result;
}

}  // namespace

task::Task<absl::StatusOr<RecoveryResult>> RecoverJournals(io::Backend& io,
                                                           RecoveryOptions options) {
  const absl::StatusOr<Manifest> manifest = co_await ReadManifest(io, options.data_dir);
  if (absl::IsNotFound(manifest.status())) co_return co_await StartFresh(io, options);
  if (!manifest.ok()) {
    co_return absl::Status(manifest.status().code(),
                           absl::StrCat(manifest.status().message(),
                                        "; put it back from a copy of the data directory"));
  }
  RecoveryRun run(io, options, *manifest);
  co_return co_await run.Run();
}

task::Task<absl::StatusOr<RecoveryResult>> RecoveryRun::Run() {
  clean_ = manifest_.state == ManifestState::kClean;
  result_.origin = clean_ ? RecoveryResult::Origin::kClean : RecoveryResult::Origin::kReplayed;
  result_.dir_id = manifest_.dir_id;
  RT_CO_RETURN_IF_ERROR(co_await FindDirectories());
  RT_CO_RETURN_IF_ERROR(co_await LoadJournals());
  const std::map<JournalKey, std::vector<OldJournal*>> owners = Owners();
  std::vector<std::pair<JournalKey, std::vector<OldJournal*>>> work(owners.begin(), owners.end());
  for (const auto& [key, journals] : work) outcomes_[key];
  if (options_.progress != nullptr) options_.progress->partitions_total = work.size();
  co_await ForEachOnCores(work.size(), [&](io::Backend& io, size_t i) {
    return Recover(io, work[i].first, work[i].second, &outcomes_[work[i].first]);
  });
  for (const auto& [key, outcome] : outcomes_) {
    if (!outcome.status.ok()) co_return outcome.status;
  }
  RT_CO_RETURN_IF_ERROR(co_await Switch());
  Tell();
  co_return std::move(result_);
}

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
  std::vector<absl::Status> statuses(kDirectoriesAtOnce);
  task::Latch latch;
  for (size_t i = 0; i < kDirectoriesAtOnce && i < names.size(); ++i) {
    latch.Add();
    task::Spawn("find partitions", CheckOwners(&names, i, &statuses[i], &latch));
  }
  co_await latch.Wait();
  for (const absl::Status& status : statuses) RT_CO_RETURN_IF_ERROR(status);
  co_return absl::OkStatus();
}

task::Task<void> RecoveryRun::CheckOwners(const std::vector<std::string>* names, size_t first,
                                          absl::Status* status, task::Latch* latch) {
  for (size_t i = first; i < names->size(); i += kDirectoriesAtOnce) {
    const std::string path = absl::StrCat(options_.data_dir, "/", (*names)[i]);
    const auto owner = co_await ReadPartitionMetadata(io_, path);
    if (absl::IsNotFound(owner.status()) || absl::IsDataLoss(owner.status())) continue;
    if (!owner.ok()) {
      *status = owner.status();
      break;
    }
    PartitionDirectory parsed;
    ParsePartitionDirectory((*names)[i], &parsed);
    directories_[{*owner, static_cast<uint32_t>(parsed.partition)}].push_back(path);
  }
  latch->Done();
}

// --- The journals.

// Every `step`-th from `first` on, on today's core that these fall to.
task::Task<void> RecoveryRun::WorkShare(const Work* work, size_t first, size_t step, size_t count,
                                        task::Latch* latch) {
  const auto core = static_cast<uint32_t>(first % options_.cores);
  // Not a coroutine, so that it may go while the share is worked on.
  co_await options_.run_on(core, [work, first, step, count](io::Backend& io) {
    return WorkThrough(work, &io, first, step, count);
  });
  latch->Done();
}

task::Task<void> RecoveryRun::WorkThrough(const Work* work, io::Backend* io, size_t first,
                                          size_t step, size_t count) {
  for (size_t i = first; i < count; i += step) co_await (*work)(*io, i);
}

task::Task<void> RecoveryRun::ForEachOnCores(size_t count, Work work) {
  if (options_.run_on == nullptr) {
    co_await WorkThrough(&work, &io_, 0, 1, count);
    co_return;
  }
  // On each core a few at a time; what is shared is only read meanwhile.
  const size_t workers = options_.cores * kPartitionsAtOnce;
  task::Latch latch;
  for (size_t first = 0; first < std::min(workers, count); ++first) {
    latch.Add();
    task::Spawn("recover", WorkShare(&work, first, workers, count, &latch));
  }
  co_await latch.Wait();
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
      absl::StrAppend(&why, why.empty() ? "" : "; ", CheckpointFileName(slot),
                      " belongs to another data directory");
      continue;
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
      continue;
    }
    const JournalScanOptions scan{.directory = journal->directory,
                                  .run = held.run,
                                  .core = held.core,
                                  .dir_id = manifest_.dir_id,
                                  .read_bytes = options_.read_bytes};
    journal->scan.files.push_back(*file);
    const auto index = static_cast<uint32_t>(journal->scan.files.size() - 1);
    RT_CO_ASSIGN_OR_RETURN(auto entries, co_await ScanHeldFile(io, scan, *file, index));
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
  return std::any_of(journals_.begin(), journals_.end(), [](const auto& journal) {
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
