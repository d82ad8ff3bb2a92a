// What the front ends of one core ask: produce, fetch, offsets, topics. The only layer that maps a
// partition to its core: a request is split by owner core, runs there, and its results are filled
// in here. One Broker per core; a peer's is reached by core::CallOn alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "engine/base/error.h"
#include "engine/base/histogram.h"
#include "engine/core/core.h"
#include "engine/log/data_directory.h"
#include "engine/log/journal/core_journal.h"
#include "engine/log/journal/recovery.h"
#include "engine/log/log_environment.h"
#include "engine/partition/partition_map.h"
#include "server/cluster/catalog.h"
#include "server/request_context.h"
#include "server/spares.h"

namespace ringtail::group {
class Coordinator;
}

namespace ringtail::server {

struct ProduceItem {
  partition::PartitionId id;
  base::MutableByteView batches;  // stay in place until Produce has returned
  partition::ProduceResult result;
};

struct FetchItem {
  partition::PartitionId id;
  base::Offset offset;
  int64_t bytes_max = 0;
  int32_t leader_epoch = -1;  // -1: not checked
  partition::FetchResult result;
};

struct FetchLimits {
  int64_t bytes_min = 1;
  int64_t bytes_max = 50 << 20;
  base::Nanos wait_until = 0;  // answer by then with what there is
};

struct DeleteRecordsItem {
  partition::PartitionId id;
  base::Offset before;             // the first offset to stay; -1: the high watermark
  partition::OffsetResult result;  // where the log starts now
};

enum class OffsetPoint : uint8_t { kEarliest, kLatest, kTimestamp, kMaxTimestamp };

struct OffsetItem {
  partition::PartitionId id;
  OffsetPoint point = OffsetPoint::kLatest;
  int64_t timestamp_ms = 0;
  int32_t leader_epoch = -1;
  partition::OffsetResult result;
};

// Where a leader epoch ends (KIP-101, KIP-279).
struct EpochEndItem {
  partition::PartitionId id;
  int32_t current_leader_epoch = -1;  // -1: not checked
  int32_t leader_epoch = -1;          // whose end is asked for
  partition::OffsetResult result;     // the largest known epoch up to it and its end; or -1, -1
};

struct PartitionSize {
  partition::PartitionId id;
  int64_t bytes = 0;
};

// A partition as the admin pages and DescribeTopic show it.
struct PartitionStatus {
  partition::PartitionId id;
  std::string topic;
  uint32_t core = 0;
  std::string offline_reason;   // empty: it is served
  std::string refuses_appends;  // why, though it is served; empty: it takes them
  base::Offset log_start, high_watermark, log_end;
  base::Offset recovery_point;
  base::Offset clean_end;  // compacted up to there
  int64_t log_bytes = 0;   // of batches
  int64_t index_bytes = 0;
  int64_t preallocated_bytes = 0;  // of segment files, behind the batches
  uint32_t segments = 0;
  uint64_t producers = 0;
  partition::PartitionCounters counters;
};

struct BrokerCounters {
  uint64_t produce_requests = 0;
  uint64_t fetch_requests = 0;
  uint64_t fetch_waits = 0;
  uint64_t hops = 0;  // calls to a partition of another core
};

// Removed by retention.
struct RetentionCounters {
  uint64_t segments_by_time = 0;
  uint64_t segments_by_bytes = 0;
  uint64_t bytes = 0;
};

// Nanoseconds from the broker being asked to the answer being there.
struct BrokerLatencies {
  base::Histogram produce;
  base::Histogram fetch;  // waiting for data included
};

// Of each core.
struct CompactionOptions {
  base::Nanos every_ns = 15 * base::kNanosPerSecond;
  size_t memory_bytes_max = 16 << 20;  // for the keys of a pass
  int64_t bytes_per_s = 32 << 20;      // read and written
};

class Broker;

// What a topic gets where its creator says nothing.
struct TopicDefaults {
  uint32_t partitions = 1;
  bool auto_create = false;  // a Kafka client that asks for an unknown topic makes it
};

// A setting of the broker, as it is told to those who ask (broker_configs.h).
struct BrokerConfig {
  std::string name;
  std::string knob;   // its name as a flag; empty: there is none
  std::string value;  // in force
  std::string default_value;
  std::optional<std::string> start_value;  // what a flag or the file says
  bool is_set = false;                     // while the broker ran: `value` is that
  bool live = false;                       // can be
  ConfigType type = ConfigType::kString;
  std::string help;
};

// What may change while a broker runs. Every core has the same.
struct BrokerOptions {
  TopicDefaults topic_defaults;
  base::Nanos retention_check_ns = 300 * base::kNanosPerSecond;
  CompactionOptions compaction;
  log::WritePath write_path = log::WritePath::kAuto;
  int64_t inline_bytes_max = 1 << 20;
  size_t journal_bypass_bytes = size_t{1} << 20;
  base::Nanos journal_sync_age_ns = 10 * base::kNanosPerSecond;
  std::vector<BrokerConfig> configs;  // by name
};

// What all brokers of a process know; made before the cores start, changed only while they do.
struct BrokerGroup {
  std::string data_directory;
  std::vector<Broker*> brokers;                   // by core
  std::vector<group::Coordinator*> coordinators;  // of consumer groups, by core
  Catalog* catalog = nullptr;                     // core 0 alone calls it
  bool opened_clean = false;                      // the last run stopped cleanly
  log::OffsetCheckpoint recovery_points;          // as the last run wrote them
  log::OffsetCheckpoint log_starts;
  log::OffsetCheckpoint clean_ends;
  log::Durability durability = log::Durability::kJournal;  // of topics that do not say
  // What recovery found, until all partitions are open.
  std::unique_ptr<const log::RecoveryResult> recovered;
};

class Broker {
 public:
  Broker(core::Core& core, BrokerGroup& group, const log::LogOptions& log_options);
  ~Broker();

