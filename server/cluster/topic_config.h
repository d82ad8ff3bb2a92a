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
  std::optional<log::Durability> durability;  // not set: the broker's
  int32_t min_insync_replicas = 1;
  int64_t retention_ms = int64_t{7} * 24 * 3600 * 1000;  // -1: for ever
  int64_t retention_bytes = -1;                          // -1: any number
};

struct TopicConfigEntry {
  std::string name;
  std::string value;
  bool is_default = false;
};

// InvalidArgument names the entry, what it takes and what came.
absl::StatusOr<TopicConfig> ParseTopicConfig(const std::map<std::string, std::string>& entries);

// All known entries with their values in force, by name.
std::vector<TopicConfigEntry> ListTopicConfig(const std::map<std::string, std::string>& entries);

// Kafka's rule: 1 to 249 of [A-Za-z0-9._-], not "." or "..".
absl::Status ValidateTopicName(absl::string_view name);

}  // namespace ringtail::server
