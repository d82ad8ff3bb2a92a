#include "engine/base/varint.h"

#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace ringtail::base {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes Encoded(int64_t value) {
  Bytes bytes(kVarintSizeMax<int64_t>);
  bytes.resize(EncodeVarint(bytes.data(), value));
  return bytes;
}

TEST(VarintTest, KnownBytes) {
  EXPECT_EQ(Encoded(0), (Bytes{0x00}));
  EXPECT_EQ(Encoded(-1), (Bytes{0x01}));
  EXPECT_EQ(Encoded(1), (Bytes{0x02}));
  EXPECT_EQ(Encoded(63), (Bytes{0x7e}));
  EXPECT_EQ(Encoded(64), (Bytes{0x80, 0x01}));
  EXPECT_EQ(Encoded(-64), (Bytes{0x7f}));
  EXPECT_EQ(Encoded(-65), (Bytes{0x81, 0x01}));
  EXPECT_EQ(Encoded(INT32_MAX), (Bytes{0xfe, 0xff, 0xff, 0xff, 0x0f}));
  EXPECT_EQ(Encoded(INT32_MIN), (Bytes{0xff, 0xff, 0xff, 0xff, 0x0f}));
  EXPECT_EQ(Encoded(INT64_MIN),
            (Bytes{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}));
}

TEST(VarintTest, RoundTripsAroundEveryPowerOfTwo) {
  for (int shift = 0; shift < 64; ++shift) {
    for (int64_t near = -2; near <= 2; ++near) {
      const uint64_t bits = (uint64_t{1} << shift) + static_cast<uint64_t>(near);
      for (const int64_t value : {static_cast<int64_t>(bits), static_cast<int64_t>(0 - bits)}) {
        const Bytes bytes = Encoded(value);
        ASSERT_EQ(bytes.size(), VarintSize(value));
        const auto wide = DecodeVarint64(bytes);
        ASSERT_EQ(wide.size, bytes.size());
        ASSERT_EQ(wide.value, value);
        const auto narrow = DecodeVarint32(bytes);
        const bool fits = value >= std::numeric_limits<int32_t>::min() &&
                          value <= std::numeric_limits<int32_t>::max();
        ASSERT_EQ(static_cast<bool>(narrow), fits) << value;
        if (fits) ASSERT_EQ(narrow.value, value);
        for (size_t cut = 0; cut < bytes.size(); ++cut) {
          ASSERT_FALSE(DecodeVarint64(ByteView(bytes).first(cut)));
        }
      }
      Bytes bytes(kVarintSizeMax<uint64_t>);
      bytes.resize(EncodeUvarint(bytes.data(), bits));
      ASSERT_EQ(bytes.size(), UvarintSize(bits));
      ASSERT_EQ(DecodeUvarint64(bytes).value, bits);
    }
  }
}

TEST(VarintTest, RefusesWhatDoesNotFit) {
  EXPECT_TRUE(DecodeUvarint32(Bytes{0xff, 0xff, 0xff, 0xff, 0x0f}));
  EXPECT_FALSE(DecodeUvarint32(Bytes{0xff, 0xff, 0xff, 0xff, 0x1f}));
  EXPECT_FALSE(DecodeUvarint32(Bytes{0x80, 0x80, 0x80, 0x80, 0x80, 0x00}));
  EXPECT_FALSE(DecodeUvarint64(Bytes{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}));
  EXPECT_FALSE(DecodeUvarint64(Bytes(11, 0x80)));
  EXPECT_FALSE(DecodeUvarint32({}));
}

TEST(VarintTest, AcceptsPaddingAsKafkaDoes) {
  const auto padded = DecodeUvarint32(Bytes{0x85, 0x80, 0x00});
  EXPECT_EQ(padded.size, 3u);
  EXPECT_EQ(padded.value, 5u);
}

}  // namespace
}  // namespace ringtail::base