  core::Core& core() { return core_; }
  const ImagePtr& image() const { return image_; }
  const std::string& data_directory() const { return group_.data_directory; }
  const BrokerCounters& counters() const { return counters_; }
  const BrokerLatencies& latencies() const { return latencies_; }
  const TopicDefaults& topic_defaults() const { return options_->topic_defaults; }
  // Valid until this core's next suspension.
  const std::vector<BrokerConfig>& configs() const { return options_->configs; }
  log::LogEnvironment& log_environment() { return log_environment_; }
  log::CoreJournal* journal() { return journal_.get(); }
  partition::PartitionMap& partitions() { return partitions_; }
  const partition::ProducerBudget& producers() const { return producers_; }
  size_t offline_count() const { return offline_.size(); }
  // Of consumer groups, on this core.
  group::Coordinator& groups() const { return *group_.coordinators[core_.id().value()]; }
  // Called when an image has been taken over, with the one before (null: the first). It must not
  // suspend. One at most, which outlives the last image.
  void set_on_image(void (*on_image)(void* self, const ImagePtr& before), void* self) {
    on_image_ = on_image;
    on_image_self_ = self;
  }
  // The core of a partition that this broker leads.
  base::CoreId CoreOf(const PartitionImage& partition) const {
    return base::CoreId(partition.slot % core_.group().count());
  }

