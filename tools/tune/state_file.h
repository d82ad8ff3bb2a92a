// The record of what --apply has changed, so that --revert can put it back. It is on the disk,
// whole, before the first change is made.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ringtail::tune {

// A file's value before the first change.
struct Former {
  std::string path;
  std::string value;
};

struct Record {
  Former former;
  // All that was written, or was about to be: where the power fails between a record and its write,
  // the file holds the one before.
  std::vector<std::string> applied;
  std::vector<Former> also;  // as in Change
};

struct RevertState {
  std::string boot;  // kernel.random.boot_id of the run that the values are of; empty: unknown
  std::vector<Record> records;
};

// Held from reading a record to the last change: of two programs that change a machine at once, one
// waits. Makes a missing directory of `file`, for this user alone.
class StateLock {
 public:
  static absl::StatusOr<StateLock> Take(const std::string& file);
  StateLock(StateLock&& other) noexcept;
  ~StateLock();

 private:
  explicit StateLock(int fd) : fd_(fd) {}
  int fd_;
};

// Nothing where there is no such file. FailedPrecondition: another user wrote it; DataLoss: it is
// no such record, or names a file that no rule changes.
absl::StatusOr<std::optional<RevertState>> ReadState(const std::string& file);

// Replaces the file whole: written beside it, synced, renamed, and the directory synced.
absl::Status WriteState(const std::string& file, const RevertState& state);

absl::Status RemoveState(const std::string& file);

}  // namespace ringtail::tune
