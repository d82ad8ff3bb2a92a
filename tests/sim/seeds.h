// Runs a test for many seeds and says which one failed.
//   --test_env=SIM_SEED=17     only that one
//   --test_env=SIM_SEEDS=5000  so many instead of the default (tools/dev soak)
// Under sanitizers, which are looking for something else and take six times as long, a third.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

namespace ringtail::sim {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// Calls body(seed) for seed 1 .. count; stops at the first that fails.
template <class Body>
void ForSeeds(uint64_t count, Body body) {
  uint64_t first = 1;
  if (kSanitized) count = (count + 2) / 3;
  if (const char* text = std::getenv("SIM_SEEDS")) count = std::strtoull(text, nullptr, 10);
  if (const char* text = std::getenv("SIM_SEED")) {
    first = std::strtoull(text, nullptr, 10);
    count = first;
  }
  for (uint64_t seed = first; seed <= count; ++seed) {
    SCOPED_TRACE("replay with --test_env=SIM_SEED=" + std::to_string(seed));
    body(seed);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace ringtail::sim
