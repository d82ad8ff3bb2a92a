#include "server/group/consumer_group.h"

#include "gtest/gtest.h"
#include "tests/server/group/consumer_harness.h"

namespace ringtail::group {
namespace {

using base::Error;

// --- What no group takes.

TEST(CheckHeartbeat, RefusesWhatMakesNoSense) {
  const auto error = [](Beat beat) { return ConsumerHarness().Ask(beat).error; };
  EXPECT_EQ(error(Joining("a", {"t"})), Error::kNone);
  EXPECT_EQ(error(Joining("", {"t"})), Error::kInvalidRequest);
  Beat beat = Joining("a", {"t"});
  beat.rebalance_timeout_ms = -1;
  EXPECT_EQ(error(beat), Error::kInvalidRequest);
  beat = Joining("a", {"t"});
  beat.owned.reset();
  EXPECT_EQ(error(beat), Error::kInvalidRequest);
  beat = Joining("a", {"t"});
  beat.owned = {{base::Uuid(), 0}};
  EXPECT_EQ(error(beat), Error::kInvalidRequest);
  beat = Joining("a", {"t"});
  beat.topics.reset();
  EXPECT_EQ(error(beat), Error::kInvalidRequest);
  beat = Joining("a", {"t"});
  beat.instance = "";
  EXPECT_EQ(error(beat), Error::kInvalidRequest);
  beat = Joining("a", {"t"});
  beat.rack = "";
  EXPECT_EQ(error(beat), Error::kInvalidRequest);
  EXPECT_EQ(error({.member = "a", .epoch = -3}), Error::kInvalidRequest);
  EXPECT_EQ(error({.member = "a", .epoch = kLeaveStaticEpoch}), Error::kInvalidRequest);
  EXPECT_EQ(error({.member = "", .epoch = kLeaveEpoch}), Error::kInvalidRequest);
  beat = Joining("a", {"t"});
  beat.assignor = "sticky";
  EXPECT_EQ(error(beat), Error::kUnsupportedAssignor);
}

TEST(CheckHeartbeat, TakesTheAssignorsThatAreConfigured) {
  ConsumerHarness harness({.assignors = {Assignor::kRange}});
  Beat beat = Joining("a", {"t"});
  beat.assignor = "uniform";
  EXPECT_EQ(harness.Ask(beat).error, Error::kUnsupportedAssignor);
  beat.assignor = "range";
  EXPECT_EQ(harness.Ask(beat).error, Error::kNone);
  EXPECT_EQ(harness.group().Describe().assignor, "range");
}

// --- A member's way.

TEST(ConsumerGroup, ItsFirstMemberGetsAll) {
  ConsumerHarness harness;
  EXPECT_EQ(harness.group().state(), ConsumerGroupState::kEmpty);
  const ConsumerHeartbeatReply reply = harness.Join("a");
  EXPECT_EQ(reply.error, Error::kNone);
  EXPECT_EQ(reply.member_id, "a");
  EXPECT_EQ(reply.member_epoch, 1);
  EXPECT_EQ(reply.assignment, harness.Partitions("t", {0, 1, 2, 3}));
  EXPECT_EQ(harness.group().state(), ConsumerGroupState::kStable);
  EXPECT_FALSE(harness.Beats("a", 1).assignment.has_value()) << "nothing is new";
}

TEST(ConsumerGroup, RevokesBeforeItAssigns) {
  ConsumerHarness harness;
  harness.Join("a");
  const ConsumerHeartbeatReply joined = harness.Join("b");
  EXPECT_EQ(joined.member_epoch, 2);
  EXPECT_EQ(joined.assignment, PartitionSet()) << "all are a's still";
  EXPECT_EQ(harness.group().state(), ConsumerGroupState::kReconciling);
  const ConsumerHeartbeatReply told = harness.Beats("a", 1);
  EXPECT_EQ(told.member_epoch, 1) << "until it has revoked";
  ASSERT_TRUE(told.assignment.has_value());
  EXPECT_EQ(told.assignment->size(), 2u);
  EXPECT_FALSE(harness.Beats("b", 2).assignment.has_value());
  EXPECT_EQ(harness.Beats("a", 1).member_epoch, 1) << "it has not said what it owns";
  EXPECT_EQ(harness.Beats("a", 1, harness.Partitions("t", {0, 1, 2, 3})).member_epoch, 1);
  EXPECT_EQ(harness.Beats("a", 1, told.assignment).member_epoch, 2);
  const ConsumerHeartbeatReply given = harness.Beats("b", 2);
  ASSERT_TRUE(given.assignment.has_value());
  EXPECT_EQ(given.assignment->size(), 2u);
  EXPECT_FALSE(Meets(*given.assignment, *told.assignment));
  EXPECT_EQ(harness.group().state(), ConsumerGroupState::kStable);
}

TEST(ConsumerGroup, WhoLeavesFreesItsPartitionsAtOnce) {
  ConsumerHarness harness;
  harness.Join("a");
  harness.Join("b");
  const ConsumerHeartbeatReply left = harness.Beats("a", kLeaveEpoch);
  EXPECT_EQ(left.error, Error::kNone);
  EXPECT_EQ(left.member_epoch, kLeaveEpoch);
  EXPECT_EQ(harness.group().state(), ConsumerGroupState::kAssigning);
  EXPECT_EQ(harness.Beats("b", 2).assignment, harness.Partitions("t", {0, 1, 2, 3}));
  EXPECT_EQ(harness.Beats("a", 1).error, Error::kUnknownMember);
  EXPECT_EQ(harness.Beats("a", kLeaveEpoch).error, Error::kUnknownMember);
}

TEST(ConsumerGroup, AWholeRequestIsAnsweredWithTheAssignment) {
  ConsumerHarness harness;
  const auto all = harness.Join("a").assignment;
  Beat beat = Joining("a", {"t"});
  beat.epoch = 1;
  beat.owned = all;
  EXPECT_EQ(harness.Ask(beat).assignment, all);
  EXPECT_EQ(harness.group().epoch(), 1) << "nothing has changed";
}

TEST(ConsumerGroup, ANewSubscriptionBeginsAnEpoch) {
  ConsumerHarness harness;
  harness.SetTopics({{"t", 4}, {"u", 1}});
  harness.Join("a");
  const ConsumerHeartbeatReply reply =
      harness.Ask({.member = "a", .epoch = 1, .topics = {{"u"}}, .owned = PartitionSet()});
  EXPECT_EQ(reply.member_epoch, 2) << "it owns nothing that it would have to revoke";
  EXPECT_EQ(reply.assignment, harness.Partitions("u", {0}));
}

TEST(ConsumerGroup, FencesMembersOfOtherEpochs) {
  ConsumerHarness harness;
  harness.Join("a");
  EXPECT_EQ(harness.Beats("a", 2).error, Error::kFencedMemberEpoch);
  harness.Join("b");
  const auto kept = harness.Beats("a", 1).assignment;
  EXPECT_EQ(harness.Beats("a", 1, kept).member_epoch, 2);
  EXPECT_EQ(harness.Beats("a", 1).error, Error::kFencedMemberEpoch) << "what does it own?";
  EXPECT_EQ(harness.Beats("a", 1, harness.Partitions("t", {0, 1, 2, 3})).error,
            Error::kFencedMemberEpoch)
      << "more than is its own";
  EXPECT_EQ(harness.Beats("a", 1, kept).member_epoch, 2) << "the answer was lost";
  EXPECT_EQ(harness.Beats("nobody", 1).error, Error::kUnknownMember);
}

TEST(ConsumerGroup, AMemberThatStartsAgainLearnsItsAssignment) {
  ConsumerHarness harness;
  harness.Join("a");
  harness.Join("b");
  harness.Beats("a", 1);
  const ConsumerHeartbeatReply again = harness.Join("a");
  EXPECT_EQ(again.member_epoch, 2) << "it owns nothing any more: there is nothing to revoke";
  ASSERT_TRUE(again.assignment.has_value());
  EXPECT_EQ(again.assignment->size(), 2u);
}

TEST(ConsumerGroup, MembersChooseTheAssignor) {
  ConsumerHarness harness;
  for (const char* id : {"a", "b", "c"}) {
    Beat beat = Joining(id, {"t"});
    if (*id != 'c') beat.assignor = "range";
    harness.Ask(beat);
  }
  EXPECT_EQ(harness.group().Describe().assignor, "range");
  EXPECT_EQ(harness.Described("a").target, harness.Partitions("t", {0, 1}));
}

TEST(ConsumerGroup, IsFullAtItsSize) {
  ConsumerHarness harness({.members_max = 1});
  harness.Join("a");
  EXPECT_EQ(harness.Join("b").error, Error::kGroupFull);
  EXPECT_EQ(harness.Join("a").error, Error::kNone);
  harness.budget().Take(64u << 20);
  harness.Beats("a", kLeaveEpoch);
  EXPECT_EQ(harness.Join("b").error, Error::kGroupFull);
  harness.budget().Give(64u << 20);
}

TEST(ConsumerGroup, WhatItsMembersAreCalledTakesRoomToo) {
  ConsumerHarness harness;
  const auto name = [](int i) { return std::to_string(i) + std::string(30'000, 'x'); };
  int joined = 0;
  for (; joined < 2'000; ++joined) {
    Beat beat = Joining(name(joined), {"t"});
    beat.instance = name(joined);
    beat.rack = name(joined);
    const Error error = harness.Ask(beat).error;
    if (error == Error::kGroupFull) break;
    ASSERT_EQ(error, Error::kNone);
  }
  // Of 64 MiB, with id and instance id in a map's key each.
  EXPECT_LT(joined, 450);
  EXPECT_LE(harness.budget().used(), (64u << 20) + 300'000);
}

// --- Time.

TEST(ConsumerGroup, AMemberWithoutHeartbeatsIsGivenUp) {
  ConsumerHarness harness({.session_timeout_ms = 10'000});
  harness.Join("a");
  harness.Advance(6'000);
  harness.Join("b");
  harness.Advance(6'000);
  EXPECT_EQ(harness.group().member_count(), 1u);
  EXPECT_EQ(harness.counters().members_expired, 1u);
  EXPECT_EQ(harness.Beats("a", 1).error, Error::kUnknownMember);
  EXPECT_EQ(harness.Beats("b", 2).assignment, harness.Partitions("t", {0, 1, 2, 3}));
}

TEST(ConsumerGroup, AMemberThatDoesNotRevokeIsGivenUp) {
  ConsumerHarness harness;
  Beat beat = Joining("a", {"t"});
  beat.rebalance_timeout_ms = 20'000;
  harness.Ask(beat);
  harness.Join("b");
  const auto all = harness.Partitions("t", {0, 1, 2, 3});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(harness.Beats("a", 1, all).error, Error::kNone);
    EXPECT_EQ(harness.Beats("b", 2).error, Error::kNone);
    harness.Advance(8'000);
  }
  EXPECT_EQ(harness.Beats("a", 1, all).error, Error::kUnknownMember);
  EXPECT_EQ(harness.Beats("b", 2).assignment, all);
}

// --- Static members.

Beat Static(const std::string& member, const std::string& instance) {
  Beat beat = Joining(member, {"t"});
  beat.instance = instance;
  return beat;
}

TEST(ConsumerGroup, AStaticMemberComesBackToWhatItHad) {
  ConsumerHarness harness;
  harness.Ask(Static("a", "one"));
  harness.Join("b");
  harness.Beats("a", 1);
  const auto kept = harness.Described("a").assigned;
  EXPECT_EQ(harness.Ask({.member = "a", .epoch = kLeaveStaticEpoch, .instance = "one"}).error,
            Error::kNone);
  EXPECT_EQ(harness.Described("a").epoch, kLeaveStaticEpoch);
  EXPECT_EQ(harness.Beats("b", 2).assignment->size(), 2u) << "what a was to give up is free";
  EXPECT_EQ(harness.Ask({.member = "a", .epoch = 1, .instance = "one"}).error,
            Error::kFencedMemberEpoch);
  const int32_t epoch = harness.group().epoch();
  const ConsumerHeartbeatReply back = harness.Ask(Static("a2", "one"));
  EXPECT_EQ(back.member_epoch, epoch) << "no new epoch";
  EXPECT_EQ(back.assignment, kept);
  EXPECT_EQ(harness.group().member_count(), 2u);
  harness.Restart();
  EXPECT_EQ(harness.group().member_count(), 2u);
  EXPECT_EQ(harness.Described("a2").assigned, kept);
}

TEST(ConsumerGroup, AStaticMemberThatStaysAwayIsGivenUp) {
  ConsumerHarness harness({.session_timeout_ms = 10'000});
  harness.Ask(Static("a", "one"));
  harness.Ask({.member = "a", .epoch = kLeaveStaticEpoch, .instance = "one"});
  harness.Advance(10'000);
  EXPECT_EQ(harness.group().member_count(), 0u);
  EXPECT_EQ(harness.Ask(Static("a2", "one")).member_epoch, 3);
}

TEST(ConsumerGroup, AnInstanceHasOneMemberAtATime) {
  ConsumerHarness harness;
  harness.Ask(Static("a", "one"));
  EXPECT_EQ(harness.Ask(Static("b", "one")).error, Error::kUnreleasedInstanceId);
  EXPECT_EQ(harness.Ask({.member = "b", .epoch = 1, .instance = "one"}).error,
            Error::kFencedInstanceId);
  EXPECT_EQ(harness.Ask({.member = "b", .epoch = kLeaveEpoch, .instance = "one"}).error,
            Error::kFencedInstanceId);
  EXPECT_EQ(harness.Ask({.member = "a", .epoch = 1, .instance = "two"}).error,
            Error::kUnknownMember);
  EXPECT_EQ(harness.Ask(Static("a", "two")).error, Error::kFencedInstanceId);
  EXPECT_EQ(harness.Ask(Static("a", "one")).error, Error::kNone) << "it starts again";
  EXPECT_EQ(harness.Ask({.member = "a", .epoch = kLeaveEpoch, .instance = "one"}).error,
            Error::kNone);
  EXPECT_EQ(harness.group().member_count(), 0u);
}

TEST(ConsumerGroup, AStaticMemberDoesNotTakeAnothersId) {
  ConsumerHarness harness;
  harness.Ask(Static("a", "one"));
  harness.Join("b");
  harness.Ask({.member = "a", .epoch = kLeaveStaticEpoch, .instance = "one"});
  EXPECT_EQ(harness.Ask(Static("b", "one")).error, Error::kUnreleasedInstanceId);
}

// --- Topics.

TEST(ConsumerGroup, FollowsItsTopics) {
  ConsumerHarness harness;
  harness.Join("a");
  harness.SetTopics({{"t", 6}, {"other", 1}});
  EXPECT_EQ(harness.Beats("a", 1).assignment, harness.Partitions("t", {0, 1, 2, 3, 4, 5}));
  const int32_t epoch = harness.group().epoch();
  harness.SetTopics({{"t", 6}});
  EXPECT_FALSE(harness.Beats("a", epoch).assignment.has_value());
  EXPECT_EQ(harness.group().epoch(), epoch) << "of a topic that it does not read";
  harness.SetTopics({});
  const ConsumerHeartbeatReply gone = harness.Beats("a", epoch);
  EXPECT_EQ(gone.assignment, PartitionSet());
  EXPECT_EQ(harness.Beats("a", epoch, PartitionSet()).member_epoch, epoch + 1);
  harness.SetTopics({{"t", 1}});
  EXPECT_EQ(harness.Beats("a", epoch + 1).assignment, harness.Partitions("t", {0}))
      << "a new topic of the same name";
}

TEST(ConsumerGroup, SubscribesByExpression) {
  ConsumerHarness harness;
  harness.SetTopics({{"orders", 1}, {"orders-eu", 1}, {"bills", 1}});
  Beat beat = Joining("a", {});
  beat.regex = "orders.*";
  EXPECT_EQ(harness.Ask(beat).assignment->size(), 2u);
  EXPECT_TRUE(harness.group().SubscribesTo("orders-eu"));
  EXPECT_FALSE(harness.group().SubscribesTo("bills"));
  harness.Advance(1'000);
  harness.SetTopics({{"orders", 1}, {"orders-eu", 1}, {"orders-us", 2}, {"bills", 1}});
  EXPECT_EQ(harness.Beats("a", 1).assignment->size(), 4u);
  harness.Restart();
  EXPECT_TRUE(harness.group().SubscribesTo("orders-us"));
  EXPECT_FALSE(harness.Beats("a", 2).assignment.has_value()) << "known, and recorded";
  // Both kinds at once; then names alone.
  EXPECT_EQ(harness.Ask({.member = "a", .epoch = 2, .topics = {{"bills"}}}).assignment->size(), 5u);
  harness.Ask({.member = "a", .epoch = 3, .regex = "", .owned = PartitionSet()});
  EXPECT_EQ(harness.Described("a").assigned, harness.Partitions("bills", {0}));
  EXPECT_FALSE(harness.group().SubscribesTo("orders"));
}

TEST(ConsumerGroup, RefusesWhatIsNoExpression) {
  ConsumerHarness harness;
  Beat beat = Joining("a", {});
  for (const char* regex : {"(", "[a", "*", "((a{1000}){1000}){1000}"}) {
    beat.regex = regex;
    const ConsumerHeartbeatReply reply = harness.Ask(beat);
    EXPECT_EQ(reply.error, Error::kInvalidRegex) << regex;
    EXPECT_FALSE(reply.message.empty());
  }
  EXPECT_EQ(harness.group().member_count(), 0u);
  EXPECT_TRUE(harness.group().unused());
}

TEST(ConsumerGroup, RefusesASubscriptionThatNoRecordWouldHold) {
  ConsumerHarness harness;
  EXPECT_EQ(harness.Join("a", std::vector<std::string>(20'000, std::string(100, 'x'))).error,
            Error::kInvalidRequest);
}

// --- Offsets.

TEST(ConsumerGroup, TakesCommitsOfItsMembersInTheirEpoch) {
  ConsumerHarness harness;
  const auto commit = [&](const char* member, int32_t epoch, bool knows = true) {
    return harness.group().AdmitCommit({.group_id = "g",
                                        .member = {member, std::nullopt},
                                        .generation = epoch,
                                        .knows_member_epochs = knows});
  };
  EXPECT_EQ(commit("", -1), Error::kNone) << "nobody is in it";
  harness.Join("a");
  EXPECT_EQ(commit("", -1), Error::kUnknownMember);
  EXPECT_EQ(commit("a", 1), Error::kNone);
  EXPECT_EQ(commit("a", 0), Error::kStaleMemberEpoch);
  EXPECT_EQ(commit("a", 2), Error::kStaleMemberEpoch);
  EXPECT_EQ(commit("b", 1), Error::kUnknownMember);
  EXPECT_EQ(commit("a", 1, false), Error::kUnsupportedVersion);
  const auto fetch = [&](std::optional<absl::string_view> member, int32_t epoch) {
    return harness.group().AdmitFetch(
        {.group_id = "g", .member_id = member, .member_epoch = epoch});
  };
  EXPECT_EQ(fetch(std::nullopt, -1), Error::kNone);
  EXPECT_EQ(fetch("a", 1), Error::kNone);
  EXPECT_EQ(fetch("a", 2), Error::kStaleMemberEpoch);
  EXPECT_EQ(fetch("b", 1), Error::kUnknownMember);
}

// --- Records.

TEST(ConsumerGroup, AnswersWhenItsRecordsAreDurable) {
  ConsumerHarness harness;
  harness.HoldStores();
  auto first = harness.Send(Joining("a", {"t"}));
  EXPECT_FALSE(first->answered());
  auto second = harness.Send({.member = "a", .epoch = 1});
  EXPECT_FALSE(second->answered()) << "it has seen what is not durable";
  auto third = harness.Send(Joining("b", {"t"}));
  EXPECT_EQ(harness.Beats("nobody", 1).error, Error::kUnknownMember) << "at once";
  harness.Record();
  EXPECT_TRUE(first->answered() && second->answered() && third->answered());
  EXPECT_EQ(third->reply().member_epoch, 2);
}

TEST(ConsumerGroup, SaysItAllAgainWhenAStoreFails) {
  ConsumerHarness harness;
  harness.Join("a");
  harness.Join("b");
  harness.FailStores(true);
  EXPECT_EQ(harness.Beats("a", kLeaveEpoch).error, Error::kCoordinatorNotAvailable);
  EXPECT_EQ(harness.Beats("b", 2).error, Error::kCoordinatorNotAvailable);
  EXPECT_EQ(harness.Join("c").error, Error::kCoordinatorNotAvailable);
  harness.FailStores(false);
  EXPECT_EQ(harness.Join("c").error, Error::kNone) << "it tries again";
  const auto before = harness.group().Describe();
  harness.Restart();
  const auto after = harness.group().Describe();
  ASSERT_EQ(after.members.size(), 2u) << "the one that left has been buried";
  EXPECT_EQ(after.epoch, before.epoch);
  EXPECT_EQ(after.target_epoch, before.target_epoch);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(after.members[i].member_id, before.members[i].member_id);
    EXPECT_EQ(after.members[i].epoch, before.members[i].epoch);
    EXPECT_EQ(after.members[i].assigned, before.members[i].assigned);
    EXPECT_EQ(after.members[i].target, before.members[i].target);
  }
}

TEST(ConsumerGroup, WithoutMembersItSaysItAgainByItself) {
  ConsumerHarness harness;
  harness.Join("a");
  harness.FailStores(true);
  harness.Beats("a", kLeaveEpoch);
  EXPECT_FALSE(harness.group().unused());
  harness.FailStores(false);
  harness.Advance(5'000);
  EXPECT_TRUE(harness.group().unused());
  harness.Restart();
  EXPECT_EQ(harness.group().member_count(), 0u);
}

TEST(ConsumerGroup, ARestartChangesNothing) {
  ConsumerHarness harness;
  harness.Join("a");
  harness.Join("b");
  const auto kept = harness.Beats("a", 1).assignment;
  harness.Restart();
  EXPECT_EQ(harness.group().state(), ConsumerGroupState::kReconciling);
  EXPECT_EQ(harness.Beats("b", 2).error, Error::kNone);
  EXPECT_EQ(harness.Described("b").assigned, PartitionSet());
  EXPECT_EQ(harness.Beats("a", 1, kept).member_epoch, 2);
  EXPECT_EQ(harness.Beats("b", 2).assignment->size(), 2u);
  EXPECT_EQ(harness.group().epoch(), 2);
  harness.Restart();
  harness.Advance(45'000);
  EXPECT_EQ(harness.group().member_count(), 0u) << "sessions go on";
}

TEST(ConsumerGroup, GivesItsMemoryBack) {
  ConsumerHarness harness;
  const size_t before = harness.budget().used();
  Beat beat = Joining("a", {"t"});
  beat.regex = "t.*";
  harness.Ask(beat);
  EXPECT_GT(harness.budget().used(), before);
  harness.Beats("a", kLeaveEpoch);
  EXPECT_EQ(harness.budget().used(), before);
}

TEST(ConsumerGroup, ADeadGroupAnswersEverybody) {
  ConsumerHarness harness;
  harness.HoldStores();
  auto waiting = harness.Send(Joining("a", {"t"}));
  harness.group().Die(Error::kNotCoordinator);
  EXPECT_EQ(waiting->reply().error, Error::kNotCoordinator);
  EXPECT_EQ(harness.Beats("a", 1).error, Error::kCoordinatorNotAvailable);
}

}  // namespace
}  // namespace ringtail::group
