// A group with its offsets and its timer. Private to GroupShard.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "server/group/group_shard.h"

namespace ringtail::group {

struct GroupShard::Entry : private task::Timer {
  Entry(GroupShard& owner, std::string id, uint64_t serial_number)
      : Timer(&Fire),
        shard(owner),
        serial(serial_number),
        group(std::move(id), owner.env_.options.limits, owner.env_.budget,
              owner.env_.counters.groups, owner.Now()),
        offsets(owner.env_.budget) {}

  bool has_members() const {
    return consumer != nullptr ? consumer->member_count() > 0 : group.state() != GroupState::kEmpty;
  }
  bool unused() const { return consumer != nullptr ? consumer->unused() : group.unused(); }
  base::Nanos next_deadline() const {
    return consumer != nullptr ? consumer->next_deadline() : group.next_deadline();
  }
  bool SubscribesTo(const std::string& topic) const {
    if (consumer != nullptr) return consumer->SubscribesTo(topic);
    const auto topics = group.SubscribedTopics();
    return !topics.has_value() || topics->contains(topic);
  }
  void Die(base::Error error) {
    group.Die(error);
    if (consumer != nullptr) consumer->Die(error);
  }

  // Deadlines that move on, as every heartbeat moves one, are looked at when the old one passes.
  void ArmFor(base::Nanos deadline) {
    if (deadline >= armed_for) return;
    armed_for = deadline;
    Arm(shard.env_.core.scheduler(), deadline);
  }
  static void Fire(Timer* timer) {
    auto* self = static_cast<Entry*>(timer);
    self->armed_for = base::kNever;
    OnTimer(self);
  }

  GroupShard& shard;
  const uint64_t serial;  // no other entry had it
  Group group;
  // Instead of `group`, which is empty then. nullptr: it is a classic group.
  std::unique_ptr<ConsumerGroup> consumer;
  OffsetTable offsets;
  // The partition holds records of the group itself, as a classic or as a consumer group.
  bool recorded = false;
  bool consumer_recorded = false;
  base::Nanos armed_for = base::kNever;
};

}  // namespace ringtail::group
