#include "server/group/assignor.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/sim/seeds.h"

namespace ringtail::group {
namespace {

base::Uuid Topic(size_t number) {
  base::Uuid id;
  id.bytes[0] = static_cast<uint8_t>(number >> 8);
  id.bytes[1] = static_cast<uint8_t>(number);
  id.bytes[15] = 1;
  return id;
}

// Members with their subscriptions, from one assignment to the next.
class Cluster {
 public:
  void SetTopics(const std::vector<int32_t>& partitions) {
    topics_.clear();
    for (size_t i = 0; i < partitions.size(); ++i) topics_.push_back({Topic(i), partitions[i]});
  }
  void Set(const std::string& id, std::vector<uint32_t> topics,
           std::optional<std::string> instance_id = std::nullopt) {
    members_[id].topics = std::move(topics);
    members_[id].instance_id = std::move(instance_id);
  }
  void Remove(const std::string& id) { members_.erase(id); }

  // How many partitions went from one member that stays to another.
  size_t Assign(Assignor assignor) {
    AssignorInput input{.topics = topics_};
    for (const auto& [id, member] : members_) {
      AssignableMember& out = input.members.emplace_back();
      out.id = id;
      if (member.instance_id.has_value()) out.instance_id = *member.instance_id;
      out.topics = member.topics;
      out.before = &member.assigned;
    }
    std::vector<PartitionSet> assigned = group::Assign(assignor, input);
    EXPECT_EQ(assigned, group::Assign(assignor, input)) << "the same input, another assignment";
    std::map<partition::PartitionId, std::string> owners;
    for (const auto& [id, member] : members_) {
      for (const partition::PartitionId& each : member.assigned) owners[each] = id;
    }
    size_t moved = 0;
    auto next = assigned.begin();
    for (auto& [id, member] : members_) {
      member.assigned = *next++;
      for (const partition::PartitionId& each : member.assigned) {
        moved += owners.contains(each) && owners[each] != id ? 1 : 0;
      }
    }
    Check();
    return moved;
  }

  const PartitionSet& Of(const std::string& id) { return members_[id].assigned; }
  size_t Load(const std::string& id) { return Of(id).size(); }
  size_t Least() const { return Loads().begin()->first; }
  size_t Most() const { return Loads().rbegin()->first; }

  // Whether a chain of moves would make it more even: the definition, not the algorithm.
  bool CouldBeMoreEven() const {
    for (const auto& [first, member] : members_) {
      std::set<std::string> reached = {first};
      bool grew = true;
      while (grew) {
        grew = false;
        for (const std::string& from : std::set<std::string>(reached)) {
          for (const partition::PartitionId& each : members_.at(from).assigned) {
            for (const auto& [to, other] : members_) {
              if (Subscribes(other, each.topic_id)) grew |= reached.insert(to).second;
            }
          }
        }
      }
      for (const std::string& other : reached) {
        if (members_.at(other).assigned.size() + 2 <= member.assigned.size()) return true;
      }
    }
    return false;
  }

 private:
  struct Member {
    std::vector<uint32_t> topics;
    std::optional<std::string> instance_id;
    PartitionSet assigned;
  };

  std::map<size_t, size_t> Loads() const {
    std::map<size_t, size_t> loads;
    for (const auto& [id, member] : members_) ++loads[member.assigned.size()];
    return loads;
  }
  bool Subscribes(const Member& member, const base::Uuid& topic) const {
    return std::any_of(member.topics.begin(), member.topics.end(),
                       [&](uint32_t each) { return topics_[each].id == topic; });
  }
  // Each partition of a topic that anybody reads has one owner, who subscribes to it.
  void Check() const {
    std::set<partition::PartitionId> seen;
    for (const auto& [id, member] : members_) {
      EXPECT_TRUE(std::is_sorted(member.assigned.begin(), member.assigned.end()));
      for (const partition::PartitionId& each : member.assigned) {
        EXPECT_TRUE(seen.insert(each).second) << "assigned twice";
        EXPECT_TRUE(Subscribes(member, each.topic_id));
      }
    }
    size_t expected = 0;
    for (const AssignableTopic& topic : topics_) {
      const bool read = std::any_of(members_.begin(), members_.end(), [&](const auto& each) {
        return Subscribes(each.second, topic.id);
      });
      if (read) expected += static_cast<size_t>(topic.partitions);
    }
    EXPECT_EQ(seen.size(), expected);
  }

