// The native requests that are not on the hot path: metadata, offsets, producers, topics.
#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "server/native/config_changes.h"
#include "server/native/error_map.h"
#include "server/native/session.h"
#include "server/native/session_scratch.h"

namespace ringtail::native {

using base::Error;
using server::ProposalResult;

namespace {

constexpr int32_t kProducerEpochMax = INT16_MAX - 1;
constexpr size_t kWorkPerCut = 128;        // a partition's item and its result
constexpr size_t kWorkPerDescribed = 768;  // a partition's status and what the response says of it

void SetBytes(const base::Uuid& id, std::string* out) {
  out->assign(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size());
}

}  // namespace

void Session::FillPartition(const server::TopicImage& topic, uint32_t index,
                            proto::client::PartitionMetadata* out) const {
  const server::PartitionImage& partition = topic.partitions[index];
  const int32_t broker_id = broker_.image()->broker_id();
  out->set_partition(index);
  out->set_leader_node(
      partition.leader_broker < 0 ? -1 : endpoints_.NodeOf(broker_id, broker_.CoreOf(partition)));
  out->set_leader_epoch(partition.leader_epoch);
  out->add_replicas(broker_id);
  out->add_in_sync(broker_id);
}

void Session::FillTopic(const server::TopicImage& topic, proto::client::TopicMetadata* out) const {
  out->set_name(topic.name);
  SetBytes(topic.id, out->mutable_topic_id());
  for (uint32_t index = 0; index < topic.partitions.size(); ++index) {
    FillPartition(topic, index, out->add_partitions());
  }
}

void Session::HandleMetadata(Scratch* scratch) {
  const auto& request = scratch->request->metadata();
  auto* metadata = scratch->response->mutable_metadata();
  const server::Image& image = *broker_.image();
  for (const server::Node& node :
       endpoints_.Nodes(image.broker_id(), server::ListenerKind::kNative)) {
    auto* out = metadata->add_nodes();
    out->set_node_id(node.id);
    out->set_core(node.core);
    out->set_host(node.host);
    out->set_port(node.port);
  }
  if (request.all_topics()) {
    for (const server::TopicImage& topic : image.topics()) FillTopic(topic, metadata->add_topics());
    return;
  }
  // Each is told once, however often it is named: the response is never larger than all topics.
  absl::flat_hash_set<const server::TopicImage*> told;
  const auto add = [&](absl::string_view name, absl::string_view id) {
    const server::TopicImage* topic;
    const Error error = FindTopic(name, id, &topic);
    if (error == Error::kNone && !told.insert(topic).second) return;
    auto* out = metadata->add_topics();
    if (error == Error::kNone) {
      FillTopic(*topic, out);
      return;
    }
    out->set_name(name.data(), name.size());
    out->set_topic_id(id.data(), id.size());
    FillError(error, "", out->mutable_error());
  };
  for (const std::string& name : request.topics()) add(name, "");
  for (const std::string& id : request.topic_ids()) add("", id);
}

task::Task<void> Session::HandleListOffsets(Scratch* scratch) {
  const auto& request = scratch->request->list_offsets();
  auto* listed = scratch->response->mutable_list_offsets();
  auto& items = scratch->offset_items;
  std::vector<proto::client::PartitionOffset*> results;
  for (const auto& wanted : request.partitions()) {
    auto* result = listed->add_partitions();
    result->set_offset(-1);
    result->set_timestamp_ms(-1);
    partition::PartitionId id;
    const Error error = Resolve(wanted.topic(), wanted.topic_id(), wanted.partition(), &id);
    if (error != Error::kNone) {
      FillError(error, "", result->mutable_error());
      continue;
    }
    using Point = proto::client::PartitionPoint;
    const auto point = wanted.point() == Point::EARLIEST        ? server::OffsetPoint::kEarliest
                       : wanted.point() == Point::TIMESTAMP     ? server::OffsetPoint::kTimestamp
                       : wanted.point() == Point::MAX_TIMESTAMP ? server::OffsetPoint::kMaxTimestamp
                                                                : server::OffsetPoint::kLatest;
    items.push_back({.id = id, .point = point, .timestamp_ms = wanted.timestamp_ms()});
    results.push_back(result);
  }
  co_await broker_.ListOffsets(items);
  for (size_t i = 0; i < items.size(); ++i) {
    const partition::OffsetResult& found = items[i].result;
    if (found.error != Error::kNone) FillError(found.error, "", results[i]->mutable_error());
    results[i]->set_offset(found.offset.value());
    results[i]->set_timestamp_ms(found.timestamp_ms);
    results[i]->set_leader_epoch(found.leader_epoch);
  }
}

task::Task<void> Session::HandleInitProducer(Scratch* scratch) {
  const auto& request = scratch->request->init_producer();
  auto* response = scratch->response;
  if (request.has_producer_id() != request.has_producer_epoch()) {
    FillError(Error::kInvalidRequest, "producer_id and producer_epoch go together",
              response->mutable_error());
    co_return;
  }
  if (request.has_producer_id() && request.producer_id() >= 0 && request.producer_epoch() >= 0 &&
      request.producer_epoch() < kProducerEpochMax) {
    response->mutable_init_producer()->set_producer_id(request.producer_id());
    response->mutable_init_producer()->set_producer_epoch(request.producer_epoch() + 1);
    co_return;
  }
  int64_t producer_id = 0;
  const Error error = co_await broker_.NewProducerId(&producer_id);
  if (error != Error::kNone) {
    FillError(error, "", response->mutable_error());
    co_return;
  }
  response->mutable_init_producer()->set_producer_id(producer_id);
}

task::Task<void> Session::HandleCreateTopic(Scratch* scratch) {
  const auto& request = scratch->request->create_topic();
  auto* response = scratch->response;
  if (request.replication() > 1) {
    FillError(Error::kInvalidReplication,
              absl::StrCat("replication ", request.replication(),
                           " needs as many brokers; this "
                           "one is alone and keeps 1 replica"),
              response->mutable_error());
    co_return;
  }
  server::CreateTopicProposal proposal{.name = request.name(),
                                       .partitions = request.partitions() == 0
                                                         ? broker_.topic_defaults().partitions
                                                         : request.partitions(),
                                       .validate_only = request.validate_only()};
  for (const auto& entry : request.configs()) proposal.configs[entry.name()] = entry.value();
  const uint32_t partitions = proposal.partitions;
  const ProposalResult result = co_await broker_.CreateTopic(std::move(proposal));
  if (!result.failure.ok()) {
    FillError(result.failure.error, result.failure.message, response->mutable_error());
    co_return;
  }
  auto* created = response->mutable_create_topic();
  SetBytes(result.topic_id, created->mutable_topic_id());
  created->set_partitions(partitions);
  created->set_replication(1);
}

task::Task<void> Session::HandleAlterTopic(Scratch* scratch) {
  const auto& request = scratch->request->alter_topic();
  auto* response = scratch->response;
  const server::ImagePtr image = broker_.image();  // keeps `topic` while this waits
  const server::TopicImage* topic;
  const Error error = FindTopic(request.name(), request.topic_id(), &topic);
  if (error != Error::kNone) {
    FillError(error, "", response->mutable_error());
    co_return;
  }
  server::AlterTopicProposal proposal{.topic_id = topic->id,
                                      .partitions = request.partitions(),
                                      .validate_only = request.validate_only()};
  const std::string twice = TakeChanges(request, &proposal.configs);
  if (!twice.empty()) {
    FillError(Error::kInvalidRequest, absl::StrCat("config ", twice, " is named more than once"),
              response->mutable_error());
    co_return;
  }
  std::vector<server::AlterTopicProposal> proposals;
  proposals.push_back(std::move(proposal));
  const auto results = co_await broker_.AlterTopics(std::move(proposals));
  if (!results[0].failure.ok()) {
    FillError(results[0].failure.error, results[0].failure.message, response->mutable_error());
    co_return;
  }
  const auto before = static_cast<uint32_t>(topic->partitions.size());
  const bool grown = request.partitions() != 0 && !request.validate_only();
  response->mutable_alter_topic()->set_partitions(grown ? request.partitions() : before);
}

task::Task<void> Session::HandleDeleteRecords(server::Exchange* exchange, Scratch* scratch) {
  const auto& request = scratch->request->delete_records();
  auto* deleted = scratch->response->mutable_delete_records();
  exchange->connection->ChargeWork(exchange,
                                   static_cast<size_t>(request.partitions_size()) * kWorkPerCut);
  std::vector<server::DeleteRecordsItem> items;
  std::vector<proto::client::PartitionStart*> results;
  for (const auto& wanted : request.partitions()) {
    auto* result = deleted->add_partitions();
    result->set_log_start_offset(-1);
    partition::PartitionId id;
    const Error error = Resolve(wanted.topic(), wanted.topic_id(), wanted.partition(), &id);
    if (error != Error::kNone) {
      FillError(error, "", result->mutable_error());
      continue;
    }
    items.push_back({.id = id, .before = base::Offset(wanted.before())});
    results.push_back(result);
  }
  co_await broker_.DeleteRecords(items);
  for (size_t i = 0; i < items.size(); ++i) {
    const partition::OffsetResult& cut = items[i].result;
    if (cut.error != Error::kNone) FillError(cut.error, "", results[i]->mutable_error());
    results[i]->set_log_start_offset(cut.offset.value());
  }
}

task::Task<void> Session::HandleDeleteTopic(Scratch* scratch) {
  const auto& request = scratch->request->delete_topic();
  auto* response = scratch->response;
  const server::TopicImage* topic;
  Error error = FindTopic(request.name(), request.topic_id(), &topic);
  if (error != Error::kNone) {
    FillError(error, "", response->mutable_error());
    co_return;
  }
  const ProposalResult result = co_await broker_.DeleteTopic(topic->id);
  if (!result.failure.ok()) {
    FillError(result.failure.error, result.failure.message, response->mutable_error());
    co_return;
  }
  response->mutable_delete_topic();
}

task::Task<void> Session::HandleDescribeTopic(server::Exchange* exchange, Scratch* scratch) {
  const auto& request = scratch->request->describe_topic();
  auto* response = scratch->response;
  const server::ImagePtr image = broker_.image();  // keeps `topic` while this waits
  const server::TopicImage* topic;
  const Error error = FindTopic(request.name(), request.topic_id(), &topic);
  if (error != Error::kNone) {
    FillError(error, "", response->mutable_error());
    co_return;
  }
  exchange->connection->ChargeWork(exchange, topic->partitions.size() * kWorkPerDescribed);
  auto* described = response->mutable_describe_topic();
  described->set_name(topic->name);
  SetBytes(topic->id, described->mutable_topic_id());
  for (const server::TopicConfigEntry& entry : server::ListTopicConfig(topic->config_entries)) {
    auto* out = described->add_configs();
    out->set_name(entry.name);
    out->set_value(entry.value);
    out->set_is_default(entry.is_default);
  }
  for (const server::PartitionStatus& status : co_await broker_.DescribeTopic(topic->id)) {
    if (static_cast<size_t>(status.id.partition) >= topic->partitions.size()) continue;
    auto* out = described->add_partitions();
    FillPartition(*topic, static_cast<uint32_t>(status.id.partition), out->mutable_metadata());
    if (!status.offline_reason.empty()) {
      FillError(Error::kStorageError, status.offline_reason, out->mutable_error());
    }
    out->set_log_start_offset(status.log_start.value());
    out->set_high_watermark(status.high_watermark.value());
    out->set_log_end_offset(status.log_end.value());
    out->set_log_bytes(static_cast<uint64_t>(status.log_bytes));
    out->set_segments(status.segments);
  }
}

}  // namespace ringtail::native
