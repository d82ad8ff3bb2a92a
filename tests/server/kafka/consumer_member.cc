// A member of the protocol of KIP-848: the broker assigns, and a heartbeat says what it owns.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/types.h"
#include "tests/server/kafka/group_members.h"
#include "tests/server/kafka/member_base.h"

namespace ringtail::kafka {
namespace {

constexpr int32_t kJoins = 0;
constexpr int32_t kLeaves = -1;
constexpr int32_t kLeavesForAWhile = -2;

class ConsumerMember : public MemberBase {
 public:
  using MemberBase::MemberBase;

  task::Task<void> Run() {
    while (!Ends()) {
      if (generation_ < 0 && member_id_.empty()) member_id_ = base::Uuid::Random().ToString();
      if (!co_await Heartbeat(std::max(generation_, kJoins))) {
        GiveUp();
        co_await Pause(20 * base::kNanosPerMilli);
        continue;
      }
      if (Chance(0.5)) co_await Commit();
      if (world_.misbehave && generation_ >= 0) co_await Misbehave();
      co_await Pause(kGroupHeartbeatMs * base::kNanosPerMilli);
    }
    if (!world_.stop && generation_ >= 0 && Chance(0.7)) co_await Leave();
  }

 private:
  // Says all, as clients do after a failure; false: it is not in the group any more.
  task::Task<bool> Heartbeat(int32_t epoch) {
    Arena arena;
    ConsumerGroupHeartbeatRequest beat;
    beat.group_id = group_id_;
    beat.member_id = member_id_;
    beat.member_epoch = epoch;
    beat.instance_id = instance_id();
    if (epoch >= kJoins) {
      beat.rebalance_timeout_ms = kGroupRebalanceMs;
      beat.subscribed_topic_names.emplace();
      beat.subscribed_topic_names->Add(arena) = kGroupsTopic;
      beat.topic_partitions.emplace();
      if (!positions_.empty()) {
        auto& owned = beat.topic_partitions->Add(arena);
        owned.topic_id = topic_id_;
        for (const auto& [partition, position] : positions_)
          owned.partitions.Add(arena) = partition;
      }
    }
    const auto reply = co_await link_.Ask<ConsumerGroupHeartbeatResponse>(beat, 1);
    if (reply == nullptr) {
      // What it was is not known: its session ends, and it comes back as another.
      member_id_.clear();
      co_return false;
    }
    if (!IsNone("ConsumerGroupHeartbeat", reply->body.error_code)) co_return false;
    if (epoch < kJoins) co_return true;
    co_return co_await Follow(reply->body);
  }

  // Gives up at once what it is not assigned any more, and reads on in what is new.
  task::Task<bool> Follow(const ConsumerGroupHeartbeatResponse& reply) {
    std::set<int> assigned = Owned();
    if (reply.assignment.has_value()) {
      assigned.clear();
      for (const auto& topic : reply.assignment->topic_partitions) {
        topic_id_ = topic.topic_id;
        for (const int32_t partition : topic.partitions) assigned.insert(partition);
      }
      Tell(absl::StrCat("has ", absl::StrJoin(assigned, ","), " in epoch ", reply.member_epoch));
    }
    if (Chance(0.5)) {  // what it is about to give up, as clients do
      for (const auto& [partition, position] : positions_) {
        if (assigned.contains(partition)) continue;
        generation_ = reply.member_epoch;
        co_await Commit();
        if (generation_ < 0) co_return false;
        break;
      }
    }
    std::erase_if(positions_, [&](const auto& each) { return !assigned.contains(each.first); });
    std::set<int> fresh;
    for (const int partition : assigned) {
      if (!positions_.contains(partition)) fresh.insert(partition);
    }
    Own(reply.member_epoch, std::move(assigned));
    co_return fresh.empty() || co_await FetchOffsets(fresh);
  }

  task::Task<bool> FetchOffsets(const std::set<int>& partitions) {
    Arena arena;
    OffsetFetchRequest fetch;
    auto& group = fetch.groups.Add(arena);
    group.group_id = group_id_;
    group.member_id = member_id_;
    group.member_epoch = generation_;
    auto& topic = group.topics->Add(arena);
    topic.name = kGroupsTopic;
    std::map<int, GroupsWorld::Committed> known;
    for (const int partition : partitions) {
      topic.partition_indexes.Add(arena) = partition;
      known[partition] = world_.known(group_id_, partition);
    }
    const auto fetched = co_await link_.Ask<OffsetFetchResponse>(fetch, 9);
    if (fetched == nullptr) co_return false;
    const auto& found = fetched->body.groups[0];
    if (!IsNone("OffsetFetch", found.error_code)) co_return false;
    for (const auto& each : found.topics[0].partitions) {
      if (!IsNone("OffsetFetch", each.error_code)) co_return false;
      const int partition = each.partition_index;
      world_.Fetched(group_id_, partition, known[partition], each.committed_offset);
      positions_[partition] = each.committed_offset;
      Tell(absl::StrCat("goes on in ", partition, " at ", each.committed_offset));
    }
    co_return true;
  }

  task::Task<void> Commit() {
    const auto error = co_await CommitPositions(9);
    // The next heartbeat brings the epoch that is valid now.
    if (error == ErrorCode::kStaleMemberEpoch) co_return;
    // It may be served later, behind another of this epoch: only another member rules that out.
    if (!error.has_value()) member_id_.clear();
    if (!error.has_value() || !IsNone("OffsetCommit", Wire(*error))) GiveUp();
  }

  task::Task<void> Misbehave() {
    const uint64_t what = node_.world().rng().Below(60);
    if (what == 0) {
      co_await Leave();
      co_await PauseUpTo(base::kNanosPerSecond);
    } else if (what == 1) {
      co_await Stall();
    } else if (what == 2) {
      co_await Die();
    }
  }

  // A static one may keep its partitions for its return.
  task::Task<void> Leave() {
    const int32_t how = instance_id_.has_value() && Chance(0.7) ? kLeavesForAWhile : kLeaves;
    Tell(absl::StrCat("leaves with ", how));
    const bool left = co_await Heartbeat(how);
    GiveUp();
    if (left) member_id_.clear();
  }

  base::Uuid topic_id_;
};

}  // namespace

task::Task<void> LiveAsConsumer(sim::SimNode& node, GroupsWorld& world, const MemberSpec& spec,
                                base::Nanos until) {
  ConsumerMember member(node, world, spec, until);
  co_await member.Run();
}

}  // namespace ringtail::kafka
