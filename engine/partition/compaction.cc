#include "engine/partition/compaction.h"

#include <algorithm>

#include "engine/log/batch_records.h"

namespace ringtail::partition {
namespace {

int64_t OldestMs(const log::SegmentInfo& segment, int64_t now_ms) {
  const bool stamped = segment.first_timestamp_ms >= 0 && segment.first_timestamp_ms <= now_ms;
  return stamped ? segment.first_timestamp_ms : segment.newest_ms(now_ms);
}

// Of lag_max_ms, whose default no age exceeds.
bool IsOverdue(const log::SegmentInfo& segment, const CompactionConfig& config, int64_t now_ms) {
  return now_ms - OldestMs(segment, now_ms) > config.lag_max_ms;
}

}  // namespace

CompactionPlan PlanCompaction(const std::vector<log::SegmentInfo>& segments,
                              const CompactionConfig& config, int64_t now_ms,
                              base::Offset clean_end, base::Offset compactable_end) {
  CompactionPlan plan;
  if (!config.on || segments.empty()) return plan;
  plan.range.dirty_from = std::max(clean_end, segments.front().base);
  plan.range.end = segments.front().base;
  int64_t clean_bytes = 0;
  int64_t dirty_bytes = 0;
  bool overdue = false;
  for (const log::SegmentInfo& segment : segments) {
    if (segment.active) {
      plan.roll_active = segment.bytes > 0 && IsOverdue(segment, config, now_ms);
      break;
    }
    if (segment.end > compactable_end) continue;  // the active one may be overdue all the same
    const bool young = now_ms - segment.newest_ms(now_ms) <= config.lag_min_ms;
    if (config.lag_min_ms > 0 && young) break;
    plan.range.end = segment.end;
    if (segment.end <= clean_end) {
      clean_bytes += segment.bytes;
      continue;
    }
    dirty_bytes += segment.bytes;
    overdue |= IsOverdue(segment, config, now_ms);
  }
  if (dirty_bytes == 0) return plan;
  plan.dirty_ratio =
      static_cast<double>(dirty_bytes) / static_cast<double>(clean_bytes + dirty_bytes);
  plan.due = overdue || plan.dirty_ratio >= config.dirty_ratio_min;
  return plan;
}

std::optional<base::ByteView> LatestByKey::Open(const log::BatchView& batch) {
  const absl::StatusOr<base::ByteView> plain = rewriter_.Open(batch);
  if (plain.ok() &&
      log::CheckRecords(batch, *plain, log::OffsetDeltas::kGaps) == log::BatchError::kNone) {
    return *plain;
  }
  return std::nullopt;
}

bool LatestByKey::Learn(const log::BatchView& batch) {
  if (batch.control()) return true;  // a transaction's marker
  const std::optional<base::ByteView> plain = Open(batch);
  if (!plain.has_value()) return true;  // Filter() counts it
  for (log::RecordCursor cursor(*plain, batch.record_count()); cursor.Next();) {
    const log::RecordView& record = cursor.record();
    if (!record.key.has_value()) continue;
    if (!keys_.Put(*record.key, log::RecordOffset(batch, record))) return false;
  }
  return true;
}

bool LatestByKey::IsKept(const log::BatchView& batch, const log::RecordView& record,
                         bool tombstones_expired) {
  // Of no key it can be the latest; only a topic that was not compacted once can have any.
  if (!record.key.has_value()) return false;
  if (keys_.Find(*record.key) > log::RecordOffset(batch, record)) return false;
  if (record.value.has_value() || !tombstones_expired) return true;
  ++counters_.tombstones_removed;
  return false;
}

absl::StatusOr<LatestByKey::Verdict> LatestByKey::Filter(const log::BatchView& batch,
                                                         std::vector<uint8_t>* out) {
  if (batch.control()) return Verdict::kKeep;
  const std::optional<base::ByteView> plain = Open(batch);
  if (!plain.has_value()) {
    ++counters_.batches_unreadable;
    return Verdict::kKeep;
  }
  const bool expired = batch.has_delete_horizon() && batch.base_timestamp_ms() <= now_ms_;
  bool tombstones = false;
  for (log::RecordCursor cursor(*plain, batch.record_count()); cursor.Next();) {
    const log::RecordView& record = cursor.record();
    if (!IsKept(batch, record, expired)) continue;
    rewriter_.Keep(record);
    tombstones |= !record.value.has_value();
  }
  counters_.records_removed += static_cast<uint64_t>(batch.record_count() - rewriter_.kept());
  if (rewriter_.kept() == 0) return Verdict::kRemove;
  std::optional<int64_t> horizon;
  if (tombstones && !batch.has_delete_horizon()) {
    horizon =
        now_ms_ > INT64_MAX - delete_retention_ms_ ? INT64_MAX : now_ms_ + delete_retention_ms_;
  }
  if (rewriter_.kept() == batch.record_count() && !horizon.has_value()) return Verdict::kKeep;
  const absl::Status rewritten = rewriter_.Finish(horizon, out);
  if (!rewritten.ok()) return rewritten;
  return Verdict::kReplace;
}

}  // namespace ringtail::partition
