// What a client can ask about consumer groups.
#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "tools/client/client.h"

namespace ringtail::client {

absl::StatusOr<std::vector<GroupListing>> Client::ListGroups() {
  wire::RequestHeader request;
  request.mutable_list_groups();
  wire::ResponseHeader response;
  RT_RETURN_IF_ERROR(
      Annotate(CallBootstrap(&request, &response, Repeat::kIfRetriable), "list groups"));
  std::vector<GroupListing> groups;
  for (const wire::GroupListing& each : response.list_groups().groups()) {
    groups.push_back({each.group(), each.protocol_type(), each.state(), each.type()});
  }
  return groups;
}

absl::StatusOr<GroupDescription> Client::DescribeGroup(absl::string_view group) {
  wire::RequestHeader request;
  request.mutable_describe_group()->set_group(std::string(group));
  wire::ResponseHeader response;
  RT_RETURN_IF_ERROR(Annotate(CallBootstrap(&request, &response, Repeat::kIfRetriable),
                              absl::StrCat("describe group '", group, "'")));
  const wire::DescribeGroupResponse& from = response.describe_group();
  GroupDescription described{.group = from.group(),
                             .protocol_type = from.protocol_type(),
                             .protocol = from.protocol(),
                             .state = from.state(),
                             .type = from.type(),
                             .epoch = from.epoch(),
                             .target_epoch = from.target_epoch()};
  for (const wire::GroupMember& each : from.members()) {
    GroupMember& member = described.members.emplace_back();
    member = {each.member_id(), each.instance_id(), each.client_id(), each.client_host()};
    member.epoch = each.epoch();
    member.state = each.state();
    member.target_size = each.target_size();
    member.classic = each.classic();
    for (const wire::AssignedPartition& assigned : each.partitions()) {
      member.partitions.emplace_back(assigned.topic(), static_cast<int32_t>(assigned.partition()));
    }
  }
  for (const wire::GroupOffset& each : from.offsets()) {
    described.offsets.push_back({.topic = each.topic(),
                                 .partition = static_cast<int32_t>(each.partition()),
                                 .committed = each.committed(),
                                 .high_watermark = each.high_watermark()});
  }
  return described;
}

absl::Status Client::CommitOffsets(absl::string_view group,
                                   const std::vector<GroupOffset>& offsets) {
  wire::RequestHeader request;
  wire::CommitOffsetsRequest* commit = request.mutable_commit_offsets();
  commit->set_group(std::string(group));
  for (const GroupOffset& each : offsets) {
    wire::OffsetToCommit* out = commit->add_offsets();
    out->set_topic(each.topic);
    out->set_partition(static_cast<uint32_t>(each.partition));
    out->set_offset(each.committed);
  }
  wire::ResponseHeader response;
  return Annotate(CallBootstrap(&request, &response, Repeat::kIfRetriable),
                  absl::StrCat("commit offsets of group '", group, "'"));
}

absl::Status Client::DeleteGroup(absl::string_view group) {
  wire::RequestHeader request;
  request.mutable_delete_group()->set_group(std::string(group));
  wire::ResponseHeader response;
  return Annotate(CallBootstrap(&request, &response, Repeat::kNever),
                  absl::StrCat("delete group '", group, "'"));
}

}  // namespace ringtail::client
