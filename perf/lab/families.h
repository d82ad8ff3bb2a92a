// The families of the lab: each lists its groups.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "perf/lab/cell.h"

namespace ringtail::lab {

// The engine's paths that a rule chooses among.
inline constexpr const char* kAppendAuto = "append auto";
inline constexpr const char* kAppendInline = "append inline";
inline constexpr const char* kAppendRing = "append ring";
inline std::string SenderName(const std::string& path) { return "sender " + path; }

struct Selection {
  std::string directory;            // for files; what is made there is removed by the cell's run
  bool quick = false;               // fewer sizes and counts, of the same kind
  std::vector<int64_t> size_bytes;  // instead of the family's own; where sizes mean something to it
  int64_t space_bytes = 0;          // what files of one run may take together
};

std::vector<Group> WriteGroups(const Selection& selection);
std::vector<Group> SendGroups(const Selection& selection);
std::vector<Group> ReceiveGroups(const Selection& selection);
std::vector<Group> WakeGroups(const Selection& selection);
std::vector<Group> RingGroups(const Selection& selection);

}  // namespace ringtail::lab
