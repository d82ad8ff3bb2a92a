// What admin tools ask about groups: DescribeGroups, ListGroups, DeleteGroups.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "server/group/coordinator.h"
#include "server/kafka/session.h"

namespace ringtail::kafka {

using base::Error;

namespace {

constexpr int16_t kDescribeWithNotFound = 6;
// Read (3), delete (6) and describe (8), as bits: without ACLs everybody may do all.
constexpr int32_t kAllOperations = (1 << 3) | (1 << 6) | (1 << 8);

bool Passes(const Array<absl::string_view>& filter, absl::string_view value) {
  return filter.empty() || std::any_of(filter.begin(), filter.end(), [&](absl::string_view each) {
           return absl::EqualsIgnoreCase(each, value);
         });
}

}  // namespace

task::Task<void> Session::HandleDescribeGroups(Call* call) {
  DescribeGroupsRequest request;
  if (!DecodeBody(call, &request)) co_return;
  Arena& arena = call->arena;
  DescribeGroupsResponse response;
  response.groups.Reserve(arena, request.groups.size());
  for (const absl::string_view group_id : request.groups) {
    // ChargeWork may have ended the connection.
    if (call->exchange->context.cancel->cancelled()) break;
    const size_t used = arena.used_bytes();
    const group::DescribedGroup found = co_await broker_.groups().Describe(group_id);
    auto& out = response.groups.Add(arena);
    out.group_id = group_id;
    out.group_state = found.state;
    if (found.error == Error::kGroupNotFound && call->version < kDescribeWithNotFound) {
      continue;  // "Dead" says it
    }
    out.error_code = Wire(ToErrorCode(found.error));
    if (found.error != Error::kNone && call->version >= kDescribeWithNotFound) {
      out.error_message = base::ErrorText(found.error);
    }
    out.protocol_type = arena.CopyText(found.protocol_type);
    out.protocol_data = arena.CopyText(found.protocol);
    if (request.include_authorized_operations) out.authorized_operations = kAllOperations;
    out.members.Reserve(arena, found.members.size());
    for (const group::DescribedMember& each : found.members) {
      auto& member = out.members.Add(arena);
      member.member_id = arena.CopyText(each.member_id);
      if (each.instance_id.has_value())
        member.group_instance_id = arena.CopyText(*each.instance_id);
      member.client_id = arena.CopyText(each.client_id);
      member.client_host = arena.CopyText(each.client_host);
      member.member_metadata = Bytes(base::AsBytes(arena.CopyText(each.metadata)));
      member.member_assignment = Bytes(base::AsBytes(arena.CopyText(each.assignment)));
    }
    // As often as the request names it, with all that its members have said.
    call->exchange->connection->ChargeWork(call->exchange, arena.used_bytes() - used);
  }
  Respond(call, response);
}

// With a node for each core, each node tells of its own groups: tools ask all of them.
task::Task<void> Session::HandleListGroups(Call* call) {
  ListGroupsRequest request;
  if (!DecodeBody(call, &request)) co_return;
  Arena& arena = call->arena;
  ListGroupsResponse response;
  std::vector<group::ListedGroup> groups;
  const Error error = co_await broker_.groups().List(!endpoints_.advertise_cores, &groups);
  response.error_code = Wire(ToErrorCode(error));
  if (error != Error::kNone) groups.clear();
  for (const group::ListedGroup& each : groups) {
    if (!Passes(request.states_filter, each.state)) continue;
    if (!Passes(request.types_filter, each.type)) continue;
    auto& out = response.groups.Add(arena);
    out.group_id = arena.CopyText(each.id);
    out.protocol_type = arena.CopyText(each.protocol_type);
    out.group_state = each.state;
    out.group_type = each.type;
  }
  Respond(call, response);
}

task::Task<void> Session::HandleDeleteGroups(Call* call) {
  DeleteGroupsRequest request;
  if (!DecodeBody(call, &request)) co_return;
  DeleteGroupsResponse response;
  response.results.Reserve(call->arena, request.groups_names.size());
  for (const absl::string_view group_id : request.groups_names) {
    auto& out = response.results.Add(call->arena);
    out.group_id = group_id;
    out.error_code = Wire(ToErrorCode(co_await broker_.groups().DeleteGroup(group_id)));
  }
  Respond(call, response);
}

}  // namespace ringtail::kafka
