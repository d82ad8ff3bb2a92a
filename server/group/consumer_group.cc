// Who may do what, and what a request changes. What follows from it: consumer_group_reconcile.cc.
#include "server/group/consumer_group.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/check.h"
#include "server/group/topic_regex.h"

namespace ringtail::group {

using base::Error;
using base::Failure;

namespace {

ConsumerHeartbeatReply Refusal(Failure failure) {
  return {.error = failure.error, .message = std::move(failure.message)};
}

bool Empty(const std::optional<absl::string_view>& text) {
  return text.has_value() && text->empty();
}

size_t BytesOf(const ConsumerHeartbeat& request) {
  size_t bytes = request.member_id.size() + request.regex.value_or("").size() +
                 request.instance_id.value_or("").size() + request.rack_id.value_or("").size();
  if (!request.topics.has_value()) return bytes;
  for (const absl::string_view topic : *request.topics) {
    bytes += topic.size() + sizeof(std::string);
  }
  return bytes;
}

// Whether it brings the member to date: it joins, or something went wrong before.
bool IsFull(const ConsumerHeartbeat& request) {
  return request.member_epoch == kJoinEpoch ||
         (request.rebalance_timeout_ms >= 0 && request.owned.has_value() &&
          (request.topics.has_value() || request.regex.has_value()));
}

std::optional<std::string> Owned(const std::optional<absl::string_view>& text) {
  if (!text.has_value()) return std::nullopt;
  return std::string(*text);
}

// What the member is after the request.
ConsumerMemberValue Updated(const ConsumerHeartbeat& request, ConsumerMemberValue value) {
  if (request.instance_id.has_value()) value.instance_id = Owned(request.instance_id);
  if (request.rack_id.has_value()) value.rack_id = Owned(request.rack_id);
  if (request.rebalance_timeout_ms >= 0) value.rebalance_timeout_ms = request.rebalance_timeout_ms;
  if (request.assignor.has_value()) value.assignor = Owned(request.assignor);
  if (request.regex.has_value()) value.regex = Owned(request.regex);
  if (request.topics.has_value()) {
    value.topics.clear();
    for (const absl::string_view topic : *request.topics) value.topics.emplace_back(topic);
    SortTopics(&value.topics);
  }
  value.client_id = std::string(request.client_id);
  value.client_host = std::string(request.client_host);
  value.classic.reset();
  return value;
}

// Most heartbeats say nothing but that their member lives.
bool SaysNothing(const ConsumerHeartbeat& request, const ConsumerMemberValue& value) {
  return !request.rack_id.has_value() && request.rebalance_timeout_ms < 0 &&
         !request.assignor.has_value() && !request.regex.has_value() &&
         !request.topics.has_value() && !value.classic.has_value() &&
         request.instance_id == value.instance_id && request.client_id == value.client_id &&
         request.client_host == value.client_host;
}

}  // namespace

absl::string_view StateName(ConsumerGroupState state) {
  switch (state) {
    case ConsumerGroupState::kEmpty:
      return "Empty";
    case ConsumerGroupState::kAssigning:
      return "Assigning";
    case ConsumerGroupState::kReconciling:
      return "Reconciling";
    case ConsumerGroupState::kStable:
      return "Stable";
    case ConsumerGroupState::kDead:
      return "Dead";
  }
  return "Dead";
}

absl::string_view StateName(MemberState state) {
  switch (state) {
    case MemberState::kStable:
      return "STABLE";
    case MemberState::kUnrevokedPartitions:
      return "UNREVOKED_PARTITIONS";
    case MemberState::kUnreleasedPartitions:
      return "UNRELEASED_PARTITIONS";
  }
  return "";
}

Failure CheckHeartbeat(const ConsumerHeartbeat& request, const ConsumerOptions& options) {
  const auto invalid = [](absl::string_view why) {
    return Failure{Error::kInvalidRequest, std::string(why)};
  };
  const bool member_known =
      request.names_itself || request.member_epoch > 0 || request.member_epoch == kLeaveEpoch;
  if (member_known && request.member_id.empty()) return invalid("the member id is empty");
  if (request.group_id.empty()) return invalid("the group id is empty");
  if (Empty(request.instance_id)) return invalid("the instance id is empty");
  if (Empty(request.rack_id)) return invalid("the rack id is empty");
  if (request.member_epoch == kJoinEpoch) {
    if (request.rebalance_timeout_ms < 0) {
      return invalid("a member that joins must give its rebalance timeout");
    }
    if (!request.owned.has_value() || !request.owned->empty()) {
      return invalid("a member that joins owns no partitions, and must say so");
    }
    if (!request.topics.has_value() && !request.regex.has_value()) {
      return invalid("a member that joins must subscribe to topics, by name or by expression");
    }
  } else if (request.member_epoch == kLeaveStaticEpoch && !request.instance_id.has_value()) {
    return invalid("only a static member, with an instance id, leaves for a while");
  } else if (request.member_epoch < kLeaveStaticEpoch) {
    return invalid("a member epoch below -2");
  }
  if (!request.assignor.has_value()) return {};
  const std::optional<Assignor> assignor = FindAssignor(*request.assignor);
  if (assignor.has_value() && std::find(options.assignors.begin(), options.assignors.end(),
                                        *assignor) != options.assignors.end()) {
    return {};
  }
  return {Error::kUnsupportedAssignor,
          absl::StrCat("no assignor '", *request.assignor, "'; there are: ",
                       absl::StrJoin(options.assignors, ", ", [](std::string* out, Assignor each) {
                         absl::StrAppend(out, AssignorName(each));
                       }))};
}

// --- Heartbeats.

void ConsumerGroup::Heartbeat(const ConsumerHeartbeat& request, ConsumerPending* pending,
                              const Moment& moment) {
  if (dead_) return pending->Answer({.error = Error::kCoordinatorNotAvailable});
  ConsumerHeartbeatReply reply =
      request.member_epoch < kJoinEpoch ? Leave(request, moment) : JoinOrStay(request, moment);
  Answer(pending, std::move(reply));
}

ConsumerHeartbeatReply ConsumerGroup::Leave(const ConsumerHeartbeat& request,
                                            const Moment& moment) {
  const std::string member_id(request.member_id);
  Member* member =
      request.instance_id.has_value() ? FindStatic(*request.instance_id) : Find(request.member_id);
  if (member == nullptr) return {.error = Error::kUnknownMember};
  if (member->id != member_id) return {.error = Error::kFencedInstanceId};
  if (request.member_epoch == kLeaveStaticEpoch) {
    // What it was to give up it does not own any more; what it has is kept for its return.
    CurrentAssignmentValue current = member->current;
    current.epoch = kLeaveStaticEpoch;
    current.state = MemberState::kStable;
    current.revoking.clear();
    SetCurrent(std::move(current), member);
    member->step_end = base::kNever;
    PutCurrent(*member);
  } else {
    RemoveMember(member, moment);
  }
  return {.member_id = member_id, .member_epoch = request.member_epoch};
}

ConsumerHeartbeatReply ConsumerGroup::JoinOrStay(const ConsumerHeartbeat& request,
                                                 const Moment& moment) {
  Member* member = nullptr;
  Member* replaced = nullptr;
  Failure failure = Admit(request, &member, &replaced);
  if (!failure.ok()) return Refusal(std::move(failure));
  failure = CheckRoom(request, member != nullptr ? member : replaced);
  if (!failure.ok()) return Refusal(std::move(failure));
  if (request.regex.has_value() && !regexes_.contains(*request.regex)) {
    const absl::Status status = CheckTopicRegex(*request.regex);
    if (!status.ok()) return Refusal({Error::kInvalidRegex, std::string(status.message())});
  }
  // Nothing is refused from here on.
  const bool is_new = member == nullptr && replaced == nullptr;
  if (replaced != nullptr) {
    member = Replace(replaced, std::string(request.member_id));
  } else if (member == nullptr) {
    member = AddMember(request.member_id);
  }
  const PartitionSet before = member->current.assigned;
  const bool resubscribed = UpdateMember(request, is_new, member, moment);
  FollowTopics(is_new || resubscribed, moment);
  if (epoch_ > target_epoch_) UpdateTarget(moment);
  Reconcile(member, request.owned, moment.at);
  ExtendSession(member, moment.at);
  ConsumerHeartbeatReply reply{.member_id = member->id, .member_epoch = member->current.epoch};
  if (IsFull(request) || member->current.assigned != before) {
    reply.assignment = member->current.assigned;
  }
  return reply;
}

// --- Who it is.

// Sets `member` for one that is known, `replaced` for a static one whose place is taken; neither
// for a new one.
Failure ConsumerGroup::Admit(const ConsumerHeartbeat& request, Member** member,
                             Member** replaced) const {
  if (request.instance_id.has_value()) return AdmitStatic(request, member, replaced);
  *member = Find(request.member_id);
  if (*member != nullptr) return CheckEpoch(**member, request);
  return {request.member_epoch == kJoinEpoch ? Error::kNone : Error::kUnknownMember, ""};
}

Failure ConsumerGroup::AdmitStatic(const ConsumerHeartbeat& request, Member** member,
                                   Member** replaced) const {
  Member* known = FindStatic(*request.instance_id);
  Member* same_id = Find(request.member_id);
  if (known == nullptr) {
    if (request.member_epoch != kJoinEpoch) return {Error::kUnknownMember, ""};
    if (same_id == nullptr) return {};
    if (same_id->value.instance_id.has_value()) {
      return {Error::kFencedInstanceId, "the member has another instance id"};
    }
    *member = same_id;
    return CheckEpoch(*same_id, request);
  }
  if (request.member_epoch != kJoinEpoch) {
    if (known != same_id) return {Error::kFencedInstanceId, ""};
    *member = known;
    return CheckEpoch(*known, request);
  }
  // One of the classic protocol never says that it leaves for a while.
  const bool left = known->current.epoch == kLeaveStaticEpoch || known->value.classic.has_value();
  if (left && (same_id == nullptr || same_id == known)) {
    *replaced = known;
    return {};
  }
  if (known != same_id) {
    return {Error::kUnreleasedInstanceId,
            absl::StrCat("member ", known->id, " still has instance id ", *request.instance_id)};
  }
  *member = known;  // it starts again
  return {};
}

// A member that starts again with epoch 0 is taken as it comes: it owns nothing, and learns its
// assignment anew. Kafka fences it until its session ends, unless it has only just joined.
Failure ConsumerGroup::CheckEpoch(const Member& member, const ConsumerHeartbeat& request) const {
  const int32_t epoch = request.member_epoch;
  const CurrentAssignmentValue& current = member.current;
  if (epoch == current.epoch || (epoch == kJoinEpoch && current.epoch != kLeaveStaticEpoch)) {
    return {};
  }
  // The answer with its new epoch may have been lost.
  if (epoch < current.epoch && epoch == current.previous_epoch && request.owned.has_value() &&
      Includes(current.assigned, *request.owned)) {
    return {};
  }
  return {Error::kFencedMemberEpoch,
          absl::StrCat("member epoch ", epoch, ", the group has ", current.epoch,
                       ": give up all partitions and join again")};
}

Failure ConsumerGroup::CheckRoom(const ConsumerHeartbeat& request, const Member* member) const {
  if (member == nullptr && members_.size() >= options_.members_max) {
    return {Error::kGroupFull,
            absl::StrCat("the group has ", members_.size(), " members, as many as it may have")};
  }
  const size_t subscription = BytesOf(request);
  if (subscription > kSubscriptionBytesMax) {
    return {Error::kInvalidRequest,
            absl::StrCat("a subscription of ", subscription, " bytes; a member's may have ",
                         kSubscriptionBytesMax)};
  }
  if (member == nullptr || subscription > member->bytes) {
    const size_t bytes = sizeof(Member) + request.client_id.size() + subscription;
    if (!budget_.Fits(bytes)) return {Error::kGroupFull, "no memory is left for groups"};
  }
  return {};
}

// --- What it changes.

ConsumerGroup::Member* ConsumerGroup::AddMember(absl::string_view member_id) {
  auto added = std::make_unique<Member>();
  Member* member = added.get();
  member->id = std::string(member_id);
  members_[member->id] = std::move(added);
  return member;
}

// A static member comes back, perhaps as somebody else: its assignment is its instance's.
ConsumerGroup::Member* ConsumerGroup::Replace(Member* old, const std::string& member_id) {
  old->current.epoch = old->current.previous_epoch = 0;
  if (old->id == member_id) return old;
  Bury(ConsumerRecord::kCurrent, old->id);
  Bury(ConsumerRecord::kTargetMember, old->id);
  Bury(ConsumerRecord::kMember, old->id);
  auto node = members_.extract(old->id);
  node.key() = old->id = member_id;
  members_.insert(std::move(node));
  PutMember(*old);
  Put(ConsumerRecord::kTargetMember, old->id, EncodeTargetMember(old->target));
  PutCurrent(*old);
  return old;
}

// Whether its subscription is another one now.
bool ConsumerGroup::UpdateMember(const ConsumerHeartbeat& request, bool is_new, Member* member,
                                 const Moment& moment) {
  if (!is_new && SaysNothing(request, member->value)) return false;
  return SetValue(Updated(request, member->value), is_new, member, moment);
}

bool ConsumerGroup::SetValue(ConsumerMemberValue value, bool is_new, Member* member,
                             const Moment& moment) {
  if (!is_new && value == member->value) return false;
  const ConsumerMemberValue before = std::exchange(member->value, std::move(value));
  classic_count_ -= before.classic.has_value() ? 1 : 0;
  classic_count_ += member->value.classic.has_value() ? 1 : 0;
  if (before.classic.has_value() && !member->value.classic.has_value()) {
    // No SyncGroup of it will come any more.
    const bool revokes = member->current.state == MemberState::kUnrevokedPartitions;
    member->step_end =
        revokes ? After(moment.at, member->value.rebalance_timeout_ms) : base::kNever;
  }
  if (member->value.instance_id.has_value()) {
    static_members_[*member->value.instance_id] = member;
  }
  // An empty expression is none: clients of one protocol say so, those of the other say nothing.
  const bool resubscribed = before.topics != member->value.topics ||
                            before.regex.value_or("") != member->value.regex.value_or("");
  if (resubscribed) {
    Subscribe(member->value, moment);
    Unsubscribe(before);
  }
  PutMember(*member);
  Charge(member);
  return resubscribed;
}

// --- Others.

Error ConsumerGroup::AdmitCommit(const CommitRequest& request) const {
  if (dead_) return Error::kCoordinatorNotAvailable;
  // Whoever assigns partitions to itself, and admin tools, while nobody is in the group.
  if (request.generation < 0 && members_.empty()) return Error::kNone;
  const Member* member = Find(request.member.member_id);
  if (member == nullptr) return Error::kUnknownMember;
  const bool classic = member->value.classic.has_value();
  if (!classic && !request.knows_member_epochs) return Error::kUnsupportedVersion;
  if (request.generation == member->current.epoch) return Error::kNone;
  return classic ? Error::kIllegalGeneration : Error::kStaleMemberEpoch;
}

Error ConsumerGroup::AdmitFetch(const FetchOffsetsRequest& request) const {
  if (dead_) return Error::kCoordinatorNotAvailable;
  if (!request.member_id.has_value() && request.member_epoch < 0) return Error::kNone;
  const Member* member = Find(request.member_id.value_or(""));
  if (member == nullptr) return Error::kUnknownMember;
  return request.member_epoch == member->current.epoch ? Error::kNone : Error::kStaleMemberEpoch;
}

bool ConsumerGroup::SubscribesTo(absl::string_view topic) const {
  if (topics_.contains(topic)) return true;
  return std::any_of(regexes_.begin(), regexes_.end(), [&](const auto& each) {
    const std::vector<std::string>& topics = each.second.value.topics;
    return std::binary_search(topics.begin(), topics.end(), topic);
  });
}

DescribedConsumerGroup ConsumerGroup::Describe() const {
  DescribedConsumerGroup described{.state = StateName(state()),
                                   .epoch = epoch_,
                                   .target_epoch = target_epoch_,
                                   .assignor = AssignorName(PreferredAssignor())};
  for (const auto& [id, member] : members_) {
    described.members.push_back({.member_id = id,
                                 .instance_id = member->value.instance_id,
                                 .rack_id = member->value.rack_id,
                                 .epoch = member->current.epoch,
                                 .state = member->current.state,
                                 .client_id = member->value.client_id,
                                 .client_host = member->value.client_host,
                                 .topics = member->value.topics,
                                 .regex = member->value.regex,
                                 .assigned = member->current.assigned,
                                 .target = member->target,
                                 .classic = member->value.classic.has_value()});
  }
  return described;
}

}  // namespace ringtail::group
