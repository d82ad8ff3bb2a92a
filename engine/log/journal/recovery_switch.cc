// The end of a recovery: this run's checkpoints, then its MANIFEST, then what is left over goes.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/journal/journal_checkpoint.h"
#include "engine/log/journal/journal_manifest.h"
#include "engine/log/journal/recovery_run.h"

namespace ringtail::log {

task::Task<absl::StatusOr<NextSlot>> FindNextSlot(io::Backend& io, std::string directory,
                                                  std::optional<uint32_t> in_use) {
  NextSlot next;
  uint64_t numbers[2] = {0, 0};
  for (uint32_t slot = 0; slot < 2; ++slot) {
    const auto checkpoint = co_await ReadCheckpointSlot(io, directory, slot);
    if (absl::IsFailedPrecondition(checkpoint.status())) co_return checkpoint.status();
    if (checkpoint.ok()) numbers[slot] = checkpoint->header.number;
  }
  next.slot = in_use.has_value() ? 1 - *in_use : (numbers[0] <= numbers[1] ? 0 : 1);
  next.number = std::max(numbers[0], numbers[1]) + 1;
  co_return next;
}

Checkpoint FirstCheckpoint(uint32_t run, uint32_t core, const base::Uuid& dir_id) {
  Checkpoint checkpoint;
  checkpoint.header.run = run;
  checkpoint.header.core = core;
  checkpoint.header.tail_file = 0;  // none is made yet
  checkpoint.header.tail_seq = 1;
  checkpoint.header.dir_id = dir_id;
  return checkpoint;
}

uint32_t RecoveryRun::CoreOf(const JournalKey& key) const {
  const std::optional<uint32_t> core =
      options_.core_of ? options_.core_of(key) : std::optional<uint32_t>(0);
  return core.has_value() && *core < options_.cores ? *core : 0;
}

task::Task<absl::Status> RecoveryRun::WriteCheckpoints() {
  std::vector<Checkpoint> checkpoints;
  result_.cores.resize(options_.cores);
  for (uint32_t core = 0; core < options_.cores; ++core) {
    checkpoints.push_back(FirstCheckpoint(result_.run, core, manifest_.dir_id));
  }
  for (auto& [key, outcome] : outcomes_) {
    if (outcome.gone) continue;
    const uint32_t core = CoreOf(key);
    if (outcome.record.has_value()) {
      checkpoints[core].records.push_back(*outcome.record);
      result_.cores[core].carried_records.push_back(*outcome.record);
    }
    for (const HeldFile& held : outcome.held) {
      std::vector<HeldFile>& all = checkpoints[core].held;
      if (std::find(all.begin(), all.end(), held) == all.end()) all.push_back(held);
    }
    result_.partitions[key] = std::move(outcome.partition);
  }
  for (uint32_t core = 0; core < options_.cores; ++core) {
    const std::string directory = JournalCoreDirectory(options_.data_dir, core);
    RT_CO_RETURN_IF_ERROR(co_await io::MakeDirectory(io_, directory));
    std::optional<uint32_t> in_use;
    if (core < journals_.size()) in_use = journals_[core]->slot;
    RT_CO_ASSIGN_OR_RETURN(const NextSlot next, co_await FindNextSlot(io_, directory, in_use));
    RecoveredCore& recovered = result_.cores[core];
    recovered.checkpoint_slot = 1 - next.slot;
    recovered.checkpoint_number = next.number + 1;
    recovered.carried_held = checkpoints[core].held;
    CheckpointWriter writer(io_, directory, next.slot, next.number);
    RT_CO_RETURN_IF_ERROR(co_await writer.Write(std::move(checkpoints[core])));
  }
  co_return co_await io::SyncDirectory(io_, JournalDirectory(options_.data_dir));
}

// Before the MANIFEST is replaced a crash starts over from the same inputs, after it no old frame
// is live but held ones.
task::Task<absl::Status> RecoveryRun::Switch() {
  result_.run = manifest_.run + 1;
  for (const auto& journal : journals_) {
    for (const SeqRange& range : journal->scan.lost) {
      RT_LOG(kError, "{}: frames {} to {} were durable and cannot be read", journal->directory,
             range.first, range.last);
    }
    result_.frames += journal->scan.frames;
    result_.frames_cut += journal->scan.frames_cut;
    result_.frames_damaged += journal->scan.frames_damaged;
  }
  RT_CO_RETURN_IF_ERROR(co_await WriteCheckpoints());
  for (RecoveredCore& core : result_.cores) {
    for (const HeldFile& held : core.carried_held) {
      for (const JournalFileFound& file : all_files_) {
        if (file.run != held.run || file.core != held.core || file.number != held.file_number) {
          continue;
        }
        // It is kept by the core in whose directory it is.
        for (uint32_t owner = 0; owner < options_.cores; ++owner) {
          const std::string prefix =
              absl::StrCat(JournalCoreDirectory(options_.data_dir, owner), "/");
          if (!absl::StartsWith(file.path, prefix)) continue;
          result_.cores[owner].held.push_back({held, file.path, file.bytes});
        }
      }
    }
  }
  for (const auto& [key, partition] : result_.partitions) {
    result_.bytes_applied += partition.bytes_applied;
  }
  Manifest manifest = manifest_;
  manifest.run = result_.run;
  manifest.cores = options_.cores;
  manifest.state = ManifestState::kOpen;
  RT_CO_RETURN_IF_ERROR(co_await WriteManifest(io_, options_.data_dir, manifest));
  co_await RemoveOldCores();
  co_return absl::OkStatus();
}

// Journals of cores that this run does not have.
task::Task<void> RecoveryRun::RemoveOldCores() {
  for (const JournalFileFound& file : all_files_) {
    bool kept = false;
    for (uint32_t core = 0; core < options_.cores; ++core) {
      kept =
          kept || absl::StartsWith(
                      file.path, absl::StrCat(JournalCoreDirectory(options_.data_dir, core), "/"));
      for (const HeldFile& held : result_.cores[core].carried_held) {
        kept = kept ||
               (file.run == held.run && file.core == held.core && file.number == held.file_number);
      }
    }
    if (kept) continue;
    const absl::Status removed = co_await io::Unlink(io_, file.path);
    if (!removed.ok()) RT_LOG(kWarn, "{}: cannot be removed: {}", file.path, removed.message());
  }
}

void RecoveryRun::Tell() const {
  size_t whole = 0, refused = 0, suspect = 0;
  for (const auto& [key, partition] : result_.partitions) {
    if (partition.verdict == PartitionVerdict::kWhole) {
      ++whole;
      if (partition.bytes_cut > 0) {
        RT_LOG(kInfo,
               "{}: ends at offset {}: cut {} bytes behind it, which were never acknowledged",
               partition.directory, partition.end.offset, partition.bytes_cut);
      }
      continue;
    }
    ++(partition.verdict == PartitionVerdict::kRefused ? refused : suspect);
    RT_LOG(kError,
           "{} (topic id {}, partition {}): closed for appends, readable up to {}: {}; "
           "`ringtail log verify` shows what is there, `ringtail log accept` goes on with it",
           partition.directory.empty() ? "no directory" : partition.directory, key.first.ToString(),
           key.second,
           partition.end.offset >= INT64_MAX ? std::string("where its batches can be read")
                                             : absl::StrCat("offset ", partition.end.offset),
           partition.reason);
  }
  RT_LOG(kInfo,
         "journal: run {} {}: {} frames, {} not acknowledged and cut, {} damaged, {} bytes written "
         "again; partitions: {} whole, {} refused, {} suspect",
         manifest_.run, clean_ ? "was stopped cleanly" : "was cut off", result_.frames,
         result_.frames_cut, result_.frames_damaged, result_.bytes_applied, whole, refused,
         suspect);
}

}  // namespace ringtail::log
