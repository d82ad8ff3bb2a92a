// What a broker deletes as time passes: one look after the other at its core's partitions.
#include <vector>

#include "engine/base/logging.h"
#include "server/broker.h"

namespace ringtail::server {

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

task::Task<void> Broker::RetentionLoop(base::Nanos every_ns) {
  while (!co_await stopping_.WaitUntil(core_.now() + every_ns)) co_await RetainOnce();
  retaining_.Done();
}

void Broker::StartRetention(base::Nanos every_ns) {
  retaining_.Add();
  task::Spawn("retention", RetentionLoop(every_ns));
}

}  // namespace ringtail::server
