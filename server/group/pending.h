// An answer that a group owes: of a JoinGroup that waits for the others, of a SyncGroup that waits
// for the leader. Lives with whoever waits; if that goes first (its peer has gone), the group is
// left as it was, as Kafka leaves it: the member has joined, only nobody is told.
#pragma once

#include <utility>

#include "engine/base/check.h"

namespace ringtail::group {

template <class Reply>
class Pending {
 public:
  Pending() = default;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  virtual ~Pending() {
    if (place_ != nullptr) *place_ = nullptr;
  }

  bool answered() const { return answered_; }
  Reply& reply() { return reply_; }

  void Answer(Reply reply) {
    RT_CHECK(!answered_);
    if (place_ != nullptr) *std::exchange(place_, nullptr) = nullptr;
    reply_ = std::move(reply);
    answered_ = true;
    OnAnswer();
  }
  // The group's: `place` points here until this is answered or gone.
  void Attach(Pending** place) {
    RT_CHECK(place_ == nullptr && !answered_ && *place == nullptr);
    place_ = place;
    *place = this;
  }

 protected:
  virtual void OnAnswer() {}

 private:
  bool answered_ = false;
  Reply reply_;
  Pending** place_ = nullptr;
};

}  // namespace ringtail::group
