#include "engine/task/frame_pool.h"

#include <cstdlib>
#include <new>

namespace ringtail::task {

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)

void* AllocateFrame(size_t bytes) { return ::operator new(bytes); }
void FreeFrame(void* frame, size_t) { ::operator delete(frame); }

#else
namespace {

constexpr size_t kStepBytes = 64;
// Frames that hold a page, or those of the tasks that the compiler has put into them, are this
// large.
constexpr size_t kLargestBytes = 8192;
constexpr size_t kClasses = kLargestBytes / kStepBytes;
constexpr size_t kKeptPerClass = 256;
// Of each class; at most 30 MiB a thread in all, reached only under load.
constexpr size_t kKeptBytesPerClass = 256 << 10;

constexpr size_t KeptOf(size_t size_class) {
  const size_t fitting = kKeptBytesPerClass / ((size_class + 1) * kStepBytes);
  return fitting < kKeptPerClass ? fitting : kKeptPerClass;
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

size_t ClassOf(size_t bytes) { return (bytes + kStepBytes - 1) / kStepBytes - 1; }

}  // namespace

void* AllocateFrame(size_t bytes) {
  if (bytes > kLargestBytes) return ::operator new(bytes);
  const size_t size_class = ClassOf(bytes);
  FreeNode* node = freelists.heads[size_class];
  if (node == nullptr) return ::operator new((size_class + 1) * kStepBytes);
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
