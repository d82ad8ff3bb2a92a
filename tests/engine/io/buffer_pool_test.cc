#include "engine/io/buffer_pool.h"

#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace ringtail::io {
namespace {

TEST(BufferPool, CapacityHoldsWhatIsAskedAndWastesAtMostAQuarter) {
  BufferPool pool(0);
  for (size_t bytes = 0; bytes < (3u << 20); bytes = bytes * 9 / 8 + 1) {
    Buffer buffer = pool.Take(bytes);
    EXPECT_EQ(buffer.size(), bytes);
    EXPECT_GE(buffer.capacity(), bytes);
    if (bytes > 1024) {
      EXPECT_LE(buffer.capacity(), bytes + bytes / 4 + 1);
    }
    if (bytes >= 4096) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 4096, 0u);
    }
    memset(buffer.data(), 1, buffer.capacity());
  }
  EXPECT_EQ(pool.lent_bytes(), 0u);
}

TEST(BufferPool, ASteadyLoadAllocatesNothing) {
  BufferPool pool(8 << 20);
  for (int i = 0; i < 100; ++i) {
    Buffer small = pool.Take(1500);
    Buffer large = pool.Take(300000);
  }
  EXPECT_EQ(pool.allocations(), 2u);
  EXPECT_EQ(pool.takes(), 200u);
  EXPECT_GT(pool.kept_bytes(), 300000u);
  pool.Trim();
  EXPECT_EQ(pool.kept_bytes(), 0u);
}

TEST(BufferPool, KeepsNoMoreThanItsBound) {
  BufferPool pool(100000);
  std::vector<Buffer> lent;
  for (int i = 0; i < 50; ++i) lent.push_back(pool.Take(10000));
  EXPECT_GE(pool.lent_bytes(), 500000u);
  lent.clear();
  EXPECT_LE(pool.kept_bytes(), 100000u);
  EXPECT_GT(pool.kept_bytes(), 80000u);
}

TEST(BufferPool, MovesAndResizes) {
  BufferPool pool(1 << 20);
  Buffer a = pool.Take(2000);
  a.data()[0] = 42;
  Buffer b = std::move(a);
  EXPECT_EQ(a.data(), nullptr);  // NOLINT: a moved-from buffer is empty
  EXPECT_EQ(b.data()[0], 42);
  b.Resize(b.capacity());
  EXPECT_EQ(b.view().size(), b.capacity());
  b = pool.Take(10);
  EXPECT_EQ(pool.kept_bytes(), 2048u);
  b.Reset();
  EXPECT_TRUE(b.empty());
}

TEST(BufferPool, RandomUseNeverOverlaps) {
  const auto seed = std::random_device()();
  printf("seed %u\n", seed);
  std::mt19937 random(seed);
  BufferPool pool(4 << 20);
  std::vector<std::pair<Buffer, uint8_t>> lent;
  for (int i = 0; i < 5000; ++i) {
    if (lent.size() < 40 && random() % 2 == 0) {
      const size_t bytes = size_t{1} << (random() % 18);
      lent.emplace_back(pool.Take(bytes + random() % bytes), static_cast<uint8_t>(i));
      memset(lent.back().first.data(), lent.back().second, lent.back().first.size());
    } else if (!lent.empty()) {
      const size_t index = random() % lent.size();
      const auto& [buffer, mark] = lent[index];
      for (size_t at = 0; at < buffer.size(); at += 97) ASSERT_EQ(buffer.data()[at], mark);
      lent[index] = std::move(lent.back());
      lent.pop_back();
    }
  }
}

}  // namespace
}  // namespace ringtail::io
