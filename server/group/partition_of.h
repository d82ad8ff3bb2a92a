// Which partition of __consumer_offsets a group belongs to.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace ringtail::group {

// Java's String.hashCode, of what the UTF-8 text is there: UTF-16, each malformed byte being
// U+FFFD.
int32_t JavaHash(absl::string_view text);

// As Kafka's coordinator reckons it: Utils.abs(hash), for which the smallest integer counts as 0,
// modulo the number of partitions.
int32_t PartitionOf(absl::string_view group_id, int32_t partitions);

}  // namespace ringtail::group
