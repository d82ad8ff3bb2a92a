// The log directories of a stopped Kafka broker (4.x, KRaft) as their files say: which topics they
// hold, and what of them can be taken over. Reads only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "tools/offline/blocking_backend.h"

namespace ringtail::offline {

struct KafkaPartition {
  std::string directory;
  std::map<base::Offset, int64_t> segments;  // base -> bytes; not empty
  base::Offset log_start;

  int64_t bytes() const;
};

struct KafkaTopic {
  std::string name;
  base::Uuid id;
  bool id_is_new = false;  // no partition.metadata says it
  std::map<int32_t, KafkaPartition> partitions;
};

struct KafkaSelection {
  std::vector<std::string> topics;  // these alone; empty: all but Kafka's own
  std::vector<std::string> except;
};

struct KafkaDirs {
  std::vector<KafkaTopic> topics;     // by name
  std::vector<std::string> skipped;   // directories and topics that stay behind, and why
  std::vector<std::string> problems;  // why this cannot be imported; each says what was expected

  int64_t bytes() const;
  size_t partition_count() const;
};

// Of one broker's log.dirs together. Errors: a directory cannot be read.
absl::StatusOr<KafkaDirs> ReadKafkaDirs(BlockingBackend& io, const std::vector<std::string>& paths,
                                        const KafkaSelection& selection);

}  // namespace ringtail::offline
