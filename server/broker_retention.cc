// What a broker deletes as time passes, one look after the other at its core's partitions, and what
// it is asked to delete.
#include <vector>

#include "engine/base/logging.h"
#include "server/broker.h"

namespace ringtail::server {
namespace {

constexpr size_t kDeletionsAtOnce = 256;

}  // namespace

task::Task<void> Broker::RetainOnce() {
  std::vector<partition::PartitionId> ids;
  partitions_.ForEach([&](const partition::PartitionId& id, const partition::Partition& partition) {
    if (partition.retention().any()) ids.push_back(id);
  });
  for (const partition::PartitionId& id : ids) {
    if (closed_) co_return;
    partition::Partition* partition = partitions_.Find(id);
    if (partition == nullptr) continue;
    const std::string name = partition->identity().name.ToString();
    const auto removed = co_await partition->Retain();
    if (!removed.ok()) {
      RT_LOG_EVERY(10, kWarn, "{}: retention: {}; tried again at the next check", name,
                   removed.status().message());
      continue;
    }
    retention_.segments_by_time += removed->by_time;
    retention_.segments_by_bytes += removed->by_bytes;
    retention_.bytes += static_cast<uint64_t>(removed->bytes);
  }
}

task::Task<void> Broker::DeleteRecordsLocal(DeleteRecordsItem* item) {
  partition::Partition* partition = FindLocal(item->id, &item->result.error);
  if (partition != nullptr) item->result = co_await partition->DeleteRecords(item->before);
}

task::Task<void> Broker::DeleteRecordsOn(base::CoreId core, DeleteRecordsItem* item,
                                         task::Latch* latch) {
  Broker* owner = group_.brokers[core.value()];
  co_await core::CallOn(core, [owner, item] { return owner->DeleteRecordsLocal(item); });
  latch->Done();
}

// Many at once share the journal's frames.
task::Task<void> Broker::DeleteRecords(std::span<DeleteRecordsItem> items) {
  task::Latch latch;
  size_t started = 0;
  for (DeleteRecordsItem& item : items) {
    base::CoreId core;
    item.result.error = Locate(item.id, &core);
    if (item.result.error != base::Error::kNone) continue;
    latch.Add();
    task::Spawn("delete records", DeleteRecordsOn(core, &item, &latch));
    if (++started % kDeletionsAtOnce == 0) co_await latch.Wait();
  }
  co_await latch.Wait();
}

task::Task<void> Broker::RetentionLoop(base::Nanos every_ns) {
  while (!co_await stopping_.WaitUntil(core_.now() + every_ns)) co_await RetainOnce();
  retaining_.Done();
}

void Broker::StartRetention(base::Nanos every_ns) {
  retaining_.Add();
  task::Spawn("retention", RetentionLoop(every_ns));
}

}  // namespace ringtail::server
