#include "server/group/group_conversion.h"

#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tests/server/group/consumer_harness.h"
#include "tests/server/group/group_harness.h"

namespace ringtail::group {
namespace {

using base::Error;

GroupImage::Member Classic(const std::string& id, const std::vector<NamedPartition>& assigned) {
  return {.id = id,
          .client_id = "client",
          .client_host = "/127.0.0.1",
          .rebalance_timeout_ms = 60'000,
          .session_timeout_ms = 10'000,
          .protocols = {{"range", Subscription({"t"})}, {"sticky", Subscription({"t"})}},
          .subscription = Subscription({"t"}),
          .assignment = EncodeAssignment(assigned, 0)};
}

// Of topic t, which has four partitions.
GroupImage TwoMembers() {
  return {.protocol_type = "consumer",
          .generation = 7,
          .members = {Classic("a", {{"t", 0}, {"t", 1}}), Classic("b", {{"t", 2}, {"t", 3}})}};
}

class GroupConversion : public testing::Test {
 protected:
  ConsumerGroupImage Upgraded(const GroupImage& classic, ConsumerOptions options = {}) {
    ConsumerGroupImage image;
    const base::Failure failure = ToConsumerGroup("g", classic, options, harness_.image(), &image);
    EXPECT_TRUE(failure.ok()) << failure.message;
    return image;
  }
  std::string Refused(const GroupImage& classic, ConsumerOptions options = {}) {
    ConsumerGroupImage image;
    const base::Failure failure = ToConsumerGroup("g", classic, options, harness_.image(), &image);
    EXPECT_EQ(failure.error, Error::kGroupNotFound);
    return failure.message;
  }

