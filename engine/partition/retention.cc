#include "engine/partition/retention.h"

namespace ringtail::partition {
namespace {

bool Expired(const log::SegmentInfo& segment, int64_t retention_ms, int64_t now_ms) {
  return retention_ms >= 0 && now_ms - segment.newest_ms(now_ms) > retention_ms;
}

}  // namespace

RetentionPlan PlanRetention(const std::vector<log::SegmentInfo>& segments,
                            const RetentionConfig& config, int64_t now_ms,
                            base::Offset durable_end) {
  RetentionPlan plan;
  int64_t total = 0;
  for (const log::SegmentInfo& segment : segments) total += segment.bytes;
  bool only_expired = true;  // so far
  for (const log::SegmentInfo& segment : segments) {
    if (segment.end > durable_end) break;
    const bool expired = Expired(segment, config.ms, now_ms);
    only_expired = only_expired && expired;
    if (segment.active) {
      plan.roll_active = only_expired && segment.bytes > 0;
      break;
    }
    const bool too_much = config.bytes >= 0 && total - segment.bytes >= config.bytes;
    if (!expired && !too_much) break;
    ++(expired ? plan.by_time : plan.by_bytes);
    plan.bytes += segment.bytes;
    total -= segment.bytes;
    plan.start = segment.end;
  }
  return plan;
}

}  // namespace ringtail::partition
