// What a partition remembers of its producers, so that a retried batch is written once and in order
// (KIP-98): per producer id the epoch and the last five batches. Follows Kafka's
// ProducerStateManager and writes its snapshot files. One per partition, on its core.
//
//   Check   may this batch be appended? It changes nothing.
//   Update  it was appended at these offsets (call right after the append).
//   CommitTo / TruncateTo  all below `end` is written for good / everything from `end` on is gone.
//
// Until CommitTo has passed a batch, what it replaced is kept, so that TruncateTo is exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "engine/base/types.h"
#include "engine/log/batch.h"

namespace ringtail::partition {

enum class ProducerCheck : uint8_t {
  kNew,         // append it
  kNoProducer,  // append it; the batch carries no producer id
  kDuplicate,   // already appended: answer with its offsets
  kOutOfOrder,  // OUT_OF_ORDER_SEQUENCE_NUMBER
  kFenced,      // INVALID_PRODUCER_EPOCH: an older epoch of this producer id
  kInvalid,     // INVALID_RECORD: sequence or epoch is negative
  kTooMany,     // the bound on producers is reached: THROTTLING_QUOTA_EXCEEDED, retriable
};

struct ProducerVerdict {
  ProducerCheck check = ProducerCheck::kNew;
  // kDuplicate: where the batch lies.
  base::Offset base_offset;
  base::Offset end_offset;
  int64_t timestamp_ms = -1;
  // kOutOfOrder: what would have been right.
  int32_t expected_sequence = -1;
};

struct ProducerStateOptions {
  int64_t expiration_ms = 24 * 3600 * 1000LL;  // producer.id.expiration.ms
  size_t producers_max = 1 << 20;
};

// Transactional and control batches, which need machinery that does not exist yet.
inline bool NeedsTransactions(const log::BatchHeader& batch) {
  return batch.transactional() || batch.control();
}

class ProducerState {
 public:
  explicit ProducerState(const ProducerStateOptions& options = {}) : options_(options) {}

  // `batch` comes from a producer; its offsets are not assigned yet.
  ProducerVerdict Check(const log::BatchHeader& batch) const;
  // `batch` has its offsets. Batches without a producer id are ignored. A request with several
  // batches of one producer is checked and updated batch by batch.
  void Update(const log::BatchHeader& batch);
  // `end` = the log's written_end.
  void CommitTo(base::Offset end);
  void TruncateTo(base::Offset end);
  void Clear();
  // Forgets producers whose last batch is older than the expiration. Returns how many.
  size_t Expire(int64_t now_ms);

  size_t producer_count() const { return producers_.size(); }

  // The bytes of a .snapshot file.
  std::string EncodeSnapshot() const;
  // Replaces everything. DataLoss, and nothing changed, where the bytes are damaged.
  absl::Status DecodeSnapshot(base::ByteView bytes);

 private:
  struct Batch {
    int32_t first_sequence = -1;
    int32_t last_sequence = -1;
    base::Offset base_offset;
    base::Offset last_offset;
    int64_t timestamp_ms = -1;
    int16_t epoch = -1;
  };
  // Oldest first; only those of the last batch's epoch answer for duplicates.
  struct Producer {
    std::vector<Batch> batches;
    int32_t coordinator_epoch = -1;
    int64_t transaction_first_offset = -1;
  };
  static void TrimBatches(Producer& producer, base::Offset committed_end);

  ProducerStateOptions options_;
  base::Offset committed_end_;
  absl::flat_hash_map<int64_t, Producer> producers_;
};

}  // namespace ringtail::partition
