#include "server/native/session.h"

#include "gtest/gtest.h"
#include "server/config.h"
#include "server/native/field_count.h"
#include "tests/server/broker_calls.h"
#include "tests/server/native/native_dialogue.h"
#include "tests/server/sim_server.h"

namespace ringtail::native {
namespace {

using log::MakeBatch;
using proto::client::Error;
using server::ProposalResult;

class NativeSessionTest : public testing::Test {
 protected:
  void SetUp() override {
    server::SimServerOptions options;
    options.cores = 2;
    const absl::string_view flags[] = {"--data_dir=/data"};
    const auto loaded = server::LoadConfig(flags, {.home = "/home", .cpus = {0}});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    options.live = std::make_shared<server::LiveConfig>(*loaded);
    server_ = std::make_unique<server::SimServer>(world_, options);
    ASSERT_TRUE(server_->Start().ok());
    ASSERT_EQ(server_->CreateTopic("t", 3).failure.error, base::Error::kNone);
    peer_ = Connected();
  }
  std::unique_ptr<NativeDialogue> Connected() {
    auto peer = std::make_unique<NativeDialogue>(world_);
    EXPECT_TRUE(peer->Open(server_->endpoints().cores[0].native));
    return peer;
  }
  std::unique_ptr<NativeDialogue> Fresh() {
    auto peer = std::make_unique<NativeDialogue>(world_);
    EXPECT_TRUE(peer->client().Connect(server_->endpoints().cores[0].native));
    return peer;
  }
  RequestHeader Request() {
    RequestHeader request;
    request.set_correlation_id(++correlation_id_);
    return request;
  }
  std::string IdOf(const std::string& topic) {
    return std::string(base::AsText(server_->IdOf(topic).topic_id.view()));
  }
  // Asks and checks that the reply is this request's.
  NativeReply Ask(const RequestHeader& request, const std::string& payload = "") {
    auto reply = peer_->Ask(request, payload);
    EXPECT_TRUE(reply.has_value()) << request.ShortDebugString();
    if (!reply.has_value()) return {};
    EXPECT_EQ(reply->header.correlation_id(), request.correlation_id());
    return *std::move(reply);
  }
  RequestHeader Produce(int partition, const std::string& batches,
                        proto::client::Acks acks = proto::client::ACKS_ALL) {
    RequestHeader request = Request();
    request.mutable_produce()->set_acks(acks);
    auto* slice = request.mutable_produce()->add_partitions();
    slice->set_topic("t");
    slice->set_partition(static_cast<uint32_t>(partition));
    slice->set_payload_bytes(static_cast<uint32_t>(batches.size()));
    return request;
  }
  void ExpectStillServing() {
    RequestHeader request = Request();
    request.mutable_metadata();
    EXPECT_EQ(Ask(request).header.metadata().nodes_size(), 2);
  }

  sim::SimWorld world_{5};
  std::unique_ptr<server::SimServer> server_;
  std::unique_ptr<NativeDialogue> peer_;
  uint64_t correlation_id_ = 100;
};

TEST_F(NativeSessionTest, HelloComesFirst) {
  auto peer = Fresh();
  RequestHeader request = Request();
  request.mutable_metadata();
  const auto refused = peer->Ask(request);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->header.error().code(), Error::UNSUPPORTED_VERSION);
  EXPECT_EQ(refused->header.correlation_id(), request.correlation_id());
  EXPECT_TRUE(peer->Closed());
  // Also where the first request would append.
  peer = Fresh();
  const std::string batch = MakeBatch({});
  EXPECT_EQ(peer->Ask(Produce(0, batch), batch)->header.error().code(), Error::UNSUPPORTED_VERSION);
  EXPECT_TRUE(peer->Closed());
  EXPECT_EQ(server::FetchOne(*server_, 0, server_->IdOf("t"), 0).high_watermark, 0);
}

TEST_F(NativeSessionTest, HelloAgreesOnAVersion) {
  for (const auto& [lowest, highest, good] : std::vector<std::tuple<uint32_t, uint32_t, bool>>{
           {1, 1, true}, {1, 9, true}, {0, 1, true}, {2, 9, false}, {0, 0, false}, {9, 1, false}}) {
    auto peer = Fresh();
    RequestHeader hello = Hello(77);
    hello.mutable_hello()->set_proto_min(lowest);
    hello.mutable_hello()->set_proto_max(highest);
    const auto reply = peer->Ask(hello);
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->header.correlation_id(), 77u);
    if (good) {
      const auto& answer = reply->header.hello();
      EXPECT_EQ(answer.proto(), 1u);
      EXPECT_EQ(answer.core(), 0u);
      EXPECT_EQ(answer.node_id(), 0);
      EXPECT_EQ(answer.limits().header_bytes_max(), kHeaderBytesMax);
      EXPECT_EQ(answer.limits().payload_bytes_max(), kPayloadBytesMax);
      EXPECT_GT(answer.limits().requests_in_flight_max(), 0u);
      EXPECT_FALSE(answer.cluster_id().empty());
    } else {
      EXPECT_EQ(reply->header.error().code(), Error::UNSUPPORTED_VERSION);
      EXPECT_TRUE(peer->Closed());
    }
  }
}

