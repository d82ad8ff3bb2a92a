// Who gets which partitions: the server's assignors of KIP-848, `uniform` and `range`. Functions of
// what they are given: the same members, topics and former assignments give the same assignment.
//
// uniform: as even as the subscriptions allow (no partition could move, nor partitions along a
//   chain of members, so that a loaded member had less and one that has at least two less had
//   more), and of what members have as much as possible stays. Where subscriptions differ, the
//   search for such chains ends after a bounded amount of work (kLooksMax).
// range: of each topic, members get contiguous ranges in the order of their ids, so that members
//   that subscribe to the same topics get the same partitions of topics of the same size.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/types.h"
#include "server/group/group_types.h"
#include "server/group/partition_set.h"

namespace ringtail::group {

absl::string_view AssignorName(Assignor assignor);
std::optional<Assignor> FindAssignor(absl::string_view name);

struct AssignableTopic {
  base::Uuid id;
  int32_t partitions = 0;
};

struct AssignableMember {
  absl::string_view id;
  std::optional<absl::string_view> instance_id;
  std::vector<uint32_t> topics;          // that it subscribes to: places in `topics`, ascending
  const PartitionSet* before = nullptr;  // what it was assigned last; never null
};

struct AssignorInput {
  std::vector<AssignableTopic> topics;  // by id, ascending; none twice
  std::vector<AssignableMember> members;
};

// An assignment for each member. Each partition of a topic that anybody subscribes to is in exactly
// one of them.
std::vector<PartitionSet> Assign(Assignor assignor, const AssignorInput& input);

}  // namespace ringtail::group
