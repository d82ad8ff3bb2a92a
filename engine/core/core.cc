#include "engine/core/core.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "engine/base/check.h"

namespace ringtail::core {
namespace {

thread_local Core* current_core = nullptr;

// A task that writes a megabyte inline takes 100 us: few between two looks, or a turn has no end.
constexpr size_t kTasksPerClockLook = 8;
constexpr size_t kMessagesPerTurn = 256;  // from each other core
constexpr base::Nanos kSpinWorthwhileNs = 2'000;
constexpr base::Nanos kFullMailboxRetryNs = 50'000;
constexpr base::Nanos kTrimAfterNs = base::kNanosPerSecond;
constexpr base::Nanos kStallReportEveryNs = base::kNanosPerSecond;

}  // namespace

// Makes the core and its scheduler current for this thread.
class Core::Scope {
 public:
  explicit Scope(Core& core)
      : previous_(std::exchange(current_core, &core)), scheduler_scope_(*core.scheduler_) {}
  ~Scope() { current_core = previous_; }

 private:
  Core* previous_;
  task::Scheduler::Scope scheduler_scope_;
};

Core::Core(base::CoreId id, CoreGroup& group, std::unique_ptr<io::Backend> backend,
           const CoreOptions& options)
    : id_(id),
      group_(group),
      backend_(std::move(backend)),
      options_(options),
      buffers_(options.buffer_bytes_kept),
      touched_(group.count(), false),
      busy_poll_ns_(options.busy_poll_ns) {
  for (uint32_t i = 0; i < group.count(); ++i) {
    outgoing_.push_back(std::make_unique<task::IntrusiveList<Message>>());
  }
  scheduler_.emplace();
  const base::Nanos now = backend_->Now();
  scheduler_->AdvanceTo(now);
  trim_checked_ = now;
}

Core::~Core() {
  // Run() may have returned before the RequestStop() that caused it.
  while (stopping_.load(std::memory_order_acquire) > 0) sched_yield();
  DropTasks();
}

void Core::DropTasks() {
  // The kernel may still write to the frames of suspended tasks: first end that, then destroy them.
  // Core::Current() stays valid meanwhile, for the destructors of what they hold.
  Core* previous = std::exchange(current_core, this);
  backend_->DropOperations();
  scheduler_.reset();
  scheduler_.emplace();
  scheduler_->AdvanceTo(backend_->Now());
  current_core = previous;
}

void Core::SetOptions(const CoreOptions& options) {
  options_ = options;
  buffers_.set_kept_bytes_max(options.buffer_bytes_kept);
  busy_poll_ns_ = options.busy_poll_ns;  // adapts anew
}

Core& Core::Current() {
  RT_CHECK(current_core != nullptr);
  return *current_core;
}

void Core::Run() {
  thread_id_.store(gettid(), std::memory_order_relaxed);
  while (!stop_requested()) Turn(/*may_wait=*/true);
}

bool Core::Turn(bool may_wait) {
  const Scope scope(*this);
  const base::Nanos started = backend_->Now();
  busy_since_.store(started, std::memory_order_relaxed);
  ++counters_.turns;
  size_t done = TakeMessages();
  scheduler_->AdvanceTo(started);
  done += RunReadyTasks(started);
  FlushOutgoing();
  TrimWhenIdle(started);
  const base::Nanos ended = backend_->Now();
  counters_.busy_ns += static_cast<uint64_t>(ended - started);
  WatchStall(started, ended);
  done += PollBackend(may_wait, ended);
  return done > 0;
}

void Core::RequestStop() {
  stopping_.fetch_add(1, std::memory_order_relaxed);
  stop_.store(true, std::memory_order_release);
  backend_->WakeFromAnyThread();
  stopping_.fetch_sub(1, std::memory_order_release);
}

bool Core::stop_requested() const { return stop_.load(std::memory_order_acquire); }

void Core::Send(base::CoreId target, Message* message) {
  ++counters_.messages_sent;
  task::IntrusiveList<Message>& waiting = *outgoing_[target.value()];
  if (!waiting.empty() || !group_.mailbox(id_, target).Push(message)) {
    ++counters_.mailbox_full;
    ++outgoing_count_;
    waiting.PushBack(*message);
  }
  touched_[target.value()] = true;
  any_touched_ = true;
}

size_t Core::TakeMessages() {
  size_t taken = 0;
  for (uint32_t from = 0; from <= group_.count(); ++from) {
    Mailbox& mailbox = group_.mailbox(base::CoreId(from), id_);
    for (size_t i = 0; i < kMessagesPerTurn; ++i) {
      Message* message = mailbox.Pop();
      if (message == nullptr) break;
      message->run(message);
      ++taken;
    }
  }
  counters_.messages_received += taken;
  return taken;
}

void Core::FlushOutgoing() {
  for (uint32_t to = 0; outgoing_count_ > 0 && to < group_.count(); ++to) {
    task::IntrusiveList<Message>& waiting = *outgoing_[to];
    Mailbox& mailbox = group_.mailbox(id_, base::CoreId(to));
    while (!waiting.empty() && !mailbox.full()) {
      // Unlinked before it is pushed: from then on it belongs to the target.
      RT_CHECK(mailbox.Push(waiting.PopFront()));
      --outgoing_count_;
      touched_[to] = true;
      any_touched_ = true;
    }
  }
  if (any_touched_) WakeTouched();
}

// Once a turn, just before the poll that submits the wakes. The fence pairs with the one in
// Block(): either we see that the target sleeps, or it sees the message before it does.
void Core::WakeTouched() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (uint32_t to = 0; to < group_.count(); ++to) {
    if (!touched_[to]) continue;
    touched_[to] = false;
    Core& target = group_.core(base::CoreId(to));
    if (&target == this) continue;
    // Who clears the flag wakes; the others need not.
    if (target.sleeping_.load(std::memory_order_relaxed) &&
        target.sleeping_.exchange(false, std::memory_order_acq_rel)) {
      backend_->Wake(*target.backend_);
    }
  }
  any_touched_ = false;
}

