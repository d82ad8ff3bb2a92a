// A data directory as its files say, read without a broker: the journal's state, and for each
// partition what recovery would be told of it. The decoders are the engine's own.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/log/journal/journal_format.h"
#include "engine/log/journal/journal_scan.h"
#include "engine/log/journal/recovery.h"
#include "engine/log/journal/recovery_chain.h"
#include "tools/offline/blocking_backend.h"

namespace ringtail::offline {

// flock on DIR/.lock, which a running broker holds. Shared for readers: leaves no trace.
class DirectoryLock {
 public:
  // FailedPrecondition names the process that has it.
  static absl::StatusOr<DirectoryLock> Take(const std::string& data_dir, bool exclusive);
  DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

// The journal of one core.
struct CoreState {
  uint32_t core = 0;
  std::string directory;
  absl::StatusOr<log::Checkpoint> slots[2] = {absl::UnknownError(""), absl::UnknownError("")};
  std::optional<uint32_t> newest;  // slot of the MANIFEST's run; none: nothing to start from
  std::vector<log::JournalFileFound> files;
  log::JournalScan scan;  // of a run that was not stopped cleanly; held files included
  absl::Status status;    // why the files could not be read

  const log::Checkpoint& checkpoint() const { return *slots[*newest]; }
};

// A directory of a partition, and what the journal says of it.
struct PartitionFacts {
  std::string name;       // "topic-0"
  std::string directory;  // empty: there is none
  uint32_t partition = 0;
  absl::StatusOr<base::Uuid> topic_id = absl::NotFoundError("");
  std::vector<std::string> same_id;  // other directories of the same partition
  const CoreState* core = nullptr;   // whose journal has something of it
  size_t cores = 0;                  // how many do; more than one is a conflict
  std::optional<log::CheckpointRecord> record;
  std::vector<const log::ScannedEntry*> entries;  // above the record, in order
};

struct DataDir {
  std::string path;
  absl::StatusOr<log::Manifest> manifest = absl::UnknownError("");  // NotFound: no journal yet
  std::vector<std::unique_ptr<CoreState>> cores;
  std::vector<std::string> refusals;       // why a broker would not start on it
  std::vector<PartitionFacts> partitions;  // by name

  bool has_journal() const { return manifest.ok(); }
  bool clean() const { return manifest.ok() && manifest->state == log::ManifestState::kClean; }
};

// NotFound: no such directory. What is damaged inside is told in the parts.
absl::StatusOr<DataDir> ReadDataDir(BlockingBackend& io, const std::string& path);

}  // namespace ringtail::offline
