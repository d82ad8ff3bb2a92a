#include "server/kafka/frame.h"

#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/kafka/errors.h"
#include "server/kafka/messages.h"

namespace {
size_t allocations = 0;
}  // namespace

// Counts what the tests below allocate.
void* operator new(size_t size) {
  ++allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace ringtail::kafka {
namespace {

base::ByteView AfterLength(const std::vector<uint8_t>& frame) {
  EXPECT_GE(frame.size(), 4u);
  Reader reader(frame, nullptr);
  EXPECT_EQ(static_cast<size_t>(reader.I32("length")), frame.size() - 4);
  return base::ByteView(frame).subspan(4);
}

ProduceRequest MakeProduce(Arena& arena, base::ByteView batch) {
  ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = 1500;
  for (const char* name : {"one", "two"}) {
    ProduceRequest::TopicProduceData& topic = request.topic_data.Add(arena);
    topic.name = name;
    for (int32_t index = 0; index < 3; ++index) {
      ProduceRequest::PartitionProduceData& partition = topic.partition_data.Add(arena);
      partition.index = index;
      partition.records = Records(batch);
    }
  }
  return request;
}

FetchResponse MakeFetchResponse(Arena& arena) {
  FetchResponse response;
  uint32_t id = 0;
  for (const char* name : {"one", "two"}) {
    FetchResponse::FetchableTopicResponse& topic = response.responses.Add(arena);
    topic.topic = name;
    for (int32_t index = 0; index < 2; ++index) {
      FetchResponse::PartitionData& partition = topic.partitions.Add(arena);
      partition.partition_index = index;
      partition.high_watermark = 1000;
      partition.current_leader.leader_id = 1001;
      partition.records = Records::Hole(100 + id, id);
      ++id;
    }
  }
  return response;
}

TEST(Frame, RequestReadsBack) {
  for (const int16_t version : {3, 8, 9, 12}) {
    Arena arena;
    const std::string batch = "not looked into";
    const ProduceRequest request = MakeProduce(arena, base::AsBytes(batch));
    std::vector<uint8_t> frame;
    ASSERT_TRUE(AppendRequest(request, version, 42, "client", &frame).ok());

    RequestFrame decoded_frame;
    const absl::Status status = DecodeRequestFrame(AfterLength(frame), &decoded_frame);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(decoded_frame.header.request_api_key, 0);
    EXPECT_EQ(decoded_frame.header.request_api_version, version);
    EXPECT_EQ(decoded_frame.header.correlation_id, 42);
    EXPECT_EQ(decoded_frame.header.client_id, "client");
    ProduceRequest decoded;
    ASSERT_TRUE(Decode(decoded_frame.body, version, arena, &decoded).ok());
    EXPECT_TRUE(decoded == request);
    // The records lie in the frame itself.
    const uint8_t* bytes = decoded.topic_data[1].partition_data[2].records->bytes().data();
    EXPECT_TRUE(bytes > frame.data() && bytes < frame.data() + frame.size());
  }
}

TEST(Frame, UnknownApiLeavesKeyAndCorrelationId) {
  const std::vector<uint8_t> frame = {0x03, 0xe8, 0, 7, 0, 0, 0, 5, 0xff, 0xff};
  RequestFrame decoded;
  EXPECT_EQ(DecodeRequestFrame(frame, &decoded).code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(decoded.header.request_api_key, 1000);
  EXPECT_EQ(decoded.header.request_api_version, 7);
  EXPECT_EQ(decoded.header.correlation_id, 5);
}

TEST(Frame, ApiVersionsOfAVersionToComeIsReadable) {
  // Key 18, version 99, correlation id 5, client id "ab", no tags, a body that we cannot know.
  const std::vector<uint8_t> frame = {0, 18, 0, 99, 0, 0, 0, 5, 0, 2, 'a', 'b', 0, 1, 2, 3};
  RequestFrame decoded;
  ASSERT_TRUE(DecodeRequestFrame(frame, &decoded).ok());
  EXPECT_EQ(decoded.header.request_api_version, 99);
  EXPECT_EQ(decoded.header.client_id, "ab");
  EXPECT_EQ(decoded.body.size(), 3u);
}

TEST(Frame, CutHeaderIsMalformed) {
  const std::vector<uint8_t> frame = {0, 18, 0, 3, 0, 0, 0, 5, 0, 2, 'a', 'b', 0};
  RequestFrame decoded;
  EXPECT_TRUE(DecodeRequestFrame(frame, &decoded).ok());
  for (size_t length = 0; length < frame.size(); ++length) {
    const absl::Status status = DecodeRequestFrame({frame.data(), length}, &decoded);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << length;
  }
}

TEST(Frame, ApiVersionsResponseAlwaysHasTheOldHeader) {
  ApiVersionsResponse response;
  const absl::StatusOr<EncodedSize> size = MeasureResponse(response, 3);
  ASSERT_TRUE(size.ok());
  std::vector<uint8_t> frame(size->buffer_bytes);
  EncodeResponse(response, 3, 7, *size, frame.data());
  // Length, correlation id, error code, no keys, throttle time, no tags.
  EXPECT_EQ(frame, (std::vector<uint8_t>{0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 1, 0, 0, 0, 0, 0}));
}

TEST(Frame, HolesSplitAFetchResponse) {
  for (const int16_t version : {4, 11, 12, 16}) {
    Arena arena;
    FetchResponse response = MakeFetchResponse(arena);
    if (version < 12) {
      for (auto& topic : response.responses) {
        for (auto& partition : topic.partitions) partition.current_leader = {};
      }
    }
    const absl::StatusOr<EncodedSize> size = MeasureResponse(response, version);
    ASSERT_TRUE(size.ok()) << size.status().ToString();
    EXPECT_EQ(size->hole_bytes, 100u + 101 + 102 + 103);
    std::vector<uint8_t> buffer(size->buffer_bytes);
    std::vector<RecordsHole> holes;
    uint8_t* end = EncodeResponse(response, version, 9, *size, buffer.data(), &holes);
    EXPECT_EQ(end, buffer.data() + buffer.size());
    ASSERT_EQ(holes.size(), 4u);

    std::vector<uint8_t> frame;
    size_t from = 0;
    for (const RecordsHole& hole : holes) {
      const uint8_t* start = buffer.data();
      frame.insert(frame.end(), start + from, start + hole.buffer_position);
      frame.insert(frame.end(), hole.size, static_cast<uint8_t>('A' + hole.id));
      from = hole.buffer_position;
    }
    frame.insert(frame.end(), buffer.data() + from, buffer.data() + buffer.size());

    int32_t correlation_id = 0;
    FetchResponse decoded;
    const absl::Status status =
        DecodeResponse(AfterLength(frame), version, arena, &correlation_id, &decoded);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(correlation_id, 9);
    EXPECT_EQ(base::AsText(decoded.responses[1].partitions[0].records->bytes()),
              std::string(102, 'C'));
    EXPECT_EQ(base::AsText(decoded.responses[1].partitions[1].records->bytes()),
              std::string(103, 'D'));
  }
}

TEST(Frame, RepeatedRequestsAllocateNothing) {
  Arena client_arena;
  const std::string batch(1000, 'b');
  const ProduceRequest request = MakeProduce(client_arena, base::AsBytes(batch));
  std::vector<uint8_t> frame;
  ASSERT_TRUE(AppendRequest(request, 9, 42, "client", &frame).ok());
  const base::ByteView content = AfterLength(frame);

  Arena arena;
  std::vector<uint8_t> buffer(4096);
  std::vector<RecordsHole> holes;
  size_t before = 0;
  for (int round = 0; round < 10; ++round) {
    if (round == 2) before = allocations;
    RequestFrame request_frame;
    ProduceRequest decoded;
    bool ok = DecodeRequestFrame(content, &request_frame).ok();
    ok = ok && Decode(request_frame.body, 9, arena, &decoded).ok();
    const FetchResponse response = MakeFetchResponse(arena);
    holes.clear();
    const absl::StatusOr<EncodedSize> size = MeasureResponse(response, 12);
    ok = ok && size.ok() && size->buffer_bytes <= buffer.size();
    if (!ok) FAIL();
    EncodeResponse(response, 12, 9, *size, buffer.data(), &holes);
    arena.Reset();
  }
  EXPECT_EQ(allocations, before);
}

TEST(Errors, HaveKafkasNamesAndCodes) {
  EXPECT_EQ(Wire(ErrorCode::kUnknownServerError), -1);
  EXPECT_EQ(Wire(ErrorCode::kUnsupportedVersion), 35);
  EXPECT_EQ(ErrorName(ErrorCode::kNone), "NONE");
  EXPECT_EQ(ErrorName(ErrorCode::kNotLeaderOrFollower), "NOT_LEADER_OR_FOLLOWER");
  EXPECT_EQ(ErrorName(ErrorCode::kShareSessionLimitReached), "SHARE_SESSION_LIMIT_REACHED");
  EXPECT_EQ(ErrorName(static_cast<ErrorCode>(9999)), "UNKNOWN_ERROR_CODE");
  EXPECT_TRUE(IsRetriable(ErrorCode::kNotLeaderOrFollower));
  EXPECT_FALSE(IsRetriable(ErrorCode::kMessageTooLarge));
}

}  // namespace
}  // namespace ringtail::kafka
