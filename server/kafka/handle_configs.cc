// DescribeConfigs, AlterConfigs and IncrementalAlterConfigs, of topics and of this broker.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/kafka/configs.h"
#include "server/kafka/session.h"

namespace ringtail::kafka {

using base::Error;
using server::BrokerConfig;
using server::ConfigChange;

namespace {

constexpr int8_t kTopicResource = 2;
constexpr int8_t kBrokerResource = 4;
constexpr size_t kOperations = 4;  // SET, DELETE, APPEND, SUBTRACT, as ConfigChange::Op has them
// Of one response, decoded; the resources beyond are refused.
constexpr size_t kDescribedBytesMax = 32 << 20;
constexpr size_t kWorkPerAlteredResource = 1024;

const BrokerConfig* FindConfig(const std::vector<BrokerConfig>& configs, absl::string_view name) {
  const auto found = std::lower_bound(
      configs.begin(), configs.end(), name,
      [](const BrokerConfig& config, absl::string_view wanted) { return config.name < wanted; });
  return found == configs.end() || found->name != name ? nullptr : &*found;
}

// No keys ask for all, and so do null ones.
bool IsWanted(const DescribeConfigsRequest::DescribeConfigsResource& resource,
              absl::string_view name) {
  const auto& keys = resource.configuration_keys;
  return !keys.has_value() || keys->empty() ||
         std::find(keys->begin(), keys->end(), name) != keys->end();
}

void AddSynonym(Arena& arena, absl::string_view name, absl::string_view value, ConfigSource source,
                DescribeConfigsResponse::DescribeConfigsResourceResult* out) {
  auto& synonym = out->synonyms.Add(arena);
  synonym.name = name;
  synonym.value = value;
  synonym.source = Wire(source);
}

// What a broker setting may come from: what was set, what it was started with, the default.
void AddBrokerSynonyms(Arena& arena, const BrokerConfig& config,
                       DescribeConfigsResponse::DescribeConfigsResourceResult* out) {
  if (config.is_set) AddSynonym(arena, config.name, config.value, ConfigSource::kBroker, out);
  if (config.start_value.has_value()) {
    AddSynonym(arena, config.name, *config.start_value, ConfigSource::kStaticBroker, out);
  }
  if (!config.start_value.has_value() || !config.default_value.empty()) {
    AddSynonym(arena, config.name, config.default_value, ConfigSource::kDefault, out);
  }
}

struct Shape {
  bool synonyms = false;
  bool documentation = false;
};

void FillTopicConfig(Arena& arena, const ShownConfig& config, Shape shape,
                     DescribeConfigsResponse::DescribeConfigsResourceResult* out) {
  const server::TopicConfigDefinition& definition = *config.definition;
  out->name = definition.name;
  out->value = arena.CopyText(config.value);
  out->config_source = Wire(config.source);
  out->config_type = static_cast<int8_t>(definition.type);
  out->documentation =
      shape.documentation ? std::optional<absl::string_view>(definition.help) : std::nullopt;
  if (!shape.synonyms) return;
  if (config.source == ConfigSource::kTopic) {
    AddSynonym(arena, definition.name, *out->value, ConfigSource::kTopic, out);
  }
  if (config.broker != nullptr) {
    AddBrokerSynonyms(arena, *config.broker, out);
  } else {
    AddSynonym(arena, definition.broker_name, definition.default_value, ConfigSource::kDefault,
               out);
  }
}

// `config` outlives the response.
void FillBrokerConfig(Arena& arena, const BrokerConfig& config, Shape shape,
                      DescribeConfigsResponse::DescribeConfigsResourceResult* out) {
  out->name = config.name;
  out->value = config.value;
  out->read_only = !config.live;
  out->config_source = Wire(SourceOf(config));
  out->config_type = static_cast<int8_t>(config.type);
  out->documentation =
      shape.documentation ? std::optional<absl::string_view>(config.help) : std::nullopt;
  if (shape.synonyms) AddBrokerSynonyms(arena, config, out);
}

}  // namespace

std::vector<ShownConfig> ShowTopicConfig(const server::Broker& broker,
                                         const std::map<std::string, std::string>& entries) {
  std::vector<ShownConfig> shown;
  for (const server::TopicConfigDefinition& definition : server::TopicConfigDefinitions()) {
    ShownConfig each{.definition = &definition,
                     .value = definition.default_value,
                     .source = ConfigSource::kDefault,
                     .broker = FindConfig(broker.configs(), definition.broker_name)};
    if (each.broker != nullptr) {
      each.value = each.broker->value;
      each.source = SourceOf(*each.broker);
    }
    const auto set = entries.find(std::string(definition.name));
    if (set != entries.end()) {
      each.value = set->second;
      each.source = ConfigSource::kTopic;
    }
    shown.push_back(each);
  }
  return shown;
}

// What a client says of this broker: empty, for the defaults of all brokers, or one of its nodes.
absl::Status Session::CheckBrokerName(absl::string_view name) const {
  if (name.empty()) return absl::OkStatus();
  int32_t id = -1;
  std::string ids;
  const bool number = absl::SimpleAtoi(name, &id);
  for (const server::Node& node :
       endpoints_.Nodes(broker_.image()->broker_id(), server::ListenerKind::kKafka)) {
    if (number && node.id == id) return absl::OkStatus();
    absl::StrAppend(&ids, ids.empty() ? "" : ", ", node.id);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("this broker's nodes are ", ids, "; expected one of them or nothing, got '",
                   absl::CHexEscape(name.substr(0, kNameBytesShown)), "'"));
}

void Session::DescribeBroker(Call* call, const DescribeConfigsRequest& request,
                             const DescribeConfigsRequest::DescribeConfigsResource& wanted,
                             DescribeConfigsResponse::DescribeConfigsResult* out) {
  Arena& arena = call->arena;
  if (const absl::Status known = CheckBrokerName(wanted.resource_name); !known.ok()) {
    out->error_code = Wire(ErrorCode::kInvalidRequest);
    out->error_message = arena.CopyText(known.message());
    return;
  }
  const Shape shape{.synonyms = request.include_synonyms,
                    .documentation = request.include_documentation};
  if (wanted.resource_name.empty()) {  // only what was set for all brokers while they ran
    for (const BrokerConfig& config : broker_.configs()) {
      if (!config.is_set || config.knob.empty() || !IsWanted(wanted, config.name)) continue;
      auto& described = out->configs.Add(arena);
      FillBrokerConfig(arena, config, shape, &described);
      described.config_source = Wire(ConfigSource::kAllBrokers);
    }
    return;
  }
  const auto add_own = [&](absl::string_view name, server::ConfigType type,
                           absl::string_view value) {
    if (!IsWanted(wanted, name)) return;
    auto& config = out->configs.Add(arena);
    config.name = name;
    config.value = value;
    config.read_only = true;
    config.config_source = Wire(ConfigSource::kStaticBroker);
    config.config_type = static_cast<int8_t>(type);
    config.documentation = std::nullopt;
    if (shape.synonyms) {
      AddSynonym(arena, name, value, ConfigSource::kStaticBroker, &config);
    }
  };
  add_own("broker.id", server::ConfigType::kInt, wanted.resource_name);
  add_own("node.id", server::ConfigType::kInt, wanted.resource_name);
  for (const server::Node& node :
       endpoints_.Nodes(broker_.image()->broker_id(), server::ListenerKind::kKafka)) {
    if (absl::StrCat(node.id) != wanted.resource_name) continue;
    add_own("advertised.listeners", server::ConfigType::kList,
            arena.CopyText(absl::StrCat("PLAINTEXT://", node.host, ":", node.port)));
  }
  for (const BrokerConfig& config : broker_.configs()) {
    if (!IsWanted(wanted, config.name)) continue;
    FillBrokerConfig(arena, config, shape, &out->configs.Add(arena));
  }
}

void Session::DescribeTopic(Call* call, const DescribeConfigsRequest& request,
                            const DescribeConfigsRequest::DescribeConfigsResource& wanted,
                            DescribeConfigsResponse::DescribeConfigsResult* out) {
  const absl::Status valid = server::ValidateTopicName(wanted.resource_name);
  const server::TopicImage* topic;
  const Error error = valid.ok() ? FindTopic(wanted.resource_name, {}, /*by_id=*/false, &topic)
                                 : Error::kInvalidTopic;
  if (error != Error::kNone) {
    out->error_code = Wire(ToErrorCode(error));
    const absl::string_view why = valid.ok() ? base::ErrorText(error) : valid.message();
    out->error_message = call->arena.CopyText(why);
    return;
  }
  for (const ShownConfig& config : ShowTopicConfig(broker_, topic->config_entries)) {
    if (!IsWanted(wanted, config.definition->name)) continue;
    FillTopicConfig(
        call->arena, config,
        {.synonyms = request.include_synonyms, .documentation = request.include_documentation},
        &out->configs.Add(call->arena));
  }
}

task::Task<void> Session::HandleDescribeConfigs(Call* call) {
  DescribeConfigsRequest request;
  if (!DecodeBody(call, &request)) co_return;
  DescribeConfigsResponse response;
  response.results.Reserve(call->arena, request.resources.size());
  const size_t used = call->arena.used_bytes();
  for (const auto& wanted : request.resources) {
    auto& out = response.results.Add(call->arena);
    out.error_message = std::nullopt;
    out.resource_type = wanted.resource_type;
    out.resource_name = wanted.resource_name;
    if (call->arena.used_bytes() - used > kDescribedBytesMax) {
      out.error_code = Wire(ErrorCode::kInvalidRequest);
      out.error_message = "the answer would be too large; ask for fewer resources at once";
    } else if (wanted.resource_type == kTopicResource) {
      DescribeTopic(call, request, wanted, &out);
    } else if (wanted.resource_type == kBrokerResource) {
      DescribeBroker(call, request, wanted, &out);
    } else {
      out.error_code = Wire(ErrorCode::kInvalidRequest);
      out.error_message = call->arena.CopyText(
          absl::StrCat("only topics (2) and brokers (4) have configs here, got resource type ",
                       wanted.resource_type));
    }
  }
  call->exchange->connection->ChargeWork(call->exchange, call->arena.used_bytes() - used);
  Respond(call, response);
}

// --- Changes.

// One resource of a request, and how its change went.
struct Session::Altered {
  struct Entry {
    absl::string_view name;
    int8_t operation = 0;
    std::optional<absl::string_view> value;
  };
  int8_t type = 0;
  absl::string_view name;
  std::vector<Entry> entries;
  ErrorCode code = ErrorCode::kNone;
  std::string message;

