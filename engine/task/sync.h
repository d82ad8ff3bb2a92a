// How tasks of one core wait for each other. Nothing here is shared between threads.
// All are first come, first served; a waiter that is destroyed leaves its queue by itself.
#pragma once

#include <algorithm>
#include <coroutine>
#include <cstddef>

#include "engine/base/check.h"
#include "engine/task/intrusive_list.h"
#include "engine/task/scheduler.h"
#include "engine/task/task.h"

namespace ringtail::task {

// A place to wait until told. A notification is not remembered, so test the condition in a loop:
//   while (!ready) { if (!co_await changed.WaitUntil(deadline)) co_return TimedOut(); }
class WaitList {
 public:
  class Waiter : public ListNode, private Timer {
   public:
    Waiter(WaitList& list, base::Nanos deadline) : Timer(&Fire), list_(list), deadline_(deadline) {}
    bool await_ready() const { return deadline_ <= Scheduler::Current().now(); }
    void await_suspend(std::coroutine_handle<> handle) {
      handle_ = handle;
      scheduler_ = &Scheduler::Current();
      list_.waiters_.PushBack(*this);
      if (deadline_ != base::kNever) Arm(*scheduler_, deadline_);
    }
    // True: notified. False: the deadline passed first.
    bool await_resume() const { return notified_; }

   private:
    friend class WaitList;
    static void Fire(Timer* timer) {
      auto* self = static_cast<Waiter*>(timer);
      self->Unlink();
      self->scheduler_->Ready(self->handle_);
    }
    void Notify() {
      Unlink();
      Disarm();
      notified_ = true;
      scheduler_->Ready(handle_);
    }
    WaitList& list_;
    base::Nanos deadline_;
    bool notified_ = false;
    Scheduler* scheduler_ = nullptr;
    std::coroutine_handle<> handle_;
  };

  Waiter Wait() { return Waiter(*this, base::kNever); }
  Waiter WaitUntil(base::Nanos deadline) { return Waiter(*this, deadline); }
  void NotifyOne() {
    if (!waiters_.empty()) waiters_.front().Notify();
  }
  void NotifyAll() {
    while (!waiters_.empty()) waiters_.front().Notify();
  }
  bool empty() const { return waiters_.empty(); }

 private:
  IntrusiveList<Waiter> waiters_;
};

// Set once, stays set.
class Event {
 public:
  bool is_set() const { return set_; }
  void Set() {
    set_ = true;
    waiters_.NotifyAll();
  }
  Task<void> Wait() {
    while (!set_) co_await waiters_.Wait();
  }
  // Whether it was set by the deadline.
  Task<bool> WaitUntil(base::Nanos deadline) {
    while (!set_) {
      if (!co_await waiters_.WaitUntil(deadline)) co_return set_;
    }
    co_return true;
  }

 private:
  bool set_ = false;
  WaitList waiters_;
};

// A budget in bytes. A request larger than the whole budget is granted when all of it is free.
class ByteSemaphore {
 public:
  explicit ByteSemaphore(size_t capacity_bytes) : capacity_(capacity_bytes) {}

  size_t capacity() const { return capacity_; }
  size_t used() const { return used_; }  // for a while above a capacity that has become smaller

  // From now on. What is taken beyond it stays taken.
  void SetCapacity(size_t capacity_bytes) {
    capacity_ = capacity_bytes;
    Grant();
  }

  // False, and nothing taken, where others wait or too little is left. Returns in *taken what to
  // give back.
  bool TryAcquire(size_t bytes, size_t* taken) {
    *taken = std::min(bytes, capacity_);
    if (!waiters_.empty() || !Fits(*taken)) return false;
    used_ += *taken;
    return true;
  }

  // Returns what to give back with Release: min(bytes, capacity).
  Task<size_t> Acquire(size_t bytes) {
    size_t taken;
    if (TryAcquire(bytes, &taken)) co_return taken;
    Request request(taken);
    waiters_.PushBack(request);
    while (!request.granted) co_await request.changed.Wait();
    co_return taken;
  }

  void Release(size_t bytes) {
    RT_CHECK(bytes <= used_);
    used_ -= bytes;
    Grant();
  }

 private:
  struct Request : ListNode {
    explicit Request(size_t wanted) : bytes(wanted) {}
    size_t bytes;
    bool granted = false;
    WaitList changed;
  };

  // What is more than the capacity, which was larger when it was asked for, goes alone.
  bool Fits(size_t bytes) const { return used_ == 0 || used_ + bytes <= capacity_; }
  void Grant() {
    while (!waiters_.empty() && Fits(waiters_.front().bytes)) {
      Request& request = *waiters_.PopFront();
      used_ += request.bytes;
      request.granted = true;
      request.changed.NotifyAll();
    }
  }

  size_t capacity_;
  size_t used_ = 0;
  IntrusiveList<Request> waiters_;
};

// Counts users of something that is going to be closed.
class Gate {
 public:
  // False once closed.
  bool Enter() {
    if (closed_) return false;
    ++count_;
    return true;
  }
  void Leave() {
    RT_CHECK(count_ > 0);
    if (--count_ == 0) empty_.NotifyAll();
  }
  bool closed() const { return closed_; }
  size_t count() const { return count_; }
  // No one enters any more.
  void Shut() { closed_ = true; }
  // The same; ends when all have left.
  Task<void> Close() {
    closed_ = true;
    while (count_ > 0) co_await empty_.Wait();
  }
  // The same, but gives up at the deadline. Whether all have left.
  Task<bool> CloseUntil(base::Nanos deadline) {
    closed_ = true;
    while (count_ > 0) {
      if (!co_await empty_.WaitUntil(deadline)) co_return count_ == 0;
    }
    co_return true;
  }

  // Leaves when destroyed.
  class Hold {
   public:
    explicit Hold(Gate& gate) : gate_(gate), entered_(gate.Enter()) {}
    ~Hold() {
      if (entered_) gate_.Leave();
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    bool entered() const { return entered_; }

   private:
    Gate& gate_;
    bool entered_;
  };

 private:
  bool closed_ = false;
  size_t count_ = 0;
  WaitList empty_;
};

// Counts tasks that somebody waits for: Add before each starts, Done at its end.
class Latch {
 public:
  void Add() { ++count_; }
  void Done() {
    RT_CHECK(count_ > 0);
    if (--count_ == 0) zero_.NotifyAll();
  }
  Task<void> Wait() {
    while (count_ > 0) co_await zero_.Wait();
  }

 private:
  size_t count_ = 0;
  WaitList zero_;
};

// One task at a time; first come, first served.
class AsyncMutex {
 public:
  Task<void> Lock() {
    while (locked_) co_await changed_.Wait();
    locked_ = true;
  }
  void Unlock() {
    locked_ = false;
    changed_.NotifyOne();
  }

  // Unlocks when destroyed. Made after Lock() has been awaited.
  class Held {
   public:
    explicit Held(AsyncMutex& mutex) : mutex_(mutex) {}
    ~Held() { mutex_.Unlock(); }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

   private:
    AsyncMutex& mutex_;
  };

 private:
  bool locked_ = false;
  WaitList changed_;
};

}  // namespace ringtail::task
