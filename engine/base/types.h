// The numbers that must not be mixed up: an offset counts records of a partition, a position counts
// bytes of a file, a core id names a core of this broker. Swapped arguments do not compile.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"

namespace ringtail::base {

template <class Tag, class Rep>
class Strong {
 public:
  constexpr Strong() = default;
  explicit constexpr Strong(Rep value) : value_(value) {}

  constexpr Rep value() const { return value_; }
  constexpr auto operator<=>(const Strong&) const = default;
  constexpr Strong operator+(Rep delta) const { return Strong(value_ + delta); }
  constexpr Strong operator-(Rep delta) const { return Strong(value_ - delta); }
  constexpr Rep operator-(Strong other) const { return value_ - other.value_; }
  constexpr Strong& operator+=(Rep delta) {
    value_ += delta;
    return *this;
  }

  template <typename H>
  friend H AbslHashValue(H state, const Strong& strong) {
    return H::combine(std::move(state), strong.value_);
  }

 private:
  Rep value_{};
};

using Offset = Strong<struct OffsetTag, int64_t>;      // of a record in its partition
using Position = Strong<struct PositionTag, int64_t>;  // of a byte in its file
using CoreId = Strong<struct CoreIdTag, uint32_t>;     // 0 .. cores-1 of this broker

// Time since an arbitrary start (CLOCK_BOOTTIME in the real backend), for deadlines and latencies.
using Nanos = int64_t;
inline constexpr Nanos kNanosPerMilli = 1'000'000;
inline constexpr Nanos kNanosPerSecond = 1'000'000'000;
inline constexpr Nanos kNever = INT64_MAX;

// 16 random bytes that name a topic, a data directory or a cluster.
// Shown as Kafka shows a UUID: 22 characters of base64url without padding.
struct Uuid {
  std::array<uint8_t, 16> bytes{};

  auto operator<=>(const Uuid&) const = default;
  bool IsZero() const { return *this == Uuid{}; }
  ByteView view() const { return bytes; }
  std::string ToString() const;
  // Random, never zero; not for secrets.
  static Uuid Random();
  // False where `raw` is not 16 bytes / `text` not 22 base64url characters.
  static bool FromBytes(ByteView raw, Uuid* out);
  static bool FromString(absl::string_view text, Uuid* out);

  template <typename H>
  friend H AbslHashValue(H state, const Uuid& id) {
    return H::combine(std::move(state), id.bytes);
  }
};

}  // namespace ringtail::base
