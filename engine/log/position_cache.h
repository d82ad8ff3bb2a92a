// Where batches start, for the offsets that readers will most likely ask for next: the latest
// appends and the ends of the latest plans. A hit makes planning a read O(1).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/base/types.h"

namespace ringtail::log {

class PositionCache {
 public:
  explicit PositionCache(size_t entries_max) : entries_max_(entries_max) {}

  // A batch with base offset `offset` starts at `position` of the segment that starts at
  // `segment_base`. The oldest entry makes way.
  void Note(base::Offset offset, base::Offset segment_base, int64_t position);
  // Position of the batch whose base offset is exactly `offset`, if it is known to be in the
  // segment.
  std::optional<int64_t> Find(base::Offset offset, base::Offset segment_base) const;
  // Entries at or past `end`.
  void ForgetFrom(base::Offset end);
  void Clear() { entries_.clear(); }

 private:
  struct Entry {
    base::Offset offset;
    base::Offset segment_base;
    int64_t position;
  };
  size_t entries_max_;
  size_t next_ = 0;
  std::vector<Entry> entries_;  // grows with use
};

}  // namespace ringtail::log