TEST_F(NativeSessionTest, ProducesAndFetchesTheSameBytes) {
  const std::string first = MakeBatch({.records = 2, .fill = 'a'});
  const std::string second = MakeBatch({.records = 3, .value_bytes = 100'000, .fill = 'b'});
  RequestHeader produce = Request();
  for (int p : {0, 1}) {
    auto* slice = produce.mutable_produce()->add_partitions();
    if (p == 0) {
      slice->set_topic("t");
    } else {
      slice->set_topic_id(IdOf("t"));
    }
    slice->set_partition(static_cast<uint32_t>(p));
    slice->set_payload_bytes(static_cast<uint32_t>((p == 0 ? first : second).size()));
  }
  const NativeReply produced = Ask(produce, first + second);
  ASSERT_EQ(produced.header.produce().partitions_size(), 2);
  for (const auto& partition : produced.header.produce().partitions()) {
    EXPECT_FALSE(partition.has_error()) << partition.ShortDebugString();
    EXPECT_EQ(partition.base_offset(), 0);
    EXPECT_EQ(partition.log_append_time_ms(), 0);
  }
  RequestHeader fetch = Request();
  fetch.mutable_fetch()->set_max_bytes(10 << 20);
  for (int p : {1, 2, 0}) {
    auto* wanted = fetch.mutable_fetch()->add_partitions();
    wanted->set_topic("t");
    wanted->set_partition(static_cast<uint32_t>(p));
  }
  const NativeReply fetched = Ask(fetch);
  ASSERT_EQ(fetched.header.fetch().partitions_size(), 3);
  EXPECT_EQ(fetched.header.fetch().partitions(0).payload_bytes(), second.size());
  EXPECT_EQ(fetched.header.fetch().partitions(0).high_watermark(), 3);
  EXPECT_EQ(fetched.header.fetch().partitions(1).payload_bytes(), 0u);
  EXPECT_EQ(fetched.header.fetch().partitions(1).high_watermark(), 0);
  // The broker's own fields aside, what came out is what went in.
  std::string expected = second + first;
  for (const size_t at : {size_t{0}, second.size()}) {
    base::StoreBe<int32_t>(reinterpret_cast<uint8_t*>(expected.data()) + at + log::kLeaderEpochAt,
                           1);
  }
  EXPECT_TRUE(fetched.payload == expected);
}

TEST_F(NativeSessionTest, ErrorsOfOnePartitionStandInTheBody) {
  const std::string good = MakeBatch({}), bad = good.substr(0, good.size() - 1);
  RequestHeader request = Request();
  const auto add = [&](const std::string& topic, const std::string& id, uint32_t partition,
                       const std::string& batch) {
    auto* slice = request.mutable_produce()->add_partitions();
    slice->set_topic(topic);
    slice->set_topic_id(id);
    slice->set_partition(partition);
    slice->set_payload_bytes(static_cast<uint32_t>(batch.size()));
  };
  std::string payload;
  const std::vector<std::pair<Error::Code, std::string>> expected = {{Error::UNKNOWN_TOPIC, good},
                                                                     {Error::UNKNOWN_TOPIC, good},
                                                                     {Error::UNKNOWN_TOPIC, good},
                                                                     {Error::CORRUPT_BATCH, bad},
                                                                     {Error::INVALID_REQUEST, good},
                                                                     {Error::INVALID_REQUEST, good},
                                                                     {Error::OK, good},
                                                                     {Error::INVALID_REQUEST, ""}};
  add("nowhere", "", 0, good);
  add("t", "", 3, good);
  add("", std::string(16, 'x'), 0, good);
  add("t", "", 0, bad);
  add("t", IdOf("t"), 0, good);
  add("", "", 0, good);
  add("t", "", 1, good);
  add("t", "", 2, "");
  for (const auto& each : expected) payload += each.second;
  const NativeReply reply = Ask(request, payload);
  ASSERT_EQ(reply.header.produce().partitions_size(), 8);
  for (int i = 0; i < 8; ++i) {
    const auto& result = reply.header.produce().partitions(i);
    EXPECT_EQ(result.error().code(), expected[static_cast<size_t>(i)].first) << i;
    EXPECT_EQ(result.base_offset(), result.has_error() ? -1 : 0) << i;
    EXPECT_EQ(result.error().message().empty(), !result.has_error()) << i;
  }
  EXPECT_TRUE(reply.header.produce().partitions(0).error().retriable());
  ExpectStillServing();
}

TEST_F(NativeSessionTest, SlicesThatDoNotAddUpCostTheConnection) {
  const std::string batch = MakeBatch({});
  for (const int64_t claimed : {int64_t{0}, static_cast<int64_t>(batch.size()) - 1,
                                static_cast<int64_t>(batch.size()) + 1, int64_t{0xffffffff}}) {
    peer_ = Connected();
    RequestHeader request = Produce(0, batch);
    request.mutable_produce()->mutable_partitions(0)->set_payload_bytes(
        static_cast<uint32_t>(claimed));
    const NativeReply reply = Ask(request, batch);
    EXPECT_EQ(reply.header.error().code(), Error::INVALID_REQUEST);
    EXPECT_FALSE(reply.header.has_produce());
    EXPECT_TRUE(peer_->Closed());
  }
  peer_ = Connected();
  RequestHeader none = Request();
  none.mutable_produce();
  EXPECT_EQ(Ask(none, batch).header.error().code(), Error::INVALID_REQUEST);
  EXPECT_TRUE(peer_->Closed());
  peer_ = Connected();
  RequestHeader fetch = Request();
  fetch.mutable_fetch();
  EXPECT_EQ(Ask(fetch, batch).header.error().code(), Error::INVALID_REQUEST);
  EXPECT_TRUE(peer_->Closed());
  EXPECT_EQ(server::FetchOne(*server_, 0, server_->IdOf("t"), 0).high_watermark, 0);
}

TEST_F(NativeSessionTest, ProduceWithoutAcksHasNoReplyUnlessItFails) {
  const std::string batch = MakeBatch({});
  ASSERT_TRUE(
      peer_->client().Send(NativeFrame(Produce(0, batch, proto::client::ACKS_NONE), batch)));
  ExpectStillServing();
  // It becomes visible when it is durable, which nobody waits for.
  int64_t end = 0;
  for (int i = 0; i < 1000 && end == 0; ++i) {
    end = server::FetchOne(*server_, 0, server_->IdOf("t"), 0).high_watermark;
  }
  EXPECT_EQ(end, 1);
  const std::string bad = batch.substr(0, batch.size() - 1);
  ASSERT_TRUE(peer_->client().Send(NativeFrame(Produce(0, bad, proto::client::ACKS_NONE), bad)));
  EXPECT_TRUE(peer_->Closed());
}

TEST_F(NativeSessionTest, MetadataOfAllOfSomeAndOfNone) {
  ASSERT_EQ(server_->CreateTopic("a").failure.error, base::Error::kNone);
  RequestHeader request = Request();
  request.mutable_metadata()->set_all_topics(true);
  const auto all = Ask(request).header.metadata();
  ASSERT_EQ(all.nodes_size(), 2);
  EXPECT_EQ(all.nodes(1).node_id(), 1);
  EXPECT_EQ(all.nodes(1).port(), server_->endpoints().cores[1].native);
  ASSERT_EQ(all.topics_size(), 2);
  EXPECT_EQ(all.topics(1).name(), "t");
  ASSERT_EQ(all.topics(1).partitions_size(), 3);
  for (const auto& partition : all.topics(1).partitions()) {
    EXPECT_EQ(static_cast<uint32_t>(partition.leader_node()),
              server_->CoreOf(server_->IdOf("t", static_cast<int32_t>(partition.partition()))));
  }
  request = Request();
  request.mutable_metadata();
  EXPECT_EQ(Ask(request).header.metadata().topics_size(), 0);
  request = Request();
  request.mutable_metadata()->add_topics("nowhere");
  request.mutable_metadata()->add_topics("t");
  request.mutable_metadata()->add_topic_ids(IdOf("a"));
  request.mutable_metadata()->add_topic_ids("short");
  const auto some = Ask(request).header.metadata();
  ASSERT_EQ(some.topics_size(), 4);
  EXPECT_EQ(some.topics(0).error().code(), Error::UNKNOWN_TOPIC);
  EXPECT_EQ(some.topics(0).name(), "nowhere");
  EXPECT_EQ(some.topics(1).topic_id(), IdOf("t"));
  EXPECT_EQ(some.topics(2).name(), "a");
  EXPECT_TRUE(some.topics(3).has_error());
}

TEST_F(NativeSessionTest, OffsetsByPoint) {
  const std::string batch = MakeBatch({.records = 3, .timestamp_ms = 100, .timestamp_step_ms = 10});
  Ask(Produce(0, batch), batch);
  using Point = proto::client::PartitionPoint;
  RequestHeader request = Request();
  const auto add = [&](Point::Point point, int64_t time, const char* topic = "t") {
    auto* wanted = request.mutable_list_offsets()->add_partitions();
    wanted->set_topic(topic);
    wanted->set_point(point);
    wanted->set_timestamp_ms(time);
  };
  add(Point::EARLIEST, 0);
  add(Point::LATEST, 0);
  add(Point::LATEST, 0, "nowhere");
  add(Point::TIMESTAMP, 105);
  add(Point::TIMESTAMP, 1000);
  add(Point::MAX_TIMESTAMP, 0);
  const auto listed = Ask(request).header.list_offsets();
  ASSERT_EQ(listed.partitions_size(), 6);
  const int64_t offsets[] = {0, 3, -1, 1, -1, 2};
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(listed.partitions(i).offset(), offsets[i]) << i;
    EXPECT_EQ(listed.partitions(i).has_error(), i == 2);
  }
  EXPECT_EQ(listed.partitions(3).timestamp_ms(), 110);
}

TEST_F(NativeSessionTest, ProducerIdsAndEpochs) {
  RequestHeader request = Request();
  request.mutable_init_producer();
  const auto first = Ask(request).header.init_producer();
  EXPECT_GT(first.producer_id(), 0);
  EXPECT_EQ(first.producer_epoch(), 0);
  EXPECT_NE(Ask(request).header.init_producer().producer_id(), first.producer_id());
  request.mutable_init_producer()->set_producer_id(first.producer_id());
  EXPECT_EQ(Ask(request).header.error().code(), Error::INVALID_REQUEST);
  request.mutable_init_producer()->set_producer_epoch(4);
  EXPECT_EQ(Ask(request).header.init_producer().producer_epoch(), 5);
  request.mutable_init_producer()->set_producer_epoch(INT16_MAX - 1);
  EXPECT_EQ(Ask(request).header.init_producer().producer_epoch(), 0) << "a fresh id";
}

TEST_F(NativeSessionTest, TopicsAreMadeDescribedAndDeleted) {
  RequestHeader request = Request();
  auto* create = request.mutable_create_topic();
  create->set_name("made");
  create->set_partitions(4);
  auto* entry = create->add_configs();
  entry->set_name("segment.bytes");
  entry->set_value("1048576");
  create->set_validate_only(true);
  EXPECT_FALSE(Ask(request).header.has_error());
  create->set_validate_only(false);
  const auto made = Ask(request).header.create_topic();
  EXPECT_EQ(made.partitions(), 4u);
  EXPECT_EQ(made.topic_id(), IdOf("made"));
  EXPECT_EQ(Ask(request).header.error().code(), Error::TOPIC_EXISTS);

  RequestHeader describe = Request();
  describe.mutable_describe_topic()->set_topic_id(made.topic_id());
  const auto described = Ask(describe).header.describe_topic();
  EXPECT_EQ(described.name(), "made");
  ASSERT_EQ(described.partitions_size(), 4);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(described.partitions(i).metadata().partition(), static_cast<uint32_t>(i));
    EXPECT_EQ(described.partitions(i).segments(), 1u);
  }
  bool found = false;
  for (const auto& config : described.configs()) {
    if (config.name() != "segment.bytes") continue;
    found = true;
    EXPECT_EQ(config.value(), "1048576");
    EXPECT_FALSE(config.is_default());
  }
  EXPECT_TRUE(found);
  RequestHeader drop = Request();
  drop.mutable_delete_topic()->set_name("made");
  EXPECT_TRUE(Ask(drop).header.has_delete_topic());
  EXPECT_EQ(Ask(drop).header.error().code(), Error::UNKNOWN_TOPIC);
  EXPECT_EQ(Ask(describe).header.error().code(), Error::UNKNOWN_TOPIC);
}

