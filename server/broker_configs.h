// The broker's configuration as Kafka's clients see it (DescribeConfigs of a broker): under Kafka's
// name where Kafka has a setting that says the same, else as ringtail.NAME. What Kafka would take
// from its broker settings, and is fixed here, is told as a default.
#pragma once

#include <vector>

#include "server/broker.h"
#include "server/config.h"

namespace ringtail::server {

// By name, each once. What differs from node to node is not among them. `now` is in force, `start`
// what flags and the file said.
std::vector<BrokerConfig> ListBrokerConfigs(const LoadedConfig& now, const LoadedConfig& start);

}  // namespace ringtail::server
