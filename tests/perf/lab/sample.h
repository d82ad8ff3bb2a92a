// A small made-up result that has some of everything.
#pragma once

#include "perf/lab/result.h"

namespace ringtail::lab {

LabResult Sample();

// The path of that name in the group of that name ("write 64 KiB, 1 file"); ends the test where
// there is none.
PathResult& PathOf(LabResult& result, const std::string& group, const std::string& path);

}  // namespace ringtail::lab
