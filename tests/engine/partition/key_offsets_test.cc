#include "engine/partition/key_offsets.h"

#include <map>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace ringtail::partition {
namespace {

TEST(KeyOffsetsTest, FindsTheLatestOfEachKey) {
  KeyOffsets keys(1 << 20);
  EXPECT_EQ(keys.Find(base::AsBytes("a")), base::Offset(-1));
  EXPECT_TRUE(keys.Put(base::AsBytes("a"), base::Offset(3)));
  EXPECT_TRUE(keys.Put(base::AsBytes(""), base::Offset(4)));
  EXPECT_TRUE(keys.Put(base::AsBytes("a"), base::Offset(9)));
  EXPECT_EQ(keys.Find(base::AsBytes("a")), base::Offset(9));
  EXPECT_EQ(keys.Find(base::AsBytes("")), base::Offset(4));
  EXPECT_EQ(keys.Find(base::AsBytes("b")), base::Offset(-1));
  EXPECT_EQ(keys.size(), 2u);
}

TEST(KeyOffsetsTest, AgreesWithAMapWhileItGrows) {
  KeyOffsets keys(16 << 20);
  std::map<std::string, int64_t> model;
  std::mt19937_64 random(7);
  for (int64_t offset = 0; offset < 60'000; ++offset) {
    const std::string key = "key-" + std::to_string(random() % 20'000);
    ASSERT_TRUE(keys.Put(base::AsBytes(key), base::Offset(offset)));
    model[key] = offset;
  }
  EXPECT_EQ(keys.size(), model.size());
  for (const auto& [key, offset] : model) {
    ASSERT_EQ(keys.Find(base::AsBytes(key)), base::Offset(offset)) << key;
  }
}

TEST(KeyOffsetsTest, IsFullWithinItsMemoryAndStillTakesKnownKeys) {
  constexpr size_t kBytes = 64 << 10;
  KeyOffsets keys(kBytes);
  int64_t count = 0;
  while (keys.Put(base::AsBytes(std::to_string(count)), base::Offset(count))) ++count;
  EXPECT_GT(count, 1000);
  EXPECT_LE(keys.memory_bytes(), kBytes);
  EXPECT_TRUE(keys.Put(base::AsBytes("0"), base::Offset(count)));
  EXPECT_EQ(keys.Find(base::AsBytes("0")), base::Offset(count));
  EXPECT_EQ(keys.Find(base::AsBytes("1")), base::Offset(1));
  EXPECT_EQ(keys.Find(base::AsBytes(std::to_string(count))), base::Offset(-1));
}

}  // namespace
}  // namespace ringtail::partition
