// ringtail topic create|list|describe|alter|delete-records|delete
#include <stdio.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "nlohmann/json.hpp"
#include "tools/cli/cli.h"

namespace ringtail::cli {
namespace {

struct TopicOptions {
  std::string name;
  uint32_t partitions = 0;
  std::vector<std::string> configs;
  std::vector<std::string> resets;
  bool validate_only = false;
  std::vector<int32_t> cut_partitions;
  std::string before;
  bool json = false;
};

constexpr char kConfigExample[] = "segment.bytes=67108864";

absl::Status Create(const Context& context, const TopicOptions& options) {
  client::CreateTopicOptions create;
  create.partitions = options.partitions;
  for (const std::string& config : options.configs) {
    RT_ASSIGN_OR_RETURN(auto pair, ParseNameValue("--config ", config, kConfigExample));
    create.configs.push_back(std::move(pair));
  }
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  RT_ASSIGN_OR_RETURN(const base::Uuid id, client->CreateTopic(options.name, create));
  printf("created topic %s (id %s)\n", options.name.c_str(), id.ToString().c_str());
  return absl::OkStatus();
}

absl::Status List(const Context& context, const TopicOptions& options) {
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  RT_ASSIGN_OR_RETURN(const client::ClusterDescription cluster, client->DescribeCluster());
  if (options.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const client::TopicInfo& topic : cluster.topics) {
      list.push_back({{"name", topic.name},
                      {"id", topic.id.ToString()},
                      {"partitions", topic.partitions.size()}});
    }
    printf("%s\n", list.dump().c_str());
    return absl::OkStatus();
  }
  for (const client::TopicInfo& topic : cluster.topics) {
    printf("%-40s %6zu partition%s\n", topic.name.c_str(), topic.partitions.size(),
           topic.partitions.size() == 1 ? "" : "s");
  }
  if (cluster.topics.empty()) {
    fprintf(stderr, "No topics yet. Make one: ringtail topic create NAME --partitions 1\n");
  }
  return absl::OkStatus();
}

nlohmann::json ToJson(const client::TopicDescription& topic) {
  nlohmann::json json = {{"name", topic.name}, {"id", topic.id.ToString()}};
  for (size_t i = 0; i < topic.partitions.size(); ++i) {
    const client::PartitionDescription& one = topic.partitions[i];
    nlohmann::json partition = {{"partition", i},
                                {"leader", one.leader_node},
                                {"leader_epoch", one.leader_epoch},
                                {"log_start_offset", one.log_start_offset},
                                {"high_watermark", one.high_watermark},
                                {"log_end_offset", one.log_end_offset},
                                {"bytes", one.log_bytes},
                                {"segments", one.segments}};
    if (!one.status.ok()) partition["error"] = std::string(one.status.message());
    json["partitions"].push_back(std::move(partition));
  }
  for (const client::ConfigValue& config : topic.configs) {
    json["configs"][config.name] = {{"value", config.value}, {"is_default", config.is_default}};
  }
  return json;
}

absl::Status Describe(const Context& context, const TopicOptions& options) {
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  RT_ASSIGN_OR_RETURN(const client::TopicDescription topic, client->DescribeTopic(options.name));
  if (options.json) {
    printf("%s\n", ToJson(topic).dump().c_str());
    return absl::OkStatus();
  }
  printf("topic %s\nid    %s\n\n", topic.name.c_str(), topic.id.ToString().c_str());
  printf("%9s %7s %6s %14s %14s %12s %9s\n", "partition", "leader", "epoch", "start offset",
         "end offset", "size", "segments");
  for (size_t i = 0; i < topic.partitions.size(); ++i) {
    const client::PartitionDescription& one = topic.partitions[i];
    printf("%9zu %7d %6d %14s %14s %12s %9u%s%s\n", i, one.leader_node, one.leader_epoch,
           WithCommas(static_cast<uint64_t>(one.log_start_offset)).c_str(),
           WithCommas(static_cast<uint64_t>(one.high_watermark)).c_str(),
           WithUnit(static_cast<double>(one.log_bytes)).c_str(), one.segments,
           one.status.ok() ? "" : "  ", std::string(one.status.message()).c_str());
  }
  if (!topic.configs.empty()) printf("\n");
  for (const client::ConfigValue& config : topic.configs) {
    printf("%-32s %s%s\n", config.name.c_str(), config.value.c_str(),
           config.is_default ? "  (default)" : "");
  }
  return absl::OkStatus();
}

absl::Status Alter(const Context& context, const TopicOptions& options) {
  client::AlterTopicOptions alter{.reset = options.resets,
                                  .partitions = options.partitions,
                                  .validate_only = options.validate_only};
  for (const std::string& config : options.configs) {
    RT_ASSIGN_OR_RETURN(auto pair, ParseNameValue("", config, kConfigExample));
    alter.set.push_back(std::move(pair));
  }
  if (alter.set.empty() && alter.reset.empty() && alter.partitions == 0) {
    return absl::InvalidArgumentError(
        "nothing to change: give NAME=VALUE, --delete NAME or --partitions N");
  }
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  RT_ASSIGN_OR_RETURN(const uint32_t partitions, client->AlterTopic(options.name, alter));
  if (options.validate_only) {
    printf("topic %s: this would be taken; nothing was changed\n", options.name.c_str());
  } else {
    printf("altered topic %s (%u partition%s)\n", options.name.c_str(), partitions,
           partitions == 1 ? "" : "s");
  }
  return absl::OkStatus();
}

absl::Status DeleteRecords(const Context& context, const TopicOptions& options) {
  int64_t before = -1;
  if (options.before != "end" && (!absl::SimpleAtoi(options.before, &before) || before < 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--before ", options.before, ": use an offset, or end"));
  }
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  std::vector<int32_t> partitions = options.cut_partitions;
  if (partitions.empty()) {
    RT_ASSIGN_OR_RETURN(const int32_t count, client->PartitionCount(options.name));
    for (int32_t partition = 0; partition < count; ++partition) partitions.push_back(partition);
  }
  RT_ASSIGN_OR_RETURN(const std::vector<int64_t> starts,
                      client->DeleteRecords(options.name, partitions, before));
  for (size_t i = 0; i < partitions.size(); ++i) {
    printf("partition %d of %s starts at offset %s\n", partitions[i], options.name.c_str(),
           WithCommas(static_cast<uint64_t>(starts[i])).c_str());
  }
  return absl::OkStatus();
}

absl::Status Delete(const Context& context, const TopicOptions& options) {
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  RT_RETURN_IF_ERROR(client->DeleteTopic(options.name));
  printf("deleted topic %s\n", options.name.c_str());
  return absl::OkStatus();
}

void AddAlterCommand(CLI::App* topic, std::shared_ptr<TopicOptions> options, Context& context) {
  CLI::App* alter =
      topic->add_subcommand("alter", "Change a topic's configs, or give it more partitions");
  alter->add_option("name", options->name, "the topic")->required();
  alter->add_option("config", options->configs, "configs to set, NAME=VALUE");
  alter
      ->add_option("-d,--delete", options->resets,
                   "a config that goes back to its default; "
                   "repeatable")
      ->allow_extra_args(false);
  alter
      ->add_option("-p,--partitions", options->partitions,
                   "how many partitions there shall be: more than now")
      ->check(CLI::PositiveNumber);
  alter->add_flag("--validate-only", options->validate_only, "check only, change nothing");
  alter->footer(
      "All of it is taken or nothing, and holds at once: no restart.\n"
      "With more partitions the same key may go to another one than before.\n\n"
      "Examples:\n  ringtail topic alter events retention.ms=86400000 segment.bytes=67108864\n"
      "  ringtail topic alter events --delete retention.ms\n"
      "  ringtail topic alter events ringtail.durability=page_cache --validate-only\n"
      "  ringtail topic alter events --partitions 8");
  alter->callback([options, &context] {
    context.command = [options](Context& c) { return Alter(c, *options); };
  });
}

void AddDeleteRecordsCommand(CLI::App* topic, std::shared_ptr<TopicOptions> options,
                             Context& context) {
  CLI::App* cut =
      topic->add_subcommand("delete-records", "Delete a topic's records below an offset, for good");
  cut->add_option("name", options->name, "the topic")->required();
  cut->add_option("--before", options->before,
                  "the first offset to stay; end: all records there are go")
      ->required();
  cut->add_option("--partition", options->cut_partitions, "only this one; repeatable")
      ->allow_extra_args(false);
  cut->footer(
      "Space is given back by whole segments.\n\n"
      "Examples:\n  ringtail topic delete-records events --partition 0 --before 1000\n"
      "  ringtail topic delete-records events --before end");
  cut->callback([options, &context] {
    context.command = [options](Context& c) { return DeleteRecords(c, *options); };
  });
}

}  // namespace

void AddTopicCommands(CLI::App& app, Context& context) {
  CLI::App* topic = app.add_subcommand("topic", "Create, list, describe, change and delete topics");
  topic->require_subcommand(1);
  auto options = std::make_shared<TopicOptions>();
  CLI::App* create = topic->add_subcommand("create", "Create a topic");
  create->add_option("name", options->name, "its name")->required();
  create->add_option("-p,--partitions", options->partitions,
                     "how many partitions; the broker's default unless given");
  create->add_option("-c,--config", options->configs, "a topic config, NAME=VALUE; repeatable")
      ->allow_extra_args(false);
  create->footer(
      "Examples:\n  ringtail topic create events --partitions 4\n"
      "  ringtail topic create audit --partitions 1 --config max.message.bytes=8388608");
  create->callback([options, &context] {
    context.command = [options](Context& c) { return Create(c, *options); };
  });
  CLI::App* list = topic->add_subcommand("list", "List all topics");
  list->add_flag("--json", options->json, "as JSON");
  list->callback([options, &context] {
    context.command = [options](Context& c) { return List(c, *options); };
  });
  CLI::App* describe = topic->add_subcommand("describe", "Show partitions, offsets and configs");
  describe->add_option("name", options->name, "the topic")->required();
  describe->add_flag("--json", options->json, "as JSON");
  describe->callback([options, &context] {
    context.command = [options](Context& c) { return Describe(c, *options); };
  });
  AddAlterCommand(topic, options, context);
  AddDeleteRecordsCommand(topic, options, context);
  CLI::App* remove = topic->add_subcommand("delete", "Delete a topic and its records, for good");
  remove->add_option("name", options->name, "the topic")->required();
  remove->callback([options, &context] {
    context.command = [options](Context& c) { return Delete(c, *options); };
  });
}

}  // namespace ringtail::cli
