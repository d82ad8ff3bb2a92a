// `ringtail log journal`: MANIFEST, checkpoints, files and frames of the journals, line by line.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tools/offline/data_dir.h"

namespace ringtail::offline {

struct JournalDumpOptions {
  std::optional<uint32_t> core;  // that one alone
  bool entries = false;          // each entry of each frame, and each record of a checkpoint
  bool json = false;             // an object a line
};

// DataLoss where something that counts is damaged; names the first such thing.
absl::Status DumpJournal(const DataDir& dir, const JournalDumpOptions& options,
                         const std::function<void(absl::string_view)>& line);

}  // namespace ringtail::offline
