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
      : log_(log), options_(options), info_(info) {
    if (!options_.recovered.has_value()) return;
    options_.recovery_point = options_.recovered->rebuild_from;
    options_.log_start = options_.recovered->log_start;
  }

  task::Task<absl::Status> Run();

 private:
  absl::Status ListFiles();
  task::Task<absl::Status> FinishSwaps();
  // Behind the batches from `position` to `bytes`, by their headers; `end` where there is none.
  task::Task<absl::StatusOr<base::Offset>> EndFrom(const FilePin& pin, int64_t position,
                                                   int64_t bytes, base::Offset end);
  task::Task<absl::Status> RemoveDebris();
  task::Task<absl::Status> LoadSegments();
  // Takes sizes and indexes as they are. False: they do not fit each other.
  // Opens what recovery of the journals proved: nothing is cut, what does not fit is damage.
  task::Task<absl::Status> LoadProven();
  // As far as headers follow each other, up to `end_position`, without CRCs; makes the indexes
  // anew.
  task::Task<absl::Status> Walk(Segment& segment, int64_t end_position, base::Offset* end);
  absl::Status CheckProvenEnd(base::Offset end) const;
  bool IsProven() const {
    return options_.recovered.has_value() &&
           (options_.recovered->proven || !options_.recovered->closed_reason.empty());
  }
  bool ReadOnly() const {
    return options_.recovered.has_value() && !options_.recovered->closed_reason.empty();
  }
  task::Task<absl::StatusOr<bool>> Trust(Segment& segment, bool last, base::Offset* end);
  // DataLoss where a segment does not begin where the one before ends, as if others were missing.
  absl::Status CheckFollows(base::Offset end, base::Offset base) const;
  // Of a segment that is trusted, by its last index entry and the headers behind it.
  task::Task<absl::StatusOr<base::Offset>> EndOf(Segment& segment);
  task::Task<absl::Status> Scan(Segment& segment, base::Offset* end, bool* cut);
  // Makes what the page cache has from there on dirty once more.
  task::Task<absl::Status> WriteAgain(const FilePin& pin, int64_t from, int64_t to);
  task::Task<absl::Status> LoadEpochs();
  task::Task<absl::Status> SetStart();

  Log& log_;
  OpenOptions options_;
  RecoveryInfo* info_;
  std::set<base::Offset> bases_;
  std::set<std::string> names_;
  std::vector<base::Offset> swaps_;  // compacted segments that are not in their place yet
  std::vector<std::string> debris_;
  bool scan_all_ = false;  // the epochs must be read from the batches
  bool changed_ = false;   // something was cut or removed
};

}  // namespace ringtail::log
