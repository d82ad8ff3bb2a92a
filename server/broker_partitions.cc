// What a broker does with its own core's partitions when the catalog changes, and at the end.
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/logging.h"
#include "engine/io/file.h"
#include "engine/log/after_recovery.h"
#include "engine/log/data_directory.h"
#include "server/broker.h"

namespace ringtail::server {
namespace {

// Opened, closed or removed at the same time, per core.
constexpr size_t kPartitionsAtOnce = 32;

base::Offset Checkpointed(const log::OffsetCheckpoint& checkpoint, const std::string& topic,
                          int32_t index) {
  const auto found = checkpoint.find({topic, index});
  return found == checkpoint.end() ? base::Offset(0) : found->second;
}

}  // namespace

partition::PartitionConfig Broker::ToPartitionConfig(const TopicConfig& topic) {
  const bool deletes = topic.cleanup_delete;
  return {.log = {.segment_bytes_max = topic.segment_bytes,
                  .segment_ms = topic.segment_ms,
                  .index_interval_bytes = topic.index_interval_bytes,
                  .index_bytes_max = topic.segment_index_bytes,
                  .durability = topic.durability.value_or(group_.durability)},
          .batch_bytes_max = topic.max_message_bytes,
          .log_append_time = topic.log_append_time,
          .timestamp_before_max_ms = topic.timestamp_before_max_ms,
          .timestamp_after_max_ms = topic.timestamp_after_max_ms,
          .producers = {.budget = &producers_},
          .retention = {.ms = deletes ? topic.retention_ms : -1,
                        .bytes = deletes ? topic.retention_bytes : -1},
          .compaction = {.on = topic.cleanup_compact,
                         .lag_min_ms = topic.compaction_lag_min_ms,
                         .lag_max_ms = topic.compaction_lag_max_ms,
                         .dirty_ratio_min = topic.dirty_ratio_min,
                         .delete_retention_ms = topic.delete_retention_ms},
          .decompressor = &decompressor_};
}

log::OpenOptions Broker::OpenOptionsOf(const TopicImage& topic, int32_t index) const {
  const log::RecoveryResult* recovered = group_.recovered.get();
  if (recovered != nullptr && recovered->origin != log::RecoveryResult::Origin::kFresh) {
    return log::OpenRecovered(*recovered, {topic.id, static_cast<uint32_t>(index)});
  }
  return {.clean = group_.opened_clean,
          .recovery_point = Checkpointed(group_.recovery_points, topic.name, index),
          .log_start = Checkpointed(group_.log_starts, topic.name, index)};
}

// `opening` ends when its files are open, or cannot be: what it waits for then, all may wait for
// together.
task::Task<void> Broker::OpenPartition(const TopicImage* topic, int32_t index, task::Latch* opening,
                                       task::Latch* latch) {
  const partition::PartitionId id{topic->id, index};
  partition::PartitionIdentity identity{
      .name = {topic->name, index},
      .topic_id = topic->id,
      .leader_epoch = topic->partitions[static_cast<size_t>(index)].leader_epoch};
  const std::string name = identity.name.ToString();
  log::RecoveryInfo info;
  auto opened = co_await partition::Partition::Open(
      log_environment_, absl::StrCat(group_.data_directory, "/", name), std::move(identity),
      ToPartitionConfig(topic->config), OpenOptionsOf(*topic, index), &info);
  opening->Done();
  absl::Status status = opened.status();
  if (status.ok()) status = co_await (*opened)->Begin();
  if (status.ok()) {
    if (info.segments_removed > 0 || (info.bytes_cut > 0 && !info.cut_reason.empty())) {
      RT_LOG(kWarn, "{}: ends at offset {}: cut {} bytes and removed {} segments behind it: {}",
             name, (*opened)->log_end().value(), info.bytes_cut, info.segments_removed,
             info.cut_reason);
    }
    (*opened)->set_clean_end(Checkpointed(group_.clean_ends, topic->name, index));
    partitions_.Insert(id, *std::move(opened));
  } else {
    RT_LOG(kError, "{}: not served: {}; see `ringtail log dump` for its files", name,
           status.message());
    offline_.emplace(id, std::string(status.message()));
  }
  latch->Done();
}

// The directory of a partition that could not be opened.
task::Task<absl::Status> Broker::RemoveUnopened(const TopicImage* topic, size_t index) {
  const std::string directory = absl::StrCat(group_.data_directory, "/", topic->name, "-", index);
  const auto owner = co_await log::ReadPartitionMetadata(core_.io(), directory);
  if (owner.ok() && *owner != topic->id) co_return absl::OkStatus();  // another topic's
  const absl::Status removed =
      co_await io::RemoveDirectoryWithFiles(core_.io(), directory, log::kPartitionMetadataFile);
  co_return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
}

task::Task<void> Broker::RemoveTopic(const TopicImage* topic) {
  for (size_t index = 0; index < topic->partitions.size(); ++index) {
    if (CoreOf(topic->partitions[index]) != core_.id()) continue;
    if (closed_) {
      left_behind_.insert(topic->id);  // the next start removes the rest
      co_return;
    }
    const partition::PartitionId id{topic->id, static_cast<int32_t>(index)};
    offline_.erase(id);
    std::unique_ptr<partition::Partition> partition = partitions_.Take(id);
    const absl::Status removed = partition != nullptr ? co_await partition->Close(/*remove=*/true)
                                                      : co_await RemoveUnopened(topic, index);
    if (!removed.ok()) {
      left_behind_.insert(topic->id);
      RT_LOG(kError, "{}-{}: its files could not be removed: {}; the next start tries again",
             topic->name, index, removed.message());
    }
  }
}

task::Task<void> Broker::ApplyImage(ImagePtr image) {
  co_await image_mutex_.Lock();
  const task::AsyncMutex::Held held(image_mutex_);
  if (closed_) {
    // Too late to remove anything: the next start does.
    for (const TopicImage& topic : image_->topics()) {
      if (image->FindById(topic.id) == nullptr) left_behind_.insert(topic.id);
    }
    co_return;
  }
  const ImagePtr before = std::exchange(image_, image);
  if (before != nullptr) {
    for (const TopicImage& topic : image->topics()) {
      const TopicImage* known = before->FindById(topic.id);
      if (known != nullptr && !(known->config == topic.config)) Reconfigure(topic);
    }
    for (const TopicImage& topic : before->topics()) {
      if (image->FindById(topic.id) == nullptr) co_await RemoveTopic(&topic);
    }
  }
  std::vector<std::pair<const TopicImage*, int32_t>> added;
  for (const TopicImage& topic : image->topics()) {
    const TopicImage* known = before == nullptr ? nullptr : before->FindById(topic.id);
    const size_t open = known == nullptr ? 0 : known->partitions.size();
    for (size_t index = open; index < topic.partitions.size(); ++index) {
      if (CoreOf(topic.partitions[index]) != core_.id()) continue;
      added.emplace_back(&topic, static_cast<int32_t>(index));
    }
  }
  if (before != nullptr) co_await MakeDirectories(&added);
  task::Latch opening;
  task::Latch latch;
  size_t started = 0;
  for (const auto& [topic, index] : added) {
    if (closed_) break;
    opening.Add();
    latch.Add();
    task::Spawn("open partition", OpenPartition(topic, index, &opening, &latch));
    if (++started % kPartitionsAtOnce == 0) co_await opening.Wait();
  }
  co_await latch.Wait();
  compaction_due_.NotifyAll();
  if (on_image_ != nullptr && !closed_) on_image_(on_image_self_, before);
}

// Of many new partitions at once; one by one, each would be synced three times. Partitions that may
// not be opened, as theirs may go with the power, are taken out of `added`.
task::Task<void> Broker::MakeDirectories(
    std::vector<std::pair<const TopicImage*, int32_t>>* added) {
  if (journal_ == nullptr || !journal_->sync().CanSyncAtOnce(added->size())) co_return;
  std::vector<log::NewDirectory> directories;
  std::vector<std::pair<const TopicImage*, int32_t>> unmade;
  for (const auto& [topic, index] : *added) {
    std::string path = absl::StrCat(group_.data_directory, "/", topic->name, "-", index);
    if (core_.io().StatPath(path).ok()) continue;  // opening it says whose it is
    directories.push_back({std::move(path), topic->id});
    unmade.emplace_back(topic, index);
  }
  const absl::Status made = co_await log::MakePartitionDirectories(
      core_.io(), std::move(directories), [this] { return journal_->sync().SyncFileSystem(); });
  if (made.ok()) co_return;
  RT_LOG(kWarn, "new partitions: {}; they are made one by one", made.message());
  for (const auto& each : unmade) {
    const auto& [topic, index] = each;
    const absl::Status removed = co_await RemoveUnopened(topic, static_cast<size_t>(index));
    if (removed.ok()) continue;
    RT_LOG(kError, "{}-{}: not served: {}", topic->name, index, removed.message());
    offline_.emplace(partition::PartitionId{topic->id, index}, std::string(removed.message()));
    std::erase(*added, each);
  }
}

// What is not open takes the configs of the image when it is.
void Broker::Reconfigure(const TopicImage& topic) {
  const partition::PartitionConfig config = ToPartitionConfig(topic.config);
  for (size_t index = 0; index < topic.partitions.size(); ++index) {
    partition::Partition* partition = partitions_.Find({topic.id, static_cast<int32_t>(index)});
    if (partition != nullptr) partition->SetConfig(config);
  }
}

std::string Broker::OfflineReason(base::Uuid topic_id, int32_t first) const {
  for (const auto& [id, reason] : offline_) {
    if (id.topic_id == topic_id && id.partition >= first) return reason;
  }
  return "";
}

std::vector<PartitionStatus> Broker::LocalStatus() const {
  std::vector<PartitionStatus> all;
  const std::string disk_low = log_environment_.reserve().low() ? DiskLowReason() : "";
  const auto add = [&](const partition::PartitionId& id, const partition::Partition& partition) {
    const absl::Status& writes = partition.log().write_status();
    all.push_back({.id = id,
                   .topic = partition.identity().name.topic,
                   .core = core_.id().value(),
                   .refuses_appends = writes.ok() ? disk_low : std::string(writes.message()),
                   .log_start = partition.log_start(),
                   .high_watermark = partition.high_watermark(),
                   .log_end = partition.log_end(),
                   .recovery_point = partition.log().recovery_point(),
                   .clean_end = partition.clean_end(),
                   .log_bytes = partition.log().size_bytes(),
                   .index_bytes = partition.log().index_bytes(),
                   .preallocated_bytes = partition.log().preallocated_bytes(),
                   .segments = static_cast<uint32_t>(partition.log().segment_count()),
                   .producers = partition.producer_count(),
                   .counters = partition.counters()});
  };
  partitions_.ForEach(add);
  for (const auto& [id, reason] : offline_) {
    const TopicImage* topic = image_->FindById(id.topic_id);
    all.push_back({.id = id,
                   .topic = topic == nullptr ? "?" : topic->name,
                   .core = core_.id().value(),
                   .offline_reason = reason});
  }
  return all;
}

namespace {

struct Closing {
  bool sync = true;
  bool ok = true;
  std::vector<partition::Partition*> unsynced;
  task::Latch latch;
};

task::Task<void> ClosePartition(partition::Partition* partition, Closing* all) {
  const absl::Status closed =
      all->sync ? co_await partition->Close(/*remove=*/false) : co_await partition->CloseUnsynced();
  if (closed.ok() && !all->sync) all->unsynced.push_back(partition);
  if (!closed.ok()) {
    all->ok = false;
    RT_LOG(kError, "{}: not closed cleanly: {}; the next start scans it",
           partition->identity().name.ToString(), closed.message());
  }
  all->latch.Done();
}

}  // namespace

task::Task<bool> Broker::CloseAll() {
  closed_ = true;
  retention_due_.NotifyAll();
  compaction_due_.NotifyAll();
  co_await cleaning_.Wait();
  co_await image_mutex_.Lock();
  const task::AsyncMutex::Held held(image_mutex_);
  size_t started = 0;
  const std::vector<partition::PartitionId> all =
      partitions_.Select([](const partition::Partition&) { return true; });
  // Eight syncs each would take longer than a stop may.
  Closing closing{.sync = journal_ == nullptr || !journal_->sync().CanSyncAtOnce(all.size())};
  for (const partition::PartitionId& id : all) {
    closing.latch.Add();
    task::Spawn("close partition", ClosePartition(partitions_.Find(id), &closing));
    if (++started % kPartitionsAtOnce == 0) co_await closing.latch.Wait();
  }
  co_await closing.latch.Wait();
  if (closing.unsynced.empty()) co_return closing.ok;
  const absl::Status synced = co_await journal_->sync().SyncFileSystem();
  if (!synced.ok()) {
    RT_LOG(kError, "not closed cleanly: {}; the next start looks closer", synced.message());
    co_return false;
  }
  for (partition::Partition* partition : closing.unsynced) partition->log().AllIsSynced();
  co_return closing.ok;
}

// --- On all cores at the same time, from one of them.

namespace {

task::Task<void> ApplyImageOn(Broker* broker, ImagePtr image, task::Latch* latch) {
  co_await core::CallOn(broker->core().id(),
                        [broker, &image] { return broker->ApplyImage(image); });
  latch->Done();
}

task::Task<void> CloseAllOn(Broker* broker, bool* clean, task::Latch* latch) {
  const bool closed =
      co_await core::CallOn(broker->core().id(), [broker] { return broker->CloseAll(); });
  *clean &= closed;
  latch->Done();
}

}  // namespace

task::Task<void> ApplyImageOnAll(BrokerGroup& group, ImagePtr image) {
  task::Latch latch;
  for (Broker* broker : group.brokers) {
    latch.Add();
    task::Spawn("apply image", ApplyImageOn(broker, image, &latch));
  }
  co_await latch.Wait();
}

task::Task<bool> CloseAllOnAll(BrokerGroup& group) {
  bool clean = true;
  task::Latch latch;
  for (Broker* broker : group.brokers) {
    latch.Add();
    task::Spawn("close partitions", CloseAllOn(broker, &clean, &latch));
  }
  co_await latch.Wait();
  co_return clean;
}

}  // namespace ringtail::server
