// What the requests of members do. What follows from it: group_rebalance.cc.
#include "server/group/group.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace ringtail::group {

using base::Error;

namespace {

// Until a new member's first generation begins, its client sends no heartbeats; it is given up only
// if that takes very long (KAFKA-4565's bound of five minutes).
constexpr base::Nanos kNewMemberTime = 300 * base::kNanosPerSecond;

constexpr size_t kMemberIdPrefixMax = 255;

std::string NewMemberId(const JoinRequest& request) {
  const absl::string_view prefix =
      request.member.instance_id.value_or(request.client_id).substr(0, kMemberIdPrefixMax);
  return absl::StrCat(prefix, "-", base::Uuid::Random().ToString());
}

JoinReply Refusal(Error error, absl::string_view member_id) {
  return {.error = error, .member_id = std::string(member_id)};
}

bool Contradicts(const std::optional<absl::string_view>& asked, absl::string_view ours) {
  return asked.has_value() && *asked != ours;
}

}  // namespace

absl::string_view StateName(GroupState state) {
  switch (state) {
    case GroupState::kEmpty:
      return "Empty";
    case GroupState::kPreparingRebalance:
      return "PreparingRebalance";
    case GroupState::kCompletingRebalance:
      return "CompletingRebalance";
    case GroupState::kStable:
      return "Stable";
    case GroupState::kDead:
      return "Dead";
  }
  return "Dead";
}

// --- JoinGroup.

bool Group::HasRoomFor(const JoinRequest& request) const {
  const Member* known = Find(request.member.member_id);
  const bool counted =
      known != nullptr && (state_ != GroupState::kPreparingRebalance || known->joining);
  size_t members = members_.size();
  if (state_ == GroupState::kPreparingRebalance) {
    // Who has not come back may not do so: first come, first served.
    members = 0;
    for (const auto& [id, member] : members_) members += member->joining ? 1 : 0;
  }
  if (!counted && members + announced_.size() >= limits_.members_max &&
      !announced_.contains(request.member.member_id)) {
    return false;
  }
  size_t bytes = kAnnouncedBytes + request.client_id.size() + request.client_host.size() +
                 request.member.instance_id.value_or("").size();
  for (const ProtocolView& protocol : request.protocols) {
    bytes += protocol.name.size() + protocol.metadata.size();
  }
  // What it had before goes.
  return budget_.Fits(bytes - std::min(bytes, known == nullptr ? 0 : known->bytes));
}

bool Group::SupportsProtocols(const JoinRequest& request) const {
  if (request.protocol_type.empty() || request.protocols.empty()) return false;
  if (state_ == GroupState::kEmpty && members_.empty()) return true;
  if (request.protocol_type != protocol_type_) return false;
  for (const ProtocolView& protocol : request.protocols) {
    bool all = true;
    for (const auto& [id, member] : members_) {
      bool has = false;
      for (const Protocol& each : member->protocols) has |= each.name == protocol.name;
      all &= has;
    }
    if (all) return true;
  }
  return false;
}

void Group::Join(const JoinRequest& request, JoinPending* pending, Instant at) {
  const absl::string_view member_id = request.member.member_id;
  if (state_ == GroupState::kDead) {
    pending->Answer(Refusal(Error::kCoordinatorNotAvailable, member_id));
  } else if (!HasRoomFor(request)) {
    if (Find(member_id) != nullptr) RemoveAndRebalance(std::string(member_id), at);
    pending->Answer(Refusal(Error::kGroupFull, ""));
  } else if (!SupportsProtocols(request)) {
    pending->Answer(Refusal(Error::kInconsistentProtocol, member_id));
  } else if (member_id.empty()) {
    JoinNew(request, pending, at);
  } else {
    JoinKnown(request, pending, at);
  }
}

void Group::JoinNew(const JoinRequest& request, JoinPending* pending, Instant at) {
  if (request.member.instance_id.has_value()) return JoinStatic(request, pending, at);
  std::string member_id = NewMemberId(request);
  if (!request.takes_member_id) return AddMember(request, std::move(member_id), pending, at);
  // A client that never hears the answer would leave a member behind that nobody is.
  budget_.Take(kAnnouncedBytes);
  announced_[member_id] = at.now + request.session_timeout_ms * base::kNanosPerMilli;
  pending->Answer(Refusal(Error::kMemberIdRequired, member_id));
}

