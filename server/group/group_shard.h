// The groups, classic and consumer groups, of one partition of __consumer_offsets, on the core that
// leads it. What is recorded there and what is known here agree at any time: a record is appended
// first, answered and taken over when it is durable. So an append that fails leaves nothing to
// undo, and what a consumer is told was committed stays so; Kafka, which applies at once, rolls
// back instead.
//
// At a start the partition is read from its beginning; until that is done all requests are answered
// kCoordinatorLoading. Gaps in the offsets and batches without records are fine.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/core/core.h"
#include "engine/log/batch.h"
#include "engine/log/batch_records.h"
#include "engine/partition/partition_map.h"
#include "engine/records/record_batch_builder.h"
#include "engine/task/scheduler.h"
#include "engine/task/task.h"
#include "server/broker.h"
#include "server/group/consumer_group.h"
#include "server/group/group.h"
#include "server/group/group_types.h"
#include "server/group/offset_table.h"

namespace ringtail::group {

struct CoordinatorCounters {
  GroupCounters groups;
  uint64_t commits = 0;          // offsets
  uint64_t commit_failures = 0;  // requests whose records were not appended
  uint64_t offsets_expired = 0;
};

// What the shards of a core share; outlives them.
struct ShardEnvironment {
  core::Core& core;
  partition::PartitionMap& partitions;
  const server::Broker& broker;  // for its image: what topics there are
  const GroupOptions& options;
  Budget& budget;
  CoordinatorCounters& counters;
  size_t& group_count;
  void (*on_first_group)(void* owner);  // the core has a group now
  void* owner;
};

// What lists show of a group.
struct GroupSummary {
  absl::string_view type;  // kClassicType or kConsumerType
  std::string protocol_type;
  absl::string_view state;
  int32_t generation = 0;  // of a consumer group its epoch
  size_t members = 0;
};

class GroupShard {
 public:
  GroupShard(const ShardEnvironment& environment, partition::PartitionId id);
  ~GroupShard();
  GroupShard(const GroupShard&) = delete;
  GroupShard& operator=(const GroupShard&) = delete;

  // Reads the partition; once.
  void Load();
  // The partition is no longer here: all that wait are answered, all that come are refused.
  void Close();
  const partition::PartitionId& id() const { return id_; }
  // kNone: it takes requests; else why not.
  base::Error ready() const { return ready_; }
  size_t group_count() const { return entries_.size(); }
  size_t member_count() const;
  size_t consumer_group_count() const;  // of KIP-848's protocol

  // --- Requests, all of a group of this partition, while ready() is kNone.
  void Join(const JoinRequest& request, JoinPending* pending);
  void Sync(const SyncRequest& request, SyncPending* pending);
  base::Error Heartbeat(const HeartbeatRequest& request);
  LeaveReply Leave(const LeaveRequest& request);
  // Sets the errors of those that were not committed.
  task::Task<void> Commit(const CommitRequest& request, std::span<OffsetToCommit> offsets);
  FetchOffsetsReply FetchOffsets(const FetchOffsetsRequest& request) const;
  DescribedGroup Describe(absl::string_view group_id) const;
  void HeartbeatConsumer(const ConsumerHeartbeat& request, ConsumerPending* pending);
  DescribedConsumerGroup DescribeConsumer(absl::string_view group_id) const;
  task::Task<base::Error> DeleteGroup(std::string group_id);
  task::Task<base::Error> DeleteOffsets(std::string group_id, std::span<OffsetToDelete> offsets);
  // What has expired, and groups of which nothing is left.
  task::Task<void> Expire();
  // Offsets of a topic that is gone.
  task::Task<void> ForgetTopic(std::string topic);
  // In the order of their ids.
  std::vector<std::string> GroupIds() const;
  // Of one of these.
  GroupSummary Summarize(absl::string_view group_id) const;
  const OffsetTable* FindOffsets(absl::string_view group_id) const;

 private:
  struct Entry;
  struct Loading;
  using Tombstones = std::vector<OffsetKey>;
  struct Record {
    std::string key;
    std::optional<std::string> value;  // nullopt: a tombstone
  };
  using Records = std::vector<Record>;

  Entry* Find(absl::string_view group_id) const;
  // nullptr: there are as many groups as a core may have.
  Entry* FindOrMake(absl::string_view group_id, bool whatever_the_limit);
  Instant Now() const;
  Moment NowWithTopics() const;
  // To be called after everything that was done to a group: records, whether it is a classic group
  // again, timer, and whether it goes.
  void Settle(Entry* entry);
  // May come back settled; nullptr: gone.
  Entry* StoreClassic(Entry* entry);
  Entry* StoreConsumer(Entry* entry);
  // The same where nothing was done that sets an earlier deadline.
  void EraseIfUnused(Entry* entry);
  void Erase(Entry* entry);
  static void OnTimer(Entry* entry);
  task::Task<void> TickDue();

  // Ends when the records are durable (*base is the first one's offset then) or were not appended.
  task::Task<base::Error> Append(records::RecordBatchBuilder batch, base::Offset* base);
  task::Task<void> AppendStore(std::string group_id, uint64_t serial, Group::Store store);
  task::Task<void> AppendConsumerStore(std::string group_id, uint64_t serial,
                                       ConsumerGroup::Store store);
  // With the tombstones that the group still owes, and these are then paid.
  task::Task<base::Error> AppendRecords(std::string group_id, uint64_t serial, Records records);

  // --- group_shard_conversion.cc
  void Upgrade(Entry* entry, const ConsumerHeartbeat& request, ConsumerPending* pending);
  // False: it stays a consumer group.
  bool MaybeDowngrade(Entry* entry);
  // It has members of the classic protocol alone, or none.
  void Downgrade(Entry* entry);
  task::Task<base::Error> AppendTombstones(std::string group_id, Tombstones offsets, bool group);

  task::Task<void> LoadTask();
  task::Task<absl::Status> ReadAll(Loading* loading);
  absl::Status Replay(const log::BatchView& batch, Loading* loading);
  absl::Status ReplayRecord(base::Offset at, const log::RecordView& record, Loading* loading);
  void FinishLoading(Loading* loading);

  ShardEnvironment env_;
  const partition::PartitionId id_;
  base::Error ready_ = base::Error::kCoordinatorLoading;
  absl::flat_hash_map<std::string, std::unique_ptr<Entry>> entries_;
  uint64_t next_serial_ = 0;
  std::vector<std::string> due_;  // groups whose timer has fired
  bool ticking_ = false;
};

}  // namespace ringtail::group
