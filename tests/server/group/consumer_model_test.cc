// Random members of a consumer group (KIP-848) that join, heartbeat, stall, die and leave, while
// answers are lost, stores fail, topics change and the broker restarts from its records, in
// simulated time. A partition is never owned by two members of one epoch, and once the faults end
// every partition has an owner within bounds.
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/group/consumer_harness.h"
#include "tests/sim/seeds.h"

namespace ringtail::group {
namespace {

using base::Error;

constexpr int32_t kSessionMs = 10'000;
constexpr int32_t kRebalanceMs = 15'000;

// What all members agree on, and what they did.
struct World {
  explicit World(uint64_t seed)
      : random(seed), harness({.session_timeout_ms = kSessionMs, .members_max = 5}) {
    harness.SetTopics(topics);
  }
  bool Once(int in) { return random() % static_cast<uint64_t>(in) == 0; }
  uint64_t Pick(uint64_t count) { return random() % count; }

  std::mt19937_64 random;
  ConsumerHarness harness;
  std::map<std::string, int> topics = {{"a", 3}, {"ab", 2}, {"b", 4}};
  std::map<std::pair<int32_t, partition::PartitionId>, std::string> owners;  // by member epoch
  int ids = 0;
  bool faults = true;
};

// A client as KIP-848 has them: gives up first, says so, and only then takes what is new.
class Client {
 public:
  Client(World& world, int number) : world_(world) {
    if (number % 3 == 0) instance_ = absl::StrCat("instance-", number);
    if (number % 2 == 0) assignor_ = "range";
    Forget();
  }

  const PartitionSet& owned() const { return owned_; }
  bool joined() const { return joined_; }

  void Step() {
    if (stalled_steps_ > 0) {
      --stalled_steps_;
      return;
    }
    if (world_.faults && world_.Once(40)) stalled_steps_ = 1 + static_cast<int>(world_.Pick(20));
    if (world_.faults && world_.Once(60)) return Forget();  // dies, and starts anew
    if (world_.faults && world_.Once(60) && joined_) return Leave();
    if (world_.faults && world_.Once(30)) Subscribe();
    GiveUp();
    Heartbeat();
  }

 private:
  void Forget() {
    joined_ = false;
    epoch_ = kJoinEpoch;
    owned_.clear();
    assigned_.reset();
    id_ = absl::StrCat("m", ++world_.ids);
    Subscribe();
  }
  void Subscribe() {
    told_ = false;
    topics_.clear();
    regex_.clear();
    for (const char* topic : {"a", "ab", "b"}) {
      if (world_.Once(2)) topics_.push_back(topic);
    }
    if (world_.Once(3)) regex_ = world_.Once(2) ? "a.*" : ".*b";
  }
  void Leave() {
    const bool for_a_while = instance_.has_value() && world_.Once(2);
    world_.harness.Send({.member = id_,
                         .epoch = for_a_while ? kLeaveStaticEpoch : kLeaveEpoch,
                         .instance = instance_});
    Forget();
  }
  // Takes its time with faults.
  void GiveUp() {
    if (!assigned_.has_value() || (world_.faults && world_.Once(3))) return;
    owned_ = Intersection(owned_, *assigned_);
  }
  void Heartbeat() {
    Beat beat{.member = id_, .epoch = epoch_, .owned = owned_, .instance = instance_};
    if (!joined_ || !told_ || world_.Once(5)) {
      beat.topics = topics_;
      beat.regex = regex_;
      beat.rebalance_timeout_ms = kRebalanceMs;
      beat.assignor = assignor_;
    } else if (world_.Once(3)) {
      beat.owned.reset();
    }
    auto pending = world_.harness.Send(beat);
    ASSERT_TRUE(pending->answered());
    // Whoever misses an answer, or is told to try again, says all anew, and is told all: it may
    // have missed an assignment, and must not take up an older one.
    told_ = false;
    if (world_.faults && world_.Once(10)) return;  // the answer is lost
    Take(pending->reply());
  }
  void Take(const ConsumerHeartbeatReply& reply) {
    switch (reply.error) {
      case Error::kNone:
        break;
      case Error::kCoordinatorNotAvailable:
      case Error::kGroupFull:
      case Error::kUnreleasedInstanceId:
        return;  // tries again
      case Error::kUnknownMember:
      case Error::kFencedMemberEpoch:
      case Error::kFencedInstanceId:
      case Error::kGroupNotFound:
        joined_ = false;
        epoch_ = kJoinEpoch;
        owned_.clear();
        assigned_.reset();
        return;
      default:
        FAIL() << base::ErrorText(reply.error) << " " << reply.message;
    }
    joined_ = true;
    told_ = true;
    epoch_ = reply.member_epoch;
    if (reply.assignment.has_value()) assigned_ = reply.assignment;
    if (assigned_.has_value() && Includes(*assigned_, owned_)) owned_ = *assigned_;
    for (const partition::PartitionId& each : owned_) {
      // A static member that comes back as another one has what its instance had.
      const std::string name = instance_.value_or(id_);
      const auto [owner, added] = world_.owners.try_emplace({epoch_, each}, name);
      ASSERT_TRUE(added || owner->second == name)
          << owner->second << " and " << name << " own partition " << each.partition << " in epoch "
          << epoch_;
    }
  }

