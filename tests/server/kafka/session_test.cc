#include "server/kafka/session.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/kafka/api_table.h"
#include "tests/server/broker_calls.h"
#include "tests/server/kafka/session_fixture.h"

namespace ringtail::kafka {
namespace {

using log::MakeBatch;

TEST_F(KafkaSessionTest, ApiVersionsTellsWhatIsDispatched) {
  for (int16_t version = 0; version <= 4; ++version) {
    const auto reply = Ask<ApiVersionsResponse>(ApiVersionsRequest(), version);
    EXPECT_EQ(reply->body.error_code, 0);
    ASSERT_EQ(reply->body.api_keys.size(), OfferedApis().size());
    for (const auto& api : reply->body.api_keys) {
      const Api* offered = FindApi(api.api_key);
      ASSERT_NE(offered, nullptr);
      EXPECT_EQ(api.min_version, offered->version_min);
      EXPECT_EQ(api.max_version, offered->version_max);
      const MessageInfo* known = FindRequest(api.api_key);
      ASSERT_NE(known, nullptr);
      EXPECT_LE(api.max_version, known->version_max) << "what is offered can be decoded";
      EXPECT_GE(offered->version_first, known->version_min);
    }
  }
}

// KIP-511: a client that is too new is answered in version 0 and learns what to speak.
TEST_F(KafkaSessionTest, ApiVersionsOfAVersionNobodyKnows) {
  for (const int16_t version : {int16_t{5}, int16_t{99}, int16_t{32767}, int16_t{-1}}) {
    std::string frame = KafkaFrame(ApiVersionsRequest(), 3, 7);
    base::StoreBe<int16_t>(reinterpret_cast<uint8_t*>(frame.data()) + 6, version);
    ASSERT_TRUE(peer_->client().Send(frame));
    const auto reply = peer_->Next<ApiVersionsResponse>(0);
    ASSERT_NE(reply, nullptr) << version;
    EXPECT_EQ(reply->correlation_id, 7);
    EXPECT_EQ(reply->body.error_code, Wire(ErrorCode::kUnsupportedVersion));
    EXPECT_GT(reply->body.api_keys.size(), 0u);
  }
  ExpectStillServing();
}

// librdkafka 2.16.1 asks for all topics with an array count of four bytes instead of one.
TEST_F(KafkaSessionTest, BytesAfterARequestArePassedOver) {
  const std::string frame("\0\0\0\x19\0\3\0\x0d\0\0\0\3\0\7rdkafka\0\0\0\0\0\1\0\0", 29);
  ASSERT_TRUE(peer_->client().Send(frame));
  const auto reply = peer_->Next<MetadataResponse>(13);
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ(reply->correlation_id, 3);
  ASSERT_EQ(reply->body.topics.size(), 1u);
  EXPECT_EQ(reply->body.topics[0].name, "t");
  ExpectStillServing();
}

TEST_F(KafkaSessionTest, WhatIsNotOfferedCostsTheConnection) {
  const std::string produce = KafkaFrame(Produce("t", 0, MakeBatch({})), 3, 7);
  const auto patched = [&](int16_t key, int16_t version) {
    std::string frame = produce;
    base::StoreBe<int16_t>(reinterpret_cast<uint8_t*>(frame.data()) + 4, key);
    base::StoreBe<int16_t>(reinterpret_cast<uint8_t*>(frame.data()) + 6, version);
    return frame;
  };
  for (const std::string& frame :
       {patched(0, 2), patched(0, 0), patched(0, 13), patched(0, -1), patched(1, 3),
        patched(11, 10), patched(68, 0), patched(999, 0), patched(-1, 0)}) {
    peer_ = Connected();
    ASSERT_TRUE(peer_->client().Send(frame));
    EXPECT_TRUE(peer_->Closed());
  }
  peer_ = Connected();
  EXPECT_EQ(server::FetchOne(*server_, 0, server_->IdOf("t"), 0).high_watermark, 0);
  ExpectStillServing();
}

TEST_F(KafkaSessionTest, OtherProtocolsAndBadLengthsAreTurnedAway) {
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(512, 'r'),
        std::string("\xff\xff\xff\xff", 4) + std::string(100, 'x'), std::string(16, '\0'),
        std::string("\x7f\xff\xff\xff", 4) + std::string(100, 'x'),
        std::string("\x00\x00\x00\x07", 4) + std::string(7, 'x')}) {
    peer_ = Connected();
    peer_->client().Send(bytes);
    EXPECT_TRUE(peer_->Closed());
  }
  peer_ = Connected();
  ExpectStillServing();
}

