// A queue in one block that it keeps while that is small: unlike a std::deque, which takes 600
// bytes before its first element and a new block every few, it takes nothing until it is used and
// nothing once it is warm.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "engine/base/check.h"

namespace ringtail::base {

// T has a default constructor and can be moved. References last until the next push_back.
template <class T>
class RingQueue {
 public:
  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }
  // From the front on.
  T& operator[](size_t index) {
    RT_CHECK(index < count_);
    return slots_[(head_ + index) & (slots_.size() - 1)];
  }
  const T& operator[](size_t index) const { return const_cast<RingQueue&>(*this)[index]; }
  T& front() { return (*this)[0]; }
  const T& front() const { return (*this)[0]; }
  T& back() { return (*this)[count_ - 1]; }
  const T& back() const { return (*this)[count_ - 1]; }

  void push_back(T value) {
    if (count_ == slots_.size()) Grow();
    ++count_;
    back() = std::move(value);
  }
  void pop_front(size_t count = 1) {
    for (; count > 0; --count) {
      front() = T();
      head_ = (head_ + 1) & (slots_.size() - 1);
      --count_;
    }
    if (count_ == 0 && slots_.size() > kKept) {
      slots_ = {};
      head_ = 0;
    }
  }
  void clear() { pop_front(count_); }

 private:
  static constexpr size_t kKept = 64;

  void Grow() {
    std::vector<T> larger(slots_.empty() ? 4 : 2 * slots_.size());
    for (size_t i = 0; i < count_; ++i) larger[i] = std::move((*this)[i]);
    slots_ = std::move(larger);
    head_ = 0;
  }

  std::vector<T> slots_;  // a power of two of them
  size_t head_ = 0;
  size_t count_ = 0;
};

}  // namespace ringtail::base
