// Random members of one group that join, poll, commit, leave, stall and die, in simulated time: in
// one generation no partition is owned twice, no committed offset goes back, and once the faults
// end everybody has partitions within bounds.
#include <map>
#include <random>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "server/group/offset_table.h"
#include "tests/server/group/group_harness.h"
#include "tests/sim/seeds.h"

namespace ringtail::group {
namespace {

using base::Error;

constexpr int kPartitions = 7;
constexpr int64_t kSessionMs = 6'000;
constexpr int64_t kRebalanceMs = 10'000;

// What all members agree on, and what they did.
struct World {
  explicit World(uint64_t seed) : random(seed), group({.initial_rebalance_delay_ms = 500}) {}
  int Pick(int count) { return static_cast<int>(random() % static_cast<uint64_t>(count)); }

  std::mt19937_64 random;
  GroupHarness group;
  OffsetTable offsets{group.budget()};
  int64_t records = 0;
  std::map<int32_t, std::map<int, const void*>> owners;  // by generation and partition
};

// A consumer as clients are: joins, syncs, reads from what is committed, commits, heartbeats.
class Consumer {
 public:
  Consumer(World& world, int number) : world_(world) {
    joiner_.session_timeout_ms = kSessionMs;
    joiner_.rebalance_timeout_ms = kRebalanceMs;
    joiner_.takes_member_id = world.Pick(2) == 0;
    if (world.Pick(3) == 0) joiner_.instance_id = absl::StrCat("instance-", number);
  }

  bool settled() const { return generation_ >= 0 && !join_ && !sync_; }
  int32_t generation() const { return generation_; }
  size_t partitions() const { return positions_.size(); }

  // One turn of its loop.
  void Step() {
    if (join_) {
      if (join_->answered()) Joined();
    } else if (sync_) {
      if (sync_->answered()) Synced();
    } else if (generation_ < 0) {
      join_ = world_.group.Join(joiner_);
    } else {
      Poll();
    }
  }
  void Leave() {
    if (joiner_.member_id.empty() || joiner_.instance_id.has_value()) return;
    world_.group.Leave(joiner_.member_id);
    Reset(true);
  }
  // The process is killed and started again; its requests' answers reach nobody.
  void Die() { Reset(true); }

