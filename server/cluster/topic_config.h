// The configuration of a topic: Kafka's names for what exists here. What has no effect yet is
// refused rather than accepted in silence.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/log/log_options.h"

namespace ringtail::server {

// The values in force, defaults filled in.
struct TopicConfig {
  int64_t segment_bytes = int64_t{1} << 30;
  int64_t segment_ms = int64_t{7} * 24 * 3600 * 1000;
  int32_t max_message_bytes = 1048588;
  int32_t index_interval_bytes = 4096;
  int32_t segment_index_bytes = 10 << 20;
  bool log_append_time = false;
  // How far a producer's timestamps may lie from the broker's clock; not with LogAppendTime.
  int64_t timestamp_before_max_ms = INT64_MAX;
  int64_t timestamp_after_max_ms = 3'600'000;
  std::optional<log::Durability> durability;  // not set: the broker's
  int32_t min_insync_replicas = 1;
  int64_t retention_ms = int64_t{7} * 24 * 3600 * 1000;  // -1: for ever
  int64_t retention_bytes = -1;                          // -1: any number
  // cleanup.policy; with neither nothing ever goes.
  bool cleanup_delete = true;
  bool cleanup_compact = false;
  int64_t compaction_lag_min_ms = 0;
  int64_t compaction_lag_max_ms = INT64_MAX;
  double dirty_ratio_min = 0.5;
  int64_t delete_retention_ms = int64_t{24} * 3600 * 1000;

  bool operator==(const TopicConfig&) const = default;
};

// What an entry takes; the values are Kafka's (DescribeConfigsResponse).
enum class ConfigType : int8_t {
  kUnknown = 0,
  kBoolean = 1,
  kString = 2,
  kInt = 3,
  kLong = 5,
  kDouble = 6,
  kList = 7,  // separated by commas
};

// An entry that a topic may have.
struct TopicConfigDefinition {
  absl::string_view name;
  absl::string_view default_value;
  ConfigType type;
  absl::string_view broker_name;  // of what says the default, as Kafka calls it at a broker
  absl::string_view help;         // a sentence or two for people
  // Stores `value`; an error says what was expected and what came, in printable characters.
  absl::Status (*apply)(absl::string_view value, TopicConfig* config);
};

struct TopicConfigEntry {
  std::string name;
  std::string value;
  bool is_default = false;
};

struct ConfigChange {
  enum class Op : uint8_t { kSet, kDelete, kAppend, kSubtract };  // the latter two: of lists only
  std::string name;
  Op op = Op::kSet;
  std::string value;  // nothing with kDelete: the entry goes back to its default
};

// By name.
absl::Span<const TopicConfigDefinition> TopicConfigDefinitions();

// `entries` after all of `changes`, one after the other. InvalidArgument names the change that
// makes no sense; whether the values do is ParseTopicConfig's affair.
absl::StatusOr<std::map<std::string, std::string>> ChangeTopicConfig(
    std::map<std::string, std::string> entries, absl::Span<const ConfigChange> changes);

// InvalidArgument names the entry, what it takes and what came, in printable characters.
absl::StatusOr<TopicConfig> ParseTopicConfig(const std::map<std::string, std::string>& entries);

// All known entries with their values in force, by name.
std::vector<TopicConfigEntry> ListTopicConfig(const std::map<std::string, std::string>& entries);

// Kafka's rule: 1 to 249 of [A-Za-z0-9._-], not "." or "..".
absl::Status ValidateTopicName(absl::string_view name);

}  // namespace ringtail::server
