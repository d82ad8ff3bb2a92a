// What a partition does about records that newer ones of their key replace.
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/log/batch_records.h"
#include "engine/partition/partition.h"

namespace ringtail::partition {

// A damaged log is left as it is, and so is a full disk: a pass needs space before it gives any.
task::Task<absl::StatusOr<bool>> Partition::Compact(const CompactionWork& work) {
  const task::Gate::Hold hold(users_);
  if (!hold.entered() || !config_.compaction.on || !log_->write_status().ok()) co_return false;
  const int64_t now_ms = env_->io().WallMillis();
  const CompactionConfig config = config_.compaction;
  RT_CO_ASSIGN_OR_RETURN(const auto segments, co_await log_->Segments());
  // Most looks end here: what a checkpoint would allow is asked for only where it may matter.
  const base::Offset all(INT64_MAX);
  CompactionPlan plan = PlanCompaction(segments, config, now_ms, clean_end_, all);
  if (plan.roll_active && log_->durable_end() == log_->log_end()) {
    RT_CO_RETURN_IF_ERROR(log_->Roll());
  }
  if (!plan.due) co_return false;
  RT_CO_ASSIGN_OR_RETURN(const base::Offset compactable, co_await log_->CompactableEnd());
  plan = PlanCompaction(segments, config, now_ms, clean_end_, compactable);
  if (!plan.due) co_return false;
  LatestByKey filter(work.memory_bytes_max, config.delete_retention_ms, now_ms, work.counters);
  const absl::StatusOr<log::CompactionResult> done =
      co_await log_->Compact(plan.range, filter, *work.pace);
  if (!done.ok()) {
    ++work.counters->failures;
    co_return done.status();
  }
  clean_end_ = std::max(clean_end_, done->clean_end);
  ++work.counters->passes;
  work.counters->bytes_read += static_cast<uint64_t>(done->bytes_learned + done->bytes_before);
  work.counters->bytes_written += static_cast<uint64_t>(done->bytes_after);
  RT_LOG(kDebug, "{}: compacted up to offset {}: {} segments of {} bytes are {} of {}",
         identity_.name.ToString(), clean_end_.value(), done->segments_before, done->bytes_before,
         done->segments_after, done->bytes_after);
  co_return true;
}

// A record without a key could never be replaced; Kafka refuses it, too.
bool Partition::HasKeys(const log::BatchView& batch) {
  base::ByteView plain = batch.records();
  if (batch.compressed()) {
    if (config_.decompressor == nullptr) return true;
    const auto unpacked = config_.decompressor->Decompress(batch.codec(), batch.records());
    if (!unpacked.ok()) return false;
    plain = *unpacked;
  }
  log::RecordCursor cursor(plain, batch.record_count());
  while (cursor.Next()) {
    if (!cursor.record().key.has_value()) return false;
  }
  return cursor.error() == log::BatchError::kNone;
}

}  // namespace ringtail::partition
