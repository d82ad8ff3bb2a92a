// Consumer groups of the next-generation protocol (KIP-848): ConsumerGroupHeartbeat and
// ConsumerGroupDescribe. What the requests mean is server/group's affair.
#include <string>
#include <utility>
#include <vector>

#include "server/group/coordinator.h"
#include "server/kafka/client_host.h"
#include "server/kafka/session.h"

namespace ringtail::kafka {

using base::Error;

namespace {

constexpr int16_t kHeartbeatWithMemberId = 1;  // of the client's making
constexpr int8_t kClassicMember = 0;
constexpr int8_t kConsumerMember = 1;
// Read (3) and describe (8), as bits, besides delete (6): without ACLs everybody may do all.
constexpr int32_t kAllOperations = (1 << 3) | (1 << 6) | (1 << 8);

// Both answers have partitions by topic; that of a description has the topics' names, too.
template <class Topics, class Name>
void FillByTopic(const group::PartitionSet& partitions, Arena& arena, Name name, Topics* topics) {
  group::ForEachTopic(partitions, [&](const base::Uuid& topic, auto begin, auto end) {
    auto& out = topics->Add(arena);
    out.topic_id = topic;
    name(&out);
    out.partitions.Reserve(arena, static_cast<size_t>(end - begin));
    for (auto each = begin; each != end; ++each) out.partitions.Add(arena) = each->partition;
  });
}

std::optional<absl::string_view> Copied(Arena& arena, const std::optional<std::string>& text) {
  if (!text.has_value()) return std::nullopt;
  return arena.CopyText(*text);
}

absl::string_view Message(Error error, const std::string& special, Arena& arena) {
  return special.empty() ? base::ErrorText(error) : arena.CopyText(special);
}

}  // namespace

task::Task<void> Session::HandleConsumerGroupHeartbeat(Call* call) {
  ConsumerGroupHeartbeatRequest request;
  if (!DecodeBody(call, &request)) co_return;
  Arena& arena = call->arena;
  const std::string host = ClientHost(call->exchange->connection->peer());
  const absl::string_view client_id = call->request.header.client_id.value_or("");
  group::ConsumerHeartbeat heartbeat{.group_id = request.group_id,
                                     .member_id = request.member_id,
                                     .member_epoch = request.member_epoch,
                                     .instance_id = request.instance_id,
                                     .rack_id = request.rack_id,
                                     .rebalance_timeout_ms = request.rebalance_timeout_ms,
                                     .regex = request.subscribed_topic_regex,
                                     .assignor = request.server_assignor,
                                     .client_id = client_id.substr(0, kClientIdBytesMax),
                                     .client_host = host,
                                     .names_itself = call->version >= kHeartbeatWithMemberId};
  std::vector<absl::string_view> topics;
  if (request.subscribed_topic_names.has_value()) {
    topics.assign(request.subscribed_topic_names->begin(), request.subscribed_topic_names->end());
    heartbeat.topics = topics;
  }
  if (request.topic_partitions.has_value()) {
    group::PartitionSet& owned = heartbeat.owned.emplace();
    for (const auto& topic : *request.topic_partitions) {
      for (const int32_t partition : topic.partitions) owned.push_back({topic.topic_id, partition});
    }
    group::Normalize(&owned);
  }
  const group::ConsumerHeartbeatReply reply =
      co_await broker_.groups().HeartbeatConsumer(call->exchange->context, std::move(heartbeat));
  if (Gone(call)) co_return;
  ConsumerGroupHeartbeatResponse response;
  response.error_code = Wire(ToErrorCode(reply.error));
  if (reply.error != Error::kNone) {
    response.error_message = Message(reply.error, reply.message, arena);
    co_return Respond(call, response);
  }
  response.member_id = reply.member_id;
  response.member_epoch = reply.member_epoch;
  response.heartbeat_interval_ms = broker_.groups().options().consumer.heartbeat_interval_ms;
  if (reply.assignment.has_value()) {
    auto& assignment = response.assignment.emplace();
    FillByTopic(*reply.assignment, arena, [](auto*) {}, &assignment.topic_partitions);
  }
  Respond(call, response);
}

task::Task<void> Session::HandleConsumerGroupDescribe(Call* call) {
  ConsumerGroupDescribeRequest request;
  if (!DecodeBody(call, &request)) co_return;
  Arena& arena = call->arena;
  const server::ImagePtr image = broker_.image();
  // A topic that is gone has no name any more.
  const auto name = [&](auto* topic) {
    const server::TopicImage* found = image->FindById(topic->topic_id);
    if (found != nullptr) topic->topic_name = found->name;
  };
  ConsumerGroupDescribeResponse response;
  response.groups.Reserve(arena, request.group_ids.size());
  for (const absl::string_view group_id : request.group_ids) {
    // ChargeWork may have ended the connection.
    if (call->exchange->context.cancel->cancelled()) break;
    const size_t used = arena.used_bytes();
    const group::DescribedConsumerGroup found =
        co_await broker_.groups().DescribeConsumer(group_id);
    auto& out = response.groups.Add(arena);
    out.group_id = group_id;
    out.error_code = Wire(ToErrorCode(found.error));
    if (found.error != Error::kNone) {
      out.error_message = Message(found.error, found.message, arena);
      continue;
    }
    out.group_state = found.state;
    out.group_epoch = found.epoch;
    out.assignment_epoch = found.target_epoch;
    out.assignor_name = found.assignor;
    if (request.include_authorized_operations) out.authorized_operations = kAllOperations;
    out.members.Reserve(arena, found.members.size());
    for (const group::DescribedConsumer& each : found.members) {
      auto& member = out.members.Add(arena);
      member.member_id = arena.CopyText(each.member_id);
      member.instance_id = Copied(arena, each.instance_id);
      member.rack_id = Copied(arena, each.rack_id);
      member.member_epoch = each.epoch;
      member.client_id = arena.CopyText(each.client_id);
      member.client_host = arena.CopyText(each.client_host);
      for (const std::string& topic : each.topics) {
        member.subscribed_topic_names.Add(arena) = arena.CopyText(topic);
      }
      member.subscribed_topic_regex = Copied(arena, each.regex);
      FillByTopic(each.assigned, arena, name, &member.assignment.topic_partitions);
      FillByTopic(each.target, arena, name, &member.target_assignment.topic_partitions);
      member.member_type = each.classic ? kClassicMember : kConsumerMember;
    }
    // As often as the request names it, with all that its members subscribe to.
    call->exchange->connection->ChargeWork(call->exchange, arena.used_bytes() - used);
  }
  Respond(call, response);
}

}  // namespace ringtail::kafka
