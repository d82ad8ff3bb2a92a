// What admin tools and consumers ask beside records: where partitions are, how large they are,
// where leader epochs end.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/kafka/session_fixture.h"

namespace ringtail::kafka {
namespace {

using log::MakeBatch;

class KafkaDescribeTest : public KafkaSessionTest {
 protected:
  // "t[0,1] u! ->u:3": topics with their partitions or an error, then the cursor.
  std::string Describe(int32_t limit, std::vector<std::string> topics,
                       std::optional<std::pair<std::string, int32_t>> cursor = std::nullopt) {
    DescribeTopicPartitionsRequest request;
    for (const std::string& topic : topics) {
      request.topics.Add(arena_).name = arena_.CopyText(topic);
    }
    request.response_partition_limit = limit;
    if (cursor.has_value()) {
      request.cursor.emplace();
      request.cursor->topic_name = arena_.CopyText(cursor->first);
      request.cursor->partition_index = cursor->second;
    }
    const auto reply = Ask<DescribeTopicPartitionsResponse>(request, 0);
    std::string text;
    for (const auto& topic : reply->body.topics) {
      absl::StrAppend(&text, text.empty() ? "" : " ", topic.name.value_or("?"));
      if (topic.error_code != 0) absl::StrAppend(&text, "!", topic.error_code);
      for (const auto& partition : topic.partitions) {
        EXPECT_EQ(partition.leader_id, partition.replica_nodes[0]);
        EXPECT_EQ(partition.leader_id, partition.isr_nodes[0]);
        EXPECT_TRUE(partition.eligible_leader_replicas.has_value());
        EXPECT_TRUE(partition.last_known_elr.has_value());
        absl::StrAppend(&text, ":", partition.partition_index);
      }
    }
    if (reply->body.next_cursor.has_value()) {
      absl::StrAppend(&text, " ->", reply->body.next_cursor->topic_name, ":",
                      reply->body.next_cursor->partition_index);
    }
    return text;
  }
};

TEST_F(KafkaDescribeTest, PartitionsInPages) {
  ASSERT_EQ(server_->CreateTopic("u", 2).failure.error, base::Error::kNone);
  EXPECT_EQ(Describe(2000, {}), "t:0:1:2 u:0:1");
  EXPECT_EQ(Describe(2, {}), "t:0:1 ->t:2");
  EXPECT_EQ(Describe(2, {}, {{"t", 2}}), "t:2 u:0 ->u:1");
  EXPECT_EQ(Describe(2, {}, {{"u", 1}}), "u:1");
  EXPECT_EQ(Describe(3, {}), "t:0:1:2 ->u:0");
  EXPECT_EQ(Describe(0, {"u"}), "u:0 ->u:1") << "one at least";
  EXPECT_EQ(Describe(-5, {"u"}), "u:0 ->u:1");
  EXPECT_EQ(Describe(10, {"u", "t", "u", "nowhere", "not/a/name"}),
            "not/a/name!17 nowhere!3 t:0:1:2 u:0:1");
  EXPECT_EQ(Describe(10, {}, {{"tt", 5}}), "u:0:1") << "a topic that was deleted meanwhile";
  EXPECT_EQ(Describe(10, {}, {{"u", 99}}), "u");
  DescribeTopicPartitionsRequest bad;
  bad.cursor.emplace();
  bad.cursor->topic_name = "t";
  bad.cursor->partition_index = -1;
  ASSERT_TRUE(peer_->client().Send(KafkaFrame(bad, 0, 1)));
  EXPECT_TRUE(peer_->Closed());
}

TEST_F(KafkaDescribeTest, LogDirsTellEachPartitionOnce) {
  server::ProduceOne(*server_, 0, server_->IdOf("t", 1), MakeBatch({.value_bytes = 5'000}));
  for (int16_t version = 1; version <= 4; ++version) {
    std::vector<std::pair<int32_t, int64_t>> seen;
    for (uint32_t core = 0; core < 2; ++core) {
      peer_ = std::make_unique<KafkaDialogue>(world_);
      ASSERT_TRUE(peer_->Open(server_->endpoints().cores[core].kafka));
      DescribeLogDirsRequest request;
      request.topics = std::nullopt;
      const auto reply = Ask<DescribeLogDirsResponse>(request, version);
      ASSERT_EQ(reply->body.results.size(), 1u);
      const auto& directory = reply->body.results[0];
      EXPECT_EQ(directory.error_code, 0);
      EXPECT_EQ(directory.log_dir, "/data");
      EXPECT_EQ(directory.total_bytes > 0, version >= 4);
      EXPECT_EQ(directory.usable_bytes > 0, version >= 4);
      for (const auto& topic : directory.topics) {
        EXPECT_EQ(topic.name, "t");
        for (const auto& partition : topic.partitions) {
          seen.emplace_back(partition.partition_index, partition.partition_size);
        }
      }
    }
    std::sort(seen.begin(), seen.end());
    ASSERT_EQ(seen.size(), 3u) << "each by the node that it is on";
    EXPECT_EQ(seen[0].second, 0);
    EXPECT_GT(seen[1].second, 5'000);
  }
  DescribeLogDirsRequest some;
  some.topics.emplace();
  auto& topic = some.topics->Add(arena_);
  topic.topic = "t";
  topic.partitions.Add(arena_) = 0;
  topic.partitions.Add(arena_) = 77;
  some.topics->Add(arena_).topic = "nowhere";
  peer_ = Connected();
  const auto reply = Ask<DescribeLogDirsResponse>(some, 4);
  ASSERT_EQ(reply->body.results[0].topics.size(), 1u);
  EXPECT_EQ(reply->body.results[0].topics[0].partitions.size(), 1u);
}

TEST_F(KafkaDescribeTest, AsOneBrokerItTellsAllLogs) {
  Start({.cores = 2, .advertise_cores = false});
  DescribeLogDirsRequest request;
  request.topics = std::nullopt;
  const auto reply = Ask<DescribeLogDirsResponse>(request, 4);
  EXPECT_EQ(reply->body.results[0].topics[0].partitions.size(), 3u);
}

// Every node that is named exists, in both ways to advertise, and the counts agree.
TEST_F(KafkaDescribeTest, LeadersAndReplicasAreNodesThatExist) {
  for (const bool cores : {true, false}) {
    Start({.cores = 3, .advertise_cores = cores});
    const auto cluster = Ask<DescribeClusterResponse>(DescribeClusterRequest(), 1);
    MetadataRequest all;
    all.topics = std::nullopt;
    const auto metadata = Ask<MetadataResponse>(all, 12);
    EXPECT_EQ(cluster->body.brokers.size(), cores ? 3u : 1u);
    ASSERT_EQ(metadata->body.brokers.size(), cluster->body.brokers.size());
    std::vector<int32_t> nodes;
    for (const auto& broker : cluster->body.brokers) nodes.push_back(broker.broker_id);
    const auto exists = [&](int32_t node) {
      return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
    };
    EXPECT_TRUE(exists(cluster->body.controller_id));
    EXPECT_TRUE(exists(metadata->body.controller_id));
    for (const auto& partition : metadata->body.topics[0].partitions) {
      EXPECT_TRUE(exists(partition.leader_id));
      ASSERT_EQ(partition.replica_nodes.size(), 1u);
      EXPECT_EQ(partition.replica_nodes[0], partition.leader_id);
      EXPECT_EQ(partition.isr_nodes[0], partition.leader_id);
    }
    // Asked at any core, each partition is served.
    for (uint32_t core = 0; core < 3; ++core) {
      peer_ = std::make_unique<KafkaDialogue>(world_);
      ASSERT_TRUE(peer_->Open(server_->endpoints().cores[core].kafka));
      for (int32_t p = 0; p < 3; ++p) {
        EXPECT_EQ(ErrorOf(Produce("t", p, MakeBatch({}))), ErrorCode::kNone);
      }
      const auto fetched =
          Ask<FetchResponse>(Fetch(arena_, IdOf("t"), {{0, 0}, {1, 0}, {2, 0}}), 12);
      for (const auto& partition : fetched->body.responses[0].partitions) {
        EXPECT_EQ(partition.error_code, 0);
        EXPECT_GT(partition.records->size(), 0u);
      }
    }
  }
}

TEST_F(KafkaDescribeTest, WhereALeaderEpochEnds) {
  const auto epoch = [&] {
    return server_->broker(0).image()->FindByName("t")->partitions[0].leader_epoch;
  };
  const int32_t first = epoch();
  server::ProduceOne(*server_, 0, server_->IdOf("t"), MakeBatch({.records = 3}));
  peer_.reset();
  ASSERT_TRUE(server_->Stop());
  Start({.cores = 2});
  const int32_t second = epoch();
  ASSERT_GT(second, first);
  server::ProduceOne(*server_, 0, server_->IdOf("t"), MakeBatch({.records = 4}));
  struct Case {
    int32_t current, asked;
    ErrorCode error;
    int32_t epoch;
    int64_t end;
  };
  for (const Case& each :
       std::vector<Case>{{-1, first, ErrorCode::kNone, first, 3},
                         {second, second, ErrorCode::kNone, second, 7},
                         {-1, second + 1, ErrorCode::kNone, -1, -1},
                         {-1, -1, ErrorCode::kNone, -1, -1},
                         {first, first, ErrorCode::kFencedLeaderEpoch, -1, -1},
                         {second + 1, first, ErrorCode::kUnknownLeaderEpoch, -1, -1}}) {
    for (int16_t version = 2; version <= 4; ++version) {
      OffsetForLeaderEpochRequest request;
      auto& topic = request.topics.Add(arena_);
      topic.topic = "t";
      for (const int32_t p : {0, 9}) {
        auto& partition = topic.partitions.Add(arena_);
        partition.partition = p;
        partition.current_leader_epoch = each.current;
        partition.leader_epoch = each.asked;
      }
      request.topics.Add(arena_).topic = "nowhere";
      request.topics[1].partitions.Add(arena_).leader_epoch = 0;
      const auto reply = Ask<OffsetForLeaderEpochResponse>(request, version);
      ASSERT_EQ(reply->body.topics.size(), 2u);
      const auto& found = reply->body.topics[0].partitions[0];
      EXPECT_EQ(found.error_code, Wire(each.error));
      EXPECT_EQ(found.leader_epoch, each.epoch);
      EXPECT_EQ(found.end_offset, each.end);
      EXPECT_EQ(reply->body.topics[0].partitions[1].error_code,
                Wire(ErrorCode::kUnknownTopicOrPartition));
      EXPECT_EQ(reply->body.topics[1].partitions[0].error_code,
                Wire(ErrorCode::kUnknownTopicOrPartition));
    }
  }
}

// As after a restart: nobody has written yet.
TEST_F(KafkaDescribeTest, ALeaderEpochWithoutRecordsEndsWhereTheLogDoes) {
  const auto epoch = [&] {
    return server_->broker(0).image()->FindByName("t")->partitions[0].leader_epoch;
  };
  const int32_t first = epoch();
  server::ProduceOne(*server_, 0, server_->IdOf("t"), MakeBatch({.records = 3}));
  for (int i = 0; i < 2; ++i) {
    peer_.reset();
    ASSERT_TRUE(server_->Stop());
    Start({.cores = 2});
  }
  const int32_t current = epoch();
  ASSERT_GT(current, first + 1);
  struct Case {
    int32_t partition, asked, epoch;
    int64_t end;
  };
  for (const Case& each : std::vector<Case>{{0, first, first, 3},
                                            {0, first + 1, first, 3},
                                            {0, current, current, 3},
                                            {0, current + 1, -1, -1},
                                            {0, -1, -1, -1},
                                            {1, first, first, 0},
                                            {1, current, current, 0},
                                            {1, current + 1, -1, -1}}) {
    OffsetForLeaderEpochRequest request;
    auto& topic = request.topics.Add(arena_);
    topic.topic = "t";
    auto& partition = topic.partitions.Add(arena_);
    partition.partition = each.partition;
    partition.current_leader_epoch = current;
    partition.leader_epoch = each.asked;
    const auto reply = Ask<OffsetForLeaderEpochResponse>(request, 4);
    const auto& found = reply->body.topics[0].partitions[0];
    EXPECT_EQ(found.error_code, 0);
    EXPECT_EQ(found.leader_epoch, each.epoch) << each.partition << ", epoch " << each.asked;
    EXPECT_EQ(found.end_offset, each.end) << each.partition << ", epoch " << each.asked;
  }
}

TEST_F(KafkaDescribeTest, SaslIsToldThatThereIsNone) {
  SaslHandshakeRequest handshake;
  handshake.mechanism = "PLAIN";
  for (const int16_t version : {0, 1}) {
    EXPECT_EQ(Ask<SaslHandshakeResponse>(handshake, version)->body.error_code,
              Wire(ErrorCode::kIllegalSaslState));
  }
  for (const int16_t version : {0, 1, 2}) {
    EXPECT_EQ(Ask<SaslAuthenticateResponse>(SaslAuthenticateRequest(), version)->body.error_code,
              Wire(ErrorCode::kIllegalSaslState));
  }
  ExpectStillServing();
}

TEST_F(KafkaDescribeTest, CoordinatorsOfUnknownKinds) {
  FindCoordinatorRequest request;
  request.key = "x";
  for (const auto& [type, error] :
       {std::pair{int8_t{0}, ErrorCode::kNone},
        std::pair{int8_t{1}, ErrorCode::kTransactionalIdAuthorizationFailed},
        std::pair{int8_t{9}, ErrorCode::kInvalidRequest}}) {
    request.key_type = type;
    EXPECT_EQ(Ask<FindCoordinatorResponse>(request, 2)->body.error_code, Wire(error));
  }
}

}  // namespace
}  // namespace ringtail::kafka
