// How a shard's groups change their protocol: when they do is decided here, what they are then in
// group_conversion.h.
#include <utility>

#include "engine/base/logging.h"
#include "server/group/group_conversion.h"
#include "server/group/group_shard_entry.h"

namespace ringtail::group {

using base::Error;

// By a member that wants to join: if the consumer group refuses it, the classic group stays. What
// its members wait for they have to ask for again.
void GroupShard::Upgrade(Entry* entry, const ConsumerHeartbeat& request, ConsumerPending* pending) {
  ConsumerGroupImage image;
  const Moment moment = NowWithTopics();
  base::Failure failure = ToConsumerGroup(entry->id, entry->classic->Image(), env_.options.consumer,
                                          moment.image, &image);
  if (!failure.ok()) {
    RT_LOG_EVERY(10, kInfo, "{}", failure.message);
    pending->Answer({.error = failure.error, .message = std::move(failure.message)});
    return EraseIfUnused(entry);
  }
  const size_t members = image.members.size();
  std::unique_ptr<ConsumerGroup> group = entry->NewConsumer();
  group->Restore(std::move(image), moment.at);
  group->RecordAnew();
  group->Heartbeat(request, pending, moment);
  if (pending->answered()) return EraseIfUnused(entry);
  if (members > 0) {
    RT_LOG(kInfo, "group {}: {} members of the classic protocol are in a consumer group now",
           entry->id, members);
  }
  entry->classic->Die(Error::kRebalanceInProgress);
  entry->Become(std::move(group));
  if (entry->recorded) entry->to_bury.insert(EncodeKey(GroupKey{entry->id}));
  Settle(entry);
}

// Once nothing of it waits to be recorded, so that all who wait are answered, and a start that
// finds the group as it was goes the same way. An empty group waits for its first member.
bool GroupShard::MaybeDowngrade(Entry* entry) {
  const ConsumerGroup* consumer = entry->consumer.get();
  if (consumer == nullptr || consumer->member_count() == 0 || !consumer->classic_only() ||
      consumer->member_count() > env_.options.limits.members_max ||
      !MayDowngrade(env_.options.consumer.migration_policy)) {
    return false;
  }
  RT_LOG(kInfo, "group {}: its {} members all speak the classic protocol: it is a classic group",
         entry->id, consumer->member_count());
  Downgrade(entry);
  return true;
}

void GroupShard::Downgrade(Entry* entry) {
  const Moment moment = NowWithTopics();
  GroupImage image = ToClassicGroup(entry->consumer->Image(), moment.image);
  if (entry->recorded) {
    for (const ConsumerKey& key : entry->consumer->Keys()) entry->to_bury.insert(EncodeKey(key));
  }
  // It is recorded as such again.
  entry->to_bury.erase(EncodeKey(GroupKey{entry->id}));
  entry->Become(entry->NewClassic());
  entry->classic->Adopt(std::move(image), moment.at);
}

}  // namespace ringtail::group
