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
  std::vector<std::string> send_reasons;
  std::vector<std::string> write_reasons;
};

// The path with the least CPU for its bytes, at each size and over all counts of connections or
// files; the default keeps its place unless another is cheaper beyond the spread in all of them.
// Between two sizes with different paths the rule changes at their geometric mean. What is cold
// keeps its path.
Rule RuleOf(const LabResult& result);

struct Flag {
  std::string text;  // "--send_rule=..."; a shell wants it quoted
  std::string why;
};
// The broker's flags for what differs from its defaults.
std::vector<Flag> FlagsOf(const Rule& rule);

}  // namespace ringtail::lab
