// What tools ask about consumer groups. Native clients have no groups of their own.
#include <algorithm>
#include <optional>
#include <vector>

#include "server/group/coordinator.h"
#include "server/group/group_records.h"
#include "server/native/error_map.h"
#include "server/native/session.h"
#include "server/native/session_scratch.h"

namespace ringtail::native {

using base::Error;

namespace {

constexpr size_t kWorkPerListed = 256;
constexpr size_t kWorkPerOffset = 512;
constexpr size_t kWorkPerMember = 2048;

}  // namespace

task::Task<void> Session::HandleListGroups(server::Exchange* exchange, Scratch* scratch) {
  std::vector<group::ListedGroup> groups;
  const Error error = co_await broker_.groups().List(/*all_cores=*/true, &groups);
  if (error != Error::kNone) {
    FillError(error, "", scratch->response->mutable_error());
    co_return;
  }
  exchange->connection->ChargeWork(exchange, groups.size() * kWorkPerListed);
  std::sort(groups.begin(), groups.end(),
            [](const auto& left, const auto& right) { return left.id < right.id; });
  auto* response = scratch->response->mutable_list_groups();
  for (const group::ListedGroup& each : groups) {
    auto* out = response->add_groups();
    out->set_group(each.id);
    out->set_type(std::string(each.type));
    out->set_protocol_type(each.protocol_type);
    out->set_state(each.state.data(), each.state.size());
  }
}

// Where the partitions end of which something is committed.
task::Task<void> Session::FillEnds(proto::client::DescribeGroupResponse* described) {
  std::vector<server::OffsetItem> items;
  std::vector<proto::client::GroupOffset*> results;
  for (auto& each : *described->mutable_offsets()) {
    each.set_high_watermark(-1);
    const server::TopicImage* topic = broker_.image()->FindByName(each.topic());
    if (topic == nullptr) continue;
    items.push_back({.id = {topic->id, static_cast<int32_t>(each.partition())}});
    results.push_back(&each);
  }
  co_await broker_.ListOffsets(items);
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].result.error != Error::kNone) continue;
    results[i]->set_high_watermark(items[i].result.offset.value());
  }
}

void Session::FillClassic(const group::DescribedGroup& found,
                          proto::client::DescribeGroupResponse* response) const {
  response->set_type(std::string(group::kClassicType));
  response->set_protocol_type(found.protocol_type);
  response->set_protocol(found.protocol);
  response->set_state(found.state.data(), found.state.size());
  for (const group::DescribedMember& each : found.members) {
    auto* member = response->add_members();
    member->set_member_id(each.member_id);
    member->set_instance_id(each.instance_id.value_or(""));
    member->set_client_id(each.client_id);
    member->set_client_host(each.client_host);
    const auto assignment = group::DecodeAssignment(each.assignment);
    if (!assignment.has_value()) continue;  // of another kind of members
    for (const auto& [topic, partition] : assignment->partitions) {
      auto* assigned = member->add_partitions();
      assigned->set_topic(topic);
      assigned->set_partition(static_cast<uint32_t>(partition));
    }
  }
}

void Session::FillConsumer(const group::DescribedConsumerGroup& found,
                           proto::client::DescribeGroupResponse* response) const {
  response->set_type(std::string(group::kConsumerType));
  response->set_protocol_type(std::string(group::kConsumerProtocolType));
  response->set_protocol(std::string(found.assignor));
  response->set_state(found.state.data(), found.state.size());
  response->set_epoch(static_cast<uint32_t>(found.epoch));
  response->set_target_epoch(static_cast<uint32_t>(found.target_epoch));
  for (const group::DescribedConsumer& each : found.members) {
    auto* member = response->add_members();
    member->set_member_id(each.member_id);
    member->set_instance_id(each.instance_id.value_or(""));
    member->set_client_id(each.client_id);
    member->set_client_host(each.client_host);
    member->set_epoch(each.epoch);
    member->set_state(std::string(group::StateName(each.state)));
    member->set_target_size(static_cast<uint32_t>(each.target.size()));
    member->set_classic(each.classic);
    for (const partition::PartitionId& partition : each.assigned) {
      const server::TopicImage* topic = broker_.image()->FindById(partition.topic_id);
      if (topic == nullptr) continue;  // deleted, and not given up yet
      auto* assigned = member->add_partitions();
      assigned->set_topic(topic->name);
      assigned->set_partition(static_cast<uint32_t>(partition.partition));
    }
  }
}

