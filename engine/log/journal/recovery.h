// What a start does before anything is served: brings the journals of the old run and the segments
// together, so that each log ends where the journal proves that it does, whatever was in the page
// cache when the last run ended (design: engine/log/JOURNAL.md, "Recovery").
//
// Works on files, through the backend; one task per journal of the old run, spread over today's
// cores. Until the MANIFEST is replaced, which is its last act, nothing that it reads is changed in
// a way that a second run of it would read differently: cut off anywhere, it is run again (J9).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "engine/io/backend.h"
#include "engine/log/journal/journal.h"
#include "engine/log/journal/journal_format.h"
#include "engine/log/journal/journal_partition.h"
#include "engine/log/journal/journal_sync.h"
#include "engine/task/task.h"

namespace ringtail::log {

// (topic id, partition): what entries and records name a partition by.
using JournalKey = std::pair<base::Uuid, uint32_t>;

enum class PartitionVerdict : uint8_t {
  kWhole,    // all that was acknowledged is there
  kRefused,  // damaged below the proven end: readable up to `end`, no appends, files are held
  kSuspect,  // entries may have been lost that nothing else tells of: as refused
};

struct RecoveredPartition {
  std::string directory;
  PartitionVerdict verdict = PartitionVerdict::kWhole;
  std::string reason;  // where it is not kWhole: what, in which file, at which byte
  // True: the journal proves that the log ends at `end`, its files do, and they are synced up to
  // there. False: nothing does (no record and no entry; or page_cache, from `end` on): scan on from
  // `end`, cut at the first batch that is not valid.
  bool proven = false;
  LogEnd end;
  // Indexes, epochs and producers below the segment that starts here are as they were saved; from
  // it on they must be read from the batches.
  uint64_t rebuild_from = 0;
  uint64_t log_start = 0;
  uint32_t leader_epoch = 0;
  bool page_cache = false;
  // A sync of it has failed: what the page cache has from `end` on may not be on the device, though
  // it counts as clean, and must be written again before it is vouched for.
  bool write_again = false;
  int64_t bytes_cut = 0;        // behind the proven end: never acknowledged
  int64_t bytes_applied = 0;    // written again from the journal
  uint32_t entries_healed = 0;  // the frame was damaged, the segment had the bytes
};

// For /readyz; written by recovery, read from any thread.
struct RecoveryProgress {
  std::atomic<uint64_t> bytes_total{0};  // of journal files to be read
  std::atomic<uint64_t> bytes_read{0};
  std::atomic<uint64_t> partitions_total{0};
  std::atomic<uint64_t> partitions_done{0};
};

struct RecoveryOptions {
  std::string data_dir;
  uint32_t cores = 1;  // today's
  // Journals that are missing, some or all, do not refuse the start: partitions that may have been
  // in them become suspects.
  bool accept_journal_loss = false;
  // Which of today's cores leads it; nullopt: the catalog has no such partition (any more), so that
  // it counts as dropped where it has no directory. Not set: core 0 leads all.
  std::function<std::optional<uint32_t>(const JournalKey&)> core_of;
  // Runs `work` with the backend of today's core `core`, ends when it has. nullptr: here, one
  // after the other.
  std::function<task::Task<void>(uint32_t core,
                                 std::function<task::Task<void>(io::Backend& io)> work)>
      run_on;
  int64_t read_bytes = 4 << 20;  // of a journal file at once
  RecoveryProgress* progress = nullptr;
  // Syncs what many partitions have changed; nullptr: each file is synced on its own.
  FileSystemSync* file_system = nullptr;
  JournalReclaimOptions sync;  // when it is asked
};

// What CoreJournal::Open of one of today's cores goes on with.
struct RecoveredCore {
  uint32_t checkpoint_slot = 0;  // the next one to write
  uint64_t checkpoint_number = 1;
  std::vector<CheckpointRecord> carried_records;  // of refused and suspect partitions
  std::vector<HeldFile> carried_held;
  std::vector<HeldJournalFile> held;  // in this core's directory or of cores that are gone
};

struct RecoveryResult {
  enum class Origin : uint8_t {
    kFresh,     // no MANIFEST: a new directory, or one of Kafka's: scan the logs as Kafka does
    kClean,     // the last run stopped cleanly
    kReplayed,  // it did not
  };
  Origin origin = Origin::kFresh;
  uint32_t run = 1;  // this one; the MANIFEST says so now
  base::Uuid dir_id;
  std::map<JournalKey, RecoveredPartition> partitions;  // all that have a directory or an entry
  std::vector<RecoveredCore> cores;                     // today's, by index
  uint64_t frames = 0;                                  // applied
  uint64_t frames_cut = 0;                              // of the torn tail: never acknowledged
  uint64_t frames_damaged = 0;                          // rot below the proven end
  int64_t bytes_applied = 0;
};

// Errors refuse the start and name the file: FailedPrecondition (foreign, missing, of a later
// version), DataLoss (MANIFEST damaged), or what the file system answered.
task::Task<absl::StatusOr<RecoveryResult>> RecoverJournals(io::Backend& io,
                                                           RecoveryOptions options);

}  // namespace ringtail::log
