#include "engine/base/types.h"

#include "engine/base/random_bytes.h"

namespace ringtail::base {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr size_t kTextLength = 22;

int ValueOf(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '-') return 62;
  if (c == '_') return 63;
  return -1;
}

}  // namespace

std::string Uuid::ToString() const {
  std::string text;
  text.reserve(kTextLength);
  uint32_t bits = 0;
  int bit_count = 0;
  for (const uint8_t byte : bytes) {
    bits = (bits << 8) | byte;
    bit_count += 8;
    while (bit_count >= 6) {
      bit_count -= 6;
      text.push_back(kAlphabet[(bits >> bit_count) & 63]);
    }
  }
  text.push_back(kAlphabet[(bits << (6 - bit_count)) & 63]);
  return text;
}

Uuid Uuid::Random() {
  Uuid id;
  // A leading '-' would read as a flag in shells.
  while (id.IsZero() || id.ToString()[0] == '-') RandomBytes(id.bytes);
  return id;
}

bool Uuid::FromBytes(ByteView raw, Uuid* out) {
  if (raw.size() != out->bytes.size()) return false;
  std::memcpy(out->bytes.data(), raw.data(), raw.size());
  return true;
}

bool Uuid::FromString(absl::string_view text, Uuid* out) {
  if (text.size() != kTextLength) return false;
  uint32_t bits = 0;
  int bit_count = 0;
  size_t next = 0;
  for (const char c : text) {
    const int value = ValueOf(c);
    if (value < 0) return false;
    bits = (bits << 6) | static_cast<uint32_t>(value);
    bit_count += 6;
    if (bit_count >= 8 && next < out->bytes.size()) {
      bit_count -= 8;
      out->bytes[next++] = static_cast<uint8_t>(bits >> bit_count);
    }
  }
  return next == out->bytes.size();
}

}  // namespace ringtail::base
