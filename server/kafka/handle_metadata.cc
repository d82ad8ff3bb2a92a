// What clients ask before anything else: versions, brokers, topics.
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "server/kafka/api_table.h"
#include "server/kafka/session.h"

namespace ringtail::kafka {

using base::Error;

namespace {

// What the coordinator of groups speaks: 1 is KIP-848.
constexpr absl::string_view kGroupVersion = "group.version";
constexpr int16_t kGroupVersionMax = 1;

void AddFeatures(const server::ImagePtr& image, Arena& arena, ApiVersionsResponse* response) {
  auto& supported = response->supported_features.Add(arena);
  supported.name = kGroupVersion;
  supported.max_version = kGroupVersionMax;
  auto& finalized = response->finalized_features.Add(arena);
  finalized.name = kGroupVersion;
  finalized.min_version_level = finalized.max_version_level = kGroupVersionMax;
  response->finalized_features_epoch = static_cast<int64_t>(image->incarnation());
}

}  // namespace

task::Task<void> Session::HandleApiVersions(Call* call) {
  ApiVersionsResponse response;
  const Api* self = FindApi(ApiVersionsRequest::kApiKey);
  if (call->version < self->version_min || call->version > self->version_max) {
    // KIP-511: answered in version 0, which every client can read.
    call->version = 0;
    response.error_code = Wire(ErrorCode::kUnsupportedVersion);
  } else {
    ApiVersionsRequest request;
    if (!DecodeBody(call, &request)) co_return;
  }
  for (const Api& api : OfferedApis()) {
    auto& out = response.api_keys.Add(call->arena);
    out.api_key = api.key;
    out.min_version = api.version_min;
    out.max_version = api.version_max;
  }
  if (broker_.image() != nullptr) AddFeatures(broker_.image(), call->arena, &response);
  Respond(call, response);
}

void Session::AddBrokers(Arena& arena,
                         Array<MetadataResponse::MetadataResponseBroker>* brokers) const {
  for (const server::Node& node :
       endpoints_.Nodes(broker_.image()->broker_id(), server::ListenerKind::kKafka)) {
    auto& out = brokers->Add(arena);
    out.node_id = node.id;
    out.host = arena.CopyText(node.host);
    out.port = node.port;
  }
}

void Session::FillTopic(const server::TopicImage& topic, Arena& arena,
                        MetadataResponse::MetadataResponseTopic* out) const {
  out->name = topic.name;
  out->topic_id = topic.id;
  out->is_internal = topic.internal;
  FillPartitions(topic, 0, topic.partitions.size(), arena, out);
}

task::Task<void> Session::CreateMissing(const MetadataRequest& request) {
  if (!broker_.topic_defaults().auto_create || !request.allow_auto_topic_creation ||
      !request.topics.has_value()) {
    co_return;
  }
  for (const MetadataRequest::MetadataRequestTopic& wanted : *request.topics) {
    const std::string name(wanted.name.value_or(""));
    if (!wanted.topic_id.IsZero() || broker_.image()->FindByName(name) != nullptr) continue;
    // Whether it worked, or another one was quicker, is seen in the catalog.
    co_await broker_.CreateTopic({.name = name, .partitions = broker_.topic_defaults().partitions});
  }
}

task::Task<void> Session::HandleMetadata(Call* call) {
  MetadataRequest request;
  if (!DecodeBody(call, &request)) co_return;
  co_await CreateMissing(request);
  Arena& arena = call->arena;
  const server::ImagePtr image = broker_.image();
  MetadataResponse response;
  AddBrokers(arena, &response.brokers);
  response.cluster_id = arena.CopyText(image->cluster_id().ToString());
  response.controller_id = server::NodeId(image->broker_id(), base::CoreId(0));
  // No list means all topics; in version 0 an empty one does, too.
  const bool all = !request.topics.has_value() || (call->version == 0 && request.topics->empty());
  if (all) {
    response.topics.Reserve(arena, image->topics().size());
    for (const server::TopicImage& topic : image->topics()) {
      FillTopic(topic, arena, &response.topics.Add(arena));
    }
  } else {
    // Each is told once, however often it is named: the response is never larger than all topics.
    absl::flat_hash_set<const server::TopicImage*> told;
    for (const MetadataRequest::MetadataRequestTopic& wanted : *request.topics) {
      const bool by_id = !wanted.topic_id.IsZero();
      const absl::string_view name = wanted.name.value_or("");
      const server::TopicImage* topic;
      Error error = FindTopic(name, wanted.topic_id, by_id, &topic);
      if (error == Error::kNone && !told.insert(topic).second) continue;
      auto& out = response.topics.Add(arena);
      if (error == Error::kNone) {
        FillTopic(*topic, arena, &out);
        continue;
      }
      if (!by_id && !server::ValidateTopicName(name).ok()) error = Error::kInvalidTopic;
      out.error_code = Wire(ToErrorCode(error));
      out.topic_id = wanted.topic_id;
      if (by_id && call->version >= 12) {
        out.name = std::nullopt;
      } else {
        out.name = name;
      }
    }
  }
  Respond(call, response);
}

}  // namespace ringtail::kafka
