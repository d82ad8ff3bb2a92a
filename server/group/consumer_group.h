// One consumer group of the next-generation protocol (KIP-848): the broker, not a member, assigns
// partitions, and each member gets from one assignment to the next at its own pace. A machine
// without a kernel, as Group is: its owner tells it the time and the topics, gives it the requests
// in order, and appends what it wants recorded. Lives on the core that leads its partition of
// __consumer_offsets. Rules and answers are those of Kafka 4.1.
//
// The group epoch grows with every change of members, subscriptions and topics. At the next
// heartbeat an assignor makes the target assignment of that epoch, and from then on each heartbeat
// takes its member a step towards it:
//
//   STABLE ---- loses partitions ----> UNREVOKED_PARTITIONS: keeps its epoch; is told what it
//   keeps,
//     ^                                 and has a rebalance timeout to say that it owns no more
//     |                                     |
//     +-- takes the target's epoch, and of the partitions it gains those that are free;
//         while some are not: UNRELEASED_PARTITIONS, looked at again with every heartbeat
//
// A member may speak the classic protocol while the group goes from one protocol to the other
// (group_conversion.h). Its generation is its epoch, it learns of a step by REBALANCE_IN_PROGRESS,
// takes it by JoinGroup, which says what it owns, and is told its assignment by SyncGroup; there is
// no leader, and nobody waits for others.
//
// So a partition is never given to a member while another one owns it: `held_` says who does.
//
// Changes are made at once and recorded in their order; a heartbeat is answered when all that it
// has seen is durable. One store is under way at a time, what comes meanwhile goes with the next.
// If one fails, those that wait are told to try again, and the next store begins with all that
// there is to say about the group (Snapshot).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "engine/base/error.h"
#include "engine/base/types.h"
#include "server/group/consumer_records.h"
#include "server/group/consumer_types.h"
#include "server/group/group.h"
#include "server/group/group_types.h"
#include "server/group/pending.h"

namespace ringtail::group {

enum class ConsumerGroupState : uint8_t {
  kEmpty,
  kAssigning,    // the group's epoch has no target assignment yet
  kReconciling,  // a member has not reached the target assignment
  kStable,
  kDead,  // removed, or its partition was: all requests are refused
};

// As ConsumerGroupDescribe and ListGroups say it.
absl::string_view StateName(ConsumerGroupState state);

// In Kafka's words, for tools.
absl::string_view StateName(MemberState state);

using ConsumerPending = Pending<ConsumerHeartbeatReply>;

// kInvalidRequest or kUnsupportedAssignor with the reason, for what no group would take.
base::Failure CheckHeartbeat(const ConsumerHeartbeat& request, const ConsumerOptions& options);

class ConsumerGroup {
 public:
  // One record, its key without the group's id.
  struct Record {
    ConsumerRecord kind = ConsumerRecord::kGroup;
    std::string name;
    std::optional<std::string> value;  // nullopt: a tombstone
  };
  using Store = std::vector<Record>;

  // `options`, `budget` and `counters` outlive it.
  ConsumerGroup(std::string id, const ConsumerOptions& options, Budget& budget,
                GroupCounters& counters);
  ~ConsumerGroup();
  ConsumerGroup(const ConsumerGroup&) = delete;
  ConsumerGroup& operator=(const ConsumerGroup&) = delete;

  // --- Requests.
  // `request` has passed CheckHeartbeat. Answered at once, or when what it led to is durable.
  void Heartbeat(const ConsumerHeartbeat& request, ConsumerPending* pending, const Moment& moment);
  // Whether this member may commit now.
  base::Error AdmitCommit(const CommitRequest& request) const;
  // Whether this member may read what is committed.
  base::Error AdmitFetch(const FetchOffsetsRequest& request) const;
  DescribedConsumerGroup Describe() const;

  // --- Requests of the classic protocol. Join and Sync are answered as heartbeats are.
  void Join(const JoinRequest& request, JoinPending* pending, const Moment& moment);
  void Sync(const SyncRequest& request, SyncPending* pending, const Moment& moment);
  base::Error HeartbeatClassic(const HeartbeatRequest& request, const Moment& moment);
  // Of any member, as an administrator may ask for it, too.
  base::Error LeaveClassic(const MemberName& name, const Moment& moment);

