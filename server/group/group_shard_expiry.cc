// What a shard lets go: offsets past their time, offsets of topics that are gone, groups of which
// nothing is left.
#include <utility>

#include "engine/base/logging.h"
#include "server/group/group_shard_entry.h"

namespace ringtail::group {

using base::Error;

namespace {

// KIP-211: an offset expires a while after its group has become empty, or, where there never were
// members, after the commit; in a group with members that of a topic which none of them reads. In a
// consumer group (KIP-848) a while after the commit, where nobody subscribes to the topic.
class Expiry {
 public:
  // One of the two groups is null.
  Expiry(const Group* classic, const ConsumerGroup* consumer, int64_t now_ms, int64_t retention_ms)
      : classic_(classic), consumer_(consumer), now_ms_(now_ms), retention_ms_(retention_ms) {
    if (classic != nullptr && classic->state() == GroupState::kStable) {
      subscribed_ = classic->SubscribedTopics();
    }
  }

  bool Expired(const std::string& topic, const CommittedOffset& committed) const {
    if (consumer_ != nullptr) {
      return !consumer_->SubscribesTo(topic) && now_ms_ - committed.commit_time_ms >= retention_ms_;
    }
    if (subscribed_.has_value() && subscribed_->contains(topic)) return false;
    int64_t since = committed.commit_time_ms;
    if (classic_->state() == GroupState::kEmpty) {
      if (committed.expire_time_ms >= 0) return now_ms_ >= committed.expire_time_ms;
      const bool had_members = !classic_->protocol_type().empty() && classic_->state_time_ms() >= 0;
      if (had_members) since = classic_->state_time_ms();
    } else if (!subscribed_.has_value()) {
      return false;
    }
    return now_ms_ - since >= retention_ms_;
  }

 private:
  const Group* const classic_;
  const ConsumerGroup* const consumer_;
  const int64_t now_ms_;
  const int64_t retention_ms_;
  std::optional<std::set<std::string>> subscribed_;
};

}  // namespace

task::Task<void> GroupShard::Expire() {
  for (const std::string& id : GroupIds()) {
    if (ready_ != Error::kNone) co_return;
    const Entry* entry = Find(id);
    if (entry == nullptr) continue;
    const Expiry expiry(entry->classic.get(), entry->consumer.get(), Now().wall_ms,
                        env_.options.offsets_retention_ms);
    Tombstones gone;
    for (const auto& [topic, partitions] : entry->offsets.topics()) {
      for (const auto& [partition, committed] : partitions) {
        if (expiry.Expired(topic, committed)) gone.push_back({id, topic, partition});
      }
    }
    const bool all = gone.size() == entry->offsets.size() && entry->unused();
    if (gone.empty() && !all) continue;
    const size_t count = gone.size();
    if (co_await AppendTombstones(id, std::move(gone), all) != Error::kNone) co_return;
    env_.counters.offsets_expired += count;
  }
}

task::Task<void> GroupShard::ForgetTopic(std::string topic) {
  for (const std::string& id : GroupIds()) {
    if (ready_ != Error::kNone) co_return;
    const Entry* entry = Find(id);
    if (entry == nullptr) continue;
    const auto found = entry->offsets.topics().find(topic);
    if (found == entry->offsets.topics().end()) continue;
    Tombstones gone;
    for (const auto& [partition, committed] : found->second) gone.push_back({id, topic, partition});
    if (co_await AppendTombstones(id, std::move(gone), false) != Error::kNone) co_return;
  }
}

}  // namespace ringtail::group
