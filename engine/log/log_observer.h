// What a log tells its partition, and asks of it. Called on the owner core; implementations must
// not call back into the log except where said, and must not suspend.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "engine/base/bytes.h"
#include "engine/base/types.h"
#include "engine/log/batch.h"

namespace ringtail::log {

class LogObserver {
 public:
  virtual ~LogObserver() = default;

  // All bytes of offsets below `end` are in their file's page cache. Reads may go up to it.
  virtual void OnWritten(base::Offset end) {}
  // All below `end` is as durable as the log's mode asks: may be acknowledged and seen.
  virtual void OnDurable(base::Offset end) {}
  // A write failed: the log ends at `end` again, and what was appended past it has failed.
  virtual void OnRolledBack(base::Offset end, const absl::Status& why) {}
  // A truncation to `end` waits for the pins of plans that reach past it: end those readers.
  virtual void OnRevoke(base::Offset end) {}

  // Producer state, which the partition keeps and the log stores beside its segments.
  // As of `end`, in the bytes of a .snapshot file; empty: none is kept. Asked when a segment is
  // rolled (before the new one's first batch is appended) and at Close().
  virtual std::string ProducerSnapshot(base::Offset end) { return ""; }
  // Where the first batch begins, not before `from`, that is known of a producer besides its last
  // one, which is all that a snapshot holds; nullopt: there is none.
  virtual std::optional<base::Offset> ProducerHistoryStart(base::Offset from) {
    return std::nullopt;
  }
  // Whether it is the last batch of its producer, so that its header must outlive its records.
  virtual bool IsLastOfProducer(const BatchHeader& batch) { return false; }
  // False spares recovery the reading: none of the calls below are made.
  virtual bool KeepsProducers() const { return true; }
  // During Open() and after a truncation: forget all producers, then take a snapshot (not ok: it is
  // damaged, an older one is tried after another Reset), recall batches shortly before it, then
  // take every batch after it, both in order.
  virtual void ResetProducers() {}
  virtual absl::Status LoadProducerSnapshot(base::Offset end, base::ByteView snapshot) {
    return absl::OkStatus();
  }
  virtual void RecallBatch(const BatchHeader& batch) {}
  virtual void ReplayBatch(const BatchHeader& batch) {}
};

}  // namespace ringtail::log
