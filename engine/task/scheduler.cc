#include "engine/task/scheduler.h"

#include <utility>

#include "engine/base/check.h"
#include "engine/task/task.h"

namespace ringtail::task {
namespace {

thread_local Scheduler* current = nullptr;

}  // namespace

Scheduler& Scheduler::Current() {
  RT_CHECK(current != nullptr);
  return *current;
}

bool Scheduler::HasCurrent() { return current != nullptr; }

Scheduler::Scope::Scope(Scheduler& scheduler) : previous_(std::exchange(current, &scheduler)) {}
Scheduler::Scope::~Scope() { current = previous_; }

Scheduler::~Scheduler() {
  const Scope scope(*this);
  // The newest first: who starts a task lends it what it owns. Again for what the destructors of
  // their frames have started.
  while (!roots_.empty()) {
    std::vector<RootTask*> roots;
    roots_.ForEach([&](RootTask& root) { roots.push_back(&root); });
    for (auto root = roots.rbegin(); root != roots.rend(); ++root) (*root)->Destroy();
  }
  for (Timer* timer : heap_) timer->scheduler_ = nullptr;
}

void Scheduler::Ready(std::coroutine_handle<> handle) {
  if (ready_count_ == ready_.size()) {
    std::vector<std::coroutine_handle<>> larger(ready_.size() * 2);
    for (size_t i = 0; i < ready_count_; ++i) {
      larger[i] = ready_[(ready_head_ + i) & (ready_.size() - 1)];
    }
    ready_ = std::move(larger);
    ready_head_ = 0;
  }
  ready_[(ready_head_ + ready_count_) & (ready_.size() - 1)] = handle;
  ++ready_count_;
}

size_t Scheduler::RunReady(size_t count_max) {
  size_t ran = 0;
  while (ran < count_max && ready_count_ > 0) {
    const std::coroutine_handle<> handle = ready_[ready_head_];
    ready_head_ = (ready_head_ + 1) & (ready_.size() - 1);
    --ready_count_;
    ++ran;
    handle.resume();
  }
  return ran;
}

void Scheduler::AdvanceTo(base::Nanos now) {
  if (now > now_) now_ = now;
  while (!heap_.empty() && heap_[0]->deadline_ <= now_) {
    Timer* timer = heap_[0];
    timer->Disarm();
    timer->fire_(timer);
  }
}

base::Nanos Scheduler::next_deadline() const {
  return heap_.empty() ? base::kNever : heap_[0]->deadline_;
}

std::string Scheduler::DumpTasks() {
  std::string text;
  roots_.ForEach([&](RootTask& root) { root.AppendTo(now_, &text); });
  return text;
}

void Scheduler::HeapSwap(size_t a, size_t b) {
  std::swap(heap_[a], heap_[b]);
  heap_[a]->index_ = a;
  heap_[b]->index_ = b;
}

void Scheduler::SiftUp(size_t index) {
  while (index > 0) {
    const size_t parent = (index - 1) / 2;
    if (heap_[parent]->deadline_ <= heap_[index]->deadline_) return;
    HeapSwap(parent, index);
    index = parent;
  }
}

void Scheduler::SiftDown(size_t index) {
  while (true) {
    size_t least = index;
    for (const size_t child : {2 * index + 1, 2 * index + 2}) {
      if (child < heap_.size() && heap_[child]->deadline_ < heap_[least]->deadline_) least = child;
    }
    if (least == index) return;
    HeapSwap(least, index);
    index = least;
  }
}

void Timer::Arm(Scheduler& scheduler, base::Nanos deadline) {
  Disarm();
  if (deadline == base::kNever) return;
  scheduler_ = &scheduler;
  deadline_ = deadline;
  index_ = scheduler.heap_.size();
  scheduler.heap_.push_back(this);
  scheduler.SiftUp(index_);
}

void Timer::Disarm() {
  if (scheduler_ == nullptr) return;
  Scheduler& scheduler = *std::exchange(scheduler_, nullptr);
  const size_t index = index_;
  const size_t last = scheduler.heap_.size() - 1;
  if (index != last) scheduler.HeapSwap(index, last);
  scheduler.heap_.pop_back();
  if (index == last) return;
  scheduler.SiftDown(index);
  scheduler.SiftUp(index);
}

}  // namespace ringtail::task
