#include "server/kafka/call.h"

#include <utility>

namespace ringtail::kafka {
namespace {

template <class T>
size_t CapacityBytes(const std::vector<T>& items) {
  return items.capacity() * sizeof(T);
}

}  // namespace

void Call::Clear() {
  exchange = nullptr;
  produce_items.clear();
  fetch_items.clear();
  offset_items.clear();
  session_slots.clear();
  holes.clear();
  arena.Reset();
}

size_t Call::memory_bytes() const {
  return sizeof(Call) + arena.reserved_bytes() + CapacityBytes(produce_items) +
         CapacityBytes(fetch_items) + CapacityBytes(offset_items) + CapacityBytes(session_slots) +
         CapacityBytes(holes);
}

std::unique_ptr<Call> CallPool::Take() {
  if (spare_.empty()) return std::make_unique<Call>();
  std::unique_ptr<Call> call = std::move(spare_.back());
  spare_.pop_back();
  kept_bytes_ -= call->memory_bytes();
  return call;
}

void CallPool::Keep(std::unique_ptr<Call> call) {
  call->Clear();
  const size_t bytes = call->memory_bytes();
  if (bytes > kCallBytesMax || kept_bytes_ + bytes > kBytesMax) return;
  kept_bytes_ += bytes;
  spare_.push_back(std::move(call));
}

}  // namespace ringtail::kafka
