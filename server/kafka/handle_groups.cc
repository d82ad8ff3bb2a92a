// Consumer groups, as their members see them: FindCoordinator, JoinGroup, SyncGroup, Heartbeat,
// LeaveGroup. What the requests mean is server/group's affair.
#include <string>
#include <vector>

#include "server/group/coordinator.h"
#include "server/kafka/client_host.h"
#include "server/kafka/session.h"

namespace ringtail::kafka {

using base::Error;

namespace {

constexpr int16_t kJoinWithMemberId = 4;  // the first version that knows MEMBER_ID_REQUIRED
constexpr int16_t kJoinWithSkip = 9;      // SkipAssignment
constexpr int16_t kJoinWithNullProtocol = 7;
constexpr int16_t kLeaveOfSeveral = 3;
constexpr int16_t kFindSeveral = 4;

std::optional<absl::string_view> Copied(Arena& arena, const std::optional<std::string>& text) {
  if (!text.has_value()) return std::nullopt;
  return arena.CopyText(*text);
}

struct Found {
  ErrorCode code = ErrorCode::kNone;
  absl::string_view why;
  int32_t node_id = -1;
  absl::string_view host;
  int32_t port = -1;
};

}  // namespace

task::Task<void> Session::HandleFindCoordinator(Call* call) {
  constexpr int8_t kGroup = 0;
  constexpr int8_t kTransaction = 1;
  FindCoordinatorRequest request;
  if (!DecodeBody(call, &request)) co_return;
  Error error = Error::kNone;
  if (request.key_type == kGroup) error = co_await broker_.groups().EnsureTopic();
  const server::ImagePtr image = broker_.image();
  const std::vector<server::Node> nodes =
      endpoints_.Nodes(image->broker_id(), server::ListenerKind::kKafka);
  const auto find = [&](absl::string_view key) {
    if (request.key_type == kTransaction) {
      // Clients take this code as final; others they retry for ever.
      return Found{.code = ErrorCode::kTransactionalIdAuthorizationFailed,
                   .why = "this broker has no transactions"};
    }
    if (request.key_type != kGroup) {
      return Found{.code = ErrorCode::kInvalidRequest,
                   .why =
                       "a key type that this broker does not know; it knows groups (0) and "
                       "transactions (1)"};
    }
    base::CoreId core;
    const Error located = error != Error::kNone ? error : broker_.groups().Locate(key, &core);
    if (located != Error::kNone) {
      return Found{.code = ToErrorCode(located), .why = base::ErrorText(located)};
    }
    const int32_t id = endpoints_.NodeOf(image->broker_id(), core);
    for (const server::Node& node : nodes) {
      if (node.id == id) return Found{.node_id = id, .host = node.host, .port = node.port};
    }
    return Found{.code = ErrorCode::kCoordinatorNotAvailable};
  };
  FindCoordinatorResponse response;
  if (call->version < kFindSeveral) {
    const Found found = find(request.key);
    response.error_code = Wire(found.code);
    if (found.code != ErrorCode::kNone) response.error_message = found.why;
    response.node_id = found.node_id;
    response.host = call->arena.CopyText(found.host);
    response.port = found.port;
  }
  for (const absl::string_view key : request.coordinator_keys) {
    const Found found = find(key);
    auto& out = response.coordinators.Add(call->arena);
    out.key = key;
    out.node_id = found.node_id;
    out.host = call->arena.CopyText(found.host);
    out.port = found.port;
    out.error_code = Wire(found.code);
    if (found.code != ErrorCode::kNone) out.error_message = found.why;
  }
  Respond(call, response);
}

task::Task<void> Session::HandleJoinGroup(Call* call) {
  JoinGroupRequest request;
  if (!DecodeBody(call, &request)) co_return;
  Arena& arena = call->arena;
  std::vector<group::ProtocolView> protocols;
  protocols.reserve(request.protocols.size());
  for (const auto& each : request.protocols) {
    protocols.push_back({.name = each.name, .metadata = base::AsText(each.metadata)});
  }
  const std::string host = ClientHost(call->exchange->connection->peer());
  const absl::string_view client_id = call->request.header.client_id.value_or("");
  const group::JoinRequest join{.group_id = request.group_id,
                                .member = {request.member_id, request.group_instance_id},
                                .client_id = client_id.substr(0, kClientIdBytesMax),
                                .client_host = host,
                                .session_timeout_ms = request.session_timeout_ms,
                                // Version 0 has none: a rebalance may take as long as a session.
                                .rebalance_timeout_ms = request.rebalance_timeout_ms < 0
                                                            ? request.session_timeout_ms
                                                            : request.rebalance_timeout_ms,
                                .protocol_type = request.protocol_type,
                                .protocols = protocols,
                                .takes_member_id = call->version >= kJoinWithMemberId,
                                .skips_assignment = call->version >= kJoinWithSkip,
                                .reason = request.reason.value_or("")};
  const group::JoinReply reply = co_await broker_.groups().Join(call->exchange->context, join);
  if (Gone(call)) co_return;
  JoinGroupResponse response;
  response.error_code = Wire(ToErrorCode(reply.error));
  response.generation_id = reply.generation;
  response.protocol_type = Copied(arena, reply.protocol_type);
  response.protocol_name = Copied(arena, reply.protocol_name);
  if (call->version < kJoinWithNullProtocol && !response.protocol_name.has_value()) {
    response.protocol_name = "";
  }
  response.leader = reply.leader;
  response.skip_assignment = reply.skip_assignment;
  response.member_id = reply.member_id;
  response.members.Reserve(arena, reply.members.size());
  for (const group::JoinedMember& each : reply.members) {
    auto& out = response.members.Add(arena);
    out.member_id = each.member_id;
    out.group_instance_id = each.instance_id;
    out.metadata = Bytes(base::AsBytes(each.metadata));
  }
  Respond(call, response);
}

task::Task<void> Session::HandleSyncGroup(Call* call) {
  SyncGroupRequest request;
  if (!DecodeBody(call, &request)) co_return;
  std::vector<group::AssignmentView> assignments;
  assignments.reserve(request.assignments.size());
  for (const auto& each : request.assignments) {
    assignments.push_back(
        {.member_id = each.member_id, .assignment = base::AsText(each.assignment)});
  }
  const group::SyncRequest sync{.group_id = request.group_id,
                                .member = {request.member_id, request.group_instance_id},
                                .generation = request.generation_id,
                                .protocol_type = request.protocol_type,
                                .protocol_name = request.protocol_name,
                                .assignments = assignments};
  const group::SyncReply reply = co_await broker_.groups().Sync(call->exchange->context, sync);
  if (Gone(call)) co_return;
  SyncGroupResponse response;
  response.error_code = Wire(ToErrorCode(reply.error));
  response.protocol_type = Copied(call->arena, reply.protocol_type);
  response.protocol_name = Copied(call->arena, reply.protocol_name);
  response.assignment = Bytes(base::AsBytes(reply.assignment));
  Respond(call, response);
}

task::Task<void> Session::HandleHeartbeat(Call* call) {
  HeartbeatRequest request;
  if (!DecodeBody(call, &request)) co_return;
  const group::HeartbeatRequest heartbeat{.group_id = request.group_id,
                                          .member = {request.member_id, request.group_instance_id},
                                          .generation = request.generation_id};
  HeartbeatResponse response;
  response.error_code = Wire(ToErrorCode(co_await broker_.groups().Heartbeat(heartbeat)));
  Respond(call, response);
}

task::Task<void> Session::HandleLeaveGroup(Call* call) {
  LeaveGroupRequest request;
  if (!DecodeBody(call, &request)) co_return;
  std::vector<group::MemberName> members;
  if (call->version < kLeaveOfSeveral) members.push_back({request.member_id, std::nullopt});
  for (const auto& each : request.members) {
    members.push_back({each.member_id, each.group_instance_id});
  }
  const group::LeaveRequest leave{.group_id = request.group_id, .members = members};
  const group::LeaveReply reply = co_await broker_.groups().Leave(leave);
  LeaveGroupResponse response;
  response.error_code = Wire(ToErrorCode(reply.error));
  if (call->version < kLeaveOfSeveral && reply.error == Error::kNone) {
    response.error_code = Wire(ToErrorCode(reply.members[0]));
  }
  if (call->version >= kLeaveOfSeveral && reply.error == Error::kNone) {
    response.members.Reserve(call->arena, members.size());
    for (size_t i = 0; i < members.size(); ++i) {
      auto& out = response.members.Add(call->arena);
      out.member_id = members[i].member_id;
      out.group_instance_id = members[i].instance_id;
      out.error_code = Wire(ToErrorCode(reply.members[i]));
    }
  }
  Respond(call, response);
}

// Whoever waited for a group is not there any more, or the broker is going down: a JoinGroup that
// is cut off so is asked again at the next connection.
bool Session::Gone(Call* call) {
  const partition::CancelToken* cancel = call->exchange->context.cancel;
  if (cancel == nullptr || !cancel->cancelled()) return false;
  call->exchange->reply.close_after = true;
  return true;
}

}  // namespace ringtail::kafka
