// What a partition remembers of its producers, so that a retried batch is written once and in order
// (KIP-98): per producer id the epoch and the last five batches. Follows Kafka's
// ProducerStateManager and writes its snapshot files. One per partition, on its core.
//
//   Check   may this batch be appended? It changes nothing.
//   Update  it was appended at these offsets (call right after the append).
//   Recall  it was appended before what a snapshot tells of its producer.
//   CommitTo / TruncateTo  all below `end` is written for good / everything from `end` on is gone.
//
// Until CommitTo has passed a batch, what it replaced is kept, so that TruncateTo is exact.
//
// Producers are bounded, per partition and (ProducerBudget) per core: beyond that the ones that
// wrote longest ago are forgotten, as if they had expired. One that comes back is taken as it
// comes, whatever its sequence, as in Kafka; only a retry over that gap could be written twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "engine/base/types.h"
#include "engine/log/batch.h"
#include "engine/task/intrusive_list.h"

namespace ringtail::partition {

enum class ProducerCheck : uint8_t {
  kNew,         // append it
  kNoProducer,  // append it; the batch carries no producer id
  kDuplicate,   // already appended: answer with its offsets
  kOutOfOrder,  // OUT_OF_ORDER_SEQUENCE_NUMBER
  kFenced,      // INVALID_PRODUCER_EPOCH: an older epoch of this producer id
  kInvalid,     // INVALID_RECORD: sequence or epoch is negative
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

struct Producer;

// A producer's place among those of its partition, or of its core, by their last batch.
struct ProducerLink : task::ListNode {
  Producer* producer = nullptr;
};

// The producers of all partitions of one core; outlives them. A producer takes some 450 bytes.
class ProducerBudget {
 public:
  static constexpr size_t kProducersMax = 100'000;
  explicit ProducerBudget(size_t producers_max = kProducersMax) : producers_max_(producers_max) {}

  size_t count() const { return count_; }
  uint64_t evicted() const { return evicted_; }  // forgotten for others' sake

 private:
  friend class ProducerState;
  const size_t producers_max_;
  size_t count_ = 0;
  uint64_t evicted_ = 0;
  task::IntrusiveList<ProducerLink> by_use_;  // the longest unused first
};

struct ProducerStateOptions {
  int64_t expiration_ms = 24 * 3600 * 1000LL;  // producer.id.expiration.ms
  size_t producers_max = 50'000;
  ProducerBudget* budget = nullptr;  // null: only the partition's own bound
};

// Transactional and control batches, which need machinery that does not exist yet.
inline bool NeedsTransactions(const log::BatchHeader& batch) {
  return batch.transactional() || batch.control();
}

class ProducerState {
 public:
  explicit ProducerState(const ProducerStateOptions& options = {});
  ~ProducerState();

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

  // Whether it is what is known last of its producer.
  bool IsLast(const log::BatchHeader& batch) const;

  size_t producer_count() const { return producers_.size(); }

  // The bytes of a .snapshot file, which holds the last batch of each producer: of those that end
  // at or below `end`.
  std::string EncodeSnapshot(base::Offset end = base::Offset(INT64_MAX)) const;
  // Replaces everything. DataLoss, and nothing changed, where the bytes are damaged.
  absl::Status DecodeSnapshot(base::ByteView bytes);
  // Where the first batch that a snapshot leaves out begins, not before `from`; nullopt: it leaves
  // out none from there on.
  std::optional<base::Offset> HistoryStart(base::Offset from) const;
  // A batch from before the snapshot. Those of one producer come in order.
  void Recall(const log::BatchHeader& batch);

 private:
  using Map = absl::flat_hash_map<int64_t, std::unique_ptr<Producer>>;

  Producer& FindOrAdd(int64_t id);
  void Used(Producer& producer);
  void Erase(Map::iterator entry);
  // Forgets the longest unused of `list` that may be.
  static void EvictOne(task::IntrusiveList<ProducerLink>& list);
  void TrimBatches(Producer& producer) const;

  ProducerStateOptions options_;
  base::Offset committed_end_;
  std::unique_ptr<ProducerBudget> own_budget_;  // where none is given
  task::IntrusiveList<ProducerLink> by_use_;    // the longest unused first
  Map producers_;
};

}  // namespace ringtail::partition
