// ringtail broker describe|alter
#include <stdio.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "nlohmann/json.hpp"
#include "tools/cli/cli.h"

namespace ringtail::cli {
namespace {

struct BrokerOptions {
  std::vector<std::string> names;
  bool all = false;
  bool json = false;
  std::vector<std::string> configs;
  std::vector<std::string> resets;
  bool validate_only = false;
};

bool Wanted(const BrokerOptions& options, const client::BrokerConfig& config) {
  if (!options.names.empty()) {
    return std::find(options.names.begin(), options.names.end(), config.name) !=
           options.names.end();
  }
  return options.all || config.live || config.source != "default";
}

std::string Origin(const client::BrokerConfig& config) {
  if (config.source == "default") return "default";
  const std::string start = config.start_value.empty()
                                ? absl::StrCat("default ", config.default_value)
                                : absl::StrCat("started with ", config.start_value);
  return config.source == "set" ? absl::StrCat("set; ", start)
                                : absl::StrCat("flag or file; default ", config.default_value);
}

absl::Status Describe(const Context& context, const BrokerOptions& options) {
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  RT_ASSIGN_OR_RETURN(const std::vector<client::BrokerConfig> configs, client->DescribeBroker());
  for (const std::string& name : options.names) {
    const bool known = std::any_of(configs.begin(), configs.end(),
                                   [&](const auto& config) { return config.name == name; });
    if (!known) {
      return absl::NotFoundError(absl::StrCat("the broker has no config \"", name,
                                              "\"; ringtail broker describe --all lists them"));
    }
  }
  nlohmann::json json = nlohmann::json::object();
  for (const client::BrokerConfig& config : configs) {
    if (!Wanted(options, config)) continue;
    if (options.json) {
      json[config.name] = {{"value", config.value},
                           {"default", config.default_value},
                           {"started_with", config.start_value},
                           {"source", config.source},
                           {"live", config.live},
                           {"help", config.help}};
      continue;
    }
    printf("%-38s %-32s %s%s\n", config.name.c_str(), config.value.c_str(), Origin(config).c_str(),
           config.live ? "" : "  (fixed until a restart)");
    if (!options.names.empty()) printf("    %s\n", config.help.c_str());
  }
  if (options.json) printf("%s\n", json.dump().c_str());
  return absl::OkStatus();
}

absl::Status Alter(const Context& context, const BrokerOptions& options) {
  client::AlterBrokerOptions alter{.reset = options.resets, .validate_only = options.validate_only};
  for (const std::string& config : options.configs) {
    RT_ASSIGN_OR_RETURN(auto pair, ParseNameValue("", config, "busy_poll_us=0"));
    alter.set.push_back(std::move(pair));
  }
  if (alter.set.empty() && alter.reset.empty()) {
    return absl::InvalidArgumentError("nothing to change: give NAME=VALUE or --delete NAME");
  }
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  RT_RETURN_IF_ERROR(client->AlterBroker(alter));
  printf(options.validate_only ? "this would be taken; nothing was changed\n"
                               : "altered the broker; it holds on all cores\n");
  return absl::OkStatus();
}

}  // namespace

void AddBrokerCommands(CLI::App& app, Context& context) {
  CLI::App* broker = app.add_subcommand("broker", "Show and change a running broker's settings");
  broker->require_subcommand(1);
  auto options = std::make_shared<BrokerOptions>();
  CLI::App* describe = broker->add_subcommand(
      "describe", "Show what can be changed while it runs, and what is not at its default");
  describe->add_option("name", options->names, "only these, with what they do");
  describe->add_flag("--all", options->all, "all settings");
  describe->add_flag("--json", options->json, "as JSON");
  describe->footer(
      "Examples:\n  ringtail broker describe\n  ringtail broker describe busy_poll_us");
  describe->callback([options, &context] {
    context.command = [options](Context& c) { return Describe(c, *options); };
  });
  CLI::App* alter = broker->add_subcommand("alter", "Change settings of the running broker");
  alter->add_option("config", options->configs, "what to set, NAME=VALUE as for ringtaild");
  alter
      ->add_option("-d,--delete", options->resets,
                   "what goes back to its flag, its line in the file or its default; repeatable")
      ->allow_extra_args(false);
  alter->add_flag("--validate-only", options->validate_only, "check only, change nothing");
  alter->footer(
      "All of it is taken or nothing, on all cores, at once: no restart. What is set holds over\n"
      "restarts and beats flags and file until it is deleted.\n\n"
      "Examples:\n  ringtail broker alter busy_poll_us=0 send_path=sendfile\n"
      "  ringtail broker alter compaction_bytes_per_s=128MiB --validate-only\n"
      "  ringtail broker alter --delete busy_poll_us --delete send_path");
  alter->callback([options, &context] {
    context.command = [options](Context& c) { return Alter(c, *options); };
  });
}

}  // namespace ringtail::cli
