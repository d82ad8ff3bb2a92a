// The broker's rule for a machine, from what the lab measured there: by which path to send a range
// of a size, and up to which size to write inline.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/io/send_rule.h"
#include "perf/lab/result.h"

namespace ringtail::lab {

struct Rule {
  io::SendRule send;
  int64_t inline_write_bytes_max = 0;
  // What each choice rests on, and what keeps its default because it was not measured, or because
  // nothing was better beyond the spread.
  std::vector<std::string> reasons;
};

// The path with the least CPU for its bytes, at each size and over all counts of connections or
// files; the default keeps its place unless another is cheaper beyond the spread in all of them.
// Between two sizes with different paths the rule changes at their geometric mean.
Rule RuleOf(const LabResult& result);

// The broker's flags for what differs from its defaults: "--send_rule=...".
std::vector<std::string> FlagsOf(const Rule& rule);

}  // namespace ringtail::lab
