// Properties of every message in every version: what is written is read back, and bytes that are
// cut, lengthened or damaged are refused or read as something that can be written again.
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/kafka/frame.h"
#include "server/kafka/messages_reflect.h"
#include "tests/server/kafka/message_fill.h"

namespace ringtail::kafka {
namespace {

uint64_t Seed() {
  static const uint64_t seed = [] {
    const char* given = std::getenv("RINGTAIL_SEED");
    const uint64_t value = given != nullptr ? std::strtoull(given, nullptr, 10)
                                            : (uint64_t{std::random_device{}()} << 32) | 1;
    std::printf("RINGTAIL_SEED=%llu\n", static_cast<unsigned long long>(value));
    return value;
  }();
  return seed;
}

template <class Message>
std::vector<uint8_t> EncodeToVector(const Message& message, int16_t version) {
  const absl::StatusOr<EncodedSize> size = Measure(message, version);
  EXPECT_TRUE(size.ok()) << size.status().ToString();
  if (!size.ok()) return {};
  EXPECT_EQ(size->hole_bytes, 0u);
  std::vector<uint8_t> out(size->buffer_bytes);
  Encode(message, version, *size, out.data());
  return out;
}

// Runs check(std::type_identity<Message>, version, source) for all messages and versions.
template <class Check>
void ForEachVersion(Check check) {
  RandomSource source(Seed());
  ForEachMessage([&]<class Message>(std::type_identity<Message> type) {
    for (int v = Message::kVersionMin; v <= Message::kVersionMax; ++v) {
      SCOPED_TRACE(std::string(Message::kName) + " v" + std::to_string(v));
      check(type, static_cast<int16_t>(v), source);
      if (testing::Test::HasFailure()) return;
    }
  });
}

TEST(Messages, ReadBackWhatWasWritten) {
  ForEachVersion(
      []<class Message>(std::type_identity<Message>, int16_t version, RandomSource& source) {
        for (int i = 0; i < 20; ++i) {
          Pool pool;
          const Message message = RandomFill<Message>(source, version, pool);
          const std::vector<uint8_t> bytes = EncodeToVector(message, version);
          Arena arena;
          Message decoded;
          const absl::Status status = Decode(bytes, version, arena, &decoded);
          ASSERT_TRUE(status.ok()) << status.ToString();
          ASSERT_TRUE(decoded == message);
          ASSERT_EQ(EncodeToVector(decoded, version), bytes);
        }
      });
}

TEST(Messages, CutAnywhereIsAnError) {
  ForEachVersion(
      []<class Message>(std::type_identity<Message>, int16_t version, RandomSource& source) {
        for (int i = 0; i < 3; ++i) {
          Pool pool;
          const std::vector<uint8_t> bytes =
              EncodeToVector(RandomFill<Message>(source, version, pool), version);
          for (size_t length = 0; length < bytes.size(); ++length) {
            // A copy of its own, so that a sanitizer sees the first byte read past the end.
            const std::unique_ptr<uint8_t[]> cut(new uint8_t[length]);
            std::copy_n(bytes.begin(), length, cut.get());
            Arena arena;
            Message decoded;
            ASSERT_FALSE(Decode({cut.get(), length}, version, arena, &decoded).ok()) << length;
          }
        }
      });
}

TEST(Messages, BytesAfterTheEndAreAnError) {
  ForEachVersion(
      []<class Message>(std::type_identity<Message>, int16_t version, RandomSource& source) {
        Pool pool;
        std::vector<uint8_t> bytes =
            EncodeToVector(RandomFill<Message>(source, version, pool), version);
        bytes.push_back(0);
        Arena arena;
        Message decoded;
        ASSERT_FALSE(Decode(bytes, version, arena, &decoded).ok());
      });
}

TEST(Messages, DamageIsRefusedOrReadAsSomethingThatCanBeWritten) {
  std::mt19937_64 random(Seed());
  ForEachVersion(
      [&]<class Message>(std::type_identity<Message>, int16_t version, RandomSource& source) {
        for (int i = 0; i < 100; ++i) {
          Pool pool;
          std::vector<uint8_t> bytes =
              EncodeToVector(RandomFill<Message>(source, version, pool), version);
          if (bytes.empty()) return;
          for (uint64_t flips = 1 + random() % 3; flips > 0; --flips) {
            bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
          }
          Arena arena;
          Message decoded;
          if (!Decode(bytes, version, arena, &decoded).ok()) continue;
          const std::vector<uint8_t> again = EncodeToVector(decoded, version);
          Message decoded_again;
          ASSERT_TRUE(Decode(again, version, arena, &decoded_again).ok());
          ASSERT_EQ(EncodeToVector(decoded_again, version), again);
        }
      });
}

constexpr size_t kArrayDepthMax = 4;  // groups, members, topics, partitions

TEST(Messages, GarbageTakesMemoryInProportionToItsSize) {
  std::mt19937_64 random(Seed());
  ForEachVersion([&]<class Message>(std::type_identity<Message>, int16_t version, RandomSource&) {
    for (int i = 0; i < 50; ++i) {
      std::vector<uint8_t> bytes(random() % 400);
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() >> (random() % 64));
      Arena arena;
      Message decoded;
      Decode(bytes, version, arena, &decoded).IgnoreError();
      ASSERT_LE(arena.used_bytes(), bytes.size() * kArrayGrowthMax * kArrayDepthMax);
    }
  });
}

TEST(Messages, VersionsOutsideTheSchemaAreRefused) {
  ForEachMessage([]<class Message>(std::type_identity<Message>) {
    for (const int v : {Message::kVersionMin - 1, Message::kVersionMax + 1, -32768, 32767}) {
      const int16_t version = static_cast<int16_t>(v);
      Arena arena;
      Message message;
      EXPECT_FALSE(Decode({}, version, arena, &message).ok()) << Message::kName << v;
      EXPECT_FALSE(Measure(message, version).ok()) << Message::kName << v;
    }
  });
}

TEST(Messages, ErrorNamesMessageVersionFieldAndPosition) {
  // TransactionalId null, acks, timeout, one topic whose name is cut.
  const std::vector<uint8_t> body = {0xff, 0xff, 0, 1, 0,   0,   0,   9,   0,   0,
                                     0,    1,    0, 9, 't', 'o', 'p', 'i', 'c', 's'};
  Arena arena;
  ProduceRequest request;
  const absl::Status status = Decode(body, 3, arena, &request);
  EXPECT_EQ(status.message(),
            "ProduceRequest v3: TopicProduceData.Name at byte 14: longer than the frame (9)");
}

TEST(Messages, HugeCountTakesNoMemory) {
  std::vector<uint8_t> body = {0xff, 0xff, 0, 1, 0, 0, 0, 9, 0x7f, 0xff, 0xff, 0xff};
  body.resize(1000);
  Arena arena;
  ProduceRequest request;
  const absl::Status status = Decode(body, 3, arena, &request);
  EXPECT_EQ(status.message(),
            "ProduceRequest v3: ProduceRequest.TopicData at byte 12: more elements than the frame "
            "can hold (2147483647)");
  EXPECT_EQ(arena.reserved_bytes(), 0u);
}

TEST(Messages, ArraysStayWithinTheMemoryLimit) {
  Pool pool;
  CreateTopicsRequest request;
  for (int i = 0; i < 1000; ++i) request.topics.Add(pool.arena).name = "t";
  const std::vector<uint8_t> body = EncodeToVector(request, 7);
  Arena arena;
  CreateTopicsRequest decoded;
  EXPECT_TRUE(Decode(body, 7, arena, &decoded).ok());
  EXPECT_FALSE(Decode(body, 7, arena, &decoded, {.array_bytes_max = 1000}).ok());
}

TEST(Messages, IgnorableValueIsDroppedWhereTheVersionLacksIt) {
  Pool pool;
  ProduceResponse response;
  ProduceResponse::PartitionProduceResponse& partition =
      response.responses.Add(pool.arena).partition_responses.Add(pool.arena);
  partition.log_start_offset = 77;
  Arena arena;
  ProduceResponse decoded;
  ASSERT_TRUE(Decode(EncodeToVector(response, 5), 5, arena, &decoded).ok());
  EXPECT_EQ(decoded.responses[0].partition_responses[0].log_start_offset, 77);
  ASSERT_TRUE(Decode(EncodeToVector(response, 4), 4, arena, &decoded).ok());
  EXPECT_EQ(decoded.responses[0].partition_responses[0].log_start_offset, -1);
}

TEST(Messages, OtherValueThatTheVersionLacksIsAnError) {
  FetchRequest fetch;
  fetch.replica_state.replica_id = 4;
  EXPECT_TRUE(Measure(fetch, 15).ok());
  EXPECT_EQ(Measure(fetch, 14).status().message(),
            "FetchRequest v14: FetchRequest.ReplicaState: set, but this version does not carry it");

  MetadataRequest metadata;
  metadata.topics.reset();
  EXPECT_TRUE(Measure(metadata, 1).ok());
  EXPECT_EQ(Measure(metadata, 0).status().message(),
            "MetadataRequest v0: MetadataRequest.Topics: null, but this version requires a value");
}

TEST(Messages, StringsEndAtKafkasLimit) {
  const std::string text(32768, 'x');
  SaslHandshakeRequest request;
  request.mechanism = absl::string_view(text).substr(1);
  EXPECT_TRUE(Measure(request, 0).ok());
  request.mechanism = text;
  EXPECT_FALSE(Measure(request, 0).ok());
  DescribeClusterResponse flexible;
  flexible.cluster_id = text;
  EXPECT_FALSE(Measure(flexible, 0).ok());
}

TEST(Messages, UnknownTaggedFieldsAreSkipped) {
  // ApiVersionsRequest v3: two names, then tags 0 and 900 with values.
  const std::vector<uint8_t> body = {2, 'a', 2, 'b', 2, 0, 3, 1, 2, 3, 0x84, 0x07, 1, 9};
  Arena arena;
  ApiVersionsRequest request;
  const absl::Status status = Decode(body, 3, arena, &request);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(request.client_software_version, "b");
}

TEST(Messages, TaggedFieldMustFillItsSize) {
  // ProduceResponse v10: no topics, throttle time, then NodeEndpoints (tag 0): empty, in 1 or 2
  // bytes.
  const std::vector<uint8_t> right = {1, 0, 0, 0, 0, 1, 0, 1, 1};
  const std::vector<uint8_t> wrong = {1, 0, 0, 0, 0, 1, 0, 2, 1, 0};
  const std::vector<uint8_t> outside = {1, 0, 0, 0, 0, 1, 0, 200, 1, 1};
  Arena arena;
  ProduceResponse response;
  EXPECT_TRUE(Decode(right, 10, arena, &response).ok());
  EXPECT_FALSE(Decode(wrong, 10, arena, &response).ok());
  EXPECT_FALSE(Decode(outside, 10, arena, &response).ok());
}

TEST(Messages, TableHoldsEveryMessage) {
  size_t count = 0;
  ForEachMessage([&]<class Message>(std::type_identity<Message>) {
    const MessageInfo& info = kMessages[count++];
    EXPECT_EQ(info.name, Message::kName);
    EXPECT_EQ(info.api_key, Message::kApiKey);
    EXPECT_EQ(info.version_min, Message::kVersionMin);
    EXPECT_EQ(info.version_max, Message::kVersionMax);
    EXPECT_EQ(info.first_flexible_version, Message::kFirstFlexibleVersion);
  });
  EXPECT_EQ(count, kMessages.size());
  static_assert(FindRequest(1)->name == "FetchRequest");
  static_assert(FindRequest(4) == nullptr);
}

}  // namespace
}  // namespace ringtail::kafka
