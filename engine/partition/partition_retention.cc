// What leaves a partition at its start: by retention, and because somebody asked for it.
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/partition/partition.h"

namespace ringtail::partition {

// The start moves, durably, before a file goes. A full disk is where it is needed most; logs that
// are damaged are left as they are.
task::Task<absl::StatusOr<RetentionPlan>> Partition::Retain() {
  const task::Gate::Hold hold(users_);
  const absl::Status& writes = log_->write_status();
  if (!hold.entered() || (!writes.ok() && !absl::IsResourceExhausted(writes))) {
    co_return RetentionPlan();
  }
  const int64_t now_ms = env_->io().WallMillis();
  const RetentionConfig config = config_.retention;
  RT_CO_ASSIGN_OR_RETURN(auto segments, co_await log_->Segments());
  RetentionPlan plan = PlanRetention(segments, config, now_ms, log_->durable_end());
  if (plan.roll_active && writes.ok() && log_->durable_end() == log_->log_end()) {
    RT_CO_RETURN_IF_ERROR(log_->Roll());
    RT_CO_ASSIGN_OR_RETURN(segments, co_await log_->Segments());
    plan = PlanRetention(segments, config, now_ms, log_->durable_end());
  }
  co_await trim_mutex_.Lock();
  const task::AsyncMutex::Held held(trim_mutex_);
  // Whoever asks for a longer retention and is told that it holds counts on what is still there.
  if (!(config_.retention == config)) co_return RetentionPlan();
  if (plan.start > log_->log_start()) RT_CO_RETURN_IF_ERROR(co_await log_->Trim(plan.start));
  // Those too that a crash, or an error, has left behind a start that was moved before.
  if (log_->HasSegmentsBelowStart()) {
    RT_CO_RETURN_IF_ERROR((co_await log_->RemoveSegmentsBelowStart()).status());
  }
  co_return plan;
}

task::Task<absl::Status> Partition::GiveBackPreallocated() {
  const task::Gate::Hold hold(users_);
  if (!hold.entered()) co_return absl::OkStatus();
  co_return co_await log_->TrimIdle();
}

// A full disk is no reason to refuse: the journal has its space already.
task::Task<OffsetResult> Partition::DeleteRecords(base::Offset before) {
  OffsetResult result;
  const task::Gate::Hold hold(users_);
  if (!hold.entered()) {
    result.error = base::Error::kNotLeader;
    co_return result;
  }
  co_await trim_mutex_.Lock();
  const task::AsyncMutex::Held held(trim_mutex_);
  if (before == base::Offset(-1)) before = high_watermark_;
  if (before < base::Offset(0) || before > high_watermark_) {
    result.error = base::Error::kOffsetOutOfRange;
    co_return result;
  }
  absl::Status status = co_await log_->Trim(before);
  if (!status.ok()) {
    RT_LOG_EVERY(1, kError, "{}: records before {} were not deleted: {}", identity_.name.ToString(),
                 before.value(), status.message());
    result.error = users_.closed() ? base::Error::kNotLeader : base::Error::kStorageError;
    co_return result;
  }
  result.offset = log_->log_start();
  status = (co_await log_->RemoveSegmentsBelowStart()).status();
  if (!status.ok() && !users_.closed()) {
    RT_LOG_EVERY(1, kWarn, "{}: deleted records still take space: {}; retention tries again",
                 identity_.name.ToString(), status.message());
  }
  co_return result;
}

}  // namespace ringtail::partition
