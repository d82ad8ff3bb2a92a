#include "engine/base/crc32c.h"

#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace ringtail::base {
namespace {

// One bit at a time, straight from the definition: the reference that the fast code must equal.
uint32_t SlowCrc32c(ByteView bytes) {
  uint32_t state = 0xffffffff;
  for (uint8_t byte : bytes) {
    state ^= byte;
    for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1) != 0 ? 0x82f63b78 : 0);
  }
  return ~state;
}

TEST(Crc32cTest, KnownVectors) {
  EXPECT_EQ(Crc32c({}), 0u);
  EXPECT_EQ(Crc32c(AsBytes("a")), 0xc1d04330u);
  EXPECT_EQ(Crc32c(AsBytes("123456789")), 0xe3069283u);
  // RFC 3720, B.4.
  EXPECT_EQ(Crc32c(std::vector<uint8_t>(32, 0x00)), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::vector<uint8_t>(32, 0xff)), 0x62a8ab43u);
  std::vector<uint8_t> rising(32);
  for (size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<uint8_t>(i);
  EXPECT_EQ(Crc32c(rising), 0x46dd794eu);
  std::vector<uint8_t> falling(rising.rbegin(), rising.rend());
  EXPECT_EQ(Crc32c(falling), 0x113fdb5cu);
}

TEST(Crc32cTest, EqualsTheDefinitionAtEveryLengthAndAlignment) {
  std::mt19937 random(20240607);
  std::vector<uint8_t> bytes(700);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  for (size_t start = 0; start < 9; ++start) {
    for (size_t size = 0; start + size <= 600; ++size) {
      const ByteView view = ByteView(bytes).subspan(start, size);
      ASSERT_EQ(Crc32c(view), SlowCrc32c(view)) << "start " << start << " size " << size;
    }
  }
}

TEST(Crc32cTest, ExtendGivesTheCrcOfTheWhole) {
  std::mt19937 random(77);
  std::vector<uint8_t> bytes(70'000);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  const uint32_t whole = SlowCrc32c(bytes);
  EXPECT_EQ(Crc32c(bytes), whole);
  for (size_t cut = 0; cut <= bytes.size(); cut += 997) {
    const ByteView view(bytes);
    ASSERT_EQ(Crc32cExtend(Crc32c(view.first(cut)), view.subspan(cut)), whole) << "cut " << cut;
  }
}

}  // namespace
}  // namespace ringtail::base
