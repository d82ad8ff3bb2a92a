// A shard's consumer groups (KIP-848): their heartbeats, and how their records are appended.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "server/group/group_shard_append.h"
#include "server/group/group_shard_entry.h"

namespace ringtail::group {

using base::Error;

void GroupShard::HeartbeatConsumer(const ConsumerHeartbeat& request, ConsumerPending* pending) {
  const auto refuse = [&](Error error, absl::string_view why) {
    pending->Answer({.error = error, .message = std::string(why)});
  };
  Entry* entry = Find(request.group_id);
  if (request.member_epoch != kJoinEpoch && (entry == nullptr || entry->consumer == nullptr)) {
    // One that was given up, and its group went back to the classic protocol: it may join again.
    if (entry != nullptr && entry->has_members() && entry->of_consumers()) {
      return refuse(Error::kUnknownMember, "");
    }
    return refuse(Error::kGroupNotFound, "there is no consumer group of this id");
  }
  if (entry == nullptr) entry = FindOrMake(request.group_id, false);
  if (entry == nullptr) return refuse(Error::kGroupFull, "this core has as many groups as it may");
  if (entry->consumer == nullptr) return Upgrade(entry, request, pending);
  entry->consumer->Heartbeat(request, pending, NowWithTopics());
  // Without anything to record there is no new deadline: they only move on.
  if (entry->consumer->wants_store(Now())) return Settle(entry);
  EraseIfUnused(entry);
}

DescribedConsumerGroup GroupShard::DescribeConsumer(absl::string_view group_id) const {
  const Entry* entry = Find(group_id);
  if (entry != nullptr && entry->consumer != nullptr) return entry->consumer->Describe();
  return {.error = Error::kGroupNotFound,
          .message = entry == nullptr
                         ? absl::StrCat("Group ", group_id, " not found.")
                         : absl::StrCat("Group ", group_id, " is not a consumer group."),
          .state = StateName(ConsumerGroupState::kDead)};
}

GroupShard::Entry* GroupShard::StoreConsumer(Entry* entry) {
  std::optional<ConsumerGroup::Store> store = entry->consumer->TakeStore(Now());
  if (!store.has_value()) return entry;
  entry->recorded = true;
  const std::string id = entry->id;
  task::SpawnNow("consumer group store", AppendConsumerStore(id, entry->serial, *std::move(store)));
  return Find(id);
}

task::Task<void> GroupShard::AppendConsumerStore(std::string group_id, uint64_t serial,
                                                 ConsumerGroup::Store store) {
  Records records;
  records.reserve(store.size());
  for (ConsumerGroup::Record& each : store) {
    records.push_back(
        {EncodeKey(ConsumerKey{each.kind, group_id, each.name}), std::move(each.value)});
  }
  store.clear();
  const Error error = co_await AppendRecords(group_id, serial, std::move(records));
  Entry* entry = Find(group_id);
  if (entry == nullptr || entry->serial != serial) co_return;
  entry->consumer->Stored(error, Now());
  Settle(entry);
}

}  // namespace ringtail::group
