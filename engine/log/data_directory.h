// The files of a data directory that belong to no partition, in Kafka's formats: who the directory
// is, whether it was closed cleanly, and the checkpoints, which name offsets by topic and
// partition.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/types.h"
#include "engine/io/backend.h"
#include "engine/task/task.h"

namespace ringtail::log {

inline constexpr char kMetaPropertiesFile[] = "meta.properties";
inline constexpr char kCleanShutdownFile[] = ".kafka_cleanshutdown";
inline constexpr char kRecoveryPointFile[] = "recovery-point-offset-checkpoint";
inline constexpr char kLogStartFile[] = "log-start-offset-checkpoint";
inline constexpr char kCleanEndFile[] = "cleaner-offset-checkpoint";
inline constexpr char kReplicationFile[] = "replication-offset-checkpoint";

struct MetaProperties {
  std::string cluster_id;
  base::Uuid directory_id;
  int32_t node_id = -1;

  std::string Encode() const;
  static absl::StatusOr<MetaProperties> Decode(absl::string_view text);
};

// (topic, partition) -> offset.
using OffsetCheckpoint = std::map<std::pair<std::string, int32_t>, base::Offset>;

std::string EncodeOffsetCheckpoint(const OffsetCheckpoint& offsets);
absl::StatusOr<OffsetCheckpoint> DecodeOffsetCheckpoint(absl::string_view text);

// NotFound where the file is missing; DataLoss where it is not what Kafka or this program writes.
task::Task<absl::StatusOr<MetaProperties>> ReadMetaProperties(io::Backend& io,
                                                              std::string data_dir);
task::Task<absl::Status> WriteMetaProperties(io::Backend& io, std::string data_dir,
                                             MetaProperties properties);
// A missing file is an empty checkpoint. `file` is one of the names above.
task::Task<absl::StatusOr<OffsetCheckpoint>> ReadOffsetCheckpoint(io::Backend& io,
                                                                  std::string data_dir,
                                                                  std::string file);
task::Task<absl::Status> WriteOffsetCheckpoint(io::Backend& io, std::string data_dir,
                                               std::string file, OffsetCheckpoint offsets);

// Whether the last user of the directory closed all logs; takes the marker away, durably, so that a
// crash from now on is seen.
task::Task<absl::StatusOr<bool>> TakeCleanShutdown(io::Backend& io, std::string data_dir);
// Last act of a clean stop, after every log is closed and the checkpoints are written.
task::Task<absl::Status> MarkCleanShutdown(io::Backend& io, std::string data_dir);

// partition.metadata of one partition's directory.
inline constexpr char kPartitionMetadataFile[] = "partition.metadata";
inline constexpr char kEpochCheckpointFile[] = "leader-epoch-checkpoint";
std::string EncodePartitionMetadata(const base::Uuid& topic_id);
absl::StatusOr<base::Uuid> DecodePartitionMetadata(absl::string_view text);
task::Task<absl::StatusOr<base::Uuid>> ReadPartitionMetadata(io::Backend& io,
                                                             std::string directory);

struct NewDirectory {
  std::string path;
  base::Uuid topic_id;
};
// Makes directories with their partition.metadata and an empty first segment, durably, by two calls
// of `sync`, which syncs all of the file system: what the files hold is on the device before it has
// their names, so that no power cut leaves one that names nobody. After an error any of them may be
// there, synced or not.
task::Task<absl::Status> MakePartitionDirectories(io::Backend& io,
                                                  std::vector<NewDirectory> directories,
                                                  std::function<task::Task<absl::Status>()> sync);

struct PartitionDirectory {
  std::string topic;
  int32_t partition = 0;
};
// "topic-3"; false for other names ("topic-3.<id>-delete" among them).
bool ParsePartitionDirectory(absl::string_view name, PartitionDirectory* out);

}  // namespace ringtail::log
