#include "server/group/group.h"

#include "gtest/gtest.h"
#include "tests/server/group/group_harness.h"

namespace ringtail::group {
namespace {

using base::Error;

// Two members in generation 1 or more, stable; `a` leads.
struct Pair {
  std::string a, b;
  int32_t generation = 0;
};

std::string JoinAlone(GroupHarness& group, Joiner joiner = {}) {
  const auto joined = group.Join(joiner);
  EXPECT_TRUE(joined->answered());
  EXPECT_EQ(joined->reply().error, Error::kNone);
  const std::string id = joined->reply().member_id;
  const auto synced = group.Sync(id, joined->reply().generation, {{id, "all"}}, joiner.instance_id);
  EXPECT_TRUE(synced->answered());
  EXPECT_EQ(synced->reply().assignment, "all");
  return id;
}

Pair MakePair(GroupHarness& group, Joiner first = {}, Joiner second = {}) {
  Pair pair;
  pair.a = JoinAlone(group, first);
  auto b = group.Join(second);
  EXPECT_FALSE(b->answered()) << "it waits for the one that is there";
  EXPECT_EQ(group.Heartbeat(pair.a, group.group().generation()), Error::kRebalanceInProgress);
  first.member_id = pair.a;
  auto a = group.Join(first);
  EXPECT_TRUE(a->answered() && b->answered());
  EXPECT_EQ(a->reply().leader, pair.a);
  EXPECT_EQ(a->reply().members.size(), 2u);
  EXPECT_TRUE(b->reply().members.empty());
  pair.b = b->reply().member_id;
  pair.generation = a->reply().generation;
  EXPECT_EQ(b->reply().generation, pair.generation);
  auto b_synced = group.Sync(pair.b, pair.generation, {}, second.instance_id);
  EXPECT_FALSE(b_synced->answered()) << "the leader has not said yet";
  auto a_synced = group.Sync(pair.a, pair.generation, {{pair.a, "for a"}, {pair.b, "for b"}},
                             first.instance_id);
  EXPECT_TRUE(a_synced->answered() && b_synced->answered());
  EXPECT_EQ(a_synced->reply().assignment, "for a");
  EXPECT_EQ(b_synced->reply().assignment, "for b");
  EXPECT_EQ(group.group().state(), GroupState::kStable);
  return pair;
}

TEST(Group, OneMemberComesToAGenerationOfItsOwn) {
  GroupHarness group;
  const auto joined = group.Join({});
  ASSERT_TRUE(joined->answered());
  EXPECT_EQ(joined->reply().error, Error::kNone);
  EXPECT_EQ(joined->reply().generation, 1);
  EXPECT_EQ(joined->reply().protocol_type, "consumer");
  EXPECT_EQ(joined->reply().protocol_name, "range");
  EXPECT_EQ(joined->reply().leader, joined->reply().member_id);
  ASSERT_EQ(joined->reply().members.size(), 1u);
  EXPECT_EQ(joined->reply().members[0].metadata, Subscription({"t"}));
  EXPECT_EQ(group.group().state(), GroupState::kCompletingRebalance);
}

TEST(Group, TheInitialDelayGathersMembers) {
  GroupHarness group({.initial_rebalance_delay_ms = 3'000});
  const auto a = group.Join({});
  group.Advance(2'000);
  EXPECT_FALSE(a->answered());
  const auto b = group.Join({});
  group.Advance(1'500);
  EXPECT_FALSE(a->answered()) << "another one came, so it goes on";
  group.Advance(2'500);
  ASSERT_TRUE(a->answered() && b->answered());
  EXPECT_EQ(a->reply().generation, 1);
  EXPECT_EQ(a->reply().members.size() + b->reply().members.size(), 2u);
  EXPECT_EQ(group.counters().rebalances, 1u);
}

TEST(Group, TheInitialDelayEndsWithTheRebalanceTimeout) {
  GroupHarness group({.initial_rebalance_delay_ms = 3'000});
  Joiner joiner;
  joiner.rebalance_timeout_ms = 7'000;
  std::vector<std::unique_ptr<JoinPending>> joins;
  for (int second = 0; second < 7; ++second) {
    joins.push_back(group.Join(joiner));
    EXPECT_FALSE(joins[0]->answered()) << second;
    group.Advance(1'000);
  }
  for (const auto& join : joins) EXPECT_TRUE(join->answered());
}

TEST(Group, ASecondMemberRebalances) {
  GroupHarness group;
  const Pair pair = MakePair(group);
  EXPECT_EQ(pair.generation, 2);
  EXPECT_EQ(group.Heartbeat(pair.a, 2), Error::kNone);
  EXPECT_EQ(group.Heartbeat(pair.b, 2), Error::kNone);
}

TEST(Group, WhoDoesNotComeBackInTimeIsLeftOut) {
  GroupHarness group;
  Joiner slow;
  slow.session_timeout_ms = 100'000;
  slow.rebalance_timeout_ms = 20'000;
  const std::string a = JoinAlone(group, slow);
  const auto b = group.Join(slow);
  group.Advance(19'000);
  EXPECT_FALSE(b->answered());
  group.Advance(1'000);
  ASSERT_TRUE(b->answered());
  EXPECT_EQ(b->reply().leader, b->reply().member_id);
  EXPECT_EQ(b->reply().members.size(), 1u);
  EXPECT_EQ(group.Heartbeat(a, 1), Error::kUnknownMember);
}

TEST(Group, ASessionEnds) {
  GroupHarness group;
  const Pair pair = MakePair(group);
  for (int i = 0; i < 5; ++i) {
    group.Advance(5'000);
    group.Heartbeat(pair.a, pair.generation);
  }
  EXPECT_EQ(group.Heartbeat(pair.b, pair.generation), Error::kUnknownMember);
  EXPECT_EQ(group.Heartbeat(pair.a, pair.generation), Error::kRebalanceInProgress);
  group.Advance(10'001);
  EXPECT_EQ(group.group().state(), GroupState::kEmpty);
  EXPECT_EQ(group.recorded().back().members.size(), 0u);
  EXPECT_EQ(group.counters().members_expired, 2u);
}

TEST(Group, ACommitIsAHeartbeat) {
  GroupHarness group;
  const std::string a = JoinAlone(group);
  for (int i = 0; i < 5; ++i) {
    group.Advance(9'000);
    EXPECT_EQ(group.Commit(a, 1), Error::kNone);
  }
  EXPECT_EQ(group.Heartbeat(a, 1), Error::kNone);
}

TEST(Group, WaitingIsNoReasonToExpire) {
  GroupHarness group;
  Joiner patient;
  patient.rebalance_timeout_ms = 100'000;
  const Pair pair = MakePair(group, patient, patient);
  patient.member_id = pair.b;
  patient.protocols = {{"range", Subscription({"t", "u"})}};
  const auto b = group.Join(patient);
  for (int i = 0; i < 6; ++i) {
    group.Advance(9'000);
    EXPECT_EQ(group.Heartbeat(pair.a, pair.generation), Error::kRebalanceInProgress);
  }
  patient.member_id = pair.a;
  const auto a = group.Join(patient);
  ASSERT_TRUE(a->answered() && b->answered());
  EXPECT_EQ(a->reply().members.size(), 2u);
}

TEST(Group, TheLeaderJoinsAgainForANewAssignment) {
  GroupHarness group;
  const Pair pair = MakePair(group);
  Joiner again;
  again.member_id = pair.a;
  const auto a = group.Join(again);
  EXPECT_FALSE(a->answered());
  again.member_id = pair.b;
  const auto b = group.Join(again);
  ASSERT_TRUE(a->answered() && b->answered());
  EXPECT_EQ(a->reply().generation, pair.generation + 1);
}

TEST(Group, AFollowerThatMissedItsAnswerHearsItAgain) {
  GroupHarness group;
  const Pair pair = MakePair(group);
  Joiner again;
  again.member_id = pair.b;
  const auto b = group.Join(again);
  ASSERT_TRUE(b->answered());
  EXPECT_EQ(b->reply().generation, pair.generation);
  EXPECT_EQ(group.group().state(), GroupState::kStable);
  const auto synced = group.Sync(pair.b, pair.generation);
  ASSERT_TRUE(synced->answered());
  EXPECT_EQ(synced->reply().assignment, "for b");
}

TEST(Group, AnotherSubscriptionRebalances) {
  GroupHarness group;
  const Pair pair = MakePair(group);
  Joiner other;
  other.member_id = pair.b;
  other.protocols = {{"range", Subscription({"t", "u"})}};
  const auto b = group.Join(other);
  EXPECT_FALSE(b->answered());
  EXPECT_EQ(group.Heartbeat(pair.a, pair.generation), Error::kRebalanceInProgress);
  EXPECT_EQ(group.Commit(pair.a, pair.generation), Error::kNone) << "what it still owns";
}

TEST(Group, MembersAgreeOnWhatMostOfThemPrefer) {
  GroupHarness group({.initial_rebalance_delay_ms = 1'000});
  Joiner joiner;
  joiner.protocols = {{"sticky", "1"}, {"range", "2"}, {"only mine", "3"}};
  const auto a = group.Join(joiner);
  joiner.protocols = {{"range", "2"}, {"sticky", "1"}};
  const auto b = group.Join(joiner);
  const auto c = group.Join(joiner);
  group.Advance(5'000);
  ASSERT_TRUE(a->answered());
  EXPECT_EQ(a->reply().protocol_name, "range");
  joiner.protocols = {{"only mine", "3"}};
  const auto d = group.Join(joiner);
  ASSERT_TRUE(d->answered());
  EXPECT_EQ(d->reply().error, Error::kInconsistentProtocol);
  joiner.protocols = {{"range", "2"}};
  joiner.protocol_type = "connect";
  EXPECT_EQ(group.Join(joiner)->reply().error, Error::kInconsistentProtocol);
  joiner.protocol_type = "consumer";
  joiner.protocols = {};
  EXPECT_EQ(group.Join(joiner)->reply().error, Error::kInconsistentProtocol);
}

// KIP-394.
TEST(Group, AMemberIdIsGivenOutFirst) {
  GroupHarness group;
  Joiner joiner;
  joiner.takes_member_id = true;
  const auto first = group.Join(joiner);
  ASSERT_TRUE(first->answered());
  EXPECT_EQ(first->reply().error, Error::kMemberIdRequired);
  joiner.member_id = first->reply().member_id;
  EXPECT_EQ(joiner.member_id.substr(0, 7), "client-");
  const auto second = group.Join(joiner);
  ASSERT_TRUE(second->answered());
  EXPECT_EQ(second->reply().error, Error::kNone);
  EXPECT_EQ(second->reply().member_id, joiner.member_id);
}

TEST(Group, AMemberIdThatIsNotUsedLapses) {
  GroupHarness group;
  Joiner joiner;
  joiner.takes_member_id = true;
  joiner.member_id = group.Join(joiner)->reply().member_id;
  EXPECT_FALSE(group.group().unused());
  group.Advance(10'000);
  EXPECT_TRUE(group.group().unused());
  EXPECT_EQ(group.Join(joiner)->reply().error, Error::kUnknownMember);
}

TEST(Group, ARebalanceWaitsForMemberIdsThatWereGivenOut) {
  GroupHarness group;
  const std::string a = JoinAlone(group);
  Joiner joiner;
  joiner.takes_member_id = true;
  joiner.member_id = group.Join(joiner)->reply().member_id;
  Joiner again;
  again.member_id = a;
  const auto waits = group.Join(again);
  EXPECT_FALSE(waits->answered());
  const auto b = group.Join(joiner);
  ASSERT_TRUE(waits->answered() && b->answered());
  EXPECT_EQ(waits->reply().members.size(), 2u);
}

TEST(Group, WhatIsNotOfTheGroupIsRefused) {
  GroupHarness group;
  const Pair pair = MakePair(group);
  Joiner stranger;
  stranger.member_id = "nobody";
  EXPECT_EQ(group.Join(stranger)->reply().error, Error::kUnknownMember);
  EXPECT_EQ(group.Sync("nobody", pair.generation)->reply().error, Error::kUnknownMember);
  EXPECT_EQ(group.Sync(pair.a, pair.generation - 1)->reply().error, Error::kIllegalGeneration);
  EXPECT_EQ(group.Sync(pair.a, pair.generation + 1)->reply().error, Error::kIllegalGeneration);
  EXPECT_EQ(group.Heartbeat("nobody", pair.generation), Error::kUnknownMember);
  EXPECT_EQ(group.Heartbeat(pair.a, pair.generation + 1), Error::kIllegalGeneration);
  EXPECT_EQ(group.Leave("nobody"), Error::kUnknownMember);
  EXPECT_EQ(group.Leave(""), Error::kUnknownMember);
  EXPECT_EQ(group.Leave("", "no such instance"), Error::kUnknownMember);
  EXPECT_EQ(group.Commit("nobody", pair.generation), Error::kUnknownMember);
  EXPECT_EQ(group.Commit(pair.a, pair.generation - 1), Error::kIllegalGeneration);
  EXPECT_EQ(group.Commit("", -1), Error::kUnknownMember) << "it has members";
}

TEST(Group, WithoutMembersAnybodyCommits) {
  GroupHarness group;
  EXPECT_EQ(group.Commit("", -1), Error::kNone);
  EXPECT_EQ(group.Commit("", 3), Error::kUnknownMember);
}

TEST(Group, BetweenJoinAndSyncNothingIsCommitted) {
  GroupHarness group;
  const auto joined = group.Join({});
  EXPECT_EQ(group.Commit(joined->reply().member_id, 1), Error::kRebalanceInProgress);
}

TEST(Group, ALeaverLeavesAtOnce) {
  GroupHarness group;
  const Pair pair = MakePair(group);
  EXPECT_EQ(group.Leave(pair.a), Error::kNone);
  EXPECT_EQ(group.Heartbeat(pair.b, pair.generation), Error::kRebalanceInProgress);
  Joiner again;
  again.member_id = pair.b;
  const auto b = group.Join(again);
  ASSERT_TRUE(b->answered());
  EXPECT_EQ(b->reply().leader, pair.b);
  EXPECT_EQ(group.Leave(pair.b), Error::kNone);
  EXPECT_EQ(group.group().state(), GroupState::kEmpty);
}

TEST(Group, WhoWaitsHearsThatItWasRemoved) {
  GroupHarness group;
  const Pair pair = MakePair(group);
  Joiner again;
  again.member_id = pair.a;
  const auto a = group.Join(again);
  EXPECT_EQ(group.Leave(pair.a), Error::kNone);
  ASSERT_TRUE(a->answered());
  EXPECT_EQ(a->reply().error, Error::kUnknownMember);
}

TEST(Group, AWaitingPeerThatGoesLeavesAMemberThatHasJoined) {
  GroupHarness group;
  const Pair pair = MakePair(group);
  Joiner again;
  again.member_id = pair.a;
  group.Join(again).reset();
  again.member_id = pair.b;
  const auto b = group.Join(again);
  ASSERT_TRUE(b->answered());
  EXPECT_EQ(b->reply().generation, pair.generation + 1);
  EXPECT_EQ(group.group().member_count(), 2u);
}

TEST(Group, AJoinThatIsSentAgainTakesTheFirstOnesPlace) {
  GroupHarness group;
  const Pair pair = MakePair(group);
  Joiner again;
  again.member_id = pair.a;
  const auto first = group.Join(again);
  const auto second = group.Join(again);
  ASSERT_TRUE(first->answered());
  EXPECT_EQ(first->reply().error, Error::kRebalanceInProgress);
  EXPECT_FALSE(second->answered());
}

TEST(Group, WhoNeverSyncsIsRemoved) {
  GroupHarness group;
  Joiner joiner;
  joiner.session_timeout_ms = 100'000;
  joiner.rebalance_timeout_ms = 20'000;
  const auto joined = group.Join(joiner);
  group.Advance(20'000);
  EXPECT_EQ(group.group().state(), GroupState::kEmpty);
  EXPECT_EQ(group.Sync(joined->reply().member_id, 1)->reply().error, Error::kUnknownMember);
}

TEST(Group, ARebalanceEndsTheSyncsBeforeIt) {
  GroupHarness group({.initial_rebalance_delay_ms = 1'000});
  const auto a = group.Join({});
  const auto b = group.Join({});
  group.Advance(5'000);
  const bool a_leads = !a->reply().members.empty();
  const std::string follower = (a_leads ? b : a)->reply().member_id;
  const auto synced = group.Sync(follower, 1);
  EXPECT_FALSE(synced->answered());
  const auto c = group.Join({});
  ASSERT_TRUE(synced->answered());
  EXPECT_EQ(synced->reply().error, Error::kRebalanceInProgress);
}

TEST(Group, NobodyHearsOfAssignmentsBeforeTheyAreRecorded) {
  GroupHarness group;
  group.HoldStores();
  const auto joined = group.Join({});
  const std::string id = joined->reply().member_id;
  const auto synced = group.Sync(id, 1, {{id, "all"}});
  EXPECT_FALSE(synced->answered());
  EXPECT_EQ(group.group().state(), GroupState::kCompletingRebalance);
  EXPECT_EQ(group.held(), 1u);
  group.Record();
  ASSERT_TRUE(synced->answered());
  EXPECT_EQ(synced->reply().assignment, "all");
  EXPECT_EQ(group.recorded().back().members[0].assignment, "all");
}

TEST(Group, AssignmentsThatAreNotRecordedAreNotHandedOut) {
  GroupHarness group;
  group.HoldStores();
  const auto joined = group.Join({});
  const std::string id = joined->reply().member_id;
  const auto synced = group.Sync(id, 1, {{id, "all"}});
  group.Record(Error::kCoordinatorNotAvailable);
  ASSERT_TRUE(synced->answered());
  EXPECT_EQ(synced->reply().error, Error::kCoordinatorNotAvailable);
  EXPECT_EQ(group.group().state(), GroupState::kPreparingRebalance);
}

TEST(Group, AssignmentsOfAGenerationThatIsOverAreForgotten) {
  GroupHarness group;
  group.HoldStores();
  const auto joined = group.Join({});
  const std::string id = joined->reply().member_id;
  const auto synced = group.Sync(id, 1, {{id, "all"}});
  const auto second = group.Join({});
  ASSERT_TRUE(synced->answered());
  EXPECT_EQ(synced->reply().error, Error::kRebalanceInProgress);
  group.Record();
  EXPECT_EQ(group.group().state(), GroupState::kPreparingRebalance);
}

// --- KIP-345.

Joiner Static(const std::string& instance) {
  Joiner joiner;
  joiner.instance_id = instance;
  joiner.takes_member_id = true;
  return joiner;
}

TEST(Group, AStaticMemberThatRestartsKeepsItsAssignment) {
  GroupHarness group;
  const Pair pair = MakePair(group, Static("one"), Static("two"));
  const size_t recorded = group.recorded().size();
  const auto again = group.Join(Static("two"));
  ASSERT_TRUE(again->answered());
  EXPECT_EQ(again->reply().error, Error::kNone);
  EXPECT_EQ(again->reply().generation, pair.generation);
  EXPECT_NE(again->reply().member_id, pair.b);
  EXPECT_FALSE(again->reply().skip_assignment);
  EXPECT_EQ(group.group().state(), GroupState::kStable);
  EXPECT_EQ(group.recorded().size(), recorded + 1) << "the new id is recorded";
  const auto synced = group.Sync(again->reply().member_id, pair.generation, {}, std::string("two"));
  ASSERT_TRUE(synced->answered());
  EXPECT_EQ(synced->reply().assignment, "for b");
}

TEST(Group, WhoHadTheInstanceIdBeforeIsFenced) {
  GroupHarness group;
  const Pair pair = MakePair(group, Static("one"), Static("two"));
  group.Join(Static("two"));
  const MemberName before{pair.b, "two"};
  EXPECT_EQ(group.group().Heartbeat({"g", before, pair.generation}, group.at()),
            Error::kFencedInstanceId);
  EXPECT_EQ(group.group().Leave(before, group.at()), Error::kFencedInstanceId);
  EXPECT_EQ(group.Sync(pair.b, pair.generation, {}, std::string("two"))->reply().error,
            Error::kFencedInstanceId);
  Joiner old = Static("two");
  old.member_id = pair.b;
  EXPECT_EQ(group.Join(old)->reply().error, Error::kFencedInstanceId);
  old.instance_id = "three";
  EXPECT_EQ(group.Join(old)->reply().error, Error::kUnknownMember);
}

// KIP-814.
TEST(Group, AStaticLeaderThatRestartsIsToldToSkipTheAssignment) {
  GroupHarness group;
  const Pair pair = MakePair(group, Static("one"), Static("two"));
  const auto again = group.Join(Static("one"));
  ASSERT_TRUE(again->answered());
  EXPECT_TRUE(again->reply().skip_assignment);
  EXPECT_EQ(again->reply().leader, again->reply().member_id);
  EXPECT_EQ(again->reply().members.size(), 2u);
  Joiner old_client = Static("one");
  old_client.skips_assignment = false;
  const auto older = group.Join(old_client);
  ASSERT_TRUE(older->answered());
  EXPECT_FALSE(older->reply().skip_assignment);
  EXPECT_NE(older->reply().leader, older->reply().member_id) << "or it would assign";
  EXPECT_TRUE(older->reply().members.empty());
}

TEST(Group, AStaticMemberThatIsNotRecordedIsRefused) {
  GroupHarness group;
  MakePair(group, Static("one"), Static("two"));
  group.HoldStores();
  const auto again = group.Join(Static("two"));
  EXPECT_FALSE(again->answered());
  group.Record(Error::kCoordinatorNotAvailable);
  ASSERT_TRUE(again->answered());
  EXPECT_EQ(again->reply().error, Error::kCoordinatorNotAvailable);
  const auto retry = group.Join(Static("two"));
  group.Record();
  ASSERT_TRUE(retry->answered());
  EXPECT_EQ(retry->reply().error, Error::kNone);
}

TEST(Group, AStaticMemberWithAnotherProtocolRebalances) {
  GroupHarness group;
  Joiner both = Static("one");
  both.protocols = {{"range", "1"}, {"sticky", "2"}};
  Joiner other = both;
  other.instance_id = "two";
  MakePair(group, both, other);
  both.protocols = {{"sticky", "2"}};
  const auto again = group.Join(both);
  EXPECT_FALSE(again->answered());
  EXPECT_EQ(group.group().state(), GroupState::kPreparingRebalance);
}

TEST(Group, AStaticMemberMayBeAwayForASession) {
  GroupHarness group;
  Joiner first = Static("one");
  first.session_timeout_ms = 100'000;
  first.rebalance_timeout_ms = 20'000;
  Joiner second = first;
  second.instance_id = "two";
  const Pair pair = MakePair(group, first, second);
  Joiner third;
  third.rebalance_timeout_ms = 20'000;
  const auto joined = group.Join(third);
  group.Advance(20'000);
  ASSERT_TRUE(joined->answered());
  EXPECT_EQ(joined->reply().members.size(), 3u) << "both are counted, and may come back";
  EXPECT_EQ(group.group().generation(), pair.generation + 1);
}

TEST(Group, AnAdministratorRemovesAStaticMember) {
  GroupHarness group;
  const Pair pair = MakePair(group, Static("one"), Static("two"));
  EXPECT_EQ(group.Leave("", "two"), Error::kNone);
  EXPECT_EQ(group.Heartbeat(pair.a, pair.generation), Error::kRebalanceInProgress);
  EXPECT_EQ(group.group().member_count(), 1u);
}

// --- Limits, restarts, ends.

TEST(Group, MoreMembersThanAllowedAreRefused) {
  GroupHarness group({.initial_rebalance_delay_ms = 1'000, .members_max = 2});
  const auto a = group.Join({});
  const auto b = group.Join({});
  const auto c = group.Join({});
  ASSERT_TRUE(c->answered());
  EXPECT_EQ(c->reply().error, Error::kGroupFull);
  Joiner announced;
  announced.takes_member_id = true;
  EXPECT_EQ(group.Join(announced)->reply().error, Error::kGroupFull);
  group.Advance(5'000);
  EXPECT_EQ(a->reply().error, Error::kNone);
  EXPECT_EQ(b->reply().error, Error::kNone);
  EXPECT_EQ(group.Join({})->reply().error, Error::kGroupFull);
}

TEST(Group, MetadataCountsAgainstTheBudget) {
  GroupHarness group;
  Joiner large;
  large.protocols = {{"range", std::string(40u << 20, 'x')}};
  const auto a = group.Join(large);
  EXPECT_EQ(a->reply().error, Error::kNone);
  const size_t used = group.budget().used();
  EXPECT_GT(used, 40u << 20);
  EXPECT_EQ(group.Join(large)->reply().error, Error::kGroupFull);
  EXPECT_EQ(group.budget().used(), used);
  group.Leave(a->reply().member_id);
  EXPECT_LT(group.budget().used(), 1u << 20);
}

TEST(Group, MemberIdsThatWereGivenOutCountAgainstTheBudget) {
  GroupHarness group;
  const size_t used = group.budget().used();
  Joiner joiner;
  joiner.takes_member_id = true;
  for (int i = 0; i < 100; ++i) group.Join(joiner);
  EXPECT_GT(group.budget().used(), used + 10'000);
  joiner.member_id = group.Join(joiner)->reply().member_id;
  EXPECT_EQ(group.Leave(joiner.member_id), Error::kNone);
  group.Advance(10'000);
  EXPECT_EQ(group.budget().used(), used);
}

TEST(Group, ARestartFindsItsMembers) {
  GroupHarness before;
  const Pair pair = MakePair(before, {}, Static("two"));
  GroupHarness group;
  group.group().Restore(before.recorded().back(), group.at());
  EXPECT_EQ(group.group().state(), GroupState::kStable);
  EXPECT_EQ(group.Heartbeat(pair.a, pair.generation), Error::kNone);
  const auto synced = group.Sync(pair.b, pair.generation, {}, std::string("two"));
  EXPECT_EQ(synced->reply().assignment, "for b");
  group.Advance(9'999);
  EXPECT_EQ(group.Heartbeat(pair.a, pair.generation), Error::kNone);
  group.Advance(2'000);
  EXPECT_EQ(group.Heartbeat(pair.a, pair.generation), Error::kRebalanceInProgress)
      << "the other one's session has ended";
  group.Advance(70'000);
  EXPECT_EQ(group.group().member_count(), 0u);
}

TEST(Group, ADeadGroupAnswersAllThatWait) {
  GroupHarness group;
  const Pair pair = MakePair(group);
  Joiner again;
  again.member_id = pair.a;
  const auto a = group.Join(again);
  group.group().Die(Error::kNotCoordinator);
  ASSERT_TRUE(a->answered());
  EXPECT_EQ(a->reply().error, Error::kNotCoordinator);
  EXPECT_EQ(group.Heartbeat(pair.b, pair.generation), Error::kCoordinatorNotAvailable);
  EXPECT_EQ(group.Join({})->reply().error, Error::kCoordinatorNotAvailable);
  EXPECT_EQ(group.Commit(pair.b, pair.generation), Error::kCoordinatorNotAvailable);
  EXPECT_EQ(group.group().next_deadline(), base::kNever);
}

TEST(Group, DescribesItsMembersWhileItIsStable) {
  GroupHarness group;
  const Pair pair = MakePair(group);
  DescribedGroup described = group.group().Describe();
  EXPECT_EQ(described.state, "Stable");
  EXPECT_EQ(described.protocol, "range");
  ASSERT_EQ(described.members.size(), 2u);
  EXPECT_FALSE(described.members[0].assignment.empty());
  EXPECT_EQ(described.members[0].client_host, "/127.0.0.1");
  EXPECT_EQ(group.group().SubscribedTopics(), std::set<std::string>{"t"});
  group.Leave(pair.b);
  described = group.group().Describe();
  EXPECT_EQ(described.state, "PreparingRebalance");
  ASSERT_EQ(described.members.size(), 1u);
  EXPECT_TRUE(described.members[0].assignment.empty());
}

TEST(Group, AnInstanceIdTakesRoomToo) {
  GroupHarness harness;
  const size_t before = harness.budget().used();
  auto joined = harness.Join({.instance_id = std::string(30'000, 'x')});
  EXPECT_GT(harness.budget().used(), before + 2 * 30'000);
}

}  // namespace
}  // namespace ringtail::group
