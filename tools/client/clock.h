// Time as the client library counts it: nanoseconds of CLOCK_MONOTONIC. Deadlines are points on it.
#pragma once

#include <time.h>

#include <cstdint>

#include "absl/time/time.h"
#include "engine/base/types.h"

namespace ringtail::client {

using base::Nanos;

inline Nanos Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * base::kNanosPerSecond + now.tv_nsec;
}

// Wall clock in ms since 1970, for record timestamps.
inline int64_t WallMillis() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000 + now.tv_nsec / base::kNanosPerMilli;
}

// `now` + `delay`; an infinite delay gives kNever.
inline Nanos After(Nanos now, absl::Duration delay) {
  const int64_t nanos = absl::ToInt64Nanoseconds(delay);
  return nanos > base::kNever - now ? base::kNever : now + nanos;
}

}  // namespace ringtail::client
