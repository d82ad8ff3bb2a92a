// A distribution of durations or sizes in 2 KiB of fixed memory: eight buckets to each power of
// two, so that a percentile is at most an eighth above the truth. Record() is a few instructions.
// Not atomic: one per core, merged by whoever reads a copy of each.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace ringtail::base {

class Histogram {
 public:
  static constexpr size_t kBuckets = 256;

  // Values of 2^34 and above (17 s in nanoseconds) share the last bucket; max() stays exact.
  void Record(uint64_t value) {
    ++counts_[BucketOf(value)];
    ++count_;
    sum_ += value;
    max_ = std::max(max_, value);
  }
  void Merge(const Histogram& other);
  void Clear() { *this = Histogram(); }

  uint64_t count() const { return count_; }
  uint64_t sum() const { return sum_; }
  uint64_t max() const { return max_; }  // 0 where nothing was recorded
  uint64_t mean() const { return count_ == 0 ? 0 : sum_ / count_; }

  // The value that `percent` (0 to 100) of the recorded values do not exceed: the upper end of its
  // bucket, but never above max(). 0 where nothing was recorded.
  uint64_t Percentile(double percent) const;

  // How many values lie below `end`, exact where `end` is 0 to 16 or a power of two up to 2^34.
  uint64_t CountBelow(uint64_t end) const;

  // The bucket of a value, and the values of a bucket: [BucketStart(i), BucketEnd(i)).
  static constexpr size_t BucketOf(uint64_t value) {
    if (value < kPerOctave) return static_cast<size_t>(value);
    const unsigned top = static_cast<unsigned>(std::bit_width(value)) - 1;
    const size_t bucket =
        (top - kPerOctaveBits + 1) * kPerOctave + ((value >> (top - kPerOctaveBits)) % kPerOctave);
    return std::min(bucket, kBuckets - 1);
  }
  static constexpr uint64_t BucketStart(size_t bucket) {
    if (bucket < kPerOctave) return bucket;
    const uint64_t octave = bucket / kPerOctave - 1;
    return (kPerOctave + bucket % kPerOctave) << octave;
  }
  static constexpr uint64_t BucketEnd(size_t bucket) {
    return bucket + 1 >= kBuckets ? UINT64_MAX : BucketStart(bucket + 1);
  }
  uint64_t bucket_count(size_t bucket) const { return counts_[bucket]; }

 private:
  static constexpr size_t kPerOctaveBits = 3;
  static constexpr size_t kPerOctave = 1u << kPerOctaveBits;

  std::array<uint64_t, kBuckets> counts_{};
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint64_t max_ = 0;
};

}  // namespace ringtail::base
