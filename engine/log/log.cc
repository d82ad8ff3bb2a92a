#include "engine/log/log.h"

#include <algorithm>
#include <limits>

#include "engine/base/check.h"
#include "engine/io/file.h"

namespace ringtail::log {
namespace {

constexpr int64_t kPositionMax = std::numeric_limits<int32_t>::max();  // of the index format
constexpr size_t kRollbacksKept = 64;
constexpr base::Nanos kSpaceCheckEvery = 100 * base::kNanosPerMilli;
// A file system with less than this left is still called full.
constexpr int64_t kSpaceReserveBytes = 64 << 10;

}  // namespace

Log::Log(LogEnvironment& env, LogObserver& observer, std::string directory, LogConfig config,
         TopicPartition name)
    : env_(env),
      observer_(observer),
      directory_(std::move(directory)),
      config_(config),
      name_(std::move(name)),
      pins_(env.pins()) {}

Log::~Log() = default;

int64_t Log::size_bytes() const {
  int64_t bytes = 0;
  for (const auto& segment : segments_) bytes += segment->totals.bytes;
  return bytes;
}

int64_t Log::index_bytes() const {
  int64_t bytes = 0;
  for (const auto& segment : segments_) {
    bytes += segment->index().size_bytes() + segment->time_index().size_bytes();
  }
  return bytes;
}

int64_t Log::preallocated_bytes() const {
  int64_t bytes = 0;
  for (const auto& segment : segments_) {
    bytes += std::max<int64_t>(segment->allocated_bytes - segment->written_bytes, 0);
  }
  return bytes;
}

void Log::AddSegment(base::Offset base) {
  segments_.push_back(std::make_unique<Segment>(env_.files(), env_.io(), directory_, base));
  segments_.back()->created_ms = env_.io().WallMillis();
}

void Log::SetConfig(const LogConfig& config) {
  config_ = config;
  if (MustSwitchMode() && !cutting_) StartWriter();
}

AppendError Log::WhyRefused(int64_t bytes) {
  if (closed_ || cutting_) return AppendError::kClosed;
  if (poisoned_) return AppendError::kPoisoned;
  const bool journaled = Journaled() || config_.durability == Durability::kJournal;
  if (journaled && JournalClosed()) return AppendError::kJournalClosed;
  if (env_.reserve().Refuses()) return AppendError::kNoSpace;
  // While an append that tries whether there is space again is on its way, others may join it.
  if (write_status_.ok() || !queue_.empty()) return AppendError::kNone;
  const base::Nanos now = task::Scheduler::Current().now();
  if (now < space_checked_ + kSpaceCheckEvery) return AppendError::kNoSpace;
  space_checked_ = now;
  const absl::StatusOr<io::DiskSpace> space = env_.io().Space(directory_);
  const bool enough = space.ok() && space->available_bytes >= bytes + kSpaceReserveBytes;
  return enough ? AppendError::kNone : AppendError::kNoSpace;
}

AppendResult Log::Refuse(AppendError error) const {
  AppendResult result;
  result.error = error;
  result.base_offset = result.end_offset = log_end_;
  result.generation = generation_;
  return result;
}

AppendResult Log::AppendAsLeader(base::MutableByteView batches, int32_t leader_epoch) {
  const AppendError refused = WhyRefused(static_cast<int64_t>(batches.size()));
  if (refused != AppendError::kNone) return Refuse(refused);
  AppendResult result = Refuse(AppendError::kNone);
  int64_t count = 0;
  int64_t offsets = 0;
  BatchWalker walker(batches);
  while (walker.Next()) {
    if (walker.batch().last_offset_delta() < 0) return Refuse(AppendError::kBadBatches);
    offsets += int64_t{walker.batch().last_offset_delta()} + 1;
    result.max_timestamp_ms = std::max(result.max_timestamp_ms, walker.batch().max_timestamp_ms());
    ++count;
  }
  if (walker.error() != BatchError::kNone || count == 0) return Refuse(AppendError::kBadBatches);
  if (static_cast<int64_t>(batches.size()) > kPositionMax) return Refuse(AppendError::kBadBatches);
  // As in AppendVerbatim: a header may claim any number of records where they are compressed.
  if (offsets > kPositionMax) return Refuse(AppendError::kBadOffset);

  for (size_t at = 0; at < batches.size();) {
    const base::MutableByteView batch = batches.subspan(at);
    PatchBaseOffset(batch, result.end_offset);
    PatchLeaderEpoch(batch, leader_epoch);
    const auto parsed = ParseBatchHeader(batch);
    RT_CHECK(parsed.ok());
    result.end_offset = parsed.batch.next_offset();
    at += parsed.batch.size_bytes();
  }
  Enqueue(batches, result);
  env_.counters().append_batches += static_cast<uint64_t>(count);
  return result;
}

AppendResult Log::AppendVerbatim(base::ByteView batches) {
  const AppendError refused = WhyRefused(static_cast<int64_t>(batches.size()));
  if (refused != AppendError::kNone) return Refuse(refused);
  AppendResult result = Refuse(AppendError::kNone);
  int64_t count = 0;
  BatchWalker walker(batches);
  while (walker.Next()) {
    const BatchView& batch = walker.batch();
    if (batch.last_offset_delta() < 0) return Refuse(AppendError::kBadBatches);
    if (batch.base_offset() < result.end_offset) return Refuse(AppendError::kBadOffset);
    if (batch.next_offset() <= batch.base_offset()) return Refuse(AppendError::kBadOffset);
    if (count++ == 0) result.base_offset = batch.base_offset();
    result.end_offset = batch.next_offset();
    result.max_timestamp_ms = std::max(result.max_timestamp_ms, batch.max_timestamp_ms());
  }
  if (walker.error() != BatchError::kNone || count == 0) return Refuse(AppendError::kBadBatches);
  if (static_cast<int64_t>(batches.size()) > kPositionMax) return Refuse(AppendError::kBadBatches);
  // Indexes hold offsets relative to the segment in 31 bits: the whole append must fit one segment.
  if (result.end_offset - result.base_offset > kPositionMax) {
    return Refuse(AppendError::kBadOffset);
  }
  Enqueue(batches, result);
  env_.counters().append_batches += static_cast<uint64_t>(count);
  return result;
}

bool Log::MustRoll(int64_t bytes, int64_t max_timestamp_ms, base::Offset last_offset) {
  Segment& segment = active();
  if (segment.totals.bytes == 0) {
    // An empty segment is rolled only where its base is too far behind.
    return last_offset - segment.base() > kPositionMax;
  }
  const int64_t bytes_max = std::min(config_.segment_bytes_max, kPositionMax);
  if (segment.totals.bytes + bytes > bytes_max) return true;
  if (last_offset - segment.base() > kPositionMax) return true;
  if (segment.index().size_bytes() + kIndexEntryBytes > config_.index_bytes_max) return true;
  if (segment.time_index().size_bytes() + kTimeEntryBytes > config_.index_bytes_max) return true;
  if (max_timestamp_ms >= 0 && segment.totals.first_timestamp_ms >= 0) {
    return max_timestamp_ms - segment.totals.first_timestamp_ms > config_.segment_ms;
  }
  return env_.io().WallMillis() - segment.created_ms > config_.segment_ms;
}

// In memory only: the writer makes the file when it comes to it, and the background task closes
// what is full.
void Log::RollTo(base::Offset base) {
  RT_CHECK(base > active().base());
  untouched_ = false;
  active().EndTimeIndex();
  const bool unused = active().totals.bytes == 0 && !active().created && segments_.size() == 1;
  AddSnapshot(base);
  AddSegment(base);
  if (unused) segments_.erase(segments_.begin());
  ++env_.counters().rolls;
}

void Log::AddSnapshot(base::Offset end) {
  std::string snapshot = observer_.ProducerSnapshot(end);
  if (!snapshot.empty()) new_snapshots_.emplace_back(end, std::move(snapshot));
}

absl::Status Log::Roll() {
  if (closed_ || cutting_) return absl::AbortedError(name_.ToString() + ": closing");
  if (active().totals.bytes > 0) RollTo(active().totals.next_offset);
  StartBackground();
  return absl::OkStatus();
}

void Log::Enqueue(base::ByteView batches, AppendResult& result) {
  const int64_t bytes = static_cast<int64_t>(batches.size());
  if (MustRoll(bytes, result.max_timestamp_ms, result.end_offset - 1)) {
    // Segments follow each other without a gap, as far as their indexes can express it, so that
    // recovery sees where bytes are missing.
    const base::Offset next = active().totals.next_offset;
    const bool near = result.end_offset - next <= kPositionMax;
    RollTo(near && next > active().base() ? next : result.base_offset);
  }
  untouched_ = false;
  Segment& segment = active();
  queue_.push_back({&segment, segment.totals.bytes, batches, result.end_offset, segment.totals});
  append_positions_.Note(result.base_offset, segment.base(), segment.totals.bytes);
  for (size_t at = 0; at < batches.size();) {
    const auto parsed = ParseBatchHeader(batches.subspan(at));
    RT_CHECK(parsed.ok());
    segment.NoteBatch(parsed.batch, config_);
    if (epochs_.Assign(parsed.batch.leader_epoch(), parsed.batch.base_offset())) {
      epochs_dirty_ = true;
    }
    at += parsed.batch.size_bytes();
  }
  log_end_ = result.end_offset;
  queued_bytes_ += bytes;
  env_.counters().appends += 1;
  env_.counters().append_bytes += static_cast<uint64_t>(bytes);
  StartWriter();
}

void Log::StartWriter() {
  if (writing_) return;
  writing_ = true;
  task::Spawn("log writer", WriteQueue());
}

task::Task<absl::Status> Log::WaitWritten(AppendResult append, base::Nanos deadline) {
  return WaitFor(append, /*durable=*/false, deadline);
}

task::Task<absl::Status> Log::WaitDurable(AppendResult append, base::Nanos deadline) {
  return WaitFor(append, /*durable=*/true, deadline);
}

task::Task<absl::Status> Log::WaitFor(AppendResult append, bool durable, base::Nanos deadline) {
  const base::Offset& reached = durable ? durable_end_ : written_end_;
  while (true) {
    absl::Status failure = FailureOf(append);
    if (!failure.ok()) co_return failure;
    if (append.end_offset <= reached) co_return absl::OkStatus();
    if (durable && append.end_offset <= written_end_ && (poisoned_ || journal_failed_)) {
      co_return absl::DataLossError(name_.ToString() + ": written, but will not be durable");
    }
    if (append.generation != generation_ && append.end_offset > written_end_) {
      // Written before log_end fell back, and log_end has not passed it again: truncated.
      co_return absl::AbortedError(name_.ToString() + ": truncated");
    }
    Waiter waiter;
    waiter.end = append.end_offset;
    waiter.durable = durable;
    waiters_.PushBack(waiter);
    const bool notified = co_await waiter.changed.WaitUntil(deadline);
    if (!notified && append.end_offset > reached && FailureOf(append).ok()) {
      co_return absl::DeadlineExceededError(name_.ToString() + ": not written yet");
    }
  }
}

void Log::WakeWaiters() {
  // Those that wait for what is written and will not be durable have nothing else to wait for.
  const base::Offset durable = failed() ? written_end_ : durable_end_;
  waiters_.ForEach([this, durable](Waiter& waiter) {
    if (waiter.end > (waiter.durable ? durable : written_end_)) return;
    waiter.Unlink();
    waiter.changed.NotifyAll();
  });
}

void Log::FailFrom(base::Offset end, const absl::Status& why) {
  rollbacks_.push_back({generation_, end, why});
  if (rollbacks_.size() > kRollbacksKept) rollbacks_.pop_front();
  ++generation_;
  // All of them look at what has become of their append, and wait again if nothing has.
  while (Waiter* waiter = waiters_.PopFront()) waiter->changed.NotifyAll();
}

// The first time that log_end fell back after an append decides: had it been written by then, it
// was below.
absl::Status Log::FailureOf(const AppendResult& append) const {
  if (append.generation == generation_) return absl::OkStatus();
  for (size_t i = 0; i < rollbacks_.size(); ++i) {
    const Rollback& rollback = rollbacks_[i];
    if (rollback.generation < append.generation) continue;
    if (append.end_offset > rollback.end) return rollback.status;
    if (rollback.generation == append.generation) return absl::OkStatus();
  }
  return absl::AbortedError(name_.ToString() + ": the append is too old to know");
}

}  // namespace ringtail::log
