// What admin tools ask: the brokers, where partitions are, how large they are.
#include <algorithm>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "server/kafka/session.h"

namespace ringtail::kafka {

using base::Error;

namespace {

// max.request.partition.size.limit
constexpr int32_t kPartitionsDescribedMax = 2000;

// The names asked for, each once and in order; all topics where none is named.
std::vector<absl::string_view> NamesToDescribe(const DescribeTopicPartitionsRequest& request,
                                               const server::Image& image) {
  std::vector<absl::string_view> names;
  for (const auto& topic : request.topics) names.push_back(topic.name);
  if (request.topics.empty()) {
    for (const server::TopicImage& topic : image.topics()) names.push_back(topic.name);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  if (request.cursor.has_value()) {
    names.erase(names.begin(), std::lower_bound(names.begin(), names.end(),
                                                absl::string_view(request.cursor->topic_name)));
  }
  return names;
}

}  // namespace

task::Task<void> Session::HandleDescribeCluster(Call* call) {
  DescribeClusterRequest request;
  if (!DecodeBody(call, &request)) co_return;
  const server::ImagePtr image = broker_.image();
  DescribeClusterResponse response;
  response.cluster_id = call->arena.CopyText(image->cluster_id().ToString());
  response.controller_id = server::NodeId(image->broker_id(), base::CoreId(0));
  response.endpoint_type = request.endpoint_type;
  if (request.endpoint_type != 1) {  // 1: brokers; there are no controllers to list
    response.error_code = Wire(ErrorCode::kUnsupportedEndpointType);
    response.error_message = "only brokers can be listed here";
  } else {
    for (const server::Node& node :
         endpoints_.Nodes(image->broker_id(), server::ListenerKind::kKafka)) {
      auto& out = response.brokers.Add(call->arena);
      out.broker_id = node.id;
      out.host = call->arena.CopyText(node.host);
      out.port = node.port;
    }
  }
  Respond(call, response);
}

// As Kafka's: as many partitions as the limit allows, and a cursor to the first that is left out.
task::Task<void> Session::HandleDescribeTopicPartitions(Call* call) {
  DescribeTopicPartitionsRequest request;
  if (!DecodeBody(call, &request)) co_return;
  const server::ImagePtr image = broker_.image();
  DescribeTopicPartitionsResponse response;
  if (request.cursor.has_value() && request.cursor->partition_index < 0) {
    Close(call, absl::InvalidArgumentError("a cursor at a negative partition"));
    co_return;
  }
  auto left =
      static_cast<size_t>(std::clamp(request.response_partition_limit, 1, kPartitionsDescribedMax));
  for (const absl::string_view name : NamesToDescribe(request, *image)) {
    const bool resumed = request.cursor.has_value() && request.cursor->topic_name == name;
    size_t first = resumed ? static_cast<size_t>(request.cursor->partition_index) : 0;
    if (left == 0) {
      response.next_cursor.emplace();
      response.next_cursor->topic_name = name;
      response.next_cursor->partition_index = 0;
      break;
    }
    auto& out = response.topics.Add(call->arena);
    out.name = name;
    const server::TopicImage* topic = image->FindByName(name);
    if (topic == nullptr) {
      out.error_code =
          Wire(server::ValidateTopicName(name).ok() ? ErrorCode::kUnknownTopicOrPartition
                                                    : ErrorCode::kInvalidTopicException);
      continue;
    }
    first = std::min(first, topic->partitions.size());
    const size_t count = std::min(left, topic->partitions.size() - first);
    out.topic_id = topic->id;
    out.is_internal = topic->internal;
    FillPartitions(*topic, first, count, call->arena, &out);
    left -= count;
    if (first + count < topic->partitions.size()) {
      response.next_cursor.emplace();
      response.next_cursor->topic_name = name;
      response.next_cursor->partition_index = static_cast<int32_t>(first + count);
      break;
    }
  }
  Respond(call, response);
}

task::Task<void> Session::HandleDescribeLogDirs(Call* call) {
  DescribeLogDirsRequest request;
  if (!DecodeBody(call, &request)) co_return;
  // Tools ask every node and add up: where each core is a node, it tells of its own partitions.
  const std::vector<server::PartitionSize> sizes =
      co_await broker_.LogSizes(/*all_cores=*/!endpoints_.advertise_cores);
  const server::ImagePtr image = broker_.image();
  Arena& arena = call->arena;
  absl::flat_hash_map<base::Uuid, absl::flat_hash_set<int32_t>> wanted;
  if (request.topics.has_value()) {
    for (const auto& topic : *request.topics) {
      const server::TopicImage* found = image->FindByName(topic.topic);
      if (found != nullptr) {
        wanted[found->id].insert(topic.partitions.begin(), topic.partitions.end());
      }
    }
  }
  absl::flat_hash_map<base::Uuid, std::vector<server::PartitionSize>> by_topic;
  for (const server::PartitionSize& size : sizes) {
    if (request.topics.has_value()) {
      const auto topic = wanted.find(size.id.topic_id);
      if (topic == wanted.end() || !topic->second.contains(size.id.partition)) continue;
    }
    by_topic[size.id.topic_id].push_back(size);
  }
  DescribeLogDirsResponse response;
  auto& directory = response.results.Add(arena);
  directory.log_dir = broker_.data_directory();
  const auto space = broker_.core().io().Space(broker_.data_directory());
  if (space.ok()) {
    directory.total_bytes = space->total_bytes;
    directory.usable_bytes = space->available_bytes;
  }
  for (const server::TopicImage& topic : image->topics()) {
    const auto found = by_topic.find(topic.id);
    if (found == by_topic.end()) continue;
    auto& topic_out = directory.topics.Add(arena);
    topic_out.name = topic.name;
    topic_out.partitions.Reserve(arena, found->second.size());
    for (const server::PartitionSize& size : found->second) {
      auto& out = topic_out.partitions.Add(arena);
      out.partition_index = size.id.partition;
      out.partition_size = size.bytes;
    }
  }
  Respond(call, response);
}

}  // namespace ringtail::kafka
