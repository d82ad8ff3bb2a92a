#include "engine/log/after_recovery.h"

namespace ringtail::log {

CoreJournalOptions ContinueJournal(const RecoveryResult& recovered, uint32_t core,
                                   const std::string& data_dir, CoreJournalOptions options) {
  const RecoveredCore& from = recovered.cores[core];
  options.journal.directory = JournalCoreDirectory(data_dir, core);
  options.journal.run = recovered.run;
  options.journal.core = core;
  options.journal.dir_id = recovered.dir_id;
  options.journal.held = from.held;
  options.reclaim.sync_path = JournalSyncPath(data_dir);
  options.checkpoint_slot = from.checkpoint_slot;
  options.checkpoint_number = from.checkpoint_number;
  options.carried_records = from.carried_records;
  options.carried_held = from.carried_held;
  return options;
}

OpenOptions OpenRecovered(const RecoveryResult& recovered, const JournalKey& key) {
  const auto found = recovered.partitions.find(key);
  if (found == recovered.partitions.end()) return {};
  const RecoveredPartition& partition = found->second;
  const auto offset = [](uint64_t value) { return base::Offset(static_cast<int64_t>(value)); };
  const bool damaged = partition.verdict != PartitionVerdict::kWhole;
  // What nothing is known of is scanned from its start.
  if (!partition.proven && !partition.page_cache && !damaged) {
    return {.log_start = offset(partition.log_start), .checked_directory = partition.directory};
  }
  return {.clean = recovered.origin == RecoveryResult::Origin::kClean && partition.proven,
          .recovered = RecoveredLog{.proven = partition.proven,
                                    .end = partition.end,
                                    .rebuild_from = offset(partition.rebuild_from),
                                    .log_start = offset(partition.log_start),
                                    .page_cache = partition.page_cache,
                                    .write_again = partition.write_again,
                                    .closed_reason = damaged ? partition.reason : ""},
          .checked_directory = partition.directory};
}

}  // namespace ringtail::log
