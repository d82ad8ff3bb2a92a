// The latest offset of each key of a part of a log, in bounded memory: for compaction. A key is
// known by 128 bits of XXH3 with a random secret per table, as Kafka knows it by its MD5: that two
// keys of a table share them has odds of 1 in 2^64 for four billion keys. One thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/types.h"

namespace ringtail::partition {

class KeyOffsets {
 public:
  // Takes memory as keys come, `bytes_max` at most.
  explicit KeyOffsets(size_t bytes_max);

  // False: there is no room for a key that is new.
  bool Put(base::ByteView key, base::Offset offset);
  // -1: the key was not put.
  base::Offset Find(base::ByteView key) const;

  size_t size() const { return size_; }
  size_t memory_bytes() const { return slots_.size() * sizeof(Slot); }

 private:
  struct Slot {
    uint64_t low = 0;
    uint64_t high = 0;
    int64_t offset = -1;  // -1: free
  };
  static constexpr size_t kSecretBytes = 192;  // XXH3_SECRET_DEFAULT_SIZE

  Slot Hash(base::ByteView key) const;
  static size_t Probe(const std::vector<Slot>& slots, const Slot& wanted);
  bool Grow();

  size_t slots_max_;
  size_t size_ = 0;
  std::vector<Slot> slots_;  // a power of two
  std::array<uint8_t, kSecretBytes> secret_;
};

}  // namespace ringtail::partition
