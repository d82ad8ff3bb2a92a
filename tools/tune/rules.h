// The advice: facts and a profile in, findings out. No rule reads a file.
#pragma once

#include <vector>

#include "tools/tune/finding.h"
#include "tools/tune/machine.h"

namespace ringtail::tune {

// All findings, in the order in which they are shown: group by group.
std::vector<Finding> Judge(const Machine& machine, Profile profile);

// Whether --apply may write to `path`, and --revert believe a record that names it.
bool IsChangeable(const std::string& path);

}  // namespace ringtail::tune
