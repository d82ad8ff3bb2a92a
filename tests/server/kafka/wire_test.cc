#include "server/kafka/wire.h"

#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "server/kafka/put.h"

namespace ringtail::kafka {
namespace {

std::vector<uint8_t> Varint(uint32_t value) {
  std::vector<uint8_t> out(UnsignedVarintSize(value));
  Writer writer(out.data(), out.data(), nullptr);
  writer.UVarint(value);
  EXPECT_EQ(writer.next(), out.data() + out.size());
  return out;
}

TEST(Wire, VarintsHaveTheProtocolsBytes) {
  EXPECT_EQ(Varint(0), (std::vector<uint8_t>{0}));
  EXPECT_EQ(Varint(127), (std::vector<uint8_t>{0x7f}));
  EXPECT_EQ(Varint(128), (std::vector<uint8_t>{0x80, 0x01}));
  EXPECT_EQ(Varint(300), (std::vector<uint8_t>{0xac, 0x02}));
  EXPECT_EQ(Varint(UINT32_MAX), (std::vector<uint8_t>{0xff, 0xff, 0xff, 0xff, 0x0f}));
}

TEST(Wire, VarintsReadBackAtEveryWidth) {
  for (int bit = 0; bit < 32; ++bit) {
    for (const int64_t delta : {-1, 0, 1}) {
      const uint32_t value = static_cast<uint32_t>((int64_t{1} << bit) + delta);
      const std::vector<uint8_t> bytes = Varint(value);
      Reader reader(bytes, nullptr);
      EXPECT_EQ(reader.UVarint("x"), value);
      EXPECT_TRUE(reader.Finish("test", 0).ok());
    }
  }
}

TEST(Wire, VarintOfMoreThan32BitsIsRefused) {
  for (const std::vector<uint8_t>& bytes :
       {std::vector<uint8_t>{0xff, 0xff, 0xff, 0xff, 0x10},
        std::vector<uint8_t>{0x80, 0x80, 0x80, 0x80, 0x80, 0x00}}) {
    Reader reader(bytes, nullptr);
    EXPECT_EQ(reader.UVarint("x"), 0u);
    EXPECT_FALSE(reader.ok());
  }
}

TEST(Wire, FixedTypesReadBackAtTheirExtremes) {
  std::vector<uint8_t> bytes(64);
  Writer writer(bytes.data(), bytes.data(), nullptr);
  writer.I8(INT8_MIN);
  writer.I16(INT16_MIN);
  writer.I32(INT32_MIN);
  writer.I64(INT64_MIN);
  writer.U16(UINT16_MAX);
  writer.U32(UINT32_MAX);
  writer.F64(-std::numeric_limits<double>::infinity());
  writer.Bool(true);
  bytes.resize(static_cast<size_t>(writer.next() - bytes.data()));

  Reader reader(bytes, nullptr);
  EXPECT_EQ(reader.I8(""), INT8_MIN);
  EXPECT_EQ(reader.I16(""), INT16_MIN);
  EXPECT_EQ(reader.I32(""), INT32_MIN);
  EXPECT_EQ(reader.I64(""), INT64_MIN);
  EXPECT_EQ(reader.U16(""), UINT16_MAX);
  EXPECT_EQ(reader.U32(""), UINT32_MAX);
  EXPECT_EQ(reader.F64(""), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(reader.Bool(""));
  EXPECT_TRUE(reader.Finish("test", 0).ok());
}

TEST(Wire, FirstFailureIsKeptAndEndsTheInput) {
  const std::vector<uint8_t> bytes = {0, 9, 'a', 'b', 0, 0, 0, 0};
  Reader reader(bytes, nullptr);
  EXPECT_EQ(reader.String(false, "Name"), "");
  EXPECT_EQ(reader.I32("Other"), 0);
  EXPECT_EQ(reader.left(), 0u);
  EXPECT_EQ(reader.Finish("Message", 2).message(),
            "Message v2: Name at byte 2: longer than the frame (9)");
}

TEST(Wire, NullNeedsANullableField) {
  const std::vector<uint8_t> null_string = {0xff, 0xff};
  const std::vector<uint8_t> null_compact = {0};
  EXPECT_EQ(Reader(null_string, nullptr).NullableString(false, true, "x"), std::nullopt);
  EXPECT_EQ(Reader(null_compact, nullptr).NullableString(true, true, "x"), std::nullopt);
  for (const bool compact : {false, true}) {
    Reader reader(compact ? null_compact : null_string, nullptr);
    EXPECT_EQ(reader.NullableString(compact, false, "x"), "");
    EXPECT_FALSE(reader.ok());
  }
}

TEST(Wire, NegativeLengthsAreRefused) {
  const std::vector<uint8_t> bytes = {0xff, 0xff, 0xff, 0xfe};
  Reader reader(bytes, nullptr);
  EXPECT_EQ(reader.NullableByteString(false, true, "x"), Bytes());
  EXPECT_FALSE(reader.ok());
}

TEST(Wire, HolesOfNoBytesAreLeftOut) {
  std::vector<uint8_t> out(16);
  std::vector<RecordsHole> holes;
  Writer writer(out.data(), out.data(), &holes);
  writer.RecordBytes(false, Records::Hole(0, 1), "x");
  writer.RecordBytes(true, Records::Hole(300, 2), "x");
  EXPECT_EQ(writer.next() - out.data(), 4 + 2);
  ASSERT_EQ(holes.size(), 1u);
  EXPECT_EQ(holes[0].buffer_position, 6u);
  EXPECT_EQ(holes[0].size, 300u);
  EXPECT_EQ(holes[0].id, 2u);
}

TEST(Wire, MessageLargerThanAFrameIsRefused) {
  Sizer sizer;
  sizer.RecordBytes(false, Records::Hole(INT32_MAX - 8, 0), "Records");
  EXPECT_TRUE(sizer.Finish("Message", 1).ok());
  sizer.RecordBytes(false, Records::Hole(8, 0), "Records");
  EXPECT_EQ(sizer.Finish("Message", 1).status().message(),
            "Message v1: the message: too large for a frame");
}

TEST(Arena, KeepsOneBlockForTheNextRound) {
  Arena arena;
  for (int i = 0; i < 100; ++i) arena.New<uint64_t>(100);
  EXPECT_EQ(arena.used_bytes(), 80'000u);
  arena.Reset();
  EXPECT_EQ(arena.used_bytes(), 0u);
  const size_t kept = arena.reserved_bytes();
  EXPECT_GE(kept, 80'000u);
  for (int i = 0; i < 100; ++i) arena.New<uint64_t>(100);
  EXPECT_EQ(arena.reserved_bytes(), kept);
}

TEST(Arena, GivesLargeBlocksBack) {
  Arena arena(/*kept_bytes_max=*/10'000);
  arena.New<uint64_t>(100'000);
  EXPECT_GE(arena.reserved_bytes(), 800'000u);
  arena.Reset();
  EXPECT_EQ(arena.reserved_bytes(), 0u);
  arena.New<uint64_t>(1);
  EXPECT_EQ(arena.used_bytes(), 8u);
}

TEST(Arena, ArrayGrowsAndKeepsItsElements) {
  Arena arena;
  Array<int32_t> array;
  for (int32_t i = 0; i < 1000; ++i) array.Add(arena, i);
  ASSERT_EQ(array.size(), 1000u);
  for (int32_t i = 0; i < 1000; ++i) EXPECT_EQ(array[static_cast<size_t>(i)], i);
  array.Clear();
  EXPECT_TRUE(array.empty());
  EXPECT_EQ(array.Add(arena), 0);
}

}  // namespace
}  // namespace ringtail::kafka
