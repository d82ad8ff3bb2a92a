// Integers of variable length, seven bits a byte, low bits first, as in protobuf and in Kafka's
// records (KIP-98: signed, zigzag) and flexible protocol versions (KIP-482: unsigned).
//
// Decoding never reads past the view. A value whose bits do not fit its type fails, as does one
// that ends early; more bytes than needed (0x80 0x00) are accepted up to the type's longest, as
// Kafka does.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "engine/base/bytes.h"

namespace ringtail::base {

template <class T>
struct Varint {
  T value = 0;
  size_t size = 0;  // bytes consumed; 0: not a valid varint

  explicit operator bool() const { return size != 0; }
};

// Bytes that the longest value of T takes: 5 for 32 bits, 10 for 64.
template <std::integral T>
inline constexpr size_t kVarintSizeMax = (sizeof(T) * 8 + 6) / 7;

template <std::unsigned_integral T>
constexpr T ZigZagEncode(std::make_signed_t<T> value) {
  return (static_cast<T>(value) << 1) ^ static_cast<T>(value >> (sizeof(T) * 8 - 1));
}

template <std::unsigned_integral T>
constexpr std::make_signed_t<T> ZigZagDecode(T value) {
  return static_cast<std::make_signed_t<T>>((value >> 1) ^ (T{0} - (value & 1)));
}

template <std::unsigned_integral T>
constexpr Varint<T> DecodeUvarint(ByteView in) {
  if (!in.empty() && in[0] < 0x80) return {in[0], 1};  // by far the commonest
  constexpr size_t kBits = sizeof(T) * 8;
  T value = 0;
  for (size_t i = 0, shift = 0; i < kVarintSizeMax<T> && i < in.size(); ++i, shift += 7) {
    const uint8_t byte = in[i];
    const T bits = byte & 0x7f;
    if (shift + 7 > kBits && (bits >> (kBits - shift)) != 0) return {};
    value |= static_cast<T>(bits << shift);
    if (byte < 0x80) return {value, i + 1};
  }
  return {};
}

constexpr Varint<uint32_t> DecodeUvarint32(ByteView in) { return DecodeUvarint<uint32_t>(in); }
constexpr Varint<uint64_t> DecodeUvarint64(ByteView in) { return DecodeUvarint<uint64_t>(in); }

constexpr Varint<int32_t> DecodeVarint32(ByteView in) {
  const auto raw = DecodeUvarint<uint32_t>(in);
  return {ZigZagDecode(raw.value), raw.size};
}

constexpr Varint<int64_t> DecodeVarint64(ByteView in) {
  const auto raw = DecodeUvarint<uint64_t>(in);
  return {ZigZagDecode(raw.value), raw.size};
}

constexpr size_t UvarintSize(uint64_t value) {
  return value == 0 ? 1 : (static_cast<size_t>(std::bit_width(value)) + 6) / 7;
}

// The same for 32 and 64 bit values: zigzag keeps small numbers small whatever their type.
constexpr size_t VarintSize(int64_t value) { return UvarintSize(ZigZagEncode<uint64_t>(value)); }

// Writes at `to`, which has room for UvarintSize(value) bytes; returns how many were written.
constexpr size_t EncodeUvarint(uint8_t* to, uint64_t value) {
  size_t size = 0;
  while (value >= 0x80) {
    to[size++] = static_cast<uint8_t>(value) | 0x80;
    value >>= 7;
  }
  to[size++] = static_cast<uint8_t>(value);
  return size;
}

// Zigzag; room for VarintSize(value) bytes.
constexpr size_t EncodeVarint(uint8_t* to, int64_t value) {
  return EncodeUvarint(to, ZigZagEncode<uint64_t>(value));
}

}  // namespace ringtail::base
