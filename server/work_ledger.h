// What the requests of one core are made into: decoded lists, the broker's items, replies in memory
// that wait to be sent. Each connection has an account; while all of them together are over the
// bound, the connection that holds the most is ended. So one that asks for much and takes nothing
// loses its own connection, and nobody waits for it.
#pragma once

#include <algorithm>
#include <cstddef>

#include "engine/base/check.h"
#include "engine/task/intrusive_list.h"

namespace ringtail::server {

class WorkLedger {
 public:
  // One request alone may come to some tens of MiB (the metadata of 100,000 partitions).
  static constexpr size_t kBytesMin = 64 << 20;

  class Account : public task::ListNode {
   public:
    explicit Account(WorkLedger& ledger) : ledger_(ledger) { ledger.accounts_.PushBack(*this); }
    size_t held() const { return held_; }
    // May call End of any account, this one's included.
    void Charge(size_t bytes) {
      held_ += bytes;
      ledger_.used_ += bytes;
      if (ending_) ledger_.ending_ += bytes;
      ledger_.EndLargest();
    }
    void Release(size_t bytes) {
      RT_CHECK(bytes <= held_);
      held_ -= bytes;
      ledger_.used_ -= bytes;
      if (ending_) ledger_.ending_ -= bytes;
    }

   protected:
    ~Account() { Release(held_); }
    // Ends what holds the bytes; they are released some time after. `used` of the core's `max`.
    virtual void End(size_t used, size_t max) = 0;

   private:
    friend class WorkLedger;
    WorkLedger& ledger_;
    size_t held_ = 0;
    bool ending_ = false;
  };

  explicit WorkLedger(size_t bytes_max) : bytes_max_(std::max(bytes_max, kBytesMin)) {}

  size_t bytes_max() const { return bytes_max_; }
  size_t used() const { return used_; }

 private:
  void EndLargest() {
    while (used_ - ending_ > bytes_max_) {
      Account* largest = nullptr;
      accounts_.ForEach([&](Account& account) {
        if (account.ending_) return;
        if (largest == nullptr || account.held_ > largest->held_) largest = &account;
      });
      RT_CHECK(largest != nullptr);
      largest->ending_ = true;
      ending_ += largest->held_;
      largest->End(used_, bytes_max_);
    }
  }

  size_t bytes_max_;
  size_t used_ = 0;
  size_t ending_ = 0;  // of it, held by accounts that have been told to end
  task::IntrusiveList<Account> accounts_;
};

}  // namespace ringtail::server
