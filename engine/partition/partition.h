// A partition that this broker leads: its log, its producers, its high watermark, and those who
// wait for it. Lives on the core that its slot names; everything here is called on that core.
//
//   Produce: validate -> assign offsets and queue (no suspension until here, so that requests
//   append in
//            the order in which they came) -> wait for the watermark that the acks ask for
//   Fetch:   check the offset -> plan, not past the high watermark
//
// Every wait can end with kNotLeader: Close() takes the role away.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/base/error.h"
#include "engine/base/types.h"
#include "engine/log/log.h"
#include "engine/partition/compaction.h"
#include "engine/partition/fetch_wait.h"
#include "engine/partition/producer_state.h"
#include "engine/partition/retention.h"
#include "engine/records/decompressor.h"
#include "engine/task/sync.h"

namespace ringtail::partition {

struct PartitionConfig {
  log::LogConfig log;
  int32_t batch_bytes_max = 1048588;  // max.message.bytes
  bool log_append_time = false;       // message.timestamp.type=LogAppendTime
  // message.timestamp.{before,after}.max.ms; not looked at with LogAppendTime.
  int64_t timestamp_before_max_ms = INT64_MAX;
  int64_t timestamp_after_max_ms = INT64_MAX;
  ProducerStateOptions producers;
  RetentionConfig retention;
  CompactionConfig compaction;
  // Of the core: what is produced to a compacted topic must have keys. Outlives the partition;
  // null: compressed batches are not looked into.
  records::Decompressor* decompressor = nullptr;
};

// What the compaction of a core's partitions goes by; all outlives the pass.
struct CompactionWork {
  size_t memory_bytes_max = 0;  // for the keys of a pass
  log::CompactionPace* pace = nullptr;
  CompactionCounters* counters = nullptr;
};

struct PartitionIdentity {
  log::TopicPartition name;
  base::Uuid topic_id;
  int32_t leader_epoch = 0;
};

enum class AckPolicy : uint8_t { kNone, kLeader, kAll };

struct ProduceResult {
  base::Error error = base::Error::kNone;
  base::Offset base_offset{-1};
  int64_t log_append_time_ms = -1;  // -1: the producer's timestamps stand
  base::Offset log_start{-1};
  // kInvalidTimestamp: what would have been right.
  int64_t timestamp_min_ms = INT64_MIN;
  int64_t timestamp_max_ms = INT64_MAX;
};

struct FetchResult {
  base::Error error = base::Error::kNone;
  base::Offset high_watermark{-1};
  base::Offset log_start{-1};
  base::Offset log_end{-1};
  log::ReadPlan plan;
  bool more = false;  // the plan ended at a limit, not at the high watermark
};

struct OffsetResult {
  base::Error error = base::Error::kNone;
  base::Offset offset{-1};
  int64_t timestamp_ms = -1;
  int32_t leader_epoch = -1;
};

struct PartitionCounters {
  uint64_t batches_in = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t produce_errors = 0;
};

class Partition : private log::LogObserver {
 public:
  // Opens the log in `directory`, or makes it. `env` outlives the partition. FailedPrecondition: it
  // is another topic's. Nothing may be asked of it before Begin().
  static task::Task<absl::StatusOr<std::unique_ptr<Partition>>> Open(
      log::LogEnvironment& env, std::string directory, PartitionIdentity identity,
      PartitionConfig config, log::OpenOptions options, log::RecoveryInfo* info);
  ~Partition() override;
  // Its leader epoch is durable when this ends; holds no descriptor meanwhile, so that all
  // partitions of a core may wait for the same frame.
  task::Task<absl::Status> Begin();

  const PartitionIdentity& identity() const { return identity_; }
  const log::Log& log() const { return *log_; }
  log::Log& log() { return *log_; }
  const PartitionCounters& counters() const { return counters_; }
  size_t producer_count() const { return producers_.producer_count(); }

  // What consumers may read ends here. One replica: all that is durable, by the log's durability.
  base::Offset high_watermark() const { return high_watermark_; }
  base::Offset log_start() const { return log_->log_start(); }
  base::Offset log_end() const { return log_->log_end(); }

