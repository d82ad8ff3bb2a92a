// Memory for frames, by core: buffers by size class, kept for reuse up to a bound, so that a steady
// load allocates nothing. A buffer is returned on the core that took it; other cores may read it
// meanwhile, by reference, while its owner waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/base/bytes.h"

namespace ringtail::io {

class BufferPool;

// Move-only. Gives its memory back when destroyed.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer() { Reset(); }

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }          // what was asked for; may be shrunk with Resize
  size_t capacity() const { return capacity_; }  // what the size class gives
  bool empty() const { return size_ == 0; }
  void Resize(size_t bytes);  // CHECKs bytes <= capacity()
  base::MutableByteView mutable_view() { return {data_, size_}; }
  base::ByteView view() const { return {data_, size_}; }
  void Reset();

 private:
  friend class BufferPool;
  BufferPool* pool_ = nullptr;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

class BufferPool {
 public:
  // At most kept_bytes_max of free memory stays here for reuse; the rest goes back at once.
  explicit BufferPool(size_t kept_bytes_max);
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();  // all buffers have been returned

  // Page-aligned from 4 KiB on. Its content is undefined.
  Buffer Take(size_t bytes);
  // From now on; what is kept beyond it goes.
  void set_kept_bytes_max(size_t bytes) {
    kept_bytes_max_ = bytes;
    if (kept_bytes_ > bytes) Trim();
  }
  // Gives all kept memory back to the system; called when the core has been idle.
  void Trim();

  size_t kept_bytes() const { return kept_bytes_; }
  size_t lent_bytes() const { return lent_bytes_; }
  uint64_t takes() const { return takes_; }
  uint64_t allocations() const { return allocations_; }  // that were not served from what was kept

 private:
  friend class Buffer;
  void Return(uint8_t* data, size_t capacity);

  size_t kept_bytes_max_;
  size_t kept_bytes_ = 0;
  size_t lent_bytes_ = 0;
  uint64_t takes_ = 0;
  uint64_t allocations_ = 0;
  std::vector<std::vector<uint8_t*>> kept_;  // by size class: powers of two in quarter steps
};

}  // namespace ringtail::io
