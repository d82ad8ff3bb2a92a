// Consumers in groups as tasks of a simulation, of the classic protocol and of KIP-848's: they
// join, read from what is committed, commit, heartbeat, leave, stall and die, and go on whatever
// happens to their connections and to the broker. GroupsWorld knows what must hold.
#pragma once

#include <memory>
#include <string>

#include "tests/server/kafka/groups_world.h"
#include "tests/sim/node.h"

namespace ringtail::kafka {

// Both end when world->stop is set. Members of a group have different numbers; `is_static` has one
// keep its place when it dies.
task::Task<void> RunClassicMember(sim::SimNode* node, std::shared_ptr<GroupsWorld> world,
                                  std::string group, int number, bool is_static);
task::Task<void> RunConsumerMember(sim::SimNode* node, std::shared_ptr<GroupsWorld> world,
                                   std::string group, int number, bool is_static);

}  // namespace ringtail::kafka
