// A result as a page of its own.
#pragma once

#include <string>

#include "perf/lab/result.h"

namespace ringtail::lab {

// One file of HTML that refers to nothing else, and may not: its policy forbids it. Readable
// without scripts, which only sort and filter.
std::string HtmlReport(const LabResult& result);

}  // namespace ringtail::lab
