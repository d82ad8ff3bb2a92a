// The memory that requests in flight may take on one core. Large ones have three quarters of it
// among them, so that however many of those are announced and never come, small requests are read
// and answered. One request larger than its share is granted when all of that is free.
#pragma once

#include <cstddef>

#include "engine/task/sync.h"
#include "server/work_ledger.h"

namespace ringtail::server {

class ReceiveBudget {
 public:
  static constexpr size_t kSmallBytesMax = 64 << 10;

  struct Charge {
    size_t large = 0;
    size_t all = 0;
  };

  explicit ReceiveBudget(size_t bytes) : large_(bytes - bytes / 4), all_(bytes), work_(bytes) {}

  // What is made of the requests: as much again.
  WorkLedger& work() { return work_; }
  const WorkLedger& work() const { return work_; }

  size_t capacity() const { return all_.capacity(); }
  size_t used() const { return all_.used(); }

  // False, and nothing taken, where the caller would have to wait.
  bool TryAcquire(size_t bytes, Charge* charge) {
    Charge taken;
    if (bytes > kSmallBytesMax && !large_.TryAcquire(bytes, &taken.large)) return false;
    if (!all_.TryAcquire(bytes > kSmallBytesMax ? taken.large : bytes, &taken.all)) {
      if (taken.large > 0) large_.Release(taken.large);
      return false;
    }
    *charge = taken;
    return true;
  }

  task::Task<Charge> Acquire(size_t bytes) {
    Charge charge;
    if (bytes > kSmallBytesMax) {
      charge.large = co_await large_.Acquire(bytes);
      bytes = charge.large;
    }
    charge.all = co_await all_.Acquire(bytes);
    co_return charge;
  }

  void Release(const Charge& charge) {
    all_.Release(charge.all);
    if (charge.large > 0) large_.Release(charge.large);
  }

 private:
  task::ByteSemaphore large_;
  task::ByteSemaphore all_;
  WorkLedger work_;
};

}  // namespace ringtail::server
