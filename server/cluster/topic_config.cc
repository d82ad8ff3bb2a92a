#include "server/cluster/topic_config.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/base/result.h"

namespace ringtail::server {
namespace {

constexpr size_t kTopicNameBytesMax = 249;
constexpr char kFlushNever[] = "9223372036854775807";
constexpr size_t kQuotedBytesMax = 100;

// What a client sent, for its error message: any bytes and any number of them may have come.
std::string Quoted(absl::string_view text) {
  const bool cut = text.size() > kQuotedBytesMax;
  return absl::StrCat("'", absl::CHexEscape(text.substr(0, kQuotedBytesMax)), cut ? "..." : "",
                      "'");
}

absl::Status ParseRange(absl::string_view value, int64_t lo, int64_t hi, int64_t* out) {
  if (absl::SimpleAtoi(value, out) && *out >= lo && *out <= hi) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("expected an integer from ", lo, " to ", hi, ", got ", Quoted(value)));
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
      absl::StrCat("this version supports only '", only, "', got ", Quoted(value)));
}

absl::Status ApplyCleanupPolicy(absl::string_view value, TopicConfig* config) {
  config->cleanup_delete = config->cleanup_compact = false;
  for (absl::string_view policy : absl::StrSplit(value, ',', absl::SkipEmpty())) {
    policy = absl::StripAsciiWhitespace(policy);
    if (policy == "delete") {
      config->cleanup_delete = true;
    } else if (policy == "compact") {
      config->cleanup_compact = true;
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "expected delete, compact or both, separated by a comma, got ", Quoted(value)));
    }
  }
  if (config->cleanup_delete || config->cleanup_compact) return absl::OkStatus();
  return absl::InvalidArgumentError("expected delete, compact or both, got nothing");
}

absl::Status ApplyDirtyRatio(absl::string_view value, TopicConfig* config) {
  double parsed;
  if (!absl::SimpleAtod(value, &parsed) || !(parsed >= 0 && parsed <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a number from 0 to 1, got ", Quoted(value)));
  }
  config->dirty_ratio_min = parsed;
  return absl::OkStatus();
}

absl::Status ApplyTimestampType(absl::string_view value, TopicConfig* config) {
  if (value != "CreateTime" && value != "LogAppendTime") {
    return absl::InvalidArgumentError(
        absl::StrCat("expected CreateTime or LogAppendTime, got ", Quoted(value)));
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
  return absl::InvalidArgumentError(
      absl::StrCat("expected journal, page_cache or broker (what the broker's --durability says), "
                   "got ",
                   Quoted(value)));
}

// Kafka's way to ask for an acknowledgement that survives a power cut.
absl::Status ApplyFlushMessages(absl::string_view value, TopicConfig* config) {
  if (value == "1") return SetDurability(value, log::Durability::kJournal, config);
  if (value == kFlushNever) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("expected 1 (each append is durable when it is acknowledged: "
                   "ringtail.durability=journal) or ",
                   kFlushNever, " (never), got ", Quoted(value)));
}

constexpr const char* kProducer = "producer";

constexpr int64_t kInt32Max = INT32_MAX;

constexpr TopicConfigDefinition kDefinitions[] = {
    {"cleanup.policy", "delete", ConfigType::kList, "log.cleanup.policy",
     "What happens to old records. delete: whole segments go, by retention.ms and "
     "retention.bytes; compact: of each key the latest record stays; both may be set.",
     ApplyCleanupPolicy},
    {"compression.type", "producer", ConfigType::kString, "compression.type",
     "producer: batches are kept as they were sent.", ApplyOnly<kProducer>},
    {"delete.retention.ms", "86400000", ConfigType::kLong, "log.cleaner.delete.retention.ms",
     "How long compaction keeps a tombstone (a record without a value) that it has come past.",
     ApplyInteger<int64_t, &TopicConfig::delete_retention_ms, 0, INT64_MAX>},
    {"flush.messages", kFlushNever, ConfigType::kLong, "log.flush.interval.messages",
     "1: a record is acknowledged when it is safe from a power cut, which is "
     "ringtail.durability=journal.",
     ApplyFlushMessages},
    {"index.interval.bytes", "4096", ConfigType::kInt, "log.index.interval.bytes",
     "Bytes of batches from one entry of the offset index to the next.",
     ApplyInteger<int32_t, &TopicConfig::index_interval_bytes, 0, kInt32Max>},
    {"max.compaction.lag.ms", "9223372036854775807", ConfigType::kLong,
     "log.cleaner.max.compaction.lag.ms",
     "Records that have waited this long are compacted, whatever min.cleanable.dirty.ratio says.",
     ApplyInteger<int64_t, &TopicConfig::compaction_lag_max_ms, 1, INT64_MAX>},
    {"max.message.bytes", "1048588", ConfigType::kInt, "message.max.bytes",
     "The largest batch that is taken, as it was sent: after compression.",
     ApplyInteger<int32_t, &TopicConfig::max_message_bytes, 61, 100 << 20>},
    {"message.timestamp.after.max.ms", "3600000", ConfigType::kLong,
     "log.message.timestamp.after.max.ms",
     "How far ahead of the broker's clock a record's timestamp may be.",
     ApplyInteger<int64_t, &TopicConfig::timestamp_after_max_ms, 0, INT64_MAX>},
    {"message.timestamp.before.max.ms", "9223372036854775807", ConfigType::kLong,
     "log.message.timestamp.before.max.ms",
     "How far behind the broker's clock a record's timestamp may be.",
     ApplyInteger<int64_t, &TopicConfig::timestamp_before_max_ms, 0, INT64_MAX>},
    {"message.timestamp.type", "CreateTime", ConfigType::kString, "log.message.timestamp.type",
     "CreateTime: the producer's timestamps stand; LogAppendTime: the broker sets them.",
     ApplyTimestampType},
    {"min.cleanable.dirty.ratio", "0.5", ConfigType::kDouble, "log.cleaner.min.cleanable.ratio",
     "The part of a log that is not compacted yet from which on compaction is worth it.",
     ApplyDirtyRatio},
    {"min.compaction.lag.ms", "0", ConfigType::kLong, "log.cleaner.min.compaction.lag.ms",
     "Records younger than this are not compacted.",
     ApplyInteger<int64_t, &TopicConfig::compaction_lag_min_ms, 0, INT64_MAX>},
    {"min.insync.replicas", "1", ConfigType::kInt, "min.insync.replicas",
     "Replicas that must have a record before acks=all acknowledges it.",
     ApplyInteger<int32_t, &TopicConfig::min_insync_replicas, 1, 1>},
    {"retention.bytes", "-1", ConfigType::kLong, "log.retention.bytes",
     "Old segments of a partition go while what remains holds this many bytes; -1: they stay.",
     ApplyInteger<int64_t, &TopicConfig::retention_bytes, -1, INT64_MAX>},
    {"retention.ms", "604800000", ConfigType::kLong, "log.retention.ms",
     "A segment goes when its newest record is older than this; -1: never.",
     ApplyInteger<int64_t, &TopicConfig::retention_ms, -1, INT64_MAX>},
    {"ringtail.durability", "broker", ConfigType::kString, "ringtail.durability",
     "What an acknowledged record survives. journal: a power cut; page_cache: kill -9; broker: "
     "what the broker's --durability says.",
     ApplyDurability},
    {"segment.bytes", "1073741824", ConfigType::kInt, "log.segment.bytes",
     "A segment that would grow larger than this ends, and the next one begins.",
     ApplyInteger<int64_t, &TopicConfig::segment_bytes, 1 << 14, kInt32Max>},
    {"segment.index.bytes", "10485760", ConfigType::kInt, "log.index.size.max.bytes",
     "A segment ends when one of its indexes is as large as this.",
     ApplyInteger<int32_t, &TopicConfig::segment_index_bytes, 1 << 10, kInt32Max>},
    {"segment.ms", "604800000", ConfigType::kLong, "log.roll.ms",
     "A segment whose first record is older than this ends with the next append.",
     ApplyInteger<int64_t, &TopicConfig::segment_ms, 1, INT64_MAX>},
};

const TopicConfigDefinition* Find(absl::string_view name) {
  const auto* found =
      std::find_if(std::begin(kDefinitions), std::end(kDefinitions),
                   [&](const TopicConfigDefinition& each) { return each.name == name; });
  return found == std::end(kDefinitions) ? nullptr : found;
}

absl::Status UnknownEntry(absl::string_view name) {
  const auto append_name = [](std::string* out, const TopicConfigDefinition& each) {
    absl::StrAppend(out, each.name);
  };
  return absl::InvalidArgumentError(
      absl::StrCat("unknown topic config ", Quoted(name),
                   "; known are: ", absl::StrJoin(kDefinitions, ", ", append_name)));
}

// The comma-separated value of a list with those of `more` added, or taken away.
std::string ChangeList(absl::string_view list, bool add, absl::string_view more) {
  std::vector<absl::string_view> items = absl::StrSplit(list, ',', absl::SkipEmpty());
  for (const absl::string_view item : absl::StrSplit(more, ',', absl::SkipEmpty())) {
    const auto found = std::find(items.begin(), items.end(), item);
    if (add && found == items.end()) items.push_back(item);
    if (!add && found != items.end()) items.erase(found);
  }
  return absl::StrJoin(items, ",");
}

}  // namespace