TEST_F(KafkaSessionTest, ProducesInEveryVersion) {
  int64_t expected = 0;
  for (int16_t version = 3; version <= FindApi(0)->version_max; ++version) {
    for (const int16_t acks : {int16_t{-1}, int16_t{1}}) {
      const auto reply =
          Ask<ProduceResponse>(Produce("t", 1, MakeBatch({.records = 2}), acks), version);
      ASSERT_EQ(reply->body.responses.size(), 1u);
      const auto& partition = reply->body.responses[0].partition_responses[0];
      EXPECT_EQ(partition.error_code, 0) << version;
      EXPECT_EQ(partition.index, 1);
      EXPECT_EQ(partition.base_offset, expected);
      EXPECT_EQ(partition.log_append_time_ms, -1);
      expected += 2;
    }
  }
}

TEST_F(KafkaSessionTest, ErrorsOfProduce) {
  const std::string good = MakeBatch({});
  EXPECT_EQ(ErrorOf(Produce("nowhere", 0, good)), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(ErrorOf(Produce("t", 3, good)), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(ErrorOf(Produce("t", -1, good)), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(ErrorOf(Produce("t", 0, good, 2)), ErrorCode::kInvalidRequiredAcks);
  EXPECT_EQ(ErrorOf(Produce("t", 0, good, -2)), ErrorCode::kInvalidRequiredAcks);
  EXPECT_EQ(ErrorOf(Produce("t", 0, "")), ErrorCode::kInvalidRecord);
  EXPECT_EQ(ErrorOf(Produce("t", 0, good.substr(0, 30))), ErrorCode::kCorruptMessage);
  EXPECT_EQ(ErrorOf(Produce("t", 0, MakeBatch({.value_bytes = 2 << 20}))),
            ErrorCode::kMessageTooLarge);
  ProduceRequest transactional = Produce("t", 0, good);
  transactional.transactional_id = "tx";
  EXPECT_EQ(ErrorOf(transactional), ErrorCode::kTransactionalIdAuthorizationFailed);
  ProduceRequest null_records = Produce("t", 0, good);
  null_records.topic_data[0].partition_data[0].records = std::nullopt;
  EXPECT_EQ(ErrorOf(null_records), ErrorCode::kInvalidRecord);
  const auto sequence = [&](int32_t first) {
    return Produce("t", 0,
                   MakeBatch({.producer_id = 5, .producer_epoch = 0, .base_sequence = first}));
  };
  EXPECT_EQ(ErrorOf(sequence(0)), ErrorCode::kNone);
  EXPECT_EQ(ErrorOf(sequence(0)), ErrorCode::kNone) << "a duplicate";
  EXPECT_EQ(ErrorOf(sequence(2)), ErrorCode::kOutOfOrderSequenceNumber);
  EXPECT_EQ(server::FetchOne(*server_, 0, server_->IdOf("t"), 0).high_watermark, 1);
}

// timeout.ms is for replicas; where there are none, 0 is no reason to fail.
TEST_F(KafkaSessionTest, ATimeoutOfZeroStillProduces) {
  for (const int16_t acks : {int16_t{1}, int16_t{-1}}) {
    ProduceRequest request = Produce("t", 0, MakeBatch({}), acks);
    request.timeout_ms = 0;
    EXPECT_EQ(ErrorOf(request), ErrorCode::kNone);
  }
}

TEST_F(KafkaSessionTest, ProduceWithoutAcksHasNoResponseUnlessItFails) {
  ASSERT_TRUE(peer_->client().Send(KafkaFrame(Produce("t", 0, MakeBatch({}), 0), 9, 1)));
  ExpectStillServing();
  const partition::Partition* partition = server_->broker(0).partitions().Find(server_->IdOf("t"));
  ASSERT_NE(partition, nullptr);
  ASSERT_TRUE(world_.RunUntil([&] { return partition->high_watermark() == base::Offset(1); }));
  ASSERT_TRUE(peer_->client().Send(KafkaFrame(Produce("nowhere", 0, MakeBatch({}), 0), 9, 1)));
  EXPECT_TRUE(peer_->Closed());
}

TEST_F(KafkaSessionTest, MetadataOfAllOfNoneByNameAndById) {
  for (int16_t version = 0; version <= 13; ++version) {
    MetadataRequest request;
    // No list: all. Version 0 has no null, an empty list means it.
    if (version > 0) request.topics = std::nullopt;
    const auto all = Ask<MetadataResponse>(request, version);
    ASSERT_EQ(all->body.topics.size(), 1u) << version;
    ASSERT_EQ(all->body.brokers.size(), 2u);
    EXPECT_EQ(all->body.brokers[1].port, server_->endpoints().cores[1].kafka);
    for (const auto& partition : all->body.topics[0].partitions) {
      EXPECT_EQ(static_cast<uint32_t>(partition.leader_id),
                server_->CoreOf(server_->IdOf("t", partition.partition_index)));
    }
    if (version == 0) continue;
    EXPECT_EQ(Ask<MetadataResponse>(MetadataRequest(), version)->body.topics.size(), 0u);
    MetadataRequest some;
    for (const char* name : {"nowhere", "t", "a/b"}) some.topics->Add(arena_).name = name;
    const auto named = Ask<MetadataResponse>(some, version);
    ASSERT_EQ(named->body.topics.size(), 3u);
    EXPECT_EQ(named->body.topics[0].error_code, Wire(ErrorCode::kUnknownTopicOrPartition));
    EXPECT_EQ(named->body.topics[1].error_code, 0);
    EXPECT_EQ(named->body.topics[2].error_code, Wire(ErrorCode::kInvalidTopicException));
    if (version < 12) continue;
    MetadataRequest by_id;
    for (const base::Uuid& id : {IdOf("t"), base::Uuid::Random()}) {
      auto& topic = by_id.topics->Add(arena_);
      topic.name = std::nullopt;
      topic.topic_id = id;
    }
    const auto found = Ask<MetadataResponse>(by_id, version);
    ASSERT_EQ(found->body.topics.size(), 2u);
    EXPECT_EQ(found->body.topics[0].name, absl::string_view("t"));
    EXPECT_EQ(found->body.topics[1].error_code, Wire(ErrorCode::kUnknownTopicId));
  }
}

TEST_F(KafkaSessionTest, TopicsAppearByThemselvesOnlyWhereAllowed) {
  MetadataRequest request;
  request.topics->Add(arena_).name = "wanted";
  EXPECT_NE(Ask<MetadataResponse>(request, 9)->body.topics[0].error_code, 0);
  Start({.cores = 2, .broker = {.topic_defaults = {.partitions = 2, .auto_create = true}}});
  request.allow_auto_topic_creation = false;
  EXPECT_NE(Ask<MetadataResponse>(request, 9)->body.topics[0].error_code, 0);
  request.allow_auto_topic_creation = true;
  const auto made = Ask<MetadataResponse>(request, 9);
  EXPECT_EQ(made->body.topics[0].error_code, 0);
  EXPECT_EQ(made->body.topics[0].partitions.size(), 2u);
}

TEST_F(KafkaSessionTest, FetchedBytesAreTheLogsInEveryVersion) {
  const std::string a = MakeBatch({.records = 2, .fill = 'a'});
  const std::string b = MakeBatch({.records = 3, .value_bytes = 50'000, .fill = 'b'});
  ASSERT_EQ(ErrorOf(Produce("t", 0, a)), ErrorCode::kNone);
  ASSERT_EQ(ErrorOf(Produce("t", 2, b + a)), ErrorCode::kNone);
  std::string logs[2];
  for (int p : {0, 1}) {
    logs[p] = server::FetchOne(*server_, 0, server_->IdOf("t", p * 2), 0).bytes;
  }
  ASSERT_EQ(logs[1].size(), a.size() + b.size());
  for (int16_t version = 4; version <= FindApi(1)->version_max; ++version) {
    const auto reply = Ask<FetchResponse>(
        Fetch(arena_, IdOf("t"), {{2, 0}, {1, 0}, {7, 0}, {0, 0}, {0, 99}}), version);
    ASSERT_EQ(reply->body.responses.size(), 1u) << version;
    const auto& partitions = reply->body.responses[0].partitions;
    ASSERT_EQ(partitions.size(), 5u);
    EXPECT_TRUE(base::AsText(partitions[0].records->bytes()) == logs[1]) << version;
    EXPECT_EQ(partitions[0].high_watermark, 5);
    EXPECT_EQ(partitions[0].last_stable_offset, 5);
    EXPECT_EQ(partitions[1].records->size(), 0u);
    EXPECT_EQ(partitions[2].error_code, Wire(ErrorCode::kUnknownTopicOrPartition));
    EXPECT_TRUE(base::AsText(partitions[3].records->bytes()) == logs[0]) << version;
    EXPECT_EQ(partitions[4].error_code, Wire(ErrorCode::kOffsetOutOfRange));
    EXPECT_EQ(partitions[4].high_watermark, 2);
  }
}

TEST_F(KafkaSessionTest, ARequestNamesNoMoreThanItsLimit) {
  // With its topic, one below and at the limit, then one above.
  for (const size_t partitions : {kRequestElementsMax - 2, kRequestElementsMax - 1}) {
    FetchRequest request;
    auto& topic = request.topics.Add(arena_);
    topic.topic = "t";
    topic.partitions.Reserve(arena_, partitions + 1);
    for (size_t i = 0; i < partitions; ++i) {
      topic.partitions.Add(arena_).partition_max_bytes = 1000;
    }
    const auto reply = Ask<FetchResponse>(request, 5);
    ASSERT_EQ(reply->body.responses.size(), 1u);
    EXPECT_EQ(reply->body.responses[0].partitions.size(), partitions);
    topic.partitions.Add(arena_);
    if (partitions + 2 <= kRequestElementsMax) continue;
    ASSERT_TRUE(peer_->client().Send(KafkaFrame(request, 5, 9)));
    EXPECT_TRUE(peer_->Closed());
  }
  peer_ = Connected();
  ExpectStillServing();
}

TEST_F(KafkaSessionTest, LargeFetchesThatWaitAreBoundedAndLeaveNothing) {
  FetchRequest request;
  auto& topic = request.topics.Add(arena_);
  topic.topic = "t";
  topic.partitions.Reserve(arena_, 10'000);
  for (int i = 0; i < 10'000; ++i) topic.partitions.Add(arena_).partition_max_bytes = 1000;
  request.max_wait_ms = 2'000;
  request.min_bytes = 1;
  std::string sent;
  for (int i = 0; i < 5; ++i) sent += KafkaFrame(request, 5, i);
  // On its own: the broker does not read on while the first one waits.
  peer_->client().node().Start(
      "send", [](server::SimClient* client, std::string bytes) -> task::Task<void> {
        const iovec out{bytes.data(), bytes.size()};
        io::Op send{.code = io::OpCode::kSend,
                    .flags = io::kWaitAll,
                    .fd = client->fd(),
                    .vectors = &out,
                    .vector_count = 1};
        co_await io::Run(client->node().io(), &send);
      }(&peer_->client(), sent));
  world_.RunFor(base::kNanosPerSecond);
  const auto& work = server_->server(0).budget().work();
  EXPECT_GT(work.used(), 10'000u * 300) << "what waits is charged";
  EXPECT_LT(work.used(), 10'000u * 800) << "and only one does";
  for (int i = 0; i < 5; ++i) {
    const auto reply = peer_->Next<FetchResponse>(5);
    ASSERT_NE(reply, nullptr);
    EXPECT_EQ(reply->correlation_id, i);
  }
  world_.RunFor(base::kNanosPerMilli);
  EXPECT_EQ(work.used(), 0u);
  ExpectStillServing();
  EXPECT_LE(server_->kafka(0).calls.kept_bytes(), CallPool::kBytesMax);
}

TEST_F(KafkaSessionTest, MetadataTellsEachTopicOnce) {
  MetadataRequest request;
  request.topics.emplace();
  for (int i = 0; i < 1000; ++i) request.topics->Add(arena_).name = "t";
  request.topics->Add(arena_).name = "nowhere";
  request.allow_auto_topic_creation = false;
  const auto reply = Ask<MetadataResponse>(request, 9);
  ASSERT_EQ(reply->body.topics.size(), 2u);
  EXPECT_EQ(reply->body.topics[0].partitions.size(), 3u);
}

TEST_F(KafkaSessionTest, FetchOfUnknownTopics) {
  const auto by_id = Ask<FetchResponse>(Fetch(arena_, base::Uuid::Random(), {{0, 0}}), 13);
  EXPECT_EQ(by_id->body.responses[0].partitions[0].error_code, Wire(ErrorCode::kUnknownTopicId));
  FetchRequest by_name = Fetch(arena_, IdOf("t"), {{0, 0}});
  by_name.topics[0].topic = "nowhere";
  by_name.max_wait_ms = 60'000;
  const base::Nanos before = world_.now();
  const auto reply = Ask<FetchResponse>(by_name, 12);
  EXPECT_EQ(reply->body.responses[0].partitions[0].error_code,
            Wire(ErrorCode::kUnknownTopicOrPartition));
  EXPECT_LT(world_.now() - before, base::kNanosPerSecond) << "errors are told at once";
  FetchRequest session = Fetch(arena_, IdOf("t"), {{0, 0}});
  session.session_id = 5;
  session.session_epoch = 1;
  EXPECT_EQ(Ask<FetchResponse>(session, 12)->body.error_code,
            Wire(ErrorCode::kFetchSessionIdNotFound));
}

TEST_F(KafkaSessionTest, AFetchWaitsForItsMaximumTimeOrForData) {
  FetchRequest request = Fetch(arena_, IdOf("t"), {{0, 0}, {1, 0}});
  request.max_wait_ms = 2'000;
  base::Nanos before = world_.now();
  const auto empty = Ask<FetchResponse>(request, 12);
  EXPECT_GE(world_.now() - before, 2 * base::kNanosPerSecond);
  EXPECT_EQ(empty->body.responses[0].partitions[0].records->size(), 0u);
  ASSERT_TRUE(peer_->client().Send(KafkaFrame(request, 12, 5)));
  world_.RunFor(base::kNanosPerMilli);
  before = world_.now();
  server::ProduceOne(*server_, 1, server_->IdOf("t", 1), MakeBatch({}));
  const auto reply = peer_->Next<FetchResponse>(12);
  ASSERT_NE(reply, nullptr);
  EXPECT_LT(world_.now() - before, base::kNanosPerSecond);
  EXPECT_GT(reply->body.responses[0].partitions[1].records->size(), 0u);
}

TEST_F(KafkaSessionTest, OffsetsByPointInEveryVersion) {
  ASSERT_EQ(ErrorOf(Produce(
                "t", 0, MakeBatch({.records = 3, .timestamp_ms = 100, .timestamp_step_ms = 10}))),
            ErrorCode::kNone);
  for (int16_t version = 1; version <= FindApi(2)->version_max; ++version) {
    ListOffsetsRequest request;
    auto& topic = request.topics.Add(arena_);
    topic.name = "t";
    const int64_t times[] = {-2, -1, 105, 1000, -3, -9};
    for (const int64_t time : times) {
      auto& each = topic.partitions.Add(arena_);
      each.timestamp = time;
      each.current_leader_epoch = -1;
    }
    auto& other = request.topics.Add(arena_);
    other.name = "nowhere";
    other.partitions.Add(arena_);
    const auto reply = Ask<ListOffsetsResponse>(request, version);
    const auto& found = reply->body.topics[0].partitions;
    ASSERT_EQ(found.size(), 6u);
    const int64_t offsets[] = {0, 3, 1, -1, 2, -1};
    for (size_t i = 0; i < 6; ++i) EXPECT_EQ(found[i].offset, offsets[i]) << version << " " << i;
    EXPECT_EQ(found[2].timestamp, 110);
    EXPECT_NE(found[5].error_code, 0);
    EXPECT_EQ(reply->body.topics[1].partitions[0].error_code,
              Wire(ErrorCode::kUnknownTopicOrPartition));
  }
}

TEST_F(KafkaSessionTest, TopicsAreMadeAndDeletedInEveryVersion) {
  for (int16_t version = 2; version <= 7; ++version) {
    const std::string name = absl::StrCat("made", version);
    CreateTopicsRequest request;
    const auto add = [&](const std::string& topic, int32_t partitions,
                         int16_t replication) -> CreateTopicsRequest::CreatableTopic& {
      auto& out = request.topics.Add(arena_);
      out.name = arena_.CopyText(topic);
      out.num_partitions = partitions;
      out.replication_factor = replication;
      return out;
    };
    add(name, 2, 1);
    add("t", 1, 1);
    add("a/b", 1, 1);
    add("x", 0, 1);
    add("x2", 1, 3);
    add("twice", 1, 1);
    add("twice", 1, 1);
    auto& config = add("x3", 1, 1).configs.Add(arena_);
    config.name = "cleanup.policy";
    config.value = "shrink";
    add("x4", -1, -1).assignments.Add(arena_).partition_index = 0;
    const ErrorCode expected[] = {ErrorCode::kNone,
                                  ErrorCode::kTopicAlreadyExists,
                                  ErrorCode::kInvalidTopicException,
                                  ErrorCode::kInvalidPartitions,
                                  ErrorCode::kInvalidReplicationFactor,
                                  ErrorCode::kInvalidRequest,
                                  ErrorCode::kInvalidRequest,
                                  ErrorCode::kInvalidConfig,
                                  ErrorCode::kInvalidReplicaAssignment};
    request.validate_only = true;
    for (const bool only : {true, false}) {
      request.validate_only = only;
      const auto reply = Ask<CreateTopicsResponse>(request, version);
      ASSERT_EQ(reply->body.topics.size(), 9u);
      for (size_t i = 0; i < 9; ++i) {
        EXPECT_EQ(static_cast<ErrorCode>(reply->body.topics[i].error_code), expected[i])
            << version << " " << i;
      }
      EXPECT_EQ(server_->broker(0).image()->FindByName(name) == nullptr, only);
    }
    if (version > 6) continue;  // DeleteTopics ends at 6
    DeleteTopicsRequest remove;
    if (version < 6) {
      remove.topic_names.Add(arena_) = arena_.CopyText(name);
      remove.topic_names.Add(arena_) = "nowhere";
    } else {
      auto& by_id = remove.topics.Add(arena_);
      by_id.name = std::nullopt;
      by_id.topic_id = IdOf(name);
      auto& unknown = remove.topics.Add(arena_);
      unknown.name = std::nullopt;
      unknown.topic_id = base::Uuid::Random();
    }
    const auto gone = Ask<DeleteTopicsResponse>(remove, version);
    ASSERT_EQ(gone->body.responses.size(), 2u);
    EXPECT_EQ(gone->body.responses[0].error_code, 0);
    EXPECT_EQ(static_cast<ErrorCode>(gone->body.responses[1].error_code),
              version < 6 ? ErrorCode::kUnknownTopicOrPartition : ErrorCode::kUnknownTopicId);
    EXPECT_EQ(server_->broker(0).image()->FindByName(name), nullptr);
  }
}

TEST_F(KafkaSessionTest, DeleteRecordsMovesTheStartForGood) {
  ASSERT_EQ(server_->CreateTopic("d", 1, {{"segment.bytes", "16384"}}).failure.error,
            base::Error::kNone);
  for (int i = 0; i < 9; ++i) {
    EXPECT_EQ(ErrorOf(Produce("d", 0, MakeBatch({.value_bytes = 5000}))), ErrorCode::kNone);
  }
  const auto remove = [&](int64_t before, int16_t version) {
    DeleteRecordsRequest request;
    auto& topic = request.topics.Add(arena_);
    topic.name = "d";
    for (const int32_t index : {0, 7}) {
      auto& partition = topic.partitions.Add(arena_);
      partition.partition_index = index;
      partition.offset = before;
    }
    auto& unknown = request.topics.Add(arena_);
    unknown.name = "nowhere";
    unknown.partitions.Add(arena_);
    auto reply = Ask<DeleteRecordsResponse>(request, version);
    EXPECT_EQ(reply->body.topics[0].partitions[1].error_code,
              Wire(ErrorCode::kUnknownTopicOrPartition));
    EXPECT_EQ(reply->body.topics[1].partitions[0].error_code,
              Wire(ErrorCode::kUnknownTopicOrPartition));
    return std::pair(static_cast<ErrorCode>(reply->body.topics[0].partitions[0].error_code),
                     reply->body.topics[0].partitions[0].low_watermark);
  };
  using Answer = std::pair<ErrorCode, int64_t>;
  const Answer outside(ErrorCode::kOffsetOutOfRange, -1);
  EXPECT_EQ(remove(10, 0), outside) << "past the high watermark";
  EXPECT_EQ(remove(-2, 1), outside);
  EXPECT_EQ(remove(4, 0), Answer(ErrorCode::kNone, 4));
  EXPECT_EQ(remove(2, 1), Answer(ErrorCode::kNone, 4)) << "it does not go back";
  EXPECT_EQ(server::FetchOne(*server_, 0, server_->IdOf("d"), 3).error,
            base::Error::kOffsetOutOfRange);
  EXPECT_EQ(server::FetchOne(*server_, 0, server_->IdOf("d"), 4).error, base::Error::kNone);

  Start({.cores = 2});  // after kill -9
  EXPECT_EQ(server::FetchOne(*server_, 0, server_->IdOf("d"), 3).error,
            base::Error::kOffsetOutOfRange);
  EXPECT_EQ(remove(-1, 2), Answer(ErrorCode::kNone, 9)) << "all there is";
  EXPECT_EQ(ErrorOf(Produce("d", 0, MakeBatch({}))), ErrorCode::kNone);
  EXPECT_EQ(server::FetchOne(*server_, 0, server_->IdOf("d"), 9).high_watermark, 10);
}

TEST_F(KafkaSessionTest, ProducerIdsCoordinatorsAndTheCluster) {
  for (int16_t version = 0; version <= 5; ++version) {
    InitProducerIdRequest plain;
    plain.transactional_id = std::nullopt;
    const auto reply = Ask<InitProducerIdResponse>(plain, version);
    EXPECT_EQ(reply->body.error_code, 0);
    EXPECT_GT(reply->body.producer_id, 0);
    InitProducerIdRequest transactional;
    transactional.transactional_id = "tx";
    EXPECT_EQ(Ask<InitProducerIdResponse>(transactional, version)->body.error_code,
              Wire(ErrorCode::kTransactionalIdAuthorizationFailed));
  }
  for (int16_t version = 1; version <= 6; ++version) {
    FindCoordinatorRequest request;
    request.key_type = 1;
    if (version < 4) {
      request.key = "tx";
    } else {
      request.coordinator_keys.Add(arena_) = "tx";
    }
    const auto reply = Ask<FindCoordinatorResponse>(request, version);
    const int16_t code =
        version < 4 ? reply->body.error_code : reply->body.coordinators[0].error_code;
    EXPECT_FALSE(IsRetriable(static_cast<ErrorCode>(code))) << "or clients ask for ever";
    EXPECT_NE(code, 0);
  }
  for (int16_t version = 0; version <= 2; ++version) {
    const auto reply = Ask<DescribeClusterResponse>(DescribeClusterRequest(), version);
    EXPECT_EQ(reply->body.error_code, 0);
    EXPECT_EQ(reply->body.brokers.size(), 2u);
  }
}

TEST_F(KafkaSessionTest, ResponsesKeepTheOrderOfThePipeline) {
  FetchRequest waits = Fetch(arena_, IdOf("t"), {{0, 0}});
  waits.max_wait_ms = 500;
  ASSERT_TRUE(peer_->client().Send(KafkaFrame(waits, 12, 1) +
                                   KafkaFrame(Produce("t", 1, MakeBatch({})), 9, 2) +
                                   KafkaFrame(MetadataRequest(), 9, 3)));
  const auto first = peer_->Next<FetchResponse>(12);
  const auto second = peer_->Next<ProduceResponse>(9);
  const auto third = peer_->Next<MetadataResponse>(9);
  ASSERT_TRUE(first && second && third);
  EXPECT_EQ(first->correlation_id, 1);
  EXPECT_EQ(second->correlation_id, 2);
  EXPECT_EQ(third->correlation_id, 3);
}

TEST_F(KafkaSessionTest, CutAndSplitAtEveryByte) {
  const std::string frame = KafkaFrame(Produce("t", 0, MakeBatch({})), 9, 4);
  int64_t expected = 0;
  for (size_t at = 1; at < frame.size(); ++at) {
    auto cut = Connected();
    ASSERT_TRUE(cut->client().Send(frame.substr(0, at)));
    world_.RunFor(base::kNanosPerMilli);
    cut->client().Close();
    ASSERT_TRUE(peer_->client().Send(frame.substr(0, at)));
    world_.RunFor(base::kNanosPerMilli);
    ASSERT_TRUE(peer_->client().Send(frame.substr(at)));
    const auto reply = peer_->Next<ProduceResponse>(9);
    ASSERT_NE(reply, nullptr) << at;
    ASSERT_EQ(reply->body.responses[0].partition_responses[0].base_offset, expected++);
  }
}

// Bodies cut at every byte, the length said truly: the connection ends, nothing is appended.
TEST_F(KafkaSessionTest, BodiesCutAtEveryByteCostTheConnection) {
  const std::string whole = KafkaFrame(Produce("t", 0, MakeBatch({})), 9, 4).substr(4);
  for (size_t size = 8; size < whole.size(); ++size) {
    auto peer = Connected();
    std::string frame(4, '\0');
    base::StoreBe<int32_t>(reinterpret_cast<uint8_t*>(frame.data()), static_cast<int32_t>(size));
    peer->client().Send(frame + whole.substr(0, size));
    ASSERT_TRUE(peer->Closed()) << size;
  }
  EXPECT_EQ(server::FetchOne(*server_, 0, server_->IdOf("t"), 0).high_watermark, 0);
  ExpectStillServing();
}

}  // namespace
}  // namespace ringtail::kafka
