// What `ringtail tune` prints. The JSON is described in README.md beside this file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/tune/apply.h"
#include "tools/tune/broker_flags.h"
#include "tools/tune/finding.h"
#include "tools/tune/machine.h"

namespace ringtail::tune {

struct Report {
  Machine machine;
  Profile profile = Profile::kBalanced;
  std::vector<Finding> findings;
  std::vector<BrokerFlag> flags;
  // After --apply or --revert; `findings` are then of what came out.
  std::optional<std::vector<Outcome>> outcomes;
};

Report MakeReport(Machine machine, Profile profile);

// What --apply writes, in this order.
std::vector<Change> ChangesOf(const Report& report);

// Whether there is anything to do: advice or a warning.
bool HasAdvice(const Report& report);

// `explain`: reasons and sources of everything, not only of what is to be done.
std::string ToText(const Report& report, bool explain);
std::string ToJson(const Report& report);

}  // namespace ringtail::tune
