#include "engine/base/result.h"
#include "engine/partition/partition.h"

namespace ringtail::partition {

// The start moves, durably, before a file goes.
task::Task<absl::StatusOr<RetentionPlan>> Partition::Retain() {
  const task::Gate::Hold hold(users_);
  if (!hold.entered() || !log_->write_status().ok()) co_return RetentionPlan();
  const int64_t now_ms = env_->io().WallMillis();
  RT_CO_ASSIGN_OR_RETURN(auto segments, co_await log_->Segments());
  RetentionPlan plan = PlanRetention(segments, config_.retention, now_ms, log_->durable_end());
  if (plan.roll_active && log_->durable_end() == log_->log_end()) {
    RT_CO_RETURN_IF_ERROR(log_->Roll());
    RT_CO_ASSIGN_OR_RETURN(segments, co_await log_->Segments());
    plan = PlanRetention(segments, config_.retention, now_ms, log_->durable_end());
  }
  if (plan.start > log_->log_start()) {
    RT_CO_RETURN_IF_ERROR(co_await log_->Trim(plan.start));
    RT_CO_RETURN_IF_ERROR((co_await log_->RemoveSegmentsBelowStart()).status());
  }
  co_return plan;
}

}  // namespace ringtail::partition
