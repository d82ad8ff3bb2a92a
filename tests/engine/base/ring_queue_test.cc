#include "engine/base/ring_queue.h"

#include <deque>
#include <memory>
#include <random>

#include "gtest/gtest.h"

namespace ringtail::base {
namespace {

TEST(RingQueue, IsAQueue) {
  RingQueue<int> queue;
  std::deque<int> model;
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    const bool grows = (i / 500) % 2 == 0;  // and shrinks, so that it wraps around at many sizes
    if (model.empty() || random() % 10 < (grows ? 7u : 3u)) {
      queue.push_back(i);
      model.push_back(i);
    } else {
      const size_t count = 1 + random() % std::min<size_t>(model.size(), 3);
      queue.pop_front(count);
      model.erase(model.begin(), model.begin() + static_cast<std::ptrdiff_t>(count));
    }
    ASSERT_EQ(queue.size(), model.size());
    ASSERT_EQ(queue.empty(), model.empty());
    if (model.empty()) continue;
    ASSERT_EQ(queue.front(), model.front());
    ASSERT_EQ(queue.back(), model.back());
    const size_t at = random() % model.size();
    ASSERT_EQ(queue[at], model[at]);
  }
  queue.clear();
  EXPECT_TRUE(queue.empty());
}

TEST(RingQueue, WhatLeavesIsGone) {
  RingQueue<std::shared_ptr<int>> queue;
  const auto value = std::make_shared<int>(1);
  for (int i = 0; i < 9; ++i) queue.push_back(value);
  EXPECT_EQ(value.use_count(), 10);
  queue.pop_front(2);
  EXPECT_EQ(value.use_count(), 8);
  queue.clear();
  EXPECT_EQ(value.use_count(), 1);
}

TEST(RingQueueDeathTest, NothingIsBehindTheEnd) {
  RingQueue<int> queue;
  queue.push_back(1);
  EXPECT_DEATH(queue[1], "index < count_");
  queue.pop_front();
  EXPECT_DEATH(queue.front(), "index < count_");
}

}  // namespace
}  // namespace ringtail::base
