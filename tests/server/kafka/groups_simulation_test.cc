// Groups of both protocols, and such that go from one to the other and back as their members do
// one by one. Members join, commit, leave, stall and die (group_members.h)
// over a broker whose connections are cut and which is stopped, killed and loses power, and starts
// again on another number of cores. No committed offset goes back, no partition has two owners in
// one generation or epoch, and every group settles within bounds once the faults have ended.
// tests/soak/simulation.sh runs many seeds.
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/group/coordinator.h"
#include "tests/server/kafka/group_members.h"
#include "tests/server/kafka/kafka_dialogue.h"
#include "tests/server/sim_server.h"
#include "tests/sim/seeds.h"

namespace ringtail::kafka {
namespace {

struct GroupKind {
  Speaks speaks;
  bool is_cooperative;
};
constexpr GroupKind kKinds[] = {{Speaks::kClassic, false},
                                {Speaks::kConsumer, false},
                                {Speaks::kClassic, true},
                                {Speaks::kBoth, false},
                                {Speaks::kBoth, true}};
constexpr int kGroups = std::size(kKinds);
constexpr int kMembers = 3;  // of each
constexpr base::Nanos kSettledWithin = 20 * base::kNanosPerSecond;

class GroupsSimulation {
 public:
  explicit GroupsSimulation(uint64_t seed)
      : world_(seed), members_(std::make_shared<GroupsWorld>()) {}
  ~GroupsSimulation() {
    server_.reset();
    nodes_.clear();
  }

  void Run() {
    Start(2);
    if (testing::Test::HasFailure()) return;
    ASSERT_EQ(server_->CreateTopic(kGroupsTopic, kGroupsPartitions).failure.error,
              base::Error::kNone);
    MakeOffsetsTopic();
    StartMembers();
    for (int step = 0; step < 40 && members_->failure().empty(); ++step) {
      world_.RunFor(world_.rng().Between(base::kNanosPerMilli, 400 * base::kNanosPerMilli));
      Trouble();
      if (testing::Test::HasFailure()) return;
    }
    EndTrouble();
    Settle();
    if (testing::Test::HasFailure()) return;
    members_->stop = true;
    ASSERT_TRUE(world_.RunUntil([&] { return members_->running == 0; }))
        << "the members did not end\n"
        << server_->sim().DumpTasks();
    ASSERT_EQ(members_->failure(), "") << world_.Report();
    CheckOffsets();
    EXPECT_GT(members_->commits(), 0u);
    EXPECT_GE(members_->generations(), static_cast<uint64_t>(kGroups));
  }

  uint64_t trace_hash() const { return world_.trace_hash(); }

 private:
  static std::string GroupId(int number) { return absl::StrCat("group-", number); }

  void Start(uint32_t cores) {
    server::SimServerOptions options{.cores = cores};
    options.server.groups.limits.initial_rebalance_delay_ms = 20;
    options.server.groups.session_timeout_min_ms = kGroupSessionMs;
    options.server.groups.consumer.session_timeout_ms = kGroupSessionMs;
    options.server.groups.consumer.heartbeat_interval_ms = kGroupHeartbeatMs;
    server_ = std::make_unique<server::SimServer>(world_, options);
    const absl::Status started = server_->Start();
    ASSERT_TRUE(started.ok()) << started << "\n" << world_.Report();
    // Groups live on either core.
    members_->port = server_->endpoints().cores[world_.rng().Below(cores)].kafka;
  }

  void MakeOffsetsTopic() {
    KafkaDialogue dialogue(world_);
    ASSERT_TRUE(dialogue.Open(members_->port));
    FindCoordinatorRequest find;
    find.key = "any";
    ASSERT_NE(dialogue.Ask<FindCoordinatorResponse>(find, 3, 1), nullptr);
  }

  void StartMembers() {
    for (int i = 0; i < kGroups * kMembers; ++i) {
      nodes_.push_back(
          std::make_unique<sim::SimNode>(world_, world_.NewProcess(absl::StrCat("member", i))));
      sim::SimNode* node = nodes_.back().get();
      const int group = i % kGroups;
      MemberSpec spec{.group = GroupId(group),
                      .number = i / kGroups,
                      .is_static = world_.rng().Chance(0.3),
                      .is_cooperative = kKinds[group].is_cooperative};
      node->Start("member", RunMember(node, members_, std::move(spec), kKinds[group].speaks));
    }
  }

