// Names of a segment's files: the first offset in 20 digits, and what kind of file it is.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/types.h"

namespace ringtail::log {

inline constexpr char kLogSuffix[] = ".log";
inline constexpr char kIndexSuffix[] = ".index";
inline constexpr char kTimeIndexSuffix[] = ".timeindex";
inline constexpr char kSnapshotSuffix[] = ".snapshot";
// What compaction makes of one segment or of several that follow each other, as Kafka names it:
// being written; whole, and to take their place, whatever comes between (FORMAT.md).
inline constexpr char kCleanedSuffix[] = ".log.cleaned";
inline constexpr char kSwapSuffix[] = ".log.swap";

// "00000000000000000042" + suffix.
std::string SegmentFileName(base::Offset base, const char* suffix);
// "00000000000000000042.log", ".log" -> 42.
bool ParseSegmentFileName(absl::string_view name, absl::string_view suffix, base::Offset* base);

}  // namespace ringtail::log
