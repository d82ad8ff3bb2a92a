// Memory of one request: decoded arrays, response arrays and text made for a response. Everything
// is given back at once by Reset, which keeps one block as large as the request before needed, so a
// connection that repeats its requests allocates nothing. Belongs to one connection on one core;
// what lies in it is never destructed, so only trivially destructible types go in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "engine/base/check.h"

namespace ringtail::kafka {

class Arena {
 public:
  // Reset gives blocks above `kept_bytes_max` back to the heap.
  explicit Arena(size_t kept_bytes_max = 256 * 1024) : kept_bytes_max_(kept_bytes_max) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // `count` elements in their default state. The caller bounds count.
  template <class T>
  T* New(size_t count) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= kAlignment);
    T* elements = reinterpret_cast<T*>(Allocate(count * sizeof(T)));
    for (size_t i = 0; i < count; ++i) new (elements + i) T();
    return elements;
  }

  absl::string_view CopyText(absl::string_view text) {
    if (text.empty()) return "";
    char* copy = reinterpret_cast<char*>(Allocate(text.size()));
    std::memcpy(copy, text.data(), text.size());
    return {copy, text.size()};
  }

  // Everything handed out becomes invalid.
  void Reset();

  size_t used_bytes() const { return full_bytes_ + position_; }  // since the last Reset
  size_t reserved_bytes() const { return reserved_bytes_; }      // taken from the heap

 private:
  static constexpr size_t kAlignment = 8;
  static constexpr size_t kBlockBytesMin = 4096;

  struct Block {
    std::unique_ptr<uint8_t[]> memory;
    size_t size = 0;
  };

  uint8_t* Allocate(size_t bytes) {
    const size_t rounded = (bytes + kAlignment - 1) & ~(kAlignment - 1);
    if (rounded > end_ - position_) AddBlock(rounded);
    uint8_t* memory = current_ + position_;
    position_ += rounded;
    return memory;
  }
  void AddBlock(size_t bytes_min);

  const size_t kept_bytes_max_;
  std::vector<Block> blocks_;
  uint8_t* current_ = nullptr;  // memory of the last block
  size_t position_ = 0;         // in the last block
  size_t end_ = 0;              // size of the last block
  size_t full_bytes_ = 0;       // used in the blocks before the last
  size_t reserved_bytes_ = 0;
};

// An array of a message: a view of elements that live in an Arena. Copying it copies the view.
template <class T>
class Array {
 public:
  using value_type = T;

  Array() = default;
  // Views what the caller keeps alive.
  Array(T* elements, size_t size)
      : elements_(elements), size_(static_cast<uint32_t>(size)), capacity_(size_) {}

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* begin() { return elements_; }
  T* end() { return elements_ + size_; }
  const T* begin() const { return elements_; }
  const T* end() const { return elements_ + size_; }
  T& operator[](size_t i) {
    RT_CHECK(i < size_);
    return elements_[i];
  }
  const T& operator[](size_t i) const {
    RT_CHECK(i < size_);
    return elements_[i];
  }

  // Makes room for `capacity` elements in all, so that Add moves none.
  void Reserve(Arena& arena, size_t capacity) {
    RT_CHECK(capacity <= INT32_MAX);
    if (capacity <= capacity_) return;
    T* moved = arena.New<T>(capacity);
    for (uint32_t i = 0; i < size_; ++i) moved[i] = elements_[i];
    elements_ = moved;
    capacity_ = static_cast<uint32_t>(capacity);
  }

  // Appends an element in its default state. The reference holds until the next Add or Reserve.
  T& Add(Arena& arena) {
    if (size_ == capacity_) Reserve(arena, capacity_ == 0 ? 4 : capacity_ * 2);
    elements_[size_] = T();
    return elements_[size_++];
  }
  void Add(Arena& arena, const T& value) { Add(arena) = value; }

  // Takes the elements away, keeps the room.
  void Clear() { size_ = 0; }

  friend bool operator==(const Array& a, const Array& b) {
    if (a.size_ != b.size_) return false;
    for (uint32_t i = 0; i < a.size_; ++i) {
      if (!(a.elements_[i] == b.elements_[i])) return false;
    }
    return true;
  }

 private:
  T* elements_ = nullptr;
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;
};

}  // namespace ringtail::kafka
