// Integers of fixed width in bytes: Kafka's formats and files are big endian ("Be"), the native
// protocol's frame prefix is little endian ("Le"). Pointers may have any alignment; the caller has
// made sure that sizeof(T) bytes are there. Each compiles to one move (and a byte swap).
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace ringtail::base {

template <class T>
concept FixedInt = std::integral<T> && !std::same_as<T, bool> && sizeof(T) <= 8;

namespace endian_internal {

template <FixedInt T>
constexpr T Swap(T value) {
  if constexpr (sizeof(T) == 2)
    return static_cast<T>(__builtin_bswap16(static_cast<uint16_t>(value)));
  if constexpr (sizeof(T) == 4)
    return static_cast<T>(__builtin_bswap32(static_cast<uint32_t>(value)));
  if constexpr (sizeof(T) == 8)
    return static_cast<T>(__builtin_bswap64(static_cast<uint64_t>(value)));
  return value;
}

}  // namespace endian_internal

template <FixedInt T>
T LoadBe(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return std::endian::native == std::endian::big ? value : endian_internal::Swap(value);
}

template <FixedInt T>
T LoadLe(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return std::endian::native == std::endian::little ? value : endian_internal::Swap(value);
}

// The type is always written out (StoreBe<int32_t>(p, n)): the width is part of a format.
template <FixedInt T>
void StoreBe(uint8_t* to, std::type_identity_t<T> value) {
  if constexpr (std::endian::native != std::endian::big) value = endian_internal::Swap<T>(value);
  std::memcpy(to, &value, sizeof(T));
}

template <FixedInt T>
void StoreLe(uint8_t* to, std::type_identity_t<T> value) {
  if constexpr (std::endian::native != std::endian::little) value = endian_internal::Swap<T>(value);
  std::memcpy(to, &value, sizeof(T));
}

}  // namespace ringtail::base
