// The rules by which the entries of one partition lead to the end of its log, one by one.
#include "engine/log/journal/recovery_chain.h"

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "engine/task/scheduler.h"
#include "gtest/gtest.h"

namespace ringtail::log {
namespace {

using Place = std::tuple<uint64_t, uint64_t, uint32_t>;

// FakeEvidence never waits.
template <class T>
T RunTask(task::Task<T> work) {
  task::Scheduler scheduler;
  const task::Scheduler::Scope scope(scheduler);
  std::optional<T> result;
  task::Spawn("test", [](task::Task<T> work, std::optional<T>* result) -> task::Task<void> {
    result->emplace(co_await std::move(work));
  }(std::move(work), &result));
  scheduler.RunReady(100);
  EXPECT_TRUE(result.has_value());
  return *std::move(result);
}

Place PlaceOf(const LogEnd& end) { return {end.offset, end.segment_base, end.position}; }

// Segments that have what the test says.
class FakeEvidence : public SegmentEvidence {
 public:
  task::Task<bool> Holds(const EntryHeader& entry) override {
    co_return holds.contains(entry.base_offset);
  }
  task::Task<bool> Connects(LogEnd from, LogEnd to, std::map<uint64_t, uint32_t>*) override {
    asked.emplace_back(PlaceOf(from), PlaceOf(to));
    co_return connects;
  }
  std::set<uint64_t> holds;  // base offsets
  bool connects = false;
  std::vector<std::pair<Place, Place>> asked;
};

class RecoveryChainTest : public testing::Test {
 protected:
  // An APPEND of `records` records, 100 bytes each, in one frame of its own.
  ScannedEntry& Append(uint64_t seq, uint64_t base, uint64_t records, uint64_t segment = 0) {
    ScannedEntry& each = Add(EntryType::kAppend, seq);
    each.entry.base_offset = base;
    each.entry.end_offset = base + records;
    each.entry.segment_base = segment;
    each.entry.position = static_cast<uint32_t>((base - segment) * 100);
    each.entry.payload_bytes = static_cast<uint32_t>(records * 100);
    return each;
  }
  // Any other type; of a log whose records have 100 bytes.
  ScannedEntry& At(EntryType type, uint64_t seq, uint64_t offset, uint8_t flags = 0,
                   uint64_t segment = 0) {
    ScannedEntry& each = Add(type, seq);
    each.entry.base_offset = each.entry.end_offset = offset;
    each.entry.segment_base = segment;
    each.entry.position = static_cast<uint32_t>((offset - segment) * 100);
    each.entry.flags = flags;
    return each;
  }
  // R of a record: `offset` in segment 0, in place up to `seq`.
  void Record(uint64_t offset, uint64_t seq, uint32_t flags = 0) {
    record_.emplace();
    record_->offset = offset;
    record_->position = static_cast<uint32_t>(offset * 100);
    record_->sync_seq = seq;
    record_->flags = flags;
  }
  Chain Follow(std::vector<SeqRange> lost = {}) {
    std::vector<const ScannedEntry*> entries;
    for (const ScannedEntry& each : entries_) entries.push_back(&each);
    auto chain = RunTask(FollowChain(record_, entries, lost, evidence_));
    EXPECT_TRUE(chain.ok()) << chain.status();
    return chain.ok() ? *chain : Chain();
  }

  std::deque<ScannedEntry> entries_;
  std::optional<CheckpointRecord> record_;
  FakeEvidence evidence_;