absl::Span<const TopicConfigDefinition> TopicConfigDefinitions() { return kDefinitions; }

absl::StatusOr<std::map<std::string, std::string>> ChangeTopicConfig(
    std::map<std::string, std::string> entries, absl::Span<const ConfigChange> changes) {
  for (const ConfigChange& change : changes) {
    const TopicConfigDefinition* entry = Find(change.name);
    if (entry == nullptr) return UnknownEntry(change.name);
    switch (change.op) {
      case ConfigChange::Op::kSet:
        entries[change.name] = change.value;
        break;
      case ConfigChange::Op::kDelete:
        entries.erase(change.name);
        break;
      case ConfigChange::Op::kAppend:
      case ConfigChange::Op::kSubtract: {
        if (entry->type != ConfigType::kList) {
          return absl::InvalidArgumentError(
              absl::StrCat(change.name, ": values are added to and taken from lists only; set it"));
        }
        const auto set = entries.find(change.name);
        const bool add = change.op == ConfigChange::Op::kAppend;
        entries[change.name] = ChangeList(set == entries.end() ? entry->default_value : set->second,
                                          add, change.value);
        break;
      }
    }
  }
  return entries;
}

absl::StatusOr<TopicConfig> ParseTopicConfig(const std::map<std::string, std::string>& entries) {
  TopicConfig config;
  for (const auto& [name, value] : entries) {
    const TopicConfigDefinition* entry = Find(name);
    if (entry == nullptr) return UnknownEntry(name);
    const absl::Status status = entry->apply(value, &config);
    if (!status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", status.message()));
    }
  }
  return config;
}

std::vector<TopicConfigEntry> ListTopicConfig(const std::map<std::string, std::string>& entries) {
  std::vector<TopicConfigEntry> list;
  for (const TopicConfigDefinition& entry : kDefinitions) {
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
