#include <algorithm>

#include "tests/engine/log/batch_maker.h"
#include "tests/server/fuzz_server.h"
#include "tests/server/kafka/kafka_dialogue.h"

namespace ringtail::kafka {
namespace {

std::vector<std::string> ValidFrames() {
  std::vector<std::string> frames;
  Arena arena;
  const std::string batch = log::MakeBatch({.records = 2});
  for (const int16_t version : {3, 9, 11}) {
    for (const int16_t acks : {-1, 0}) {
      ProduceRequest request;
      request.acks = acks;
      request.timeout_ms = 1000;
      auto& topic = request.topic_data.Add(arena);
      topic.name = "t";
      topic.partition_data.Add(arena).records = Records(base::AsBytes(batch));
      frames.push_back(KafkaFrame(request, version, 1));
    }
  }
  for (const int16_t version : {4, 12, 13, 16}) {
    FetchRequest request;
    request.max_wait_ms = 1000;
    auto& topic = request.topics.Add(arena);
    topic.topic = "t";
    auto& partition = topic.partitions.Add(arena);
    partition.partition_max_bytes = 100'000;
    partition.current_leader_epoch = -1;
    frames.push_back(KafkaFrame(request, version, 2));
  }
  for (const int16_t version : {0, 9, 12}) {
    MetadataRequest request;
    request.topics->Add(arena).name = "t";
    frames.push_back(KafkaFrame(request, version, 3));
  }
  for (const int16_t version : {1, 8}) {
    ListOffsetsRequest request;
    auto& topic = request.topics.Add(arena);
    topic.name = "t";
    topic.partitions.Add(arena).timestamp = -1;
    frames.push_back(KafkaFrame(request, version, 4));
  }
  for (const int16_t version : {2, 7}) {
    CreateTopicsRequest request;
    auto& topic = request.topics.Add(arena);
    topic.name = "made";
    topic.num_partitions = 2;
    topic.replication_factor = 1;
    auto& config = topic.configs.Add(arena);
    config.name = "segment.bytes";
    config.value = "1048576";
    frames.push_back(KafkaFrame(request, version, 5));
  }
  DeleteTopicsRequest remove;
  remove.topic_names.Add(arena) = "made";
  frames.push_back(KafkaFrame(remove, 4, 6));
  frames.push_back(KafkaFrame(ApiVersionsRequest(), 3, 7));
  frames.push_back(KafkaFrame(InitProducerIdRequest(), 4, 8));
  frames.push_back(KafkaFrame(DescribeClusterRequest(), 1, 9));
  FindCoordinatorRequest find;
  find.coordinator_keys.Add(arena) = "group";
  frames.push_back(KafkaFrame(find, 4, 10));
  return frames;
}

// Thousands of partitions are fine for a broker (tests/server/broker_test.cc), but the simulated
// disk looks at all its files at every sync: such an input would take minutes here.
bool TooSlowHere(absl::string_view stream) {
  constexpr int32_t kPartitionsMax = 64;
  RequestFrame frame;
  if (stream.size() < 4 || !DecodeRequestFrame(base::AsBytes(stream.substr(4)), &frame).ok() ||
      frame.header.request_api_key != CreateTopicsRequest::kApiKey ||
      frame.header.request_api_version < CreateTopicsRequest::kVersionMin ||
      frame.header.request_api_version > CreateTopicsRequest::kVersionMax) {
    return false;
  }
  Arena arena;
  CreateTopicsRequest request;
  if (!Decode(frame.body, frame.header.request_api_version, arena, &request).ok()) return false;
  return std::any_of(request.topics.begin(), request.topics.end(),
                     [](const auto& topic) { return topic.num_partitions > kPartitionsMax; });
}

}  // namespace
}  // namespace ringtail::kafka

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ringtail;
  static const std::vector<std::string> frames = kafka::ValidFrames();
  const std::string stream = server::FuzzedStream(data, size, frames);
  if (kafka::TooSlowHere(stream)) return 0;
  server::SharedFuzzServer().Serve(server::ListenerKind::kKafka, "", stream);
  return 0;
}
