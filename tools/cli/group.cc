// ringtail group list|describe|reset-offsets|delete
#include <stdio.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/result.h"
#include "nlohmann/json.hpp"
#include "tools/cli/cli.h"

namespace ringtail::cli {
namespace {

struct GroupOptions {
  std::string name;
  std::string topic;
  std::vector<int32_t> partitions;
  std::string to;
  bool dry_run = false;
  bool json = false;
};

absl::Status List(const Context& context, const GroupOptions& options) {
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  RT_ASSIGN_OR_RETURN(const std::vector<client::GroupListing> groups, client->ListGroups());
  if (options.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const client::GroupListing& each : groups) {
      list.push_back({{"group", each.group},
                      {"state", each.state},
                      {"type", each.type},
                      {"protocol_type", each.protocol_type}});
    }
    printf("%s\n", list.dump(2).c_str());
    return absl::OkStatus();
  }
  for (const client::GroupListing& each : groups) {
    printf("%-40s %-20s %s\n", each.group.c_str(), each.state.c_str(), each.type.c_str());
  }
  return absl::OkStatus();
}

int64_t LagOf(const client::GroupOffset& offset) {
  return offset.high_watermark < 0 ? -1
                                   : std::max<int64_t>(offset.high_watermark - offset.committed, 0);
}

bool IsConsumer(const client::GroupDescription& group) { return group.type == "consumer"; }

// What a member of a consumer group is at.
std::string Progress(const client::GroupDescription& group, const client::GroupMember& member) {
  if (!IsConsumer(group)) return "";
  if (member.epoch < 0) return ", away";
  return absl::StrCat(member.classic ? ", classic protocol" : "", ", epoch ", member.epoch, " ",
                      member.state, " (", member.partitions.size(), " of ", member.target_size,
                      " partitions)");
}

void PrintJson(const client::GroupDescription& group) {
  nlohmann::json members = nlohmann::json::array();
  for (const client::GroupMember& each : group.members) {
    nlohmann::json partitions = nlohmann::json::array();
    for (const auto& [topic, partition] : each.partitions) {
      partitions.push_back({{"topic", topic}, {"partition", partition}});
    }
    nlohmann::json member = {{"member_id", each.member_id},
                             {"instance_id", each.instance_id},
                             {"client_id", each.client_id},
                             {"host", each.client_host},
                             {"partitions", std::move(partitions)}};
    if (IsConsumer(group)) {
      member["epoch"] = each.epoch;
      member["state"] = each.state;
      member["target_size"] = each.target_size;
      member["protocol"] = each.classic ? "classic" : "consumer";
    }
    members.push_back(std::move(member));
  }
  nlohmann::json offsets = nlohmann::json::array();
  for (const client::GroupOffset& each : group.offsets) {
    nlohmann::json offset = {
        {"topic", each.topic}, {"partition", each.partition}, {"committed", each.committed}};
    if (each.high_watermark >= 0) {
      offset["high_watermark"] = each.high_watermark;
      offset["lag"] = LagOf(each);
    }
    offsets.push_back(std::move(offset));
  }
  nlohmann::json all = {{"group", group.group},         {"state", group.state},
                        {"type", group.type},           {"protocol_type", group.protocol_type},
                        {"protocol", group.protocol},   {"members", std::move(members)},
                        {"offsets", std::move(offsets)}};
  if (IsConsumer(group)) {
    all["epoch"] = group.epoch;
    all["target_epoch"] = group.target_epoch;
  }
  printf("%s\n", all.dump(2).c_str());
}

absl::Status Describe(const Context& context, const GroupOptions& options) {
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  RT_ASSIGN_OR_RETURN(const client::GroupDescription group, client->DescribeGroup(options.name));
  if (options.json) {
    PrintJson(group);
    return absl::OkStatus();
  }
  const std::string epochs =
      IsConsumer(group)
          ? absl::StrCat(", epoch ", group.epoch, ", assignment epoch ", group.target_epoch)
          : "";
  printf("group %s: %s, %s%s%s%s, %zu member%s\n", group.group.c_str(), group.type.c_str(),
         group.state.c_str(), group.protocol.empty() ? "" : ", ", group.protocol.c_str(),
         epochs.c_str(), group.members.size(), group.members.size() == 1 ? "" : "s");
  for (const client::GroupMember& each : group.members) {
    std::map<std::string, std::vector<int32_t>> by_topic;
    for (const auto& [topic, partition] : each.partitions) by_topic[topic].push_back(partition);
    std::vector<std::string> assigned;
    for (const auto& [topic, partitions] : by_topic) {
      assigned.push_back(absl::StrCat(topic, " [", absl::StrJoin(partitions, ","), "]"));
    }
    printf("member %s at %s%s: %s\n", each.member_id.c_str(), each.client_host.c_str(),
           Progress(group, each).c_str(), absl::StrJoin(assigned, " ").c_str());
  }
  if (group.offsets.empty()) return absl::OkStatus();
  printf("%-30s %9s %14s %14s %12s\n", "topic", "partition", "committed", "end", "lag");
  for (const client::GroupOffset& each : group.offsets) {
    const bool known = each.high_watermark >= 0;
    printf("%-30s %9d %14lld %14s %12s\n", each.topic.c_str(), each.partition,
           static_cast<long long>(each.committed),
           known ? absl::StrCat(each.high_watermark).c_str() : "-",
           known ? absl::StrCat(LagOf(each)).c_str() : "-");
  }
  return absl::OkStatus();
}

absl::Status ResetOffsets(const Context& context, const GroupOptions& options) {
  RT_ASSIGN_OR_RETURN(const client::StartAt to, ParseFrom(options.to));
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  std::vector<int32_t> partitions = options.partitions;
  if (partitions.empty()) {
    RT_ASSIGN_OR_RETURN(const int32_t count, client->PartitionCount(options.topic));
    for (int32_t partition = 0; partition < count; ++partition) partitions.push_back(partition);
  }
  RT_ASSIGN_OR_RETURN(const std::vector<int64_t> ends,
                      client->ListOffsets(options.topic, partitions, client::StartAt::End()));
  std::vector<int64_t> starts(partitions.size(), to.value);
  if (to.kind != client::StartAt::Kind::kOffset) {
    RT_ASSIGN_OR_RETURN(starts, client->ListOffsets(options.topic, partitions, to));
  }
  std::vector<client::GroupOffset> offsets;
  for (size_t i = 0; i < partitions.size(); ++i) {
    // Nothing is as young as that: what comes is.
    const int64_t offset = starts[i] < 0 ? ends[i] : starts[i];
    offsets.push_back({.topic = options.topic, .partition = partitions[i], .committed = offset});
  }
  if (!options.dry_run) RT_RETURN_IF_ERROR(client->CommitOffsets(options.name, offsets));
  for (const client::GroupOffset& each : offsets) {
    printf("%s %s goes on with partition %d of %s at offset %s\n",
           options.dry_run ? "would be: group" : "group", options.name.c_str(), each.partition,
           each.topic.c_str(), WithCommas(static_cast<uint64_t>(each.committed)).c_str());
  }
  return absl::OkStatus();
}

absl::Status Delete(const Context& context, const GroupOptions& options) {
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  RT_RETURN_IF_ERROR(client->DeleteGroup(options.name));
  printf("deleted group %s\n", options.name.c_str());
  return absl::OkStatus();
}

void AddResetCommand(CLI::App* group, std::shared_ptr<GroupOptions> options, Context& context) {
  CLI::App* reset =
      group->add_subcommand("reset-offsets", "Set where a group without members goes on");
  reset->add_option("name", options->name, "the group")->required();
  reset->add_option("topic", options->topic, "the topic")->required();
  reset->add_option("--to", options->to, "beginning, end, offset:N or time:MS (since 1970)")
      ->required();
  reset->add_option("--partition", options->partitions, "only this one; repeatable")
      ->allow_extra_args(false);
  reset->add_flag("--dry-run", options->dry_run, "say where, change nothing");
  reset->footer(
      "Its members must have left: they would commit over it.\n\n"
      "Examples:\n  ringtail group reset-offsets billing events --to beginning\n"
      "  ringtail group reset-offsets billing events --to offset:1000 --partition 0\n"
      "  ringtail group reset-offsets billing events --to time:1700000000000 --dry-run");
  reset->callback([options, &context] {
    context.command = [options](Context& c) { return ResetOffsets(c, *options); };
  });
}

}  // namespace

void AddGroupCommands(CLI::App& app, Context& context) {
  CLI::App* group = app.add_subcommand("group", "Consumer groups: members, offsets and lag");
  group->require_subcommand(1);
  auto options = std::make_shared<GroupOptions>();
  CLI::App* list = group->add_subcommand("list", "List all groups");
  list->add_flag("--json", options->json, "as JSON");
  list->callback([options, &context] {
    context.command = [options](Context& c) { return List(c, *options); };
  });
  CLI::App* describe = group->add_subcommand("describe", "Show members, offsets and lag");
  describe->add_option("name", options->name, "the group")->required();
  describe->add_flag("--json", options->json, "as JSON");
  describe->callback([options, &context] {
    context.command = [options](Context& c) { return Describe(c, *options); };
  });
  AddResetCommand(group, options, context);
  CLI::App* remove =
      group->add_subcommand("delete", "Delete a group without members, and what it has committed");
  remove->add_option("name", options->name, "the group")->required();
  remove->callback([options, &context] {
    context.command = [options](Context& c) { return Delete(c, *options); };
  });
}

}  // namespace ringtail::cli
