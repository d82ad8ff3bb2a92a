// How a group gets from one generation to the next, and what the time does to it.
#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "server/group/group.h"

namespace ringtail::group {

using base::Error;

Group::Group(std::string id, const GroupLimits& limits, Budget& budget, GroupCounters& counters,
             Instant at)
    : id_(std::move(id)),
      limits_(limits),
      budget_(budget),
      counters_(counters),
      own_bytes_(sizeof(Group) + id_.size()),
      state_time_ms_(at.wall_ms) {
  budget_.Take(own_bytes_);
}

Group::~Group() {
  for (const auto& [id, member] : members_) budget_.Give(member->bytes);
  budget_.Give(own_bytes_ + announced_.size() * kAnnouncedBytes);
}

// --- Members.

Group::Member* Group::Find(absl::string_view member_id) const {
  const auto found = members_.find(member_id);
  return found == members_.end() ? nullptr : found->second.get();
}

Group::Member* Group::FindStatic(absl::string_view instance_id) const {
  const auto found = static_members_.find(instance_id);
  return found == static_members_.end() ? nullptr : Find(found->second);
}

void Group::Charge(Member* member) {
  size_t bytes = sizeof(Member) + 2 * member->id.size() + member->client_id.size() +
                 member->client_host.size() + member->assignment.size();
  if (member->instance_id.has_value()) bytes += 2 * member->instance_id->size();
  for (const Protocol& each : member->protocols) {
    bytes += sizeof(Protocol) + each.name.size() + each.metadata.size();
  }
  budget_.Give(member->bytes);
  budget_.Take(bytes);
  member->bytes = bytes;
}

void Group::SetProtocols(const JoinRequest& request, Member* member) {
  member->session_timeout_ms = request.session_timeout_ms;
  member->rebalance_timeout_ms = request.rebalance_timeout_ms;
  member->protocols.clear();
  for (const ProtocolView& each : request.protocols) {
    member->protocols.push_back({std::string(each.name), std::string(each.metadata)});
  }
  Charge(member);
}

void Group::StartJoining(Member* member, JoinPending* pending) {
  // A JoinGroup that was sent again: the first one's connection is gone, or soon will be.
  AnswerJoin(member, {.error = Error::kRebalanceInProgress, .member_id = member->id});
  member->joining = true;
  pending->Attach(&member->join);
}

void Group::AnswerJoin(Member* member, JoinReply reply) {
  member->joining = false;
  if (member->join != nullptr) member->join->Answer(std::move(reply));
}

SyncReply Group::SyncReplyOf(const Member& member, Error error) const {
  if (error != Error::kNone) return {.error = error};
  return {
      .protocol_type = protocol_type_, .protocol_name = protocol_, .assignment = member.assignment};
}

void Group::AnswerSync(Member* member, Error error) {
  member->syncing = false;
  if (member->sync != nullptr) member->sync->Answer(SyncReplyOf(*member, error));
}

void Group::ExtendSession(Member* member, Instant at) {
  member->session_end = After(at, member->session_timeout_ms);
}

void Group::RemoveMember(const std::string& member_id) {
  const auto found = members_.find(member_id);
  if (found == members_.end()) return;
  Member* member = found->second.get();
  AnswerJoin(member, {.error = Error::kUnknownMember});
  AnswerSync(member, Error::kUnknownMember);
  if (member->instance_id.has_value()) static_members_.erase(*member->instance_id);
  budget_.Give(member->bytes);
  members_.erase(found);
  if (leader_ == member_id) leader_ = members_.empty() ? "" : members_.begin()->first;
}

void Group::RemoveAndRebalance(const std::string& member_id, Instant at) {
  RemoveMember(member_id);
  RebalanceOrComplete(at);
}

std::vector<JoinedMember> Group::JoinedMembers() const {
  std::vector<JoinedMember> joined;
  joined.reserve(members_.size());
  for (const auto& [id, member] : members_) {
    joined.push_back({id, member->instance_id, MetadataOf(*member, protocol_.value_or(""))});
  }
  return joined;
}

const std::string& Group::MetadataOf(const Member& member, absl::string_view protocol) const {
  static const std::string none;
  for (const Protocol& each : member.protocols) {
    if (each.name == protocol) return each.metadata;
  }
  return none;
}

std::optional<std::set<std::string>> Group::SubscribedTopics() const {
  if (protocol_type_ != kConsumerProtocolType) return std::nullopt;
  std::set<std::string> topics;
  for (const auto& [id, member] : members_) {
    const auto subscribed = DecodeSubscription(MetadataOf(*member, protocol_.value_or("")));
    if (!subscribed.has_value()) return std::nullopt;
    topics.insert(subscribed->topics.begin(), subscribed->topics.end());
  }
  return topics;
}

// --- States.

void Group::MoveTo(GroupState state, Instant at) {
  state_ = state;
  state_time_ms_ = at.wall_ms;
}

int64_t Group::RebalanceTimeoutMs() const {
  int64_t longest = 0;
  for (const auto& [id, member] : members_) {
    longest = std::max<int64_t>(longest, member->rebalance_timeout_ms);
  }
  return longest;
}

bool Group::AllJoined() const {
  return announced_.empty() && std::all_of(members_.begin(), members_.end(),
                                           [](const auto& each) { return each.second->joining; });
}

void Group::RebalanceOrComplete(Instant at) {
  if (state_ == GroupState::kPreparingRebalance) return MaybeCompleteJoin(at);
  if (state_ == GroupState::kEmpty && members_.empty()) return;
  if (state_ != GroupState::kDead) PrepareRebalance(at);
}

void Group::ForgetSyncs(Error error, Instant at) {
  for (const auto& [id, member] : members_) {
    if (member->syncing) ExtendSession(member.get(), at);
    member->assignment.clear();
    Charge(member.get());
    AnswerSync(member.get(), error);
  }
}

void Group::PrepareRebalance(Instant at) {
  if (state_ == GroupState::kCompletingRebalance) ForgetSyncs(Error::kRebalanceInProgress, at);
  sync_deadline_ = base::kNever;
  initial_delay_ = state_ == GroupState::kEmpty;
  joined_meanwhile_ = false;
  MoveTo(GroupState::kPreparingRebalance, at);
  if (!initial_delay_) {
    join_deadline_ = After(at, RebalanceTimeoutMs());
    return MaybeCompleteJoin(at);
  }
  // The first of a new group gives the others time to start, and the group fewer generations.
  const int64_t delay_ms = limits_.initial_rebalance_delay_ms;
  initial_left_ms_ = std::max<int64_t>(RebalanceTimeoutMs() - delay_ms, 0);
  join_deadline_ = After(at, delay_ms);
  if (delay_ms == 0) EndInitialDelay(at);
}

void Group::EndInitialDelay(Instant at) {
  if (!joined_meanwhile_ || initial_left_ms_ == 0) return CompleteJoin(at);
  joined_meanwhile_ = false;
  const int64_t delay_ms = std::min(limits_.initial_rebalance_delay_ms, initial_left_ms_);
  initial_left_ms_ -= delay_ms;
  join_deadline_ = After(at, delay_ms);
}

void Group::MaybeCompleteJoin(Instant at) {
  if (state_ != GroupState::kPreparingRebalance || initial_delay_ || !AllJoined()) return;
  CompleteJoin(at);
}

void Group::CompleteJoin(Instant at) {
  join_deadline_ = base::kNever;
  initial_delay_ = false;
  std::vector<std::string> absent;
  for (const auto& [id, member] : members_) {
    if (!member->joining && !member->instance_id.has_value()) absent.push_back(id);
  }
  counters_.members_expired += absent.size();
  for (const std::string& id : absent) RemoveMember(id);
  if (!ElectJoinedLeader() && !members_.empty()) {
    // Static members alone, and none of them is back: their sessions say how long that may last.
    join_deadline_ = After(at, RebalanceTimeoutMs());
    return;
  }
  BeginGeneration(at);
}

bool Group::ElectJoinedLeader() {
  const Member* leader = Find(leader_);
  if (leader == nullptr) return false;
  if (leader->joining) return true;
  for (const auto& [id, member] : members_) {
    if (!member->joining) continue;
    leader_ = id;
    return true;
  }
  return false;
}

// What most of the members prefer, of what all of them speak.
std::optional<std::string> Group::ChooseProtocol() const {
  std::map<absl::string_view, size_t> speakers;
  for (const auto& [id, member] : members_) {
    std::set<absl::string_view> spoken;
    for (const Protocol& each : member->protocols) spoken.insert(each.name);
    for (const absl::string_view name : spoken) ++speakers[name];
  }
  std::map<absl::string_view, size_t> votes;
  for (const auto& [id, member] : members_) {
    for (const Protocol& each : member->protocols) {
      if (speakers[each.name] != members_.size()) continue;
      ++votes[each.name];
      break;
    }
  }
  std::optional<std::string> chosen;
  size_t most = 0;
  for (const auto& [name, count] : votes) {
    if (count <= most) continue;
    chosen = std::string(name);
    most = count;
  }
  return chosen;
}

void Group::BeginGeneration(Instant at) {
  generation_ = generation_ == INT32_MAX ? 1 : generation_ + 1;
  ++counters_.rebalances;
  if (members_.empty()) {
    protocol_.reset();
    MoveTo(GroupState::kEmpty, at);
    stores_.push_back({.what = Store::What::kEmpty, .record = ToRecord()});
    return;
  }
  protocol_ = ChooseProtocol();
  MoveTo(GroupState::kCompletingRebalance, at);
  sync_deadline_ = After(at, RebalanceTimeoutMs());
  for (const auto& [id, member] : members_) {
    member->sync_owed = true;
    member->is_new = false;
    ExtendSession(member.get(), at);
    AnswerJoin(member.get(), CurrentGeneration(*member, leader_ == id));
  }
}

// --- What is recorded.

GroupRecord Group::ToRecord() const {
  GroupRecord record{.protocol_type = protocol_type_,
                     .generation = generation_,
                     .protocol = protocol_,
                     .state_time_ms = state_time_ms_};
  if (!leader_.empty()) record.leader = leader_;
  for (const auto& [id, member] : members_) {
    record.members.push_back({.member_id = id,
                              .instance_id = member->instance_id,
                              .client_id = member->client_id,
                              .client_host = member->client_host,
                              .rebalance_timeout_ms = member->rebalance_timeout_ms,
                              .session_timeout_ms = member->session_timeout_ms,
                              .subscription = MetadataOf(*member, protocol_.value_or("")),
                              .assignment = member->assignment});
  }
  return record;
}

std::optional<Group::Store> Group::TakeStore() {
  if (stores_.empty()) return std::nullopt;
  Store first = std::move(stores_.front());
  stores_.erase(stores_.begin());
  return first;
}

void Group::Stored(const Store& store, Error error, Instant at) {
  switch (store.what) {
    case Store::What::kEmpty:    // without it the next start finds the members of before, whose
    case Store::What::kAdopted:  // sessions then end; or the group as the other protocol had it
      return;
    case Store::What::kStaticMember: {
      Member* member = Find(store.member_id);
      // Meanwhile another rebalance may have begun, which answers it, or it was replaced again.
      if (member == nullptr || state_ != GroupState::kStable || !member->joining) return;
      if (error != Error::kNone) return AnswerJoin(member, {.error = error});
      ExtendSession(member, at);
      const bool skip = store.skips_assignment && leader_ == member->id;
      JoinReply reply = CurrentGeneration(*member, skip);
      reply.skip_assignment = skip;
      // Whoever cannot be told to skip must not take itself for the leader.
      if (!store.skips_assignment) reply.leader = store.leader;
      return AnswerJoin(member, std::move(reply));
    }
    case Store::What::kAssignments:
      if (state_ != GroupState::kCompletingRebalance || store.record.generation != generation_) {
        return;
      }
      if (error != Error::kNone) {
        storing_generation_ = -1;
        ForgetSyncs(error, at);
        return PrepareRebalance(at);
      }
      for (const MemberRecord& each : store.record.members) {
        Member* member = Find(each.member_id);
        if (member == nullptr) continue;
        member->assignment = each.assignment;
        Charge(member);
        if (!member->syncing) continue;
        ExtendSession(member, at);
        AnswerSync(member, Error::kNone);
      }
      MoveTo(GroupState::kStable, at);
      return;
  }
}

void Group::Restore(GroupRecord record, Instant at) {
  for (const auto& [id, member] : members_) budget_.Give(member->bytes);
  members_.clear();
  static_members_.clear();
  protocol_type_ = std::move(record.protocol_type);
  protocol_ = std::move(record.protocol);
  generation_ = record.generation;
  leader_ = record.leader.value_or("");
  for (MemberRecord& each : record.members) {
    auto member = std::make_unique<Member>();
    member->id = each.member_id;
    member->instance_id = each.instance_id;
    member->client_id = std::move(each.client_id);
    member->client_host = std::move(each.client_host);
    member->session_timeout_ms = each.session_timeout_ms;
    member->rebalance_timeout_ms =
        each.rebalance_timeout_ms < 0 ? each.session_timeout_ms : each.rebalance_timeout_ms;
    member->protocols.push_back({protocol_.value_or(""), std::move(each.subscription)});
    member->assignment = std::move(each.assignment);
    ExtendSession(member.get(), at);
    Charge(member.get());
    if (member->instance_id.has_value()) static_members_[*member->instance_id] = member->id;
    members_[each.member_id] = std::move(member);
  }
  if (Find(leader_) == nullptr) leader_ = members_.empty() ? "" : members_.begin()->first;
  state_ = members_.empty() ? GroupState::kEmpty : GroupState::kStable;
  state_time_ms_ = record.state_time_ms;
  if (!record.leader.has_value() && !members_.empty()) PrepareRebalance(at);
}

void Group::Adopt(GroupImage image, Instant at) {
  RT_CHECK(members_.empty());
  protocol_type_ = std::move(image.protocol_type);
  generation_ = image.generation;
  for (GroupImage::Member& each : image.members) {
    auto member = std::make_unique<Member>();
    member->id = each.id;
    member->instance_id = std::move(each.instance_id);
    member->client_id = std::move(each.client_id);
    member->client_host = std::move(each.client_host);
    member->session_timeout_ms = each.session_timeout_ms;
    member->rebalance_timeout_ms = each.rebalance_timeout_ms;
    for (auto& [name, metadata] : each.protocols) {
      member->protocols.push_back({std::move(name), std::move(metadata)});
    }
    member->assignment = std::move(each.assignment);
    ExtendSession(member.get(), at);
    Charge(member.get());
    if (member->instance_id.has_value()) static_members_[*member->instance_id] = member->id;
    members_[each.id] = std::move(member);
  }
  protocol_ = ChooseProtocol();
  MoveTo(members_.empty() ? GroupState::kEmpty : GroupState::kStable, at);
  stores_.push_back({.what = Store::What::kAdopted, .record = ToRecord()});
  if (members_.empty()) return;
  leader_ = members_.begin()->first;
  PrepareRebalance(at);
}

GroupImage Group::Image() const {
  GroupImage image{.protocol_type = protocol_type_, .generation = generation_};
  for (const auto& [id, member] : members_) {
    GroupImage::Member& out = image.members.emplace_back();
    out.id = id;
    out.instance_id = member->instance_id;
    out.client_id = member->client_id;
    out.client_host = member->client_host;
    out.rebalance_timeout_ms = member->rebalance_timeout_ms;
    out.session_timeout_ms = member->session_timeout_ms;
    for (const Protocol& each : member->protocols) {
      out.protocols.emplace_back(each.name, each.metadata);
    }
    // Before the first generation no protocol is chosen yet.
    const absl::string_view protocol =
        protocol_.has_value() ? *protocol_ : absl::string_view(out.protocols.front().first);
    out.subscription = MetadataOf(*member, protocol);
    out.assignment = member->assignment;
  }
  return image;
}

void Group::Die(Error error) {
  state_ = GroupState::kDead;
  for (const auto& [id, member] : members_) {
    AnswerJoin(member.get(), {.error = error, .member_id = id});
    AnswerSync(member.get(), error);
  }
  join_deadline_ = sync_deadline_ = base::kNever;
}

// --- Time.

void Group::ExpireSync(Instant at) {
  sync_deadline_ = base::kNever;
  std::vector<std::string> silent;
  for (const auto& [id, member] : members_) {
    if (member->sync_owed) silent.push_back(id);
  }
  if (silent.empty()) return;
  counters_.members_expired += silent.size();
  for (const std::string& id : silent) RemoveMember(id);
  PrepareRebalance(at);
}

void Group::Tick(Instant at) {
  if (state_ == GroupState::kDead) return;
  if (join_deadline_ <= at.now) {
    if (initial_delay_) {
      EndInitialDelay(at);
    } else {
      CompleteJoin(at);
    }
  }
  if (sync_deadline_ <= at.now) ExpireSync(at);
  const size_t lapsed =
      std::erase_if(announced_, [&](const auto& each) { return each.second <= at.now; });
  budget_.Give(lapsed * kAnnouncedBytes);
  if (lapsed > 0) MaybeCompleteJoin(at);
  std::vector<std::string> expired;
  for (const auto& [id, member] : members_) {
    const bool waits = !member->is_new && (member->joining || member->syncing);
    if (member->session_end <= at.now && !waits) expired.push_back(id);
  }
  counters_.members_expired += expired.size();
  for (const std::string& id : expired) {
    // An earlier one's end may have ended a phase: what was waiting then has a new session.
    const Member* member = Find(id);
    if (member != nullptr && member->session_end <= at.now) RemoveAndRebalance(id, at);
  }
}

base::Nanos Group::next_deadline() const {
  if (state_ == GroupState::kDead) return base::kNever;
  base::Nanos next = std::min(join_deadline_, sync_deadline_);
  for (const auto& [id, deadline] : announced_) next = std::min(next, deadline);
  for (const auto& [id, member] : members_) {
    const bool waits = !member->is_new && (member->joining || member->syncing);
    if (!waits) next = std::min(next, member->session_end);
  }
  return next;
}

}  // namespace ringtail::group
