// CreateTopics, CreatePartitions, DeleteTopics and DeleteRecords.
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/kafka/configs.h"
#include "server/kafka/session.h"

namespace ringtail::kafka {

using base::Error;
using server::ProposalResult;

namespace {

constexpr size_t kWorkPerCreatedTopic = 4096;  // its configs, in the response
constexpr size_t kWorkPerGrownTopic = 1024;

}  // namespace

task::Task<void> Session::CreateOne(Call* call, const CreateTopicsRequest::CreatableTopic& wanted,
                                    bool validate_only,
                                    CreateTopicsResponse::CreatableTopicResult* out) {
  Arena& arena = call->arena;
  out->name = wanted.name;
  out->error_message = std::nullopt;
  const auto refuse = [&](Error error, absl::string_view why) {
    out->error_code = Wire(ToErrorCode(error));
    out->error_message = arena.CopyText(why);
    out->configs = std::nullopt;
  };
  if (!wanted.assignments.empty()) {
    out->error_code = Wire(ErrorCode::kInvalidReplicaAssignment);
    out->error_message = "a broker on its own assigns all partitions to itself";
    out->configs = std::nullopt;
    co_return;
  }
  if (wanted.replication_factor != -1 && wanted.replication_factor != 1) {
    refuse(Error::kInvalidReplication,
           absl::StrCat("replication factor ", wanted.replication_factor,
                        " needs as many brokers; this one is alone"));
    co_return;
  }
  if (wanted.num_partitions < 1 && wanted.num_partitions != -1) {
    refuse(Error::kInvalidPartitions,
           absl::StrCat("a topic has at least 1 partition, got ", wanted.num_partitions));
    co_return;
  }
  server::CreateTopicProposal proposal{.name = std::string(wanted.name),
                                       .partitions = broker_.topic_defaults().partitions,
                                       .validate_only = validate_only};
  if (wanted.num_partitions > 0) {
    proposal.partitions = static_cast<uint32_t>(wanted.num_partitions);
  }
  for (const auto& config : wanted.configs) {
    if (!config.value.has_value()) continue;  // null asks for the default
    proposal.configs[std::string(config.name)] = std::string(*config.value);
  }
  const auto configs = proposal.configs;
  const auto partitions = static_cast<int32_t>(proposal.partitions);
  const ProposalResult result = co_await broker_.CreateTopic(std::move(proposal));
  if (!result.failure.ok()) {
    refuse(result.failure.error, result.failure.message);
    co_return;
  }
  out->topic_id = result.topic_id;
  out->num_partitions = partitions;
  out->replication_factor = 1;
  for (const ShownConfig& shown : ShowTopicConfig(broker_, configs)) {
    auto& config = out->configs->Add(arena);
    config.name = shown.definition->name;
    config.value = arena.CopyText(shown.value);
    config.config_source = Wire(shown.source);
  }
}

task::Task<void> Session::HandleCreateTopics(Call* call) {
  CreateTopicsRequest request;
  if (!DecodeBody(call, &request)) co_return;
  std::map<absl::string_view, int> named;
  for (const auto& wanted : request.topics) ++named[wanted.name];
  call->exchange->connection->ChargeWork(call->exchange,
                                         request.topics.size() * kWorkPerCreatedTopic);
  CreateTopicsResponse response;
  response.topics.Reserve(call->arena, request.topics.size());
  for (const auto& wanted : request.topics) {
    auto& out = response.topics.Add(call->arena);
    if (named[wanted.name] > 1) {
      out.name = wanted.name;
      out.error_code = Wire(ErrorCode::kInvalidRequest);
      out.error_message = "the request names this topic more than once";
      out.configs = std::nullopt;
      continue;
    }
    co_await CreateOne(call, wanted, request.validate_only, &out);
  }
  Respond(call, response);
}

task::Task<void> Session::HandleCreatePartitions(Call* call) {
  CreatePartitionsRequest request;
  if (!DecodeBody(call, &request)) co_return;
  call->exchange->connection->ChargeWork(call->exchange,
                                         request.topics.size() * kWorkPerGrownTopic);
  std::map<absl::string_view, int> named;
  for (const auto& wanted : request.topics) ++named[wanted.name];
  CreatePartitionsResponse response;
  response.results.Reserve(call->arena, request.topics.size());
  std::vector<server::AlterTopicProposal> proposals;
  std::vector<size_t> proposed;  // which of the results
  for (const auto& wanted : request.topics) {
    auto& out = response.results.Add(call->arena);
    out.name = wanted.name;
    const auto refuse = [&](ErrorCode code, absl::string_view why) {
      out.error_code = Wire(code);
      out.error_message = call->arena.CopyText(why);
    };
    const server::TopicImage* topic;
    const Error error = FindTopic(wanted.name, {}, /*by_id=*/false, &topic);
    if (named[wanted.name] > 1) {
      refuse(ErrorCode::kInvalidRequest, "the request names this topic more than once");
    } else if (error != Error::kNone) {
      refuse(ToErrorCode(error), base::ErrorText(error));
    } else if (wanted.assignments.has_value()) {
      refuse(ErrorCode::kInvalidReplicaAssignment,
             "a broker on its own assigns all partitions to itself");
    } else if (wanted.count < 1) {
      refuse(ErrorCode::kInvalidPartitions,
             absl::StrCat("a topic has at least 1 partition, got ", wanted.count));
    } else {
      proposals.push_back({.topic_id = topic->id,
                           .partitions = static_cast<uint32_t>(wanted.count),
                           .validate_only = request.validate_only});
      proposed.push_back(response.results.size() - 1);
    }
  }
  if (!proposals.empty()) {
    const auto results = co_await broker_.AlterTopics(std::move(proposals));
    for (size_t i = 0; i < results.size(); ++i) {
      const base::Failure& failure = results[i].failure;
      if (failure.ok()) continue;
      auto& out = response.results[proposed[i]];
      out.error_code = Wire(ToErrorCode(failure.error));
      out.error_message = call->arena.CopyText(failure.message);
    }
  }
  Respond(call, response);
}

task::Task<void> Session::HandleDeleteTopics(Call* call) {
  DeleteTopicsRequest request;
  if (!DecodeBody(call, &request)) co_return;
  Arena& arena = call->arena;
  // One list for both ways to name a topic.
  Array<DeleteTopicsRequest::DeleteTopicState> wanted = request.topics;
  for (const absl::string_view name : request.topic_names) wanted.Add(arena).name = name;
  DeleteTopicsResponse response;
  response.responses.Reserve(arena, wanted.size());
  for (const auto& each : wanted) {
    auto& out = response.responses.Add(arena);
    const bool by_id = !each.name.has_value();
    const server::TopicImage* topic;
    const server::ImagePtr image = broker_.image();  // keeps `topic` while this waits
    const Error error = FindTopic(each.name.value_or(""), each.topic_id, by_id, &topic);
    out.topic_id = each.topic_id;
    out.name = by_id ? std::nullopt : each.name;
    if (error != Error::kNone) {
      out.error_code = Wire(ToErrorCode(error));
      continue;
    }
    out.topic_id = topic->id;
    out.name = arena.CopyText(topic->name);
    const ProposalResult result = co_await broker_.DeleteTopic(topic->id);
    out.error_code = Wire(ToErrorCode(result.failure.error));
    if (!result.failure.ok()) out.error_message = arena.CopyText(result.failure.message);
  }
  Respond(call, response);
}

task::Task<void> Session::HandleDeleteRecords(Call* call) {
  DeleteRecordsRequest request;
  if (!DecodeBody(call, &request)) co_return;
  Arena& arena = call->arena;
  DeleteRecordsResponse response;
  response.topics.Reserve(arena, request.topics.size());
  std::vector<server::DeleteRecordsItem> items;
  for (const auto& wanted : request.topics) {
    const server::TopicImage* topic;
    const Error error = FindTopic(wanted.name, {}, /*by_id=*/false, &topic);
    auto& topic_out = response.topics.Add(arena);
    topic_out.name = wanted.name;
    topic_out.partitions.Reserve(arena, wanted.partitions.size());
    for (const auto& each : wanted.partitions) {
      auto& out = topic_out.partitions.Add(arena);
      out.partition_index = each.partition_index;
      out.low_watermark = -1;
      out.error_code = Wire(ToErrorCode(error));
      if (error != Error::kNone) continue;
      items.push_back(
          {.id = {topic->id, each.partition_index}, .before = base::Offset(each.offset)});
    }
  }
  co_await broker_.DeleteRecords(items);
  size_t next = 0;
  for (auto& topic_out : response.topics) {
    for (auto& out : topic_out.partitions) {
      if (out.error_code != 0) continue;
      const partition::OffsetResult& result = items[next++].result;
      out.error_code = Wire(ToErrorCode(result.error));
      out.low_watermark = result.offset.value();
    }
  }
  Respond(call, response);
}

}  // namespace ringtail::kafka
