// Memory for payloads: uninitialised, owned by one at a time, reused.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/base/bytes.h"

namespace ringtail::client {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size)
      : bytes_(std::make_unique_for_overwrite<uint8_t[]>(size)), size_(size), capacity_(size) {}
  // What was moved from is empty.
  Buffer(Buffer&& other) noexcept
      : bytes_(std::move(other.bytes_)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }

  uint8_t* data() { return bytes_.get(); }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  base::ByteView view() const { return {bytes_.get(), size_}; }
  // `size` is at most capacity().
  void set_size(size_t size) { size_ = size; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

// Keeps some spent buffers, because fresh pages cost more than the copy into them.
class BufferPool {
 public:
  explicit BufferPool(size_t spare_bytes_max) : spare_bytes_max_(spare_bytes_max) {}

  Buffer Take(size_t size) {
    for (size_t i = spare_.size(); i-- > 0;) {
      // A much larger buffer is left for a payload that fills it.
      if (spare_[i].capacity() < size || spare_[i].capacity() / 8 > size) continue;
      Buffer buffer = std::move(spare_[i]);
      spare_[i] = std::move(spare_.back());
      spare_.pop_back();
      spare_bytes_ -= buffer.capacity();
      buffer.set_size(size);
      return buffer;
    }
    return Buffer(size);
  }

  void Give(Buffer buffer) {
    if (buffer.capacity() == 0 || spare_bytes_ + buffer.capacity() > spare_bytes_max_) return;
    spare_bytes_ += buffer.capacity();
    spare_.push_back(std::move(buffer));
  }

 private:
  const size_t spare_bytes_max_;
  size_t spare_bytes_ = 0;
  std::vector<Buffer> spare_;
};

}  // namespace ringtail::client
