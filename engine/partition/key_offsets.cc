#include "engine/partition/key_offsets.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "engine/base/random_bytes.h"

namespace ringtail::partition {
namespace {

constexpr size_t kSlotsMin = 1024;

// Three quarters: beyond that probes grow long.
constexpr size_t Capacity(size_t slots) { return slots / 4 * 3; }

}  // namespace

KeyOffsets::KeyOffsets(size_t bytes_max)
    : slots_max_(std::bit_floor(std::max(bytes_max / sizeof(Slot), kSlotsMin))) {
  static_assert(kSecretBytes == XXH3_SECRET_DEFAULT_SIZE);
  base::RandomBytes(secret_);
}

KeyOffsets::Slot KeyOffsets::Hash(base::ByteView key) const {
  const XXH128_hash_t hash =
      XXH3_128bits_withSecret(key.data(), key.size(), secret_.data(), secret_.size());
  return {hash.low64, hash.high64, -1};
}

// Where it is, or the free slot that it would take.
size_t KeyOffsets::Probe(const std::vector<Slot>& slots, const Slot& wanted) {
  const size_t mask = slots.size() - 1;
  size_t at = wanted.low & mask;
  while (slots[at].offset >= 0 && (slots[at].low != wanted.low || slots[at].high != wanted.high)) {
    at = (at + 1) & mask;
  }
  return at;
}

bool KeyOffsets::Grow() {
  if (slots_.size() >= slots_max_) return false;
  std::vector<Slot> larger(slots_.empty() ? kSlotsMin : slots_.size() * 2);
  for (const Slot& slot : slots_) {
    if (slot.offset >= 0) larger[Probe(larger, slot)] = slot;
  }
  slots_ = std::move(larger);
  return true;
}

bool KeyOffsets::Put(base::ByteView key, base::Offset offset) {
  Slot slot = Hash(key);
  slot.offset = offset.value();
  if (!slots_.empty()) {
    Slot& known = slots_[Probe(slots_, slot)];
    if (known.offset >= 0) {
      known.offset = slot.offset;
      return true;
    }
  }
  if (size_ >= Capacity(slots_.size()) && !Grow()) return false;
  slots_[Probe(slots_, slot)] = slot;
  ++size_;
  return true;
}

base::Offset KeyOffsets::Find(base::ByteView key) const {
  if (slots_.empty()) return base::Offset(-1);
  return base::Offset(slots_[Probe(slots_, Hash(key))].offset);
}

}  // namespace ringtail::partition