  // --- Its owner's.
  // What is recorded of it, at a start. Members have a session from now on.
  void Restore(ConsumerGroupImage image, Instant at);
  // What Restore took is not recorded as that of a consumer group: the first store says all.
  void RecordAnew() { rewrite_ = true; }
  ConsumerGroupImage Image() const;
  // What is to be appended now; nullopt: nothing, or a store is still under way.
  std::optional<Store> TakeStore(Instant at);
  bool wants_store(Instant at) const {
    if (storing_ || dead_) return false;
    return rewrite_ ? !waiters_.empty() || at.now >= retry_at_ : !records_.empty();
  }
  // The store is durable, or was not appended.
  void Stored(base::Error error, Instant at);
  // What is due by now. To be called again at next_deadline() at the latest.
  void Tick(const Moment& moment);
  base::Nanos next_deadline() const;
  // Nobody may use it any more; all that wait are answered.
  void Die(base::Error error);
  // Of which records may be there: what buries the group.
  std::vector<ConsumerKey> Keys() const;

  const std::string& id() const { return id_; }
  ConsumerGroupState state() const;
  int32_t epoch() const { return epoch_; }
  int32_t target_epoch() const { return target_epoch_; }
  size_t member_count() const { return members_.size(); }
  // Nobody is in it, and nothing waits to be recorded.
  bool unused() const { return members_.empty() && all_recorded(); }
  // All of its members, if any, speak the classic protocol, and nothing waits to be recorded.
  bool classic_only() const { return classic_count_ == members_.size() && all_recorded(); }
  bool dead() const { return dead_; }
  // By name or by expression.
  bool SubscribesTo(absl::string_view topic) const;

 private:
  struct Member {
    std::string id;
    ConsumerMemberValue value;
    CurrentAssignmentValue current;
    PartitionSet target;
    base::Nanos session_end = base::kNever;
    // Of its rebalance timeout: until then it has to take its next step.
    base::Nanos step_end = base::kNever;
    size_t bytes = 0;  // charged
  };
  using Members = std::map<std::string, std::unique_ptr<Member>, std::less<>>;
  struct Regex {
    RegexValue value;
    size_t members = 0;
    size_t bytes = 0;  // charged
  };
  // An answer that is held back until what it has seen is durable, or could not be made so.
  struct Waiter {
    virtual ~Waiter() = default;
    virtual void Answer(base::Error error) = 0;
  };
  template <class Reply>
  struct WaiterOf final : Waiter {
    void Answer(base::Error error) override {
      if (pending == nullptr) return;  // its peer has gone
      pending->Answer(error == base::Error::kNone ? std::move(reply) : Reply{.error = error});
    }
    Pending<Reply>* pending = nullptr;
    Reply reply;
  };
  using Waiters = std::vector<std::unique_ptr<Waiter>>;

  // --- consumer_group.cc: who may do what, and what a request changes.
  ConsumerHeartbeatReply Leave(const ConsumerHeartbeat& request, const Moment& moment);
  ConsumerHeartbeatReply JoinOrStay(const ConsumerHeartbeat& request, const Moment& moment);
  base::Failure Admit(const ConsumerHeartbeat& request, Member** member, Member** replaced) const;
  base::Failure AdmitStatic(const ConsumerHeartbeat& request, Member** member,
                            Member** replaced) const;
  base::Failure CheckEpoch(const Member& member, const ConsumerHeartbeat& request) const;
  base::Failure CheckRoom(const ConsumerHeartbeat& request, const Member* member) const;
  Member* AddMember(absl::string_view member_id);
  Member* Replace(Member* old, const std::string& member_id);
  bool UpdateMember(const ConsumerHeartbeat& request, bool is_new, Member* member,
                    const Moment& moment);
  bool SetValue(ConsumerMemberValue value, bool is_new, Member* member, const Moment& moment);
  template <class Reply>
  void Answer(Pending<Reply>* pending, Reply reply);

  // --- consumer_group_classic.cc: members of the classic protocol.
  base::Error CheckJoin(const JoinRequest& request) const;
  base::Error AdmitJoin(const JoinRequest& request, Member** member, Member** replaced) const;
  bool SpokenByAll(absl::string_view protocol, const Member* except) const;
  base::Error FindClassic(const MemberName& name, int32_t generation, Member** member) const;
  bool HasToJoin(const Member& member) const;

