// Consumer groups of KIP-848 over the wire, with one broker of two cores in the simulation.
#include <sys/resource.h>

#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/group/coordinator.h"
#include "server/group/partition_of.h"
#include "tests/server/group/group_harness.h"
#include "tests/server/kafka/session_fixture.h"

namespace ringtail::kafka {
namespace {

class ConsumerGroupsSessionTest : public KafkaSessionTest {
 protected:
  using Reply = std::unique_ptr<Decoded<ConsumerGroupHeartbeatResponse>>;

  void SetUp() override { Restart(); }
  void Restart() {
    server::SimServerOptions options{.cores = 2};
    options.server.groups.limits.initial_rebalance_delay_ms = 0;
    options.server.groups.consumer.session_timeout_ms = 20'000;
    options.server.groups.consumer.migration_policy = migration_policy_;
    options.server.core_bytes_max = core_bytes_max_;
    Start(options);
    FindCoordinatorRequest request;
    request.key = "g";
    EXPECT_EQ(Ask<FindCoordinatorResponse>(request, 3)->body.error_code, 0);
    ASSERT_TRUE(world_.RunUntil([&] {
      return server_->server(0).groups().loading_count() == 0 &&
             server_->server(1).groups().loading_count() == 0;
    }));
  }

  ConsumerGroupHeartbeatRequest Beat(absl::string_view member_id, int32_t epoch) {
    ConsumerGroupHeartbeatRequest request;
    request.group_id = "g";
    request.member_id = arena_.CopyText(member_id);
    request.member_epoch = epoch;
    return request;
  }
  ConsumerGroupHeartbeatRequest Joining(absl::string_view member_id) {
    ConsumerGroupHeartbeatRequest request = Beat(member_id, 0);
    request.rebalance_timeout_ms = 60'000;
    request.subscribed_topic_names.emplace().Add(arena_) = "t";
    request.topic_partitions.emplace();
    return request;
  }
  Reply Send(const ConsumerGroupHeartbeatRequest& request, int16_t version = 1) {
    return Ask<ConsumerGroupHeartbeatResponse>(request, version);
  }
  ErrorCode ErrorOf(const ConsumerGroupHeartbeatRequest& request, int16_t version = 1) {
    const Reply reply = Send(request, version);
    EXPECT_EQ(reply->body.error_code == 0, !reply->body.error_message.has_value());
    return static_cast<ErrorCode>(reply->body.error_code);
  }
  ErrorCode JoinClassic() {
    JoinGroupRequest request;
    request.group_id = "g";
    request.session_timeout_ms = 10'000;
    request.rebalance_timeout_ms = 60'000;
    request.member_id = classic_id_;
    request.protocol_type = "consumer";
    auto& protocol = request.protocols.Add(arena_);
    protocol.name = "range";
    protocol.metadata = Bytes(base::AsBytes(arena_.CopyText(group::Subscription({"t"}))));
    const auto reply = Ask<JoinGroupResponse>(request, 3);
    classic_id_ = std::string(reply->body.member_id);
    generation_ = reply->body.generation_id;
    return static_cast<ErrorCode>(reply->body.error_code);
  }
  // How many partitions it is assigned; of a classic group, whose leader it is, all.
  size_t SyncClassic() {
    SyncGroupRequest request;
    request.group_id = "g";
    request.member_id = classic_id_;
    request.generation_id = generation_;
    request.protocol_type = "consumer";
    request.protocol_name = "range";
    auto& assignment = request.assignments.Add(arena_);
    assignment.member_id = classic_id_;
    assignment.assignment = Bytes(
        base::AsBytes(arena_.CopyText(group::EncodeAssignment({{"t", 0}, {"t", 1}, {"t", 2}}, 0))));
    const auto reply = Ask<SyncGroupResponse>(request, 5);
    EXPECT_EQ(reply->body.error_code, 0);
    const auto decoded = group::DecodeAssignment(base::AsText(reply->body.assignment));
    return decoded.has_value() ? decoded->partitions.size() : 0;
  }
  ErrorCode BeatClassic() {
    HeartbeatRequest request;
    request.group_id = "g";
    request.member_id = classic_id_;
    request.generation_id = generation_;
    return static_cast<ErrorCode>(Ask<HeartbeatResponse>(request, 4)->body.error_code);
  }
  void KillAndRestart() {
    server_->Kill();
    Restart();
  }
  ErrorCode Commit(absl::string_view member_id, int32_t epoch, int16_t version = 9) {
    OffsetCommitRequest request;
    request.group_id = "g";
    request.member_id = arena_.CopyText(member_id);
    request.generation_id_or_member_epoch = epoch;
    auto& topic = request.topics.Add(arena_);
    topic.name = "t";
    topic.partitions.Add(arena_).committed_offset = 42;
    const auto reply = Ask<OffsetCommitResponse>(request, version);
    return static_cast<ErrorCode>(reply->body.topics[0].partitions[0].error_code);
  }
  ErrorCode FetchOffsets(std::optional<absl::string_view> member_id, int32_t epoch,
                         int64_t* offset = nullptr) {
    OffsetFetchRequest request;
    auto& group = request.groups.Add(arena_);
    group.group_id = "g";
    group.member_id = member_id;
    group.member_epoch = epoch;
    group.topics.reset();  // all
    const auto reply = Ask<OffsetFetchResponse>(request, 9);
    const auto& found = reply->body.groups[0];
    if (offset != nullptr) {
      *offset = found.topics.size() == 0 ? -1 : found.topics[0].partitions[0].committed_offset;
    }
    return static_cast<ErrorCode>(found.error_code);
  }
  std::unique_ptr<Decoded<ConsumerGroupDescribeResponse>> Describe(absl::string_view id = "g") {
    ConsumerGroupDescribeRequest request;
    request.group_ids.Add(arena_) = id;
    return Ask<ConsumerGroupDescribeResponse>(request, 1);
  }
  std::string Listed(absl::string_view type = "") {
    std::string all;
    for (const uint32_t core : {0u, 1u}) {
      KafkaDialogue node(world_, "node");
      EXPECT_TRUE(node.Open(server_->endpoints().cores[core].kafka));
      ListGroupsRequest request;
      if (!type.empty()) request.types_filter.Add(arena_) = arena_.CopyText(type);
      const auto reply = node.Ask<ListGroupsResponse>(request, 5, 1);
      for (const auto& each : reply->body.groups) {
        absl::StrAppend(&all, each.group_id, " ", each.protocol_type, " ", each.group_state, " ",
                        each.group_type);
      }
    }
    return all;
  }
  ErrorCode Delete() {
    DeleteGroupsRequest request;
    request.groups_names.Add(arena_) = "g";
    return static_cast<ErrorCode>(
        Ask<DeleteGroupsResponse>(request, 2)->body.results[0].error_code);
  }

