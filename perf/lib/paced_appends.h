// Durable appends of single records to a fresh broker of one core, at a steady rate: what the
// programs do that ask how much something else on that core slows them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "perf/lib/native.h"
#include "perf/lib/rounds.h"

namespace ringtail::perf {

struct PacedAppends {
  std::string ringtaild;                     // the program
  std::vector<std::string> flags;            // besides those that make it durable and of one core
  std::map<std::string, std::string> topic;  // its configs
  EncodedBatch record;
  double rate_per_s = 0;
  double seconds = 0;  // measured, behind one that is not
};

Figures RunPacedAppends(const PacedAppends& appends);

}  // namespace ringtail::perf
