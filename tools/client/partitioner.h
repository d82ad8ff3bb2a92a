// Which partition a key belongs to: the same one that Kafka's Java client, librdkafka's
// "murmur2_random" and kcat -X partitioner=murmur2 choose, so that clients can be mixed.
#pragma once

#include <cstdint>

#include "engine/base/bytes.h"

namespace ringtail::client {

// MurmurHash2, 32 bits, seed 0x9747b28c (org.apache.kafka.common.utils.Utils.murmur2).
uint32_t Murmur2(base::ByteView key);

// `partitions` is at least 1.
inline int32_t PartitionOfKey(base::ByteView key, int32_t partitions) {
  return static_cast<int32_t>((Murmur2(key) & 0x7fffffff) % static_cast<uint32_t>(partitions));
}

}  // namespace ringtail::client
