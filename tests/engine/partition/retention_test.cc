#include "engine/partition/retention.h"

#include "gtest/gtest.h"

namespace ringtail::partition {
namespace {

constexpr int64_t kNow = 1'000'000;

// Ten offsets and 100 bytes each; the last one is active.
std::vector<log::SegmentInfo> Segments(const std::vector<int64_t>& timestamps) {
  std::vector<log::SegmentInfo> segments;
  for (size_t i = 0; i < timestamps.size(); ++i) {
    const auto base = static_cast<int64_t>(i) * 10;
    segments.push_back({.base = base::Offset(base),
                        .end = base::Offset(base + 10),
                        .bytes = 100,
                        .max_timestamp_ms = timestamps[i],
                        .modified_ms = kNow - 500,
                        .active = i + 1 == timestamps.size()});
  }
  return segments;
}

RetentionPlan Plan(const std::vector<int64_t>& timestamps, const RetentionConfig& config,
                   int64_t durable_end = 1000) {
  return PlanRetention(Segments(timestamps), config, kNow, base::Offset(durable_end));
}

TEST(RetentionTest, KeepsEverythingWhereNothingIsAsked) {
  EXPECT_EQ(Plan({0, 0, 0}, {}).start.value(), -1);
  EXPECT_FALSE(Plan({0, 0, 0}, {}).roll_active);
}

TEST(RetentionTest, TimeStopsAtTheFirstSegmentThatIsYoungEnough) {
  const RetentionPlan plan =
      Plan({kNow - 2001, kNow - 1001, kNow - 1000, kNow - 5000, kNow}, {.ms = 1000});
  EXPECT_EQ(plan.start.value(), 20);
  EXPECT_EQ(plan.by_time, 2u);
  EXPECT_EQ(plan.bytes, 200);
}

TEST(RetentionTest, BytesLeaveAtLeastWhatIsAsked) {
  EXPECT_EQ(Plan({kNow, kNow, kNow, kNow}, {.bytes = 250}).start.value(), 10);
  EXPECT_EQ(Plan({kNow, kNow, kNow, kNow}, {.bytes = 300}).start.value(), 10);
  EXPECT_EQ(Plan({kNow, kNow, kNow, kNow}, {.bytes = 301}).start.value(), -1);
  EXPECT_EQ(Plan({kNow, kNow, kNow, kNow}, {.bytes = 0}).start.value(), 30) << "not the active one";
  EXPECT_EQ(Plan({kNow, kNow, kNow, kNow}, {.bytes = 0}).by_bytes, 3u);
}

TEST(RetentionTest, NothingThatIsNotDurableGoes) {
  EXPECT_EQ(Plan({0, 0, 0, 0}, {.ms = 10}, 20).start.value(), 20);
  EXPECT_EQ(Plan({0, 0, 0, 0}, {.ms = 10}, 19).start.value(), 10);
}

TEST(RetentionTest, TheActiveSegmentIsRolledWhenAllHasExpired) {
  EXPECT_TRUE(Plan({0, 0}, {.ms = 10}).roll_active);
  EXPECT_FALSE(Plan({0, kNow}, {.ms = 10}).roll_active);
  EXPECT_FALSE(Plan({kNow, 0}, {.ms = 10}).roll_active) << "older ones first";
}

TEST(RetentionTest, WithoutATimestampOrWithOneOfTheFutureTheFilesAgeCounts) {
  EXPECT_EQ(Plan({-1, kNow}, {.ms = 499}).start.value(), 10);
  EXPECT_EQ(Plan({-1, kNow}, {.ms = 500}).start.value(), -1);
  EXPECT_EQ(Plan({kNow + 1'000'000, kNow}, {.ms = 499}).start.value(), 10);
}

}  // namespace
}  // namespace ringtail::partition
