#include "server/group/assignor.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <numeric>
#include <queue>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"

namespace ringtail::group {
namespace {

constexpr absl::string_view kUniformName = "uniform";
constexpr absl::string_view kRangeName = "range";

// Members by topic, in the order of `order`.
std::vector<std::vector<uint32_t>> Subscribers(const AssignorInput& input,
                                               const std::vector<uint32_t>& order) {
  std::vector<std::vector<uint32_t>> subscribers(input.topics.size());
  for (const uint32_t member : order) {
    for (const uint32_t topic : input.members[member].topics) subscribers[topic].push_back(member);
  }
  return subscribers;
}

std::vector<uint32_t> AllMembers(const AssignorInput& input) {
  std::vector<uint32_t> all(input.members.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// --- range.

std::vector<PartitionSet> AssignRange(const AssignorInput& input) {
  // Static members first, by what does not change when they restart.
  const auto rank = [&](uint32_t member) {
    const AssignableMember& each = input.members[member];
    return std::tuple(!each.instance_id.has_value(), each.instance_id.value_or(each.id), each.id);
  };
  std::vector<uint32_t> order = AllMembers(input);
  std::sort(order.begin(), order.end(),
            [&](uint32_t left, uint32_t right) { return rank(left) < rank(right); });
  const auto subscribers = Subscribers(input, order);
  std::vector<PartitionSet> assigned(input.members.size());
  for (size_t topic = 0; topic < input.topics.size(); ++topic) {
    if (subscribers[topic].empty()) continue;
    const auto members = static_cast<int32_t>(subscribers[topic].size());
    const int32_t each = input.topics[topic].partitions / members;
    int32_t extra = input.topics[topic].partitions % members;
    int32_t next = 0;
    for (const uint32_t member : subscribers[topic]) {
      int32_t count = each + (extra-- > 0 ? 1 : 0);
      while (count-- > 0) assigned[member].push_back({input.topics[topic].id, next++});
    }
  }
  return assigned;  // topics in their order: each set is ascending
}

// --- uniform.

class Uniform {
 public:
  explicit Uniform(const AssignorInput& input)
      : input_(input),
        subscribers_(Subscribers(input, AllMembers(input))),
        owners_(input.topics.size()),
        loads_(input.members.size()),
        homogeneous_(std::all_of(input.members.begin(), input.members.end(), [&](const auto& each) {
          return each.topics == input.members[0].topics;
        })) {
    for (size_t topic = 0; topic < input.topics.size(); ++topic) {
      owners_[topic].resize(static_cast<size_t>(input.topics[topic].partitions), kNobody);
    }
  }

  std::vector<PartitionSet> Assign() {
    KeepWhatIsThere();
    if (homogeneous_) ShedAboveQuota();
    for (uint32_t topic = 0; topic < owners_.size(); ++topic) GiveOutRest(topic);
    if (!homogeneous_) Balance();
    std::vector<PartitionSet> assigned(input_.members.size());
    for (size_t topic = 0; topic < owners_.size(); ++topic) {
      for (size_t i = 0; i < owners_[topic].size(); ++i) {
        if (owners_[topic][i] == kNobody) continue;
        assigned[owners_[topic][i]].push_back({input_.topics[topic].id, static_cast<int32_t>(i)});
      }
    }
    return assigned;
  }

 private:
  static constexpr uint32_t kNobody = UINT32_MAX;
  // The search for chains ends after this many looks at a member's topic: what it has not found
  // by then is not worth the core's time.
  static constexpr size_t kLooksMax = 2'000'000;

  void KeepWhatIsThere() {
    absl::flat_hash_map<base::Uuid, uint32_t> places;
    for (uint32_t topic = 0; topic < input_.topics.size(); ++topic) {
      places[input_.topics[topic].id] = topic;
    }
    for (uint32_t member = 0; member < input_.members.size(); ++member) {
      const AssignableMember& each = input_.members[member];
      for (const partition::PartitionId& had : *each.before) {
        const auto topic = places.find(had.topic_id);
        if (topic == places.end()) continue;
        std::vector<uint32_t>& owners = owners_[topic->second];
        if (had.partition < 0 || static_cast<size_t>(had.partition) >= owners.size()) continue;
        uint32_t& owner = owners[static_cast<size_t>(had.partition)];
        if (owner != kNobody ||
            !std::binary_search(each.topics.begin(), each.topics.end(), topic->second)) {
          continue;
        }
        owner = member;
        ++loads_[member];
      }
    }
  }

  // All may have all: who has more than its part gives up what is over, in one pass.
  void ShedAboveQuota() {
    if (input_.members.empty()) return;
    size_t total = 0;
    for (const uint32_t topic : input_.members[0].topics) total += owners_[topic].size();
    const size_t quota = total / input_.members.size();
    size_t extras = total % input_.members.size();
    std::vector<size_t> over(input_.members.size());
    for (size_t member = 0; member < over.size(); ++member) {
      if (loads_[member] <= quota) continue;
      over[member] = loads_[member] - quota;
      if (extras == 0) continue;
      --extras;
      --over[member];
    }
    // From the last ones on: the first topics stay where they are.
    for (size_t topic = owners_.size(); topic-- > 0;) {
      for (size_t i = owners_[topic].size(); i-- > 0;) {
        uint32_t& owner = owners_[topic][i];
        if (owner == kNobody || over[owner] == 0) continue;
        --over[owner];
        --loads_[owner];
        owner = kNobody;
      }
    }
  }

  // The partitions of a topic that nobody has, to who has least.
  void GiveOutRest(uint32_t topic) {
    std::vector<uint32_t>& owners = owners_[topic];
    if (subscribers_[topic].empty() ||
        std::find(owners.begin(), owners.end(), kNobody) == owners.end()) {
      return;
    }
    using Loaded = std::pair<size_t, uint32_t>;
    std::priority_queue<Loaded, std::vector<Loaded>, std::greater<>> least;
    for (const uint32_t member : subscribers_[topic]) least.emplace(loads_[member], member);
    for (uint32_t& owner : owners) {
      if (owner != kNobody) continue;
      owner = least.top().second;
      least.pop();
      least.emplace(++loads_[owner], owner);
    }
  }

  // Relieves members, the most loaded first, for as long as there is a chain: a partition moves to
  // a member, one of that member's to the next, and the last has at least two less than the first.
  void Balance() {
    owned_.resize(input_.members.size());
    for (uint32_t topic = 0; topic < owners_.size(); ++topic) {
      for (const uint32_t owner : owners_[topic]) {
        if (owner != kNobody) ++owned_[owner][topic];
      }
    }
    std::priority_queue<std::pair<size_t, uint32_t>> most;
    for (uint32_t member = 0; member < loads_.size(); ++member)
      most.emplace(loads_[member], member);
    while (!most.empty() && looks_ < kLooksMax) {
      const auto [load, member] = most.top();
      most.pop();
      if (load != loads_[member]) continue;  // out of date: another entry says what it has now
      const uint32_t relieved = Relieve(member);
      if (relieved == kNobody) continue;
      most.emplace(loads_[member], member);
      most.emplace(loads_[relieved], relieved);
    }
  }

  struct Step {
    uint32_t from = kNobody;
    uint32_t topic = 0;
  };

  // Moves partitions along the shortest chain from `first`; who has one more now, or nobody.
  uint32_t Relieve(uint32_t first) {
    absl::flat_hash_map<uint32_t, Step> reached = {{first, Step()}};
    absl::flat_hash_set<uint32_t> topics;  // whose subscribers have all been reached
    std::deque<uint32_t> next = {first};
    while (!next.empty()) {
      const uint32_t member = next.front();
      next.pop_front();
      for (const auto& [topic, count] : owned_[member]) {
        if (!topics.insert(topic).second) continue;
        for (const uint32_t other : subscribers_[topic]) {
          ++looks_;
          if (!reached.try_emplace(other, Step{member, topic}).second) continue;
          if (loads_[other] + 2 <= loads_[first]) {
            MoveAlong(reached, other);
            --loads_[first];
            ++loads_[other];
            return other;
          }
          next.push_back(other);
        }
      }
    }
    return kNobody;
  }

  void MoveAlong(const absl::flat_hash_map<uint32_t, Step>& reached, uint32_t last) {
    for (uint32_t to = last;;) {
      const Step step = reached.at(to);
      if (step.from == kNobody) return;
      std::vector<uint32_t>& owners = owners_[step.topic];
      *std::find(owners.rbegin(), owners.rend(), step.from) = to;
      if (--owned_[step.from][step.topic] == 0) owned_[step.from].erase(step.topic);
      ++owned_[to][step.topic];
      to = step.from;
    }
  }

  const AssignorInput& input_;
  const std::vector<std::vector<uint32_t>> subscribers_;  // by topic
  std::vector<std::vector<uint32_t>> owners_;             // by topic and partition
  std::vector<size_t> loads_;                             // partitions, by member
  const bool homogeneous_;
  std::vector<std::map<uint32_t, size_t>> owned_;  // partitions, by member and topic
  size_t looks_ = 0;
};

}  // namespace

absl::string_view AssignorName(Assignor assignor) {
  return assignor == Assignor::kUniform ? kUniformName : kRangeName;
}

std::optional<Assignor> FindAssignor(absl::string_view name) {
  if (name == kUniformName) return Assignor::kUniform;
  if (name == kRangeName) return Assignor::kRange;
  return std::nullopt;
}

std::vector<PartitionSet> Assign(Assignor assignor, const AssignorInput& input) {
  if (assignor == Assignor::kRange) return AssignRange(input);
  return Uniform(input).Assign();
}

}  // namespace ringtail::group
