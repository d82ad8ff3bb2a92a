// `ringtail import kafka-dir`: a new data directory with the topics of a stopped Kafka broker.
// Every batch comes over byte for byte, with its offset, and is checked as a start checks it after
// a crash; indexes, epochs and producer snapshots are made from the batches by the engine.
//
// All or nothing: the directory is made as TARGET.importing and gets its name when it is whole and
// synced. What a cut off run left there goes with the next one. The source is only read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "tools/offline/kafka_dir.h"

namespace ringtail::offline {

struct ImportedPartition {
  std::string name;  // "events-0"
  base::Offset log_start;
  base::Offset end;
  int64_t bytes = 0;
  size_t segments = 0;
  std::string note;  // what is not as one might think; empty: nothing
};

struct ImportTarget {
  std::string directory;  // is not there yet, or empty
  int32_t broker_id = 0;
};

// Why nothing could be imported there, before anything is written.
absl::Status CheckImportTarget(BlockingBackend& io, const KafkaDirs& dirs,
                               const ImportTarget& target);
// FailedPrecondition: a partition has what a broker without transactions cannot serve. DataLoss:
// damage, named by file and byte.
absl::Status ImportKafka(BlockingBackend& io, const KafkaDirs& dirs, const ImportTarget& target,
                         const std::function<void(const ImportedPartition&)>& done);

}  // namespace ringtail::offline
