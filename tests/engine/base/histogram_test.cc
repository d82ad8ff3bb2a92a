#include "engine/base/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace ringtail::base {
namespace {

TEST(Histogram, EmptyIsAllZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.Percentile(99), 0u);
  EXPECT_EQ(histogram.max(), 0u);
  EXPECT_EQ(histogram.mean(), 0u);
}

TEST(Histogram, TakesTwoKibibytes) { EXPECT_LE(sizeof(Histogram), 2048u + 3 * sizeof(uint64_t)); }

TEST(Histogram, BucketsTileTheRangeWithoutGaps) {
  for (size_t bucket = 0; bucket + 1 < Histogram::kBuckets; ++bucket) {
    const uint64_t start = Histogram::BucketStart(bucket);
    const uint64_t end = Histogram::BucketEnd(bucket);
    ASSERT_LT(start, end);
    EXPECT_EQ(Histogram::BucketOf(start), bucket);
    EXPECT_EQ(Histogram::BucketOf(end - 1), bucket);
    EXPECT_EQ(Histogram::BucketStart(bucket + 1), end);
    EXPECT_LE(end - 1 - start, start / 8) << "a bucket is at most an eighth of its start wide";
  }
  EXPECT_EQ(Histogram::BucketOf(UINT64_MAX), Histogram::kBuckets - 1);
}

TEST(Histogram, ValuesBelowSixteenAreExact) {
  Histogram histogram;
  for (uint64_t value = 0; value < 16; ++value) histogram.Record(value);
  for (uint64_t value = 0; value < 16; ++value) {
    EXPECT_EQ(histogram.Percentile(100.0 * static_cast<double>(value + 1) / 16), value);
    EXPECT_EQ(histogram.CountBelow(value), value);
  }
}

TEST(Histogram, PercentilesLieAnEighthAboveTheTruthAtMost) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::lognormal_distribution<double> latency(10, 2);
  Histogram histogram;
  std::vector<uint64_t> values;
  for (int i = 0; i < 20'000; ++i) {
    values.push_back(std::min<uint64_t>(static_cast<uint64_t>(latency(random)), 1ull << 33));
    histogram.Record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double percent : {0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
    const double rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
    const uint64_t truth = values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
    EXPECT_GE(histogram.Percentile(percent), truth) << percent;
    EXPECT_LE(histogram.Percentile(percent), truth + truth / 8) << percent;
  }
}

TEST(Histogram, HugeValuesKeepTheirMaximum) {
  Histogram histogram;
  histogram.Record(1ull << 50);
  EXPECT_EQ(histogram.max(), 1ull << 50);
  EXPECT_EQ(histogram.Percentile(50), 1ull << 50);
  EXPECT_EQ(histogram.CountBelow(1ull << 34), 0u);
}

TEST(Histogram, MergedIsAsIfRecordedTogether) {
  Histogram first, second, both;
  for (uint64_t value = 1; value < 1'000'000; value = value * 3 + 1) {
    (value % 2 == 0 ? first : second).Record(value);
    both.Record(value);
  }
  first.Merge(second);
  EXPECT_EQ(first.count(), both.count());
  EXPECT_EQ(first.sum(), both.sum());
  EXPECT_EQ(first.max(), both.max());
  for (size_t bucket = 0; bucket < Histogram::kBuckets; ++bucket) {
    ASSERT_EQ(first.bucket_count(bucket), both.bucket_count(bucket));
  }
}

TEST(Histogram, CountsBelowPowersOfTwoAreExact) {
  Histogram histogram;
  for (uint64_t value = 0; value < 4096; ++value) histogram.Record(value);
  for (uint64_t end = 1; end <= 4096; end *= 2) EXPECT_EQ(histogram.CountBelow(end), end);
}

}  // namespace
}  // namespace ringtail::base
