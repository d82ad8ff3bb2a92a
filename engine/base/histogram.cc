#include "engine/base/histogram.h"

#include <cmath>

namespace ringtail::base {

void Histogram::Merge(const Histogram& other) {
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) counts_[bucket] += other.counts_[bucket];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

uint64_t Histogram::Percentile(double percent) const {
  if (count_ == 0) return 0;
  const double share = std::clamp(percent, 0.0, 100.0) / 100.0;
  const double wanted = std::ceil(share * static_cast<double>(count_));
  const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(wanted), 1, count_);
  uint64_t seen = 0;
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
    seen += counts_[bucket];
    if (seen >= rank) return std::min(max_, BucketEnd(bucket) - 1);
  }
  return max_;
}

uint64_t Histogram::CountBelow(uint64_t end) const {
  uint64_t below = 0;
  for (size_t bucket = 0; bucket < kBuckets && BucketEnd(bucket) <= end; ++bucket) {
    below += counts_[bucket];
  }
  return below;
}

}  // namespace ringtail::base
