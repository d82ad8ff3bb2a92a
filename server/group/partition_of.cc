#include "server/group/partition_of.h"

#include <cstddef>

namespace ringtail::group {
namespace {

constexpr uint32_t kReplacement = 0xfffd;

// The code point at the front of `text`, and its bytes; a malformed one takes one byte.
uint32_t NextCodePoint(absl::string_view text, size_t* bytes) {
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(text[at]); };
  const uint8_t first = byte(0);
  *bytes = 1;
  if (first < 0x80) return first;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return kReplacement;
  uint32_t point = first & (0xff >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return kReplacement;
    point = (point << 6) | (byte(i) & 0x3f);
  }
  const bool surrogate = point >= 0xd800 && point <= 0xdfff;
  const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
  if (surrogate || overlong || point > 0x10ffff) return kReplacement;
  *bytes = length;
  return point;
}

}  // namespace

int32_t JavaHash(absl::string_view text) {
  uint32_t hash = 0;
  while (!text.empty()) {
    size_t bytes;
    const uint32_t point = NextCodePoint(text, &bytes);
    text.remove_prefix(bytes);
    if (point < 0x10000) {
      hash = hash * 31 + point;
      continue;
    }
    hash = hash * 31 + (0xd800 + ((point - 0x10000) >> 10));
    hash = hash * 31 + (0xdc00 + ((point - 0x10000) & 0x3ff));
  }
  return static_cast<int32_t>(hash);
}

int32_t PartitionOf(absl::string_view group_id, int32_t partitions) {
  const int32_t hash = JavaHash(group_id);
  if (hash == INT32_MIN) return 0;
  return (hash < 0 ? -hash : hash) % partitions;
}

}  // namespace ringtail::group
