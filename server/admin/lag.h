// How far groups are behind: what they have committed beside where partitions end. The two are
// asked for one after the other, so a lag is never below 0 but may be a moment old.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/admin/snapshot.h"

namespace ringtail::server::admin {

struct LagSnapshot {
  std::string group;
  std::string topic;
  int32_t partition = 0;
  int64_t committed = 0;
  int64_t lag = 0;  // -1: the partition's end is not known
};

class HighWatermarks {
 public:
  explicit HighWatermarks(const std::vector<PartitionSnapshot>& partitions) {
    for (const PartitionSnapshot& each : partitions) {
      if (each.offline_reason.empty()) ends_[{each.topic, each.partition}] = each.high_watermark;
    }
  }
  // -1: the partition's end is not known.
  int64_t Lag(const CommittedSnapshot& committed) const {
    const auto end = ends_.find({committed.topic, committed.partition});
    return end == ends_.end() ? -1 : std::max<int64_t>(end->second - committed.offset, 0);
  }

 private:
  std::map<std::pair<std::string, int32_t>, int64_t> ends_;
};

// Of all groups, `lags_max` at most; how many more there are in *omitted.
inline std::vector<LagSnapshot> LagsOf(const std::vector<GroupSnapshot>& groups,
                                       const std::vector<PartitionSnapshot>& partitions,
                                       size_t lags_max, size_t* omitted) {
  const HighWatermarks ends(partitions);
  std::vector<LagSnapshot> lags;
  *omitted = 0;
  for (const GroupSnapshot& group : groups) {
    *omitted += group.offsets_omitted;
    for (const CommittedSnapshot& each : group.offsets) {
      if (lags.size() == lags_max) {
        ++*omitted;
        continue;
      }
      lags.push_back({.group = group.id,
                      .topic = each.topic,
                      .partition = each.partition,
                      .committed = each.offset,
                      .lag = ends.Lag(each)});
    }
  }
  return lags;
}

}  // namespace ringtail::server::admin
