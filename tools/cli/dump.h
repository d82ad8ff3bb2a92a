// Log files as text: segments (.log), offset indexes (.index), time indexes (.timeindex), in the
// layouts of Kafka (engine/log/FORMAT.md).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"

namespace ringtail::cli {

struct DumpOptions {
  bool records = false;  // each record, not only each batch
  bool json = false;     // an object a line
};

struct DumpResult {
  uint64_t batches = 0;  // or index entries
  uint64_t records = 0;
  uint64_t bytes = 0;  // that hold them
  uint64_t zeros = 0;  // after them: preallocated and not yet written
  // What is wrong with the file; empty if nothing is.
  std::string damage;
};

// Called with each line, without its line end.
using DumpLine = std::function<void(absl::string_view)>;

enum class DumpKind { kSegment, kOffsetIndex, kTimeIndex };

// From the name: "00000000000000000042.log". kInvalidArgument for others.
absl::StatusOr<DumpKind> KindOf(absl::string_view path);
// The segment's base offset, from the name. kInvalidArgument if it isn't twenty digits.
absl::StatusOr<int64_t> BaseOffsetOf(absl::string_view path);

DumpResult DumpSegment(base::ByteView file, const DumpOptions& options, const DumpLine& line);
DumpResult DumpIndex(base::ByteView file, DumpKind kind, int64_t base_offset,
                     const DumpOptions& options, const DumpLine& line);

}  // namespace ringtail::cli
