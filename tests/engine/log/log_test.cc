// The log on the simulated backend and on the real ring: what it promises its callers.
#include "engine/log/log.h"

#include <gtest/gtest.h>

#include "tests/engine/log/log_fixture.h"

namespace ringtail::log {
namespace {

enum class Kind { kSim, kRing };

class LogTest : public testing::TestWithParam<Kind> {
 protected:
  LogTest() {
    if (GetParam() == Kind::kSim) {
      machine_ = std::make_unique<SimMachine>(uint64_t{7});
    } else {
      machine_ = std::make_unique<RingMachine>();
    }
    log_ = std::make_unique<LogUnderTest>(*machine_);
  }
  LogUnderTest& log() { return *log_; }

  std::unique_ptr<Machine> machine_;
  std::unique_ptr<LogUnderTest> log_;
};

INSTANTIATE_TEST_SUITE_P(Backends, LogTest, testing::Values(Kind::kSim, Kind::kRing),
                         [](const auto& info) {
                           return info.param == Kind::kSim ? "Sim" : "Ring";
                         });

TEST_P(LogTest, AssignsOffsetsAndReadsBackWhatWasAppended) {
  log().Create();
  const AppendResult first = log().Append(MakeBatch({.records = 3}) + MakeBatch({.records = 2}), 4);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first.base_offset, At(0));
  EXPECT_EQ(first.end_offset, At(5));
  const AppendResult second = log().Append(MakeBatch({.records = 1, .timestamp_ms = 77}), 4);
  EXPECT_EQ(second.base_offset, At(5));
  EXPECT_EQ(second.max_timestamp_ms, 77);
  ASSERT_TRUE(log().Wait(second).ok());
  EXPECT_EQ(log()->written_end(), At(6));
  EXPECT_EQ(log()->log_end(), At(6));
  EXPECT_EQ(log()->epochs().latest(), 4);

  const std::string bytes = log().ReadAll();
  const std::string expected =
      MakeBatch({.records = 3, .base_offset = 0, .leader_epoch = 4}) +
      MakeBatch({.records = 2, .base_offset = 3, .leader_epoch = 4}) +
      MakeBatch({.records = 1, .timestamp_ms = 77, .base_offset = 5, .leader_epoch = 4});
  EXPECT_EQ(bytes, expected);
  EXPECT_EQ(log()->size_bytes(), static_cast<int64_t>(expected.size()));
}

TEST_P(LogTest, PlansWholeBatchesWithinTheBound) {
  log().Create();
  const int64_t size = static_cast<int64_t>(MakeBatch({.records = 2}).size());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(log().Write(MakeBatch({.records = 2})).ok());
  auto plan = log().Plan(0, INT64_MAX, 3 * size + size / 2);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->bytes, 3 * size);
  EXPECT_EQ(plan->next_offset, At(6));
  // From the middle of a batch: that batch and those after it, below the bound.
  plan = log().Plan(7, 12);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->position.value(), 3 * size);
  EXPECT_EQ(plan->bytes, 3 * size);
  EXPECT_EQ(plan->next_offset, At(12));
  // An upper bound inside a batch leaves it out.
  plan = log().Plan(8, 11);
  EXPECT_EQ(plan->bytes, size);
  EXPECT_EQ(log().Plan(0, INT64_MAX, 1, /*at_least_one=*/true)->bytes, size);
  EXPECT_EQ(log().Plan(0, INT64_MAX, 1, /*at_least_one=*/false)->bytes, 0);
  EXPECT_EQ(log().Plan(20)->bytes, 0);
  EXPECT_TRUE(absl::IsOutOfRange(log().Plan(21).status()));
  log().machine().Run(LogUnderTest::Release(*std::move(plan)));
}

TEST_P(LogTest, RollsBySizeAndReadsAcrossSegments) {
  log().config.segment_bytes_max = 4000;
  log().Create();
  std::string expected;
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(log().Write(MakeBatch({.records = 1, .value_bytes = 500})).ok());
    expected += MakeBatch({.records = 1, .value_bytes = 500, .base_offset = i, .leader_epoch = 0});
  }
  EXPECT_GT(log()->segment_count(), 5u);
  EXPECT_EQ(log().ReadAll(), expected);
  EXPECT_EQ(log().ReadAll(1300), expected);
  ASSERT_TRUE(log().Reopen().ok());
  EXPECT_FALSE(log().info.scanned);
  EXPECT_EQ(log()->log_end(), At(60));
  EXPECT_EQ(log().ReadAll(), expected);
  EXPECT_EQ(log().ReadAll(1300), expected);
}

TEST_P(LogTest, KillLosesNothingThatWasWritten) {
  log().config.segment_bytes_max = 4000;
  log().Create();
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(log().Write(MakeBatch({.records = 2, .value_bytes = 300}), i / 10).ok());
  }
  const std::string before = log().ReadAll();
  ASSERT_TRUE(log().KillAndOpen().ok());
  EXPECT_TRUE(log().info.scanned);
  EXPECT_EQ(log().info.cut_reason, "");
  EXPECT_EQ(log()->log_end(), At(60));
  EXPECT_EQ(log().ReadAll(), before);
  EXPECT_EQ(log()->epochs().entries(),
            (std::vector<EpochEntry>{{0, At(0)}, {1, At(20)}, {2, At(40)}}));
  ASSERT_TRUE(log().Write(MakeBatch({.records = 2}), 3).ok());
  EXPECT_EQ(log()->log_end(), At(62));
}

