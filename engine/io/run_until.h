// An operation with a deadline, and a linked pair as one wait.
#pragma once

#include <cerrno>
#include <coroutine>
#include <utility>

#include "engine/base/types.h"
#include "engine/io/backend.h"
#include "engine/task/scheduler.h"

namespace ringtail::io {

// Asked on the core when a deadline has come: the next deadline, or 0 to end the operation.
class DeadlineExtender {
 public:
  virtual base::Nanos Extend() = 0;

 protected:
  ~DeadlineExtender() = default;
};

// co_await RunUntil(backend, &op, deadline): op.result, or -ETIME where the deadline ended it. The
// operation has completed in either case.
class OpUntilAwaiter : private task::Timer {
 public:
  OpUntilAwaiter(Backend& backend, Op* op, base::Nanos deadline, DeadlineExtender* extender)
      : Timer(&Fire), backend_(backend), op_(op), deadline_(deadline), extender_(extender) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    op_->waiter = waiter;
    Arm(task::Scheduler::Current(), deadline_);
    backend_.Submit(op_);
  }
  int32_t await_resume() {
    Disarm();
    return fired_ && (op_->result == -ECANCELED || aborted_) ? -ETIME : op_->result;
  }

 private:
  static void Fire(task::Timer* timer) {
    auto* self = static_cast<OpUntilAwaiter*>(timer);
    const base::Nanos next = self->extender_ == nullptr ? 0 : self->extender_->Extend();
    if (next > 0) return self->Arm(task::Scheduler::Current(), next);
    self->fired_ = true;
    self->backend_.Cancel(self->op_);
    // What a zero-copy send has queued holds its memory until the peer acknowledges, or for good.
    if (self->op_->code == OpCode::kSend && (self->op_->flags & kZeroCopy) != 0) {
      self->backend_.AbortSocket(self->op_->fd);
      self->aborted_ = true;
    }
  }

  Backend& backend_;
  Op* op_;
  base::Nanos deadline_;
  DeadlineExtender* extender_;
  bool fired_ = false;
  bool aborted_ = false;
};

inline OpUntilAwaiter RunUntil(Backend& backend, Op* op, base::Nanos deadline,
                               DeadlineExtender* extender = nullptr) {
  return {backend, op, deadline, extender};
}

// co_await LinkedPair(backend, first, second): both have completed, in whatever order.
class LinkedPair {
 public:
  LinkedPair(Backend& backend, const Op& first, const Op& second)
      : backend_(backend), first_(first, this), second_(second, this) {}
  LinkedPair(const LinkedPair&) = delete;
  LinkedPair& operator=(const LinkedPair&) = delete;

  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    waiter_ = waiter;
    backend_.SubmitLinked(&first_, &second_);
  }
  // {first, second}
  std::pair<int32_t, int32_t> await_resume() const { return {first_.result, second_.result}; }

 private:
  struct Half : Op {
    Half(const Op& op, LinkedPair* pair) : Op(op), pair(pair) {
      waiter = nullptr;
      on_complete = [](Op* done) {
        LinkedPair& pair = *static_cast<Half*>(done)->pair;
        if (--pair.left_ == 0) task::Scheduler::Current().Ready(pair.waiter_);
      };
    }
    LinkedPair* pair;
  };

  Backend& backend_;
  Half first_;
  Half second_;
  int left_ = 2;
  std::coroutine_handle<> waiter_;
};

}  // namespace ringtail::io
