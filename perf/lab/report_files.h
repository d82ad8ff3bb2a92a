// Reports and results as files.
#pragma once

#include <string>

#include "perf/lab/result.h"

namespace ringtail::lab {

// Throws std::system_error or FromJson's std::runtime_error; both name the file.
LabResult ReadResult(const std::string& file);

// Written beside and renamed: `file` holds what it held before, or all of `text`. Throws
// std::system_error.
void WriteWhole(const std::string& file, const std::string& text);

}  // namespace ringtail::lab
