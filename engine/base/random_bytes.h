// Random bytes for names, secrets of hashes and the like: the kernel's (getrandom(2)), unless a
// simulation has put a seeded source in their place so that its runs repeat.
#pragma once

#include <cstdint>
#include <span>

namespace ringtail::base {

void RandomBytes(std::span<uint8_t> out);

class RandomSource {
 public:
  virtual void Fill(std::span<uint8_t> out) = 0;

 protected:
  ~RandomSource() = default;
};

// Of this thread, from now on; nullptr: the kernel's. Returns what it was before.
RandomSource* SetRandomSource(RandomSource* source);

}  // namespace ringtail::base
