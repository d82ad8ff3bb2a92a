// Messages between cores: one bounded ring per (from, to) pair, one producer, one consumer, no
// locks. A message is a node in the frame of a task that waits for its answer, so nothing is
// allocated and what can be on its way is bounded by what the senders' own budgets allow.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "engine/task/intrusive_list.h"

namespace ringtail::core {

// `run` is called on the receiving core, from its loop; it must only spawn tasks or make them
// ready.
struct Message : task::ListNode {
  void (*run)(Message*) = nullptr;
};

class Mailbox {
 public:
  static constexpr size_t kCapacity = 1024;

  // Producer. False where it is full.
  bool Push(Message* message);
  // Producer: whether the next Push() would fail.
  bool full();
  // Consumer. nullptr where it is empty.
  Message* Pop();
  bool empty() const;

 private:
  // Each side's line also holds what it last saw of the other's, so that most calls touch one line.
  alignas(64) std::atomic<uint64_t> head_{0};  // consumer's
  uint64_t tail_seen_ = 0;
  alignas(64) std::atomic<uint64_t> tail_{0};  // producer's
  uint64_t head_seen_ = 0;
  alignas(64) Message* slots_[kCapacity] = {};
};

}  // namespace ringtail::core
