#include "server/broker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/logging.h"

namespace ringtail::server {
namespace {

using base::Error;

constexpr int64_t kProducerIdBlock = 1000;
constexpr size_t kNameBytesShown = 128;

}  // namespace

void Broker::SetOptions(std::shared_ptr<const BrokerOptions> options) {
  const std::shared_ptr<const BrokerOptions> before = std::exchange(options_, std::move(options));
  log_environment_.SetWritePath(options_->write_path, options_->inline_bytes_max);
  if (journal_ != nullptr) {
    journal_->SetOptions(options_->journal_bypass_bytes, options_->journal_sync_age_ns);
  }
  // They wait for as long as was said before.
  if (options_->retention_check_ns != before->retention_check_ns) retention_due_.NotifyAll();
  if (options_->compaction.every_ns != before->compaction.every_ns) compaction_due_.NotifyAll();
}

Error Broker::Locate(const partition::PartitionId& id, base::CoreId* core) const {
  if (closed_ || image_ == nullptr) return Error::kShuttingDown;
  const TopicImage* topic = image_->FindById(id.topic_id);
  if (topic == nullptr) return Error::kUnknownTopicId;
  if (id.partition < 0 || static_cast<size_t>(id.partition) >= topic->partitions.size()) {
    return Error::kUnknownTopic;
  }
  *core = CoreOf(topic->partitions[static_cast<size_t>(id.partition)]);
  return Error::kNone;
}

Error Broker::LocateToChange(const partition::PartitionId& id, base::CoreId* core) const {
  const Error error = Locate(id, core);
  if (error != Error::kNone) return error;
  return image_->FindById(id.topic_id)->internal ? Error::kInternalTopic : Error::kNone;
}

partition::Partition* Broker::FindLocal(const partition::PartitionId& id, Error* error) {
  partition::Partition* partition = partitions_.Find(id);
  if (partition != nullptr && !closed_) {
    *error = Error::kNone;
    return partition;
  }
  *error = closed_ ? Error::kShuttingDown
                   : (offline_.contains(id) ? Error::kStorageError : Error::kNotLeader);
  return nullptr;
}

task::Task<absl::Status> Broker::OpenJournal(log::CoreJournalOptions options,
                                             log::FileSystemSync* file_system) {
  options.journal.reserve = &log_environment_.reserve();
  auto opened = co_await log::CoreJournal::Open(core_.io(), file_system, std::move(options));
  if (!opened.ok()) co_return opened.status();
  journal_ = *std::move(opened);
  journal_->SetOptions(options_->journal_bypass_bytes, options_->journal_sync_age_ns);
  log_environment_.set_journal(journal_.get());
  co_return absl::OkStatus();
}

// --- Produce.

task::Task<void> Broker::ProduceOne(partition::AckPolicy acks, ProduceItem* item) {
  partition::Partition* partition = FindLocal(item->id, &item->result.error);
  if (partition != nullptr) item->result = co_await partition->Produce(item->batches, acks);
}

task::Task<void> Broker::ProduceOneOf(partition::AckPolicy acks, ProduceItem* item,
                                      task::Latch* latch) {
  co_await ProduceOne(acks, item);
  latch->Done();
}

task::Task<void> Broker::ProduceLocal(partition::AckPolicy acks,
                                      std::span<ProduceItem* const> items) {
  if (items.size() == 1) {
    co_await ProduceOne(acks, items[0]);
    co_return;
  }
  // Started one after the other, each up to its append; then waited for together.
  task::Latch latch;
  for (ProduceItem* item : items) {
    latch.Add();
    task::SpawnNow("produce", ProduceOneOf(acks, item, &latch));
  }
  co_await latch.Wait();
}

task::Task<void> Broker::ProduceOn(base::CoreId core, partition::AckPolicy acks,
                                   std::span<ProduceItem* const> items, task::Latch* latch) {
  Broker* owner = group_.brokers[core.value()];
  if (core != core_.id()) ++counters_.hops;
  co_await core::CallOn(core, [owner, acks, items] { return owner->ProduceLocal(acks, items); });
  latch->Done();
}

task::Task<void> Broker::Produce(partition::AckPolicy acks, std::span<ProduceItem> items) {
  ++counters_.produce_requests;
  const base::Nanos started = core_.io().Now();
  co_await ProduceItems(acks, items);
  latencies_.produce.Record(static_cast<uint64_t>(core_.io().Now() - started));
}

task::Task<void> Broker::ProduceItems(partition::AckPolicy acks, std::span<ProduceItem> items) {
  if (items.size() == 1) {
    ProduceItem* item = &items[0];
    base::CoreId core;
    item->result.error = LocateToChange(item->id, &core);
    if (item->result.error != Error::kNone) co_return;
    if (core == core_.id()) {
      co_await ProduceOne(acks, item);
      co_return;
    }
    task::Latch latch;
    latch.Add();
    co_await ProduceOn(core, acks, std::span<ProduceItem* const>(&item, 1), &latch);
    co_return;
  }
  auto scratch = produce_scratch_.Take();
  auto& by_core = scratch->by_core;
  by_core.resize(core_.group().count());
  for (std::vector<ProduceItem*>& of_core : by_core) of_core.clear();
  for (ProduceItem& item : items) {
    base::CoreId core;
    item.result.error = LocateToChange(item.id, &core);
    if (item.result.error == Error::kNone) by_core[core.value()].push_back(&item);
  }
  task::Latch latch;
  for (uint32_t core = 0; core < by_core.size(); ++core) {
    if (by_core[core].empty()) continue;
    latch.Add();
    task::SpawnNow("produce", ProduceOn(base::CoreId(core), acks, by_core[core], &latch));
  }
  co_await latch.Wait();
}

// --- Offsets.

task::Task<void> Broker::ListOffsetLocal(OffsetItem* item) {
  partition::Partition* partition = FindLocal(item->id, &item->result.error);
  if (partition == nullptr) co_return;
  item->result.error = partition->CheckLeaderEpoch(item->leader_epoch);
  if (item->result.error != Error::kNone) co_return;
  switch (item->point) {
    case OffsetPoint::kEarliest:
      item->result = partition->Earliest();
      break;
    case OffsetPoint::kLatest:
      item->result = partition->Latest();
      break;
    case OffsetPoint::kTimestamp:
      item->result = co_await partition->AtTimestamp(item->timestamp_ms);
      break;
    case OffsetPoint::kMaxTimestamp:
      item->result = co_await partition->AtMaxTimestamp();
      break;
  }
}

task::Task<void> Broker::EpochEndLocal(EpochEndItem* item) {
  partition::Partition* partition = FindLocal(item->id, &item->result.error);
  if (partition == nullptr) co_return;
  item->result = partition->EndOfEpoch(item->leader_epoch);
  item->result.error = partition->CheckLeaderEpoch(item->current_leader_epoch);
}

template <class Item>
task::Task<void> Broker::AllLocal(std::span<Item* const> items,
                                  task::Task<void> (Broker::*local)(Item*)) {
  for (Item* item : items) co_await (this->*local)(item);
}

template <class Item>
task::Task<void> Broker::OnOwners(std::span<Item> items, task::Task<void> (Broker::*local)(Item*)) {
  std::vector<std::vector<Item*>> by_core(core_.group().count());
  for (Item& item : items) {
    base::CoreId core;
    item.result.error = Locate(item.id, &core);
    if (item.result.error == Error::kNone) by_core[core.value()].push_back(&item);
  }
  for (uint32_t core = 0; core < by_core.size(); ++core) {
    if (by_core[core].empty()) continue;
    Broker* owner = group_.brokers[core];
    const std::span<Item* const> of_core = by_core[core];
    co_await core::CallOn(base::CoreId(core), [owner, of_core, local] {
      return owner->AllLocal<Item>(of_core, local);
    });
  }
}

task::Task<void> Broker::ListOffsets(std::span<OffsetItem> items) {
  return OnOwners(items, &Broker::ListOffsetLocal);
}

task::Task<void> Broker::EpochEnds(std::span<EpochEndItem> items) {
  return OnOwners(items, &Broker::EpochEndLocal);
}

task::Task<std::vector<PartitionSize>> Broker::LocalSizes() {
  std::vector<PartitionSize> sizes;
  sizes.reserve(partitions_.size());
  partitions_.ForEach([&](const partition::PartitionId& id, const partition::Partition& partition) {
    sizes.push_back({.id = id, .bytes = partition.log().size_bytes()});
  });
  co_return sizes;
}

task::Task<std::vector<PartitionSize>> Broker::LogSizes(bool all_cores) {
  if (!all_cores) co_return co_await LocalSizes();
  std::vector<PartitionSize> all;
  for (Broker* owner : group_.brokers) {
    const auto sizes =
        co_await core::CallOn(owner->core().id(), [owner] { return owner->LocalSizes(); });
    all.insert(all.end(), sizes.begin(), sizes.end());
  }
  co_return all;
}

// --- Topics.

task::Task<ProposalResult> Broker::CreateTopic(CreateTopicProposal proposal) {
  log::DiskReserve& reserve = log_environment_.reserve();
  reserve.Look();
  if (reserve.low()) {
    co_return ProposalResult{
        .outcome = ProposalResult::Outcome::kConflict,
        .failure = {Error::kDiskFull, absl::StrCat("no topic is created: ", DiskLowReason())}};
  }
  Catalog* catalog = group_.catalog;
  ProposalResult created = co_await core::CallOn(
      base::CoreId(0), [catalog, &proposal] { return catalog->CreateTopic(proposal); });
  if (!created.failure.ok() || created.topic_id.IsZero()) co_return created;
  std::string reason = co_await OfflineReasonAnywhere(created.topic_id, 0);
  if (reason.empty()) co_return created;
  // A topic that cannot be written to is taken back.
  co_await DeleteAnyTopic(created.topic_id);
  created.outcome = ProposalResult::Outcome::kConflict;
  created.failure = {Error::kStorageError, std::move(reason)};
  co_return created;
}

task::Task<std::string> Broker::OfflineReasonAnywhere(base::Uuid topic_id, int32_t first) {
  for (Broker* owner : group_.brokers) {
    std::string reason = co_await core::CallOn(
        owner->core().id(), [owner, topic_id, first]() -> task::Task<std::string> {
          co_return owner->OfflineReason(topic_id, first);
        });
    if (!reason.empty()) co_return reason;
  }
  co_return "";
}

task::Task<std::vector<ProposalResult>> Broker::AlterTopics(
    std::vector<AlterTopicProposal> proposals) {
  Catalog* catalog = group_.catalog;
  const ImagePtr before = image_;
  auto results = co_await core::CallOn(
      base::CoreId(0), [catalog, &proposals] { return catalog->AlterTopics(proposals); });
  for (size_t i = 0; i < proposals.size(); ++i) {
    const AlterTopicProposal& wanted = proposals[i];
    if (wanted.partitions == 0 || wanted.validate_only || !results[i].failure.ok()) continue;
    const TopicImage* topic = before->FindById(wanted.topic_id);
    const size_t first = topic == nullptr ? 0 : topic->partitions.size();
    // They cannot be taken back: clients may know them already, and use those that are served.
    const std::string reason =
        co_await OfflineReasonAnywhere(wanted.topic_id, static_cast<int32_t>(first));
    if (reason.empty()) continue;
    results[i].failure = {Error::kStorageError,
                          absl::StrCat("there are ", wanted.partitions,
                                       " partitions now, but not all are served: ", reason)};
  }
  co_return results;
}

task::Task<ProposalResult> Broker::AlterSettings(AlterSettingsProposal proposal) {
  for (ConfigChange& change : proposal.settings) {
    const auto known =
        std::find_if(configs().begin(), configs().end(), [&change](const BrokerConfig& config) {
          return config.name == change.name || (!config.knob.empty() && config.knob == change.name);
        });
    const bool found = known != configs().end();
    if (found && known->live) {
      change.name = known->knob;
      continue;
    }
    // Another version of this program has set it.
    if (change.op == ConfigChange::Op::kDelete && image_->settings().contains(change.name))
      continue;
    const std::string shown = absl::CHexEscape(change.name.substr(0, kNameBytesShown));
    co_return ProposalResult{
        .outcome = ProposalResult::Outcome::kConflict,
        .failure = {found ? Error::kInvalidRequest : Error::kInvalidConfig,
                    found ? absl::StrCat("broker config '", shown,
                                         "' cannot be changed while the broker runs; it is read "
                                         "from the flags and the file at start")
                          : absl::StrCat("unknown broker config '", shown, "'")}};
  }
  Catalog* catalog = group_.catalog;
  co_return co_await core::CallOn(
      base::CoreId(0), [catalog, &proposal] { return catalog->AlterSettings(proposal); });
}

task::Task<ProposalResult> Broker::DeleteTopic(base::Uuid topic_id) {
  const TopicImage* topic = image_->FindById(topic_id);
  if (topic != nullptr && topic->internal) {
    co_return ProposalResult{
        .outcome = ProposalResult::Outcome::kConflict,
        .failure = {Error::kInternalTopic, std::string(base::ErrorText(Error::kInternalTopic))}};
  }
  co_return co_await DeleteAnyTopic(topic_id);
}

task::Task<ProposalResult> Broker::DeleteAnyTopic(base::Uuid topic_id) {
  Catalog* catalog = group_.catalog;
  ProposalResult result = co_await core::CallOn(
      base::CoreId(0), [catalog, topic_id] { return catalog->DeleteTopic(topic_id); });
  if (result.outcome != ProposalResult::Outcome::kApplied) co_return result;
  // Where files could not be removed the tombstone stays, so that the next start tries again.
  for (Broker* owner : group_.brokers) {
    const bool left =
        co_await core::CallOn(owner->core().id(), [owner, topic_id]() -> task::Task<bool> {
          co_return owner->left_behind_.contains(topic_id);
        });
    if (left) co_return result;
  }
  // Should this fail, the next start finds nothing left to remove and forgets it then.
  co_await core::CallOn(base::CoreId(0),
                        [catalog, topic_id] { return catalog->ForgetTopic(topic_id); });
  co_return result;
}

task::Task<Error> Broker::NewProducerId(int64_t* producer_id) {
  co_await producer_ids_mutex_.Lock();
  const task::AsyncMutex::Held held(producer_ids_mutex_);
  if (next_producer_id_ == producer_ids_end_) {
    Catalog* catalog = group_.catalog;
    int64_t first = 0;
    const ProposalResult taken = co_await core::CallOn(base::CoreId(0), [catalog, &first] {
      return catalog->TakeProducerIds(kProducerIdBlock, &first);
    });
    if (taken.outcome != ProposalResult::Outcome::kApplied) co_return taken.failure.error;
    next_producer_id_ = first;
    producer_ids_end_ = first + kProducerIdBlock;
  }
  *producer_id = next_producer_id_++;
  co_return Error::kNone;
}

task::Task<std::vector<PartitionStatus>> Broker::DescribeTopic(base::Uuid topic_id) {
  std::vector<PartitionStatus> all;
  for (uint32_t core = 0; core < core_.group().count(); ++core) {
    Broker* owner = group_.brokers[core];
    auto status = co_await core::CallOn(
        base::CoreId(core),
        [owner]() -> task::Task<std::vector<PartitionStatus>> { co_return owner->LocalStatus(); });
    for (PartitionStatus& each : status) {
      if (each.id.topic_id == topic_id) all.push_back(std::move(each));
    }
  }
  std::sort(all.begin(), all.end(), [](const PartitionStatus& a, const PartitionStatus& b) {
    return a.id.partition < b.id.partition;
  });
  co_return all;
}

}  // namespace ringtail::server
