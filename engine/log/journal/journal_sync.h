// Reclaim of one core's journal: syncs the partitions whose entries hold its oldest files, writes
// checkpoints, and gives files free behind durable ones. It works at a pace set by the fill, sleeps
// while there is nothing to do, and arms no timer when all is synced. On the journal's core.
//
// A partition is in the list of the file with its oldest live entry. The tail is the oldest file
// with a non-empty list; poisoned partitions are in no list, their files become HELD.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/types.h"
#include "engine/io/backend.h"
#include "engine/log/journal/journal.h"
#include "engine/log/journal/journal_checkpoint.h"
#include "engine/log/journal/journal_partition.h"
#include "engine/task/intrusive_list.h"
#include "engine/task/sync.h"
#include "engine/task/task.h"

namespace ringtail::log {

// syncfs, which no ring has: on the one sync thread of the process. What it syncs may still be in
// the device's cache; JournalSync flushes that itself.
class FileSystemSync {
 public:
  virtual ~FileSystemSync() = default;
  // Linux 5.8 or later (before, it hid errors), and below `unsynced_bytes_max` dirty in the
  // process.
  virtual bool available(int64_t unsynced_bytes_max) const = 0;
  virtual task::Task<absl::Status> Sync() = 0;
};

// All that was written to the file system is on the device when this ends. `path`: any file; made
// if missing.
task::Task<absl::Status> SyncAndFlush(io::Backend& io, FileSystemSync& file_system,
                                      std::string path);

struct JournalReclaimOptions {
  std::string sync_path;  // the file `sync` of journal/; made if missing
  base::Nanos sync_age_ns = 10 * base::kNanosPerSecond;
  base::Nanos checkpoint_age_ns = 10 * base::kNanosPerSecond;
  base::Nanos retry_ns = base::kNanosPerSecond;  // after a failed checkpoint, or no progress
  size_t group_partitions_min = 16;
  int64_t group_bytes_max = int64_t{256} << 20;
};

struct JournalReclaimMetrics {
  uint64_t syncs = 0;        // of one partition
  uint64_t group_syncs = 0;  // of many
  uint64_t discarded = 0;    // a truncation came between
  uint64_t poisoned = 0;
  uint64_t checkpoints = 0;
  uint64_t checkpoint_failures = 0;
};

class JournalSync {
 public:
  // All outlive it. `group` may be null: single syncs only.
  JournalSync(io::Backend& io, Journal& journal, CheckpointWriter& checkpoints,
              FileSystemSync* group, JournalReclaimOptions options);
  ~JournalSync();
  JournalSync(const JournalSync&) = delete;
  JournalSync& operator=(const JournalSync&) = delete;

  // A partition is in every checkpoint from Add (as far as it has something to say) to Remove.
  void Add(JournalPartition* partition);
  // Waits for its sync in flight. What it has in the journal must not be needed any more: dropped,
  // released to another core, or at the end of the run.
  task::Task<void> Remove(JournalPartition* partition);
  // Records of the last run, and files that are held for them. A record goes into every checkpoint
  // until its partition is added and has one of its own; the files always.
  void SetCarried(std::vector<CheckpointRecord> records, std::vector<HeldFile> held);
  // No more appends; its live entries are kept. Also for a failed segment write.
  void Poison(JournalPartition* partition, const absl::Status& why);

  // Of a page_cache partition whose journal has closed: it is durable that the log starts at
  // `start` when this ends, by a checkpoint.
  task::Task<absl::Status> RecordStart(JournalPartition* partition, uint64_t start);

  // Has checkpoints written until two of them say what is published of the partition: what lies
  // below its settled_segment() then may be rewritten.
  task::Task<absl::Status> Settle(JournalPartition* partition);

  // All that was written to the file system, at once; false: one by one is better or all there is.
  bool CanSyncAtOnce(size_t partitions) const;
  task::Task<absl::Status> SyncFileSystem();

  void SetSyncAge(base::Nanos age_ns) {
    options_.sync_age_ns = age_ns;
    poke_.NotifyAll();
  }
  // The fill may have changed. Cheap; the journal calls it.
  void Poke();
  // Syncs all and writes a checkpoint: for a clean stop, after the last op is done
  // and Stop().
  task::Task<absl::Status> SyncAll();
  task::Task<absl::Status> WriteCheckpoint();
  task::Task<void> Stop();

  uint32_t tail_file() const;
  // Bypass from here on: 512 KiB, or 64 KiB when the journal is three quarters full.
  size_t bypass_bytes(size_t configured) const;
  const JournalReclaimMetrics& metrics() const { return metrics_; }

 private:
  friend class JournalPartition;
  using List = task::IntrusiveList<JournalPartition>;

  void Enlist(JournalPartition* partition);
  void Forget(JournalPartition* partition);
  int FillPercent() const;
  bool Hurry() const;
  std::vector<JournalPartition*> Due(base::Nanos now, size_t* concurrency, base::Nanos* next);
  task::Task<void> Run();
  task::Task<bool> SyncThese(std::vector<JournalPartition*> due, size_t concurrency);
  struct Batch;
  task::Task<void> SyncWorker(Batch* batch);
  task::Task<bool> SyncOne(JournalPartition* partition);
  task::Task<bool> SyncGroup(std::vector<JournalPartition*> due);
  bool Publish(JournalPartition* partition, const JournalPartition::Mark& mark);
  Checkpoint Build(uint32_t tail) const;
  base::Nanos CheckpointDue() const;

  io::Backend& io_;
  Journal& journal_;
  CheckpointWriter& checkpoints_;
  FileSystemSync* group_;
  JournalReclaimOptions options_;
  std::map<uint32_t, List> lists_;  // by file number; empty ones are removed
  std::vector<JournalPartition*> partitions_;
  std::set<std::pair<base::Uuid, uint32_t>> keys_;  // of partitions_
  std::vector<CheckpointRecord> carried_records_;
  std::vector<HeldFile> carried_held_;
  uint32_t durable_tail_ = 0;
  bool changed_ = false;  // since the last durable checkpoint
  base::Nanos checkpoint_at_ = 0;
  base::Nanos checkpoint_after_ = 0;  // not before: the last one failed
  bool running_ = false;
  bool poked_ = false;
  bool stopping_ = false;
  task::WaitList poke_;
  task::WaitList synced_;
  task::AsyncMutex checkpointing_;
  task::Latch background_;
  JournalReclaimMetrics metrics_;
};

}  // namespace ringtail::log
