#include "server/broker_configs.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/config_knobs.h"

namespace ringtail::server {
namespace {

constexpr int64_t kMillisPerSecond = 1000;

// Kafka's names for knobs that mean the same in the same unit.
const std::pair<absl::string_view, absl::string_view> kKafkaNames[] = {
    {"auto_create_topics", "auto.create.topics.enable"},
    {"data_dir", "log.dirs"},
    {"default_partitions", "num.partitions"},
    {"compaction_check_ms", "log.cleaner.backoff.ms"},
    {"group_initial_rebalance_delay_ms", "group.initial.rebalance.delay.ms"},
    {"group_members_max", "group.max.size"},
    {"group_session_timeout_max_ms", "group.max.session.timeout.ms"},
    {"consumer_group_assignors", "group.consumer.assignors"},
    {"consumer_group_heartbeat_interval_ms", "group.consumer.heartbeat.interval.ms"},
    {"consumer_group_migration_policy", "group.consumer.migration.policy"},
    {"consumer_group_session_timeout_ms", "group.consumer.session.timeout.ms"},
    {"group_session_timeout_min_ms", "group.min.session.timeout.ms"},
    {"offsets_retention_minutes", "offsets.retention.minutes"},
    {"retention_check_ms", "log.retention.check.interval.ms"},
};

std::string NameOf(const knobs::Field* field) {
  for (const auto& [knob, name] : kKafkaNames) {
    if (field->name() == std::string(knob)) return std::string(name);
  }
  return absl::StrCat("ringtail.", field->name());
}

// Numbers are plain ones: the suffixes of sizes are not Kafka's.
std::string ValueOf(const knobs::Field* field, const Config& config) {
  if (!knobs::IsNumber(field)) return knobs::Text(field, config);
  return absl::StrCat(config.GetReflection()->GetInt64(config, field));
}

std::string DefaultOf(const knobs::Field* field) {
  const proto::config::Knob& knob = knobs::OptionsOf(field);
  Config config;
  if (knob.default_().empty() || !knobs::Set(field, knob.default_(), &config).ok()) return "";
  return ValueOf(field, config);
}

std::string HostPort(absl::string_view host, int64_t port) {
  const bool v6 = host.find(':') != absl::string_view::npos;
  return v6 ? absl::StrCat("PLAINTEXT://[", host, "]:", port)
            : absl::StrCat("PLAINTEXT://", host, ":", port);
}

ConfigSource SourceOf(const LoadedConfig& config, const knobs::Field* field) {
  return config.sources[static_cast<size_t>(field->number())];
}

BrokerConfig ConfigOf(const knobs::Field* field, const LoadedConfig& now,
                      const LoadedConfig& start) {
  BrokerConfig config{.name = NameOf(field),
                      .knob = field->name(),
                      .value = ValueOf(field, now.config),
                      .default_value = DefaultOf(field),
                      .is_set = SourceOf(now, field) == ConfigSource::kSet,
                      .live = knobs::OptionsOf(field).live(),
                      .type = knobs::IsBool(field)     ? ConfigType::kBoolean
                              : knobs::IsNumber(field) ? ConfigType::kLong
                                                       : ConfigType::kString,
                      .help = knobs::OptionsOf(field).help()};
  if (SourceOf(start, field) != ConfigSource::kDefault) {
    config.start_value = ValueOf(field, start.config);
  } else if (config.default_value.empty()) {
    config.default_value = ValueOf(field, start.config);  // computed
  }
  return config;
}

// What Kafka calls otherwise, and in another unit.
BrokerConfig IdleTime(const LoadedConfig& now, const LoadedConfig& start) {
  const knobs::Field* field = knobs::Find("connection_idle_s");
  const auto millis = [](const LoadedConfig& config) {
    return absl::StrCat(config.config.connection_idle_s() * kMillisPerSecond);
  };
  BrokerConfig config{.name = "connections.max.idle.ms",
                      .value = millis(now),
                      .default_value = "600000",
                      .is_set = SourceOf(now, field) == ConfigSource::kSet,
                      .type = ConfigType::kLong,
                      .help = "A connection that sent no request for this long is closed."};
  if (SourceOf(start, field) != ConfigSource::kDefault) config.start_value = millis(start);
  return config;
}

}  // namespace

std::vector<BrokerConfig> ListBrokerConfigs(const LoadedConfig& now, const LoadedConfig& start) {
  std::map<std::string, BrokerConfig> all;
  const auto add = [&all](BrokerConfig config) { all.emplace(config.name, std::move(config)); };
  for (const knobs::Field* field : knobs::All()) add(ConfigOf(field, now, start));
  add(IdleTime(now, start));
  add({.name = "listeners",
       .value = HostPort(now.config.listen(), now.config.kafka_port()),
       .default_value = "",
       .start_value = HostPort(now.config.listen(), now.config.kafka_port()),
       .type = ConfigType::kList,
       .help = "Where Kafka clients connect; each core also has a port of its own."});
  const auto fixed = [&add](absl::string_view name, absl::string_view value, ConfigType type,
                            absl::string_view help) {
    add({.name = std::string(name),
         .value = std::string(value),
         .default_value = std::string(value),
         .type = type,
         .help = std::string(help)});
  };
  fixed("default.replication.factor", "1", ConfigType::kInt, "One broker, one replica.");
  fixed("delete.topic.enable", "true", ConfigType::kBoolean, "Topics may be deleted.");
  fixed("offset.metadata.max.bytes", "4096", ConfigType::kInt, "Of one committed offset.");
  fixed("offsets.topic.num.partitions", "50", ConfigType::kInt, "Of __consumer_offsets, for ever.");
  fixed("socket.request.max.bytes", "104857600", ConfigType::kInt, "The largest request.");
  for (const TopicConfigDefinition& topic : TopicConfigDefinitions()) {
    fixed(topic.broker_name, topic.default_value, topic.type, topic.help);
  }
  std::vector<BrokerConfig> list;
  for (auto& [name, each] : all) list.push_back(std::move(each));
  return list;
}

}  // namespace ringtail::server
