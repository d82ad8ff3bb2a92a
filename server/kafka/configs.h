// A topic's configuration in Kafka's terms: each entry with the value in force and where it comes
// from.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/broker.h"

namespace ringtail::kafka {

// Of DescribeConfigs' and CreateTopics' responses.
enum class ConfigSource : int8_t {
  kTopic = 1,         // DYNAMIC_TOPIC_CONFIG: set on the topic
  kBroker = 2,        // DYNAMIC_BROKER_CONFIG: set while the broker ran
  kAllBrokers = 3,    // DYNAMIC_DEFAULT_BROKER_CONFIG: the same, where all brokers are asked for
  kStaticBroker = 4,  // STATIC_BROKER_CONFIG: a flag, or the file
  kDefault = 5,       // DEFAULT_CONFIG
};

constexpr int8_t Wire(ConfigSource source) { return static_cast<int8_t>(source); }

struct ShownConfig {
  const server::TopicConfigDefinition* definition;
  absl::string_view value;  // of the entries, the broker's configuration or the definition
  ConfigSource source;
  const server::BrokerConfig* broker;  // what holds where the topic says nothing, or nullptr
};

// `entries` are as they were set on the topic, and outlive the result.
std::vector<ShownConfig> ShowTopicConfig(const server::Broker& broker,
                                         const std::map<std::string, std::string>& entries);

inline ConfigSource SourceOf(const server::BrokerConfig& config) {
  if (config.is_set) return ConfigSource::kBroker;
  return config.start_value.has_value() ? ConfigSource::kStaticBroker : ConfigSource::kDefault;
}

}  // namespace ringtail::kafka
