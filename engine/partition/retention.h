// Which segments a topic's retention lets go, by Kafka's rules: whole segments, from the oldest on,
// never the active one (which is rolled first where all of it has expired). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/base/types.h"
#include "engine/log/segment.h"

namespace ringtail::partition {

struct RetentionConfig {
  int64_t ms = -1;     // retention.ms; -1: for ever
  int64_t bytes = -1;  // retention.bytes; -1: any number

  bool any() const { return ms >= 0 || bytes >= 0; }
  bool operator==(const RetentionConfig&) const = default;
};

struct RetentionPlan {
  base::Offset start{-1};  // the log is to start here; -1: as it is
  size_t by_time = 0;      // segments that go
  size_t by_bytes = 0;
  int64_t bytes = 0;         // in them
  bool roll_active = false;  // all of the active segment has expired: roll it, then plan again
};

// `segments` oldest first, as Log::Segments() gives them. A segment is as old as its largest
// timestamp; as its file's last change where it has none, or one that lies in the future. Nothing
// at or past `durable_end` goes.
RetentionPlan PlanRetention(const std::vector<log::SegmentInfo>& segments,
                            const RetentionConfig& config, int64_t now_ms,
                            base::Offset durable_end);

}  // namespace ringtail::partition
