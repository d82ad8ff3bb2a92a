// One per core: the queue of coroutines that are ready to run, the timers, and the list of all
// tasks that were spawned. It knows no kernel: the core loop (or a test) tells it the time and runs
// it.
//
// Rules
//  1. Completions only make coroutines ready; code runs from RunReady(), a flat loop, never nested.
//  2. What was true before a co_await is unknown after it.
//  3. A spawned task takes its arguments by value. Lambda coroutines capture nothing.
//  4. Every wait has a deadline, or ends when its owner closes it.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/types.h"
#include "engine/task/intrusive_list.h"

namespace ringtail::task {

class Timer;
class RootTask;

class Scheduler {
 public:
  Scheduler() = default;
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  // Destroys the frames of all tasks that have not ended. The I/O backend must have dropped their
  // operations before.
  ~Scheduler();

  // The scheduler of the core whose code is running. CHECKs that there is one.
  static Scheduler& Current();
  static bool HasCurrent();

  // Makes `scheduler` current for this thread as long as it lives; scopes nest (simulated cores).
  class Scope {
   public:
    explicit Scope(Scheduler& scheduler);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Scheduler* previous_;
  };

  // Appends to the ready queue. First come, first served.
  void Ready(std::coroutine_handle<> handle);
  // Runs up to `count_max` ready coroutines; those that become ready meanwhile count too.
  // Returns how many ran.
  size_t RunReady(size_t count_max);
  size_t ready_count() const { return ready_count_; }

  // The clock as of the start of this turn of the loop.
  base::Nanos now() const { return now_; }
  // Moves the clock (never back) and fires the timers that are due.
  void AdvanceTo(base::Nanos now);
  // kNever where no timer is armed.
  base::Nanos next_deadline() const;

  // Ends after `deadline`; see also WaitList::WaitUntil.
  auto SleepUntil(base::Nanos deadline);

  size_t root_count() const { return root_count_; }
  // One line per spawned task that has not ended: its name, its age, and the chain of source lines
  // at which it is suspended, outermost first.
  std::string DumpTasks();

 private:
  friend class Timer;
  friend class RootTask;

  void HeapSwap(size_t a, size_t b);
  void SiftUp(size_t index);
  void SiftDown(size_t index);

  std::vector<std::coroutine_handle<>> ready_ = std::vector<std::coroutine_handle<>>(64);
  size_t ready_head_ = 0;
  size_t ready_count_ = 0;
  base::Nanos now_ = 0;
  std::vector<Timer*> heap_;
  IntrusiveList<RootTask> roots_;
  size_t root_count_ = 0;
};

// Calls `fire` from Scheduler::AdvanceTo once the deadline has passed. Lives in its user's frame;
// destroying it disarms it.
class Timer {
 public:
  explicit Timer(void (*fire)(Timer*)) : fire_(fire) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { Disarm(); }

  // kNever arms nothing. An armed timer is moved.
  void Arm(Scheduler& scheduler, base::Nanos deadline);
  void Disarm();
  bool armed() const { return scheduler_ != nullptr; }

 private:
  friend class Scheduler;
  void (*fire_)(Timer*);
  Scheduler* scheduler_ = nullptr;
  base::Nanos deadline_ = 0;
  size_t index_ = 0;
};

namespace internal {

class SleepAwaiter : private Timer {
 public:
  SleepAwaiter(Scheduler& scheduler, base::Nanos deadline)
      : Timer(&Fire), scheduler_(scheduler), deadline_(deadline) {}
  bool await_ready() const { return deadline_ <= scheduler_.now(); }
  void await_suspend(std::coroutine_handle<> waiter) {
    waiter_ = waiter;
    Arm(scheduler_, deadline_);
  }
  void await_resume() const {}

 private:
  static void Fire(Timer* timer) {
    auto* self = static_cast<SleepAwaiter*>(timer);
    self->scheduler_.Ready(self->waiter_);
  }
  Scheduler& scheduler_;
  base::Nanos deadline_;
  std::coroutine_handle<> waiter_;
};

class YieldAwaiter {
 public:
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiter) { Scheduler::Current().Ready(waiter); }
  void await_resume() const {}
};

}  // namespace internal

inline auto Scheduler::SleepUntil(base::Nanos deadline) {
  return internal::SleepAwaiter(*this, deadline);
}

// Lets all others that are ready run first. For loops that exceed their time budget.
inline auto Yield() { return internal::YieldAwaiter(); }

}  // namespace ringtail::task
