// A result as it is stored. README.md beside this file describes the format.
#pragma once

#include <string>

#include "perf/lab/result.h"

namespace ringtail::lab {

// Throws std::runtime_error where a figure is none (not finite, below 0): FromJson would refuse it.
// Figures without rounds are left out.
std::string ToJson(const LabResult& result);

// Believes nothing of `text`. Throws std::runtime_error with the place in it, what was expected and
// what came: "groups[2].paths[0].rounds.p50_us[4]: expected a number from 0 to 1e15, came null".
// Fields that this version does not know are skipped.
LabResult FromJson(const std::string& text);

}  // namespace ringtail::lab
