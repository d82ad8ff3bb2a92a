// Compaction by key: when a partition is worth a pass, and what the pass keeps (KIP-354, KIP-534,
// https://kafka.apache.org/documentation/#compaction). The log does the rewriting
// (engine/log/compaction.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/base/types.h"
#include "engine/log/compaction.h"
#include "engine/log/segment.h"
#include "engine/partition/compaction_counters.h"
#include "engine/partition/key_offsets.h"
#include "engine/records/batch_rewriter.h"

namespace ringtail::partition {

struct CompactionConfig {
  bool on = false;                                   // cleanup.policy has compact
  int64_t lag_min_ms = 0;                            // min.compaction.lag.ms
  int64_t lag_max_ms = INT64_MAX;                    // max.compaction.lag.ms
  double dirty_ratio_min = 0.5;                      // min.cleanable.dirty.ratio
  int64_t delete_retention_ms = 24 * 3600 * 1000LL;  // delete.retention.ms
};

struct CompactionPlan {
  bool due = false;
  log::CompactionRange range;
  double dirty_ratio = 0;
  // The active segment's oldest record has waited lag_max_ms: it is to be rolled.
  bool roll_active = false;
};

// `segments` oldest first, as Log::Segments() gives them; those that end at or below
// `compactable_end` may be rewritten. All below `clean_end` was compacted before. Pure.
CompactionPlan PlanCompaction(const std::vector<log::SegmentInfo>& segments,
                              const CompactionConfig& config, int64_t now_ms,
                              base::Offset clean_end, base::Offset compactable_end);

// Keeps of each key what is latest in the log, tombstones until their horizon. For one pass.
class LatestByKey : public log::BatchFilter {
 public:
  // What a batch's records may take, decompressed; larger ones are kept whole.
  static constexpr size_t kPlainBytesMax = size_t{64} << 20;

  LatestByKey(size_t memory_bytes_max, int64_t delete_retention_ms, int64_t now_ms,
              CompactionCounters* counters)
      : keys_(memory_bytes_max),
        rewriter_(kPlainBytesMax),
        delete_retention_ms_(delete_retention_ms),
        now_ms_(now_ms),
        counters_(*counters) {}

  bool Learn(const log::BatchView& batch) override;
  absl::StatusOr<Verdict> Filter(const log::BatchView& batch, std::vector<uint8_t>* out) override;

 private:
  // nullopt: not what the header says, or more than may be unpacked.
  std::optional<base::ByteView> Open(const log::BatchView& batch);
  bool IsKept(const log::BatchView& batch, const log::RecordView& record, bool tombstones_expired);

  KeyOffsets keys_;
  records::BatchRewriter rewriter_;
  int64_t delete_retention_ms_;
  int64_t now_ms_;
  CompactionCounters& counters_;
};

}  // namespace ringtail::partition
