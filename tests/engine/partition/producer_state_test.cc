#include "engine/partition/producer_state.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/engine/log/batch_maker.h"

namespace ringtail::partition {
namespace {

constexpr int32_t kSequenceMax = std::numeric_limits<int32_t>::max();

class ProducerStateTest : public testing::Test {
 protected:
  std::string Make(int64_t id, int16_t epoch, int32_t sequence, int32_t records = 1,
                   uint16_t attributes = 0) {
    return log::MakeBatch({.records = records,
                           .timestamp_ms = time_ms_,
                           .producer_id = id,
                           .producer_epoch = epoch,
                           .base_sequence = sequence,
                           .base_offset = next_offset_,
                           .attributes = attributes});
  }
  ProducerVerdict Check(int64_t id, int16_t epoch, int32_t sequence, int32_t records = 1) {
    const std::string batch = Make(id, epoch, sequence, records);
    return state_->Check(log::ParseBatch(base::AsBytes(batch)).batch);
  }
  ProducerCheck Append(int64_t id, int16_t epoch, int32_t sequence, int32_t records = 1,
                       uint16_t attributes = 0) {
    const std::string batch = Make(id, epoch, sequence, records, attributes);
    const auto parsed = log::ParseBatch(base::AsBytes(batch));
    const ProducerVerdict verdict = state_->Check(parsed.batch);
    if (verdict.check == ProducerCheck::kNew) {
      state_->Update(parsed.batch);
      next_offset_ += records;
    }
    return verdict.check;
  }
  // Appended and written.
  void Commit() { state_->CommitTo(base::Offset(next_offset_)); }

  void Reset(const ProducerStateOptions& options) {
    state_ = std::make_unique<ProducerState>(options);
  }

