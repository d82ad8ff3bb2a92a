// Numbers in no order, the same in every run and every revision.
#pragma once

#include <cstdint>

namespace ringtail::perf {

class Scattered {
 public:
  // At least 0, below `end`.
  int64_t Below(int64_t end) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX
    return static_cast<int64_t>((state_ >> 33) % static_cast<uint64_t>(end));
  }

 private:
  uint64_t state_ = 1;
};

}  // namespace ringtail::perf
