// Waiting for data without polling: a fetch that found too little watches the partitions it asked
// for and is woken when the high watermark of one of them moves, when one of them closes, when its
// request is cancelled, or at its deadline. All of one core.
#pragma once

#include <cstddef>
#include <span>

#include "engine/base/check.h"
#include "engine/base/types.h"
#include "engine/task/intrusive_list.h"
#include "engine/task/sync.h"

namespace ringtail::partition {

class FetchWait;

// A FetchWait in the list of one partition.
struct FetchLink : task::ListNode {
  FetchWait* wait = nullptr;
};

// Set once, when nobody wants the answer any more.
class CancelToken {
 public:
  bool cancelled() const { return cancelled_; }
  void Cancel();
  // May be used again; nothing waits with it.
  void Reset() { cancelled_ = false; }

 private:
  friend class FetchWait;
  bool cancelled_ = false;
  task::IntrusiveList<FetchLink> waits_;
};

class FetchWait {
 public:
  // Watches one list, or with `links` that outlive it one with each; `cancel` may be null.
  explicit FetchWait(CancelToken* cancel, std::span<FetchLink> links = {})
      : links_(links.empty() ? std::span<FetchLink>(&own_link_, 1) : links), cancel_(cancel) {}
  ~FetchWait() {
    for (FetchLink& link : links_.first(used_)) link.Unlink();
  }

  void Watch(task::IntrusiveList<FetchLink>& list) {
    RT_CHECK(used_ < links_.size());
    links_[used_].wait = this;
    list.PushBack(links_[used_++]);
  }
  void Wake() {
    woken_ = true;
    changed_.NotifyAll();
  }
  // True: woken. False: the deadline passed, or the request is cancelled. What is watched may have
  // been destroyed by then.
  task::Task<bool> WaitUntil(base::Nanos deadline) {
    if (cancel_ != nullptr) {
      if (cancel_->cancelled_) co_return false;
      cancel_link_.wait = this;
      if (!cancel_link_.linked()) cancel_->waits_.PushBack(cancel_link_);
    }
    while (!woken_) {
      if (!co_await changed_.WaitUntil(deadline)) break;
    }
    const bool woken = woken_;
    woken_ = false;
    co_return woken && (cancel_ == nullptr || !cancel_->cancelled_);
  }

 private:
  FetchLink own_link_;
  std::span<FetchLink> links_;
  size_t used_ = 0;
  CancelToken* cancel_;
  FetchLink cancel_link_;
  bool woken_ = false;
  task::WaitList changed_;
};

inline void CancelToken::Cancel() {
  cancelled_ = true;
  waits_.ForEach([](FetchLink& link) { link.wait->Wake(); });
}

}  // namespace ringtail::partition