  std::vector<AssignableTopic> topics_;
  std::map<std::string, Member> members_;
};

TEST(Assignor, HasItsNames) {
  EXPECT_EQ(FindAssignor("uniform"), Assignor::kUniform);
  EXPECT_EQ(FindAssignor("range"), Assignor::kRange);
  EXPECT_EQ(FindAssignor("Range"), std::nullopt);
  EXPECT_EQ(AssignorName(Assignor::kUniform), "uniform");
  EXPECT_EQ(AssignorName(Assignor::kRange), "range");
}

TEST(Range, GivesContiguousRangesTopicByTopic) {
  Cluster cluster;
  cluster.SetTopics({5, 5, 1});
  cluster.Set("a", {0, 1, 2});
  cluster.Set("b", {0, 1, 2});
  cluster.Assign(Assignor::kRange);
  EXPECT_EQ(cluster.Of("a"), (PartitionSet{{Topic(0), 0},
                                           {Topic(0), 1},
                                           {Topic(0), 2},
                                           {Topic(1), 0},
                                           {Topic(1), 1},
                                           {Topic(1), 2},
                                           {Topic(2), 0}}));
  EXPECT_EQ(cluster.Of("b"),
            (PartitionSet{{Topic(0), 3}, {Topic(0), 4}, {Topic(1), 3}, {Topic(1), 4}}));
}

TEST(Range, KeepsTheOrderOfStaticMembersWhateverTheirIds) {
  Cluster cluster;
  cluster.SetTopics({2});
  cluster.Set("z", {0}, "1");
  cluster.Set("a", {0}, "2");
  cluster.Assign(Assignor::kRange);
  EXPECT_EQ(cluster.Of("z"), (PartitionSet{{Topic(0), 0}}));
  EXPECT_EQ(cluster.Of("a"), (PartitionSet{{Topic(0), 1}}));
}

TEST(Uniform, BalancesOverTopics) {
  Cluster cluster;
  cluster.SetTopics({1, 1, 1, 1});
  cluster.Set("a", {0, 1, 2, 3});
  cluster.Set("b", {0, 1, 2, 3});
  cluster.Assign(Assignor::kUniform);
  EXPECT_EQ(cluster.Load("a"), 2u) << "range would give all to one";
  EXPECT_EQ(cluster.Load("b"), 2u);
}

TEST(Uniform, MovesNoMoreThanItMust) {
  Cluster cluster;
  cluster.SetTopics({6, 6});
  cluster.Set("a", {0, 1});
  cluster.Set("b", {0, 1});
  EXPECT_EQ(cluster.Assign(Assignor::kUniform), 0u);
  EXPECT_EQ(cluster.Assign(Assignor::kUniform), 0u);
  cluster.Set("c", {0, 1});
  EXPECT_EQ(cluster.Assign(Assignor::kUniform), 4u) << "what the new one gets";
  cluster.Remove("b");
  EXPECT_EQ(cluster.Assign(Assignor::kUniform), 0u) << "what it had goes to the others";
  EXPECT_EQ(cluster.Least(), 6u);
}

TEST(Uniform, GivesEachItsPartWhereSomeReadLess) {
  Cluster cluster;
  cluster.SetTopics({4, 4});
  cluster.Set("both", {0, 1});
  cluster.Set("first", {0});
  cluster.Set("second", {1});
  cluster.Assign(Assignor::kUniform);
  EXPECT_EQ(cluster.Least(), 2u);
  EXPECT_EQ(cluster.Most(), 3u);
}

TEST(Uniform, MovesAlongAChainOfMembers) {
  // `a` can be relieved by `b` alone, which has as much as it may until `c` takes from it.
  Cluster cluster;
  cluster.SetTopics({4, 4});
  cluster.Set("a", {0});
  cluster.Set("b", {0, 1});
  cluster.Assign(Assignor::kUniform);
  EXPECT_EQ(cluster.Load("a"), 4u);
  cluster.Set("c", {1});
  cluster.Assign(Assignor::kUniform);
  EXPECT_EQ(cluster.Most(), 3u);
  EXPECT_FALSE(cluster.CouldBeMoreEven());
}

TEST(Assignor, HasNothingToDoWithoutTopicsOrMembers) {
  for (const Assignor assignor : {Assignor::kUniform, Assignor::kRange}) {
    EXPECT_TRUE(Assign(assignor, {}).empty());
    Cluster cluster;
    cluster.SetTopics({3});
    cluster.Set("a", {});
    cluster.Assign(assignor);
    EXPECT_EQ(cluster.Load("a"), 0u);
  }
}

TEST(Assignor, HoldsItsPromisesForRandomGroups) {
  sim::ForSeeds(300, [](uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto pick = [&](size_t count) { return static_cast<size_t>(random() % count); };
    const Assignor assignor = seed % 4 == 0 ? Assignor::kRange : Assignor::kUniform;
    const bool homogeneous = seed % 3 == 0;
    Cluster cluster;
    std::vector<int32_t> partitions(1 + pick(6));
    std::vector<uint32_t> all;
    for (size_t i = 0; i < partitions.size(); ++i) {
      partitions[i] = static_cast<int32_t>(pick(9));
      all.push_back(static_cast<uint32_t>(i));
    }
    for (int step = 0; step < 15 && !testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE(step);
      cluster.SetTopics(partitions);
      const std::string id = absl::StrCat("m", pick(8));
      std::vector<uint32_t> topics = all;
      if (!homogeneous) std::erase_if(topics, [&](uint32_t) { return pick(2) == 0; });
      switch (pick(4)) {
        case 0:
          cluster.Remove(id);
          break;
        case 1:
          partitions[pick(partitions.size())] += static_cast<int32_t>(pick(4));
          break;
        default:
          cluster.Set(id, topics);
      }
      cluster.SetTopics(partitions);
      cluster.Assign(assignor);
      if (assignor == Assignor::kRange) continue;
      EXPECT_FALSE(cluster.CouldBeMoreEven());
      EXPECT_EQ(cluster.Assign(assignor), 0u) << "what is even stays";
    }
  });
}

}  // namespace
}  // namespace ringtail::group
