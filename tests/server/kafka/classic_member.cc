// A member of the classic protocol, with an assignor of its own: an eager one gives up all that it
// has before it joins again, a cooperative one (KIP-429) says what it has, keeps what it is
// assigned of that, and joins again when it had to give something up.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/group/group_records.h"
#include "server/group/record_text.h"
#include "tests/server/kafka/group_members.h"
#include "tests/server/kafka/member_base.h"

namespace ringtail::kafka {
namespace {

constexpr int16_t kEmbeddedVersion = 1;

std::string Subscription(const std::set<int>& owned) {
  group::TextWriter out;
  out.Number(kEmbeddedVersion);
  out.ArrayLength(1);
  out.Text(kGroupsTopic);
  out.Number(int32_t{-1});  // no user data
  out.ArrayLength(owned.empty() ? 0 : 1);
  if (owned.empty()) return out.Take();
  out.Text(kGroupsTopic);
  out.ArrayLength(owned.size());
  for (const int partition : owned) out.Number(int32_t{partition});
  return out.Take();
}

std::string Assignment(const std::set<int>& partitions) {
  std::vector<group::NamedPartition> named;
  for (const int partition : partitions) named.emplace_back(kGroupsTopic, partition);
  return group::EncodeAssignment(named, kEmbeddedVersion);
}

class ClassicMember : public MemberBase {
 public:
  ClassicMember(sim::SimNode& node, GroupsWorld& world, const MemberSpec& spec, base::Nanos until)
      : MemberBase(node, world, spec, until), is_cooperative_(spec.is_cooperative) {}

  task::Task<void> Run() {
    while (!Ends()) {
      if (joins_) {
        joins_ = false;
        if (!co_await JoinAndSync()) {
          GiveUp();
          co_await Pause(20 * base::kNanosPerMilli);
        }
        if (generation_ < 0) joins_ = true;
        continue;
      }
      co_await Pause(kGroupHeartbeatMs * base::kNanosPerMilli);
      co_await Heartbeat();
      if (generation_ >= 0 && Chance(0.5)) co_await Commit();
      if (world_.misbehave && generation_ >= 0) co_await Misbehave();
      if (generation_ < 0) joins_ = true;
    }
    // A static one is not told to leave, as clients do.
    const double leaves = instance_id_.has_value() ? 0.3 : 0.7;
    if (!world_.stop && generation_ >= 0 && Chance(leaves)) co_await Leave();
  }

 private:
  absl::string_view protocol() const { return is_cooperative_ ? "cooperative" : "range"; }

