#include "server/group/group_shard.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "server/group/group_shard_append.h"
#include "server/group/group_shard_entry.h"

namespace ringtail::group {

using base::Error;

namespace {

constexpr size_t kReasonBytesShown = 255;
// Records of one store go into batches of this size: __consumer_offsets takes twice as much.
constexpr size_t kBatchBytes = 8u << 20;

// What a failed append means to a member: to try again, at this coordinator or a new one.
Error FromAppend(Error error) {
  switch (error) {
    case Error::kNone:
      return Error::kNone;
    case Error::kNotLeader:
    case Error::kShuttingDown:
      return Error::kNotCoordinator;
    case Error::kBatchTooLarge:
      return Error::kBatchTooLarge;
    default:
      return Error::kCoordinatorNotAvailable;
  }
}

}  // namespace

GroupShard::GroupShard(const ShardEnvironment& environment, partition::PartitionId id)
    : env_(environment), id_(id) {}

GroupShard::~GroupShard() { env_.group_count -= entries_.size(); }

Instant GroupShard::Now() const {
  return {.now = env_.core.now(), .wall_ms = env_.core.io().WallMillis()};
}

Moment GroupShard::NowWithTopics() const { return {.at = Now(), .image = *env_.broker.image()}; }

void GroupShard::Close() {
  ready_ = Error::kNotCoordinator;
  for (const auto& [id, entry] : entries_) entry->Die(Error::kNotCoordinator);
  env_.group_count -= entries_.size();
  entries_.clear();
}

// --- Entries.

GroupShard::Entry* GroupShard::Find(absl::string_view group_id) const {
  const auto found = entries_.find(group_id);
  return found == entries_.end() ? nullptr : found->second.get();
}

GroupShard::Entry* GroupShard::FindOrMake(absl::string_view group_id, bool whatever_the_limit) {
  if (Entry* known = Find(group_id)) return known;
  const bool full = env_.group_count >= env_.options.groups_max ||
                    !env_.budget.Fits(sizeof(Entry) + group_id.size());
  if (full && !whatever_the_limit) return nullptr;
  auto made = std::make_unique<Entry>(*this, std::string(group_id));
  Entry* entry = made.get();
  entries_.emplace(std::string(group_id), std::move(made));
  if (++env_.group_count == 1) env_.on_first_group(env_.owner);
  return entry;
}

void GroupShard::Erase(Entry* entry) {
  entry->Die(Error::kCoordinatorNotAvailable);
  --env_.group_count;
  const std::string id = entry->id;
  entries_.erase(id);
}

void GroupShard::Settle(Entry* entry) {
  do {
    entry = entry->consumer != nullptr ? StoreConsumer(entry) : StoreClassic(entry);
    if (entry == nullptr) return;
  } while (MaybeDowngrade(entry));
  entry->ArmFor(entry->next_deadline());
  EraseIfUnused(entry);
}

// Of a request that was refused nothing stays.
void GroupShard::EraseIfUnused(Entry* entry) {
  if (entry->unused() && entry->offsets.empty() && !entry->recorded) Erase(entry);
}

void GroupShard::OnTimer(Entry* entry) {
  GroupShard& shard = entry->shard;
  shard.due_.push_back(entry->id);
  if (std::exchange(shard.ticking_, true)) return;
  task::Spawn("group timers", shard.TickDue());
}

task::Task<void> GroupShard::TickDue() {
  while (!due_.empty()) {
    const std::vector<std::string> due = std::exchange(due_, {});
    for (const std::string& id : due) {
      Entry* entry = Find(id);
      if (entry == nullptr) continue;
      entry->Tick(NowWithTopics());
      Settle(entry);
    }
  }
  ticking_ = false;
  co_return;
}

// --- Records.

task::Task<Error> GroupShard::Append(records::RecordBatchBuilder batch, base::Offset* base) {
  partition::Partition* partition = env_.partitions.Find(id_);
  if (partition == nullptr) co_return Error::kNotCoordinator;
  absl::StatusOr<std::vector<uint8_t>> finished = batch.Finish();
  RT_CHECK(finished.ok());  // it has records, and no compression that could fail
  std::vector<uint8_t> bytes = *std::move(finished);
  const partition::ProduceResult result =
      co_await partition->Produce(bytes, partition::AckPolicy::kAll);
  *base = result.base_offset;
  // One that is closed is so since the broker stops: whoever asked asks again.
  if (result.error != Error::kNone && result.error != Error::kNotLeader) {
    RT_LOG_EVERY(10, kError, "__consumer_offsets-{}: a change of a group was not recorded: {}",
                 id_.partition, base::ErrorText(result.error));
  }
  co_return FromAppend(result.error);
}

task::Task<Error> GroupShard::AppendRecords(std::string group_id, uint64_t serial,
                                            Records records) {
  records::RecordBatchBuilder batch = NewBatch();
  Entry* entry = Find(group_id);
  if (entry != nullptr && entry->serial == serial) {
    for (const std::string& key : entry->to_bury) Add(key, std::nullopt, Now(), &batch);
  }
  for (const Record& each : records) {
    const size_t bytes = each.value.has_value() ? each.value->size() : 0;
    if (!batch.empty() && batch.size_bytes() + bytes > kBatchBytes) {
      base::Offset base;
      const Error error = co_await Append(std::exchange(batch, NewBatch()), &base);
      if (error != Error::kNone) co_return error;
    }
    std::optional<absl::string_view> value;
    if (each.value.has_value()) value = *each.value;
    Add(each.key, value, Now(), &batch);
  }
  base::Offset base;
  const Error error = co_await Append(std::move(batch), &base);
  entry = Find(group_id);
  if (error == Error::kNone && entry != nullptr && entry->serial == serial) entry->to_bury.clear();
  co_return error == Error::kBatchTooLarge ? Error::kGroupFull : error;
}

GroupShard::Entry* GroupShard::StoreClassic(Entry* entry) {
  const std::string id = entry->id;
  while (std::optional<Group::Store> store = entry->classic->TakeStore()) {
    entry->recorded = true;
    // Runs up to the append; may come back settled, or gone, or of the other kind.
    task::SpawnNow("group store", AppendStore(id, entry->serial, *std::move(store)));
    entry = Find(id);
    if (entry == nullptr || entry->classic == nullptr) break;
  }
  return entry;
}

task::Task<void> GroupShard::AppendStore(std::string group_id, uint64_t serial,
                                         Group::Store store) {
  Records records;
  records.push_back({EncodeKey(GroupKey{group_id}), EncodeGroup(store.record)});
  const Error error = co_await AppendRecords(group_id, serial, std::move(records));
  Entry* entry = Find(group_id);
  if (entry == nullptr || entry->serial != serial) co_return;
  entry->classic->Stored(store, error, Now());
  Settle(entry);
}

task::Task<Error> GroupShard::AppendTombstones(std::string group_id, Tombstones offsets,
                                               bool group) {
  // Many at a time, so that none of the batches is too large.
  constexpr size_t kAtOnce = 1000;
  for (size_t at = 0; at < offsets.size() || group; at += kAtOnce) {
    records::RecordBatchBuilder batch = NewBatch();
    const size_t end = std::min(offsets.size(), at + kAtOnce);
    for (size_t i = at; i < end; ++i) Add(EncodeKey(offsets[i]), std::nullopt, Now(), &batch);
    const bool last = end == offsets.size();
    const Entry* known = Find(group_id);
    if (last && group) Add(EncodeKey(GroupKey{group_id}), std::nullopt, Now(), &batch);
    if (last && group && known != nullptr) {
      if (known->consumer != nullptr) {
        for (const ConsumerKey& key : known->consumer->Keys()) {
          Add(EncodeKey(key), std::nullopt, Now(), &batch);
        }
      }
      for (const std::string& key : known->to_bury) Add(key, std::nullopt, Now(), &batch);
    }
    base::Offset base;
    const Error error = co_await Append(std::move(batch), &base);
    if (error != Error::kNone) co_return error;
    Entry* entry = Find(group_id);
    if (entry == nullptr) co_return Error::kNone;
    for (size_t i = at; i < end; ++i) {
      entry->offsets.Remove(offsets[i].topic, offsets[i].partition,
                            base + static_cast<int64_t>(i - at));
    }
    if (!last) continue;
    if (group && entry->unused()) {
      entry->recorded = false;
      entry->to_bury.clear();
    }
    Settle(entry);
    break;
  }
  co_return Error::kNone;
}

// --- Members.

void GroupShard::Join(const JoinRequest& request, JoinPending* pending) {
  Entry* entry = Find(request.group_id);
  if (entry == nullptr && !request.member.member_id.empty()) {
    return pending->Answer(
        {.error = Error::kUnknownMember, .member_id = std::string(request.member.member_id)});
  }
  if (entry == nullptr) entry = FindOrMake(request.group_id, false);
  if (entry == nullptr) return pending->Answer({.error = Error::kGroupFull});
  if (!request.reason.empty()) {
    RT_LOG(kDebug, "group {}: member {} joins: {}", request.group_id, request.member.member_id,
           request.reason.substr(0, kReasonBytesShown));
  }
  // An empty group is what its next member is.
  if (entry->consumer != nullptr && entry->consumer->unused()) Downgrade(entry);
  entry->Join(request, pending, NowWithTopics());
  Settle(entry);
}

void GroupShard::Sync(const SyncRequest& request, SyncPending* pending) {
  Entry* entry = Find(request.group_id);
  if (entry == nullptr) return pending->Answer({.error = Error::kUnknownMember});
  entry->Sync(request, pending, NowWithTopics());
  Settle(entry);
}

Error GroupShard::Heartbeat(const HeartbeatRequest& request) {
  Entry* entry = Find(request.group_id);
  if (entry == nullptr) return Error::kUnknownMember;
  const Error error = entry->Heartbeat(request, NowWithTopics());
  // Else it has moved one deadline on, which the timer finds out by itself.
  if (error == Error::kRebalanceInProgress) Settle(entry);
  return error;
}

LeaveReply GroupShard::Leave(const LeaveRequest& request) {
  LeaveReply reply;
  Entry* entry = Find(request.group_id);
  if (entry != nullptr && entry->dead()) {
    reply.error = Error::kCoordinatorNotAvailable;
    return reply;
  }
  for (const MemberName& member : request.members) {
    reply.members.push_back(entry == nullptr ? Error::kUnknownMember
                                             : entry->Leave(member, NowWithTopics()));
  }
  if (entry != nullptr) Settle(entry);
  return reply;
}

// --- Offsets.

task::Task<void> GroupShard::Commit(const CommitRequest& request,
                                    std::span<OffsetToCommit> offsets) {
  const auto refuse = [&](Error error) {
    for (OffsetToCommit& each : offsets) {
      if (each.error == Error::kNone) each.error = error;
    }
  };
  const std::string group_id(request.group_id);
  Entry* entry = Find(group_id);
  if (entry == nullptr && request.generation >= 0) {
    co_return refuse(request.knows_member_epochs ? Error::kGroupNotFound
                                                 : Error::kIllegalGeneration);
  }
  if (entry == nullptr) entry = FindOrMake(group_id, false);
  if (entry == nullptr) co_return refuse(Error::kGroupFull);
  const Instant at = Now();
  const Error admitted = entry->AdmitCommit(request, at);
  if (admitted != Error::kNone) {
    EraseIfUnused(entry);
    co_return refuse(admitted);
  }
  records::RecordBatchBuilder batch = NewBatch();
  size_t bytes = 0;
  CommittedOffset committed{.commit_time_ms = at.wall_ms};
  if (request.retention_ms >= 0) committed.expire_time_ms = at.wall_ms + request.retention_ms;
  for (OffsetToCommit& each : offsets) {
    if (each.error != Error::kNone) continue;
    if (each.metadata.size() > env_.options.offset_metadata_bytes_max) {
      each.error = Error::kOffsetMetadataTooLarge;
      continue;
    }
    committed.offset = each.offset;
    committed.leader_epoch = each.leader_epoch;
    committed.metadata = std::string(each.metadata);
    bytes += OffsetTable::BytesOf(each.topic, each.metadata.size());
    Add(EncodeKey(OffsetKey{group_id, std::string(each.topic), each.partition}),
        EncodeOffset(committed), at, &batch);
  }
  if (batch.record_count() == 0 || !env_.budget.Fits(bytes)) {
    EraseIfUnused(entry);
    co_return refuse(Error::kGroupFull);
  }
  base::Offset base;
  Error error = co_await Append(std::move(batch), &base);
  if (error == Error::kBatchTooLarge) error = Error::kOffsetMetadataTooLarge;
  if (error != Error::kNone || ready_ != Error::kNone) {
    ++env_.counters.commit_failures;
    // It may be gone, with the wait, and need not have been made at all.
    if (Entry* left = Find(group_id)) EraseIfUnused(left);
    co_return refuse(error == Error::kNone ? ready_ : error);
  }
  entry = FindOrMake(group_id, true);
  int64_t record = 0;
  for (const OffsetToCommit& each : offsets) {
    if (each.error != Error::kNone) continue;
    committed.offset = each.offset;
    committed.leader_epoch = each.leader_epoch;
    committed.metadata = std::string(each.metadata);
    committed.record = base + record++;
    entry->offsets.Put(each.topic, each.partition, committed);
    ++env_.counters.commits;
  }
}

FetchOffsetsReply GroupShard::FetchOffsets(const FetchOffsetsRequest& request) const {
  FetchOffsetsReply reply;
  const auto& queries = request.queries;
  const Entry* entry = Find(request.group_id);
  if (entry != nullptr) reply.error = entry->AdmitFetch(request);
  if (reply.error != Error::kNone) return reply;
  const OffsetTable* offsets = entry == nullptr ? nullptr : &entry->offsets;
  if (queries.has_value()) {
    reply.offsets.reserve(queries->size());
    for (const OffsetQuery& query : *queries) {
      const CommittedOffset* found =
          offsets == nullptr ? nullptr : offsets->Find(query.topic, query.partition);
      reply.offsets.push_back({.topic = std::string(query.topic),
                               .partition = query.partition,
                               .committed = found == nullptr ? CommittedOffset() : *found});
    }
    return reply;
  }
  if (offsets == nullptr) return reply;
  for (const auto& [topic, partitions] : offsets->topics()) {
    for (const auto& [partition, committed] : partitions) {
      reply.offsets.push_back({.topic = topic, .partition = partition, .committed = committed});
    }
  }
  return reply;
}

// --- Admin.

std::vector<std::string> GroupShard::GroupIds() const {
  std::vector<std::string> ids;
  ids.reserve(entries_.size());
  for (const auto& [id, entry] : entries_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

size_t GroupShard::member_count() const {
  size_t count = 0;
  for (const auto& [id, entry] : entries_) count += entry->member_count();
  return count;
}

size_t GroupShard::consumer_group_count() const {
  return static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(), [](const auto& each) {
    return each.second->consumer != nullptr;
  }));
}

GroupSummary GroupShard::Summarize(absl::string_view group_id) const {
  const Entry* entry = Find(group_id);
  RT_CHECK(entry != nullptr);
  return entry->Summarize();
}

const OffsetTable* GroupShard::FindOffsets(absl::string_view group_id) const {
  const Entry* entry = Find(group_id);
  return entry == nullptr ? nullptr : &entry->offsets;
}

DescribedGroup GroupShard::Describe(absl::string_view group_id) const {
  const Entry* entry = Find(group_id);
  if (entry != nullptr && entry->classic != nullptr) return entry->classic->Describe();
  return {.error = Error::kGroupNotFound, .state = StateName(GroupState::kDead)};
}

task::Task<Error> GroupShard::DeleteGroup(std::string group_id) {
  Entry* entry = Find(group_id);
  if (entry == nullptr) co_return Error::kGroupNotFound;
  if (entry->has_members()) co_return Error::kGroupNotEmpty;
  Tombstones gone;
  for (const auto& [topic, partitions] : entry->offsets.topics()) {
    for (const auto& [partition, committed] : partitions) {
      gone.push_back({group_id, topic, partition});
    }
  }
  co_return co_await AppendTombstones(std::move(group_id), std::move(gone), true);
}

task::Task<Error> GroupShard::DeleteOffsets(std::string group_id,
                                            std::span<OffsetToDelete> offsets) {
  const Entry* entry = Find(group_id);
  if (entry == nullptr) co_return Error::kGroupNotFound;
  const bool empty = !entry->has_members();
  if (!empty && !entry->of_consumers()) co_return Error::kGroupNotEmpty;
  Tombstones gone;
  for (OffsetToDelete& each : offsets) {
    if (each.error != Error::kNone) continue;
    if (!empty && entry->SubscribesTo(std::string(each.topic))) {
      each.error = Error::kGroupSubscribed;
    } else if (entry->offsets.Find(each.topic, each.partition) != nullptr) {
      gone.push_back({group_id, std::string(each.topic), each.partition});
    }
  }
  co_return co_await AppendTombstones(std::move(group_id), std::move(gone), false);
}

}  // namespace ringtail::group
