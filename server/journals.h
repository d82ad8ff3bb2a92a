// The journals of a broker's cores, from recovery to the clean end: what a start does between the
// catalog and the partitions, and a stop between the partitions and the marker of a clean stop. On
// core 0.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "engine/log/journal/core_journal.h"
#include "engine/log/journal/recovery.h"
#include "engine/task/task.h"
#include "server/broker.h"

namespace ringtail::server {

struct JournalSettings {
  int64_t file_bytes = int64_t{64} << 20;
  int64_t bytes_max = 0;  // per core; 0: 1 GiB, or 5 % of the file system shared by the cores
  size_t depth = 2;
  log::JournalSyncMode sync_mode = log::JournalSyncMode::kDataSync;
  bool accept_loss = false;
};

// Recovers what the last run left and opens this run's journals: brokers.recovered and each
// broker's journal are set when it ends. Errors refuse the start.
task::Task<absl::Status> OpenJournals(BrokerGroup& brokers, JournalSettings settings,
                                      log::FileSystemSync* file_system,
                                      log::RecoveryProgress* progress);
// When all partitions are open: says so to the journals' checkpoints, so that a journal that is
// gone at the next start is missed.
task::Task<absl::Status> JournalsAreInUse(BrokerGroup& brokers);
// When all partitions are closed. Ok: the MANIFEST says CLEAN.
task::Task<absl::Status> CloseJournals(BrokerGroup& brokers);

}  // namespace ringtail::server
