// A result for a terminal.
#pragma once

#include <string>

#include "perf/lab/result.h"

namespace ringtail::lab {

inline constexpr size_t kTextWidthMin = 48;

// No line is longer than `width` (kTextWidthMin where it is less). What does not fit is left out,
// details first, and said; the names of paths are cut last.
std::string TextReport(const LabResult& result, size_t width);

}  // namespace ringtail::lab