  void Trouble() {
    const int victim = nodes_[world_.rng().Below(nodes_.size())]->process();
    switch (world_.rng().Below(10)) {
      case 0:
        world_.network().Reset(victim);
        return;
      case 1:
        world_.network().Cut(victim);
        return;
      case 2:
        world_.network().Heal();
        return;
      case 3:
        members_->port = 0;
        world_.faults().Clear();
        server_->Kill();
        if (world_.rng().Chance(0.5)) {
          world_.disk().PowerCut({.kept = static_cast<sim::PowerCutPolicy::Kept>(
                                      world_.rng().Below(sim::PowerCutPolicy::kSubset + 1))});
        }
        Start(static_cast<uint32_t>(world_.rng().Between(1, 3)));
        return;
      case 4:
        members_->port = 0;
        world_.network().Heal();
        ASSERT_TRUE(server_->Stop()) << world_.Report();
        Start(static_cast<uint32_t>(world_.rng().Between(1, 3)));
        return;
      case 5:
        world_.faults().Add({.kind = sim::FaultKind::kShort,
                             .codes = {io::OpCode::kWrite},
                             .path = "/data",
                             .count = 2});
        return;
      case 6:
        world_.faults().Add({.kind = sim::FaultKind::kDelay,
                             .path = "/data",
                             .skip = world_.rng().Below(20),
                             .count = 3,
                             .delay_ns = 300 * base::kNanosPerMilli});
        return;
      default:
        return;
    }
  }

  void EndTrouble() {
    world_.network().Heal();
    world_.faults().Clear();
    members_->misbehave = false;
  }

  // And stays so: who rebalances for ever, or is about to find that it was missed, has not settled.
  void Settle() {
    const base::Nanos bound = world_.now() + kSettledWithin;
    bool stays = false;
    while (!stays && members_->failure().empty() && world_.now() < bound) {
      world_.RunUntil(
          [&] { return AllSettled() || !members_->failure().empty() || world_.now() >= bound; });
      const uint64_t generations = members_->generations();
      world_.RunFor(3 * base::kNanosPerSecond);
      stays = AllSettled() && members_->generations() == generations;
    }
    ASSERT_EQ(members_->failure(), "") << world_.Report();
    ASSERT_TRUE(stays) << members_->Describe() << world_.Report() << server_->sim().DumpTasks();
  }
  // What the last of its owners has acknowledged is there, whoever fetched it meanwhile.
  void CheckOffsets() {
    KafkaDialogue dialogue(world_);
    ASSERT_TRUE(dialogue.Open(members_->port));
    for (int i = 0; i < kGroups; ++i) {
      const std::string id = GroupId(i);
      OffsetFetchRequest fetch;
      fetch.group_id = id;
      fetch.topics = std::nullopt;  // all
      const auto reply = dialogue.Ask<OffsetFetchResponse>(fetch, 7, 1);
      ASSERT_NE(reply, nullptr);
      std::map<int, int64_t> found;
      for (const auto& topic : reply->body.topics) {
        for (const auto& each : topic.partitions) {
          found[each.partition_index] = each.committed_offset;
        }
      }
      for (int partition = 0; partition < kGroupsPartitions; ++partition) {
        found.try_emplace(partition, -1);
        members_->Fetched(id, partition, members_->known(id, partition), found[partition]);
      }
    }
    EXPECT_EQ(members_->failure(), "");
  }
  bool AllSettled() const {
    for (int i = 0; i < kGroups; ++i) {
      if (!members_->Settled(GroupId(i), kMembers)) return false;
    }
    return true;
  }

  sim::SimWorld world_;
  std::shared_ptr<GroupsWorld> members_;
  std::vector<std::unique_ptr<sim::SimNode>> nodes_;
  std::unique_ptr<server::SimServer> server_;
};

// Or a seed that failed would be worth little.
TEST(GroupsSimulationTest, ARunRepeats) {
  GroupsSimulation first(3);
  first.Run();
  GroupsSimulation second(3);
  second.Run();
  EXPECT_EQ(first.trace_hash(), second.trace_hash());
}

TEST(GroupsSimulationTest, OffsetsNeverGoBackAndGroupsSettle) {
  sim::ForSeeds(20, [](uint64_t seed) { GroupsSimulation(seed).Run(); });
}

}  // namespace
}  // namespace ringtail::kafka
