// What simulated members of groups know together, and what must hold of it:
//
// - In one generation (of the classic protocol) or at one epoch (of KIP-848's) no partition has two
//   owners.
// - What is fetched as committed is never less than what was acknowledged, nor more than was tried.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace ringtail::kafka {

constexpr char kGroupsTopic[] = "t";
constexpr int kGroupsPartitions = 5;
constexpr int kGroupSessionMs = 500;
constexpr int kGroupRebalanceMs = 1'000;
constexpr int kGroupHeartbeatMs = 100;

class GroupsWorld {
 public:
  struct Committed {
    int64_t acknowledged = -1;
    int64_t tried = -1;
  };

  // --- Set by the test.
  uint16_t port = 0;      // of the broker that runs now; 0: none does
  bool misbehave = true;  // members leave, stall and die
  bool stop = false;      // they end

  // --- Told by members.
  int running = 0;
  void Fail(std::string what) {
    if (failure_.empty()) failure_ = std::move(what);
  }
  // From now on it has these, and no others.
  void Own(const std::string& group, int member, int32_t generation, std::set<int> partitions);
  void GiveUp(const std::string& group, int member) { groups_[group].now.erase(member); }
  void Try(const std::string& group, int partition, int64_t offset);
  // The answer may come late, when the next owner has gone on from there.
  void Acknowledge(const std::string& group, int partition, int64_t offset);
  Committed known(const std::string& group, int partition) {
    return groups_[group].offsets[partition];
  }
  // What a fetch found that was sent when `before` was known.
  void Fetched(const std::string& group, int partition, const Committed& before, int64_t offset);

  // --- For the test.
  const std::string& failure() const { return failure_; }  // what must never happen, and happened
  uint64_t commits() const { return commits_; }            // partitions
  uint64_t generations() const { return generations_; }    // that some member had partitions in
  // Whether `members` of the group are of one generation and have all partitions between them.
  bool Settled(const std::string& group, int members) const;
  // Who has what, a line a group.
  std::string Describe() const;

 private:
  struct Group {
    std::map<int, Committed> offsets;                      // by partition
    std::map<int32_t, std::map<int, int>> owners;          // generation -> partition -> member
    std::map<int, std::pair<int32_t, std::set<int>>> now;  // member -> its generation, partitions
  };
  std::map<std::string, Group> groups_;
  std::string failure_;
  uint64_t commits_ = 0;
  uint64_t generations_ = 0;
};

}  // namespace ringtail::kafka