TEST_F(NativeSessionTest, ALivingTopicIsAltered) {
  const auto alter = [&](const std::string& name, const std::string& value, uint32_t partitions) {
    RequestHeader request = Request();
    auto* body = request.mutable_alter_topic();
    body->set_name("t");
    body->set_partitions(partitions);
    if (value == "reset") body->add_reset(name);
    if (!name.empty() && value != "reset") {
      auto* entry = body->add_set();
      entry->set_name(name);
      entry->set_value(value);
    }
    return request;
  };
  const auto value_of = [&](const std::string& name) -> std::string {
    RequestHeader request = Request();
    request.mutable_describe_topic()->set_name("t");
    const NativeReply reply = Ask(request);
    for (const auto& config : reply.header.describe_topic().configs()) {
      if (config.name() == name) return config.value();
    }
    return "?";
  };
  EXPECT_EQ(Ask(alter("segment.ms", "77", 0)).header.alter_topic().partitions(), 3u);
  EXPECT_EQ(value_of("segment.ms"), "77");
  RequestHeader checked = alter("segment.ms", "reset", 9);
  checked.mutable_alter_topic()->set_validate_only(true);
  EXPECT_EQ(Ask(checked).header.alter_topic().partitions(), 3u);
  EXPECT_EQ(value_of("segment.ms"), "77");
  EXPECT_EQ(Ask(alter("segment.ms", "reset", 5)).header.alter_topic().partitions(), 5u);
  EXPECT_EQ(value_of("segment.ms"), "604800000");
  const std::string batch = log::MakeBatch({});
  EXPECT_EQ(Ask(Produce(4, batch), batch).header.produce().partitions(0).error().code(), Error::OK);

  const auto refused = [&](const RequestHeader& request) {
    const NativeReply reply = Ask(request);
    EXPECT_FALSE(reply.header.has_alter_topic());
    return reply.header.error().code();
  };
  EXPECT_EQ(refused(alter("", "", 5)), Error::INVALID_REQUEST);
  EXPECT_EQ(refused(alter("no.such", "1", 0)), Error::INVALID_CONFIG);
  EXPECT_EQ(refused(alter("segment.ms", "x", 7)), Error::INVALID_CONFIG);
  RequestHeader twice = alter("segment.ms", "5", 0);
  twice.mutable_alter_topic()->add_reset("segment.ms");
  EXPECT_EQ(refused(twice), Error::INVALID_REQUEST);
  RequestHeader unknown = alter("segment.ms", "5", 0);
  unknown.mutable_alter_topic()->set_name("nowhere");
  EXPECT_EQ(refused(unknown), Error::UNKNOWN_TOPIC);
  unknown.mutable_alter_topic()->clear_name();
  EXPECT_EQ(refused(unknown), Error::INVALID_REQUEST);
  EXPECT_EQ(value_of("segment.ms"), "604800000");
  ExpectStillServing();
}

