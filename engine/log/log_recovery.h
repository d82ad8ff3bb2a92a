// Opening a log: from the names in its directory to a Log that can be used. Files that nothing
// vouches for are scanned, cut at the first damage, and indexed anew; nothing is kept behind a cut.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "engine/log/log.h"

namespace ringtail::log {

class Log::Recovery {
 public:
  Recovery(Log& log, const OpenOptions& options, RecoveryInfo* info)
      : log_(log), options_(options), info_(info) {}

  task::Task<absl::Status> Run();

 private:
  absl::Status ListFiles();
  task::Task<absl::Status> RemoveDebris();
  task::Task<absl::Status> LoadSegments();
  // Takes sizes and indexes as they are. False: they do not fit each other.
  task::Task<absl::StatusOr<bool>> Trust(Segment& segment, bool last, base::Offset* end);
  task::Task<absl::Status> Scan(Segment& segment, base::Offset* end, bool* cut);
  task::Task<absl::Status> LoadEpochs();
  task::Task<absl::Status> SetStart();

  Log& log_;
  OpenOptions options_;
  RecoveryInfo* info_;
  std::set<base::Offset> bases_;
  std::set<std::string> names_;
  std::vector<std::string> debris_;
  bool scan_all_ = false;  // the epochs must be read from the batches
  bool changed_ = false;   // something was cut or removed
};

}  // namespace ringtail::log
