// Consumer groups over the wire, with one broker of two cores in the simulation.
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/records/record_batch_builder.h"
#include "gtest/gtest.h"
#include "server/group/coordinator.h"
#include "server/group/partition_of.h"
#include "tests/server/group/group_harness.h"
#include "tests/server/kafka/session_fixture.h"

namespace ringtail::kafka {
namespace {

constexpr absl::string_view kRange = "range";

class GroupsSessionTest : public KafkaSessionTest {
 protected:
  void SetUp() override { Restart(); }
  void Restart() {
    server::SimServerOptions options{.cores = 2};
    options.server.groups.limits.initial_rebalance_delay_ms = 0;
    Start(options);
  }
  ErrorCode FindGroup(const std::string& group_id, int32_t* node = nullptr) {
    FindCoordinatorRequest request;
    request.key = group_id;
    const auto reply = Ask<FindCoordinatorResponse>(request, 3);
    if (node != nullptr) *node = reply->body.node_id;
    return static_cast<ErrorCode>(reply->body.error_code);
  }
  // Whether the coordinator of "g" takes requests.
  void Begin() {
    ASSERT_EQ(FindGroup("g"), ErrorCode::kNone);
    ASSERT_TRUE(world_.RunUntil([&] {
      return server_->server(0).groups().loading_count() == 0 &&
             server_->server(1).groups().loading_count() == 0;
    }));
  }

  JoinGroupRequest Join(absl::string_view member_id = "",
                        std::optional<absl::string_view> instance_id = std::nullopt) {
    JoinGroupRequest request;
    request.group_id = "g";
    request.session_timeout_ms = 10'000;
    request.rebalance_timeout_ms = 60'000;
    request.member_id = arena_.CopyText(member_id);
    request.group_instance_id = instance_id;
    request.protocol_type = "consumer";
    auto& protocol = request.protocols.Add(arena_);
    protocol.name = kRange;
    protocol.metadata = Bytes(base::AsBytes(arena_.CopyText(group::Subscription({"t"}))));
    return request;
  }
  SyncGroupRequest Sync(absl::string_view member_id, int32_t generation,
                        const std::vector<std::pair<std::string, std::string>>& given = {}) {
    SyncGroupRequest request;
    request.group_id = "g";
    request.member_id = arena_.CopyText(member_id);
    request.generation_id = generation;
    for (const auto& [id, assignment] : given) {
      auto& out = request.assignments.Add(arena_);
      out.member_id = arena_.CopyText(id);
      out.assignment = Bytes(base::AsBytes(arena_.CopyText(assignment)));
    }
    return request;
  }
  ErrorCode Heartbeat(absl::string_view member_id, int32_t generation) {
    HeartbeatRequest request;
    request.group_id = "g";
    request.member_id = arena_.CopyText(member_id);
    request.generation_id = generation;
    return static_cast<ErrorCode>(Ask<HeartbeatResponse>(request, 4)->body.error_code);
  }
  // A member of its own generation; its id.
  std::string JoinAlone(int16_t version = 3) {
    const auto joined = Ask<JoinGroupResponse>(Join(), version);
    EXPECT_EQ(joined->body.error_code, 0);
    const std::string id(joined->body.member_id);
    generation_ = joined->body.generation_id;
    const auto synced = Ask<SyncGroupResponse>(Sync(id, generation_, {{id, "all"}}), 5);
    EXPECT_EQ(synced->body.error_code, 0);
    EXPECT_EQ(base::AsText(synced->body.assignment), "all");
    return id;
  }
  ErrorCode Commit(absl::string_view member_id, int32_t generation, int64_t offset,
                   absl::string_view topic = "t", int32_t partition = 0,
                   absl::string_view metadata = "", int16_t version = 8,
                   absl::string_view group_id = "g") {
    OffsetCommitRequest request;
    request.group_id = arena_.CopyText(group_id);
    request.member_id = arena_.CopyText(member_id);
    request.generation_id_or_member_epoch = generation;
    auto& out = request.topics.Add(arena_);
    out.name = arena_.CopyText(topic);
    auto& each = out.partitions.Add(arena_);
    each.partition_index = partition;
    each.committed_offset = offset;
    each.committed_metadata = arena_.CopyText(metadata);
    const auto reply = Ask<OffsetCommitResponse>(request, version);
    if (reply->body.topics.size() != 1) return ErrorCode::kUnknownServerError;
    return static_cast<ErrorCode>(reply->body.topics[0].partitions[0].error_code);
  }
  // Of partition 0 of "t"; -1: none.
  int64_t Committed(absl::string_view group_id = "g", int32_t partition = 0) {
    OffsetFetchRequest request;
    auto& group = request.groups.Add(arena_);
    group.group_id = arena_.CopyText(group_id);
    auto& topic = group.topics.emplace().Add(arena_);
    topic.name = "t";
    topic.partition_indexes.Add(arena_) = partition;
    const auto reply = Ask<OffsetFetchResponse>(request, 9);
    EXPECT_EQ(reply->body.groups[0].error_code, 0);
    return reply->body.groups[0].topics[0].partitions[0].committed_offset;
  }
  std::string StateOf(absl::string_view group_id = "g") {
    DescribeGroupsRequest request;
    request.groups.Add(arena_) = arena_.CopyText(group_id);
    const auto reply = Ask<DescribeGroupsResponse>(request, 5);
    return std::string(reply->body.groups[0].group_state);
  }