TEST_F(NativeSessionTest, RecordsAreDeletedFromTheStartOn) {
  const std::string batch = log::MakeBatch({.records = 10});
  ASSERT_EQ(Ask(Produce(1, batch), batch).header.produce().partitions(0).error().code(), Error::OK);
  RequestHeader request = Request();
  for (const auto& [partition, before] :
       std::vector<std::pair<uint32_t, int64_t>>{{1, 4}, {1, 11}, {1, -2}, {0, -1}, {9, 0}}) {
    auto* cut = request.mutable_delete_records()->add_partitions();
    cut->set_topic("t");
    cut->set_partition(partition);
    cut->set_before(before);
  }
  const auto deleted = Ask(request).header.delete_records();
  ASSERT_EQ(deleted.partitions_size(), 5);
  EXPECT_EQ(deleted.partitions(0).log_start_offset(), 4);
  EXPECT_FALSE(deleted.partitions(0).has_error());
  for (const int i : {1, 2}) {
    EXPECT_EQ(deleted.partitions(i).error().code(), Error::OFFSET_OUT_OF_RANGE);
    EXPECT_EQ(deleted.partitions(i).log_start_offset(), -1);
  }
  EXPECT_EQ(deleted.partitions(3).log_start_offset(), 0) << "there was nothing";
  EXPECT_EQ(deleted.partitions(4).error().code(), Error::UNKNOWN_TOPIC);
  RequestHeader all = Request();
  auto* cut = all.mutable_delete_records()->add_partitions();
  cut->set_topic_id(IdOf("t"));
  cut->set_partition(1);
  cut->set_before(-1);
  EXPECT_EQ(Ask(all).header.delete_records().partitions(0).log_start_offset(), 10);
}

