// Sets of partitions by the id of their topic, as the consumer group protocol of KIP-848 names
// them.
#pragma once

#include <algorithm>
#include <iterator>
#include <vector>

#include "engine/partition/partition_id.h"

namespace ringtail::group {

// Ascending, and none twice.
using PartitionSet = std::vector<partition::PartitionId>;

inline void Normalize(PartitionSet* partitions) {
  std::sort(partitions->begin(), partitions->end());
  partitions->erase(std::unique(partitions->begin(), partitions->end()), partitions->end());
}

inline PartitionSet Intersection(const PartitionSet& left, const PartitionSet& right) {
  PartitionSet both;
  std::set_intersection(left.begin(), left.end(), right.begin(), right.end(),
                        std::back_inserter(both));
  return both;
}

inline PartitionSet Difference(const PartitionSet& from, const PartitionSet& without) {
  PartitionSet rest;
  std::set_difference(from.begin(), from.end(), without.begin(), without.end(),
                      std::back_inserter(rest));
  return rest;
}

inline bool Includes(const PartitionSet& all, const PartitionSet& part) {
  return std::includes(all.begin(), all.end(), part.begin(), part.end());
}

inline bool Meets(const PartitionSet& left, const PartitionSet& right) {
  auto at = left.begin();
  for (const partition::PartitionId& each : right) {
    at = std::lower_bound(at, left.end(), each);
    if (at == left.end()) return false;
    if (*at == each) return true;
  }
  return false;
}

// Calls take(topic, begin, end) for the partitions of each topic.
template <class Taker>
void ForEachTopic(const PartitionSet& partitions, Taker take) {
  auto begin = partitions.begin();
  while (begin != partitions.end()) {
    auto end = begin;
    while (end != partitions.end() && end->topic_id == begin->topic_id) ++end;
    take(begin->topic_id, begin, end);
    begin = end;
  }
}

}  // namespace ringtail::group