  int32_t generation_ = 0;
};

TEST_F(GroupsSessionTest, TheCoordinatorIsTheNodeOfItsPartition) {
  for (int16_t version = 0; version <= 6; ++version) {
    for (const std::string id : {"g", "another", ""}) {
      FindCoordinatorRequest request;
      if (version < 4) {
        request.key = id;
      } else {
        request.coordinator_keys.Add(arena_) = arena_.CopyText(id);
      }
      const auto reply = Ask<FindCoordinatorResponse>(request, version);
      const server::TopicImage* topic =
          server_->broker(0).image()->FindByName("__consumer_offsets");
      ASSERT_NE(topic, nullptr);
      ASSERT_EQ(topic->partitions.size(), 50u);
      const auto partition = static_cast<size_t>(group::PartitionOf(id, 50));
      const uint32_t core = server_->broker(0).CoreOf(topic->partitions[partition]).value();
      const int32_t code =
          version < 4 ? reply->body.error_code : reply->body.coordinators[0].error_code;
      const int32_t node = version < 4 ? reply->body.node_id : reply->body.coordinators[0].node_id;
      const int32_t port = version < 4 ? reply->body.port : reply->body.coordinators[0].port;
      EXPECT_EQ(code, 0);
      EXPECT_EQ(node, static_cast<int32_t>(core));
      EXPECT_EQ(port, server_->endpoints().cores[core].kafka);
    }
  }
}

TEST_F(GroupsSessionTest, OffsetsTopicIsTheBrokersOwn) {
  Begin();
  MetadataRequest metadata;
  metadata.topics.emplace().Add(arena_).name = "__consumer_offsets";
  EXPECT_TRUE(Ask<MetadataResponse>(metadata, 9)->body.topics[0].is_internal);
  EXPECT_EQ(ErrorOf(Produce("__consumer_offsets", 0, log::MakeBatch({}))),
            ErrorCode::kInvalidTopicException);
  DeleteTopicsRequest deletes;
  deletes.topic_names.Add(arena_) = "__consumer_offsets";
  EXPECT_EQ(Ask<DeleteTopicsResponse>(deletes, 5)->body.responses[0].error_code,
            Wire(ErrorCode::kInvalidTopicException));
  CreatePartitionsRequest grows;
  auto& topic = grows.topics.Add(arena_);
  topic.name = "__consumer_offsets";
  topic.count = 60;
  topic.assignments = std::nullopt;
  EXPECT_EQ(Ask<CreatePartitionsResponse>(grows, 3)->body.results[0].error_code,
            Wire(ErrorCode::kInvalidTopicException));
  DeleteRecordsRequest records;
  auto& cut = records.topics.Add(arena_);
  cut.name = "__consumer_offsets";
  cut.partitions.Add(arena_).offset = -1;
  EXPECT_EQ(Ask<DeleteRecordsResponse>(records, 2)->body.topics[0].partitions[0].error_code,
            Wire(ErrorCode::kInvalidTopicException));
}

TEST_F(GroupsSessionTest, OneMemberInEveryVersion) {
  Begin();
  for (int16_t version = 0; version <= 9; ++version) {
    SCOPED_TRACE(version);
    JoinGroupRequest request = Join();
    auto joined = Ask<JoinGroupResponse>(request, version);
    if (version >= 4) {
      ASSERT_EQ(joined->body.error_code, Wire(ErrorCode::kMemberIdRequired));
      const std::string id(joined->body.member_id);
      joined = Ask<JoinGroupResponse>(Join(id), version);
    }
    ASSERT_EQ(joined->body.error_code, 0);
    const std::string id(joined->body.member_id);
    EXPECT_EQ(joined->body.leader, id);
    EXPECT_EQ(joined->body.protocol_name, kRange);
    ASSERT_EQ(joined->body.members.size(), 1u);
    const int32_t generation = joined->body.generation_id;
    const int16_t sync_version = std::min<int16_t>(version, 5);
    const auto synced = Ask<SyncGroupResponse>(Sync(id, generation, {{id, "mine"}}), sync_version);
    ASSERT_EQ(synced->body.error_code, 0);
    EXPECT_EQ(base::AsText(synced->body.assignment), "mine");
    EXPECT_EQ(Heartbeat(id, generation), ErrorCode::kNone);
    LeaveGroupRequest leave;
    leave.group_id = "g";
    const int16_t leave_version = std::min<int16_t>(version, 5);
    if (leave_version < 3) {
      leave.member_id = id;
    } else {
      leave.members.Add(arena_).member_id = arena_.CopyText(id);
    }
    const auto left = Ask<LeaveGroupResponse>(leave, leave_version);
    EXPECT_EQ(left->body.error_code, 0);
    if (leave_version >= 3) EXPECT_EQ(left->body.members[0].error_code, 0);
    EXPECT_EQ(StateOf(), "Empty");
  }
}

TEST_F(GroupsSessionTest, TwoMembersRebalance) {
  Begin();
  const std::string a = JoinAlone();
  // Each on a connection and a core of its own.
  KafkaDialogue other(world_, "other");
  ASSERT_TRUE(other.Open(server_->endpoints().cores[1].kafka));
  ASSERT_TRUE(other.client().Send(KafkaFrame(Join(), 3, 1)));
  ASSERT_TRUE(world_.RunUntil([&] { return StateOf() == "PreparingRebalance"; }));
  EXPECT_EQ(Heartbeat(a, generation_), ErrorCode::kRebalanceInProgress);
  const auto a_joined = Ask<JoinGroupResponse>(Join(a), 3);
  const auto b_joined = other.Next<JoinGroupResponse>(3);
  ASSERT_NE(b_joined, nullptr);
  EXPECT_EQ(a_joined->body.generation_id, 2);
  EXPECT_EQ(b_joined->body.generation_id, 2);
  EXPECT_EQ(a_joined->body.members.size(), 2u);
  const std::string b(b_joined->body.member_id);
  ASSERT_TRUE(other.client().Send(KafkaFrame(Sync(b, 2), 3, 2)));
  const auto a_synced = Ask<SyncGroupResponse>(Sync(a, 2, {{a, "for a"}, {b, "for b"}}), 3);
  const auto b_synced = other.Next<SyncGroupResponse>(3);
  ASSERT_NE(b_synced, nullptr);
  EXPECT_EQ(base::AsText(a_synced->body.assignment), "for a");
  EXPECT_EQ(base::AsText(b_synced->body.assignment), "for b");
  EXPECT_EQ(StateOf(), "Stable");
}

TEST_F(GroupsSessionTest, APeerThatGoesWhileItJoinsHoldsUpNobody) {
  Begin();
  const std::string a = JoinAlone();
  for (const uint32_t core : {0u, 1u}) {
    KafkaDialogue other(world_, "other");
    ASSERT_TRUE(other.Open(server_->endpoints().cores[core].kafka));
    ASSERT_TRUE(other.client().Send(KafkaFrame(Join(), 3, 1)));
    world_.RunFor(base::kNanosPerMilli);
    other.client().Close();
    ASSERT_TRUE(world_.RunUntil([&] {
      return server_->server(0).connection_count() + server_->server(1).connection_count() == 1;
    }));
  }
  const auto joined = Ask<JoinGroupResponse>(Join(a), 3);
  EXPECT_EQ(joined->body.error_code, 0);
  EXPECT_EQ(joined->body.members.size(), 3u) << "as in Kafka: until their sessions end";
}

TEST_F(GroupsSessionTest, AStopAnswersNobodyWhoJoins) {
  Begin();
  JoinAlone();
  KafkaDialogue other(world_, "other");
  ASSERT_TRUE(other.Open(server_->endpoints().cores[1].kafka));
  ASSERT_TRUE(other.client().Send(KafkaFrame(Join(), 3, 1)));
  world_.RunFor(base::kNanosPerMilli);
  EXPECT_TRUE(server_->Stop());
  server_.reset();
  peer_.reset();
}

TEST_F(GroupsSessionTest, JoinsThatMakeNoSenseAreRefused) {
  Begin();
  JoinGroupRequest request = Join();
  request.group_id = "";
  EXPECT_EQ(Ask<JoinGroupResponse>(request, 9)->body.error_code, Wire(ErrorCode::kInvalidGroupId));
  for (const int32_t timeout : {0, -1, 5'999, 1'800'001}) {
    request = Join();
    request.session_timeout_ms = timeout;
    EXPECT_EQ(Ask<JoinGroupResponse>(request, 9)->body.error_code,
              Wire(ErrorCode::kInvalidSessionTimeout));
  }
  EXPECT_EQ(Ask<JoinGroupResponse>(Join("nobody"), 9)->body.error_code,
            Wire(ErrorCode::kUnknownMemberId));
  request = Join();
  request.protocols = {};
  EXPECT_EQ(Ask<JoinGroupResponse>(request, 6)->body.error_code,
            Wire(ErrorCode::kInconsistentGroupProtocol));
  EXPECT_EQ(server_->server(0).groups().group_count() + server_->server(1).groups().group_count(),
            0u)
      << "nothing is left of them";
}

TEST_F(GroupsSessionTest, CommitsAreFetchedInEveryVersion) {
  Begin();
  const std::string a = JoinAlone();
  for (int16_t version = 2; version <= 9; ++version) {
    EXPECT_EQ(Commit(a, generation_, 100 + version, "t", 1, "note", version), ErrorCode::kNone);
  }
  EXPECT_EQ(Committed("g", 1), 109);
  EXPECT_EQ(Committed("g", 0), -1);
  for (int16_t version = 1; version <= 7; ++version) {
    SCOPED_TRACE(version);
    OffsetFetchRequest request;
    request.group_id = "g";
    auto& topic = request.topics->Add(arena_);
    topic.name = "t";
    topic.partition_indexes.Add(arena_) = 1;
    auto reply = Ask<OffsetFetchResponse>(request, version);
    ASSERT_EQ(reply->body.topics.size(), 1u);
    EXPECT_EQ(reply->body.topics[0].partitions[0].committed_offset, 109);
    EXPECT_EQ(reply->body.topics[0].partitions[0].metadata, "note");
    if (version < 2) continue;
    request.topics = std::nullopt;
    reply = Ask<OffsetFetchResponse>(request, version);
    ASSERT_EQ(reply->body.topics.size(), 1u);
    EXPECT_EQ(reply->body.topics[0].partitions.size(), 1u);
  }
}

TEST_F(GroupsSessionTest, CommitsThatMayNotBeAreRefused) {
  Begin();
  const std::string a = JoinAlone();
  EXPECT_EQ(Commit(a, generation_ + 1, 1), ErrorCode::kIllegalGeneration);
  EXPECT_EQ(Commit("nobody", generation_, 1), ErrorCode::kUnknownMemberId);
  EXPECT_EQ(Commit("", -1, 1), ErrorCode::kUnknownMemberId);
  EXPECT_EQ(Commit(a, generation_, 1, "nothing"), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(Commit(a, generation_, 1, "t", 99), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(Commit(a, generation_, 1, "t", 0, std::string(4097, 'm')),
            ErrorCode::kOffsetMetadataTooLarge);
  EXPECT_EQ(Commit(a, 3, 1, "t", 0, "", 8, "no such group"), ErrorCode::kIllegalGeneration);
  EXPECT_EQ(Committed(), -1);
  EXPECT_EQ(Commit(a, generation_, 1, "t", 0, std::string(4096, 'm')), ErrorCode::kNone);
  EXPECT_EQ(Commit("", -1, 7, "t", 0, "", 8, "alone"), ErrorCode::kNone);
  EXPECT_EQ(Committed("alone"), 7);
}

TEST_F(GroupsSessionTest, ARestartKeepsGroupsAndOffsets) {
  Begin();
  const std::string a = JoinAlone();
  EXPECT_EQ(Commit(a, generation_, 42), ErrorCode::kNone);
  EXPECT_EQ(Commit("", -1, 7, "t", 2, "", 8, "alone"), ErrorCode::kNone);
  for (const bool kill : {false, true}) {
    SCOPED_TRACE(kill);
    if (kill) {
      server_->Kill();
    } else {
      EXPECT_TRUE(server_->Stop());
    }
    Restart();
    Begin();
    EXPECT_EQ(Committed(), 42);
    EXPECT_EQ(Committed("alone", 2), 7);
    EXPECT_EQ(StateOf(), "Stable");
    EXPECT_EQ(Heartbeat(a, generation_), ErrorCode::kNone);
    EXPECT_EQ(Commit(a, generation_, 42), ErrorCode::kNone);
  }
  world_.RunFor(30 * base::kNanosPerSecond);
  EXPECT_EQ(StateOf(), "Empty") << "its session has ended";
}

TEST_F(GroupsSessionTest, RecordsThatMakeNoSenseCostTheirPartitionAlone) {
  Begin();
  const int32_t partition = group::PartitionOf("g", 50);
  ASSERT_NE(group::PartitionOf("alone", 50), partition);
  const partition::PartitionId id = server_->IdOf("__consumer_offsets", partition);
  const uint32_t core = server_->CoreOf(id);
  records::RecordBatchBuilder builder({});
  builder.Append({.key = base::AsBytes("?"), .value = base::AsBytes("?"), .timestamp_ms = 1});
  const auto built = builder.Finish();
  ASSERT_TRUE(built.ok());
  std::string batch(base::AsText(*built));
  const auto append = [&]() -> task::Task<base::Error> {
    partition::Partition* found = server_->broker(core).partitions().Find(id);
    co_return (co_await found->Produce(log::Bytes(batch), partition::AckPolicy::kAll)).error;
  };
  ASSERT_EQ(server_->sim().Get<base::Error>(core, append), base::Error::kNone);
  ASSERT_TRUE(server_->Stop());
  Restart();
  Begin();
  EXPECT_EQ(Heartbeat("member", 1), ErrorCode::kCoordinatorNotAvailable);
  EXPECT_EQ(Commit("", -1, 7, "t", 2, "", 8, "alone"), ErrorCode::kNone);
  EXPECT_EQ(Committed("alone", 2), 7);
  EXPECT_EQ(Ask<ListGroupsResponse>(ListGroupsRequest(), 5)->body.error_code, 0);
}

TEST_F(GroupsSessionTest, GroupsAreListedByTheirNodes) {
  Begin();
  JoinAlone();
  EXPECT_EQ(Commit("", -1, 7, "t", 2, "", 8, "alone"), ErrorCode::kNone);
  std::set<std::string> found;
  for (const uint32_t core : {0u, 1u}) {
    KafkaDialogue node(world_, "node");
    ASSERT_TRUE(node.Open(server_->endpoints().cores[core].kafka));
    const auto reply = node.Ask<ListGroupsResponse>(ListGroupsRequest(), 5, 1);
    ASSERT_NE(reply, nullptr);
    EXPECT_EQ(reply->body.error_code, 0);
    for (const auto& each : reply->body.groups) {
      found.insert(absl::StrCat(each.group_id, " ", each.protocol_type, " ", each.group_state, " ",
                                each.group_type));
    }
    ListGroupsRequest filtered;
    filtered.states_filter.Add(arena_) = "dead";
    EXPECT_EQ(node.Ask<ListGroupsResponse>(filtered, 4, 1)->body.groups.size(), 0u);
    filtered = {};
    filtered.types_filter.Add(arena_) = "consumer";
    EXPECT_EQ(node.Ask<ListGroupsResponse>(filtered, 5, 1)->body.groups.size(), 0u);
  }
  EXPECT_EQ(found, (std::set<std::string>{"g consumer Stable classic", "alone  Empty classic"}));
}

TEST_F(GroupsSessionTest, UnknownGroupsAreDeadOrNotFound) {
  Begin();
  for (int16_t version = 0; version <= 6; ++version) {
    DescribeGroupsRequest request;
    request.groups.Add(arena_) = "nothing";
    const auto reply = Ask<DescribeGroupsResponse>(request, version);
    EXPECT_EQ(reply->body.groups[0].group_state, "Dead");
    EXPECT_EQ(reply->body.groups[0].error_code,
              version < 6 ? 0 : Wire(ErrorCode::kGroupIdNotFound));
  }
}

TEST_F(GroupsSessionTest, GroupsAreDeletedOnceTheyAreEmpty) {
  Begin();
  const std::string a = JoinAlone();
  EXPECT_EQ(Commit(a, generation_, 42), ErrorCode::kNone);
  const auto remove = [&] {
    DeleteGroupsRequest request;
    request.groups_names.Add(arena_) = "g";
    return static_cast<ErrorCode>(
        Ask<DeleteGroupsResponse>(request, 2)->body.results[0].error_code);
  };
  EXPECT_EQ(remove(), ErrorCode::kNonEmptyGroup);
  world_.RunFor(30 * base::kNanosPerSecond);
  EXPECT_EQ(remove(), ErrorCode::kNone);
  EXPECT_EQ(remove(), ErrorCode::kGroupIdNotFound);
  EXPECT_EQ(Committed(), -1);
  server_->Kill();
  Restart();
  Begin();
  EXPECT_EQ(Committed(), -1);
  EXPECT_EQ(StateOf(), "Dead");
}

TEST_F(GroupsSessionTest, OffsetsOfTopicsThatNobodyReadsAreDeleted) {
  ASSERT_EQ(server_->CreateTopic("u").failure.error, base::Error::kNone);
  Begin();
  const std::string a = JoinAlone();
  EXPECT_EQ(Commit(a, generation_, 42), ErrorCode::kNone);
  EXPECT_EQ(Commit(a, generation_, 43, "u"), ErrorCode::kNone);
  OffsetDeleteRequest request;
  request.group_id = "g";
  for (const char* name : {"t", "u", "nothing"}) {
    auto& topic = request.topics.Add(arena_);
    topic.name = name;
    topic.partitions.Add(arena_).partition_index = 0;
  }
  const auto reply = Ask<OffsetDeleteResponse>(request, 0);
  EXPECT_EQ(reply->body.error_code, 0);
  EXPECT_EQ(reply->body.topics[0].partitions[0].error_code,
            Wire(ErrorCode::kGroupSubscribedToTopic));
  EXPECT_EQ(reply->body.topics[1].partitions[0].error_code, 0);
  EXPECT_EQ(reply->body.topics[2].partitions[0].error_code,
            Wire(ErrorCode::kUnknownTopicOrPartition));
  EXPECT_EQ(Committed(), 42);
  request.group_id = "nothing";
  EXPECT_EQ(Ask<OffsetDeleteResponse>(request, 0)->body.error_code,
            Wire(ErrorCode::kGroupIdNotFound));
}

TEST_F(GroupsSessionTest, OffsetsExpireAfterTheGroupIsEmpty) {
  Begin();
  const std::string a = JoinAlone();
  EXPECT_EQ(Commit(a, generation_, 42), ErrorCode::kNone);
  constexpr int64_t kDay = 24 * 3600;
  world_.RunFor(6 * kDay * base::kNanosPerSecond);
  peer_ = Connected();  // the idle one was closed
  EXPECT_EQ(Committed(), 42);
  world_.RunFor(2 * kDay * base::kNanosPerSecond);
  peer_ = Connected();
  EXPECT_EQ(Committed(), -1);
  EXPECT_EQ(StateOf(), "Dead");
}

TEST_F(GroupsSessionTest, OffsetsGoWithTheirTopic) {
  ASSERT_EQ(server_->CreateTopic("u").failure.error, base::Error::kNone);
  Begin();
  EXPECT_EQ(Commit("", -1, 7, "u", 0), ErrorCode::kNone);
  EXPECT_EQ(Commit("", -1, 8, "t", 0), ErrorCode::kNone);
  ASSERT_EQ(server_->DeleteTopic("u").failure.error, base::Error::kNone);
  world_.RunFor(base::kNanosPerSecond);
  OffsetFetchRequest all;
  all.group_id = "g";
  all.topics = std::nullopt;
  const auto reply = Ask<OffsetFetchResponse>(all, 7);
  ASSERT_EQ(reply->body.topics.size(), 1u);
  EXPECT_EQ(reply->body.topics[0].name, "t");
}

}  // namespace
}  // namespace ringtail::kafka