  // Appends one or more whole batches, all or none; they are changed in place (offsets, epoch, with
  // LogAppendTime also the timestamp). Ends when nothing refers to them any more, so it has no
  // deadline: whoever has one answers by itself. kNone ends then too.
  task::Task<ProduceResult> Produce(base::MutableByteView batches, AckPolicy acks);

  // leader_epoch -1: not checked. An empty plan is no error.
  task::Task<FetchResult> Fetch(base::Offset from, int64_t bytes_max, bool at_least_one_batch,
                                int32_t leader_epoch);
  // Wakes `wait` when the high watermark moves or the role is lost.
  void Watch(FetchWait& wait) { wait.Watch(watchers_); }

  // The largest known epoch up to `leader_epoch` and where it ends; -1 where none is known.
  OffsetResult EndOfEpoch(int32_t leader_epoch) const;
  OffsetResult Earliest() const;
  OffsetResult Latest() const;
  task::Task<OffsetResult> AtTimestamp(int64_t timestamp_ms);
  task::Task<OffsetResult> AtMaxTimestamp();
  // kNone, or why a request that names this leader epoch is refused.
  base::Error CheckLeaderEpoch(int32_t leader_epoch) const;

  // In force for what comes from now on; another durability once what is queued is written,
  // retention at the next look. (Of the producers' options nothing changes.)
  void SetConfig(const PartitionConfig& config);
  // Whether Retain() may have something to do, now or later.
  bool wants_retention() const { return config_.retention.any() || log_->HasSegmentsBelowStart(); }
  // Removes what retention lets go. What it removed.
  task::Task<absl::StatusOr<RetentionPlan>> Retain();

  // A pass, if one is due. Whether there was one.
  task::Task<absl::StatusOr<bool>> Compact(const CompactionWork& work);
  const CompactionConfig& compaction() const { return config_.compaction; }
  // All below is compacted, as far as is known.
  base::Offset clean_end() const { return clean_end_; }
  void set_clean_end(base::Offset end) { clean_end_ = end; }

  // What the log was given ahead of its appends, if nothing is being written.
  task::Task<absl::Status> GiveBackPreallocated();

  // The log starts at `before` from now on, durably, wherever it was before that; -1: at the high
  // watermark. result->offset is where it starts then. kOffsetOutOfRange: past the high watermark.
  task::Task<OffsetResult> DeleteRecords(base::Offset before);

  // From now on every call answers kNotLeader and every wait ends so; returns when none is left and
  // the log is closed. `remove` deletes the directory as well.
  task::Task<absl::Status> Close(bool remove);
  // See Log::CloseUnsynced.
  task::Task<absl::Status> CloseUnsynced();

 private:
  Partition(PartitionIdentity identity, PartitionConfig config);

  base::Error Admit(base::MutableByteView batches, ProduceResult* result);
  base::Error CheckTimestamps(const log::BatchHeader& batch, ProduceResult* result) const;
  base::Error CheckProducer(base::ByteView batches, size_t batch_count, ProduceResult* result);
  bool HasKeys(const log::BatchView& batch);
  log::AppendResult Append(base::MutableByteView batches);
  void ExpireProducers();

  void OnDurable(base::Offset end) override;
  void OnRolledBack(base::Offset end, const absl::Status& why) override;
  std::string ProducerSnapshot(base::Offset end) override;
  std::optional<base::Offset> ProducerHistoryStart(base::Offset from) override;
  bool IsLastOfProducer(const log::BatchHeader& batch) override;
  void ResetProducers() override;
  absl::Status LoadProducerSnapshot(base::Offset end, base::ByteView snapshot) override;
  void RecallBatch(const log::BatchHeader& batch) override;
  void ReplayBatch(const log::BatchHeader& batch) override;
  void WakeWatchers();

  PartitionIdentity identity_;
  PartitionConfig config_;
  log::LogEnvironment* env_ = nullptr;
  ProducerState producers_;
  PartitionCounters counters_;
  base::Offset high_watermark_;
  uint64_t rollbacks_ = 0;
  base::Offset clean_end_;
  base::Nanos producers_expired_at_ = 0;
  task::IntrusiveList<FetchLink> watchers_;
  task::Gate users_;
  task::AsyncMutex trim_mutex_;  // the log's start moves one step after the other
  std::unique_ptr<log::Log> log_;
};

}  // namespace ringtail::partition
