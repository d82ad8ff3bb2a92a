// What a broker deletes as time passes, one look after the other at its core's partitions, and what
// it is asked to delete.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/logging.h"
#include "server/broker.h"

namespace ringtail::server {
namespace {

constexpr size_t kDeletionsAtOnce = 256;
constexpr base::Nanos kRetainWhileLow = 10 * base::kNanosPerSecond;
constexpr int64_t kMiB = 1 << 20;

}  // namespace

task::Task<void> Broker::RetainOnce() {
  const auto wanted = [](const partition::Partition& each) { return each.wants_retention(); };
  for (const partition::PartitionId& id : partitions_.Select(wanted)) {
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
    item.result.error = LocateToChange(item.id, &core);
    if (item.result.error != base::Error::kNone) continue;
    latch.Add();
    task::Spawn("delete records", DeleteRecordsOn(core, &item, &latch));
    if (++started % kDeletionsAtOnce == 0) co_await latch.Wait();
  }
  co_await latch.Wait();
}

task::Task<void> Broker::RetentionLoop() {
  const log::DiskReserve& reserve = log_environment_.reserve();
  while (!closed_) {
    const base::Nanos every_ns = options_->retention_check_ns;
    const base::Nanos wait = reserve.low() ? std::min(every_ns, kRetainWhileLow) : every_ns;
    co_await retention_due_.WaitUntil(core_.now() + wait);
    if (!closed_ && reserve.low()) co_await GiveBackPreallocated();
    if (!closed_) co_await RetainOnce();
  }
  cleaning_.Done();
}

void Broker::StartRetention() {
  if (core_.id() == base::CoreId(0) && log_environment_.reserve().low()) AnnounceDisk();
  cleaning_.Add();
  task::Spawn("retention", RetentionLoop());
}

// --- A disk that is low.

std::string Broker::DiskLowReason() const {
  const log::DiskReserve& reserve = log_environment_.reserve();
  return absl::StrCat("the disk has ", reserve.available_bytes() / kMiB, " MiB left, and ",
                      reserve.reserve_bytes() / kMiB,
                      " MiB are kept free (--disk_reserve_bytes); delete topics or records, or "
                      "make the disk larger");
}

void Broker::AnnounceDisk() const {
  const log::DiskReserve& reserve = log_environment_.reserve();
  if (reserve.low()) {
    RT_LOG(kError, "{}: appends are refused: {}. They go on by themselves; reads do meanwhile",
           group_.data_directory, DiskLowReason());
  } else {
    RT_LOG(kInfo, "{}: the disk has {} MiB left again: appends go on", group_.data_directory,
           reserve.available_bytes() / kMiB);
  }
}

void Broker::OnDiskChange(void* self) {
  task::Spawn("disk changed", static_cast<Broker*>(self)->DiskChanged());
}

// Whoever sees it first has the first core look, which says so and has all others look: one line,
// and all cores of one mind.
task::Task<void> Broker::DiskChanged() {
  const bool first = core_.id() == base::CoreId(0);
  if (first) AnnounceDisk();
  retention_due_.NotifyAll();
  for (Broker* other : group_.brokers) {
    if (other == this || (!first && other->core().id() != base::CoreId(0))) continue;
    co_await core::CallOn(other->core().id(), [other]() -> task::Task<void> {
      other->log_environment().reserve().Look();
      co_return;
    });
  }
}

// What logs that write nothing have been given ahead of their appends.
task::Task<void> Broker::GiveBackPreallocated() {
  const auto preallocated = [](const partition::Partition& each) {
    return each.log().preallocated_bytes() > 0;
  };
  for (const partition::PartitionId& id : partitions_.Select(preallocated)) {
    partition::Partition* partition = closed_ ? nullptr : partitions_.Find(id);
    if (partition == nullptr) continue;
    const absl::Status trimmed = co_await partition->GiveBackPreallocated();
    if (!trimmed.ok()) RT_LOG_EVERY(10, kWarn, "{}", trimmed.message());
  }
}

}  // namespace ringtail::server
