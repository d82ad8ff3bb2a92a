// What the broker's flags do to it, end to end: one flag at a time is swept over its values under a
// load of produce or fetch requests, each value by a fresh broker, or by one that runs and has its
// settings changed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "perf/lab/cell.h"
#include "perf/lab/running_broker.h"

namespace ringtail::lab {

struct BrokerSelection {
  std::string program;             // ringtaild
  std::vector<std::string> flags;  // of every broker, before the one that is swept
  std::string directory;           // for their data; each broker removes its own
  bool quick = false;              // fewer values, of the same flags
  int64_t space_bytes = 0;         // what a broker's data may take
  // Instead of fresh ones; outlives the groups. Then only what may change while it runs is swept.
  const RunningBroker* running = nullptr;
};

// What of a running broker is swept.
std::vector<std::string> SweptSettings();

// The family of each is "broker"; its paths are the values.
std::vector<Group> BrokerGroups(const BrokerSelection& selection);

}  // namespace ringtail::lab
