// Compaction of a core's partitions, one after the other, behind what clients ask for.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/logging.h"
#include "server/broker.h"

namespace ringtail::server {
namespace {

// So many bytes a second, in steps small enough for appends to come between them. Ends early when
// the broker stops.
class PaceOfCore : public log::CompactionPace {
 public:
  // The rate may change meanwhile.
  PaceOfCore(core::Core& core, const std::shared_ptr<const BrokerOptions>& options,
             const bool& closed)
      : core_(core), options_(options), closed_(closed), free_at_(core.now()) {}

  task::Task<void> Spend(int64_t bytes) override {
    constexpr base::Nanos kStepMax = 100 * base::kNanosPerMilli;
    free_at_ = std::max(free_at_, core_.now()) +
               static_cast<base::Nanos>(static_cast<double>(bytes) * base::kNanosPerSecond /
                                        static_cast<double>(options_->compaction.bytes_per_s));
    co_await task::Yield();
    while (!closed_ && core_.now() < free_at_) {
      co_await task::Scheduler::Current().SleepUntil(std::min(free_at_, core_.now() + kStepMax));
    }
  }

 private:
  core::Core& core_;
  const std::shared_ptr<const BrokerOptions>& options_;
  const bool& closed_;
  base::Nanos free_at_;
};

}  // namespace

task::Task<void> Broker::CompactOnce() {
  PaceOfCore pace(core_, options_, closed_);
  const partition::CompactionWork work = {.memory_bytes_max = options_->compaction.memory_bytes_max,
                                          .pace = &pace,
                                          .counters = &compaction_};
  const auto is_compacted = [](const partition::Partition& each) { return each.compaction().on; };
  for (const partition::PartitionId& id : partitions_.Select(is_compacted)) {
    if (closed_ || log_environment_.reserve().low()) co_return;
    partition::Partition* partition = partitions_.Find(id);
    if (partition == nullptr) continue;
    const std::string name = partition->identity().name.ToString();
    const absl::StatusOr<bool> compacted = co_await partition->Compact(work);
    if (compacted.ok() || absl::IsAborted(compacted.status())) continue;
    RT_LOG_EVERY(10, kWarn, "{}: not compacted: {}; tried again at the next look", name,
                 compacted.status().message());
  }
}

// No timer runs where no topic is compacted.
task::Task<void> Broker::CompactionLoop() {
  while (!closed_) {
    bool any = false;
    partitions_.ForEach([&](const partition::PartitionId&, const partition::Partition& partition) {
      any |= partition.compaction().on;
    });
    co_await compaction_due_.WaitUntil(any ? core_.now() + options_->compaction.every_ns
                                           : base::kNever);
    if (!closed_) co_await CompactOnce();
  }
  cleaning_.Done();
}

void Broker::StartCompaction() {
  cleaning_.Add();
  task::Spawn("compaction", CompactionLoop());
}

}  // namespace ringtail::server
