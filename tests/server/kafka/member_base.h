// What members of both protocols have and do. Each lives until its time is over, or until the test
// ends: then another one may come in its place.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/kafka/errors.h"
#include "tests/server/kafka/group_members.h"
#include "tests/server/kafka/groups_world.h"
#include "tests/server/kafka/member_link.h"
#include "tests/sim/node.h"

namespace ringtail::kafka {

class MemberBase {
 public:
  MemberBase(sim::SimNode& node, GroupsWorld& world, const MemberSpec& spec, base::Nanos until)
      : node_(node),
        world_(world),
        group_id_(spec.group),
        number_(spec.number),
        until_(until),
        link_(node, world) {
    if (spec.is_static) instance_id_ = absl::StrCat("instance-", spec.number);
  }
  ~MemberBase() { GiveUp(); }
  MemberBase(const MemberBase&) = delete;
  MemberBase& operator=(const MemberBase&) = delete;

 protected:
  bool Ends() const { return world_.stop || (world_.misbehave && node_.world().now() >= until_); }
  task::Task<void> Pause(base::Nanos duration) {
    co_await node_.scheduler().SleepUntil(node_.world().now() + duration);
  }
  task::Task<void> PauseUpTo(base::Nanos most) {
    return Pause(static_cast<base::Nanos>(node_.world().rng().Below(static_cast<uint64_t>(most))));
  }
  bool Chance(double chance) { return node_.world().rng().Chance(chance); }
  std::optional<absl::string_view> instance_id() const {
    return instance_id_.has_value() ? std::optional<absl::string_view>(*instance_id_)
                                    : std::nullopt;
  }
  // SIM_TRACE=1 in the environment: to see what led to a failure.
  void Tell(const std::string& what) const {
    if (std::getenv("SIM_TRACE") == nullptr) return;
    std::fprintf(stderr, "%ld us: %s member %d (%s) generation %d: %s\n",
                 static_cast<long>(node_.world().now() / 1000), group_id_.c_str(), number_,
                 member_id_.c_str(), generation_, what.c_str());
  }

  // It owns nothing any more.
  void GiveUp() {
    generation_ = -1;
    positions_.clear();
    world_.GiveUp(group_id_, number_);
  }
  void Own(int32_t generation, std::set<int> partitions) {
    generation_ = generation;
    world_.Own(group_id_, number_, generation, std::move(partitions));
  }
  std::set<int> Owned() const {
    std::set<int> owned;
    for (const auto& [partition, position] : positions_) owned.insert(partition);
    return owned;
  }
  // Reads on in each partition and commits where it is then. nullopt: whether that was served is
  // not known.
  task::Task<std::optional<ErrorCode>> CommitPositions(int16_t version) {
    if (positions_.empty()) co_return ErrorCode::kNone;
    Arena arena;
    OffsetCommitRequest commit;
    commit.group_id = group_id_;
    commit.generation_id_or_member_epoch = generation_;
    commit.member_id = member_id_;
    commit.group_instance_id = instance_id();
    auto& topic = commit.topics.Add(arena);
    topic.name = kGroupsTopic;
    for (auto& [partition, position] : positions_) {
      position += static_cast<int64_t>(1 + node_.world().rng().Below(5));
      world_.Try(group_id_, partition, position);
      Tell(absl::StrCat("commits ", position, " in ", partition));
      auto& each = topic.partitions.Add(arena);
      each.partition_index = partition;
      each.committed_offset = position;
      each.committed_metadata = "";
    }
    std::map<int, int64_t> sent = positions_;
    const auto reply = co_await link_.Ask<OffsetCommitResponse>(commit, version);
    if (reply == nullptr) co_return std::nullopt;
    for (const auto& each : reply->body.topics[0].partitions) {
      const auto error = static_cast<ErrorCode>(each.error_code);
      if (error != ErrorCode::kNone) co_return error;
      world_.Acknowledge(group_id_, each.partition_index, sent[each.partition_index]);
    }
    co_return ErrorCode::kNone;
  }

  // Beyond its session, still thinking that it owns what it owned.
  task::Task<void> Stall() {
    Tell("stalls");
    co_await Pause(2 * kGroupSessionMs * base::kNanosPerMilli);
  }
  // What starts in its place knows nothing. A static one has kept its partitions.
  task::Task<void> Die() {
    Tell("dies");
    link_.Close();
    GiveUp();
    member_id_.clear();
    co_await PauseUpTo(base::kNanosPerSecond);
  }

  // Whether it is none. What a member meets in a broker that starts, stops or loads, and what its
  // own misbehaviour brings, is in order; anything else is not.
  bool IsNone(const char* what, int16_t code) {
    const auto error = static_cast<ErrorCode>(code);
    if (error == ErrorCode::kNone) return true;
    Tell(absl::StrCat(what, ": ", ErrorName(error)));
    switch (error) {
      case ErrorCode::kUnknownMemberId:
      case ErrorCode::kFencedInstanceId:
      case ErrorCode::kFencedMemberEpoch:
      case ErrorCode::kGroupIdNotFound:  // of a consumer group that is a classic one now
        member_id_.clear();
        break;
      case ErrorCode::kIllegalGeneration:
      case ErrorCode::kStaleMemberEpoch:
      case ErrorCode::kUnreleasedInstanceId:
      case ErrorCode::kRebalanceInProgress:
      case ErrorCode::kCoordinatorLoadInProgress:
      case ErrorCode::kCoordinatorNotAvailable:
      case ErrorCode::kNotCoordinator:
        break;
      default:
        world_.Fail(absl::StrCat(what, " of ", group_id_, ": ", ErrorName(error)));
    }
    return false;
  }

  sim::SimNode& node_;
  GroupsWorld& world_;
  const std::string group_id_;
  const int number_;
  const base::Nanos until_;
  MemberLink link_;
  std::optional<std::string> instance_id_;
  std::string member_id_;
  int32_t generation_ = -1;
  std::map<int, int64_t> positions_;  // of the partitions that it owns
};

task::Task<void> LiveAsClassic(sim::SimNode& node, GroupsWorld& world, const MemberSpec& spec,
                               base::Nanos until);
task::Task<void> LiveAsConsumer(sim::SimNode& node, GroupsWorld& world, const MemberSpec& spec,
                                base::Nanos until);

}  // namespace ringtail::kafka