 private:
  ScannedEntry& Add(EntryType type, uint64_t seq) {
    ScannedEntry& each = entries_.emplace_back();
    each.seq = seq;
    each.entry.type = static_cast<uint8_t>(type);
    return each;
  }
};

TEST_F(RecoveryChainTest, NothingIsKnownWithoutRecordAndEntry) {
  const Chain chain = Follow();
  EXPECT_FALSE(chain.has_end);
  EXPECT_FALSE(chain.suspect);
}

TEST_F(RecoveryChainTest, ARecordAloneIsTheEnd) {
  Record(7, 3);
  const Chain chain = Follow();
  EXPECT_TRUE(chain.has_end);
  EXPECT_EQ(PlaceOf(chain.end), Place(7, 0, 700));
  EXPECT_TRUE(chain.writes.empty());
}

TEST_F(RecoveryChainTest, AppendsLeadOnFromTheRecord) {
  Record(2, 1);
  Append(2, 2, 3);
  Append(3, 5, 1);
  const Chain chain = Follow();
  EXPECT_EQ(PlaceOf(chain.end), Place(6, 0, 600));
  EXPECT_EQ(chain.writes.size(), 2u);
  EXPECT_FALSE(chain.refused) << chain.reason;
}

TEST_F(RecoveryChainTest, AnAppendAtByteZeroOpensASegment) {
  Record(2, 1);
  Append(2, 2, 3, 2);
  const Chain chain = Follow();
  EXPECT_EQ(PlaceOf(chain.end), Place(5, 2, 300));
  EXPECT_EQ(chain.lengths, (std::map<uint64_t, uint32_t>{{0, 200}, {2, 300}}));
}

TEST_F(RecoveryChainTest, OffsetsOfCompactedLeadersMayLeap) {
  Record(2, 1);
  Append(2, 9, 1, 9);
  const Chain chain = Follow();
  EXPECT_FALSE(chain.refused) << chain.reason;
  EXPECT_EQ(chain.end.offset, 10u);
}

TEST_F(RecoveryChainTest, AGapIsRefusedWithBothPlaces) {
  Record(2, 1);
  Append(3, 4, 1);
  const Chain chain = Follow();
  EXPECT_TRUE(chain.refused);
  EXPECT_EQ(PlaceOf(chain.end), Place(2, 0, 200));
  EXPECT_NE(chain.reason.find("offset 2 "), std::string::npos) << chain.reason;
  EXPECT_NE(chain.reason.find("offset 4 "), std::string::npos) << chain.reason;
  EXPECT_TRUE(evidence_.asked.empty()) << "no frame was lost that could have had it";
}

TEST_F(RecoveryChainTest, AGapOfALostFrameIsHealedBySegmentsThatHaveIt) {
  Record(2, 1);
  Append(3, 4, 1);
  evidence_.connects = true;
  const Chain chain = Follow({{2, 2}});
  EXPECT_FALSE(chain.refused) << chain.reason;
  EXPECT_EQ(chain.healed, 1u);
  EXPECT_EQ(chain.end.offset, 5u);
  EXPECT_EQ(evidence_.asked.size(), 1u);
}

TEST_F(RecoveryChainTest, AGapOfALostFrameThatSegmentsDoNotFillIsRefused) {
  Record(2, 1);
  Append(3, 4, 1);
  EXPECT_TRUE(Follow({{2, 2}}).refused);
}

TEST_F(RecoveryChainTest, ALeapIsNoneWhereFramesAreLost) {
  Record(2, 1);
  Append(3, 9, 1, 9);
  EXPECT_TRUE(Follow({{2, 2}}).refused);
}

TEST_F(RecoveryChainTest, ADamagedPayloadIsHealedBySegmentsThatHoldIt) {
  Record(2, 1);
  Append(2, 2, 3).whole = false;
  evidence_.holds = {2};
  const Chain chain = Follow();
  EXPECT_FALSE(chain.refused);
  EXPECT_EQ(chain.healed, 1u);
  EXPECT_EQ(chain.end.offset, 5u);
}

TEST_F(RecoveryChainTest, ADamagedPayloadThatNoSegmentHoldsIsRefused) {
  Record(2, 1);
  Append(2, 2, 3).whole = false;
  Append(3, 5, 1);
  const Chain chain = Follow();
  EXPECT_TRUE(chain.refused);
  EXPECT_EQ(chain.end.offset, 2u);
  EXPECT_TRUE(chain.writes.empty());
}

TEST_F(RecoveryChainTest, ALostFrameBehindTheLastEntryMakesASuspect) {
  Record(2, 1);
  Append(2, 2, 3);
  const Chain chain = Follow({{3, 4}});
  EXPECT_TRUE(chain.suspect);
  EXPECT_FALSE(chain.refused);
  EXPECT_EQ(chain.end.offset, 5u);
}

TEST_F(RecoveryChainTest, ALostFrameThatTheNextEntryContinuesOverIsNoDamage) {
  Record(2, 1);
  Append(3, 2, 3);
  const Chain chain = Follow({{2, 2}});
  EXPECT_FALSE(chain.refused || chain.suspect) << chain.reason;
}

TEST_F(RecoveryChainTest, ALostFrameUpToTheRecordIsNoDamage) {
  Record(2, 5);
  const Chain chain = Follow({{3, 5}});
  EXPECT_FALSE(chain.refused || chain.suspect) << chain.reason;
  EXPECT_FALSE(chain.lossy);
}

TEST_F(RecoveryChainTest, RefusedAndALostFrameBehindIsSuspectToo) {
  Record(2, 1);
  Append(3, 4, 1);
  const Chain chain = Follow({{2, 2}, {4, 4}});
  EXPECT_TRUE(chain.refused);
  EXPECT_TRUE(chain.suspect);
}

TEST_F(RecoveryChainTest, ALostFrameBeforeTheFirstEntryIsAGapFromOffsetZero) {
  Append(3, 4, 1);
  const Chain chain = Follow({{1, 2}});
  EXPECT_TRUE(chain.refused);
  ASSERT_EQ(evidence_.asked.size(), 1u);
  EXPECT_EQ(evidence_.asked[0].first, Place(0, 0, 0));
  EXPECT_EQ(evidence_.asked[0].second, Place(4, 0, 400));
}

TEST_F(RecoveryChainTest, ALostFrameBeforeTheFirstEntryIsHealedBySegments) {
  Append(3, 4, 1);
  evidence_.connects = true;
  const Chain chain = Follow({{1, 2}});
  EXPECT_FALSE(chain.refused) << chain.reason;
  EXPECT_EQ(PlaceOf(chain.end), Place(5, 0, 500));
  EXPECT_EQ(chain.healed, 1u);
}

TEST_F(RecoveryChainTest, ALostFrameBeforeALogsFirstBatchIsNoDamage) {
  Append(3, 0, 1);
  const Chain chain = Follow({{1, 2}});
  EXPECT_FALSE(chain.refused || chain.suspect) << chain.reason;
}

TEST_F(RecoveryChainTest, WhatWasTrimmedNeedNotBeThere) {
  Append(3, 4, 1, 4);
  At(EntryType::kTrim, 4, 4);
  const Chain chain = Follow({{1, 2}});
  EXPECT_FALSE(chain.refused) << chain.reason;
  EXPECT_EQ(chain.log_start, 4u);
}

TEST_F(RecoveryChainTest, TruncateMovesTheEndBackAndDropsWrites) {
  Record(2, 1);
  Append(2, 2, 3);
  Append(3, 5, 2, 5);
  At(EntryType::kTruncate, 4, 3);
  const Chain chain = Follow();
  EXPECT_EQ(PlaceOf(chain.end), Place(3, 0, 300));
  EXPECT_EQ(chain.lengths, (std::map<uint64_t, uint32_t>{{0, 300}}));
  EXPECT_EQ(chain.writes.size(), 1u);  // its first part is below the cut
  EXPECT_TRUE(chain.ends_cut);
}

TEST_F(RecoveryChainTest, TruncateBelowTheRecordSaysHowLowFilesMustReach) {
  Record(5, 1);
  At(EntryType::kTruncate, 2, 3);
  Append(3, 3, 1);
  const Chain chain = Follow();
  EXPECT_EQ(PlaceOf(chain.lowest), Place(3, 0, 300));
  EXPECT_EQ(chain.end.offset, 4u);
}

TEST_F(RecoveryChainTest, TruncateAboveTheChainsEndTellsOfAGap) {
  Record(2, 1);
  At(EntryType::kTruncate, 3, 4);
  EXPECT_TRUE(Follow({{2, 2}}).refused);
  EXPECT_EQ(evidence_.asked.size(), 1u);
  evidence_.connects = true;
  const Chain healed = Follow({{2, 2}});
  EXPECT_FALSE(healed.refused);
  EXPECT_EQ(healed.end.offset, 4u);
}

TEST_F(RecoveryChainTest, APageCacheLogIsCutWhereverItEnds) {
  Record(2, 1, kRecordPageCache);
  At(EntryType::kTruncate, 2, 9);
  const Chain chain = Follow();
  EXPECT_FALSE(chain.refused) << chain.reason;
  EXPECT_TRUE(chain.page_cache && chain.ends_cut);
}

TEST_F(RecoveryChainTest, TruncateThatStartsAfreshForgetsAll) {
  Record(5, 1);
  Append(3, 9, 1);  // behind a gap, and void
  At(EntryType::kTruncate, 4, 40, kTruncateStartFresh, 40);
  Append(5, 40, 1, 40);
  const Chain chain = Follow();
  EXPECT_FALSE(chain.refused) << chain.reason;
  EXPECT_EQ(chain.log_start, 40u);
  EXPECT_EQ(PlaceOf(chain.end), Place(41, 40, 100));
}

TEST_F(RecoveryChainTest, TrimRaisesTheStartAndNeverLowersIt) {
  Record(9, 1);
  At(EntryType::kTrim, 2, 5);
  At(EntryType::kTrim, 3, 4);
  EXPECT_EQ(Follow().log_start, 5u);
}

TEST_F(RecoveryChainTest, ATrimInALostFrameIsToldByAnyEntryBehindIt) {
  Record(9, 1);
  TellStart(5, &Append(3, 9, 1).entry);
  EXPECT_EQ(Follow({{2, 2}}).log_start, 5u);
}

TEST_F(RecoveryChainTest, WhatAnEntrySaysWasTrimmedNeedNotBeThere) {
  TellStart(4, &Append(3, 4, 1, 4).entry);
  const Chain chain = Follow({{1, 2}});
  EXPECT_FALSE(chain.refused) << chain.reason;
  EXPECT_EQ(chain.log_start, 4u);
}

TEST_F(RecoveryChainTest, TruncateThatStartsAfreshMayMoveTheStartBack) {
  Record(9, 1);
  TellStart(8, &At(EntryType::kTruncate, 2, 40, kTruncateStartFresh, 40).entry);
  At(EntryType::kTruncate, 3, 6, kTruncateStartFresh, 6);
  EXPECT_EQ(Follow().log_start, 6u);
}

TEST_F(RecoveryChainTest, ATruncateBelowTheStartMovesItBack) {
  Record(9, 1);
  At(EntryType::kTrim, 2, 5);
  At(EntryType::kTruncate, 3, 2);
  Append(4, 2, 6);
  EXPECT_EQ(Follow().log_start, 2u);
}

TEST_F(RecoveryChainTest, ATruncateThatIsVoidBehindAnInPlaceMovesTheStartAllTheSame) {
  Record(9, 1);
  At(EntryType::kTrim, 2, 5);
  At(EntryType::kTruncate, 3, 2);
  At(EntryType::kInPlace, 4, 4);
  EXPECT_EQ(Follow().log_start, 2u);
}

TEST_F(RecoveryChainTest, AnEmptyLogOnRecordBeginsAtAnyOffset) {
  Record(0, 1);
  Append(2, 9, 1, 9);
  const Chain chain = Follow();
  EXPECT_FALSE(chain.refused) << chain.reason;
  EXPECT_EQ(chain.log_start, 9u);
}

TEST_F(RecoveryChainTest, DropVoidsAllBeforeIt) {
  Record(2, 1);
  Append(2, 2, 1);
  At(EntryType::kDrop, 3, 0);
  EXPECT_TRUE(Follow().dropped);
}

TEST_F(RecoveryChainTest, DropBehindAGapIsSeen) {
  Record(2, 1);
  Append(3, 4, 1);
  At(EntryType::kDrop, 4, 0);
  const Chain chain = Follow({{2, 2}, {5, 6}});
  EXPECT_TRUE(chain.dropped);
  EXPECT_FALSE(chain.refused || chain.suspect);
}

TEST_F(RecoveryChainTest, InPlaceVoidsWhatItCannotConnect) {
  Record(2, 1);
  Append(3, 4, 1);  // behind a gap
  At(EntryType::kInPlace, 4, 8);
  Append(5, 8, 1);
  const Chain chain = Follow({{2, 2}});
  EXPECT_FALSE(chain.refused) << chain.reason;
  EXPECT_EQ(PlaceOf(chain.start), Place(8, 0, 800));
  EXPECT_EQ(chain.end.offset, 9u);
  EXPECT_EQ(chain.writes.size(), 1u);
}

TEST_F(RecoveryChainTest, InPlaceTellsTheMode) {
  Record(2, 1);
  At(EntryType::kInPlace, 2, 2, kInPlacePageCache);
  EXPECT_TRUE(Follow().page_cache);
  At(EntryType::kInPlace, 3, 6);
  EXPECT_FALSE(Follow().page_cache);
}

TEST_F(RecoveryChainTest, InPlaceTellsThatACoreReleasedIt) {
  Record(2, 1);
  At(EntryType::kInPlace, 2, 2, kInPlaceReleased);
  EXPECT_TRUE(Follow().released);
}

TEST_F(RecoveryChainTest, EpochsRiseAndLeadNowhere) {
  Record(2, 1);
  At(EntryType::kEpoch, 2, 2).entry.leader_epoch = 7;
  Append(3, 2, 1).entry.leader_epoch = 6;
  const Chain chain = Follow();
  EXPECT_EQ(chain.leader_epoch, 7u);
  EXPECT_EQ(chain.end.offset, 3u);
}

TEST_F(RecoveryChainTest, AnUnknownTypeStartsNoBroker) {
  At(static_cast<EntryType>(7), 1, 0);
  std::vector<const ScannedEntry*> entries = {&entries_.front()};
  const auto chain = RunTask(FollowChain(record_, entries, {}, evidence_));
  EXPECT_EQ(chain.status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace ringtail::log
