// Epochs and target assignments, and each member's way to them.
#include <xxhash.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "server/group/consumer_group.h"
#include "server/group/topic_regex.h"

namespace ringtail::group {

namespace {

// Of the maps, for each partition that is owned.
constexpr size_t kHeldBytes = sizeof(partition::PartitionId) + sizeof(void*) + 16;
// Expressions are looked at anew no more often, however many members and topics come and go.
constexpr base::Nanos kRegexPause = base::kNanosPerSecond;

size_t SizeOf(const std::optional<std::string>& text) {
  return text.has_value() ? text->size() : 0;
}

bool HasRegex(const ConsumerMemberValue& value) {
  return value.regex.has_value() && !value.regex->empty();
}

}  // namespace

// --- Members.

ConsumerGroup::Member* ConsumerGroup::Find(absl::string_view member_id) const {
  const auto found = members_.find(member_id);
  return found == members_.end() ? nullptr : found->second.get();
}

ConsumerGroup::Member* ConsumerGroup::FindStatic(absl::string_view instance_id) const {
  const auto found = static_members_.find(instance_id);
  return found == static_members_.end() ? nullptr : found->second;
}

void ConsumerGroup::Charge(Member* member) {
  const ConsumerMemberValue& value = member->value;
  const CurrentAssignmentValue& current = member->current;
  size_t bytes = sizeof(Member) + 2 * member->id.size() + value.client_id.size() +
                 value.client_host.size() + SizeOf(value.regex) + 2 * SizeOf(value.instance_id) +
                 SizeOf(value.rack_id) + SizeOf(value.assignor);
  for (const std::string& topic : value.topics) bytes += sizeof(std::string) + topic.size();
  if (value.classic.has_value()) {
    for (const auto& [name, metadata] : value.classic->protocols) {
      bytes += 2 * sizeof(std::string) + name.size() + metadata.size();
    }
  }
  bytes += (current.assigned.size() + current.revoking.size()) * kHeldBytes;
  bytes += (current.assigned.size() + current.revoking.size() + member->target.size()) *
           sizeof(partition::PartitionId);
  budget_.Give(member->bytes);
  budget_.Take(bytes);
  member->bytes = bytes;
}

void ConsumerGroup::ChargeRegex(const std::string& expression, Regex* regex) {
  size_t bytes = 2 * expression.size() + sizeof(Regex);
  for (const std::string& topic : regex->value.topics) bytes += sizeof(std::string) + topic.size();
  budget_.Give(regex->bytes);
  budget_.Take(bytes);
  regex->bytes = bytes;
}

void ConsumerGroup::ExtendSession(Member* member, Instant at) const {
  const std::optional<ClassicMetadata>& classic = member->value.classic;
  member->session_end =
      After(at, classic.has_value() ? classic->session_timeout_ms : options_.session_timeout_ms);
}

void ConsumerGroup::RemoveMember(Member* member, const Moment& moment) {
  Bury(ConsumerRecord::kCurrent, member->id);
  Bury(ConsumerRecord::kTargetMember, member->id);
  Bury(ConsumerRecord::kMember, member->id);
  Release(*member);
  if (member->value.instance_id.has_value()) static_members_.erase(*member->value.instance_id);
  Unsubscribe(member->value);
  classic_count_ -= member->value.classic.has_value() ? 1 : 0;
  budget_.Give(member->bytes);
  members_.erase(members_.find(member->id));
  FollowTopics(/*changed=*/true, moment);
}

// --- What the group subscribes to.

void ConsumerGroup::Subscribe(const ConsumerMemberValue& value, const Moment& moment) {
  for (const std::string& topic : value.topics) ++topics_[topic];
  if (!HasRegex(value)) return;
  Regex& entry = regexes_[*value.regex];
  if (++entry.members == 1) Resolve(*value.regex, &entry, moment);
}

void ConsumerGroup::Unsubscribe(const ConsumerMemberValue& value) {
  for (const std::string& topic : value.topics) {
    const auto found = topics_.find(topic);
    if (--found->second == 0) topics_.erase(found);
  }
  if (!HasRegex(value)) return;
  const auto found = regexes_.find(*value.regex);
  if (--found->second.members > 0) return;
  budget_.Give(found->second.bytes);
  regexes_.erase(found);
  Bury(ConsumerRecord::kRegex, *value.regex);
}

void ConsumerGroup::Resolve(const std::string& regex, Regex* entry, const Moment& moment) {
  absl::StatusOr<std::vector<std::string>> topics = MatchTopics(regex, moment.image);
  // One that another broker recorded may be one that is not taken here: it matches nothing.
  if (!topics.ok()) topics = std::vector<std::string>();
  if (entry->value.time_ms >= 0 && *topics == entry->value.topics) return;
  entry->value = {.topics = *std::move(topics),
                  .version = static_cast<int64_t>(moment.image.version()),
                  .time_ms = moment.at.wall_ms};
  ChargeRegex(regex, entry);
  PutRegex(regex, entry->value);
}

// Those that exist, by id.
std::vector<const server::TopicImage*> ConsumerGroup::SubscribedTopics(
    const server::Image& image) const {
  std::vector<const server::TopicImage*> topics;
  const auto add = [&](absl::string_view name) {
    if (const server::TopicImage* topic = image.FindByName(name)) topics.push_back(topic);
  };
  for (const auto& [name, members] : topics_) add(name);
  for (const auto& [expression, regex] : regexes_) {
    for (const std::string& name : regex.value.topics) add(name);
  }
  std::sort(topics.begin(), topics.end(),
            [](const auto* left, const auto* right) { return left->id < right->id; });
  topics.erase(std::unique(topics.begin(), topics.end()), topics.end());
  return topics;
}

int64_t ConsumerGroup::HashTopics(const server::Image& image) const {
  std::string text;
  for (const server::TopicImage* topic : SubscribedTopics(image)) {
    absl::StrAppend(&text, base::AsText(topic->id.view()), topic->partitions.size(), " ");
  }
  if (text.empty()) return 0;
  return static_cast<int64_t>(XXH3_64bits(text.data(), text.size()));
}

// Begins an epoch where there are other members, subscriptions (`changed`) or topics than before.
void ConsumerGroup::FollowTopics(bool changed, const Moment& moment) {
  const bool other_image = moment.image.version() != seen_version_;
  if (!changed && !other_image) return;
  if (other_image && !regexes_.empty()) {
    if (!changed && seen_version_ != 0 && moment.at.now < seen_at_ + kRegexPause) return;
    for (auto& [expression, regex] : regexes_) Resolve(expression, &regex, moment);
  }
  seen_version_ = moment.image.version();
  seen_at_ = moment.at.now;
  const int64_t hash = HashTopics(moment.image);
  if (!changed && hash == metadata_hash_) return;
  metadata_hash_ = hash;
  ++epoch_;
  Put(ConsumerRecord::kGroup, "",
      EncodeConsumerGroup({.epoch = epoch_, .metadata_hash = metadata_hash_}));
}

// --- The target assignment.

// What most of the members that name one name.
Assignor ConsumerGroup::PreferredAssignor() const {
  std::map<absl::string_view, size_t> votes;
  for (const auto& [id, member] : members_) {
    if (member->value.assignor.has_value()) ++votes[*member->value.assignor];
  }
  Assignor preferred = options_.assignors.front();
  size_t most = 0;
  for (const auto& [name, count] : votes) {
    const std::optional<Assignor> assignor = FindAssignor(name);
    if (!assignor.has_value() || count <= most) continue;
    preferred = *assignor;
    most = count;
  }
  return preferred;
}

AssignorInput ConsumerGroup::ToInput(const server::Image& image) const {
  AssignorInput input;
  absl::flat_hash_map<absl::string_view, uint32_t> places;
  for (const server::TopicImage* topic : SubscribedTopics(image)) {
    places[topic->name] = static_cast<uint32_t>(input.topics.size());
    input.topics.push_back({topic->id, static_cast<int32_t>(topic->partitions.size())});
  }
  for (const auto& [id, member] : members_) {
    AssignableMember& out = input.members.emplace_back();
    out.id = id;
    if (member->value.instance_id.has_value()) out.instance_id = *member->value.instance_id;
    out.before = &member->target;
    const auto add = [&](const std::string& name) {
      const auto place = places.find(name);
      if (place != places.end()) out.topics.push_back(place->second);
    };
    for (const std::string& name : member->value.topics) add(name);
    if (HasRegex(member->value)) {
      for (const std::string& name : regexes_.at(*member->value.regex).value.topics) add(name);
    }
    std::sort(out.topics.begin(), out.topics.end());
    out.topics.erase(std::unique(out.topics.begin(), out.topics.end()), out.topics.end());
  }
  return input;
}

void ConsumerGroup::UpdateTarget(const Moment& moment) {
  std::vector<PartitionSet> assigned = Assign(PreferredAssignor(), ToInput(moment.image));
  auto next = assigned.begin();
  for (const auto& [id, member] : members_) {  // in the order of the input
    PartitionSet target = std::move(*next++);
    // A new member's is recorded even if it is empty, as Kafka does.
    if (target == member->target && member->current.epoch != kJoinEpoch) continue;
    member->target = std::move(target);
    Put(ConsumerRecord::kTargetMember, id, EncodeTargetMember(member->target));
    Charge(member.get());
  }
  target_epoch_ = epoch_;
  Put(ConsumerRecord::kTargetEpoch, "", EncodeTargetEpoch(target_epoch_));
  ++counters_.rebalances;
}

// --- A member's way there.

bool ConsumerGroup::Reconciled(const Member& member) const {
  return member.current.state == MemberState::kStable && member.current.epoch == target_epoch_;
}

void ConsumerGroup::Hold(const Member& member) {
  for (const partition::PartitionId& each : member.current.assigned)
    held_.try_emplace(each, &member);
  for (const partition::PartitionId& each : member.current.revoking)
    held_.try_emplace(each, &member);
}

void ConsumerGroup::Release(const Member& member) {
  const auto release = [&](const PartitionSet& partitions) {
    for (const partition::PartitionId& each : partitions) {
      const auto found = held_.find(each);
      if (found != held_.end() && found->second == &member) held_.erase(found);
    }
  };
  release(member.current.assigned);
  release(member.current.revoking);
}

void ConsumerGroup::SetCurrent(CurrentAssignmentValue current, Member* member) {
  Release(*member);
  member->current = std::move(current);
  Hold(*member);
  Charge(member);
}

void ConsumerGroup::Reconcile(Member* member, const std::optional<PartitionSet>& owned,
                              Instant at) {
  if (Reconciled(*member)) return;
  CurrentAssignmentValue next = NextAssignment(*member, owned);
  if (next == member->current) return;
  SetCurrent(std::move(next), member);
  PutCurrent(*member);
  member->step_end = member->current.state == MemberState::kUnrevokedPartitions
                         ? After(at, member->value.rebalance_timeout_ms)
                         : base::kNever;
}

CurrentAssignmentValue ConsumerGroup::NextAssignment(
    const Member& member, const std::optional<PartitionSet>& owned) const {
  const CurrentAssignmentValue& current = member.current;
  if (current.state != MemberState::kUnrevokedPartitions) {
    return TowardsTarget(member, current.epoch, owned);
  }
  // A member that does not say what it owns may own all.
  if (!owned.has_value() || Meets(*owned, current.revoking)) return current;
  return TowardsTarget(member, current.epoch + 1, owned);
}

// The next step of a member that has given up what it was to give up, and is in `epoch`.
CurrentAssignmentValue ConsumerGroup::TowardsTarget(
    const Member& member, int32_t epoch, const std::optional<PartitionSet>& owned) const {
  const CurrentAssignmentValue& current = member.current;
  CurrentAssignmentValue next{.previous_epoch = current.previous_epoch};
  const auto enter = [&](int32_t entered) {
    next.epoch = entered;
    if (entered != current.epoch) next.previous_epoch = current.epoch;
  };
  next.assigned = Intersection(current.assigned, member.target);
  next.revoking = Difference(current.assigned, next.assigned);
  if (!next.revoking.empty() && (!owned.has_value() || Meets(*owned, next.revoking))) {
    enter(epoch);
    next.state = MemberState::kUnrevokedPartitions;
    return next;
  }
  next.revoking.clear();
  enter(target_epoch_);
  for (const partition::PartitionId& each : Difference(member.target, next.assigned)) {
    const auto held = held_.find(each);
    if (held != held_.end() && held->second != &member) {
      next.state = MemberState::kUnreleasedPartitions;
    } else {
      next.assigned.push_back(each);
    }
  }
  std::sort(next.assigned.begin(), next.assigned.end());
  return next;
}

// --- Time.

void ConsumerGroup::Tick(const Moment& moment) {
  if (dead_) return;
  std::vector<std::string> expired;
  for (const auto& [id, member] : members_) {
    if (std::min(member->session_end, member->step_end) <= moment.at.now) expired.push_back(id);
  }
  counters_.members_expired += expired.size();
  for (const std::string& id : expired) RemoveMember(Find(id), moment);
}

base::Nanos ConsumerGroup::next_deadline() const {
  if (dead_) return base::kNever;
  base::Nanos next = rewrite_ && !storing_ ? retry_at_ : base::kNever;
  for (const auto& [id, member] : members_) {
    next = std::min({next, member->session_end, member->step_end});
  }
  return next;
}

}  // namespace ringtail::group
