// A broker in the simulation with a topic "t" of three partitions, and a Kafka connection to its
// first core.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/kafka/errors.h"
#include "server/kafka/session.h"
#include "tests/server/broker_calls.h"
#include "tests/server/kafka/kafka_dialogue.h"
#include "tests/server/sim_server.h"

namespace ringtail::kafka {

class KafkaSessionTest : public testing::Test {
 protected:
  void SetUp() override { Start({.cores = 2}); }
  void Start(server::SimServerOptions options) {
    peer_.reset();
    server_.reset();
    server_ = std::make_unique<server::SimServer>(world_, options);
    ASSERT_TRUE(server_->Start().ok());
    if (server_->broker(0).image()->FindByName("t") == nullptr) {
      ASSERT_EQ(server_->CreateTopic("t", 3).failure.error, base::Error::kNone);
    }
    peer_ = Connected();
  }
  std::unique_ptr<KafkaDialogue> Connected() {
    auto peer = std::make_unique<KafkaDialogue>(world_);
    EXPECT_TRUE(peer->Open(server_->endpoints().cores[0].kafka));
    return peer;
  }
  template <class Response, class Request>
  std::unique_ptr<Decoded<Response>> Ask(const Request& request, int16_t version) {
    auto reply = peer_->Ask<Response>(request, version, ++correlation_id_);
    EXPECT_NE(reply, nullptr) << Request::kName << " version " << version;
    if (reply == nullptr) return std::make_unique<Decoded<Response>>();
    EXPECT_EQ(reply->correlation_id, correlation_id_);
    return reply;
  }
  ProduceRequest Produce(const std::string& topic, int32_t partition, const std::string& batches,
                         int16_t acks = -1) {
    ProduceRequest request;
    request.acks = acks;
    request.timeout_ms = 30'000;
    auto& data = request.topic_data.Add(arena_);
    data.name = arena_.CopyText(topic);
    const server::TopicImage* image = server_->broker(0).image()->FindByName(topic);
    data.topic_id = image == nullptr ? base::Uuid::Random() : image->id;
    auto& each = data.partition_data.Add(arena_);
    each.index = partition;
    each.records = Records(base::AsBytes(arena_.CopyText(batches)));
    return request;
  }
  ErrorCode ErrorOf(const ProduceRequest& request, int16_t version = 9) {
    const auto reply = Ask<ProduceResponse>(request, version);
    if (reply->body.responses.size() != 1) return ErrorCode::kUnknownServerError;
    const auto& partition = reply->body.responses[0].partition_responses[0];
    EXPECT_EQ(partition.base_offset < 0, partition.error_code != 0);
    return static_cast<ErrorCode>(partition.error_code);
  }
  void ExpectStillServing() {
    EXPECT_EQ(Ask<MetadataResponse>(MetadataRequest(), 9)->body.brokers.size(), 2u);
  }
  base::Uuid IdOf(const std::string& topic) { return server_->IdOf(topic).topic_id; }

  sim::SimWorld world_{6};
  Arena arena_;
  std::unique_ptr<server::SimServer> server_;
  std::unique_ptr<KafkaDialogue> peer_;
  int32_t correlation_id_ = 100;
};

inline FetchRequest Fetch(Arena& arena, const base::Uuid& id,
                          std::vector<std::pair<int32_t, int64_t>> from) {
  FetchRequest request;
  request.max_bytes = 10 << 20;
  request.min_bytes = 1;
  auto& topic = request.topics.Add(arena);
  topic.topic = "t";
  topic.topic_id = id;
  for (const auto& [partition, offset] : from) {
    auto& each = topic.partitions.Add(arena);
    each.partition = partition;
    each.fetch_offset = offset;
    each.partition_max_bytes = 1 << 20;
    each.current_leader_epoch = -1;
  }
  return request;
}

}  // namespace ringtail::kafka
