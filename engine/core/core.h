// A core: one thread, one ring, one scheduler, and everything that it owns. The loop:
//   take messages -> fire timers -> run ready tasks (within a time budget) -> poll the backend,
//   blocking only when nothing is ready, after a bounded busy-poll.
// Cores share nothing but mailboxes. In tests several cores run in one thread, turn by turn.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/base/types.h"
#include "engine/core/mailbox.h"
#include "engine/io/backend.h"
#include "engine/io/buffer_pool.h"
#include "engine/task/scheduler.h"
#include "engine/task/sync.h"
#include "engine/task/task.h"

namespace ringtail::core {

struct CoreOptions {
  // Spin at most this long before blocking; adapts downwards to nothing where spins find no work.
  // 0: never (where the clock does not move by itself).
  base::Nanos busy_poll_ns = 20'000;
  base::Nanos turn_budget_ns = 500'000;      // ready tasks run at most this long before a poll
  base::Nanos stall_report_ns = 50'000'000;  // a turn longer than this is reported
  size_t buffer_bytes_kept = 32u << 20;      // see io::BufferPool; given back after idle seconds
  // Called on the core's thread, at most once a second, after a turn that was too long.
  std::function<void(base::CoreId, base::Nanos turn_ns)> on_stall;
};

struct CoreCounters {
  uint64_t turns = 0;
  uint64_t tasks_run = 0;
  uint64_t messages_sent = 0;
  uint64_t messages_received = 0;
  uint64_t mailbox_full = 0;
  uint64_t stalls = 0;
  uint64_t stall_max_ns = 0;
  uint64_t busy_ns = 0;  // time in turns, without blocking polls
};

class CoreGroup;

class Core {
 public:
  Core(base::CoreId id, CoreGroup& group, std::unique_ptr<io::Backend> backend,
       const CoreOptions& options);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // The core whose code is running on this thread.
  static Core& Current();

  base::CoreId id() const { return id_; }
  CoreGroup& group() { return group_; }
  io::Backend& io() { return *backend_; }
  task::Scheduler& scheduler() { return *scheduler_; }
  io::BufferPool& buffers() { return buffers_; }
  base::Nanos now() const { return scheduler_->now(); }
  const CoreCounters& counters() const { return counters_; }
  // Holds from the next turn on. On the core's thread.
  void SetOptions(const CoreOptions& options);

  // Runs turns until RequestStop(); on the thread that owns the core from now on.
  void Run();
  // One turn. Blocks in the backend only if `may_wait` and nothing is ready. True: something was
  // done.
  bool Turn(bool may_wait);
  // Thread-safe: Run() returns at the end of its turn.
  void RequestStop();
  bool stop_requested() const;
  // Thread-safe: when the turn began that is still running; 0 while the core waits for work.
  base::Nanos busy_since() const { return busy_since_.load(std::memory_order_relaxed); }
  // Thread-safe: the kernel's id of the thread in Run(); 0 before.
  int thread_id() const { return thread_id_.load(std::memory_order_relaxed); }

  // After Run(): destroys all tasks that have not ended, so that what they refer to can go before
  // the core does.
  void DropTasks();

  // Used by CallOn and by CoreGroup. Sends to `target` (another core); keeps the message in a local
  // queue while the mailbox is full. On the owner's thread.
  void Send(base::CoreId target, Message* message);

 private:
  friend class CoreGroup;
  class Scope;

  size_t TakeMessages();
  void FlushOutgoing();
  void WakeTouched();
  bool AnyMail() const;
  size_t RunReadyTasks(base::Nanos started);
  size_t PollBackend(bool may_wait, base::Nanos now);
  size_t Spin(base::Nanos until);
  size_t Block(base::Nanos now);
  base::Nanos BlockDeadline(base::Nanos now) const;
  void WatchStall(base::Nanos started, base::Nanos ended);
  void TrimWhenIdle(base::Nanos now);

