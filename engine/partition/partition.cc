#include "engine/partition/partition.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"

namespace ringtail::partition {
namespace {

using base::Error;

constexpr base::Nanos kExpireEvery = 60 * base::kNanosPerSecond;

Error FromBatchError(log::BatchError error) {
  switch (error) {
    case log::BatchError::kNone:
      return Error::kNone;
    case log::BatchError::kTooLarge:
      return Error::kBatchTooLarge;
    case log::BatchError::kBadCodec:
      return Error::kUnsupportedCodec;
    case log::BatchError::kTransactional:
      return Error::kTransactionsUnsupported;
    case log::BatchError::kBadTimestamps:
      return Error::kInvalidTimestamp;
    case log::BatchError::kBadMagic:
    case log::BatchError::kControlBatch:
    case log::BatchError::kBadCount:
    case log::BatchError::kBadOffset:
    case log::BatchError::kBadProducer:
    case log::BatchError::kBadAttributes:
      return Error::kInvalidRecord;
    default:
      return Error::kCorruptBatch;
  }
}

Error FromAppendError(log::AppendError error) {
  switch (error) {
    case log::AppendError::kNone:
      return Error::kNone;
    case log::AppendError::kNoSpace:
      return Error::kDiskFull;
    case log::AppendError::kPoisoned:
    case log::AppendError::kJournalClosed:
      return Error::kStorageError;
    case log::AppendError::kClosed:
      return Error::kNotLeader;
    case log::AppendError::kBadBatches:
      return Error::kBatchTooLarge;
    case log::AppendError::kBadOffset:
      return Error::kInvalidRecord;
  }
  return Error::kInternal;
}

// What to do about a failed write.
absl::string_view Advice(const absl::Status& why) {
  if (absl::IsResourceExhausted(why)) {
    return "free space in the data directory or delete topics; appends go on by themselves then";
  }
  return absl::IsDataLoss(why) ? "reads go on; appends are refused until a restart, see the "
                                 "kernel's log for the disk"
                               : "the next append tries again";
}

Error FromStatus(const absl::Status& status) {
  if (status.ok()) return Error::kNone;
  if (absl::IsResourceExhausted(status)) return Error::kDiskFull;
  if (absl::IsOutOfRange(status)) return Error::kOffsetOutOfRange;
  if (absl::IsAborted(status)) return Error::kNotLeader;
  if (absl::IsDeadlineExceeded(status)) return Error::kTimedOut;
  return Error::kStorageError;
}

// Whether the directory is this topic's, or there is none. One of this name may be what is left of
// a topic that was deleted. One without an identity is a creation that a crash cut short if it
// holds no records: it goes, to be made anew; with records nobody can say whose they are.
task::Task<absl::Status> CheckDirectory(io::Backend& io, std::string directory,
                                        base::Uuid topic_id) {
  const auto owner = co_await log::ReadPartitionMetadata(io, directory);
  if (owner.ok() && *owner == topic_id) co_return absl::OkStatus();
  if (owner.ok()) {
    co_return absl::FailedPreconditionError(
        absl::StrCat(directory, " belongs to the topic with id ", owner->ToString(), ", not to ",
                     topic_id.ToString(), "; a restart removes it where that topic was deleted"));
  }
  if (!absl::IsNotFound(owner.status())) co_return owner.status();
  const auto entries = io.ListDirectory(directory);
  if (!entries.ok()) {
    co_return absl::IsNotFound(entries.status()) ? absl::OkStatus() : entries.status();
  }
  for (const io::DirectoryEntry& entry : *entries) {
    if (!absl::EndsWith(entry.name, ".log")) continue;
    const auto info = io.StatPath(absl::StrCat(directory, "/", entry.name));
    if (info.ok() && info->size_bytes == 0) continue;
    co_return absl::FailedPreconditionError(
        absl::StrCat(directory,
                     " holds records but no partition.metadata says of which topic; "
                     "move it away, or write that file from a copy"));
  }
  co_return co_await io::RemoveDirectoryWithFiles(io, directory);
}

absl::Status DirectoryMissing(const log::RecoveredLog& recovered) {
  return absl::FailedPreconditionError(recovered.closed_reason.empty() ? "its directory is missing"
                                                                       : recovered.closed_reason);
}

}  // namespace

Partition::Partition(PartitionIdentity identity, PartitionConfig config)
    : identity_(std::move(identity)), config_(config), producers_(config.producers) {}

Partition::~Partition() = default;

task::Task<absl::StatusOr<std::unique_ptr<Partition>>> Partition::Open(
    log::LogEnvironment& env, std::string directory, PartitionIdentity identity,
    PartitionConfig config, log::OpenOptions options, log::RecoveryInfo* info) {
  std::unique_ptr<Partition> partition(new Partition(std::move(identity), config));
  partition->env_ = &env;
  const PartitionIdentity& id = partition->identity_;
  if (options.checked_directory != directory) {
    RT_CO_RETURN_IF_ERROR(co_await CheckDirectory(env.io(), directory, id.topic_id));
  }
  options.topic_id = id.topic_id;
  auto opened =
      co_await log::Log::Open(env, *partition, directory, config.log, id.name, options, info);
  if (absl::IsNotFound(opened.status())) {
    // One that the journal knows of is not begun anew: its offsets were given out.
    if (options.recovered.has_value()) co_return DirectoryMissing(*options.recovered);
    opened =
        co_await log::Log::Create(env, *partition, directory, config.log, id.name, id.topic_id);
  }
  if (!opened.ok()) co_return opened.status();
  partition->log_ = *std::move(opened);
  co_return partition;
}

task::Task<absl::Status> Partition::Begin() {
  RT_CO_RETURN_IF_ERROR(co_await log_->BeginEpoch(identity_.leader_epoch));
  high_watermark_ = log_->durable_end();
  producers_.CommitTo(high_watermark_);
  co_return absl::OkStatus();
}

void Partition::SetConfig(const PartitionConfig& config) {
  config_ = config;
  if (!users_.closed()) log_->SetConfig(config.log);
}

Error Partition::CheckProducer(base::ByteView batches, size_t batch_count, ProduceResult* result) {
  log::BatchWalker walker(batches);
  RT_CHECK(walker.Next());
  const log::BatchView first = walker.batch();
  const ProducerVerdict verdict = producers_.Check(first);
  switch (verdict.check) {
    case ProducerCheck::kNoProducer:
    case ProducerCheck::kNew:
      break;
    case ProducerCheck::kDuplicate:
      // Only a whole request can be repeated: of several batches some may be new.
      if (batch_count > 1) return Error::kOutOfOrderSequence;
      result->base_offset = verdict.base_offset;
      if (config_.log_append_time) result->log_append_time_ms = verdict.timestamp_ms;
      return Error::kDuplicateSequence;
    case ProducerCheck::kOutOfOrder:
      return Error::kOutOfOrderSequence;
    case ProducerCheck::kFenced:
      return Error::kProducerFenced;
    case ProducerCheck::kInvalid:
      return Error::kInvalidRecord;
  }
  // Further batches must continue the first one's sequence, or all be without a producer.
  int32_t last_sequence = first.last_sequence();
  while (walker.Next()) {
    const log::BatchView& next = walker.batch();
    if (next.producer_id() != first.producer_id() ||
        next.producer_epoch() != first.producer_epoch()) {
      return Error::kInvalidRecord;
    }
    if (!first.has_producer()) continue;
    const int32_t expected = last_sequence == INT32_MAX ? 0 : last_sequence + 1;
    if (next.base_sequence() != expected) return Error::kOutOfOrderSequence;
    last_sequence = next.last_sequence();
  }
  return Error::kNone;
}

// By the header, as no record is looked into: of records out of order, one before the first may be
// older than that.
Error Partition::CheckTimestamps(const log::BatchHeader& batch, ProduceResult* result) const {
  if (config_.log_append_time) return Error::kNone;
  const int64_t now = env_->io().WallMillis();
  const int64_t before = config_.timestamp_before_max_ms;
  const int64_t after = config_.timestamp_after_max_ms;
  const int64_t oldest = now - before;
  const int64_t newest = now > INT64_MAX - after ? INT64_MAX : now + after;
  const int64_t first = batch.base_timestamp_ms();
  const bool dated = first != log::kNoTimestamp;  // some clients never set it
  if ((!dated || first >= oldest) && batch.max_timestamp_ms() <= newest) return Error::kNone;
  result->timestamp_min_ms = oldest;
  result->timestamp_max_ms = newest;
  return Error::kInvalidTimestamp;
}

Error Partition::Admit(base::MutableByteView batches, ProduceResult* result) {
  const auto rules = log::BatchRules::Producer(static_cast<size_t>(config_.batch_bytes_max));
  size_t batch_count = 0;
  log::BatchWalker walker(batches, rules.batch_bytes_max);
  for (; walker.Next(); ++batch_count) {
    const log::BatchError error = log::ValidateBatch(walker.batch(), rules);
    if (error != log::BatchError::kNone) return FromBatchError(error);
    const Error timestamps = CheckTimestamps(walker.batch(), result);
    if (timestamps != Error::kNone) return timestamps;
    if (config_.compaction.on && !HasKeys(walker.batch())) return Error::kInvalidRecord;
  }
  if (walker.error() != log::BatchError::kNone) return FromBatchError(walker.error());
  if (batch_count == 0) return Error::kInvalidRecord;
  const Error producer = CheckProducer(batches, batch_count, result);
  if (producer != Error::kNone) return producer;
  if (!config_.log_append_time) return Error::kNone;
  result->log_append_time_ms = env_->io().WallMillis();
  size_t at = 0;
  while (at < batches.size()) {
    const size_t bytes = log::ParseBatch(batches.subspan(at)).batch.size_bytes();
    log::SetLogAppendTime(batches.subspan(at, bytes), result->log_append_time_ms);
    at += bytes;
  }
  return Error::kNone;
}

// Looked at when something is appended, so that an idle partition needs no timer.
void Partition::ExpireProducers() {
  const base::Nanos now = task::Scheduler::Current().now();
  if (now - producers_expired_at_ < kExpireEvery) return;
  producers_expired_at_ = now;
  producers_.Expire(env_->io().WallMillis());
}

log::AppendResult Partition::Append(base::MutableByteView batches) {
  ExpireProducers();
  const log::AppendResult append = log_->AppendAsLeader(batches, identity_.leader_epoch);
  if (!append.ok()) return append;
  counters_.bytes_in += batches.size();
  for (log::BatchWalker walker(batches); walker.Next();) {
    ++counters_.batches_in;
    producers_.Update(walker.batch());
  }
  return append;
}

task::Task<ProduceResult> Partition::Produce(base::MutableByteView batches, AckPolicy acks) {
  ProduceResult result;
  const task::Gate::Hold hold(users_);
  if (!hold.entered()) {
    result.error = Error::kNotLeader;
    co_return result;
  }
  result.error = Admit(batches, &result);
  result.log_start = log_->log_start();
  if (result.error == Error::kDuplicateSequence && result.base_offset.value() >= 0) {
    // Answered as the original is: once it is durable, or when it may have been rolled back, its
    // offset then being free for other records.
    result.error = Error::kNone;
    const base::Offset end = result.base_offset + 1;
    const uint64_t rollbacks = rollbacks_;
    while (high_watermark_ < end && !users_.closed() && result.error == Error::kNone) {
      FetchWait wait(nullptr);
      wait.Watch(watchers_);
      co_await wait.WaitUntil(base::kNever);
      if (rollbacks_ != rollbacks) result.error = Error::kDiskFull;
      if (log_->failed()) result.error = Error::kStorageError;
    }
    if (high_watermark_ < end && result.error == Error::kNone) result.error = Error::kNotLeader;
    if (result.error != Error::kNone) result.base_offset = base::Offset(-1);
    co_return result;
  }
  if (result.error != Error::kNone) {
    ++counters_.produce_errors;
    co_return result;
  }
  const log::AppendResult append = Append(batches);
  if (!append.ok()) {
    ++counters_.produce_errors;
    result.error = FromAppendError(append.error);
    co_return result;
  }
  result.base_offset = append.base_offset;
  // With one replica the leader's watermark and the high watermark are the same: what is durable.
  // The bytes are referred to until they are written, whatever the acks ask for.
  const absl::Status written = acks == AckPolicy::kNone
                                   ? co_await log_->WaitWritten(append, base::kNever)
                                   : co_await log_->WaitDurable(append, base::kNever);
  result.error = FromStatus(written);
  if (result.error != Error::kNone) {
    ++counters_.produce_errors;
    result.base_offset = base::Offset(-1);
  }
  co_return result;
}

Error Partition::CheckLeaderEpoch(int32_t leader_epoch) const {
  if (leader_epoch < 0 || leader_epoch == identity_.leader_epoch) return Error::kNone;
  return leader_epoch < identity_.leader_epoch ? Error::kFencedLeaderEpoch
                                               : Error::kUnknownLeaderEpoch;
}

task::Task<FetchResult> Partition::Fetch(base::Offset from, int64_t bytes_max,
                                         bool at_least_one_batch, int32_t leader_epoch) {
  FetchResult result;
  const task::Gate::Hold hold(users_);
  if (!hold.entered()) {
    result.error = Error::kNotLeader;
    co_return result;
  }
  result.high_watermark = high_watermark_;
  result.log_start = log_->log_start();
  result.log_end = log_->log_end();
  result.error = CheckLeaderEpoch(leader_epoch);
  if (result.error != Error::kNone) co_return result;
  if (from < result.log_start || from > result.high_watermark) {
    result.error = Error::kOffsetOutOfRange;
    co_return result;
  }
  if (from == result.high_watermark) co_return result;
  if (bytes_max <= 0 && !at_least_one_batch) {
    result.more = true;
    co_return result;
  }
  auto plan = co_await log_->PlanRead(from, result.high_watermark, bytes_max, at_least_one_batch);
  if (!plan.ok()) {
    result.error = FromStatus(plan.status());
    if (result.error == Error::kStorageError) {
      RT_LOG_EVERY(1, kError, "{}: read at offset {} failed: {}", identity_.name.ToString(),
                   from.value(), plan.status().message());
    }
    co_return result;
  }
  result.plan = *std::move(plan);
  result.more = result.plan.bytes == 0 || result.plan.next_offset < result.high_watermark;
  counters_.bytes_out += static_cast<uint64_t>(result.plan.bytes);
  co_return result;
}

OffsetResult Partition::EndOfEpoch(int32_t leader_epoch) const {
  // The log knows of an epoch from its first batch on; a leader's begins with its leadership, where
  // the log ended, as in Kafka. Clients that find nothing to read have that one.
  const int32_t latest = log_->epochs().latest();
  const int32_t current = identity_.leader_epoch;
  if (leader_epoch > latest && leader_epoch >= 0 && leader_epoch <= current) {
    const bool known = leader_epoch == current || latest < 0;
    return {.offset = log_->log_end(), .leader_epoch = known ? leader_epoch : latest};
  }
  const log::EpochEntry end = log_->epochs().EndOf(leader_epoch, log_->log_end());
  return {.offset = end.start, .leader_epoch = end.epoch};
}

OffsetResult Partition::Earliest() const {
  return {.offset = log_->log_start(), .leader_epoch = identity_.leader_epoch};
}

OffsetResult Partition::Latest() const {
  return {.offset = high_watermark_, .leader_epoch = identity_.leader_epoch};
}

namespace {

OffsetResult FromLookup(const absl::StatusOr<std::optional<log::TimestampOffset>>& found) {
  OffsetResult result;
  if (!found.ok()) {
    result.error = FromStatus(found.status());
  } else if (found->has_value()) {
    result.offset = (*found)->offset;
    result.timestamp_ms = (*found)->timestamp_ms;
    result.leader_epoch = (*found)->leader_epoch;
  }
  return result;
}

}  // namespace

task::Task<OffsetResult> Partition::AtTimestamp(int64_t timestamp_ms) {
  const task::Gate::Hold hold(users_);
  if (!hold.entered()) co_return OffsetResult{.error = Error::kNotLeader};
  co_return FromLookup(co_await log_->OffsetForTimestamp(timestamp_ms, high_watermark_));
}

task::Task<OffsetResult> Partition::AtMaxTimestamp() {
  const task::Gate::Hold hold(users_);
  if (!hold.entered()) co_return OffsetResult{.error = Error::kNotLeader};
  co_return FromLookup(co_await log_->OffsetOfMaxTimestamp());
}

task::Task<absl::Status> Partition::Close(bool remove) {
  users_.Shut();
  WakeWatchers();
  log_->StopCompacting();
  if (remove) {
    // Ends what is queued; those who wait for it leave after it.
    const absl::Status removed = co_await log_->CloseAndRemove();
    co_await users_.Close();
    co_return removed;
  }
  co_await users_.Close();
  co_return co_await log_->Close();
}

task::Task<absl::Status> Partition::CloseUnsynced() {
  users_.Shut();
  WakeWatchers();
  log_->StopCompacting();
  co_await users_.Close();
  co_return co_await log_->CloseUnsynced();
}

void Partition::WakeWatchers() {
  while (FetchLink* link = watchers_.PopFront()) link->wait->Wake();
}

void Partition::OnDurable(base::Offset end) {
  high_watermark_ = end;
  producers_.CommitTo(end);
  WakeWatchers();
}

void Partition::OnRolledBack(base::Offset end, const absl::Status& why) {
  RT_LOG_EVERY(1, kError, "{}: append failed, the log ends at {} again: {}; {}",
               identity_.name.ToString(), end.value(), why.message(), Advice(why));
  ++rollbacks_;
  producers_.TruncateTo(end);
  WakeWatchers();
}

std::string Partition::ProducerSnapshot(base::Offset end) { return producers_.EncodeSnapshot(end); }

std::optional<base::Offset> Partition::ProducerHistoryStart(base::Offset from) {
  return producers_.HistoryStart(from);
}

bool Partition::IsLastOfProducer(const log::BatchHeader& batch) { return producers_.IsLast(batch); }

void Partition::ResetProducers() { producers_.Clear(); }

absl::Status Partition::LoadProducerSnapshot(base::Offset, base::ByteView snapshot) {
  return producers_.DecodeSnapshot(snapshot);
}

void Partition::RecallBatch(const log::BatchHeader& batch) { producers_.Recall(batch); }
void Partition::ReplayBatch(const log::BatchHeader& batch) { producers_.Update(batch); }

}  // namespace ringtail::partition
