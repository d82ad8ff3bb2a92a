#include "engine/task/frame_pool.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace ringtail::task {

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)

void* AllocateFrame(size_t bytes) { return ::operator new(bytes); }
void FreeFrame(void* frame, size_t) { ::operator delete(frame); }

#else
namespace {

// Small frames in fine steps. Those that hold a page or two, or the frames of the tasks that the
// compiler has put into them, are few: coarse ones.
constexpr size_t kStepBytes = 64;
constexpr size_t kSmallBytes = 4096;
constexpr size_t kLargeStepBytes = 1024;
constexpr size_t kLargestBytes = 16384;
constexpr size_t kSmallClasses = kSmallBytes / kStepBytes;
constexpr size_t kClasses = kSmallClasses + (kLargestBytes - kSmallBytes) / kLargeStepBytes;
constexpr size_t kKeptPerClass = 256;
// Of each class; at most 18 MiB a thread in all, reached only under load.
constexpr size_t kKeptBytesPerClass = 256 << 10;

constexpr size_t ClassOf(size_t bytes) {
  if (bytes <= kSmallBytes) return (bytes + kStepBytes - 1) / kStepBytes - 1;
  return kSmallClasses + (bytes - kSmallBytes + kLargeStepBytes - 1) / kLargeStepBytes - 1;
}
constexpr size_t BytesOf(size_t size_class) {
  if (size_class < kSmallClasses) return (size_class + 1) * kStepBytes;
  return kSmallBytes + (size_class - kSmallClasses + 1) * kLargeStepBytes;
}
static_assert(ClassOf(kLargestBytes) == kClasses - 1 && BytesOf(kClasses - 1) == kLargestBytes);
static_assert(BytesOf(ClassOf(kSmallBytes + 1)) == kSmallBytes + kLargeStepBytes);

constexpr size_t KeptOf(size_t size_class) {
  return std::min(kKeptBytesPerClass / BytesOf(size_class), kKeptPerClass);
}

struct FreeNode {
  FreeNode* next;
};

struct Freelists {
  FreeNode* heads[kClasses] = {};
  size_t counts[kClasses] = {};

  ~Freelists() {
    for (FreeNode* node : heads) {
      while (node != nullptr) {
        FreeNode* next = node->next;
        ::operator delete(node);
        node = next;
      }
    }
  }
};

thread_local Freelists freelists;

}  // namespace

void* AllocateFrame(size_t bytes) {
  if (bytes > kLargestBytes) return ::operator new(bytes);
  const size_t size_class = ClassOf(bytes);
  FreeNode* node = freelists.heads[size_class];
  if (node == nullptr) return ::operator new(BytesOf(size_class));
  freelists.heads[size_class] = node->next;
  --freelists.counts[size_class];
  return node;
}

void FreeFrame(void* frame, size_t bytes) {
  if (bytes > kLargestBytes) return ::operator delete(frame);
  const size_t size_class = ClassOf(bytes);
  if (freelists.counts[size_class] >= KeptOf(size_class)) return ::operator delete(frame);
  auto* node = static_cast<FreeNode*>(frame);
  node->next = freelists.heads[size_class];
  freelists.heads[size_class] = node;
  ++freelists.counts[size_class];
}

#endif

}  // namespace ringtail::task
