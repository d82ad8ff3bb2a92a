// The one source of chance of a simulation: the same seed gives the same numbers on every machine
// (the standard library's distributions do not promise that).
#pragma once

#include <cstdint>

namespace ringtail::sim {

// SplitMix64 (Steele, Lea, Flood 2014).
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 0x1234567) {}

  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  // 0 .. bound - 1; 0 where bound is 0.
  uint64_t Below(uint64_t bound) { return bound == 0 ? 0 : Next() % bound; }
  // first .. last, both included.
  int64_t Between(int64_t first, int64_t last) {
    return first + static_cast<int64_t>(Below(static_cast<uint64_t>(last - first) + 1));
  }
  bool Chance(double probability) {
    if (probability >= 1) return true;
    return static_cast<double>(Next() >> 11) * 0x1.0p-53 < probability;
  }
  // Between(least, most) as a rule, and one time in 32 up to 16 times as much.
  int64_t Latency(int64_t least, int64_t most) {
    const int64_t usual = Between(least, most);
    return Below(32) == 0 ? usual * Between(2, 16) : usual;
  }

 private:
  uint64_t state_;
};

}  // namespace ringtail::sim
