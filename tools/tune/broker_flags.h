// What ringtaild would be started with on this machine. Only what differs from the broker's own
// defaults, which proto/config.proto holds, is proposed.
#pragma once

#include <string>
#include <vector>

#include "tools/tune/finding.h"
#include "tools/tune/machine.h"

namespace ringtail::tune {

struct BrokerFlag {
  std::string flag;  // "--cores=0-7"
  std::string why;
};

// The CPUs that cores would stand on, where there is no quota.
CpuList CoreCpus(const Machine& machine, Profile profile);

std::vector<BrokerFlag> ProposeFlags(const Machine& machine, Profile profile);

// "ringtaild --data_dir=... --cores=..."; quoted where a shell needs it.
std::string BrokerCommand(const Machine& machine, const std::vector<BrokerFlag>& flags);

}  // namespace ringtail::tune