// A snapshot has one batch of each producer.
TEST_P(LogTest, RecallsWhatACleanStopKnewFromBeforeItsSnapshot) {
  log().Create();
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(log().Write(MakeBatch({})).ok());
  ASSERT_TRUE(log().Reopen().ok());
  EXPECT_EQ(log().observer().snapshot, 30);
  EXPECT_TRUE(log().observer().recalled.empty());
  // From there on, though a segment was rolled since.
  log().observer().history_start = At(17);
  ASSERT_TRUE(log().Do([&] { return log()->Roll(); }).ok());
  ASSERT_TRUE(log().Write(MakeBatch({.records = 2})).ok());
  ASSERT_TRUE(log().Reopen().ok());
  EXPECT_EQ(log().observer().snapshot, 32);
  EXPECT_TRUE(log().observer().replayed.empty());
  std::vector<int64_t> recalled;
  for (int64_t i = 17; i <= 30; ++i) recalled.push_back(i);
  EXPECT_EQ(log().observer().recalled, recalled);
  // A stop to which nothing came leaves all as it is.
  ASSERT_TRUE(log().Reopen().ok());
  EXPECT_EQ(log().observer().recalled, recalled);
  log().observer().history_start = At(30);
  ASSERT_TRUE(log().Write(MakeBatch({})).ok());
  ASSERT_TRUE(log().Reopen().ok());
  EXPECT_EQ(log().observer().recalled, (std::vector<int64_t>{30, 32}));
}

