// Words that the reports share. What comes out of a stored result may hold anything: it goes
// through Printable before it reaches a terminal.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "perf/lab/result.h"

namespace ringtail::lab {

// Control characters and bytes that are no UTF-8 become U+FFFD; a line break and a tab a space.
std::string Printable(absl::string_view text);

// "64 KiB, 1 file"; "" for a group without parameters.
std::string ParametersName(const std::vector<Parameter>& parameters);
std::string GroupName(const GroupResult& group);  // "write 64 KiB, 1 file"

// "in the page cache"; "" where nothing is stored.
const char* PromiseWords(Promise promise);

std::string DateText(int64_t ms);                  // "2026-02-01 12:00 UTC"
std::string DurationText(double seconds);          // "42 s", "3 min 34 s"
std::string VersionText(const LabResult& result);  // "ringtail 0.9.0"

// "1 group", "2 groups".
std::string Count(size_t count, absl::string_view one);
// The median of a list that is not empty.
double MedianOf(std::vector<double> values);

}  // namespace ringtail::lab
