// A shard's start: its partition from the beginning to the end, one batch after the other.
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/records/record_reader.h"
#include "server/group/group_records.h"
#include "server/group/group_shard_entry.h"

namespace ringtail::group {

using base::Error;

namespace {

constexpr int64_t kReadBytes = 1 << 20;

}  // namespace

struct GroupShard::Loading {
  // By group id, the newest each: members are made once, at the end.
  std::map<std::string, GroupRecord> groups;
  std::map<std::string, ConsumerGroupImage> consumers;
  records::RecordReader reader;
  uint64_t records = 0;
  uint64_t unknown = 0;  // of kinds that are not known here
};

void GroupShard::Load() { task::SpawnNow("group load", LoadTask()); }

task::Task<void> GroupShard::LoadTask() {
  const base::Nanos started = env_.core.now();
  Loading loading;
  const absl::Status read = co_await ReadAll(&loading);
  if (ready_ != Error::kCoordinatorLoading) co_return;  // closed meanwhile
  if (!read.ok()) {
    ready_ = Error::kCoordinatorNotAvailable;
    entries_.clear();
    RT_LOG(kError, "__consumer_offsets-{}: its groups are not served: {}", id_.partition,
           read.message());
    co_return;
  }
  FinishLoading(&loading);
  ready_ = Error::kNone;
  if (loading.records == 0) co_return;
  RT_LOG(kInfo, "__consumer_offsets-{}: {} groups of {} records, read in {} ms", id_.partition,
         entries_.size(), loading.records, (env_.core.now() - started) / base::kNanosPerMilli);
  if (loading.unknown > 0) {
    RT_LOG(kWarn, "__consumer_offsets-{}: {} records of kinds that this version does not know",
           id_.partition, loading.unknown);
  }
}

task::Task<absl::Status> GroupShard::ReadAll(Loading* loading) {
  partition::Partition* partition = env_.partitions.Find(id_);
  if (partition == nullptr) co_return absl::UnavailableError("the partition is not served");
  // Nobody else appends: what follows is this shard's own.
  const base::Offset end = partition->high_watermark();
  base::Offset next = partition->log_start();
  std::vector<uint8_t> bytes;
  while (next < end && ready_ == Error::kCoordinatorLoading) {
    partition = env_.partitions.Find(id_);
    if (partition == nullptr) co_return absl::UnavailableError("the partition has gone");
    partition::FetchResult fetched = co_await partition->Fetch(next, kReadBytes, true, -1);
    if (fetched.error != Error::kNone) {
      co_return absl::UnavailableError(
          absl::StrCat("offset ", next.value(), ": ", base::ErrorText(fetched.error)));
    }
    if (fetched.plan.bytes == 0) break;  // nothing but a gap is left
    bytes.resize(static_cast<size_t>(fetched.plan.bytes));
    iovec vector{.iov_base = bytes.data(), .iov_len = bytes.size()};
    const int64_t read = co_await io::ReadFully(env_.core.io(), fetched.plan.fd, &vector, 1,
                                                fetched.plan.position.value());
    if (read != fetched.plan.bytes) {
      co_return absl::UnavailableError(
          absl::StrCat("offset ", next.value(), ": read ", read, " bytes of ", fetched.plan.bytes));
    }
    next = fetched.plan.next_offset;
    log::BatchWalker walker(bytes);
    while (walker.Next()) RT_CO_RETURN_IF_ERROR(Replay(walker.batch(), loading));
    if (walker.error() != log::BatchError::kNone) {
      co_return absl::DataLossError(absl::StrCat("a batch before offset ", next.value(), ": ",
                                                 log::BatchErrorText(walker.error())));
    }
    co_await task::Yield();
  }
  co_return absl::OkStatus();
}

absl::Status GroupShard::Replay(const log::BatchView& batch, Loading* loading) {
  const auto failed = [&](absl::string_view what) {
    return absl::DataLossError(
        absl::StrCat("the batch at offset ", batch.base_offset().value(), ": ", what));
  };
  log::BatchRules rules = log::BatchRules::Verbatim();
  const log::BatchError error = log::ValidateBatch(batch, rules);
  if (error != log::BatchError::kNone) return failed(log::BatchErrorText(error));
  if (batch.control()) return absl::OkStatus();
  const absl::Status opened = loading->reader.Open(batch);
  if (!opened.ok()) return failed(opened.message());
  while (loading->reader.Next()) {
    const records::Record& record = loading->reader.record();
    RT_RETURN_IF_ERROR(ReplayRecord(record.offset, record.fields, loading));
  }
  if (!loading->reader.status().ok()) return failed(loading->reader.status().message());
  return absl::OkStatus();
}

absl::Status GroupShard::ReplayRecord(base::Offset at, const log::RecordView& record,
                                      Loading* loading) {
  ++loading->records;
  if (!record.key.has_value()) return absl::DataLossError("a record without a key");
  RT_ASSIGN_OR_RETURN(const RecordKey key, DecodeKey(*record.key));
  if (const auto* offset = std::get_if<OffsetKey>(&key)) {
    if (!record.value.has_value()) {
      if (Entry* entry = Find(offset->group)) {
        entry->offsets.Remove(offset->topic, offset->partition, at);
      }
      return absl::OkStatus();
    }
    RT_ASSIGN_OR_RETURN(CommittedOffset committed, DecodeOffset(*record.value));
    committed.record = at;
    FindOrMake(offset->group, true)
        ->offsets.Put(offset->topic, offset->partition, std::move(committed));
    return absl::OkStatus();
  }
  if (const auto* group = std::get_if<GroupKey>(&key)) {
    if (!record.value.has_value()) {
      loading->groups.erase(group->group);
      return absl::OkStatus();
    }
    RT_ASSIGN_OR_RETURN(loading->groups[group->group], DecodeGroup(*record.value));
    loading->consumers.erase(group->group);  // what it was before
    return absl::OkStatus();
  }
  if (const auto* consumer = std::get_if<ConsumerKey>(&key)) {
    if (consumer->kind == ConsumerRecord::kGroup && record.value.has_value()) {
      loading->groups.erase(consumer->group);
    }
    return loading->consumers[consumer->group].Apply(*consumer, record.value);
  }
  ++loading->unknown;
  return absl::OkStatus();
}

void GroupShard::FinishLoading(Loading* loading) {
  for (auto& [id, record] : loading->groups) {
    Entry* entry = FindOrMake(id, true);
    entry->classic->Restore(std::move(record), Now());
    entry->recorded = true;
  }
  for (auto& [id, image] : loading->consumers) {
    // Tombstones leave nothing.
    if (!image.group.has_value() && image.members.empty()) continue;
    Entry* entry = FindOrMake(id, true);
    entry->Become(entry->NewConsumer());
    entry->consumer->Restore(std::move(image), Now());
    entry->recorded = true;
  }
  for (const std::string& id : GroupIds()) Settle(Find(id));
}

}  // namespace ringtail::group
