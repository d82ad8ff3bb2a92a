#include "engine/base/stream_copy.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace ringtail::base {
namespace {

// Every length about the threshold and every place in a line, with what lies around it.
TEST(StreamCopy, CopiesAndZeroesExactlyWhatItIsTold) {
  std::vector<uint8_t> from(2048);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<uint8_t>(i * 31 + 7);
  std::vector<uint8_t> to(2048 + 256);
  for (size_t at = 0; at < 64; at += 3) {
    for (size_t bytes = 0; bytes <= 700; bytes += bytes < 300 ? 1 : 37) {
      const size_t from_at = bytes % 17;
      std::fill(to.begin(), to.end(), 0xee);
      std::vector<uint8_t> expected = to;
      StreamCopy(to.data() + at, from.data() + from_at, bytes);
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(from_at), bytes,
                  expected.begin() + static_cast<std::ptrdiff_t>(at));
      ASSERT_EQ(to, expected) << at << " " << bytes;
      StreamZero(to.data() + at, bytes);
      std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(at), bytes, 0);
      ASSERT_EQ(to, expected) << at << " " << bytes;
    }
  }
  StreamFence();
  StreamCopy(to.data(), nullptr, 0);
}

}  // namespace
}  // namespace ringtail::base
