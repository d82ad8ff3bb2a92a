// When a partition is worth a pass, and what a pass keeps of each batch.
#include "engine/partition/compaction.h"

#include <optional>
#include <string>
#include <vector>

#include "engine/records/record_batch_builder.h"
#include "engine/records/record_reader.h"
#include "gtest/gtest.h"

namespace ringtail::partition {
namespace {

using base::Offset;
using Verdict = log::BatchFilter::Verdict;

// --- Plans.

constexpr int64_t kNow = 1'000'000;

log::SegmentInfo Segment(int64_t base, int64_t end, int64_t bytes, int64_t newest_ms) {
  return {.base = Offset(base),
          .end = Offset(end),
          .bytes = bytes,
          .first_timestamp_ms = newest_ms,
          .max_timestamp_ms = newest_ms,
          .modified_ms = newest_ms};
}

std::vector<log::SegmentInfo> ThreeAndActive() {
  std::vector<log::SegmentInfo> segments = {Segment(0, 10, 600, 100), Segment(10, 20, 200, 200),
                                            Segment(20, 30, 200, kNow - 50),
                                            Segment(30, 40, 900, kNow - 10)};
  segments.back().active = true;
  return segments;
}

constexpr Offset kAll(INT64_MAX);

TEST(PlanCompactionTest, ByTheDirtyPartOfWhatMayBeRewritten) {
  CompactionConfig config{.on = true, .dirty_ratio_min = 0.4};
  CompactionPlan plan = PlanCompaction(ThreeAndActive(), config, kNow, Offset(10), kAll);
  EXPECT_TRUE(plan.due);
  EXPECT_EQ(plan.range.dirty_from, Offset(10));
  EXPECT_EQ(plan.range.end, Offset(30));
  EXPECT_DOUBLE_EQ(plan.dirty_ratio, 0.4);
  config.dirty_ratio_min = 0.41;
  EXPECT_FALSE(PlanCompaction(ThreeAndActive(), config, kNow, Offset(10), kAll).due);
  EXPECT_TRUE(PlanCompaction(ThreeAndActive(), config, kNow, Offset(0), kAll).due);
  EXPECT_FALSE(PlanCompaction(ThreeAndActive(), config, kNow, Offset(30), kAll).due);
  EXPECT_FALSE(PlanCompaction({}, config, kNow, Offset(0), kAll).due);
}

TEST(PlanCompactionTest, OffWithoutThePolicy) {
  EXPECT_FALSE(PlanCompaction(ThreeAndActive(), {}, kNow, Offset(0), kAll).due);
}

TEST(PlanCompactionTest, NotPastWhatAStartMayRedoNorWhatIsYoung) {
  CompactionConfig config{.on = true};
  EXPECT_EQ(PlanCompaction(ThreeAndActive(), config, kNow, Offset(0), Offset(20)).range.end,
            Offset(20));
  EXPECT_FALSE(PlanCompaction(ThreeAndActive(), config, kNow, Offset(0), Offset(0)).due);
  config.lag_min_ms = 100;
  EXPECT_EQ(PlanCompaction(ThreeAndActive(), config, kNow, Offset(0), kAll).range.end, Offset(20));
}

TEST(PlanCompactionTest, OverdueWhateverTheRatio) {
  CompactionConfig config{.on = true, .lag_max_ms = kNow - 150, .dirty_ratio_min = 1};
  EXPECT_FALSE(PlanCompaction(ThreeAndActive(), config, kNow, Offset(10), kAll).due);
  EXPECT_TRUE(PlanCompaction(ThreeAndActive(), config, kNow, Offset(5), kAll).due);
  EXPECT_FALSE(PlanCompaction(ThreeAndActive(), config, kNow, Offset(5), kAll).roll_active);
  config.lag_max_ms = 5;
  EXPECT_TRUE(PlanCompaction(ThreeAndActive(), config, kNow, Offset(30), kAll).roll_active);
}

// --- What is kept.

struct Input {
  std::optional<std::string> key;
  std::optional<std::string> value;
  int64_t timestamp_ms = 500;
};

std::vector<uint8_t> Batch(int64_t base, const std::vector<Input>& inputs,
                           log::Codec codec = log::Codec::kNone, int64_t producer = -1) {
  records::BuilderOptions options{.compression = {.codec = codec}};
  if (producer >= 0) {
    options.producer_id = producer;
    options.producer_epoch = 2;
    options.base_sequence = 17;
  }
  records::RecordBatchBuilder builder(options);
  for (const Input& input : inputs) {
    records::RecordInput record{.timestamp_ms = input.timestamp_ms};
    if (input.key.has_value()) record.key = base::AsBytes(*input.key);
    if (input.value.has_value()) record.value = base::AsBytes(*input.value);
    EXPECT_EQ(builder.Append(record), records::AppendResult::kAppended);
  }
  auto made = builder.Finish({.base_offset = Offset(base), .leader_epoch = 4});
  EXPECT_TRUE(made.ok());
  return *made;
}

log::BatchView View(const std::vector<uint8_t>& bytes) {
  const auto parsed = log::ParseBatch(bytes);
  EXPECT_TRUE(parsed.ok());
  return parsed.batch;
}

// "offset:key=value@timestamp ..."
std::string Records(const std::vector<uint8_t>& bytes) {
  std::string all;
  records::RecordReader reader;
  EXPECT_EQ(log::ValidateBatch(View(bytes), log::BatchRules::Verbatim()), log::BatchError::kNone);
  EXPECT_TRUE(reader.Open(View(bytes)).ok());
  while (reader.Next()) {
    const records::Record& record = reader.record();
    const auto text = [](const std::optional<base::ByteView>& of) {
      return of.has_value() ? std::string(base::AsText(*of)) : "-";
    };
    all += std::to_string(record.offset.value()) + ":" + text(record.key()) + "=" +
           text(record.value()) + "@" + std::to_string(record.timestamp_ms) + " ";
  }
  EXPECT_TRUE(reader.status().ok());
  return all;
}

class LatestByKeyTest : public testing::Test {
 protected:
  CompactionCounters counters_;
  LatestByKey filter_{1 << 20, /*delete_retention_ms=*/1000, kNow, &counters_};
  std::vector<uint8_t> out_;
};

TEST_F(LatestByKeyTest, KeepsTheLatestOfEachKeyInEveryCodec) {
  for (const log::Codec codec : {log::Codec::kNone, log::Codec::kGzip, log::Codec::kSnappy,
                                 log::Codec::kLz4, log::Codec::kZstd}) {
    SCOPED_TRACE(std::string(log::CodecName(codec)));
    LatestByKey filter(1 << 20, 1000, kNow, &counters_);
    const auto first = Batch(0, {{"a", "1", 600}, {"b", "2", 700}, {"c", "3", 500}}, codec, 9);
    const auto second = Batch(3, {{"b", "4"}, {"d", "5"}}, codec);
    EXPECT_TRUE(filter.Learn(View(first)));
    EXPECT_TRUE(filter.Learn(View(second)));
    std::vector<uint8_t> out;
    EXPECT_EQ(*filter.Filter(View(first), &out), Verdict::kReplace);
    EXPECT_EQ(Records(out), "0:a=1@600 2:c=3@500 ");
    const log::BatchView kept = View(out);
    EXPECT_EQ(kept.codec(), codec);
    EXPECT_EQ(kept.base_offset(), Offset(0));
    EXPECT_EQ(kept.last_offset(), Offset(2));
    EXPECT_EQ(kept.leader_epoch(), 4);
    EXPECT_EQ(kept.producer_id(), 9);
    EXPECT_EQ(kept.base_sequence(), 17);
    EXPECT_EQ(kept.last_sequence(), 19);
    EXPECT_EQ(kept.max_timestamp_ms(), 600);
    out.clear();
    EXPECT_EQ(*filter.Filter(View(second), &out), Verdict::kKeep);
    EXPECT_TRUE(out.empty());
  }
}

TEST_F(LatestByKeyTest, RemovesBatchesThatAreWhollyOutdated) {
  const auto first = Batch(0, {{"a", "1"}, {"b", "2"}});
  const auto second = Batch(2, {{"a", "3"}, {"b", "4"}});
  EXPECT_TRUE(filter_.Learn(View(first)));
  EXPECT_TRUE(filter_.Learn(View(second)));
  EXPECT_EQ(*filter_.Filter(View(first), &out_), Verdict::kRemove);
  EXPECT_EQ(counters_.records_removed, 2u);
}

TEST_F(LatestByKeyTest, RemovesRecordsWithoutAKey) {
  const auto batch = Batch(0, {{std::nullopt, "1"}, {"b", "2"}});
  EXPECT_TRUE(filter_.Learn(View(batch)));
  EXPECT_EQ(*filter_.Filter(View(batch), &out_), Verdict::kReplace);
  EXPECT_EQ(Records(out_), "1:b=2@500 ");
}

TEST_F(LatestByKeyTest, ATombstoneStaysUntilItsHorizon) {
  const auto old = Batch(0, {{"a", "1"}});
  const auto batch = Batch(1, {{"a", std::nullopt, 450}, {"b", "2", 550}}, log::Codec::kLz4);
  EXPECT_TRUE(filter_.Learn(View(old)));
  EXPECT_TRUE(filter_.Learn(View(batch)));
  EXPECT_EQ(*filter_.Filter(View(old), &out_), Verdict::kRemove);
  EXPECT_EQ(*filter_.Filter(View(batch), &out_), Verdict::kReplace);
  EXPECT_EQ(Records(out_), "1:a=-@450 2:b=2@550 ");  // the timestamps are what they were
  EXPECT_TRUE(View(out_).has_delete_horizon());
  EXPECT_EQ(View(out_).base_timestamp_ms(), kNow + 1000);

  std::vector<uint8_t> later;
  LatestByKey before(1 << 20, 1000, kNow + 999, &counters_);
  EXPECT_EQ(*before.Filter(View(out_), &later), Verdict::kKeep);
  LatestByKey after(1 << 20, 1000, kNow + 1000, &counters_);
  EXPECT_EQ(*after.Filter(View(out_), &later), Verdict::kReplace);
  EXPECT_EQ(Records(later), "2:b=2@550 ");
  EXPECT_EQ(counters_.tombstones_removed, 1u);
}

TEST_F(LatestByKeyTest, ABatchWithoutRecordsGoes) {
  const auto batch = Batch(5, {{"a", "1"}, {"b", "2"}}, log::Codec::kZstd, 9);
  std::vector<uint8_t> empty;
  log::AppendEmptyBatch(View(batch), &empty);
  EXPECT_EQ(log::ValidateBatch(View(empty), log::BatchRules::Verbatim()), log::BatchError::kNone);
  EXPECT_EQ(View(empty).last_offset(), Offset(6));
  EXPECT_EQ(View(empty).last_sequence(), 18);
  EXPECT_TRUE(filter_.Learn(View(empty)));
  EXPECT_EQ(*filter_.Filter(View(empty), &out_), Verdict::kRemove);
}

TEST_F(LatestByKeyTest, ABatchWhoseRecordsAreNotWhatItSaysStaysWhole) {
  auto batch = Batch(0, {{"a", "1"}, {"b", "2"}});
  batch[log::kBatchHeaderBytes] ^= 0x40;  // the first record's length
  EXPECT_TRUE(filter_.Learn(View(batch)));
  EXPECT_EQ(*filter_.Filter(View(batch), &out_), Verdict::kKeep);
  EXPECT_EQ(counters_.batches_unreadable, 1u);
}

TEST_F(LatestByKeyTest, SaysWhenThereIsNoRoomForMoreKeys) {
  LatestByKey small(0, 1000, kNow, &counters_);  // the least it has
  int64_t offset = 0;
  while (small.Learn(View(Batch(offset, {{std::to_string(offset), "v"}})))) ++offset;
  EXPECT_GT(offset, 500);
  EXPECT_TRUE(small.Learn(View(Batch(offset, {{"0", "again"}}))));
}

}  // namespace
}  // namespace ringtail::partition
