#include "engine/core/mailbox.h"

namespace ringtail::core {

bool Mailbox::full() {
  const uint64_t tail = tail_.load(std::memory_order_relaxed);
  if (tail - head_seen_ < kCapacity) return false;
  head_seen_ = head_.load(std::memory_order_acquire);
  return tail - head_seen_ == kCapacity;
}

bool Mailbox::Push(Message* message) {
  if (full()) return false;
  const uint64_t tail = tail_.load(std::memory_order_relaxed);
  slots_[tail % kCapacity] = message;
  tail_.store(tail + 1, std::memory_order_release);
  return true;
}

Message* Mailbox::Pop() {
  const uint64_t head = head_.load(std::memory_order_relaxed);
  if (head == tail_seen_) {
    tail_seen_ = tail_.load(std::memory_order_acquire);
    if (head == tail_seen_) return nullptr;
  }
  Message* message = slots_[head % kCapacity];
  head_.store(head + 1, std::memory_order_release);
  return message;
}

bool Mailbox::empty() const {
  return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_acquire);
}

}  // namespace ringtail::core