TEST_F(NativeSessionTest, GroupsAreSetListedDescribedAndDeleted) {
  const auto describe = [&] {
    RequestHeader request = Request();
    request.mutable_describe_group()->set_group("g");
    return Ask(request).header;
  };
  const auto remove = [&] {
    RequestHeader request = Request();
    request.mutable_delete_group()->set_group("g");
    return Ask(request).header;
  };
  EXPECT_EQ(describe().error().code(), Error::UNKNOWN_GROUP);
  EXPECT_EQ(remove().error().code(), Error::UNKNOWN_GROUP);
  const auto commit = [&](uint32_t partition, int64_t offset) {
    RequestHeader request = Request();
    request.mutable_commit_offsets()->set_group("g");
    auto* out = request.mutable_commit_offsets()->add_offsets();
    out->set_topic("t");
    out->set_partition(partition);
    out->set_offset(offset);
    return Ask(request).header;
  };
  const std::string batch = log::MakeBatch({.records = 10});
  ASSERT_EQ(Ask(Produce(1, batch), batch).header.produce().partitions(0).error().code(), Error::OK);
  ResponseHeader committed = commit(1, 4);
  for (int tries = 0; tries < 10 && committed.error().code() == Error::COORDINATOR_NOT_READY;
       ++tries) {
    world_.RunFor(base::kNanosPerMilli);
    committed = commit(1, 4);
  }
  EXPECT_TRUE(committed.has_commit_offsets()) << committed.ShortDebugString();
  EXPECT_EQ(commit(99, 4).error().code(), Error::UNKNOWN_TOPIC);
  EXPECT_EQ(commit(1, -1).error().code(), Error::INVALID_REQUEST);
  RequestHeader list = Request();
  list.mutable_list_groups();
  const ResponseHeader listed = Ask(list).header;
  ASSERT_EQ(listed.list_groups().groups_size(), 1);
  EXPECT_EQ(listed.list_groups().groups(0).group(), "g");
  EXPECT_EQ(listed.list_groups().groups(0).state(), "Empty");
  const ResponseHeader described = describe();
  ASSERT_EQ(described.describe_group().offsets_size(), 1);
  EXPECT_EQ(described.describe_group().offsets(0).committed(), 4);
  EXPECT_EQ(described.describe_group().offsets(0).high_watermark(), 10);
  EXPECT_TRUE(remove().has_delete_group());
  EXPECT_EQ(remove().error().code(), Error::UNKNOWN_GROUP);
  ExpectStillServing();
}

