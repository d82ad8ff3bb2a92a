#include "engine/base/endian.h"

#include <cstdint>
#include <cstring>

#include "gtest/gtest.h"

namespace ringtail::base {
namespace {

TEST(EndianTest, LoadsBothOrdersAtAnyAlignment) {
  const uint8_t bytes[] = {0x55, 0x80, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07};
  EXPECT_EQ(LoadBe<uint8_t>(bytes + 1), 0x80);
  EXPECT_EQ(LoadBe<uint16_t>(bytes + 1), 0x8001);
  EXPECT_EQ(LoadBe<int16_t>(bytes + 1), -32767);
  EXPECT_EQ(LoadBe<uint32_t>(bytes + 1), 0x80010203u);
  EXPECT_EQ(LoadBe<uint64_t>(bytes + 1), 0x8001020304050607ull);
  EXPECT_LT(LoadBe<int64_t>(bytes + 1), 0);
  EXPECT_EQ(LoadLe<uint16_t>(bytes + 1), 0x0180);
  EXPECT_EQ(LoadLe<uint32_t>(bytes + 1), 0x03020180u);
  EXPECT_EQ(LoadLe<uint64_t>(bytes + 1), 0x0706050403020180ull);
}

TEST(EndianTest, StoresWhatLoadReads) {
  uint8_t bytes[10] = {};
  StoreBe<int32_t>(bytes + 1, -2);
  const uint8_t expected_be[] = {0, 0xff, 0xff, 0xff, 0xfe, 0};
  EXPECT_EQ(std::memcmp(bytes, expected_be, sizeof(expected_be)), 0);
  StoreLe<uint32_t>(bytes + 1, 0x01020304);
  const uint8_t expected_le[] = {0, 4, 3, 2, 1, 0};
  EXPECT_EQ(std::memcmp(bytes, expected_le, sizeof(expected_le)), 0);
  StoreBe<int64_t>(bytes + 1, INT64_MIN);
  EXPECT_EQ(LoadBe<int64_t>(bytes + 1), INT64_MIN);
  StoreLe<int16_t>(bytes + 1, -300);
  EXPECT_EQ(LoadLe<int16_t>(bytes + 1), -300);
}

}  // namespace
}  // namespace ringtail::base
