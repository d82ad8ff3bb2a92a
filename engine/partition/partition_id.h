// Which partition: the id of its topic, and its index there.
#pragma once

#include <compare>
#include <cstdint>
#include <utility>

#include "engine/base/types.h"

namespace ringtail::partition {

struct PartitionId {
  base::Uuid topic_id;
  int32_t partition = 0;

  auto operator<=>(const PartitionId&) const = default;
  template <typename H>
  friend H AbslHashValue(H state, const PartitionId& id) {
    return H::combine(std::move(state), id.topic_id, id.partition);
  }
};

}  // namespace ringtail::partition
