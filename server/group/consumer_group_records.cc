// What is recorded of a consumer group, and what becomes of it.
#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "server/group/consumer_group.h"

namespace ringtail::group {

using base::Error;

namespace {

constexpr base::Nanos kRetryPause = 5 * base::kNanosPerSecond;
// Of an expression that matches more, the topics are not recorded: a start looks at them anew.
constexpr size_t kRegexBytesMax = 4u << 20;

std::string RegexRecord(const RegexValue& regex) {
  std::string value = EncodeRegex(regex);
  return value.size() <= kRegexBytesMax ? value : EncodeRegex({});
}

}  // namespace

ConsumerGroup::ConsumerGroup(std::string id, const ConsumerOptions& options, Budget& budget,
                             GroupCounters& counters)
    : id_(std::move(id)),
      options_(options),
      budget_(budget),
      counters_(counters),
      own_bytes_(sizeof(ConsumerGroup) + id_.size()) {
  budget_.Take(own_bytes_);
}

ConsumerGroup::~ConsumerGroup() {
  for (const auto& [id, member] : members_) budget_.Give(member->bytes);
  for (const auto& [expression, regex] : regexes_) budget_.Give(regex.bytes);
  budget_.Give(own_bytes_);
}

ConsumerGroupState ConsumerGroup::state() const {
  if (dead_) return ConsumerGroupState::kDead;
  if (members_.empty()) return ConsumerGroupState::kEmpty;
  if (epoch_ > target_epoch_) return ConsumerGroupState::kAssigning;
  const bool stable = std::all_of(members_.begin(), members_.end(),
                                  [&](const auto& each) { return Reconciled(*each.second); });
  return stable ? ConsumerGroupState::kStable : ConsumerGroupState::kReconciling;
}

// --- Records.

void ConsumerGroup::Put(ConsumerRecord kind, absl::string_view name, std::string value) {
  records_.push_back({kind, std::string(name), std::move(value)});
  buried_.erase({kind, std::string(name)});
}

void ConsumerGroup::Bury(ConsumerRecord kind, absl::string_view name) {
  records_.push_back({kind, std::string(name), std::nullopt});
  buried_.emplace(kind, name);
}

void ConsumerGroup::PutMember(const Member& member) {
  Put(ConsumerRecord::kMember, member.id, EncodeConsumerMember(member.value));
}

void ConsumerGroup::PutCurrent(const Member& member) {
  Put(ConsumerRecord::kCurrent, member.id, EncodeCurrentAssignment(member.current));
}

void ConsumerGroup::PutRegex(absl::string_view expression, const RegexValue& regex) {
  Put(ConsumerRecord::kRegex, expression, RegexRecord(regex));
}

// All that there is to say, in an order of which every beginning makes sense.
ConsumerGroup::Store ConsumerGroup::Snapshot() const {
  Store all;
  for (const auto& [kind, name] : buried_) all.push_back({kind, name, std::nullopt});
  all.push_back({ConsumerRecord::kGroup, "",
                 EncodeConsumerGroup({.epoch = epoch_, .metadata_hash = metadata_hash_})});
  for (const auto& [expression, regex] : regexes_) {
    all.push_back({ConsumerRecord::kRegex, expression, RegexRecord(regex.value)});
  }
  for (const auto& [id, member] : members_) {
    all.push_back({ConsumerRecord::kMember, id, EncodeConsumerMember(member->value)});
    all.push_back({ConsumerRecord::kTargetMember, id, EncodeTargetMember(member->target)});
  }
  all.push_back({ConsumerRecord::kTargetEpoch, "", EncodeTargetEpoch(target_epoch_)});
  for (const auto& [id, member] : members_) {
    all.push_back({ConsumerRecord::kCurrent, id, EncodeCurrentAssignment(member->current)});
  }
  return all;
}

std::optional<ConsumerGroup::Store> ConsumerGroup::TakeStore(Instant at) {
  if (!wants_store(at)) return std::nullopt;
  if (std::exchange(rewrite_, false)) records_ = Snapshot();
  storing_ = true;
  storing_waiters_ = std::exchange(waiters_, {});
  burying_ = std::exchange(buried_, {});
  return std::exchange(records_, {});
}

void ConsumerGroup::AnswerAll(Waiters waiters, Error error) {
  for (const std::unique_ptr<Waiter>& each : waiters) each->Answer(error);
}

void ConsumerGroup::Stored(Error error, Instant at) {
  RT_CHECK(storing_);
  storing_ = false;
  Waiters waiters = std::exchange(storing_waiters_, {});
  const auto burying = std::exchange(burying_, {});
  if (error != Error::kNone) {
    // What came meanwhile builds on what is not there.
    rewrite_ = true;
    retry_at_ = at.now + kRetryPause;
    records_.clear();
    buried_.insert(burying.begin(), burying.end());
    for (const auto& [id, member] : members_) {
      for (const ConsumerRecord kind :
           {ConsumerRecord::kMember, ConsumerRecord::kTargetMember, ConsumerRecord::kCurrent}) {
        buried_.erase({kind, id});
      }
    }
    for (const auto& [expression, regex] : regexes_) {
      buried_.erase({ConsumerRecord::kRegex, expression});
    }
    AnswerAll(std::exchange(waiters_, {}), error);
  }
  AnswerAll(std::move(waiters), error);
}

void ConsumerGroup::Die(Error error) {
  dead_ = true;
  AnswerAll(std::exchange(storing_waiters_, {}), error);
  AnswerAll(std::exchange(waiters_, {}), error);
}

std::vector<ConsumerKey> ConsumerGroup::Keys() const {
  std::vector<ConsumerKey> keys;
  for (const auto* each : {&burying_, &buried_}) {
    for (const auto& [kind, name] : *each) keys.push_back({kind, id_, name});
  }
  for (const auto& [id, member] : members_) {
    keys.push_back({ConsumerRecord::kCurrent, id_, id});
    keys.push_back({ConsumerRecord::kTargetMember, id_, id});
    keys.push_back({ConsumerRecord::kMember, id_, id});
  }
  for (const auto& [expression, regex] : regexes_) {
    keys.push_back({ConsumerRecord::kRegex, id_, expression});
  }
  keys.push_back({.kind = ConsumerRecord::kTargetEpoch, .group = id_});
  keys.push_back({.kind = ConsumerRecord::kPartitionMetadata, .group = id_});
  keys.push_back({.kind = ConsumerRecord::kGroup, .group = id_});
  return keys;
}

ConsumerGroupImage ConsumerGroup::Image() const {
  ConsumerGroupImage image{
      .group = ConsumerGroupValue{.epoch = epoch_, .metadata_hash = metadata_hash_},
      .target_epoch = target_epoch_};
  for (const auto& [id, member] : members_) {
    image.members[id] = member->value;
    image.targets[id] = member->target;
    image.current[id] = member->current;
  }
  for (const auto& [expression, regex] : regexes_) image.regexes[expression] = regex.value;
  return image;
}

void ConsumerGroup::Restore(ConsumerGroupImage image, Instant at) {
  if (image.group.has_value()) {
    epoch_ = image.group->epoch;
    metadata_hash_ = image.group->metadata_hash;
  }
  target_epoch_ = std::min(image.target_epoch, epoch_);
  for (auto& [id, value] : image.members) {
    auto restored = std::make_unique<Member>();
    Member* member = restored.get();
    member->id = id;
    member->value = std::move(value);
    // Without a protocol it could not be answered: it is one that does not come back.
    std::optional<ClassicMetadata>& classic = member->value.classic;
    if (classic.has_value() && classic->protocols.empty()) classic.reset();
    if (const auto target = image.targets.find(id); target != image.targets.end()) {
      member->target = std::move(target->second);
    }
    if (const auto current = image.current.find(id); current != image.current.end()) {
      member->current = std::move(current->second);
    }
    // Records that contradict each other cost the second one its partition, not the broker.
    for (PartitionSet* each : {&member->current.assigned, &member->current.revoking}) {
      std::erase_if(*each, [&](const partition::PartitionId& one) { return held_.contains(one); });
    }
    Hold(*member);
    for (const std::string& topic : member->value.topics) ++topics_[topic];
    if (member->value.regex.has_value() && !member->value.regex->empty()) {
      ++regexes_[*member->value.regex].members;
    }
    if (member->value.instance_id.has_value()) {
      static_members_[*member->value.instance_id] = member;
    }
    classic_count_ += member->value.classic.has_value() ? 1 : 0;
    ExtendSession(member, at);
    if (member->current.state == MemberState::kUnrevokedPartitions) {
      member->step_end = After(at, member->value.rebalance_timeout_ms);
    }
    Charge(member);
    members_[id] = std::move(restored);
  }
  for (auto& [expression, regex] : regexes_) {
    const auto found = image.regexes.find(expression);
    if (found != image.regexes.end()) regex.value = std::move(found->second);
    ChargeRegex(expression, &regex);
  }
}

}  // namespace ringtail::group