  size_t core_bytes_max_ = server::CoreServerOptions().core_bytes_max;
  group::MigrationPolicy migration_policy_ = group::MigrationPolicy::kBidirectional;
  std::string classic_id_;
  int32_t generation_ = -1;
};

TEST_F(ConsumerGroupsSessionTest, TheFeatureIsTold) {
  const auto reply = Ask<ApiVersionsResponse>(ApiVersionsRequest(), 4);
  ASSERT_EQ(reply->body.finalized_features.size(), 1u);
  EXPECT_EQ(reply->body.finalized_features[0].name, "group.version");
  EXPECT_EQ(reply->body.finalized_features[0].max_version_level, 1);
  EXPECT_EQ(reply->body.supported_features[0].max_version, 1);
  EXPECT_GE(reply->body.finalized_features_epoch, 0);
  EXPECT_EQ(Ask<ApiVersionsResponse>(ApiVersionsRequest(), 2)->body.finalized_features.size(), 0u);
}

TEST_F(ConsumerGroupsSessionTest, AMemberOfEachVersion) {
  ConsumerGroupHeartbeatRequest request = Joining("");
  EXPECT_EQ(ErrorOf(request, 1), ErrorCode::kInvalidRequest) << "the client makes its id";
  const Reply first = Send(request, 0);
  ASSERT_EQ(first->body.error_code, 0);
  const std::string id(first->body.member_id.value_or(""));
  EXPECT_EQ(id.size(), 22u);
  EXPECT_EQ(first->body.member_epoch, 1);
  EXPECT_EQ(first->body.heartbeat_interval_ms, 5'000);
  ASSERT_TRUE(first->body.assignment.has_value());
  ASSERT_EQ(first->body.assignment->topic_partitions.size(), 1u);
  EXPECT_EQ(first->body.assignment->topic_partitions[0].topic_id, IdOf("t"));
  EXPECT_EQ(first->body.assignment->topic_partitions[0].partitions.size(), 3u);
  EXPECT_FALSE(Send(Beat(id, 1), 0)->body.assignment.has_value());
  EXPECT_EQ(Send(Joining("mine"))->body.member_id, "mine");
  EXPECT_EQ(ErrorOf(Beat(id, 7)), ErrorCode::kFencedMemberEpoch);
  EXPECT_EQ(ErrorOf(Beat("nobody", 7)), ErrorCode::kUnknownMemberId);
  EXPECT_EQ(ErrorOf(Beat("mine", -1)), ErrorCode::kNone);
}

TEST_F(ConsumerGroupsSessionTest, BadRequestsAreRefused) {
  EXPECT_EQ(ErrorOf(Beat("a", 1)), ErrorCode::kGroupIdNotFound);
  ConsumerGroupHeartbeatRequest request = Joining("a");
  request.server_assignor = "sticky";
  EXPECT_EQ(ErrorOf(request), ErrorCode::kUnsupportedAssignor);
  request = Joining("a");
  request.subscribed_topic_regex = "(";
  EXPECT_EQ(ErrorOf(request), ErrorCode::kInvalidRegularExpression);
  request = Joining("a");
  request.group_id = "";
  EXPECT_EQ(ErrorOf(request), ErrorCode::kInvalidRequest);
  EXPECT_EQ(Listed(), "") << "nothing stays of what was refused";
  ExpectStillServing();
}

TEST_F(ConsumerGroupsSessionTest, OffsetsAreThoseOfMembersInTheirEpoch) {
  ASSERT_EQ(ErrorOf(Joining("a")), ErrorCode::kNone);
  EXPECT_EQ(Commit("a", 1), ErrorCode::kNone);
  EXPECT_EQ(Commit("a", 0), ErrorCode::kStaleMemberEpoch);
  EXPECT_EQ(Commit("b", 1), ErrorCode::kUnknownMemberId);
  EXPECT_EQ(Commit("a", 1, 8), ErrorCode::kUnsupportedVersion);
  int64_t offset = -1;
  EXPECT_EQ(FetchOffsets("a", 1, &offset), ErrorCode::kNone);
  EXPECT_EQ(offset, 42);
  EXPECT_EQ(FetchOffsets("a", 2), ErrorCode::kStaleMemberEpoch);
  EXPECT_EQ(FetchOffsets("b", 1), ErrorCode::kUnknownMemberId);
  EXPECT_EQ(FetchOffsets(std::nullopt, -1), ErrorCode::kNone);
}

TEST_F(ConsumerGroupsSessionTest, DescribesItsMembers) {
  ConsumerGroupHeartbeatRequest request = Joining("a");
  request.instance_id = "one";
  request.rack_id = "rack";
  request.subscribed_topic_regex = "none.*";
  ASSERT_EQ(ErrorOf(request), ErrorCode::kNone);
  const auto reply = Describe();
  ASSERT_EQ(reply->body.groups.size(), 1u);
  const auto& group = reply->body.groups[0];
  EXPECT_EQ(group.error_code, 0);
  EXPECT_EQ(group.group_state, "Stable");
  EXPECT_EQ(group.group_epoch, 1);
  EXPECT_EQ(group.assignment_epoch, 1);
  EXPECT_EQ(group.assignor_name, "uniform");
  ASSERT_EQ(group.members.size(), 1u);
  const auto& member = group.members[0];
  EXPECT_EQ(member.member_id, "a");
  EXPECT_EQ(member.instance_id, "one");
  EXPECT_EQ(member.rack_id, "rack");
  EXPECT_EQ(member.member_epoch, 1);
  EXPECT_EQ(member.client_id, "test");
  EXPECT_EQ(member.member_type, 1);
  EXPECT_EQ(member.subscribed_topic_names[0], "t");
  EXPECT_EQ(member.subscribed_topic_regex, "none.*");
  EXPECT_EQ(member.assignment.topic_partitions[0].topic_name, "t");
  EXPECT_EQ(member.target_assignment.topic_partitions[0].partitions.size(), 3u);
  EXPECT_EQ(Listed(), "g consumer Stable consumer");
  EXPECT_EQ(Listed("consumer"), "g consumer Stable consumer");
  EXPECT_EQ(Listed("classic"), "");
}

TEST_F(ConsumerGroupsSessionTest, EachKindOfGroupIsDescribedByItsOwnRequest) {
  EXPECT_EQ(Describe("nothing")->body.groups[0].error_code, Wire(ErrorCode::kGroupIdNotFound));
  ASSERT_EQ(ErrorOf(Joining("a")), ErrorCode::kNone);
  for (const int16_t version : {5, 6}) {
    DescribeGroupsRequest request;
    request.groups.Add(arena_) = "g";
    const auto reply = Ask<DescribeGroupsResponse>(request, version);
    EXPECT_EQ(reply->body.groups[0].group_state, "Dead");
    EXPECT_EQ(reply->body.groups[0].error_code,
              version < 6 ? 0 : Wire(ErrorCode::kGroupIdNotFound));
  }
  ASSERT_EQ(ErrorOf(Beat("a", -1)), ErrorCode::kNone);
  ASSERT_EQ(JoinClassic(), ErrorCode::kNone);
  EXPECT_EQ(Describe()->body.groups[0].error_code, Wire(ErrorCode::kGroupIdNotFound));
}

TEST_F(ConsumerGroupsSessionTest, AnEmptyGroupChangesItsProtocol) {
  ASSERT_EQ(ErrorOf(Joining("a")), ErrorCode::kNone);
  ASSERT_EQ(Commit("a", 1), ErrorCode::kNone);
  ASSERT_EQ(ErrorOf(Beat("a", -1)), ErrorCode::kNone);
  EXPECT_EQ(JoinClassic(), ErrorCode::kNone);
  int64_t offset = -1;
  EXPECT_EQ(FetchOffsets(std::nullopt, -1, &offset), ErrorCode::kNone);
  EXPECT_EQ(offset, 42) << "what is committed stays";
  server_->Kill();
  Restart();
  EXPECT_EQ(Listed("consumer"), "");
  world_.RunFor(60 * base::kNanosPerSecond);
  EXPECT_EQ(ErrorOf(Joining("b")), ErrorCode::kNone);
  server_->Kill();
  Restart();
  EXPECT_EQ(Listed(), "g consumer Stable consumer");
}

TEST_F(ConsumerGroupsSessionTest, AGroupWithMembersChangesItsProtocolAndBack) {
  ASSERT_EQ(JoinClassic(), ErrorCode::kNone);
  ASSERT_EQ(SyncClassic(), 3u);
  ASSERT_EQ(Commit(classic_id_, generation_, 8), ErrorCode::kNone);
  ASSERT_EQ(ErrorOf(Joining("k")), ErrorCode::kNone);
  EXPECT_EQ(Listed(), "g consumer Reconciling consumer");
  const auto described = Describe();
  ASSERT_EQ(described->body.groups[0].members.size(), 2u);
  for (const auto& member : described->body.groups[0].members) {
    EXPECT_EQ(member.member_type, member.member_id == "k" ? 1 : 0);
  }
  EXPECT_EQ(BeatClassic(), ErrorCode::kRebalanceInProgress);
  KillAndRestart();
  EXPECT_EQ(BeatClassic(), ErrorCode::kRebalanceInProgress);
  EXPECT_EQ(Commit(classic_id_, generation_, 8), ErrorCode::kNone) << "before it gives up";
  ASSERT_EQ(JoinClassic(), ErrorCode::kNone);
  EXPECT_EQ(generation_, 2);
  const size_t kept = SyncClassic();
  EXPECT_TRUE(kept == 1 || kept == 2) << kept;
  EXPECT_EQ(BeatClassic(), ErrorCode::kNone);
  ASSERT_EQ(ErrorOf(Beat("k", 2)), ErrorCode::kNone);
  EXPECT_EQ(Listed(), "g consumer Stable consumer");
  KillAndRestart();
  EXPECT_EQ(BeatClassic(), ErrorCode::kNone);
  ASSERT_EQ(ErrorOf(Beat("k", -1)), ErrorCode::kNone);
  EXPECT_EQ(Listed(), "g consumer PreparingRebalance classic");
  EXPECT_EQ(ErrorOf(Beat("k", 2)), ErrorCode::kUnknownMemberId) << "it may join again";
  EXPECT_EQ(BeatClassic(), ErrorCode::kRebalanceInProgress);
  EXPECT_EQ(Commit(classic_id_, generation_, 8), ErrorCode::kNone);
  KillAndRestart();
  EXPECT_EQ(Listed(), "g consumer PreparingRebalance classic");
  EXPECT_EQ(BeatClassic(), ErrorCode::kRebalanceInProgress);
  ASSERT_EQ(JoinClassic(), ErrorCode::kNone);
  EXPECT_EQ(generation_, 3);
  EXPECT_EQ(SyncClassic(), 3u);
  KillAndRestart();
  EXPECT_EQ(Listed(), "g consumer Stable classic");
  EXPECT_EQ(BeatClassic(), ErrorCode::kNone);
  int64_t offset = -1;
  EXPECT_EQ(FetchOffsets(std::nullopt, -1, &offset), ErrorCode::kNone);
  EXPECT_EQ(offset, 42) << "what is committed stays";
}

TEST_F(ConsumerGroupsSessionTest, AMemberWhoseSessionEndsLeadsBackToTheClassicProtocol) {
  ASSERT_EQ(JoinClassic(), ErrorCode::kNone);
  SyncClassic();
  ASSERT_EQ(ErrorOf(Joining("k")), ErrorCode::kNone);
  EXPECT_EQ(BeatClassic(), ErrorCode::kRebalanceInProgress);
  ASSERT_EQ(JoinClassic(), ErrorCode::kNone);
  SyncClassic();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(BeatClassic(), ErrorCode::kNone);
    world_.RunFor(6 * base::kNanosPerSecond);
  }
  EXPECT_EQ(BeatClassic(), ErrorCode::kNone);
  world_.RunFor(4 * base::kNanosPerSecond);
  EXPECT_EQ(BeatClassic(), ErrorCode::kRebalanceInProgress);
  EXPECT_EQ(Listed(), "g consumer PreparingRebalance classic");
}

TEST_F(ConsumerGroupsSessionTest, AMemberThatIsRefusedChangesNothing) {
  ASSERT_EQ(JoinClassic(), ErrorCode::kNone);
  SyncClassic();
  ConsumerGroupHeartbeatRequest request = Joining("k");
  request.subscribed_topic_regex = "(";
  EXPECT_EQ(ErrorOf(request), ErrorCode::kInvalidRegularExpression);
  EXPECT_EQ(BeatClassic(), ErrorCode::kNone);
  EXPECT_EQ(Listed(), "g consumer Stable classic");
}

TEST_F(ConsumerGroupsSessionTest, ThePolicySaysWhichWayAGroupMayGo) {
  using group::MigrationPolicy;
  for (const MigrationPolicy policy :
       {MigrationPolicy::kUpgrade, MigrationPolicy::kDowngrade, MigrationPolicy::kDisabled}) {
    classic_id_.clear();
    migration_policy_ = policy;
    KillAndRestart();
    world_.RunFor(60 * base::kNanosPerSecond);  // nobody is left of the one before
    ASSERT_EQ(JoinClassic(), ErrorCode::kNone);
    SyncClassic();
    const bool upgrades = policy == MigrationPolicy::kUpgrade;
    const Reply reply = Send(Joining("k"));
    EXPECT_EQ(static_cast<ErrorCode>(reply->body.error_code),
              upgrades ? ErrorCode::kNone : ErrorCode::kGroupIdNotFound);
    if (!upgrades) {
      EXPECT_EQ(reply->body.error_message,
                "Cannot upgrade classic group g to consumer group because online upgrade is "
                "disabled.");
      continue;
    }
    ASSERT_EQ(ErrorOf(Beat("k", -1)), ErrorCode::kNone);
    EXPECT_EQ(BeatClassic(), ErrorCode::kRebalanceInProgress);
    ASSERT_EQ(JoinClassic(), ErrorCode::kNone);
    EXPECT_EQ(SyncClassic(), 3u);
    EXPECT_EQ(Listed(), "g consumer Stable consumer") << "it stays one";
  }
}

// As if the broker had died between the end of the last member of KIP-848's protocol and what
// follows.
TEST_F(ConsumerGroupsSessionTest, AStartThatFindsClassicMembersAloneGoesBack) {
  migration_policy_ = group::MigrationPolicy::kUpgrade;
  KillAndRestart();
  ASSERT_EQ(JoinClassic(), ErrorCode::kNone);
  SyncClassic();
  ASSERT_EQ(ErrorOf(Joining("k")), ErrorCode::kNone);
  ASSERT_EQ(ErrorOf(Beat("k", -1)), ErrorCode::kNone);
  EXPECT_EQ(Listed(), "g consumer Assigning consumer");
  ASSERT_EQ(JoinClassic(), ErrorCode::kNone);
  EXPECT_EQ(SyncClassic(), 3u);
  migration_policy_ = group::MigrationPolicy::kBidirectional;
  KillAndRestart();
  EXPECT_EQ(Listed(), "g consumer PreparingRebalance classic");
  EXPECT_EQ(BeatClassic(), ErrorCode::kRebalanceInProgress);
  KillAndRestart();
  EXPECT_EQ(Listed(), "g consumer PreparingRebalance classic");
  ASSERT_EQ(JoinClassic(), ErrorCode::kNone);
  EXPECT_EQ(SyncClassic(), 3u);
}

TEST_F(ConsumerGroupsSessionTest, ARestartKeepsItsMembers) {
  ASSERT_EQ(ErrorOf(Joining("a")), ErrorCode::kNone);
  ASSERT_EQ(ErrorOf(Joining("b")), ErrorCode::kNone);
  for (const bool kill : {false, true}) {
    const auto before = Describe();
    if (kill) {
      server_->Kill();
    } else {
      EXPECT_TRUE(server_->Stop());
    }
    Restart();
    const auto after = Describe();
    EXPECT_TRUE(after->body == before->body);
    EXPECT_EQ(ErrorOf(Beat("a", 1)), ErrorCode::kNone) << "goes on, and gives up what is b's";
  }
  world_.RunFor(30 * base::kNanosPerSecond);
  EXPECT_EQ(Describe()->body.groups[0].group_state, "Empty") << "the sessions have ended";
}

TEST_F(ConsumerGroupsSessionTest, FollowsItsTopic) {
  ASSERT_EQ(ErrorOf(Joining("a")), ErrorCode::kNone);
  CreatePartitionsRequest grow;
  auto& topic = grow.topics.Add(arena_);
  topic.name = "t";
  topic.count = 5;
  topic.assignments.reset();
  grow.timeout_ms = 30'000;
  ASSERT_EQ(Ask<CreatePartitionsResponse>(grow, 3)->body.results[0].error_code, 0);
  const Reply grown = Send(Beat("a", 1));
  ASSERT_TRUE(grown->body.assignment.has_value());
  EXPECT_EQ(grown->body.assignment->topic_partitions[0].partitions.size(), 5u);
  EXPECT_EQ(grown->body.member_epoch, 2);
}

TEST_F(ConsumerGroupsSessionTest, GroupsAreDeletedOnceTheyAreEmpty) {
  ASSERT_EQ(ErrorOf(Joining("a")), ErrorCode::kNone);
  ASSERT_EQ(Commit("a", 1), ErrorCode::kNone);
  EXPECT_EQ(Delete(), ErrorCode::kNonEmptyGroup);
  ASSERT_EQ(ErrorOf(Beat("a", -1)), ErrorCode::kNone);
  EXPECT_EQ(Listed(), "g consumer Empty consumer");
  EXPECT_EQ(Delete(), ErrorCode::kNone);
  EXPECT_EQ(Delete(), ErrorCode::kGroupIdNotFound);
  server_->Kill();
  Restart();
  EXPECT_EQ(Listed(), "");
  EXPECT_EQ(server_->server(0).groups().memory_bytes(), 0u);
  EXPECT_EQ(server_->server(1).groups().memory_bytes(), 0u);
}

int64_t PeakMiB() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss >> 10;
}

// A request of some KiB would be made into 450 MiB to be encoded, and as many to be sent.
TEST_F(ConsumerGroupsSessionTest, WhatADescriptionTakesIsCounted) {
  core_bytes_max_ = 64u << 20;
  KillAndRestart();
  ConsumerGroupHeartbeatRequest joining = Joining("a");
  for (int i = 0; i < 15; ++i) {
    joining.subscribed_topic_names->Add(arena_) =
        arena_.CopyText(absl::StrCat(i, std::string(30'000, 'x')));
  }
  ASSERT_EQ(ErrorOf(joining), ErrorCode::kNone);
  ConsumerGroupDescribeRequest request;
  for (int i = 0; i < 1'000; ++i) request.group_ids.Add(arena_) = "g";
  const int64_t before = PeakMiB();
  EXPECT_EQ(Connected()->Ask<ConsumerGroupDescribeResponse>(request, 1, 1), nullptr);
  EXPECT_LT(PeakMiB(), before + 600);
  ExpectStillServing();
}

TEST_F(ConsumerGroupsSessionTest, AFloodOfForgedHeartbeatsHarmsNobody) {
  ASSERT_EQ(ErrorOf(Joining("a")), ErrorCode::kNone);
  ConsumerGroupHeartbeatRequest request = Beat("a", 1);
  auto& owned = request.topic_partitions.emplace();
  for (int i = 0; i < 3'000; ++i) {  // of which there are not so many, and twice each
    auto& topic = owned.Add(arena_);
    topic.topic_id = i % 2 == 0 ? IdOf("t") : base::Uuid::Random();
    for (const int32_t partition : {i, i, -i, INT32_MAX, INT32_MIN}) {
      topic.partitions.Add(arena_) = partition;
    }
  }
  EXPECT_EQ(ErrorOf(request), ErrorCode::kNone);
  for (const int32_t epoch : {INT32_MAX, INT32_MIN, -3, -2, 2}) {
    EXPECT_NE(ErrorOf(Beat("a", epoch)), ErrorCode::kNone) << epoch;
    EXPECT_NE(ErrorOf(Beat("b", epoch)), ErrorCode::kNone) << epoch;
  }
  for (const std::string& regex :
       {std::string(10'000, '('), std::string("((a{100}){100}){100}"), std::string("a\\C\xff"),
        std::string(2'000, '.') + "*", std::string("(?i)") + std::string(20'000, 'x')}) {
    ConsumerGroupHeartbeatRequest joining = Joining("b");
    joining.subscribed_topic_regex = regex;
    const ErrorCode error = ErrorOf(joining);
    EXPECT_TRUE(error == ErrorCode::kNone || error == ErrorCode::kInvalidRegularExpression)
        << ErrorName(error);
  }
  ConsumerGroupHeartbeatRequest large = Joining("c");
  for (int i = 0; i < 18; ++i) {
    large.subscribed_topic_names->Add(arena_) =
        arena_.CopyText(absl::StrCat(i, std::string(32'000, 'x')));
  }
  EXPECT_EQ(ErrorOf(large), ErrorCode::kInvalidRequest) << "a larger one is not recorded";
  EXPECT_EQ(ErrorOf(Beat("a", 1)), ErrorCode::kNone);
  ExpectStillServing();
}

TEST_F(ConsumerGroupsSessionTest, APeerThatGoesHoldsUpNobody) {
  ASSERT_TRUE(peer_->client().Send(KafkaFrame(Joining("a"), 1, 1)));
  peer_ = Connected();
  world_.RunFor(base::kNanosPerSecond);
  EXPECT_EQ(ErrorOf(Joining("b")), ErrorCode::kNone);
  world_.RunFor(25 * base::kNanosPerSecond);
  EXPECT_EQ(Describe()->body.groups[0].members.size(), 0u);
}

}  // namespace
}  // namespace ringtail::kafka
