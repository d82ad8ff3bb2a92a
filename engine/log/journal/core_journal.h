// What the logs of one core share of durability: the journal, its checkpoints and reclaim, and the
// bounds on appends that are synced in place (bypass). Made when recovery has switched the MANIFEST
// to this run; destroyed after the core's logs. On its core.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/io/backend.h"
#include "engine/log/journal/journal.h"
#include "engine/log/journal/journal_checkpoint.h"
#include "engine/log/journal/journal_sync.h"
#include "engine/task/sync.h"
#include "engine/task/task.h"

namespace ringtail::log {

struct CoreJournalOptions {
  JournalOptions journal;
  JournalReclaimOptions reclaim;
  // Ops from here on are synced in place. A sync costs more than a second copy, in CPU and in time
  // ((h) in perf/README.md), so by default only what no frame holds.
  size_t bypass_bytes = size_t{1} << 20;
  size_t bypasses_max = 4;  // at once; what is more is journaled as far as it fits
  // From recovery.
  uint32_t checkpoint_slot = 0;
  uint64_t checkpoint_number = 1;
  std::vector<CheckpointRecord> carried_records;
  std::vector<HeldFile> carried_held;
};

class CoreJournal {
 public:
  // `group` may be null (no group syncs) and outlives it.
  static task::Task<absl::StatusOr<std::unique_ptr<CoreJournal>>> Open(io::Backend& io,
                                                                       FileSystemSync* group,
                                                                       CoreJournalOptions options);
  ~CoreJournal();  // closed, or the backend has dropped all operations
  CoreJournal(const CoreJournal&) = delete;
  CoreJournal& operator=(const CoreJournal&) = delete;

  Journal& journal() { return *journal_; }
  const Journal& journal() const { return *journal_; }
  JournalSync& sync() { return *sync_; }
  const JournalSync& sync() const { return *sync_; }

  // From the next op, and the next look at what is to be synced, on.
  void SetOptions(size_t bypass_bytes, base::Nanos sync_age_ns) {
    options_.bypass_bytes = bypass_bytes;
    sync_->SetSyncAge(sync_age_ns);
  }

  // From how many bytes on an op is synced in place: less when the journal is full.
  size_t bypass_bytes() const { return sync_->bypass_bytes(options_.bypass_bytes); }
  // A place among those that may sync in place at once; false: none is free.
  bool TakeBypass();
  // Ends when it has taken one.
  task::Task<void> WaitForBypass();
  void ReturnBypass();

  // Of a clean stop, when all logs are closed (but not yet destroyed): syncs what is not, writes
  // the last checkpoint (tail = head), stops. Ok: the MANIFEST may say CLEAN for this core.
  task::Task<absl::Status> Close();

 private:
  CoreJournal(io::Backend& io, CoreJournalOptions options);

  CoreJournalOptions options_;
  CheckpointWriter checkpoints_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<JournalSync> sync_;
  size_t bypasses_ = 0;
  task::WaitList bypass_free_;
};

}  // namespace ringtail::log
