#include "tools/client/partitioner.h"

#include "engine/base/endian.h"

namespace ringtail::client {

uint32_t Murmur2(base::ByteView key) {
  constexpr uint32_t kSeed = 0x9747b28c;
  constexpr uint32_t kFactor = 0x5bd1e995;
  constexpr int kShift = 24;
  uint32_t hash = kSeed ^ static_cast<uint32_t>(key.size());
  size_t at = 0;
  for (; at + 4 <= key.size(); at += 4) {
    uint32_t word = base::LoadLe<uint32_t>(key.data() + at) * kFactor;
    word = (word ^ (word >> kShift)) * kFactor;
    hash = (hash * kFactor) ^ word;
  }
  const size_t rest = key.size() - at;
  if (rest >= 3) hash ^= static_cast<uint32_t>(key[at + 2]) << 16;
  if (rest >= 2) hash ^= static_cast<uint32_t>(key[at + 1]) << 8;
  if (rest >= 1) hash = (hash ^ key[at]) * kFactor;
  hash = (hash ^ (hash >> 13)) * kFactor;
  return hash ^ (hash >> 15);
}

}  // namespace ringtail::client