TEST_P(LogTest, RecallsBatchesFromBeforeARollAfterAKill) {
  log().Create();
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(log().Write(MakeBatch({.records = 1000})).ok());
  ASSERT_TRUE(log().Do([&] { return log()->Roll(); }).ok());
  ASSERT_TRUE(log().Write(MakeBatch({})).ok());
  ASSERT_TRUE(log().machine().Run(log()->Sync()).ok());
  ASSERT_TRUE(log().KillAndOpen().ok());
  EXPECT_EQ(log().observer().snapshot, 30'000);
  EXPECT_EQ(log().observer().replayed, std::vector<int64_t>{30'000});
  ASSERT_EQ(log().observer().recalled.size(), 20u);
  EXPECT_EQ(log().observer().recalled.front(), 10'000);
  EXPECT_EQ(log().observer().recalled.back(), 29'000);
}

TEST_P(LogTest, TruncatesToABatchAndGoesOn) {
  log().config.segment_bytes_max = 4000;
  log().Create();
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(
        log().Write(MakeBatch({.records = 2, .value_bytes = 200, .timestamp_ms = i}), i / 10).ok());
  }
  const std::string all = log().ReadAll();
  const int64_t size = static_cast<int64_t>(all.size()) / 40;
  ASSERT_TRUE(log().machine().Run(log()->Truncate(At(50), base::kNever)).ok());
  EXPECT_EQ(log()->log_end(), At(50));
  EXPECT_EQ(log()->written_end(), At(50));
  EXPECT_EQ(log().ReadAll(), all.substr(0, static_cast<size_t>(25 * size)));
  EXPECT_EQ(log()->epochs().latest(), 2);
  // Producers were replayed up to the new end.
  EXPECT_EQ(log().observer().replayed.empty() ? log().observer().snapshot
                                              : log().observer().replayed.back() + 2,
            50);
  ASSERT_TRUE(log().Write(MakeBatch({.records = 1}), 9).ok());
  EXPECT_EQ(log()->log_end(), At(51));
  ASSERT_TRUE(log().KillAndOpen().ok());
  EXPECT_EQ(log()->log_end(), At(51));
  // A point inside a batch takes the whole batch away.
  ASSERT_TRUE(log().machine().Run(log()->Truncate(At(31), base::kNever)).ok());
  EXPECT_EQ(log()->log_end(), At(30));
  ASSERT_TRUE(log().machine().Run(log()->TruncateFullyAndStartAt(At(1000), base::kNever)).ok());
  EXPECT_EQ(log()->log_start(), At(1000));
  EXPECT_EQ(log().ReadAll(), "");
  ASSERT_TRUE(log().Write(MakeBatch({.records = 1}), 9).ok());
  ASSERT_TRUE(log().Reopen().ok());
  EXPECT_EQ(log()->log_start(), At(1000));
  EXPECT_EQ(log()->log_end(), At(1001));
}

TEST_P(LogTest, ATruncationWaitsForThePinsAboveItAndGivesUpAtItsDeadline) {
  log().Create();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(log().Write(MakeBatch({.records = 1})).ok());
  auto held = log().Plan(0);
  ASSERT_TRUE(held.ok());
  const absl::Status refused = log().machine().Run(
      log()->Truncate(At(5), log().machine().io().Now() + base::kNanosPerMilli));
  EXPECT_TRUE(absl::IsDeadlineExceeded(refused)) << refused;
  EXPECT_EQ(log()->log_end(), At(10));
  EXPECT_EQ(log().observer().revoked, 1);
  ASSERT_TRUE(log().Write(MakeBatch({.records = 1})).ok());
  // The readers are told, and let go.
  log().observer().on_revoke = [&] { held->pin.Release(); };
  EXPECT_TRUE(log().machine().Run(log()->Truncate(At(5), base::kNever)).ok());
  EXPECT_EQ(log()->log_end(), At(5));
}

TEST_P(LogTest, VerbatimKeepsOffsetsEpochsAndGaps) {
  log().Create();
  const std::string first = MakeBatch({.records = 2, .base_offset = 10, .leader_epoch = 3});
  const std::string second = MakeBatch({.records = 1, .base_offset = 20, .leader_epoch = 5});
  ASSERT_TRUE(log().Wait(log().AppendVerbatim(first + second)).ok());
  EXPECT_EQ(log()->log_end(), At(21));
  EXPECT_EQ(log().AppendVerbatim(first).error, AppendError::kBadOffset);
  EXPECT_EQ(log().AppendVerbatim("nonsense").error, AppendError::kBadBatches);
  EXPECT_EQ(log().ReadAll(), first + second);
  // In the gap: the next batch.
  EXPECT_EQ(log().Plan(15)->bytes, static_cast<int64_t>(second.size()));
  EXPECT_EQ(log()->epochs().entries(), (std::vector<EpochEntry>{{3, At(10)}, {5, At(20)}}));
}

TEST_P(LogTest, DropsSegmentsBelowTheStart) {
  log().config.segment_bytes_max = 2000;
  log().Create();
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(log().Write(MakeBatch({.records = 1, .value_bytes = 300})).ok());
  }
  const size_t before = log()->segment_count();
  ASSERT_TRUE(log().machine().Run(log()->Trim(At(20))).ok());
  EXPECT_TRUE(absl::IsOutOfRange(log().Plan(19).status()));
  auto removed = log().machine().Run(log()->RemoveSegmentsBelowStart());
  ASSERT_TRUE(removed.ok());
  EXPECT_GT(*removed, 0u);
  EXPECT_EQ(log()->segment_count(), before - *removed);
  EXPECT_GT(log().Plan(20)->bytes, 0);
  ASSERT_TRUE(log().Reopen().ok());
  EXPECT_EQ(log()->log_start(), At(20));
  EXPECT_EQ(log()->log_end(), At(40));
}

TEST_P(LogTest, FindsOffsetsByTime) {
  log().config.segment_bytes_max = 3000;
  log().config.index_interval_bytes = 300;
  log().Create();
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(log()
                    .Write(MakeBatch({.records = 2,
                                      .value_bytes = 50,
                                      .timestamp_ms = 1000 + i * 10,
                                      .timestamp_step_ms = 5}))
                    .ok());
  }
  for (const bool reopened : {false, true}) {
    if (reopened) ASSERT_TRUE(log().Reopen().ok());
    for (int i = 0; i < 100; ++i) {
      for (const int64_t early : {0, 4}) {
        auto found =
            log().machine().Run(log()->OffsetForTimestamp(1000 + i * 5 - early, At(INT64_MAX)));
        ASSERT_TRUE(found.ok()) << found.status();
        ASSERT_TRUE(found->has_value());
        EXPECT_EQ((*found)->offset, At(i));
        EXPECT_EQ((*found)->timestamp_ms, 1000 + i * 5);
      }
    }
    EXPECT_FALSE(log().machine().Run(log()->OffsetForTimestamp(1496, At(INT64_MAX)))->has_value());
    EXPECT_FALSE(log().machine().Run(log()->OffsetForTimestamp(1400, At(80)))->has_value());
    auto latest = log().machine().Run(log()->OffsetOfMaxTimestamp());
    ASSERT_TRUE(latest.ok() && latest->has_value());
    EXPECT_EQ((*latest)->offset, At(99));
    EXPECT_EQ((*latest)->timestamp_ms, 1495);
  }
}

TEST_P(LogTest, AppendsOfOneTurnShareAWrite) {
  log().Create();
  ASSERT_TRUE(log().Write(MakeBatch({})).ok());
  const uint64_t writes = log().env().write_times().count;
  AppendResult last;
  std::vector<std::string> batches(20, MakeBatch({}));
  log().Do([&] {
    for (std::string& batch : batches) last = log()->AppendAsLeader(Bytes(batch), 0);
    return true;
  });
  ASSERT_TRUE(log().Wait(last).ok());
  EXPECT_EQ(log().env().write_times().count, writes + 1);
}

TEST_P(LogTest, RefusesAppendsOnceClosed) {
  log().Create();
  ASSERT_TRUE(log().Write(MakeBatch({})).ok());
  ASSERT_TRUE(log().machine().Run(log()->Close()).ok());
  EXPECT_EQ(log().Append(MakeBatch({})).error, AppendError::kClosed);
  EXPECT_GT(log().Plan(0)->bytes, 0);
}

}  // namespace
}  // namespace ringtail::log
