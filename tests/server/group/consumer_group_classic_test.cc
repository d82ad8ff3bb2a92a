// Members of a consumer group that speak the classic protocol, beside such that do not.
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/group/consumer_group.h"
#include "server/group/group_records.h"
#include "tests/server/group/consumer_harness.h"

namespace ringtail::group {
namespace {

using base::Error;

std::string Owning(const std::vector<int32_t>& partitions) {
  TextWriter out;
  out.Number(int16_t{1});
  out.ArrayLength(1);
  out.Text("t");
  out.Number(int32_t{-1});
  out.ArrayLength(1);
  out.Text("t");
  out.ArrayLength(partitions.size());
  for (const int32_t partition : partitions) out.Number(partition);
  return out.Take();
}

Joiner Named(std::string member_id) { return {.member_id = std::move(member_id)}; }

std::vector<int32_t> Assigned(const SyncReply& reply) {
  std::vector<int32_t> partitions;
  EXPECT_EQ(reply.error, Error::kNone);
  const auto decoded = DecodeAssignment(reply.assignment);
  if (!decoded.has_value()) return {-1};
  for (const auto& [topic, partition] : decoded->partitions) partitions.push_back(partition);
  return partitions;
}

TEST(ClassicMember, JoinsWithoutWaitingForAnybody) {
  ConsumerHarness harness;
  harness.Join("k");
  const JoinReply joined = harness.JoinClassic(Named("c"));
  EXPECT_EQ(joined.error, Error::kNone);
  EXPECT_EQ(joined.member_id, "c");
  EXPECT_EQ(joined.generation, 2);
  EXPECT_EQ(joined.protocol_type, "consumer");
  EXPECT_EQ(joined.protocol_name, "range");
  EXPECT_EQ(joined.leader, "") << "nobody leads";
  EXPECT_TRUE(joined.members.empty());
  EXPECT_EQ(Assigned(harness.SyncClassic("c", 2)), std::vector<int32_t>()) << "all are k's still";
  EXPECT_EQ(harness.BeatClassic("c", 2), Error::kNone) << "there is nothing to join for";
  EXPECT_TRUE(harness.Described("c").classic);
  EXPECT_FALSE(harness.Described("k").classic);
}

TEST(ClassicMember, IsToldToJoinWhenWhatItWaitsForIsFree) {
  ConsumerHarness harness;
  harness.Join("k");
  harness.JoinClassic(Named("c"));
  harness.SyncClassic("c", 2);
  const auto kept = harness.Beats("k", 1).assignment;
  EXPECT_EQ(harness.Beats("k", 1, kept).member_epoch, 2);
  EXPECT_EQ(harness.BeatClassic("c", 2), Error::kRebalanceInProgress);
  EXPECT_EQ(harness.JoinClassic(Named("c")).generation, 2) << "the epoch is the same";
  EXPECT_EQ(Assigned(harness.SyncClassic("c", 2)).size(), 2u);
  EXPECT_EQ(harness.BeatClassic("c", 2), Error::kNone);
  EXPECT_EQ(harness.group().state(), ConsumerGroupState::kStable);
}

TEST(ClassicMember, AnEagerOneHasGivenUpAllByItsJoinGroup) {
  ConsumerHarness harness;
  harness.JoinClassic(Named("c"));
  EXPECT_EQ(Assigned(harness.SyncClassic("c", 1)).size(), 4u);
  EXPECT_EQ(harness.Join("k").assignment, PartitionSet());
  EXPECT_EQ(harness.BeatClassic("c", 1), Error::kRebalanceInProgress);
  EXPECT_EQ(harness.SyncClassic("c", 1).error, Error::kRebalanceInProgress);
  EXPECT_EQ(harness.JoinClassic(Named("c")).generation, 2);
  EXPECT_EQ(harness.Beats("k", 2).assignment->size(), 2u);
  EXPECT_EQ(Assigned(harness.SyncClassic("c", 2)).size(), 2u);
}

TEST(ClassicMember, ACooperativeOneKeepsWhatItHasUntilItHasJoinedTwice) {
  ConsumerHarness harness;
  Joiner joiner{.member_id = "c", .protocols = {{"cooperative-sticky", Owning({})}}};
  harness.JoinClassic(joiner);
  harness.SyncClassic("c", 1);
  harness.Join("k");
  joiner.protocols[0].second = Owning({0, 1, 2, 3});
  EXPECT_EQ(harness.JoinClassic(joiner).generation, 1) << "it has to give up first";
  const std::vector<int32_t> kept = Assigned(harness.SyncClassic("c", 1));
  EXPECT_EQ(kept.size(), 2u);
  EXPECT_EQ(harness.Described("c").state, MemberState::kUnrevokedPartitions);
  EXPECT_EQ(harness.BeatClassic("c", 1), Error::kRebalanceInProgress);
  EXPECT_FALSE(harness.Beats("k", 2).assignment.has_value()) << "c may own them";
  joiner.protocols[0].second = Owning(kept);
  EXPECT_EQ(harness.JoinClassic(joiner).generation, 2);
  EXPECT_EQ(Assigned(harness.SyncClassic("c", 2)), kept);
  EXPECT_EQ(harness.Beats("k", 2).assignment->size(), 2u);
}

TEST(ClassicMember, NeedsAProtocolThatTheOthersSpeak) {
  ConsumerHarness harness;
  harness.Join("k");
  EXPECT_EQ(harness.JoinClassic({.member_id = "c", .protocol_type = "connect"}).error,
            Error::kInconsistentProtocol);
  EXPECT_EQ(harness.JoinClassic({.member_id = "c", .protocols = {}}).error,
            Error::kInconsistentProtocol);
  EXPECT_EQ(harness.JoinClassic({.member_id = "c", .protocols = {{"range", "\1"}}}).error,
            Error::kInconsistentProtocol);
  EXPECT_EQ(harness.JoinClassic(Named("c")).error, Error::kNone);
  const Joiner other{.member_id = "d", .protocols = {{"sticky", Subscription({"t"})}}};
  EXPECT_EQ(harness.JoinClassic(other).error, Error::kInconsistentProtocol);
  const Joiner both{.member_id = "d",
                    .protocols = {{"sticky", Subscription({"t"})}, {"range", Subscription({"t"})}}};
  EXPECT_EQ(harness.JoinClassic(both).error, Error::kNone);
  EXPECT_EQ(harness
                .SyncClassic({.member = {"c", std::nullopt},
                              .generation = harness.Described("c").epoch,
                              .protocol_name = "sticky"})
                .error,
            Error::kInconsistentProtocol);
}

TEST(ClassicMember, IsGivenAnIdOfItsOwn) {
  ConsumerHarness harness;
  harness.Join("k");
  const JoinReply told = harness.JoinClassic({.takes_member_id = true});
  EXPECT_EQ(told.error, Error::kMemberIdRequired);
  EXPECT_EQ(harness.group().member_count(), 1u);
  EXPECT_EQ(harness.JoinClassic({.member_id = told.member_id, .takes_member_id = true}).error,
            Error::kNone);
  EXPECT_FALSE(harness.JoinClassic({}).member_id.empty()) << "of an old client, at once";
  EXPECT_EQ(harness.group().member_count(), 3u);
}

TEST(ClassicMember, OthersAreRefused) {
  ConsumerHarness harness;
  harness.Join("k");
  harness.JoinClassic(Named("c"));
  EXPECT_EQ(harness.BeatClassic("nobody", 2), Error::kUnknownMember);
  EXPECT_EQ(harness.BeatClassic("c", 1), Error::kIllegalGeneration);
  EXPECT_EQ(harness.SyncClassic("c", 1).error, Error::kIllegalGeneration);
  EXPECT_EQ(harness.BeatClassic("k", 1), Error::kUnknownMember) << "it speaks the other protocol";
  EXPECT_EQ(harness.LeaveClassic("nobody"), Error::kUnknownMember);
}

TEST(ClassicMember, CommitsInItsGeneration) {
  ConsumerHarness harness;
  harness.Join("k");
  harness.JoinClassic(Named("c"));
  const auto commit = [&](absl::string_view member, int32_t generation, bool knows_epochs) {
    return harness.group().AdmitCommit({.member = {member, std::nullopt},
                                        .generation = generation,
                                        .knows_member_epochs = knows_epochs});
  };
  EXPECT_EQ(commit("c", 2, false), Error::kNone) << "in any version";
  EXPECT_EQ(commit("c", 1, true), Error::kIllegalGeneration);
  EXPECT_EQ(commit("k", 1, false), Error::kUnsupportedVersion);
  EXPECT_EQ(commit("k", 2, true), Error::kStaleMemberEpoch);
}

TEST(ClassicMember, LeavesAndFreesItsPartitions) {
  ConsumerHarness harness;
  harness.JoinClassic(Named("c"));
  harness.SyncClassic("c", 1);
  harness.Join("k");
  EXPECT_EQ(harness.LeaveClassic("c"), Error::kNone);
  EXPECT_EQ(harness.Beats("k", 2).assignment, harness.Partitions("t", {0, 1, 2, 3}));
}

// --- Time.

TEST(ClassicMember, HasItsOwnSession) {
  ConsumerHarness harness({.session_timeout_ms = 45'000});
  harness.Join("k");
  harness.JoinClassic(Named("c"));
  harness.SyncClassic("c", 2);
  harness.Advance(9'000);
  EXPECT_EQ(harness.BeatClassic("c", 2), Error::kNone);
  harness.Advance(9'000);
  EXPECT_EQ(harness.group().member_count(), 2u);
  harness.Advance(2'000);
  EXPECT_EQ(harness.BeatClassic("c", 2), Error::kUnknownMember);
}

TEST(ClassicMember, HasToSyncAndToJoinWithinItsRebalanceTimeout) {
  for (const bool syncs : {false, true}) {
    ConsumerHarness harness;
    harness.JoinClassic({.member_id = "c", .rebalance_timeout_ms = 20'000});
    if (syncs) {
      harness.SyncClassic("c", 1);
      harness.Join("k");
    }
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(harness.BeatClassic("c", 1), syncs ? Error::kRebalanceInProgress : Error::kNone);
      harness.Advance(8'000);
    }
    EXPECT_EQ(harness.BeatClassic("c", 1), Error::kUnknownMember);
  }
}

TEST(ClassicMember, ThatChangesItsProtocolOwesNoSync) {
  ConsumerHarness harness;
  harness.JoinClassic({.member_id = "c", .rebalance_timeout_ms = 20'000});
  const ConsumerHeartbeatReply reply = harness.Join("c");
  EXPECT_EQ(reply.error, Error::kNone);
  EXPECT_EQ(reply.assignment->size(), 4u);
  for (int i = 0; i < 3; ++i) {
    harness.Advance(10'000);
    EXPECT_EQ(harness.Beats("c", reply.member_epoch).error, Error::kNone);
  }
  EXPECT_FALSE(harness.group().classic_only());
}

TEST(ClassicMember, LearnsOfNewPartitions) {
  ConsumerHarness harness;
  harness.JoinClassic(Named("c"));
  harness.SyncClassic("c", 1);
  EXPECT_EQ(harness.BeatClassic("c", 1), Error::kNone);
  harness.SetTopics({{"t", 6}});
  EXPECT_EQ(harness.BeatClassic("c", 1), Error::kRebalanceInProgress);
  EXPECT_EQ(harness.JoinClassic(Named("c")).generation, 2);
  EXPECT_EQ(Assigned(harness.SyncClassic("c", 2)).size(), 6u);
}

// --- Static members.

TEST(ClassicMember, AStaticOneTakesThePlaceOfItsInstance) {
  ConsumerHarness harness;
  const JoinReply first = harness.JoinClassic({.instance_id = "i"});
  harness.SyncClassic(first.member_id, 1);
  const JoinReply second = harness.JoinClassic({.instance_id = "i"});
  EXPECT_NE(second.member_id, first.member_id);
  EXPECT_EQ(second.generation, 1) << "nothing has changed for anybody";
  EXPECT_EQ(Assigned(harness.SyncClassic(second.member_id, 1)).size(), 4u);
  EXPECT_EQ(harness.BeatClassic(first.member_id, 1, "i"), Error::kFencedInstanceId);
  EXPECT_EQ(harness.BeatClassic(second.member_id, 1, "i"), Error::kNone);
  EXPECT_EQ(harness.BeatClassic(second.member_id, 1, "j"), Error::kUnknownMember);
  EXPECT_EQ(harness.JoinClassic({.member_id = first.member_id, .instance_id = "i"}).error,
            Error::kFencedInstanceId);
  EXPECT_EQ(harness.LeaveClassic(first.member_id, "i"), Error::kFencedInstanceId);
  EXPECT_EQ(harness.LeaveClassic("", "i"), Error::kNone) << "as an administrator";
}

TEST(ClassicMember, AStaticOneAndOneOfTheOtherProtocolReplaceEachOther) {
  ConsumerHarness harness;
  const auto all = harness.Partitions("t", {0, 1, 2, 3});
  const JoinReply classic = harness.JoinClassic({.instance_id = "i"});
  harness.SyncClassic(classic.member_id, 1);
  Beat beat = Joining("k", {"t"});
  beat.instance = "i";
  const ConsumerHeartbeatReply joined = harness.Ask(beat);
  EXPECT_EQ(joined.error, Error::kNone);
  EXPECT_EQ(joined.assignment, all);
  EXPECT_EQ(harness.group().member_count(), 1u);
  EXPECT_FALSE(harness.group().classic_only());
  const JoinReply back = harness.JoinClassic({.instance_id = "i"});
  EXPECT_EQ(back.error, Error::kNone);
  EXPECT_EQ(Assigned(harness.SyncClassic(back.member_id, back.generation)).size(), 4u);
  EXPECT_EQ(harness.Ask({.member = "k", .epoch = joined.member_epoch, .instance = "i"}).error,
            Error::kFencedInstanceId);
  EXPECT_TRUE(harness.group().classic_only());
}

TEST(ClassicMember, AnEmptyExpressionIsNone) {
  ConsumerHarness harness;
  Beat beat = Joining("k", {"t"});
  beat.instance = "i";
  beat.regex = "";
  ASSERT_EQ(harness.Ask(beat).member_epoch, 1);
  harness.Ask({.member = "k", .epoch = kLeaveStaticEpoch, .instance = "i"});
  EXPECT_EQ(harness.JoinClassic({.instance_id = "i"}).generation, 1)
      << "nothing has changed for anybody";
}

// --- Records.

TEST(ClassicMember, IsKnownAfterARestartAtEachRecord) {
  ConsumerHarness harness;
  harness.Join("k");
  harness.JoinClassic({.member_id = "c", .session_timeout_ms = 8'000});
  harness.Restart();
  EXPECT_TRUE(harness.Described("c").classic);
  EXPECT_EQ(harness.BeatClassic("c", 2), Error::kNone);
  const auto kept = harness.Beats("k", 1).assignment;
  harness.Beats("k", 1, kept);
  harness.Restart();
  EXPECT_EQ(harness.BeatClassic("c", 2), Error::kRebalanceInProgress);
  harness.Restart();
  EXPECT_EQ(harness.JoinClassic(Named("c")).generation, 2);
  harness.Restart();
  EXPECT_EQ(Assigned(harness.SyncClassic("c", 2)).size(), 2u);
  harness.Advance(11'000);
  EXPECT_EQ(harness.BeatClassic("c", 2), Error::kUnknownMember);
  harness.Restart();
  EXPECT_EQ(harness.group().member_count(), 1u);
}

TEST(ClassicMember, IsAnsweredWhenWhatItHasSeenIsDurable) {
  ConsumerHarness harness;
  harness.Join("k");
  harness.HoldStores();
  auto join = harness.SendJoin(Named("c"));
  EXPECT_FALSE(join->answered());
  harness.Record(Error::kCoordinatorNotAvailable);
  ASSERT_TRUE(join->answered());
  EXPECT_EQ(join->reply().error, Error::kCoordinatorNotAvailable);
  EXPECT_EQ(harness.JoinClassic(Named("c")).error, Error::kNone);
  harness.Restart();
  EXPECT_EQ(harness.group().member_count(), 2u);
}

}  // namespace
}  // namespace ringtail::group