  // --- Requests. Each ends when all results are filled in. Appends keep the order of the calls.
  task::Task<void> Produce(partition::AckPolicy acks, std::span<ProduceItem> items);
  // Plans in the order of the items, together at most bytes_max (but one batch in any case). The
  // caller sends what the plans name and drops them.
  task::Task<void> Fetch(const RequestContext& context, const FetchLimits& limits,
                         std::span<FetchItem> items);
  task::Task<void> ListOffsets(std::span<OffsetItem> items);
  task::Task<void> EpochEnds(std::span<EpochEndItem> items);
  // Of all partitions that are served, or of this core's.
  task::Task<std::vector<PartitionSize>> LogSizes(bool all_cores);
  // Each is durable when this ends.
  task::Task<void> DeleteRecords(std::span<DeleteRecordsItem> items);
  task::Task<ProposalResult> CreateTopic(CreateTopicProposal proposal);
  // Applied with a failure: the topic has its new partitions, but one of them is not served.
  task::Task<std::vector<ProposalResult>> AlterTopics(std::vector<AlterTopicProposal> proposals);
  task::Task<ProposalResult> DeleteTopic(base::Uuid topic_id);
  // Names are those of configs() or of their knobs. Applied: it holds on all cores.
  task::Task<ProposalResult> AlterSettings(AlterSettingsProposal proposal);
  // A producer id that nobody had before.
  task::Task<base::Error> NewProducerId(int64_t* producer_id);
  task::Task<std::vector<PartitionStatus>> DescribeTopic(base::Uuid topic_id);

  // Before the first image. `file_system` may be null and outlives it.
  task::Task<absl::Status> OpenJournal(log::CoreJournalOptions options,
                                       log::FileSystemSync* file_system);

  // May be called again while it runs.
  void SetOptions(std::shared_ptr<const BrokerOptions> options);

  // --- Of this core's own partitions.
  // Takes a new image over: closes and removes what is gone, opens what is new, hands changed
  // configs to what stays. Nothing once CloseAll has been called.
  task::Task<void> ApplyImage(ImagePtr image);
  std::vector<PartitionStatus> LocalStatus() const;
  // Why appends are refused while the disk is low.
  std::string DiskLowReason() const;
  // Why a partition of the topic, `first` or a later one, is not served; empty: all of this core's
  // are.
  std::string OfflineReason(base::Uuid topic_id, int32_t first) const;
  // Looks at all partitions every so often, until CloseAll(), and removes what retention lets go.
  // While the disk is low it does so at once, and more often.
  void StartRetention();
  task::Task<void> RetainOnce();
  const RetentionCounters& retention() const { return retention_; }
  // The same for compaction: one partition after the other, the dirtiest first.
  void StartCompaction();
  task::Task<void> CompactOnce();
  const partition::CompactionCounters& compaction() const { return compaction_; }
  // Refuses requests, closes all logs. False: one of them not cleanly.
  task::Task<bool> CloseAll();

 private:
  struct FetchGroup;
  struct FetchScratch;
  struct ProduceScratch {
    std::vector<std::vector<ProduceItem*>> by_core;
  };
  struct FetchLinks {
    std::unique_ptr<partition::FetchLink[]> links;
    size_t count = 0;
  };

  base::Error Locate(const partition::PartitionId& id, base::CoreId* core) const;
  // The same, for what clients may not do to the broker's own topics.
  base::Error LocateToChange(const partition::PartitionId& id, base::CoreId* core) const;
  task::Task<ProposalResult> DeleteAnyTopic(base::Uuid topic_id);
  partition::Partition* FindLocal(const partition::PartitionId& id, base::Error* error);

  task::Task<void> ProduceLocal(partition::AckPolicy acks, std::span<ProduceItem* const> items);
  task::Task<void> ProduceOne(partition::AckPolicy acks, ProduceItem* item);
  task::Task<void> ProduceOneOf(partition::AckPolicy acks, ProduceItem* item, task::Latch* latch);
  task::Task<void> ProduceOn(base::CoreId core, partition::AckPolicy acks,
                             std::span<ProduceItem* const> items, task::Latch* latch);

  task::Task<void> FetchItems(const RequestContext& context, const FetchLimits& limits,
                              std::span<FetchItem> items);
  task::Task<void> ProduceItems(partition::AckPolicy acks, std::span<ProduceItem> items);
  // Plans what is there now. Returns whether that answers the fetch, without waiting.
  task::Task<bool> PlanLocal(FetchLimits limits, std::span<FetchItem* const> items,
                             int64_t* planned_bytes);
  // Ends when something may have changed for one of the items, or at the deadline.
  task::Task<void> WaitLocal(std::span<FetchItem* const> items, base::Nanos deadline,
                             partition::CancelToken* cancel);
  task::Task<void> FetchAcross(const RequestContext& context, const FetchLimits& limits,
                               std::vector<std::unique_ptr<FetchGroup>>* groups);
  task::Task<void> WaitOn(FetchGroup* group, base::Nanos deadline, partition::FetchWait* first,
                          task::Latch* latch);

