// A group with its offsets and its timer. Private to GroupShard.
#pragma once

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
  OffsetTable offsets;
  bool recorded = false;  // the partition holds a record of the group itself
  base::Nanos armed_for = base::kNever;
};

}  // namespace ringtail::group