bool Core::AnyMail() const {
  for (uint32_t from = 0; from <= group_.count(); ++from) {
    if (!group_.mailbox(base::CoreId(from), id_).empty()) return true;
  }
  return false;
}

size_t Core::RunReadyTasks(base::Nanos started) {
  size_t ran = 0;
  while (scheduler_->ready_count() > 0) {
    ran += scheduler_->RunReady(kTasksPerClockLook);
    if (scheduler_->ready_count() == 0) break;
    if (backend_->Now() - started >= options_.turn_budget_ns) break;
  }
  counters_.tasks_run += ran;
  return ran;
}

size_t Core::PollBackend(bool may_wait, base::Nanos now) {
  if (!may_wait || scheduler_->ready_count() > 0 || stop_requested()) return backend_->Poll(0);
  const base::Nanos deadline = BlockDeadline(now);
  if (busy_poll_ns_ > 0 && deadline > now) {
    const size_t found = Spin(std::min(now + busy_poll_ns_, deadline));
    if (found > 0 || AnyMail() || stop_requested()) {
      // Work came within the time: spinning pays.
      busy_poll_ns_ = options_.busy_poll_ns;
      return found;
    }
    busy_poll_ns_ /= 2;
    if (busy_poll_ns_ < kSpinWorthwhileNs) busy_poll_ns_ = 0;
    now = backend_->Now();
  }
  return Block(now);
}

// Until something has come; the first poll submits what is staged, further ones make no system call
// while nothing happens. Bounded in count too, for a clock that stands still.
size_t Core::Spin(base::Nanos until) {
  const size_t spins_max = static_cast<size_t>(busy_poll_ns_ / 20) + 1;
  for (size_t spins = 0; spins < spins_max; ++spins) {
    const size_t found = backend_->Poll(0);
    if (found > 0 || scheduler_->ready_count() > 0) return found + scheduler_->ready_count();
    if (AnyMail() || stop_requested() || backend_->Now() >= until) return 0;
    __builtin_ia32_pause();
  }
  return 0;
}

size_t Core::Block(base::Nanos now) {
  sleeping_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (AnyMail() || stop_requested()) {
    sleeping_.store(false, std::memory_order_relaxed);
    return backend_->Poll(0);
  }
  const base::Nanos deadline = BlockDeadline(now);
  busy_since_.store(0, std::memory_order_relaxed);
  const size_t found = backend_->Poll(deadline);
  sleeping_.store(false, std::memory_order_relaxed);
  // It would have come within a spin: try one next time. A timer that fired says nothing.
  if (options_.busy_poll_ns > 0) {
    const base::Nanos woke = backend_->Now();
    if (woke - now < options_.busy_poll_ns && woke < deadline) {
      busy_poll_ns_ = options_.busy_poll_ns;
    }
  }
  return found;
}

base::Nanos Core::BlockDeadline(base::Nanos now) const {
  base::Nanos deadline = scheduler_->next_deadline();
  if (buffers_.kept_bytes() > 0) deadline = std::min(deadline, trim_checked_ + kTrimAfterNs);
  // A full mailbox has no way to tell that it has room again.
  if (outgoing_count_ > 0) deadline = std::min(deadline, now + kFullMailboxRetryNs);
  return deadline;
}

void Core::WatchStall(base::Nanos started, base::Nanos ended) {
  const base::Nanos turn_ns = ended - started;
  if (turn_ns < options_.stall_report_ns) return;
  ++counters_.stalls;
  counters_.stall_max_ns = std::max(counters_.stall_max_ns, static_cast<uint64_t>(turn_ns));
  if (options_.on_stall == nullptr) return;
  if (stall_reported_ != 0 && ended - stall_reported_ < kStallReportEveryNs) return;
  stall_reported_ = ended;
  options_.on_stall(id_, turn_ns);
}

void Core::TrimWhenIdle(base::Nanos now) {
  if (now - trim_checked_ < kTrimAfterNs) return;
  trim_checked_ = now;
  if (trim_takes_ == buffers_.takes()) buffers_.Trim();
  trim_takes_ = buffers_.takes();
}

CoreGroup::CoreGroup(uint32_t count) : count_(count), cores_(count, nullptr) {
  for (uint32_t i = 0; i < (count + 1) * count; ++i) {
    mailboxes_.push_back(std::make_unique<Mailbox>());
  }
}

CoreGroup::~CoreGroup() = default;

Mailbox& CoreGroup::mailbox(base::CoreId from, base::CoreId to) {
  return *mailboxes_[from.value() * count_ + to.value()];
}

void CoreGroup::SendFromControl(base::CoreId to, Message* message) {
  Mailbox& inbox = mailbox(base::CoreId(count_), to);
  Core& target = core(to);
  while (!inbox.Push(message)) {
    target.backend_->WakeFromAnyThread();
    sched_yield();
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (target.sleeping_.load(std::memory_order_relaxed) &&
      target.sleeping_.exchange(false, std::memory_order_acq_rel)) {
    target.backend_->WakeFromAnyThread();
  }
}

}  // namespace ringtail::core
