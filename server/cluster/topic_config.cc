#include "server/cluster/topic_config.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/result.h"

namespace ringtail::server {
namespace {

constexpr size_t kTopicNameBytesMax = 249;
constexpr char kFlushNever[] = "9223372036854775807";

// Stores `value` into the config; an error says what was expected.
using Apply = absl::Status (*)(absl::string_view value, TopicConfig* config);

absl::Status ParseRange(absl::string_view value, int64_t lo, int64_t hi, int64_t* out) {
  if (absl::SimpleAtoi(value, out) && *out >= lo && *out <= hi) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("expected an integer from ", lo, " to ", hi, ", got '", value, "'"));
}

template <class T, T TopicConfig::* Field, int64_t lo, int64_t hi>
absl::Status ApplyInteger(absl::string_view value, TopicConfig* config) {
  int64_t parsed;
  RT_RETURN_IF_ERROR(ParseRange(value, lo, hi, &parsed));
  config->*Field = static_cast<T>(parsed);
  return absl::OkStatus();
}

// An entry that has one value here.
template <const char* const& only>
absl::Status ApplyOnly(absl::string_view value, TopicConfig*) {
  if (value == only) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("this version supports only '", only, "', got '", value, "'"));
}

absl::Status ApplyTimestampType(absl::string_view value, TopicConfig* config) {
  if (value != "CreateTime" && value != "LogAppendTime") {
    return absl::InvalidArgumentError(
        absl::StrCat("expected CreateTime or LogAppendTime, got '", value, "'"));
  }
  config->log_append_time = value == "LogAppendTime";
  return absl::OkStatus();
}

absl::Status SetDurability(absl::string_view name, log::Durability durability,
                           TopicConfig* config) {
  if (config->durability.has_value() && *config->durability != durability) {
    return absl::InvalidArgumentError(absl::StrCat(
        "flush.messages=1 asks for ringtail.durability=journal; '", name, "' contradicts it"));
  }
  config->durability = durability;
  return absl::OkStatus();
}

absl::Status ApplyDurability(absl::string_view value, TopicConfig* config) {
  if (value == "journal") return SetDurability(value, log::Durability::kJournal, config);
  if (value == "page_cache") return SetDurability(value, log::Durability::kPageCache, config);
  if (value == "broker") return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "expected journal, page_cache or broker (what the broker's --durability says), got '", value,
      "'"));
}

// Kafka's way to ask for an acknowledgement that survives a power cut.
absl::Status ApplyFlushMessages(absl::string_view value, TopicConfig* config) {
  if (value == "1") return SetDurability(value, log::Durability::kJournal, config);
  if (value == kFlushNever) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("expected 1 (each append is durable when it is acknowledged: "
                   "ringtail.durability=journal) or ",
                   kFlushNever, " (never), got '", value, "'"));
}

constexpr const char* kProducer = "producer";
constexpr const char* kDelete = "delete";

struct Entry {
  absl::string_view name;
  absl::string_view default_value;
  Apply apply;
};

constexpr int64_t kInt32Max = INT32_MAX;
const Entry kEntries[] = {
    {"cleanup.policy", "delete", ApplyOnly<kDelete>},
    {"compression.type", "producer", ApplyOnly<kProducer>},
    {"flush.messages", kFlushNever, ApplyFlushMessages},
    {"index.interval.bytes", "4096",
     ApplyInteger<int32_t, &TopicConfig::index_interval_bytes, 0, kInt32Max>},
    {"max.message.bytes", "1048588",
     ApplyInteger<int32_t, &TopicConfig::max_message_bytes, 61, 100 << 20>},
    {"message.timestamp.type", "CreateTime", ApplyTimestampType},
    {"min.insync.replicas", "1", ApplyInteger<int32_t, &TopicConfig::min_insync_replicas, 1, 1>},
    {"retention.bytes", "-1", ApplyInteger<int64_t, &TopicConfig::retention_bytes, -1, INT64_MAX>},
    {"retention.ms", "604800000", ApplyInteger<int64_t, &TopicConfig::retention_ms, -1, INT64_MAX>},
    {"ringtail.durability", "broker", ApplyDurability},
    {"segment.bytes", "1073741824",
     ApplyInteger<int64_t, &TopicConfig::segment_bytes, 1 << 14, kInt32Max>},
    {"segment.index.bytes", "10485760",
     ApplyInteger<int32_t, &TopicConfig::segment_index_bytes, 1 << 10, kInt32Max>},
    {"segment.ms", "604800000", ApplyInteger<int64_t, &TopicConfig::segment_ms, 1, INT64_MAX>},
};

const Entry* Find(absl::string_view name) {
  const auto* found = std::find_if(std::begin(kEntries), std::end(kEntries),
                                   [&](const Entry& entry) { return entry.name == name; });
  return found == std::end(kEntries) ? nullptr : found;
}

}  // namespace

absl::StatusOr<TopicConfig> ParseTopicConfig(const std::map<std::string, std::string>& entries) {
  TopicConfig config;
  for (const auto& [name, value] : entries) {
    const Entry* entry = Find(name);
    if (entry == nullptr) {
      std::string known;
      for (const Entry& each : kEntries)
        absl::StrAppend(&known, known.empty() ? "" : ", ", each.name);
      return absl::InvalidArgumentError(
          absl::StrCat("unknown topic config '", name, "'; known are: ", known));
    }
    const absl::Status status = entry->apply(value, &config);
    if (!status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", status.message()));
    }
  }
  return config;
}

std::vector<TopicConfigEntry> ListTopicConfig(const std::map<std::string, std::string>& entries) {
  std::vector<TopicConfigEntry> list;
  for (const Entry& entry : kEntries) {
    const auto set = entries.find(std::string(entry.name));
    const bool is_default = set == entries.end();
    list.push_back({.name = std::string(entry.name),
                    .value = is_default ? std::string(entry.default_value) : set->second,
                    .is_default = is_default});
  }
  return list;
}

absl::Status ValidateTopicName(absl::string_view name) {
  const bool characters = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  if (!characters || name.empty() || name.size() > kTopicNameBytesMax || name == "." ||
      name == "..") {
    return absl::InvalidArgumentError(absl::StrCat(
        "a topic name is 1 to ", kTopicNameBytesMax,
        " of A-Z, a-z, 0-9, '.', '_' and '-', and not '.' or '..'; got ", name.size(), " bytes",
        characters && name.size() <= kTopicNameBytesMax ? absl::StrCat(" '", name, "'") : ""));
  }
  return absl::OkStatus();
}

}  // namespace ringtail::server