task::Task<void> Session::HandleDescribeGroup(server::Exchange* exchange, Scratch* scratch) {
  const std::string& id = scratch->request->describe_group().group();
  group::Coordinator& groups = broker_.groups();
  const group::DescribedGroup classic = co_await groups.Describe(id);
  Error error = classic.error;
  group::DescribedConsumerGroup consumer;
  if (error == Error::kGroupNotFound) {
    consumer = co_await groups.DescribeConsumer(id);
    error = consumer.error;
  }
  group::FetchOffsetsReply offsets;
  if (error == Error::kNone) offsets = co_await groups.FetchOffsets({.group_id = id});
  if (error == Error::kNone) error = offsets.error;
  if (error != Error::kNone) {
    FillError(groups.HasTopic() ? error : Error::kGroupNotFound, "",
              scratch->response->mutable_error());
    co_return;
  }
  size_t assigned = 0;
  for (const group::DescribedConsumer& each : consumer.members) assigned += each.assigned.size();
  exchange->connection->ChargeWork(
      exchange, (offsets.offsets.size() + assigned) * kWorkPerOffset +
                    (classic.members.size() + consumer.members.size()) * kWorkPerMember);
  auto* response = scratch->response->mutable_describe_group();
  response->set_group(id);
  if (classic.error == Error::kNone) {
    FillClassic(classic, response);
  } else {
    FillConsumer(consumer, response);
  }
  for (const group::FetchedOffset& each : offsets.offsets) {
    auto* out = response->add_offsets();
    out->set_topic(each.topic);
    out->set_partition(static_cast<uint32_t>(each.partition));
    out->set_committed(each.committed.offset);
  }
  co_await FillEnds(response);
}

task::Task<void> Session::HandleCommitOffsets(server::Exchange* exchange, Scratch* scratch) {
  const auto& request = scratch->request->commit_offsets();
  auto* response = scratch->response;
  exchange->connection->ChargeWork(exchange,
                                   static_cast<size_t>(request.offsets_size()) * kWorkPerOffset);
  std::vector<group::OffsetToCommit> offsets;
  for (const auto& each : request.offsets()) {
    partition::PartitionId id;
    const Error error = Resolve(each.topic(), "", each.partition(), &id);
    if (error != Error::kNone || request.group().empty() || each.offset() < 0) {
      FillError(error != Error::kNone ? error : Error::kInvalidRequest, "",
                response->mutable_error());
      co_return;
    }
    offsets.push_back({.topic = each.topic(),
                       .partition = static_cast<int32_t>(each.partition()),
                       .offset = each.offset()});
  }
  Error error = co_await broker_.groups().EnsureTopic();
  if (error == Error::kNone) {
    co_await broker_.groups().Commit({.group_id = request.group()}, offsets);
    for (const group::OffsetToCommit& each : offsets) {
      if (each.error != Error::kNone) error = each.error;
    }
  }
  // Nobody but its members commits for a group that has any.
  if (error == Error::kUnknownMember) error = Error::kGroupNotEmpty;
  if (error != Error::kNone) {
    FillError(error, "", response->mutable_error());
    co_return;
  }
  response->mutable_commit_offsets();
}

task::Task<void> Session::HandleDeleteGroup(Scratch* scratch) {
  const Error error =
      co_await broker_.groups().DeleteGroup(scratch->request->delete_group().group());
  if (error == Error::kNone) {
    scratch->response->mutable_delete_group();
    co_return;
  }
  FillError(broker_.groups().HasTopic() ? error : Error::kGroupNotFound, "",
            scratch->response->mutable_error());
}

}  // namespace ringtail::native