TEST_F(NativeSessionTest, TheBrokersSettingsAreDescribedAndSet) {
  const auto described = [&](absl::string_view name) {
    RequestHeader request = Request();
    request.mutable_describe_broker();
    const ResponseHeader response = Ask(request).header;
    for (const auto& config : response.describe_broker().configs()) {
      if (config.name() == name) return absl::StrCat(config.value(), " ", config.source());
    }
    return std::string("?");
  };
  const auto alter = [&](const std::string& set, const std::string& reset, bool validate_only) {
    RequestHeader request = Request();
    auto* out = request.mutable_alter_broker();
    if (!set.empty()) {
      out->add_set()->set_name("busy_poll_us");
      out->mutable_set(0)->set_value(set);
    }
    if (!reset.empty()) out->add_reset(reset);
    out->set_validate_only(validate_only);
    const ResponseHeader response = Ask(request).header;
    EXPECT_EQ(response.has_alter_broker(), !response.has_error());
    return response.error().code();
  };
  EXPECT_EQ(described("busy_poll_us"), "20 default");
  EXPECT_EQ(described("data_dir"), "/data start");
  EXPECT_EQ(alter("7", "", true), Error::OK);
  EXPECT_EQ(described("busy_poll_us"), "20 default");
  EXPECT_EQ(alter("7", "", false), Error::OK);
  EXPECT_EQ(described("busy_poll_us"), "7 set");
  EXPECT_EQ(alter("fast", "", false), Error::INVALID_CONFIG);
  EXPECT_EQ(alter("8", "busy_poll_us", false), Error::INVALID_REQUEST) << "named twice";
  EXPECT_EQ(alter("", "data_dir", false), Error::INVALID_REQUEST) << "not while it runs";
  EXPECT_EQ(alter("", "nothing", false), Error::INVALID_CONFIG);
  EXPECT_EQ(described("busy_poll_us"), "7 set");
  EXPECT_EQ(alter("", "busy_poll_us", false), Error::OK);
  EXPECT_EQ(described("busy_poll_us"), "20 default");
  ExpectStillServing();
}

TEST_F(NativeSessionTest, TopicsThatCannotBeAreRefused) {
  const auto refused = [&](const std::string& name, uint32_t partitions, uint32_t replication,
                           const std::string& config) {
    RequestHeader request = Request();
    auto* create = request.mutable_create_topic();
    create->set_name(name);
    create->set_partitions(partitions);
    create->set_replication(replication);
    if (!config.empty()) {
      auto* entry = create->add_configs();
      entry->set_name(config);
      entry->set_value("nonsense");
    }
    const NativeReply reply = Ask(request);
    EXPECT_FALSE(reply.header.error().message().empty());
    EXPECT_FALSE(reply.header.has_create_topic());
    return reply.header.error().code();
  };
  EXPECT_EQ(refused("a/b", 1, 1, ""), Error::INVALID_TOPIC);
  EXPECT_EQ(refused("", 1, 1, ""), Error::INVALID_TOPIC);
  EXPECT_EQ(refused("x", 1'000'000, 1, ""), Error::INVALID_REQUEST);
  EXPECT_EQ(refused("x", 1, 3, ""), Error::INVALID_REQUEST);
  EXPECT_EQ(refused("x", 1, 1, "segment.bytes"), Error::INVALID_CONFIG);
  EXPECT_EQ(refused("x", 1, 1, "no.such"), Error::INVALID_CONFIG);
  ExpectStillServing();
}

TEST_F(NativeSessionTest, ARequestNobodyKnowsIsRefusedAndNoMore) {
  EXPECT_EQ(Ask(Request()).header.error().code(), Error::UNSUPPORTED_VERSION);
  ExpectStillServing();
}

