// A member of the classic protocol, with an eager assignor of its own.
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/server/group/group_harness.h"
#include "tests/server/kafka/group_members.h"
#include "tests/server/kafka/member_base.h"

namespace ringtail::kafka {
namespace {

class ClassicMember : public MemberBase {
 public:
  using MemberBase::MemberBase;

  task::Task<void> Run() {
    while (!world_.stop) {
      if (generation_ < 0) {
        if (!co_await JoinAndSync() || !co_await FetchOffsets()) {
          GiveUp();
          co_await Pause(20 * base::kNanosPerMilli);
        }
        continue;
      }
      co_await Pause(kGroupHeartbeatMs * base::kNanosPerMilli);
      if (!co_await Heartbeat()) {
        GiveUp();
        continue;
      }
      if (Chance(0.5)) co_await Commit();
      if (world_.misbehave && generation_ >= 0) co_await Misbehave();
    }
  }

 private:
  task::Task<bool> JoinAndSync() {
    Arena arena;
    JoinGroupRequest join;
    join.group_id = group_id_;
    join.session_timeout_ms = kGroupSessionMs;
    join.rebalance_timeout_ms = kGroupRebalanceMs;
    join.member_id = member_id_;
    join.group_instance_id = instance_id();
    join.protocol_type = "consumer";
    auto& protocol = join.protocols.Add(arena);
    protocol.name = "range";
    protocol.metadata = Bytes(base::AsBytes(subscription_));
    const auto joined = co_await link_.Ask<JoinGroupResponse>(join, 9);
    if (joined == nullptr) co_return false;
    const JoinGroupResponse& reply = joined->body;
    if (static_cast<ErrorCode>(reply.error_code) == ErrorCode::kMemberIdRequired) {
      member_id_ = std::string(reply.member_id);
      co_return false;
    }
    if (!IsNone("JoinGroup", reply.error_code)) co_return false;
    member_id_ = std::string(reply.member_id);
    co_return co_await Sync(reply);
  }

  task::Task<bool> Sync(const JoinGroupResponse& joined) {
    Arena arena;
    SyncGroupRequest sync;
    sync.group_id = group_id_;
    sync.generation_id = joined.generation_id;
    sync.member_id = member_id_;
    sync.group_instance_id = instance_id();
    sync.protocol_type = "consumer";
    sync.protocol_name = "range";
    std::vector<std::string> shares(joined.members.size());
    if (joined.leader == member_id_ && !joined.skip_assignment) {
      for (int partition = 0; partition < kGroupsPartitions && !shares.empty(); ++partition) {
        std::string& share = shares[static_cast<size_t>(partition) % shares.size()];
        absl::StrAppend(&share, share.empty() ? "" : ",", partition);
      }
      size_t next = 0;
      for (const auto& each : joined.members) {
        auto& assignment = sync.assignments.Add(arena);
        assignment.member_id = each.member_id;
        assignment.assignment = Bytes(base::AsBytes(shares[next++]));
      }
    }
    const auto synced = co_await link_.Ask<SyncGroupResponse>(sync, 5);
    if (synced == nullptr || !IsNone("SyncGroup", synced->body.error_code)) co_return false;
    const absl::string_view assignment = base::AsText(synced->body.assignment);
    Tell(absl::StrCat("has ", assignment, " in generation ", joined.generation_id));
    std::set<int> partitions;
    for (const absl::string_view text : absl::StrSplit(assignment, ',', absl::SkipEmpty())) {
      int partition = -1;
      if (!absl::SimpleAtoi(text, &partition)) {
        world_.Fail(absl::StrCat("an assignment that nobody made: ", assignment));
        co_return false;
      }
      partitions.insert(partition);
    }
    for (const int partition : partitions) positions_[partition] = -1;
    Own(joined.generation_id, std::move(partitions));
    co_return true;
  }

  task::Task<bool> FetchOffsets() {
    Arena arena;
    OffsetFetchRequest fetch;
    fetch.group_id = group_id_;
    auto& topic = fetch.topics->Add(arena);
    topic.name = kGroupsTopic;
    std::map<int, GroupsWorld::Committed> known;
    for (const auto& [partition, position] : positions_) {
      topic.partition_indexes.Add(arena) = partition;
      known[partition] = world_.known(group_id_, partition);
    }
    const auto fetched = co_await link_.Ask<OffsetFetchResponse>(fetch, 7);
    if (fetched == nullptr || !IsNone("OffsetFetch", fetched->body.error_code)) co_return false;
    if (known.empty()) co_return true;
    for (const auto& each : fetched->body.topics[0].partitions) {
      if (!IsNone("OffsetFetch", each.error_code)) co_return false;
      const int partition = each.partition_index;
      world_.Fetched(group_id_, partition, known[partition], each.committed_offset);
      positions_[partition] = each.committed_offset;
      Tell(absl::StrCat("goes on in ", partition, " at ", each.committed_offset));
    }
    co_return true;
  }

  task::Task<bool> Heartbeat() {
    HeartbeatRequest beat;
    beat.group_id = group_id_;
    beat.generation_id = generation_;
    beat.member_id = member_id_;
    beat.group_instance_id = instance_id();
    const auto reply = co_await link_.Ask<HeartbeatResponse>(beat, 4);
    if (reply == nullptr) co_return false;
    // Commits what it has before it gives it up, as clients do.
    if (static_cast<ErrorCode>(reply->body.error_code) == ErrorCode::kRebalanceInProgress &&
        Chance(0.5)) {
      co_await Commit();
    }
    co_return IsNone("Heartbeat", reply->body.error_code);
  }

  task::Task<void> Commit() {
    const auto error = co_await CommitPositions(8);
    // It may be served later, behind one that this generation makes on another connection: only a
    // new generation rules that out.
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

  task::Task<void> Leave() {
    Arena arena;
    LeaveGroupRequest leave;
    leave.group_id = group_id_;
    auto& self = leave.members.Add(arena);
    self.member_id = member_id_;
    self.group_instance_id = instance_id();
    GiveUp();
    const auto reply = co_await link_.Ask<LeaveGroupResponse>(leave, 5);
    if (reply != nullptr && IsNone("LeaveGroup", reply->body.error_code)) {
      IsNone("LeaveGroup", reply->body.members[0].error_code);
    }
    member_id_.clear();
  }

  const std::string subscription_ = group::Subscription({kGroupsTopic});
};

}  // namespace

task::Task<void> RunClassicMember(sim::SimNode* node, std::shared_ptr<GroupsWorld> world,
                                  std::string group, int number, bool is_static) {
  return RunMember<ClassicMember>(node, std::move(world), std::move(group), number, is_static);
}

}  // namespace ringtail::kafka
