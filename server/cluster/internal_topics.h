// Topics that are the broker's own: clients may read them, and neither write, delete nor grow them.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "server/cluster/catalog.h"

namespace ringtail::server {

// Where consumer groups and what they committed are recorded, in Kafka's name and formats.
inline constexpr char kOffsetsTopic[] = "__consumer_offsets";
// For ever: a group's partition follows from it (offsets.topic.num.partitions).
inline constexpr uint32_t kOffsetsTopicPartitions = 50;

inline bool IsInternalTopic(absl::string_view name) { return name == kOffsetsTopic; }

// As it is made when the first group is looked for.
inline CreateTopicProposal OffsetsTopicProposal() {
  return {.name = kOffsetsTopic,
          .partitions = kOffsetsTopicPartitions,
          .configs = {{"cleanup.policy", "compact"},
                      {"segment.bytes", "104857600"},
                      // A group's members are one record: Kafka's 1 MiB is too small for some.
                      {"max.message.bytes", "16777216"}}};
}

}  // namespace ringtail::server