// A static member without a member id: new, or restarted and taking the place of what it was.
void Group::JoinStatic(const JoinRequest& request, JoinPending* pending, Instant at) {
  const std::string instance_id(*request.member.instance_id);
  Member* member = FindStatic(instance_id);
  if (member == nullptr) return AddMember(request, NewMemberId(request), pending, at);
  AnswerJoin(member, Refusal(Error::kFencedInstanceId, member->id));
  if (member->syncing) AnswerSync(member, Error::kFencedInstanceId);
  const std::string old_id = member->id;
  const std::string told_leader = leader_;
  auto node = members_.extract(old_id);
  member->id = NewMemberId(request);
  node.key() = member->id;
  members_.insert(std::move(node));
  static_members_[instance_id] = member->id;
  if (leader_ == old_id) leader_ = member->id;
  member->client_id = std::string(request.client_id);
  member->client_host = std::string(request.client_host);
  SetProtocols(request, member);
  ExtendSession(member, at);
  if (state_ == GroupState::kStable && ChooseProtocol() == protocol_) {
    // Its assignment stands: no rebalance, once the new id is recorded.
    StartJoining(member, pending);
    stores_.push_back({.what = Store::What::kStaticMember,
                       .record = ToRecord(),
                       .member_id = member->id,
                       .leader = told_leader,
                       .skips_assignment = request.skips_assignment});
    return;
  }
  StartJoining(member, pending);
  RebalanceOrComplete(at);
}

void Group::Withdraw(Announced::iterator announced) {
  budget_.Give(kAnnouncedBytes);
  announced_.erase(announced);
}

void Group::JoinKnown(const JoinRequest& request, JoinPending* pending, Instant at) {
  const absl::string_view member_id = request.member.member_id;
  const auto announced = announced_.find(member_id);
  if (announced != announced_.end()) {
    if (request.member.instance_id.has_value()) {
      return pending->Answer(Refusal(Error::kUnknownMember, member_id));
    }
    Withdraw(announced);
    return AddMember(request, std::string(member_id), pending, at);
  }
  const Error error = CheckMember(request.member);
  if (error != Error::kNone) return pending->Answer(Refusal(error, member_id));
  Member* member = Find(member_id);
  bool same = member->protocols.size() == request.protocols.size();
  for (size_t i = 0; same && i < member->protocols.size(); ++i) {
    same = member->protocols[i].name == request.protocols[i].name &&
           member->protocols[i].metadata == request.protocols[i].metadata;
  }
  switch (state_) {
    case GroupState::kPreparingRebalance:
      return UpdateMember(request, member, pending, at);
    case GroupState::kCompletingRebalance:
      if (!same) return UpdateMember(request, member, pending, at);
      // It missed the answer to its JoinGroup.
      return pending->Answer(CurrentGeneration(*member, leader_ == member->id));
    case GroupState::kStable:
      // The leader joins again to have assignments made anew, as the topics changed.
      if (!same || leader_ == member->id) return UpdateMember(request, member, pending, at);
      return pending->Answer(CurrentGeneration(*member, false));
    case GroupState::kEmpty:
    case GroupState::kDead:
      return pending->Answer(Refusal(Error::kUnknownMember, member_id));
  }
}

void Group::AddMember(const JoinRequest& request, std::string member_id, JoinPending* pending,
                      Instant at) {
  auto added = std::make_unique<Member>();
  Member* member = added.get();
  member->id = member_id;
  member->client_id = std::string(request.client_id);
  member->client_host = std::string(request.client_host);
  member->is_new = true;
  member->session_end = at.now + kNewMemberTime;
  if (request.member.instance_id.has_value()) {
    member->instance_id = std::string(*request.member.instance_id);
    static_members_[*member->instance_id] = member_id;
  }
  if (members_.empty()) protocol_type_ = std::string(request.protocol_type);
  members_[std::move(member_id)] = std::move(added);
  if (leader_.empty()) leader_ = member->id;
  SetProtocols(request, member);
  if (state_ == GroupState::kPreparingRebalance && initial_delay_) joined_meanwhile_ = true;
  StartJoining(member, pending);
  RebalanceOrComplete(at);
}

void Group::UpdateMember(const JoinRequest& request, Member* member, JoinPending* pending,
                         Instant at) {
  SetProtocols(request, member);
  StartJoining(member, pending);
  RebalanceOrComplete(at);
}

JoinReply Group::CurrentGeneration(const Member& member, bool as_leader) const {
  JoinReply reply{.generation = generation_,
                  .protocol_type = protocol_type_,
                  .protocol_name = protocol_,
                  .leader = leader_,
                  .member_id = member.id};
  if (as_leader) reply.members = JoinedMembers();
  return reply;
}

// --- The others.

Error Group::CheckMember(const MemberName& member) const {
  if (member.instance_id.has_value()) {
    const auto known = static_members_.find(*member.instance_id);
    if (known == static_members_.end()) return Error::kUnknownMember;
    if (known->second != member.member_id) return Error::kFencedInstanceId;
  }
  return Find(member.member_id) == nullptr ? Error::kUnknownMember : Error::kNone;
}

