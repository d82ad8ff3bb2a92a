#include "engine/core/mailbox.h"

#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ringtail::core {
namespace {

TEST(Mailbox, HoldsItsCapacityInOrder) {
  const auto mailbox = std::make_unique<Mailbox>();
  std::vector<Message> messages(Mailbox::kCapacity + 1);
  EXPECT_TRUE(mailbox->empty());
  EXPECT_EQ(mailbox->Pop(), nullptr);
  for (size_t i = 0; i < Mailbox::kCapacity; ++i) EXPECT_TRUE(mailbox->Push(&messages[i]));
  EXPECT_TRUE(mailbox->full());
  EXPECT_FALSE(mailbox->Push(&messages.back()));
  EXPECT_EQ(mailbox->Pop(), &messages[0]);
  EXPECT_FALSE(mailbox->full());
  EXPECT_TRUE(mailbox->Push(&messages.back()));
  for (size_t i = 1; i <= Mailbox::kCapacity; ++i) EXPECT_EQ(mailbox->Pop(), &messages[i]);
  EXPECT_TRUE(mailbox->empty());
}

TEST(Mailbox, PassesBetweenTwoThreads) {
  constexpr size_t kCount = 200'000;
  const auto mailbox = std::make_unique<Mailbox>();
  struct Numbered : Message {
    size_t number = 0;
  };
  std::vector<Numbered> messages(kCount);
  std::thread producer([&] {
    for (size_t i = 0; i < kCount; ++i) {
      messages[i].number = i;  // published by the push
      while (!mailbox->Push(&messages[i])) std::this_thread::yield();
    }
  });
  for (size_t i = 0; i < kCount;) {
    Message* message = mailbox->Pop();
    if (message == nullptr) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(static_cast<Numbered*>(message)->number, i);
    ++i;
  }
  producer.join();
}

}  // namespace
}  // namespace ringtail::core