  std::vector<ConfigChange> Changes() const;
  void Refuse(ErrorCode with, std::string why) {
    code = with;
    message = std::move(why);
  }
};

namespace {

std::string Shown(absl::string_view name) {
  return absl::StrCat("'", absl::CHexEscape(name.substr(0, kNameBytesShown)), "'");
}

// What is wrong with the entries whatever they are of; empty: nothing.
template <class Entry>
std::string WhyMalformed(const std::vector<Entry>& entries) {
  absl::flat_hash_set<absl::string_view> names;
  for (const Entry& entry : entries) {
    if (!names.insert(entry.name).second) {
      return absl::StrCat("config ", Shown(entry.name), " is named more than once");
    }
    if (entry.operation < 0 || static_cast<size_t>(entry.operation) >= kOperations) {
      return absl::StrCat("config ", Shown(entry.name),
                          ": operations are 0 (set), 1 (delete), "
                          "2 (append) and 3 (subtract), got ",
                          entry.operation);
    }
    const auto op = static_cast<ConfigChange::Op>(entry.operation);
    if (op != ConfigChange::Op::kDelete && !entry.value.has_value()) {
      return absl::StrCat("config ", Shown(entry.name),
                          ": null is no value; delete the entry for its default");
    }
  }
  return "";
}

}  // namespace

std::vector<ConfigChange> Session::Altered::Changes() const {
  std::vector<ConfigChange> changes;
  for (const Entry& entry : entries) {
    changes.push_back({.name = std::string(entry.name),
                       .op = static_cast<ConfigChange::Op>(entry.operation),
                       .value = std::string(entry.value.value_or(""))});
  }
  return changes;
}

// All nodes are one broker, and so is "all brokers": what is set of one is set of all.
task::Task<void> Session::AlterBroker(Altered* resource, bool replace, bool validate_only) {
  const absl::Status known = CheckBrokerName(resource->name);
  if (!known.ok()) {
    resource->Refuse(ErrorCode::kInvalidRequest, std::string(known.message()));
    co_return;
  }
  const server::ProposalResult result = co_await broker_.AlterSettings(
      {.settings = resource->Changes(), .replace = replace, .validate_only = validate_only});
  if (result.failure.ok()) co_return;
  resource->Refuse(ToErrorCode(result.failure.error), result.failure.message);
}

// Refused, or the proposal with the topic's id.
std::optional<server::AlterTopicProposal> Session::ToProposal(Altered* resource) const {
  if (resource->name.empty()) {
    resource->Refuse(ErrorCode::kInvalidRequest,
                     "a topic has a name; there are no defaults for "
                     "all topics");
    return std::nullopt;
  }
  const absl::Status valid = server::ValidateTopicName(resource->name);
  if (!valid.ok()) {
    resource->Refuse(ErrorCode::kInvalidTopicException, std::string(valid.message()));
    return std::nullopt;
  }
  const server::TopicImage* topic;
  const Error error = FindTopic(resource->name, {}, /*by_id=*/false, &topic);
  if (error != Error::kNone) {
    resource->Refuse(ToErrorCode(error), std::string(base::ErrorText(error)));
    return std::nullopt;
  }
  return server::AlterTopicProposal{.topic_id = topic->id, .configs = resource->Changes()};
}

task::Task<void> Session::AlterResources(std::vector<Altered>* resources, bool replace,
                                         bool validate_only) {
  std::map<std::pair<int8_t, absl::string_view>, int> named;
  for (const Altered& each : *resources) ++named[{each.type, each.name}];
  std::vector<server::AlterTopicProposal> proposals;
  std::vector<Altered*> proposed;
  for (Altered& each : *resources) {
    const std::string malformed = WhyMalformed(each.entries);
    if (named[{each.type, each.name}] > 1) {
      each.Refuse(ErrorCode::kInvalidRequest, "the request names this resource more than once");
    } else if (!malformed.empty()) {
      each.Refuse(ErrorCode::kInvalidRequest, malformed);
    } else if (each.type == kBrokerResource) {
      co_await AlterBroker(&each, replace, validate_only);
    } else if (each.type != kTopicResource) {
      each.Refuse(ErrorCode::kInvalidRequest,
                  absl::StrCat("only topics (2) and brokers (4) have configs here, got resource "
                               "type ",
                               each.type));
    } else if (auto proposal = ToProposal(&each); proposal.has_value()) {
      proposal->replace_configs = replace;
      proposal->validate_only = validate_only;
      proposals.push_back(*std::move(proposal));
      proposed.push_back(&each);
    }
  }
  if (proposals.empty()) co_return;
  const auto results = co_await broker_.AlterTopics(std::move(proposals));
  for (size_t i = 0; i < results.size(); ++i) {
    const base::Failure& failure = results[i].failure;
    if (!failure.ok()) proposed[i]->Refuse(ToErrorCode(failure.error), failure.message);
  }
}

// AlterConfigs names all that a topic is to have; IncrementalAlterConfigs what is to change, and
// how.
template <class Request, class Response>
task::Task<void> Session::AlterConfigs(Call* call, bool replace) {
  Request request;
  if (!DecodeBody(call, &request)) co_return;
  call->exchange->connection->ChargeWork(call->exchange,
                                         request.resources.size() * kWorkPerAlteredResource);
  std::vector<Altered> resources;
  for (const auto& wanted : request.resources) {
    resources.push_back({.type = wanted.resource_type, .name = wanted.resource_name});
    for (const auto& config : wanted.configs) {
      Altered::Entry& entry = resources.back().entries.emplace_back();
      entry.name = config.name;
      entry.value = config.value;
      if constexpr (requires { config.config_operation; }) {
        entry.operation = config.config_operation;
      }
    }
  }
  co_await AlterResources(&resources, replace, request.validate_only);
  Response response;
  response.responses.Reserve(call->arena, resources.size());
  for (const Altered& each : resources) {
    auto& out = response.responses.Add(call->arena);
    out.resource_type = each.type;
    out.resource_name = each.name;
    out.error_code = Wire(each.code);
    out.error_message = std::nullopt;
    if (each.code != ErrorCode::kNone) out.error_message = call->arena.CopyText(each.message);
  }
  Respond(call, response);
}

task::Task<void> Session::HandleAlterConfigs(Call* call) {
  return AlterConfigs<AlterConfigsRequest, AlterConfigsResponse>(call, /*replace=*/true);
}

task::Task<void> Session::HandleIncrementalAlterConfigs(Call* call) {
  return AlterConfigs<IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse>(
      call, /*replace=*/false);
}

}  // namespace ringtail::kafka
