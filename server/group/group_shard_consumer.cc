// A shard's consumer groups (KIP-848): their heartbeats, and how their records are appended.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "server/group/group_shard_append.h"
#include "server/group/group_shard_entry.h"

namespace ringtail::group {

using base::Error;

namespace {

// Records of one store go into batches of this size: __consumer_offsets takes twice as much.
constexpr size_t kBatchBytes = 8u << 20;

}  // namespace

void GroupShard::HeartbeatConsumer(const ConsumerHeartbeat& request, ConsumerPending* pending) {
  const auto refuse = [&](Error error, absl::string_view why) {
    pending->Answer({.error = error, .message = std::string(why)});
  };
  Entry* entry = Find(request.group_id);
  if (request.member_epoch != kJoinEpoch && (entry == nullptr || entry->consumer == nullptr)) {
    return refuse(Error::kGroupNotFound, "there is no consumer group of this id");
  }
  if (entry == nullptr) entry = FindOrMake(request.group_id, false);
  if (entry == nullptr) return refuse(Error::kGroupFull, "this core has as many groups as it may");
  if (entry->consumer == nullptr) {
    if (!entry->group.unused()) {
      return refuse(Error::kGroupNotFound, "the group has members of the classic protocol");
    }
    entry->consumer = std::make_unique<ConsumerGroup>(
        std::string(request.group_id), env_.options.consumer, env_.budget, env_.counters.groups);
  }
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
  entry->consumer_recorded = true;
  const std::string id = entry->group.id();
  task::SpawnNow("consumer group store", AppendConsumerStore(id, entry->serial, *std::move(store)));
  return Find(id);
}

task::Task<void> GroupShard::AppendConsumerStore(std::string group_id, uint64_t serial,
                                                 ConsumerGroup::Store store) {
  const Entry* before = Find(group_id);
  const bool classic = before != nullptr && before->serial == serial && before->recorded;
  Error error = co_await AppendRecords(group_id, std::move(store), classic);
  if (error == Error::kBatchTooLarge) error = Error::kGroupFull;
  Entry* entry = Find(group_id);
  if (entry == nullptr || entry->serial != serial) co_return;
  if (error == Error::kNone && classic) entry->recorded = false;
  entry->consumer->Stored(error, Now());
  Settle(entry);
}

task::Task<Error> GroupShard::AppendRecords(std::string group_id, ConsumerGroup::Store store,
                                            bool bury_classic) {
  records::RecordBatchBuilder batch = NewBatch();
  if (bury_classic) Add(EncodeKey(GroupKey{group_id}), std::nullopt, Now(), &batch);
  for (const ConsumerGroup::Record& each : store) {
    const size_t bytes = each.value.has_value() ? each.value->size() : 0;
    if (!batch.empty() && batch.size_bytes() + bytes > kBatchBytes) {
      base::Offset base;
      const Error error = co_await Append(std::exchange(batch, NewBatch()), &base);
      if (error != Error::kNone) co_return error;
    }
    std::optional<absl::string_view> value;
    if (each.value.has_value()) value = *each.value;
    Add(EncodeKey(ConsumerKey{each.kind, group_id, each.name}), value, Now(), &batch);
  }
  base::Offset base;
  co_return co_await Append(std::move(batch), &base);
}

task::Task<void> GroupShard::BuryConsumer(std::string group_id, ConsumerGroup::Store store) {
  co_await AppendRecords(std::move(group_id), std::move(store), false);
}

bool GroupShard::YieldToClassic(Entry* entry) {
  if (!entry->consumer->unused()) return false;
  ConsumerGroup::Store buried;
  for (const ConsumerKey& key : entry->consumer->Remains()) {
    buried.push_back({key.kind, key.name, std::nullopt});
  }
  // What the classic group records comes after this; the newer one of the two is what it is.
  task::SpawnNow("consumer group end", BuryConsumer(entry->group.id(), std::move(buried)));
  entry->consumer.reset();
  entry->consumer_recorded = false;
  return true;
}

}  // namespace ringtail::group