  base::CoreId id_;
  CoreGroup& group_;
  std::unique_ptr<io::Backend> backend_;
  CoreOptions options_;
  io::BufferPool buffers_;
  CoreCounters counters_;
  // By target: what did not fit its mailbox.
  std::vector<std::unique_ptr<task::IntrusiveList<Message>>> outgoing_;
  size_t outgoing_count_ = 0;
  std::vector<bool> touched_;  // by target: sent to since the last WakeTouched()
  bool any_touched_ = false;
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> stop_{false};
  std::atomic<base::Nanos> busy_since_{0};  // written by the core, read by the watchdog
  std::atomic<int> thread_id_{0};
  std::atomic<uint32_t> stopping_{0};  // threads inside RequestStop()
  base::Nanos busy_poll_ns_ = 0;       // how long the next spin may be
  base::Nanos stall_reported_ = 0;
  base::Nanos trim_checked_ = 0;
  uint64_t trim_takes_ = 0;
  std::optional<task::Scheduler> scheduler_;  // destroyed first: its frames use everything above
};

// All cores of one broker and the mailboxes between them, plus one mailbox per core for the control
// thread. Made before the threads start, destroyed after they have ended.
class CoreGroup {
 public:
  using BackendFactory = std::function<absl::StatusOr<std::unique_ptr<io::Backend>>(base::CoreId)>;

  explicit CoreGroup(uint32_t count);
  ~CoreGroup();

  uint32_t count() const { return count_; }
  Core& core(base::CoreId id) { return *cores_[id.value()]; }
  // Installs the core made on its own thread (a ring belongs to the thread that makes it).
  void Install(base::CoreId id, Core* core) { cores_[id.value()] = core; }
  Mailbox& mailbox(base::CoreId from, base::CoreId to);

  // From the one control thread: runs `message` on `to`. Spins while the mailbox is full.
  void SendFromControl(base::CoreId to, Message* message);

 private:
  friend class Core;
  uint32_t count_;
  std::vector<Core*> cores_;
  std::vector<std::unique_ptr<Mailbox>>
      mailboxes_;  // (count + 1) rows: the last is the control thread's
};

namespace internal {

template <class T>
struct TaskValue;
template <class T>
struct TaskValue<task::Task<T>> {
  using type = T;
};

template <class T, class Fn>
struct RemoteCall : Message {
  Core* caller = nullptr;
  base::CoreId target;
  Fn* function = nullptr;
  std::conditional_t<std::is_void_v<T>, bool, std::optional<T>> value{};
  bool done = false;
  std::coroutine_handle<> waiter;

  static task::Task<void> Execute(RemoteCall* call) {
    if constexpr (std::is_void_v<T>) {
      co_await (*call->function)();
    } else {
      call->value.emplace(co_await (*call->function)());
    }
    call->run = &Finish;
    Core::Current().Send(call->caller->id(), call);
  }
  static void Begin(Message* message) {
    task::Spawn("remote call", Execute(static_cast<RemoteCall*>(message)));
  }
  static void Finish(Message* message) {
    auto* call = static_cast<RemoteCall*>(message);
    call->done = true;
    Core::Current().scheduler().Ready(call->waiter);
  }
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    waiter = handle;
    run = &Begin;
    caller->Send(target, this);
  }
  void await_resume() const {}
};

}  // namespace internal

// Runs fn() - which returns a Task<T> - on core `target` and returns its value here. Captures of
// `fn` stay alive in this frame, on this core, until the answer is here: the target may read
// through them, and nothing else. The same core: a plain call.
template <class Fn, class T = typename internal::TaskValue<std::invoke_result_t<Fn>>::type>
task::Task<T> CallOn(base::CoreId target, Fn fn) {
  Core& here = Core::Current();
  if (target == here.id()) co_return co_await fn();
  internal::RemoteCall<T, Fn> call;
  call.caller = &here;
  call.target = target;
  call.function = &fn;
  co_await call;
  if constexpr (!std::is_void_v<T>) co_return std::move(*call.value);
}

}  // namespace ringtail::core