  ConsumerHarness harness_;
};

TEST_F(GroupConversion, MembersKeepWhatTheyHave) {
  const ConsumerGroupImage image = Upgraded(TwoMembers());
  EXPECT_EQ(image.group->epoch, 7);
  EXPECT_EQ(image.target_epoch, 7);
  const ConsumerMemberValue& a = image.members.at("a");
  EXPECT_EQ(a.topics, std::vector<std::string>{"t"});
  EXPECT_EQ(a.rebalance_timeout_ms, 60'000);
  ASSERT_TRUE(a.classic.has_value());
  EXPECT_EQ(a.classic->session_timeout_ms, 10'000);
  EXPECT_EQ(a.classic->protocols.size(), 2u);
  EXPECT_EQ(image.current.at("a").epoch, 7);
  EXPECT_EQ(image.current.at("a").state, MemberState::kStable);
  EXPECT_EQ(image.current.at("a").assigned, harness_.Partitions("t", {0, 1}));
  EXPECT_EQ(image.targets.at("b"), harness_.Partitions("t", {2, 3}));
}

TEST_F(GroupConversion, WhatIsNotThereAnyMoreIsLeftOut) {
  GroupImage classic = TwoMembers();
  classic.members[0].assignment = EncodeAssignment({{"gone", 0}, {"t", 1}, {"t", 9}, {"t", -1}}, 0);
  classic.members[1].assignment.clear();  // it has never had one
  const ConsumerGroupImage image = Upgraded(classic);
  EXPECT_EQ(image.current.at("a").assigned, harness_.Partitions("t", {1}));
  EXPECT_TRUE(image.current.at("b").assigned.empty());
}

TEST_F(GroupConversion, IsRefusedInKafkasWords) {
  const std::string begin = "Cannot upgrade classic group g to consumer group because ";
  EXPECT_EQ(Refused(TwoMembers(), {.migration_policy = MigrationPolicy::kDisabled}),
            begin + "online upgrade is disabled.");
  EXPECT_EQ(Refused(TwoMembers(), {.migration_policy = MigrationPolicy::kDowngrade}),
            begin + "online upgrade is disabled.");
  EXPECT_EQ(Refused(TwoMembers(), {.members_max = 1}),
            begin + "the group size exceeds the consumer group maximum size.");
  GroupImage classic = TwoMembers();
  classic.protocol_type = "connect";
  EXPECT_EQ(Refused(classic), begin + "the group does not use the consumer embedded protocol.");
  classic = TwoMembers();
  classic.members[0].subscription = "\1";
  EXPECT_EQ(Refused(classic), begin + "the embedded consumer protocol is malformed.");
  classic = TwoMembers();
  classic.members[1].assignment = "\1";
  EXPECT_EQ(Refused(classic), begin + "the embedded consumer protocol is malformed.");
  classic = TwoMembers();
  std::string& assignment = classic.members[1].assignment;
  assignment.resize(assignment.size() - 4);
  assignment += std::string("\0\0\0\1x", 5);
  EXPECT_TRUE(absl::StrContains(Refused(classic), "an unsupported custom assignor is in use"));
}

TEST_F(GroupConversion, AnEmptyGroupMayAlwaysChange) {
  EXPECT_EQ(
      Upgraded({.generation = 3}, {.migration_policy = MigrationPolicy::kDisabled}).group->epoch, 3)
      << "numbers go on";
}

TEST_F(GroupConversion, AMemberOfTheOtherProtocolTakesItsShare) {
  harness_.Adopt(Upgraded(TwoMembers()));
  const ConsumerHeartbeatReply joined = harness_.Join("k");
  EXPECT_EQ(joined.member_epoch, 8);
  EXPECT_EQ(joined.assignment, PartitionSet());
  EXPECT_EQ(harness_.BeatClassic("a", 7), Error::kRebalanceInProgress);
  EXPECT_EQ(harness_.BeatClassic("b", 7), Error::kRebalanceInProgress);
  EXPECT_EQ(harness_.JoinClassic({.member_id = "a"}).generation, 8);
  EXPECT_EQ(harness_.JoinClassic({.member_id = "b"}).generation, 8);
  EXPECT_EQ(harness_.Beats("k", 8).assignment->size(), 1u);
  EXPECT_EQ(harness_.group().state(), ConsumerGroupState::kStable);
  // What is recorded begins with all that there is to say.
  harness_.Restart();
  EXPECT_EQ(harness_.group().member_count(), 3u);
  EXPECT_EQ(harness_.group().state(), ConsumerGroupState::kStable);
}

TEST_F(GroupConversion, GoesBackWithTheEpochThatItsMembersHave) {
  harness_.Adopt(Upgraded(TwoMembers()));
  harness_.Join("k");
  harness_.JoinClassic({.member_id = "a"});
  harness_.JoinClassic({.member_id = "b"});
  EXPECT_FALSE(harness_.group().classic_only());
  harness_.Beats("k", kLeaveEpoch);
  ASSERT_TRUE(harness_.group().classic_only());
  const GroupImage classic = ToClassicGroup(harness_.group().Image(), harness_.image());
  EXPECT_EQ(classic.generation, 8) << "nobody has seen 9";
  EXPECT_EQ(classic.protocol_type, "consumer");
  ASSERT_EQ(classic.members.size(), 2u);
  EXPECT_EQ(classic.members[0].protocols.size(), 1u);
  EXPECT_EQ(classic.members[0].session_timeout_ms, 10'000);
  EXPECT_FALSE(DecodeAssignment(classic.members[0].assignment)->partitions.empty());
}

// --- The classic group that comes of it.

TEST(AdoptedGroup, Rebalances) {
  GroupHarness harness;
  harness.group().Adopt(TwoMembers(), harness.at());
  harness.Record();
  EXPECT_EQ(harness.group().state(), GroupState::kPreparingRebalance);
  EXPECT_EQ(harness.group().generation(), 7);
  EXPECT_EQ(
      harness.group().Heartbeat({.member = {"a", std::nullopt}, .generation = 7}, harness.at()),
      Error::kRebalanceInProgress);
  EXPECT_EQ(
      harness.group().AdmitCommit({.member = {"a", std::nullopt}, .generation = 7}, harness.at()),
      Error::kNone);
  auto a = harness.Join({.member_id = "a"});
  EXPECT_FALSE(a->answered());
  auto b = harness.Join({.member_id = "b"});
  ASSERT_TRUE(a->answered() && b->answered());
  EXPECT_EQ(a->reply().generation, 8);
  EXPECT_EQ(a->reply().leader, "a");
  EXPECT_EQ(a->reply().members.size(), 2u);
}

TEST(AdoptedGroup, RebalancesAfterARestart) {
  GroupHarness before;
  before.group().Adopt(TwoMembers(), before.at());
  before.Record();
  ASSERT_EQ(before.recorded().size(), 1u);
  EXPECT_EQ(before.recorded()[0].members.size(), 2u);
  const auto record = DecodeGroup(base::AsBytes(EncodeGroup(before.recorded()[0])));
  ASSERT_TRUE(record.ok());
  GroupHarness after;
  after.group().Restore(*record, after.at());
  EXPECT_EQ(after.group().state(), GroupState::kPreparingRebalance);
  EXPECT_EQ(after.group().generation(), 7);
  EXPECT_EQ(after.group().member_count(), 2u);
}

TEST(AdoptedGroup, ImagesOfAGroupSayWhatItWasMadeOf) {
  GroupHarness harness;
  harness.group().Adopt(TwoMembers(), harness.at());
  const GroupImage image = harness.group().Image();
  EXPECT_EQ(image.generation, 7);
  ASSERT_EQ(image.members.size(), 2u);
  EXPECT_EQ(image.members[1].id, "b");
  EXPECT_EQ(image.members[1].protocols.size(), 2u);
  EXPECT_EQ(image.members[1].assignment, TwoMembers().members[1].assignment);
}

}  // namespace
}  // namespace ringtail::group