  // --- consumer_group_reconcile.cc: epochs, assignments, and each member's way there.
  Member* Find(absl::string_view member_id) const;
  Member* FindStatic(absl::string_view instance_id) const;
  void Subscribe(const ConsumerMemberValue& value, const Moment& moment);
  void Unsubscribe(const ConsumerMemberValue& value);
  void Resolve(const std::string& regex, Regex* entry, const Moment& moment);
  std::vector<const server::TopicImage*> SubscribedTopics(const server::Image& image) const;
  int64_t HashTopics(const server::Image& image) const;
  void FollowTopics(bool changed, const Moment& moment);
  void BeginEpoch(const Moment& moment);
  void UpdateTarget(const Moment& moment);
  AssignorInput ToInput(const server::Image& image) const;
  Assignor PreferredAssignor() const;
  void Reconcile(Member* member, const std::optional<PartitionSet>& owned, Instant at);
  CurrentAssignmentValue NextAssignment(const Member& member,
                                        const std::optional<PartitionSet>& owned) const;
  CurrentAssignmentValue TowardsTarget(const Member& member, int32_t epoch,
                                       const std::optional<PartitionSet>& owned) const;
  void SetCurrent(CurrentAssignmentValue current, Member* member);
  void Hold(const Member& member);
  void Release(const Member& member);
  void RemoveMember(Member* member, const Moment& moment);
  void ExtendSession(Member* member, Instant at) const;
  void Charge(Member* member);
  void ChargeRegex(const std::string& expression, Regex* regex);
  bool Reconciled(const Member& member) const;

  // --- consumer_group_records.cc: what is recorded, and what becomes of it.
  void Put(ConsumerRecord kind, absl::string_view name, std::string value);
  void Bury(ConsumerRecord kind, absl::string_view name);
  void PutMember(const Member& member);
  void PutCurrent(const Member& member);
  void PutRegex(absl::string_view expression, const RegexValue& regex);
  Store Snapshot() const;
  static void AnswerAll(Waiters waiters, base::Error error);
  bool all_recorded() const {
    return waiters_.empty() && records_.empty() && !storing_ && !rewrite_;
  }

  const std::string id_;
  const ConsumerOptions& options_;
  Budget& budget_;
  GroupCounters& counters_;
  size_t own_bytes_ = 0;
  bool dead_ = false;

  int32_t epoch_ = 0;
  int32_t target_epoch_ = 0;
  int64_t metadata_hash_ = 0;
  Members members_;
  size_t classic_count_ = 0;  // of them speak the classic protocol
  std::map<std::string, Member*, std::less<>> static_members_;  // by instance id
  std::map<std::string, size_t, std::less<>> topics_;           // subscribed by name: members
  std::map<std::string, Regex, std::less<>> regexes_;
  // Who owns a partition: has it assigned, or has not said yet that it is revoked.
  absl::flat_hash_map<partition::PartitionId, const Member*> held_;
  // The last look at the topics: of which catalog, and when.
  uint64_t seen_version_ = 0;
  base::Nanos seen_at_ = 0;

  Store records_;    // not yet given out
  Waiters waiters_;  // for records_
  bool storing_ = false;
  Waiters storing_waiters_;
  // Buried, and not yet known to be so by the partition; of a store under way apart.
  std::set<std::pair<ConsumerRecord, std::string>> buried_;
  std::set<std::pair<ConsumerRecord, std::string>> burying_;
  bool rewrite_ = false;                 // a store failed: the next one says all
  base::Nanos retry_at_ = base::kNever;  // without anybody asking
};

template <class Reply>
void ConsumerGroup::Answer(Pending<Reply>* pending, Reply reply) {
  if (all_recorded() || reply.error != base::Error::kNone) return pending->Answer(std::move(reply));
  auto waiter = std::make_unique<WaiterOf<Reply>>();
  waiter->reply = std::move(reply);
  pending->Attach(&waiter->pending);
  const bool only_under_way = storing_ && records_.empty() && !rewrite_;
  (only_under_way ? storing_waiters_ : waiters_).push_back(std::move(waiter));
}

}  // namespace ringtail::group
