#include "tests/server/kafka/groups_world.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ringtail::kafka {

void GroupsWorld::Own(const std::string& group, int member, int32_t generation,
                      std::set<int> partitions) {
  Group& known = groups_[group];
  if (!known.owners.contains(generation)) ++generations_;
  for (const int partition : partitions) {
    const auto [owner, first] = known.owners[generation].try_emplace(partition, member);
    if (first || owner->second == member) continue;
    Fail(absl::StrCat(group, ": partition ", partition, " belongs to members ", owner->second,
                      " and ", member, " in generation ", generation));
  }
  known.now[member] = {generation, std::move(partitions)};
}

void GroupsWorld::Try(const std::string& group, int partition, int64_t offset) {
  int64_t& tried = groups_[group].offsets[partition].tried;
  tried = std::max(tried, offset);
}

void GroupsWorld::Acknowledge(const std::string& group, int partition, int64_t offset) {
  int64_t& acknowledged = groups_[group].offsets[partition].acknowledged;
  acknowledged = std::max(acknowledged, offset);
  ++commits_;
}

void GroupsWorld::Fetched(const std::string& group, int partition, const Committed& before,
                          int64_t offset) {
  const int64_t tried = known(group, partition).tried;
  if (before.acknowledged <= offset && offset <= tried) return;
  Fail(absl::StrCat(group, ": partition ", partition, " is committed to ", offset,
                    ", acknowledged ", before.acknowledged, ", tried ", tried));
}

bool GroupsWorld::Settled(const std::string& group, int members) const {
  const auto found = groups_.find(group);
  if (found == groups_.end() || found->second.now.size() != static_cast<size_t>(members)) {
    return false;
  }
  std::set<int> all;
  for (const auto& [member, has] : found->second.now) {
    if (has.first != found->second.now.begin()->second.first) return false;
    all.insert(has.second.begin(), has.second.end());
  }
  return all.size() == kGroupsPartitions;
}

std::string GroupsWorld::Describe() const {
  std::string text;
  for (const auto& [id, group] : groups_) {
    absl::StrAppend(&text, id, ":");
    for (const auto& [member, has] : group.now) {
      absl::StrAppend(&text, " member ", member, " generation ", has.first, " [",
                      absl::StrJoin(has.second, ","), "]");
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

}  // namespace ringtail::kafka
