// What a client can ask about the broker itself.
#include "engine/base/result.h"
#include "tools/client/client.h"

namespace ringtail::client {

absl::StatusOr<std::vector<BrokerConfig>> Client::DescribeBroker() {
  wire::RequestHeader request;
  request.mutable_describe_broker();
  wire::ResponseHeader response;
  RT_RETURN_IF_ERROR(
      Annotate(CallBootstrap(&request, &response, Repeat::kIfRetriable), "describe broker"));
  std::vector<BrokerConfig> configs;
  for (const wire::BrokerConfig& each : response.describe_broker().configs()) {
    configs.push_back({.name = each.name(),
                       .value = each.value(),
                       .default_value = each.default_value(),
                       .start_value = each.start_value(),
                       .source = each.source(),
                       .live = each.live(),
                       .help = each.help()});
  }
  return configs;
}

absl::Status Client::AlterBroker(const AlterBrokerOptions& options) {
  wire::RequestHeader request;
  wire::AlterBrokerRequest* alter = request.mutable_alter_broker();
  for (const auto& [key, value] : options.set) {
    wire::ConfigEntry* entry = alter->add_set();
    entry->set_name(key);
    entry->set_value(value);
  }
  for (const std::string& key : options.reset) alter->add_reset(key);
  alter->set_validate_only(options.validate_only);
  wire::ResponseHeader response;
  return Annotate(CallBootstrap(&request, &response, Repeat::kNever), "alter broker");
}

}  // namespace ringtail::client
