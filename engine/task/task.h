// Task<T>: a lazy coroutine with one awaiter. Awaiting it runs it at once by symmetric transfer,
// and its end resumes the awaiter the same way, so deep nesting uses no stack. The Task object owns
// the frame. A task stays on the core (thread) that started it.
//
//   Task<absl::Status> Append(...);
//   absl::Status status = co_await Append(...);
//   Spawn("retention", Retain(...));            // a task of its own; it must not fail silently
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <source_location>
#include <string>
#include <utility>

#include "engine/base/check.h"
#include "engine/task/frame_pool.h"
#include "engine/task/intrusive_list.h"
#include "engine/task/scheduler.h"

namespace ringtail::task {

template <class T>
class Task;

namespace internal {

// What all promises share; also the chain that DumpTasks() walks.
class PromiseBase {
 public:
  static void* operator new(size_t bytes) { return AllocateFrame(bytes); }
  static void operator delete(void* frame, size_t bytes) { FreeFrame(frame, bytes); }

  std::suspend_always initial_suspend() noexcept { return {}; }
  void unhandled_exception() { std::terminate(); }

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      PromiseBase& promise = self.promise();
      if (promise.caller_ != nullptr) promise.caller_->callee_ = nullptr;
      return promise.continuation_;
    }
    void await_resume() const noexcept {}
  };
  FinalAwaiter final_suspend() noexcept { return {}; }

  // Notes the line at which the coroutine may be suspended.
  template <class Awaitable>
  Awaitable&& await_transform(Awaitable&& awaitable,
                              std::source_location where = std::source_location::current()) {
    where_ = where;
    return std::forward<Awaitable>(awaitable);
  }

  void AppendChain(std::string* text) const {
    for (const PromiseBase* promise = this; promise != nullptr; promise = promise->callee_) {
      text->append(" > ").append(promise->where_.file_name());
      text->append(":").append(std::to_string(promise->where_.line()));
    }
  }

 private:
  template <class T>
  friend class ringtail::task::Task;
  friend class ringtail::task::RootTask;

  std::coroutine_handle<> continuation_ = std::noop_coroutine();
  PromiseBase* caller_ = nullptr;
  PromiseBase* callee_ = nullptr;
  std::source_location where_ = std::source_location::current();
};

template <class T>
class Promise : public PromiseBase {
 public:
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T TakeValue() { return std::move(*value_); }

 private:
  std::optional<T> value_;
};

template <>
class Promise<void> : public PromiseBase {
 public:
  Task<void> get_return_object();
  void return_void() {}
  void TakeValue() {}
};

template <class P>
concept HasPromiseBase = std::is_base_of_v<PromiseBase, P>;

}  // namespace internal

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = internal::Promise<T>;

  Task() = default;
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool valid() const { return handle_ != nullptr; }

  class Awaiter {
   public:
    explicit Awaiter(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
    bool await_ready() const { return false; }
    template <internal::HasPromiseBase Caller>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Caller> caller) {
      internal::PromiseBase& promise = handle_.promise();
      promise.continuation_ = caller;
      promise.caller_ = &caller.promise();
      promise.caller_->callee_ = &promise;
      return handle_;
    }
    T await_resume() { return handle_.promise().TakeValue(); }

   private:
    std::coroutine_handle<promise_type> handle_;
  };

  // The Task must outlive the co_await, as a temporary in the same full expression does.
  Awaiter operator co_await() const {
    RT_CHECK(handle_ != nullptr);
    return Awaiter(handle_);
  }

 private:
  friend class internal::Promise<T>;
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

namespace internal {

template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

}  // namespace internal

// The promise of a spawned task: runs it, then deletes itself. Listed in its scheduler.
class RootTask : public internal::PromiseBase, public ListNode {
 public:
  ~RootTask() {
    if (scheduler_ != nullptr) --scheduler_->root_count_;
  }

  std::coroutine_handle<RootTask> get_return_object() {
    return std::coroutine_handle<RootTask>::from_promise(*this);
  }
  std::suspend_never final_suspend() noexcept { return {}; }
  void return_void() {}

  void Destroy() { get_return_object().destroy(); }
  void Enlist(Scheduler& scheduler, const char* name) {
    scheduler_ = &scheduler;
    name_ = name;
    started_ = scheduler.now();
    scheduler.roots_.PushBack(*this);
    ++scheduler.root_count_;
  }
  void AppendTo(base::Nanos now, std::string* text) const {
    text->append(name_).append(" ").append(std::to_string((now - started_) / base::kNanosPerMilli));
    text->append(" ms");
    AppendChain(text);
    text->append("\n");
  }

 private:
  Scheduler* scheduler_ = nullptr;
  const char* name_ = "";
  base::Nanos started_ = 0;
};

// What the coroutine of a spawned task returns.
struct RootHandle {
  using promise_type = RootTask;
  RootHandle(std::coroutine_handle<RootTask> handle) : handle(handle) {}  // NOLINT: implicit
  std::coroutine_handle<RootTask> handle;
};

namespace internal {
inline RootHandle RunRoot(Task<void> task) { co_await task; }
}  // namespace internal

// Starts `task` on this core: it is put into the ready queue and runs soon. `name` is a literal.
inline void Spawn(const char* name, Task<void> task) {
  const std::coroutine_handle<RootTask> root = internal::RunRoot(std::move(task)).handle;
  root.promise().Enlist(Scheduler::Current(), name);
  Scheduler::Current().Ready(root);
}

// The same, but runs the task up to its first suspension before it returns: for work whose order is
// the order of the calls.
inline void SpawnNow(const char* name, Task<void> task) {
  const std::coroutine_handle<RootTask> root = internal::RunRoot(std::move(task)).handle;
  root.promise().Enlist(Scheduler::Current(), name);
  root.resume();
}

}  // namespace ringtail::task