  task::Task<bool> JoinAndSync() {
    Arena arena;
    JoinGroupRequest join;
    join.group_id = group_id_;
    join.session_timeout_ms = kGroupSessionMs;
    join.rebalance_timeout_ms = kGroupRebalanceMs;
    join.member_id = member_id_;
    join.group_instance_id = instance_id();
    join.protocol_type = "consumer";
    auto& protocol_offered = join.protocols.Add(arena);
    protocol_offered.name = protocol();
    const std::string subscription = Subscription(Owned());
    protocol_offered.metadata = Bytes(base::AsBytes(subscription));
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

  // A cooperative leader gives nobody what another one has: that one gives it up first.
  std::vector<std::set<int>> Shares(const JoinGroupResponse& joined) {
    std::vector<std::set<int>> shares(joined.members.size());
    std::map<int, std::set<size_t>> owners;
    for (size_t i = 0; i < shares.size(); ++i) {
      const auto subscription = group::DecodeSubscription(base::AsText(joined.members[i].metadata));
      if (!subscription.has_value()) {
        world_.Fail("a subscription that nobody made");
        continue;
      }
      for (const auto& [topic, partition] : subscription->owned) owners[partition].insert(i);
    }
    for (int partition = 0; partition < kGroupsPartitions && !shares.empty(); ++partition) {
      const size_t wanted = static_cast<size_t>(partition) % shares.size();
      std::set<size_t> others = owners[partition];
      others.erase(wanted);
      if (!is_cooperative_ || others.empty()) shares[wanted].insert(partition);
    }
    return shares;
  }

  task::Task<bool> Sync(const JoinGroupResponse& joined) {
    Arena arena;
    SyncGroupRequest sync;
    sync.group_id = group_id_;
    sync.generation_id = joined.generation_id;
    sync.member_id = member_id_;
    sync.group_instance_id = instance_id();
    sync.protocol_type = "consumer";
    sync.protocol_name = protocol();
    std::vector<std::string> assignments;
    if (joined.leader == member_id_ && !joined.skip_assignment) {
      for (const std::set<int>& share : Shares(joined)) assignments.push_back(Assignment(share));
      for (size_t i = 0; i < assignments.size(); ++i) {
        auto& assignment = sync.assignments.Add(arena);
        assignment.member_id = joined.members[i].member_id;
        assignment.assignment = Bytes(base::AsBytes(assignments[i]));
      }
    }
    const auto synced = co_await link_.Ask<SyncGroupResponse>(sync, 5);
    if (synced == nullptr) co_return false;
    if (static_cast<ErrorCode>(synced->body.error_code) == ErrorCode::kRebalanceInProgress) {
      joins_ = true;  // keeps what it has
      co_return is_cooperative_;
    }
    if (!IsNone("SyncGroup", synced->body.error_code)) co_return false;
    const auto assignment = group::DecodeAssignment(base::AsText(synced->body.assignment));
    std::set<int> assigned;
    // The leader of a classic group may have known nothing of this member: then it is empty.
    if (assignment.has_value()) {
      for (const auto& [topic, partition] : assignment->partitions) assigned.insert(partition);
    } else if (!synced->body.assignment.empty()) {
      world_.Fail("an assignment that nobody made");
    }
    co_return co_await Follow(joined.generation_id, std::move(assigned));
  }

  task::Task<bool> Follow(int32_t generation, std::set<int> assigned) {
    Tell(absl::StrCat("has ", absl::StrJoin(assigned, ","), " in generation ", generation));
    const size_t gone =
        std::erase_if(positions_, [&](const auto& each) { return !assigned.contains(each.first); });
    if (gone > 0) joins_ = true;
    std::set<int> fresh;
    for (const int partition : assigned) {
      if (!positions_.contains(partition)) fresh.insert(partition);
    }
    Own(generation, std::move(assigned));
    co_return fresh.empty() || co_await FetchOffsets(fresh);
  }

  task::Task<bool> FetchOffsets(const std::set<int>& partitions) {
    Arena arena;
    OffsetFetchRequest fetch;
    fetch.group_id = group_id_;
    auto& topic = fetch.topics->Add(arena);
    topic.name = kGroupsTopic;
    std::map<int, GroupsWorld::Committed> known;
    for (const int partition : partitions) {
      topic.partition_indexes.Add(arena) = partition;
      known[partition] = world_.known(group_id_, partition);
    }
    const auto fetched = co_await link_.Ask<OffsetFetchResponse>(fetch, 7);
    if (fetched == nullptr || !IsNone("OffsetFetch", fetched->body.error_code)) co_return false;
    for (const auto& each : fetched->body.topics[0].partitions) {
      if (!IsNone("OffsetFetch", each.error_code)) co_return false;
      const int partition = each.partition_index;
      world_.Fetched(group_id_, partition, known[partition], each.committed_offset);
      positions_[partition] = each.committed_offset;
      Tell(absl::StrCat("goes on in ", partition, " at ", each.committed_offset));
    }
    co_return true;
  }

  task::Task<void> Heartbeat() {
    HeartbeatRequest beat;
    beat.group_id = group_id_;
    beat.generation_id = generation_;
    beat.member_id = member_id_;
    beat.group_instance_id = instance_id();
    const auto reply = co_await link_.Ask<HeartbeatResponse>(beat, 4);
    if (reply == nullptr) co_return GiveUp();
    if (static_cast<ErrorCode>(reply->body.error_code) == ErrorCode::kRebalanceInProgress) {
      // Commits what it has before it gives it up, as clients do.
      if (Chance(0.5)) co_await Commit();
      joins_ = true;
      if (!is_cooperative_) GiveUp();
      co_return;
    }
    if (!IsNone("Heartbeat", reply->body.error_code)) GiveUp();
  }

  task::Task<void> Commit() {
    const auto error = co_await CommitPositions(8);
    if (error == ErrorCode::kRebalanceInProgress && is_cooperative_) co_return;
    // It may be served later, behind one that this generation makes on another connection: only a
    // new generation rules that out, and in a consumer group only another member.
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

  const bool is_cooperative_;
  bool joins_ = true;
};

}  // namespace

task::Task<void> LiveAsClassic(sim::SimNode& node, GroupsWorld& world, const MemberSpec& spec,
                               base::Nanos until) {
  ClassicMember member(node, world, spec, until);
  co_await member.Run();
}

}  // namespace ringtail::kafka