  std::unique_ptr<ProducerState> state_ = std::make_unique<ProducerState>();
  int64_t next_offset_ = 0;
  int64_t time_ms_ = 1000;
};

TEST_F(ProducerStateTest, AcceptsSequencesInOrderOnly) {
  EXPECT_EQ(Append(1, 0, 0, 3), ProducerCheck::kNew);
  EXPECT_EQ(Append(1, 0, 3, 2), ProducerCheck::kNew);
  const ProducerVerdict verdict = Check(1, 0, 6);
  EXPECT_EQ(verdict.check, ProducerCheck::kOutOfOrder);
  EXPECT_EQ(verdict.expected_sequence, 5);
  EXPECT_EQ(Check(1, 0, 1).check, ProducerCheck::kOutOfOrder);
  EXPECT_EQ(Append(1, 0, 5), ProducerCheck::kNew);
}

TEST_F(ProducerStateTest, AnswersTheLastFiveBatchesAsDuplicates) {
  for (int32_t i = 0; i < 8; ++i) {
    ASSERT_EQ(Append(9, 0, i * 2, 2), ProducerCheck::kNew);
    Commit();
  }
  Append(8, 0, 0);
  for (int32_t i = 3; i < 8; ++i) {
    const ProducerVerdict verdict = Check(9, 0, i * 2, 2);
    EXPECT_EQ(verdict.check, ProducerCheck::kDuplicate);
    EXPECT_EQ(verdict.base_offset.value(), i * 2);
    EXPECT_EQ(verdict.end_offset.value(), i * 2 + 2);
    EXPECT_EQ(verdict.timestamp_ms, 1000);
  }
  EXPECT_EQ(Check(9, 0, 0, 2).check, ProducerCheck::kOutOfOrder);
  // The same first sequence with another length is no duplicate.
  EXPECT_EQ(Check(9, 0, 14, 1).check, ProducerCheck::kOutOfOrder);
}

// What a snapshot leaves out is recalled from the batches before it.
TEST_F(ProducerStateTest, RecallsTheBatchesThatASnapshotLeavesOut) {
  std::vector<std::string> batches;
  const auto append = [&](int64_t id, int16_t epoch, int32_t sequence) {
    batches.push_back(Make(id, epoch, sequence, 2));
    ASSERT_EQ(Append(id, epoch, sequence, 2), ProducerCheck::kNew);
    Commit();
  };
  append(5, 0, 0);                                      // at 0
  append(5, 1, 0);                                      // at 2
  for (int32_t i = 0; i < 8; ++i) append(9, 0, i * 2);  // at 4 to 18
  append(7, 0, 0);                                      // at 20
  append(5, 1, 2);                                      // at 22
  EXPECT_EQ(state_->HistoryStart(base::Offset(0)), base::Offset(2));
  EXPECT_EQ(state_->HistoryStart(base::Offset(7)), base::Offset(7));
  EXPECT_EQ(state_->HistoryStart(base::Offset(23)), base::Offset(23));
  EXPECT_EQ(state_->HistoryStart(base::Offset(24)), std::nullopt);
  const std::string end = state_->EncodeSnapshot();
  const std::string middle = state_->EncodeSnapshot(base::Offset(17));
  const auto header = [](const std::string& batch) {
    return log::ParseBatch(base::AsBytes(batch)).batch;
  };

  Reset({});
  ASSERT_TRUE(state_->DecodeSnapshot(base::AsBytes(end)).ok());
  EXPECT_EQ(Check(9, 0, 12, 2).check, ProducerCheck::kOutOfOrder);
  for (const std::string& batch : batches) state_->Recall(header(batch));
  for (int32_t i = 3; i < 8; ++i) {
    EXPECT_EQ(Check(9, 0, i * 2, 2).check, ProducerCheck::kDuplicate) << i;
    EXPECT_EQ(Check(9, 0, i * 2, 2).base_offset.value(), 4 + i * 2);
  }
  EXPECT_EQ(Check(9, 0, 4, 2).check, ProducerCheck::kOutOfOrder);
  EXPECT_EQ(Check(5, 1, 0, 2).base_offset.value(), 2);
  EXPECT_EQ(Check(5, 1, 2, 2).base_offset.value(), 22);
  EXPECT_EQ(Append(9, 0, 16, 2), ProducerCheck::kNew);

  // One as of an earlier end has what ended there, and no producer that came later.
  Reset({});
  ASSERT_TRUE(state_->DecodeSnapshot(base::AsBytes(middle)).ok());
  EXPECT_EQ(state_->producer_count(), 2u);
  EXPECT_EQ(Check(9, 0, 10, 2).base_offset.value(), 14);
  EXPECT_EQ(Check(9, 0, 12, 2).check, ProducerCheck::kNew);
  EXPECT_EQ(Check(5, 1, 0, 2).check, ProducerCheck::kDuplicate);
}

TEST_F(ProducerStateTest, SequencesWrapAround) {
  EXPECT_EQ(Append(1, 0, kSequenceMax - 1, 2), ProducerCheck::kNew);
  EXPECT_EQ(Append(1, 0, 0), ProducerCheck::kNew);
  EXPECT_EQ(Append(2, 0, kSequenceMax, 3), ProducerCheck::kNew);  // ends at 1
  EXPECT_EQ(Check(2, 0, kSequenceMax, 3).check, ProducerCheck::kDuplicate);
  EXPECT_EQ(Append(2, 0, 2), ProducerCheck::kNew);
  // And in a snapshot, which keeps only the last sequence and the length.
  EXPECT_EQ(Append(3, 0, kSequenceMax, 3), ProducerCheck::kNew);
  ASSERT_TRUE(state_->DecodeSnapshot(base::AsBytes(state_->EncodeSnapshot())).ok());
  EXPECT_EQ(Check(3, 0, kSequenceMax, 3).check, ProducerCheck::kDuplicate);
}

TEST_F(ProducerStateTest, ANewEpochStartsAtZeroAndFencesTheOldOne) {
  EXPECT_EQ(Append(1, 3, 0, 4), ProducerCheck::kNew);
  EXPECT_EQ(Check(1, 2, 4).check, ProducerCheck::kFenced);
  EXPECT_EQ(Check(1, 4, 4).check, ProducerCheck::kOutOfOrder);
  EXPECT_EQ(Append(1, 4, 0), ProducerCheck::kNew);
  EXPECT_EQ(Check(1, 3, 0, 4).check, ProducerCheck::kFenced);
  EXPECT_EQ(Append(1, 4, 1), ProducerCheck::kNew);
}

TEST_F(ProducerStateTest, AnUnknownProducerMayStartAnywhere) {
  EXPECT_EQ(Append(1, 5, 100), ProducerCheck::kNew);
  EXPECT_EQ(Check(1, 5, 102).check, ProducerCheck::kOutOfOrder);
}

TEST_F(ProducerStateTest, BatchesWithoutAProducerAndBadOnes) {
  EXPECT_EQ(Check(-1, -1, -1).check, ProducerCheck::kNoProducer);
  EXPECT_EQ(Check(1, -1, 0).check, ProducerCheck::kInvalid);
  EXPECT_EQ(Check(1, 0, -1).check, ProducerCheck::kInvalid);
}

TEST_F(ProducerStateTest, ATruncationOfUnwrittenBatchesIsExact) {
  for (int32_t i = 0; i < 6; ++i) ASSERT_EQ(Append(1, 0, i), ProducerCheck::kNew);
  Commit();
  const int64_t committed = next_offset_;
  // More than five, and a new epoch, and a new producer: all unwritten, all taken back.
  for (int32_t i = 6; i < 16; ++i) ASSERT_EQ(Append(1, 0, i), ProducerCheck::kNew);
  ASSERT_EQ(Append(1, 1, 0), ProducerCheck::kNew);
  ASSERT_EQ(Append(2, 0, 0), ProducerCheck::kNew);
  state_->TruncateTo(base::Offset(committed));
  next_offset_ = committed;
  EXPECT_EQ(state_->producer_count(), 1u);
  for (int32_t i = 1; i < 6; ++i) EXPECT_EQ(Check(1, 0, i).check, ProducerCheck::kDuplicate) << i;
  EXPECT_EQ(Check(1, 0, 7).check, ProducerCheck::kOutOfOrder);
  EXPECT_EQ(Append(1, 0, 6), ProducerCheck::kNew);
}

TEST_F(ProducerStateTest, ForgetsIdleProducersButNotOpenTransactions) {
  EXPECT_EQ(Append(1, 0, 0), ProducerCheck::kNew);
  EXPECT_EQ(Append(2, 0, 0, 1, log::kTransactionalBit), ProducerCheck::kNew);
  time_ms_ = 5000;
  EXPECT_EQ(Append(3, 0, 0), ProducerCheck::kNew);
  const int64_t day_ms = ProducerStateOptions().expiration_ms;
  EXPECT_EQ(state_->Expire(1000 + day_ms - 1), 0u);
  EXPECT_EQ(state_->Expire(1000 + day_ms), 1u);
  EXPECT_EQ(state_->producer_count(), 2u);
  EXPECT_EQ(Append(1, 0, 17), ProducerCheck::kNew);
}

TEST_F(ProducerStateTest, BeyondTheBoundTheLongestUnusedIsForgotten) {
  ProducerBudget budget;
  Reset({.producers_max = 2, .budget = &budget});
  EXPECT_EQ(Append(1, 0, 0), ProducerCheck::kNew);
  EXPECT_EQ(Append(2, 0, 0), ProducerCheck::kNew);
  EXPECT_EQ(Append(1, 0, 1), ProducerCheck::kNew);
  Commit();
  EXPECT_EQ(Append(3, 0, 0), ProducerCheck::kNew);
  EXPECT_EQ(state_->producer_count(), 2u);
  EXPECT_EQ(budget.evicted(), 1u);
  EXPECT_EQ(Check(1, 0, 1).check, ProducerCheck::kDuplicate);
  EXPECT_EQ(Check(2, 0, 7).check, ProducerCheck::kNew) << "as one that nobody knows";
  Reset({});  // the budget outlives the state
}

// TruncateTo would otherwise bring back less than there was.
TEST_F(ProducerStateTest, WhoHasAWriteInFlightIsNotForgotten) {
  Reset({.producers_max = 1});
  EXPECT_EQ(Append(1, 0, 0), ProducerCheck::kNew);
  EXPECT_EQ(Append(2, 0, 0, 1, log::kTransactionalBit), ProducerCheck::kNew);
  EXPECT_EQ(state_->producer_count(), 2u);
  Commit();
  EXPECT_EQ(Append(3, 0, 0), ProducerCheck::kNew);
  EXPECT_EQ(Check(2, 0, 0).check, ProducerCheck::kDuplicate) << "its transaction is open";
  EXPECT_EQ(Check(1, 0, 9).check, ProducerCheck::kNew);
}

TEST_F(ProducerStateTest, TheCoresBoundCountsAllPartitions) {
  ProducerBudget budget(3);
  Reset({.budget = &budget});
  {
    ProducerState other({.budget = &budget});
    for (int64_t id : {1, 2}) EXPECT_EQ(Append(id, 0, 0), ProducerCheck::kNew);
    Commit();
    const std::string theirs[] = {Make(1, 0, 0), Make(7, 0, 0)};
    for (const std::string& batch : theirs) {
      other.Update(log::ParseBatch(base::AsBytes(batch)).batch);
    }
    EXPECT_EQ(budget.count(), 3u);
    EXPECT_EQ(state_->producer_count(), 1u) << "the oldest of all was this partition's";
    EXPECT_EQ(other.producer_count(), 2u);
  }
  EXPECT_EQ(budget.count(), 1u);
  Reset({});
  EXPECT_EQ(budget.count(), 0u);
}

TEST_F(ProducerStateTest, SnapshotsRoundTrip) {
  EXPECT_EQ(Append(1, 7, 0, 5), ProducerCheck::kNew);
  EXPECT_EQ(Append(2, 0, 0, 1, log::kTransactionalBit), ProducerCheck::kNew);
  EXPECT_EQ(Append(1, 7, 5, 3), ProducerCheck::kNew);
  const std::string bytes = state_->EncodeSnapshot();
  Reset({});
  ASSERT_TRUE(state_->DecodeSnapshot(base::AsBytes(bytes)).ok());
  EXPECT_EQ(state_->EncodeSnapshot(), bytes);
  EXPECT_EQ(Check(1, 7, 5, 3).check, ProducerCheck::kDuplicate);
  EXPECT_EQ(Check(1, 7, 5, 3).base_offset.value(), 6);
  EXPECT_EQ(Append(1, 7, 8), ProducerCheck::kNew);
}

// The bytes that Kafka's ProducerSnapshot, version 1, has for one producer.
TEST_F(ProducerStateTest, SnapshotBytesAreKafkas) {
  next_offset_ = 0x1000;
  time_ms_ = 0x18c0000000;
  ASSERT_EQ(Append(0x0102030405060708, 0x1112, 0x21222320, 4), ProducerCheck::kNew);
  const std::string bytes = state_->EncodeSnapshot();
  const uint8_t expected[] = {
      0,    0,    0,    1,                                               // count
      1,    2,    3,    4,    5,    6,    7,    8,    0x11, 0x12,        // producer id, epoch
      0x21, 0x22, 0x23, 0x23,                                            // last sequence
      0,    0,    0,    0,    0,    0,    0x10, 0x03, 0,    0,    0, 3,  // last offset, delta
      0,    0,    0,    0x18, 0xc0, 0,    0,    0,                       // timestamp
      0xff, 0xff, 0xff, 0xff,                                            // coordinator epoch
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};                   // no open transaction
  ASSERT_EQ(bytes.size(), 6 + sizeof(expected));
  EXPECT_EQ(bytes.substr(0, 2), std::string("\0\1", 2));
  EXPECT_EQ(bytes.substr(6),
            std::string(reinterpret_cast<const char*>(expected), sizeof(expected)));
  EXPECT_EQ(base::LoadBe<uint32_t>(base::AsBytes(bytes).data() + 2),
            base::Crc32c(base::AsBytes(bytes).subspan(6)));
}

TEST_F(ProducerStateTest, RefusesEveryDamagedSnapshotAndChangesNothing) {
  EXPECT_EQ(Append(1, 7, 0, 5), ProducerCheck::kNew);
  EXPECT_EQ(Append(2, 7, 0, 5), ProducerCheck::kNew);
  const std::string bytes = state_->EncodeSnapshot();
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x40);
    EXPECT_FALSE(state_->DecodeSnapshot(base::AsBytes(damaged)).ok()) << i;
    EXPECT_FALSE(state_->DecodeSnapshot(base::AsBytes(bytes).first(i)).ok()) << i;
  }
  EXPECT_EQ(state_->EncodeSnapshot(), bytes);
}

}  // namespace
}  // namespace ringtail::partition