  World& world_;
  std::string id_;
  std::optional<std::string> instance_;
  std::optional<std::string> assignor_;
  std::vector<std::string> topics_;
  std::string regex_;
  bool joined_ = false;
  bool told_ = false;  // all that there is to say
  int32_t epoch_ = kJoinEpoch;
  PartitionSet owned_;
  std::optional<PartitionSet> assigned_;
  int stalled_steps_ = 0;
};

void ChangeTopics(World& world) {
  const std::string name = world.Once(2) ? "a" : "ab";
  if (!world.topics.contains(name)) {
    world.topics[name] = 2;
  } else if (world.Once(3)) {
    world.topics.erase(name);
  } else {
    ++world.topics[name];
  }
  world.harness.SetTopics(world.topics);
}

// What must not be, whatever happens: one owner for what the group says is owned.
void CheckGroup(ConsumerHarness& harness) {
  std::set<partition::PartitionId> assigned;
  std::set<partition::PartitionId> target;
  for (const DescribedConsumer& member : harness.group().Describe().members) {
    for (const partition::PartitionId& each : member.assigned) {
      ASSERT_TRUE(assigned.insert(each).second) << "assigned twice";
    }
    for (const partition::PartitionId& each : member.target) {
      ASSERT_TRUE(target.insert(each).second) << "twice in the target";
    }
  }
}

void RunModel(uint64_t seed) {
  World world(seed);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 6; ++i) clients.push_back(std::make_unique<Client>(world, i));
  for (int step = 0; step < 400 && !testing::Test::HasFailure(); ++step) {
    world.harness.FailStores(world.Once(8));
    clients[world.Pick(clients.size())]->Step();
    world.harness.Advance(static_cast<int64_t>(world.Pick(1'000)));
    if (world.Once(40)) ChangeTopics(world);
    if (world.Once(50)) world.harness.Restart();
    CheckGroup(world.harness);
  }
  world.faults = false;
  world.harness.FailStores(false);
  clients.resize(4);  // so that all have room
  // Members that have gone are given up after their session; then a few heartbeats are enough.
  for (int second = 0; second < 60 && !testing::Test::HasFailure(); ++second) {
    for (const auto& client : clients) client->Step();
    world.harness.Advance(1'000);
    CheckGroup(world.harness);
  }
  ASSERT_EQ(world.harness.group().state(), ConsumerGroupState::kStable);
  PartitionSet owned;
  PartitionSet target;
  for (const auto& client : clients) {
    EXPECT_TRUE(client->joined());
    owned.insert(owned.end(), client->owned().begin(), client->owned().end());
  }
  for (const DescribedConsumer& member : world.harness.group().Describe().members) {
    target.insert(target.end(), member.target.begin(), member.target.end());
  }
  std::sort(owned.begin(), owned.end());
  std::sort(target.begin(), target.end());
  EXPECT_EQ(owned, target);
}

TEST(ConsumerModel, NoPartitionHasTwoOwnersAndEveryGroupSettles) {
  sim::ForSeeds(300, [](uint64_t seed) { RunModel(seed); });
}

}  // namespace
}  // namespace ringtail::group