TEST_F(NativeSessionTest, AHeaderThatIsNoMessageCostsTheConnection) {
  ASSERT_TRUE(peer_->client().Send(NativeFrame(std::string("\xff\xff\xff\xff\xff"), "")));
  const auto reply = peer_->Next();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->header.error().code(), Error::INVALID_REQUEST);
  EXPECT_TRUE(peer_->Closed());
}

TEST_F(NativeSessionTest, OtherProtocolsAreTurnedAway) {
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(512, 'r'),
        std::string("\x00\x00\x00\x1c\x00\x12\x00\x03\x00\x00\x00\x01\x00\x04test", 18),
        std::string(64, '\0')}) {
    auto peer = Fresh();
    peer->client().Send(bytes);
    while (const auto reply = peer->Next()) EXPECT_TRUE(reply->header.has_error());
    EXPECT_TRUE(peer->Closed());
  }
  ExpectStillServing();
}

TEST_F(NativeSessionTest, AFetchWaitsForDataOfAnotherConnection) {
  RequestHeader fetch = Request();
  fetch.mutable_fetch()->set_max_bytes(1 << 20);
  fetch.mutable_fetch()->set_min_bytes(1);
  fetch.mutable_fetch()->set_max_wait_ms(20'000);
  for (int p : {0, 1, 2}) {
    auto* wanted = fetch.mutable_fetch()->add_partitions();
    wanted->set_topic("t");
    wanted->set_partition(static_cast<uint32_t>(p));
  }
  ASSERT_TRUE(peer_->client().Send(NativeFrame(fetch)));
  world_.RunFor(base::kNanosPerSecond);
  const base::Nanos before = world_.now();
  const std::string batch = MakeBatch({});
  auto producer = Connected();
  ASSERT_TRUE(producer->Ask(Produce(1, batch), batch).has_value());
  const auto reply = peer_->Next();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->payload.size(), batch.size());
  EXPECT_LT(world_.now() - before, base::kNanosPerSecond);
}

