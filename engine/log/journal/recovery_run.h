// One recovery, from the old run's MANIFEST to this run's. The order of things is in recovery.cc.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/log/journal/journal_scan.h"
#include "engine/log/journal/recovery.h"
#include "engine/log/journal/recovery_chain.h"
#include "engine/log/journal/recovery_files.h"
#include "engine/task/sync.h"

namespace ringtail::log {

class RecoveryRun {
 public:
  RecoveryRun(io::Backend& io, RecoveryOptions& options, Manifest manifest)
      : io_(io), options_(options), manifest_(manifest) {}

  task::Task<absl::StatusOr<RecoveryResult>> Run();
  // All journals are given up, and with them the MANIFEST: every partition is a suspect.
  task::Task<absl::StatusOr<RecoveryResult>> RunWithoutJournals();

 private:
  // The journal of one core of the old run.
  struct OldJournal {
    uint32_t core = 0;
    std::string directory;
    std::string lost;              // why nothing is known of what it had; empty: it is here
    std::optional<uint32_t> slot;  // of the checkpoint
    Checkpoint checkpoint;
    JournalScan scan;
    std::string held_lost;  // what of the held files is lost; empty: they are whole
    std::map<JournalKey, CheckpointRecord> records;
    std::map<JournalKey, std::vector<const ScannedEntry*>> entries;
    absl::Status status;
  };
  // What becomes of one partition, and what the next checkpoint says of it.
  struct Outcome {
    RecoveredPartition partition;
    std::optional<CheckpointRecord> record;
    std::set<HeldFile> held;
    bool gone = false;
    absl::Status status;  // not ok: the start is refused
  };

  using Owned = std::vector<std::pair<JournalKey, std::vector<OldJournal*>>>;

  // recovery.cc
  task::Task<absl::StatusOr<RecoveryResult>> RecoverAll();
  task::Task<absl::Status> RecoverEach(const Owned& work);
  bool CanSyncAtOnce() const;
  task::Task<absl::Status> SyncAtOnce();
  // recovery_load.cc
  task::Task<absl::Status> FindDirectories();
  task::Task<absl::Status> LoadJournals();
  task::Task<void> LoadJournal(io::Backend& io, OldJournal* journal);
  task::Task<absl::Status> LoadCheckpoint(io::Backend& io, OldJournal* journal);
  task::Task<absl::Status> LoadHeld(io::Backend& io, OldJournal* journal);
  void Sort(OldJournal* journal);
  std::map<JournalKey, std::vector<OldJournal*>> Owners();
  bool AnyLost() const;
  // recovery.cc
  using Work = std::function<task::Task<void>(io::Backend& io, size_t i)>;
  task::Task<void> ForEachOnCores(size_t count, Work work);
  task::Task<void> WorkShare(const Work* work, size_t first, size_t step, size_t count,
                             task::Latch* latch);
  static task::Task<void> WorkThrough(const Work* work, io::Backend* io, size_t first, size_t step,
                                      size_t count);

  // recovery_partition.cc
  task::Task<void> Recover(io::Backend& io, JournalKey key, std::vector<OldJournal*> journals,
                           Outcome* outcome);
  task::Task<absl::Status> RecoverChain(io::Backend& io, JournalKey key, OldJournal* journal,
                                        SegmentFiles* files, Outcome* outcome);
  task::Task<absl::Status> RecoverClean(const CheckpointRecord& record, SegmentFiles* files,
                                        Outcome* outcome);
  task::Task<absl::StatusOr<Chain>> Follow(JournalKey key, OldJournal* journal,
                                           SegmentFiles* files);
  bool IsThere(JournalKey key, OldJournal* journal, const SegmentFiles& files, Chain* chain,
               Outcome* outcome);
  task::Task<absl::Status> Apply(io::Backend& io, const OldJournal& journal, const Chain& chain,
                                 SegmentFiles* files, Outcome* outcome);
  task::Task<absl::Status> CutBehind(LogEnd end, SegmentFiles* files, std::set<uint64_t>* touched);
  void Refuse(const OldJournal* journal, JournalKey key, PartitionVerdict verdict,
              std::string reason, uint64_t good_seq, Outcome* outcome);
  void Keep(const OldJournal* journal, JournalKey key, std::string reason, Outcome* outcome);
  std::string NoDirectory() const;
  task::Task<void> RemoveDropped(io::Backend& io, JournalKey key, Outcome* outcome);

  // recovery_switch.cc
  task::Task<absl::Status> Switch();
  task::Task<absl::Status> WriteCheckpoints();
  uint32_t CoreOf(const JournalKey& key) const;
  task::Task<void> RemoveOldCores();
  void Tell() const;

  io::Backend& io_;
  RecoveryOptions& options_;
  Manifest manifest_;
  bool clean_ = false;
  bool syncs_each_ = true;  // else all that was changed is synced at once, when all is done
  bool all_lost_ = false;
  std::map<JournalKey, std::vector<std::string>> directories_;
  std::string unreadable_;  // directories of which it is not known whose they are
  std::vector<std::unique_ptr<OldJournal>> journals_;
  std::vector<JournalFileFound> all_files_;  // of all core directories
  std::map<JournalKey, Outcome> outcomes_;
  RecoveryResult result_;
};

// A first start, or one without a MANIFEST (recovery_fresh.cc).
task::Task<absl::StatusOr<RecoveryResult>> StartWithoutManifest(io::Backend& io,
                                                                RecoveryOptions& options);

// The slots of a core's directory: which one a new run writes first.
struct NextSlot {
  uint32_t slot = 0;
  uint64_t number = 1;
};
task::Task<absl::StatusOr<NextSlot>> FindNextSlot(io::Backend& io, std::string directory,
                                                  std::optional<uint32_t> in_use);
// The checkpoint that a core of a run that has not begun starts from.
Checkpoint FirstCheckpoint(uint32_t run, uint32_t core, const base::Uuid& dir_id);

}  // namespace ringtail::log
