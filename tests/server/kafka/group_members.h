// Consumers of groups (classic protocol) as tasks of a simulation: they join, read from what is
// committed, commit, heartbeat, leave, stall and die, and go on whatever happens to their
// connections and to the broker. They keep book of what must hold, together:
//
// - In one generation of a group no partition has two owners.
// - What is fetched as committed is never less than what was acknowledged, nor more than was tried.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/node.h"

namespace ringtail::kafka {

constexpr char kGroupsTopic[] = "t";
constexpr int kGroupsPartitions = 5;

struct GroupsWorld {
  uint16_t port = 0;      // of the broker that runs now; 0: none does
  bool misbehave = true;  // members leave, stall and die
  bool stop = false;      // they end
  int running = 0;
  std::string failure;       // what must never happen, and happened
  uint64_t commits = 0;      // acknowledged
  uint64_t generations = 0;  // that some member had an assignment of

  struct Committed {
    int64_t acknowledged = -1;
    int64_t tried = -1;
  };
  struct Group {
    std::map<int, Committed> offsets;                      // by partition
    std::map<int32_t, std::map<int, int>> owners;          // generation -> partition -> member
    std::map<int, std::pair<int32_t, std::set<int>>> now;  // member -> its generation, partitions
  };
  std::map<std::string, Group> groups;

  // Whether `members` of the group are of one generation and have all partitions between them.
  bool Settled(const std::string& group, int members) const;
  // Who has what, a line a group.
  std::string Describe() const;
};

// Ends when world->stop is set. Members of a group have different numbers; `is_static` has one keep
// its place when it dies.
task::Task<void> RunGroupMember(sim::SimNode* node, std::shared_ptr<GroupsWorld> world,
                                std::string group, int number, bool is_static);

}  // namespace ringtail::kafka