TEST_F(NativeSessionTest, AFetchWithoutADeadlineWaitsAsLongAsItSays) {
  RequestHeader fetch = Request();
  fetch.mutable_fetch()->set_max_bytes(1 << 20);
  fetch.mutable_fetch()->set_min_bytes(1);
  fetch.mutable_fetch()->set_max_wait_ms(45'000);
  fetch.mutable_fetch()->add_partitions()->set_topic("t");
  const base::Nanos before = world_.now();
  const NativeReply reply = Ask(fetch);
  EXPECT_FALSE(reply.header.has_error()) << reply.header.ShortDebugString();
  EXPECT_EQ(reply.header.fetch().partitions_size(), 1);
  EXPECT_GE(world_.now() - before, 45 * base::kNanosPerSecond);
}

TEST_F(NativeSessionTest, AProducePastItsDeadlineIsAnsweredAndMayStillBeAppended) {
  const int hang = world_.faults().Add({.kind = sim::FaultKind::kDelay,
                                        .codes = {io::OpCode::kOpen},
                                        .path = ".log",
                                        .count = sim::Faults::kAlways,
                                        .delay_ns = 5 * base::kNanosPerSecond});
  const std::string batch = MakeBatch({});
  RequestHeader request = Produce(0, batch);
  request.set_deadline_ms(100);
  const NativeReply reply = Ask(request, batch);
  EXPECT_EQ(world_.faults().fired(hang), 1u);
  EXPECT_EQ(reply.header.error().code(), Error::TIMED_OUT);
  EXPECT_TRUE(reply.header.error().retriable());
  world_.RunFor(10 * base::kNanosPerSecond);
  EXPECT_EQ(server::FetchOne(*server_, 0, server_->IdOf("t"), 0).high_watermark, 1);
  ExpectStillServing();
}

// A frame that ends too early never does anything, whatever byte it ends at; one that comes in two
// pieces does the same as one that comes whole.
TEST_F(NativeSessionTest, CutAndSplitAtEveryByte) {
  const std::string batch = MakeBatch({});
  const std::string frame = NativeFrame(Produce(0, batch), batch);
  int64_t expected = 0;
  for (size_t at = 1; at < frame.size(); ++at) {
    auto cut = Connected();
    ASSERT_TRUE(cut->client().Send(frame.substr(0, at)));
    world_.RunFor(base::kNanosPerMilli);
    cut->client().Close();
    ASSERT_TRUE(peer_->client().Send(frame.substr(0, at)));
    world_.RunFor(base::kNanosPerMilli);
    ASSERT_TRUE(peer_->client().Send(frame.substr(at)));
    const auto reply = peer_->Next();
    ASSERT_TRUE(reply.has_value()) << at;
    ASSERT_EQ(reply->header.produce().partitions(0).base_offset(), expected++) << at;
  }
  ASSERT_TRUE(world_.RunUntil([&] { return server_->server(0).connection_count() == 1; }));
  EXPECT_EQ(server_->server(0).budget().used(), 0u);
}

// A header cut at every byte, its length said truly: an error or a smaller request, never a crash.
TEST_F(NativeSessionTest, HeadersCutAtEveryByte) {
  const std::string batch = MakeBatch({});
  const std::string header = Produce(0, batch).SerializeAsString();
  for (size_t size = 0; size < header.size(); ++size) {
    auto peer = Connected();
    peer->client().Send(NativeFrame(header.substr(0, size), batch));
    while (const auto reply = peer->Next()) {
      EXPECT_TRUE(reply->header.has_error() || reply->header.produce().partitions_size() > 0);
    }
  }
  ExpectStillServing();
}

TEST_F(NativeSessionTest, ARequestNamesNoMoreThanItsLimit) {
  for (const size_t partitions : {kRequestEntriesMax, kRequestEntriesMax + 1}) {
    RequestHeader request = Request();
    for (size_t i = 0; i < partitions; ++i) {
      request.mutable_fetch()->add_partitions()->set_topic("t");
    }
    const NativeReply reply = Ask(request);
    if (partitions <= kRequestEntriesMax) {
      EXPECT_EQ(reply.header.fetch().partitions_size(), static_cast<int>(partitions));
      server_->server(0).ForEachConnection([](const server::Connection& connection) {
        EXPECT_LE(static_cast<const Session&>(connection.session()).spare_bytes(), 64u << 10);
        EXPECT_EQ(connection.work_bytes(), 0u);
      });
    } else {
      EXPECT_EQ(reply.header.error().code(), Error::INVALID_REQUEST);
      EXPECT_TRUE(peer_->Closed());
    }
  }
  peer_ = Connected();
  ExpectStillServing();
}

// Half a million entries of two bytes each: seen before they become messages.
TEST_F(NativeSessionTest, EmptyEntriesByTheHundredThousandAreNotParsed) {
  RequestHeader request = Request();
  for (int i = 0; i < 400'000; ++i) request.mutable_fetch()->add_partitions();
  const std::string header = request.SerializeAsString();
  ASSERT_LT(header.size(), kHeaderBytesMax);
  EXPECT_EQ(CountFields(base::AsBytes(header)).fields, 400'002u);
  const NativeReply reply = Ask(request);
  EXPECT_EQ(reply.header.error().code(), Error::INVALID_REQUEST);
  EXPECT_TRUE(peer_->Closed());
}

TEST(FieldCount, CountsWhatIsThereAndStopsWhereItIsNoMessage) {
  RequestHeader request;
  request.set_correlation_id(uint64_t{1} << 63);
  request.mutable_metadata()->add_topics("a");
  request.mutable_metadata()->add_topics(std::string(300, 'b'));
  const std::string header = request.SerializeAsString();
  const FieldCount whole = CountFields(base::AsBytes(header));
  EXPECT_EQ(whole.fields, 4u);
  EXPECT_EQ(whole.correlation_id, request.correlation_id());
  for (size_t size = 0; size < header.size(); ++size) {
    const std::string cut = header.substr(0, size);
    EXPECT_LT(CountFields(base::AsBytes(cut)).fields, 4u);
  }
  EXPECT_EQ(CountFields(base::AsBytes(std::string(20, '\xff'))).fields, 0u);
}

TEST_F(NativeSessionTest, LargeFetchesThatWaitAreBounded) {
  RequestHeader request = Request();
  for (int i = 0; i < 10'000; ++i) request.mutable_fetch()->add_partitions()->set_topic("t");
  request.mutable_fetch()->set_max_wait_ms(2'000);
  request.mutable_fetch()->set_min_bytes(1);
  request.mutable_fetch()->set_max_bytes(1'000);
  std::string sent;
  for (int i = 0; i < 5; ++i) sent += NativeFrame(request);
  ASSERT_TRUE(peer_->client().Send(sent));
  world_.RunFor(base::kNanosPerSecond);
  EXPECT_GT(server_->server(0).budget().work().used(), 10'000u * 300);
  EXPECT_LT(server_->server(0).budget().work().used(), 10'000u * 1'200);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(peer_->Next().has_value());
  ExpectStillServing();
}

TEST_F(NativeSessionTest, MetadataTellsEachTopicOnce) {
  RequestHeader request = Request();
  for (int i = 0; i < 1000; ++i) request.mutable_metadata()->add_topics("t");
  request.mutable_metadata()->add_topics("nowhere");
  const NativeReply reply = Ask(request);
  EXPECT_EQ(reply.header.metadata().topics_size(), 2);
}

}  // namespace
}  // namespace ringtail::native
