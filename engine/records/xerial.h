// The stream format of xerial's snappy-java (SnappyOutputStream), which Kafka's Java client writes:
// this header, then blocks of int32 length (big endian) and that many bytes of raw snappy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ringtail::records {

inline constexpr std::array<uint8_t, 8> kXerialMagic = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
inline constexpr size_t kXerialHeaderBytes = kXerialMagic.size() + 2 * sizeof(int32_t);
inline constexpr int32_t kXerialVersion = 1;
inline constexpr size_t kXerialBlockBytes = 32 * 1024;

}  // namespace ringtail::records
