// Consumers in groups as tasks of a simulation, of the classic protocol and of KIP-848's: they
// join, read from what is committed, commit, heartbeat, leave, stall and die, and go on whatever
// happens to their connections and to the broker. GroupsWorld knows what must hold.
#pragma once

#include <memory>
#include <string>

#include "tests/server/kafka/groups_world.h"
#include "tests/sim/node.h"

namespace ringtail::kafka {

enum class Speaks {
  kClassic,
  kConsumer,
  kBoth,  // one after the other, for as long as members misbehave
};

struct MemberSpec {
  std::string group;
  int number = 0;               // another one for each member of a group
  bool is_static = false;       // keeps its place when it dies
  bool is_cooperative = false;  // in the classic protocol, and so are the others of its group
};

// Ends when world->stop is set.
task::Task<void> RunMember(sim::SimNode* node, std::shared_ptr<GroupsWorld> world, MemberSpec spec,
                           Speaks speaks);

}  // namespace ringtail::kafka
