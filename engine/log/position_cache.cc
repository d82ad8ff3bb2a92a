#include "engine/log/position_cache.h"

namespace ringtail::log {

void PositionCache::Note(base::Offset offset, base::Offset segment_base, int64_t position) {
  const Entry entry{offset, segment_base, position};
  if (entries_.size() < entries_max_) {
    entries_.push_back(entry);
    return;
  }
  entries_[next_] = entry;
  next_ = (next_ + 1) % entries_max_;
}

std::optional<int64_t> PositionCache::Find(base::Offset offset, base::Offset segment_base) const {
  for (const Entry& entry : entries_) {
    if (entry.offset == offset && entry.segment_base == segment_base) return entry.position;
  }
  return std::nullopt;
}

void PositionCache::ForgetFrom(base::Offset end) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.offset >= end; });
  next_ = 0;
}

}  // namespace ringtail::log
