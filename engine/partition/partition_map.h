// The partitions of one core, by topic id and index: the one map that all front ends share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/partition/partition.h"
#include "engine/partition/partition_id.h"

namespace ringtail::partition {

class PartitionMap {
 public:
  // nullptr: not on this core. Valid until the next suspension.
  Partition* Find(const PartitionId& id) {
    const auto found = map_.find(id);
    return found == map_.end() ? nullptr : found->second.get();
  }
  void Insert(const PartitionId& id, std::unique_ptr<Partition> partition) {
    RT_CHECK(map_.emplace(id, std::move(partition)).second);
  }
  // The caller closes it.
  std::unique_ptr<Partition> Take(const PartitionId& id) {
    const auto found = map_.find(id);
    if (found == map_.end()) return nullptr;
    std::unique_ptr<Partition> partition = std::move(found->second);
    map_.erase(found);
    return partition;
  }
  size_t size() const { return map_.size(); }
  // Those for which `wanted` says so, sorted: what is done to them one by one is done in the same
  // order in each run of a simulation.
  template <class Wanted>
  std::vector<PartitionId> Select(Wanted wanted) const {
    std::vector<PartitionId> ids;
    for (const auto& [id, partition] : map_) {
      if (wanted(*partition)) ids.push_back(id);
    }
    std::sort(ids.begin(), ids.end());
    return ids;
  }
  // In any order. `visit` must not change the map, nor suspend.
  template <class Visit>
  void ForEach(Visit visit) const {
    for (const auto& [id, partition] : map_) visit(id, *partition);
  }

 private:
  absl::flat_hash_map<PartitionId, std::unique_ptr<Partition>> map_;
};

}  // namespace ringtail::partition