  task::Task<void> DeleteRecordsLocal(DeleteRecordsItem* item);
  task::Task<void> DeleteRecordsOn(base::CoreId core, DeleteRecordsItem* item, task::Latch* latch);
  task::Task<void> RetentionLoop();
  task::Task<void> CompactionLoop();
  // Runs `local` for each item on its owner's core, one core after the other.
  template <class Item>
  task::Task<void> OnOwners(std::span<Item> items, task::Task<void> (Broker::*local)(Item*));
  template <class Item>
  task::Task<void> AllLocal(std::span<Item* const> items, task::Task<void> (Broker::*local)(Item*));
  static void OnDiskChange(void* self);
  task::Task<void> DiskChanged();
  void AnnounceDisk() const;
  task::Task<void> GiveBackPreallocated();
  task::Task<void> ListOffsetLocal(OffsetItem* item);
  task::Task<void> EpochEndLocal(EpochEndItem* item);
  task::Task<std::vector<PartitionSize>> LocalSizes();
  // What recovery, or without journals the last run's checkpoints, say of a partition.
  log::OpenOptions OpenOptionsOf(const TopicImage& topic, int32_t index) const;
  task::Task<void> OpenPartition(const TopicImage* topic, int32_t index, task::Latch* opening,
                                 task::Latch* latch);
  task::Task<void> MakeDirectories(std::vector<std::pair<const TopicImage*, int32_t>>* added);
  partition::PartitionConfig ToPartitionConfig(const TopicConfig& topic);
  void Reconfigure(const TopicImage& topic);
  task::Task<std::string> OfflineReasonAnywhere(base::Uuid topic_id, int32_t first);
  task::Task<void> RemoveTopic(const TopicImage* topic);
  task::Task<absl::Status> RemoveUnopened(const TopicImage* topic, size_t index);

  core::Core& core_;
  BrokerGroup& group_;
  std::shared_ptr<const BrokerOptions> options_;
  std::unique_ptr<log::CoreJournal> journal_;
  log::LogEnvironment log_environment_;
  ImagePtr image_;
  void (*on_image_)(void* self, const ImagePtr& before) = nullptr;
  void* on_image_self_ = nullptr;
  partition::ProducerBudget producers_;
  records::Decompressor decompressor_{partition::LatestByKey::kPlainBytesMax};
  partition::PartitionMap partitions_;
  absl::flat_hash_map<partition::PartitionId, std::string> offline_;  // and why
  absl::flat_hash_set<base::Uuid> left_behind_;  // deleted topics whose files are still here
  bool closed_ = false;
  task::AsyncMutex image_mutex_;   // an image is taken over, or all is closed, one after the other
  task::WaitList retention_due_;   // notified: look at once, or it is closed
  task::WaitList compaction_due_;  // notified: it is closed, or a topic is compacted from now on
  task::Latch cleaning_;           // the loops of both
  RetentionCounters retention_;
  partition::CompactionCounters compaction_;
  BrokerCounters counters_;
  BrokerLatencies latencies_;
  uint32_t first_core_ = 0;  // that the next fetch of several cores asks
  Spares<FetchScratch> fetch_scratch_;
  Spares<FetchLinks> fetch_links_;
  Spares<ProduceScratch> produce_scratch_;
  int64_t next_producer_id_ = 0;
  int64_t producer_ids_end_ = 0;
  task::AsyncMutex producer_ids_mutex_;
};

// On all cores at the same time; called on any.
task::Task<void> ApplyImageOnAll(BrokerGroup& group, ImagePtr image);
task::Task<bool> CloseAllOnAll(BrokerGroup& group);

}  // namespace ringtail::server