 private:
  void Reset(bool forget_member_id) {
    join_.reset();
    sync_.reset();
    generation_ = -1;
    positions_.clear();
    if (forget_member_id) joiner_.member_id.clear();
  }
  void Failed(Error error) {
    Reset(error == Error::kUnknownMember || error == Error::kFencedInstanceId);
  }
  void Joined() {
    const JoinReply reply = std::move(join_->reply());
    join_.reset();
    if (reply.error == Error::kMemberIdRequired) {
      joiner_.member_id = reply.member_id;
      return;
    }
    if (reply.error != Error::kNone) return Failed(reply.error);
    joiner_.member_id = reply.member_id;
    joined_generation_ = reply.generation;
    std::map<std::string, std::vector<int>> plan;
    for (const JoinedMember& each : reply.members) plan[each.member_id];
    auto next = plan.begin();
    for (int partition = 0; partition < kPartitions && !plan.empty(); ++partition) {
      next->second.push_back(partition);
      if (++next == plan.end()) next = plan.begin();
    }
    std::vector<std::pair<std::string, std::string>> given;
    if (!reply.skip_assignment) {
      for (const auto& [id, partitions] : plan)
        given.emplace_back(id, absl::StrJoin(partitions, ","));
    }
    sync_ = world_.group.Sync(joiner_.member_id, reply.generation, given, joiner_.instance_id);
  }
  void Synced() {
    const SyncReply reply = std::move(sync_->reply());
    sync_.reset();
    if (reply.error != Error::kNone) return Failed(reply.error);
    generation_ = joined_generation_;
    positions_.clear();
    for (const absl::string_view text : absl::StrSplit(reply.assignment, ',', absl::SkipEmpty())) {
      int partition;
      ASSERT_TRUE(absl::SimpleAtoi(text, &partition));
      // A static member that restarted has the place of the one it was.
      const void*& owner = world_.owners[generation_][partition];
      ASSERT_TRUE(owner == nullptr || owner == this)
          << "partition " << partition << " has two owners in generation " << generation_;
      owner = this;
      const CommittedOffset* committed = world_.offsets.Find("t", partition);
      positions_[partition] = committed == nullptr ? 0 : committed->offset;
    }
  }
  void Poll() {
    const MemberName name{joiner_.member_id, joiner_.instance_id};
    const Error beat = world_.group.group().Heartbeat(
        {.group_id = "g", .member = name, .generation = generation_}, world_.group.at());
    if (beat != Error::kNone && beat != Error::kRebalanceInProgress) return Failed(beat);
    for (auto& [partition, position] : positions_) position += world_.Pick(5);
    if (world_.Pick(2) == 0 || beat == Error::kRebalanceInProgress) Commit();
    // Eager: what it had it gives up when it joins again.
    if (beat == Error::kRebalanceInProgress) Reset(false);
  }
  void Commit() {
    const MemberName name{joiner_.member_id, joiner_.instance_id};
    const Error admitted = world_.group.group().AdmitCommit(
        {.group_id = "g", .member = name, .generation = generation_}, world_.group.at());
    if (admitted != Error::kNone) return;
    for (const auto& [partition, position] : positions_) {
      const CommittedOffset* before = world_.offsets.Find("t", partition);
      ASSERT_TRUE(before == nullptr || before->offset <= position)
          << "partition " << partition << " goes back from " << before->offset << " to "
          << position;
      world_.offsets.Put("t", partition,
                         {.offset = position, .record = base::Offset(world_.records++)});
    }
  }

  World& world_;
  Joiner joiner_;
  std::unique_ptr<JoinPending> join_;
  std::unique_ptr<SyncPending> sync_;
  int32_t joined_generation_ = -1;
  int32_t generation_ = -1;
  std::map<int, int64_t> positions_;
};

void RunMembers(uint64_t seed) {
  World world(seed);
  std::vector<std::unique_ptr<Consumer>> consumers;
  for (int i = 0; i < 2 + world.Pick(4); ++i) {
    consumers.push_back(std::make_unique<Consumer>(world, i));
  }
  for (int turn = 0; turn < 400; ++turn) {
    Consumer& one = *consumers[static_cast<size_t>(world.Pick(static_cast<int>(consumers.size())))];
    const int what = world.Pick(60);
    if (what == 0) {
      one.Leave();
    } else if (what == 1) {
      one.Die();
    } else if (what == 2) {
      world.group.Advance(world.Pick(15'000));  // all of them stall
    } else {
      one.Step();
    }
    world.group.Advance(world.Pick(200));
    if (testing::Test::HasFatalFailure()) return;
  }
  // The faults are over.
  const int64_t bound_ms = 2 * (kSessionMs + kRebalanceMs) + 60'000;
  for (int64_t ms = 0; ms < bound_ms; ms += 100) {
    for (const auto& each : consumers) each->Step();
    world.group.Advance(100);
    if (testing::Test::HasFatalFailure()) return;
  }
  size_t partitions = 0;
  for (const auto& each : consumers) {
    EXPECT_TRUE(each->settled());
    EXPECT_EQ(each->generation(), world.group.group().generation());
    partitions += each->partitions();
  }
  EXPECT_EQ(partitions, static_cast<size_t>(kPartitions));
  EXPECT_EQ(world.group.group().state(), GroupState::kStable);
  EXPECT_EQ(world.group.group().member_count(), consumers.size());
}

TEST(GroupModel, RandomMembersSettleAndNeverGoBack) { sim::ForSeeds(200, RunMembers); }

}  // namespace
}  // namespace ringtail::group
