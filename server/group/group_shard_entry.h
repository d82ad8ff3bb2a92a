// A group with its offsets and its timer. Private to GroupShard.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <utility>

#include "server/group/group_shard.h"

namespace ringtail::group {

struct GroupShard::Entry : private task::Timer {
  Entry(GroupShard& owner, std::string group_id)
      : Timer(&Fire), shard(owner), id(std::move(group_id)), offsets(owner.env_.budget) {
    Become(NewClassic());
  }

  // --- What both kinds of groups are asked.
  void Join(const JoinRequest& request, JoinPending* pending, const Moment& moment) {
    if (consumer != nullptr) return consumer->Join(request, pending, moment);
    classic->Join(request, pending, moment.at);
  }
  void Sync(const SyncRequest& request, SyncPending* pending, const Moment& moment) {
    if (consumer != nullptr) return consumer->Sync(request, pending, moment);
    classic->Sync(request, pending, moment.at);
  }
  base::Error Heartbeat(const HeartbeatRequest& request, const Moment& moment) {
    if (consumer != nullptr) return consumer->HeartbeatClassic(request, moment);
    return classic->Heartbeat(request, moment.at);
  }
  base::Error Leave(const MemberName& member, const Moment& moment) {
    if (consumer != nullptr) return consumer->LeaveClassic(member, moment);
    return classic->Leave(member, moment.at);
  }
  base::Error AdmitCommit(const CommitRequest& request, Instant at) {
    return consumer != nullptr ? consumer->AdmitCommit(request) : classic->AdmitCommit(request, at);
  }
  base::Error AdmitFetch(const FetchOffsetsRequest& request) const {
    return consumer != nullptr ? consumer->AdmitFetch(request) : base::Error::kNone;
  }
  void Tick(const Moment& moment) {
    if (consumer != nullptr) return consumer->Tick(moment);
    classic->Tick(moment.at);
  }
  GroupSummary Summarize() const {
    if (consumer != nullptr) {
      return {.type = kConsumerType,
              .protocol_type = std::string(kConsumerProtocolType),
              .state = StateName(consumer->state()),
              .generation = consumer->epoch(),
              .members = consumer->member_count()};
    }
    return {.type = kClassicType,
            .protocol_type = classic->protocol_type(),
            .state = StateName(classic->state()),
            .generation = classic->generation(),
            .members = classic->member_count()};
  }
  size_t member_count() const {
    return consumer != nullptr ? consumer->member_count() : classic->member_count();
  }
  bool dead() const {
    return consumer != nullptr ? consumer->dead() : classic->state() == GroupState::kDead;
  }
  bool has_members() const {
    return consumer != nullptr ? consumer->member_count() > 0
                               : classic->state() != GroupState::kEmpty;
  }
  // Its members, as far as it has any, are consumers.
  bool of_consumers() const {
    return consumer != nullptr || classic->protocol_type() == kConsumerProtocolType;
  }
  bool unused() const { return consumer != nullptr ? consumer->unused() : classic->unused(); }
  base::Nanos next_deadline() const {
    return consumer != nullptr ? consumer->next_deadline() : classic->next_deadline();
  }
  bool SubscribesTo(const std::string& topic) const {
    if (consumer != nullptr) return consumer->SubscribesTo(topic);
    const auto topics = classic->SubscribedTopics();
    return !topics.has_value() || topics->contains(topic);
  }
  void Die(base::Error error) {
    if (consumer != nullptr) return consumer->Die(error);
    classic->Die(error);
  }

  // --- One or the other.
  std::unique_ptr<Group> NewClassic() const {
    return std::make_unique<Group>(id, shard.env_.options.limits, shard.env_.budget,
                                   shard.env_.counters.groups, shard.Now());
  }
  std::unique_ptr<ConsumerGroup> NewConsumer() const {
    return std::make_unique<ConsumerGroup>(id, shard.env_.options.consumer, shard.env_.budget,
                                           shard.env_.counters.groups);
  }
  // What was under way for the group before is none of this one's business.
  void Become(std::unique_ptr<Group> group) {
    consumer.reset();
    classic = std::move(group);
    serial = ++shard.next_serial_;
  }
  void Become(std::unique_ptr<ConsumerGroup> group) {
    classic.reset();
    consumer = std::move(group);
    serial = ++shard.next_serial_;
  }

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
  const std::string id;
  uint64_t serial = 0;  // of the group that it is now; no other group had it
  // Exactly one of the two.
  std::unique_ptr<Group> classic;
  std::unique_ptr<ConsumerGroup> consumer;
  OffsetTable offsets;
  // The partition holds records of the group itself, of whatever kind.
  bool recorded = false;
  // Keys of what was recorded of it as a group of the other kind. Their tombstones go with all that
  // is appended of the group, until they are durable: what is compacted may go in any order.
  std::set<std::string> to_bury;
  base::Nanos armed_for = base::kNever;
};

}  // namespace ringtail::group
