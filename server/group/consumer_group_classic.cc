// Members of a consumer group that speak the classic protocol: JoinGroup, SyncGroup, Heartbeat and
// LeaveGroup of theirs.
#include <algorithm>
#include <utility>

#include "server/group/consumer_group.h"
#include "server/group/group_conversion.h"

namespace ringtail::group {

using base::Error;

namespace {

// What the member is after its JoinGroup, which has protocols.
ConsumerMemberValue ValueOf(const JoinRequest& request, EmbeddedSubscription subscription) {
  ConsumerMemberValue value{.rack_id = std::move(subscription.rack),
                            .client_id = std::string(request.client_id),
                            .client_host = std::string(request.client_host),
                            .topics = std::move(subscription.topics),
                            .rebalance_timeout_ms = request.rebalance_timeout_ms};
  if (request.member.instance_id.has_value()) {
    value.instance_id = std::string(*request.member.instance_id);
  }
  SortTopics(&value.topics);
  ClassicMetadata& classic = value.classic.emplace();
  classic.session_timeout_ms = request.session_timeout_ms;
  for (const ProtocolView& each : request.protocols) {
    classic.protocols.emplace_back(each.name, each.metadata);
  }
  return value;
}

size_t BytesOf(const JoinRequest& request) {
  size_t bytes = request.client_id.size() + request.client_host.size() +
                 request.member.member_id.size() + request.member.instance_id.value_or("").size();
  // The topics are held apart from the metadata, too.
  for (const ProtocolView& each : request.protocols) {
    bytes += each.name.size() + 2 * each.metadata.size();
  }
  return bytes;
}

bool Contradicts(const std::optional<absl::string_view>& asked, absl::string_view ours) {
  return asked.has_value() && *asked != ours;
}

}  // namespace

// --- JoinGroup.

bool ConsumerGroup::SpokenByAll(absl::string_view protocol, const Member* except) const {
  return std::all_of(members_.begin(), members_.end(), [&](const auto& each) {
    const std::optional<ClassicMetadata>& classic = each.second->value.classic;
    if (each.second.get() == except || !classic.has_value()) return true;
    return std::any_of(classic->protocols.begin(), classic->protocols.end(),
                       [&](const auto& spoken) { return spoken.first == protocol; });
  });
}

// Whether there is room for it, and a protocol that the others speak.
Error ConsumerGroup::CheckJoin(const JoinRequest& request) const {
  const MemberName& name = request.member;
  const Member* member = Find(name.member_id);
  if (member == nullptr && name.instance_id.has_value()) member = FindStatic(*name.instance_id);
  const size_t bytes = BytesOf(request);
  if (member == nullptr && members_.size() >= options_.members_max) return Error::kGroupFull;
  if (bytes > kSubscriptionBytesMax) return Error::kGroupFull;
  if ((member == nullptr || bytes > member->bytes) && !budget_.Fits(sizeof(Member) + bytes)) {
    return Error::kGroupFull;
  }
  const bool fits =
      request.protocol_type == kConsumerProtocolType &&
      std::any_of(request.protocols.begin(), request.protocols.end(),
                  [&](const ProtocolView& each) { return SpokenByAll(each.name, member); });
  return fits ? Error::kNone : Error::kInconsistentProtocol;
}

// As Admit.
Error ConsumerGroup::AdmitJoin(const JoinRequest& request, Member** member,
                               Member** replaced) const {
  const MemberName& name = request.member;
  *member = Find(name.member_id);
  if (name.instance_id.has_value()) {
    Member* known = FindStatic(*name.instance_id);
    if (name.member_id.empty()) {
      *replaced = known;
      return Error::kNone;
    }
    if (known == nullptr) return Error::kUnknownMember;
    if (known->id != name.member_id) return Error::kFencedInstanceId;
  }
  // It had left for a while.
  if (*member != nullptr && (*member)->current.epoch < kJoinEpoch) {
    *replaced = std::exchange(*member, nullptr);
  }
  return Error::kNone;
}

void ConsumerGroup::Join(const JoinRequest& request, JoinPending* pending, const Moment& moment) {
  std::string member_id(request.member.member_id);
  const auto refuse = [&](Error error) {
    pending->Answer({.error = error, .member_id = member_id});
  };
  if (dead_) return refuse(Error::kCoordinatorNotAvailable);
  Error error = CheckJoin(request);
  if (error != Error::kNone) return refuse(error);
  auto subscription = DecodeSubscription(request.protocols.front().metadata);
  if (!subscription.has_value()) return refuse(Error::kInconsistentProtocol);
  Member* member = nullptr;
  Member* replaced = nullptr;
  error = AdmitJoin(request, &member, &replaced);
  if (error != Error::kNone) return refuse(error);
  if (member_id.empty()) {
    member_id = base::Uuid::Random().ToString();
    // Unlike a classic group this one need not remember it: it takes any id.
    if (request.takes_member_id && !request.member.instance_id.has_value()) {
      return refuse(Error::kMemberIdRequired);
    }
  }
  // Nothing is refused from here on.
  const bool is_new = member == nullptr && replaced == nullptr;
  if (replaced != nullptr) {
    member = Replace(replaced, member_id);
  } else if (member == nullptr) {
    member = AddMember(member_id);
  }
  const PartitionSet owned = ToPartitions(subscription->owned, moment.image);
  const bool resubscribed =
      SetValue(ValueOf(request, *std::move(subscription)), is_new, member, moment);
  FollowTopics(is_new || resubscribed, moment);
  if (epoch_ > target_epoch_) UpdateTarget(moment);
  Reconcile(member, owned, moment.at);
  ExtendSession(member, moment.at);
  member->step_end = After(moment.at, member->value.rebalance_timeout_ms);  // for its SyncGroup
  Answer(pending, JoinReply{.generation = member->current.epoch,
                            .protocol_type = std::string(kConsumerProtocolType),
                            .protocol_name = std::string(request.protocols.front().name),
                            .member_id = member->id});
}

// --- The others.

Error ConsumerGroup::FindClassic(const MemberName& name, int32_t generation,
                                 Member** member) const {
  if (dead_) return Error::kCoordinatorNotAvailable;
  *member = name.instance_id.has_value() ? FindStatic(*name.instance_id) : Find(name.member_id);
  if (*member == nullptr) return Error::kUnknownMember;
  if ((*member)->id != name.member_id) return Error::kFencedInstanceId;
  if (!(*member)->value.classic.has_value()) return Error::kUnknownMember;
  return generation == (*member)->current.epoch ? Error::kNone : Error::kIllegalGeneration;
}

void ConsumerGroup::Sync(const SyncRequest& request, SyncPending* pending, const Moment& moment) {
  Member* member = nullptr;
  Error error = FindClassic(request.member, request.generation, &member);
  if (error != Error::kNone) return pending->Answer({.error = error});
  const auto& [protocol, metadata] = member->value.classic->protocols.front();
  if (Contradicts(request.protocol_type, kConsumerProtocolType) ||
      Contradicts(request.protocol_name, protocol)) {
    return pending->Answer({.error = Error::kInconsistentProtocol});
  }
  // One that is to give something up has to learn of it first.
  if (member->current.epoch < epoch_ &&
      member->current.state != MemberState::kUnrevokedPartitions) {
    return pending->Answer({.error = Error::kRebalanceInProgress});
  }
  ExtendSession(member, moment.at);
  member->step_end = base::kNever;
  Answer(pending,
         SyncReply{.protocol_type = std::string(kConsumerProtocolType),
                   .protocol_name = protocol,
                   .assignment = ToAssignment(member->current.assigned, metadata, moment.image)});
}

// Whether there is a step that it could take now.
bool ConsumerGroup::HasToJoin(const Member& member) const {
  const CurrentAssignmentValue& current = member.current;
  if (current.epoch < epoch_ || current.state == MemberState::kUnrevokedPartitions) return true;
  if (current.state != MemberState::kUnreleasedPartitions) return false;
  return std::all_of(member.target.begin(), member.target.end(), [&](const auto& each) {
    const auto held = held_.find(each);
    return held == held_.end() || held->second == &member;
  });
}

Error ConsumerGroup::HeartbeatClassic(const HeartbeatRequest& request, const Moment& moment) {
  Member* member = nullptr;
  const Error error = FindClassic(request.member, request.generation, &member);
  if (error != Error::kNone) return error;
  ExtendSession(member, moment.at);
  FollowTopics(/*changed=*/false, moment);
  if (!HasToJoin(*member)) return Error::kNone;
  if (member->step_end == base::kNever) {
    member->step_end = After(moment.at, member->value.rebalance_timeout_ms);
  }
  return Error::kRebalanceInProgress;
}

Error ConsumerGroup::LeaveClassic(const MemberName& name, const Moment& moment) {
  if (dead_) return Error::kCoordinatorNotAvailable;
  Member* member =
      name.instance_id.has_value() ? FindStatic(*name.instance_id) : Find(name.member_id);
  if (member == nullptr) return Error::kUnknownMember;
  // An administrator does not know a static member's id.
  const bool any = name.instance_id.has_value() && name.member_id.empty();
  if (!any && member->id != name.member_id) return Error::kFencedInstanceId;
  RemoveMember(member, moment);
  return Error::kNone;
}

}  // namespace ringtail::group
