#include "engine/io/buffer_pool.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>

#include "engine/base/check.h"

namespace ringtail::io {
namespace {

constexpr size_t kSmallestBytes = 1024;
constexpr size_t kSmallestShift = 10;
constexpr size_t kPageBytes = 4096;
// From here on straight from the system and back: free() would keep them in its heap.
constexpr size_t kMappedBytes = 64 << 10;

// Capacities are (4 + quarter) << (shift - 2) for shift >= 10: 1024, 1280, 1536, 1792, 2048, ...
size_t ClassOf(size_t bytes) {
  if (bytes <= kSmallestBytes) return 0;
  const size_t shift = static_cast<size_t>(std::bit_width(bytes - 1)) - 1;
  const size_t quarter = (bytes - 1 - (size_t{1} << shift)) >> (shift - 2);
  return (shift - kSmallestShift) * 4 + quarter + 1;
}

size_t CapacityOf(size_t size_class) {
  return (4 + size_class % 4) << (kSmallestShift + size_class / 4 - 2);
}

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
constexpr bool kMap = false;  // so that the sanitizer sees an access beyond the end
#else
constexpr bool kMap = true;
#endif

// Page-aligned from 4 KiB on, for O_DIRECT.
uint8_t* AllocateMemory(size_t capacity) {
  void* memory = nullptr;
  if (kMap && capacity >= kMappedBytes) {
    memory = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    RT_CHECK(memory != MAP_FAILED);
  } else {
    const size_t alignment = capacity >= kPageBytes ? kPageBytes : 64;
    RT_CHECK(posix_memalign(&memory, alignment, capacity) == 0);
  }
  return static_cast<uint8_t*>(memory);
}

void FreeMemory(uint8_t* data, size_t capacity) {
  if (kMap && capacity >= kMappedBytes) {
    munmap(data, capacity);
  } else {
    free(data);
  }
}

}  // namespace

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  Reset();
  pool_ = std::exchange(other.pool_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  capacity_ = std::exchange(other.capacity_, 0);
  return *this;
}

void Buffer::Resize(size_t bytes) {
  RT_CHECK(bytes <= capacity_);
  size_ = bytes;
}

void Buffer::Reset() {
  if (data_ != nullptr) pool_->Return(data_, capacity_);
  pool_ = nullptr;
  data_ = nullptr;
  size_ = capacity_ = 0;
}

BufferPool::BufferPool(size_t kept_bytes_max) : kept_bytes_max_(kept_bytes_max) {}

BufferPool::~BufferPool() {
  RT_CHECK(lent_bytes_ == 0);
  Trim();
}

Buffer BufferPool::Take(size_t bytes) {
  const size_t size_class = ClassOf(bytes);
  Buffer buffer;
  buffer.pool_ = this;
  buffer.size_ = bytes;
  buffer.capacity_ = CapacityOf(size_class);
  if (size_class < kept_.size() && !kept_[size_class].empty()) {
    buffer.data_ = kept_[size_class].back();
    kept_[size_class].pop_back();
    kept_bytes_ -= buffer.capacity_;
  } else {
    buffer.data_ = AllocateMemory(buffer.capacity_);
    ++allocations_;
  }
  lent_bytes_ += buffer.capacity_;
  ++takes_;
  return buffer;
}

void BufferPool::Return(uint8_t* data, size_t capacity) {
  lent_bytes_ -= capacity;
  if (kept_bytes_ + capacity > kept_bytes_max_) return FreeMemory(data, capacity);
  const size_t size_class = ClassOf(capacity);
  if (size_class >= kept_.size()) kept_.resize(size_class + 1);
  kept_[size_class].push_back(data);
  kept_bytes_ += capacity;
}

void BufferPool::Trim() {
  for (size_t size_class = 0; size_class < kept_.size(); ++size_class) {
    for (uint8_t* data : kept_[size_class]) FreeMemory(data, CapacityOf(size_class));
    kept_[size_class].clear();
    kept_[size_class].shrink_to_fit();
  }
  kept_bytes_ = 0;
}

}  // namespace ringtail::io