void Group::Sync(const SyncRequest& request, SyncPending* pending, Instant at) {
  Error error =
      state_ == GroupState::kDead ? Error::kCoordinatorNotAvailable : CheckMember(request.member);
  if (error == Error::kNone && request.generation != generation_) error = Error::kIllegalGeneration;
  if (error == Error::kNone && (Contradicts(request.protocol_type, protocol_type_) ||
                                Contradicts(request.protocol_name, protocol_.value_or("")))) {
    error = Error::kInconsistentProtocol;
  }
  if (error == Error::kNone && state_ == GroupState::kPreparingRebalance) {
    error = Error::kRebalanceInProgress;
  }
  if (error != Error::kNone) return pending->Answer({.error = error});
  Member* member = Find(request.member.member_id);
  member->sync_owed = false;
  if (state_ == GroupState::kStable) {
    ExtendSession(member, at);
    return pending->Answer(SyncReplyOf(*member, Error::kNone));
  }
  if (member->id == leader_ && storing_generation_ != generation_) {
    size_t bytes = 0;
    for (const AssignmentView& each : request.assignments) bytes += each.assignment.size();
    if (!budget_.Fits(bytes)) return pending->Answer({.error = Error::kGroupFull});
    storing_generation_ = generation_;
    GroupRecord record = ToRecord();
    for (MemberRecord& each : record.members) {
      each.assignment.clear();
      for (const AssignmentView& given : request.assignments) {
        if (given.member_id == each.member_id) each.assignment = std::string(given.assignment);
      }
    }
    stores_.push_back({.what = Store::What::kAssignments, .record = std::move(record)});
  }
  if (member->sync != nullptr) AnswerSync(member, Error::kRebalanceInProgress);  // a retry
  member->syncing = true;
  pending->Attach(&member->sync);
}

Error Group::Heartbeat(const HeartbeatRequest& request, Instant at) {
  if (state_ == GroupState::kDead) return Error::kCoordinatorNotAvailable;
  const Error error = CheckMember(request.member);
  if (error != Error::kNone) return error;
  if (request.generation != generation_) return Error::kIllegalGeneration;
  ExtendSession(Find(request.member.member_id), at);
  return state_ == GroupState::kPreparingRebalance ? Error::kRebalanceInProgress : Error::kNone;
}

Error Group::Leave(const MemberName& member, Instant at) {
  if (state_ == GroupState::kDead) return Error::kCoordinatorNotAvailable;
  if (member.member_id.empty()) {
    // An administrator removes a static member, whose member id it does not know.
    if (!member.instance_id.has_value()) return Error::kUnknownMember;
    const Member* known = FindStatic(*member.instance_id);
    if (known == nullptr) return Error::kUnknownMember;
    RemoveAndRebalance(std::string(known->id), at);
    return Error::kNone;
  }
  const auto announced = announced_.find(member.member_id);
  if (announced != announced_.end()) {
    if (member.instance_id.has_value()) return Error::kUnknownMember;
    Withdraw(announced);
    MaybeCompleteJoin(at);
    return Error::kNone;
  }
  const Error error = CheckMember(member);
  if (error == Error::kNone) RemoveAndRebalance(std::string(member.member_id), at);
  return error;
}

Error Group::AdmitCommit(const CommitRequest& request, Instant at) {
  if (state_ == GroupState::kDead) return Error::kCoordinatorNotAvailable;
  // Whoever assigns partitions to itself, and admin tools, while nobody is in the group.
  if (request.generation < 0 && state_ == GroupState::kEmpty) return Error::kNone;
  const MemberName& member = request.member;
  if (request.generation < 0 && member.member_id.empty() && !member.instance_id.has_value()) {
    return Error::kUnknownMember;
  }
  const Error error = CheckMember(member);
  if (error != Error::kNone) return error;
  if (request.generation != generation_) return Error::kIllegalGeneration;
  // It knows of the generation, but not yet what it was assigned: another may own that by now.
  if (state_ == GroupState::kCompletingRebalance) return Error::kRebalanceInProgress;
  ExtendSession(Find(member.member_id), at);
  return Error::kNone;
}

DescribedGroup Group::Describe() const {
  DescribedGroup described{.state = StateName(state_),
                           .protocol_type = protocol_type_,
                           .protocol = protocol_.value_or("")};
  const bool stable = state_ == GroupState::kStable;
  for (const auto& [id, member] : members_) {
    described.members.push_back(
        {.member_id = id,
         .instance_id = member->instance_id,
         .client_id = member->client_id,
         .client_host = member->client_host,
         .metadata = stable ? MetadataOf(*member, protocol_.value_or("")) : "",
         .assignment = stable ? member->assignment : ""});
  }
  return described;
}

}  // namespace ringtail::group
