// The writer task of a log: it exists while something is queued.
#include <algorithm>
#include <bit>
#include <climits>

#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/journal/core_journal.h"
#include "engine/log/log.h"

namespace ringtail::log {
namespace {

constexpr base::Nanos kRateWindow = base::kNanosPerSecond;
constexpr base::Nanos kAllocateRetry = 10 * base::kNanosPerSecond;
// One step of preallocation takes at most this part of what the disk has above its reserve.
constexpr int64_t kSparePart = 64;

}  // namespace

task::Task<void> Log::WriteQueue() {
  while (true) {
    if (MustSwitchMode()) {
      co_await SwitchMode();
      continue;
    }
    if (queue_.empty()) break;
    Segment& segment = *queue_.front().segment;
    FilePin pin = env_.files().TryPin(segment.file());
    if (!pin) {
      absl::StatusOr<FilePin> opened = co_await PinForWriting(segment, /*append=*/true);
      if (!opened.ok()) {
        // Too many open files, say: nothing is lost, and the next append tries again.
        WriteFailed(opened.status(), !absl::IsDataLoss(opened.status()), 0);
        continue;
      }
      pin = *std::move(opened);
    }
    if (Journaled()) {
      co_await WriteJournaled(std::move(pin));
      continue;
    }
    int64_t bytes = 0;
    const size_t entries = GatherWrite(env_.options().write_bytes_max, &bytes);
    const int64_t done = co_await WriteGathered(pin, segment, bytes);
    if (done == bytes) {
      Written(entries, bytes);
    } else {
      const absl::Status why = WriteError(done, segment);
      WriteFailed(why, absl::IsResourceExhausted(why), bytes);
    }
  }
  vectors_.clear();
  if (vectors_.capacity() > 64) vectors_.shrink_to_fit();
  writing_ = false;
  queue_drained_.NotifyAll();
}

// What is in vectors_, to the end of what the segment has. Returns the bytes, or -errno.
task::Task<int64_t> Log::WriteGathered(const FilePin& pin, Segment& segment, int64_t bytes) {
  const int64_t position = segment.written_bytes;
  const base::Nanos started = env_.io().Now();
  const bool is_inline = env_.WriteInline(bytes);
  int64_t done;
  if (is_inline) {
    done = WriteInline(pin.fd(), position);
    ++env_.counters().writes_inline;
  } else {
    done = co_await io::WriteFully(env_.io(), pin.fd(), vectors_.data(),
                                   static_cast<int>(vectors_.size()), position, 0);
    ++env_.counters().writes_ring;
  }
  const base::Nanos took_ns = env_.io().Now() - started;
  if (is_inline) env_.NoteInlineWrite(bytes, took_ns);
  env_.write_times().Add(took_ns);
  co_return done;
}

// A write that stops making progress without an error is as bad as one with EIO.
absl::Status Log::WriteError(int64_t done, const Segment& segment) {
  const int error = done < 0 ? static_cast<int>(-done) : EIO;
  return io::ErrnoStatus(error, "write", segment.file()->path());
}

task::Task<absl::StatusOr<FilePin>> Log::PinForWriting(Segment& segment, bool append) {
  const bool create = !segment.created;
  FileCache& files = env_.files();
  RT_CO_ASSIGN_OR_RETURN(FilePin pin, co_await (append ? files.PinToAppend(segment.file(), create)
                                                       : files.Pin(segment.file(), create)));
  if (create) {
    segment.created = true;
    directory_dirty_ = true;
  }
  co_return pin;
}

// What is queued for one segment, up to the bounds of one write; at least one entry.
size_t Log::GatherWrite(int64_t bytes_max, int64_t* bytes) {
  vectors_.clear();
  *bytes = 0;
  for (size_t i = 0; i < queue_.size(); ++i) {
    const Queued& queued = queue_[i];
    const int64_t more = static_cast<int64_t>(queued.bytes.size());
    if (!vectors_.empty() && (queued.segment != queue_.front().segment ||
                              vectors_.size() == IOV_MAX || *bytes + more > bytes_max)) {
      break;
    }
    vectors_.push_back({const_cast<uint8_t*>(queued.bytes.data()), queued.bytes.size()});
    *bytes += more;
  }
  RT_CHECK(queue_.front().position == queue_.front().segment->written_bytes);
  return vectors_.size();
}

int64_t Log::WriteInline(int fd, int64_t position) {
  int64_t total = 0;
  size_t first = 0;
  while (first < vectors_.size()) {
    const int64_t done = env_.io().WriteInline(
        fd, vectors_.data() + first, static_cast<int>(vectors_.size() - first), position + total);
    if (done == -EINTR) continue;
    if (done < 0) return done;
    if (done == 0) break;
    total += done;
    size_t left = static_cast<size_t>(done);
    while (first < vectors_.size() && left >= vectors_[first].iov_len) {
      left -= vectors_[first++].iov_len;
    }
    if (left == 0) continue;
    vectors_[first].iov_base = static_cast<uint8_t*>(vectors_[first].iov_base) + left;
    vectors_[first].iov_len -= left;
  }
  return total;
}

void Log::Written(size_t entries, int64_t bytes) {
  Segment& segment = *queue_.front().segment;
  const int64_t had = std::max(segment.allocated_bytes, segment.written_bytes);
  segment.written_bytes += bytes;
  env_.reserve().Charge(std::max<int64_t>(segment.written_bytes - had, 0));
  segment.dirty = true;
  unsynced_bytes_ += bytes;
  written_end_ = queue_[entries - 1].end;
  if (!Journaled()) durable_end_ = written_end_;
  queue_.pop_front(entries);
  queued_bytes_ -= bytes;
  if (!poisoned_) write_status_ = absl::OkStatus();
  rate_bytes_ += bytes;
  MaybeAllocate(segment);
  if (!background_ && HasBackgroundWork()) StartBackground();
  WakeWaiters();
  observer_.OnWritten(written_end_);
  if (!Journaled()) observer_.OnDurable(durable_end_);
}

// Everything that is queued fails, what was being written included: the log ends where it was
// written to.
void Log::FailQueue(const absl::Status& why) {
  Segment& segment = *queue_.front().segment;
  segment.PutBack(queue_.front().before, written_end_);
  while (active().base() > segment.base()) segments_.pop_back();
  std::erase_if(new_snapshots_, [&](const auto& made) { return made.first > written_end_; });
  queue_.clear();
  queued_bytes_ = 0;
  log_end_ = written_end_;
  append_positions_.ForgetFrom(written_end_);
  if (epochs_.TruncateFromEnd(written_end_)) epochs_dirty_ = true;
  FailFrom(written_end_, why);
  observer_.OnRolledBack(written_end_, why);
}

// What the failed write of `bytes` left in the file is cut, so that it can't come back after a
// crash. With the journal it may come back, as its entry may be durable: the next op overwrites it,
// or it is trimmed with the segment.
void Log::WriteFailed(const absl::Status& why, bool transient, int64_t bytes) {
  ++env_.counters().write_failures;
  Segment& segment = *queue_.front().segment;
  segment.allocated_bytes = std::max(segment.allocated_bytes, segment.written_bytes + bytes);
  if (const FilePin pin = env_.files().TryPin(segment.file()); pin && !Journaled()) {
    const int error = env_.io().Truncate(pin.fd(), segment.written_bytes);
    segment.allocated_bytes = segment.written_bytes;
    if (error != 0) {
      Poison(io::ErrnoStatus(-error, "truncate after a failed write", segment.file()->path()));
    }
  }
  if (!transient) Poison(why);
  if (!poisoned_) {
    write_status_ = why;
    space_checked_ = task::Scheduler::Current().now();
  }
  FailQueue(why);
}

// No appends until the log is opened anew; what is written but not durable will not be.
void Log::Poison(const absl::Status& why) {
  if (poisoned_) return;
  poisoned_ = true;
  write_status_ = why;
  if (journal_ == nullptr) return;
  env_.journal()->sync().Poison(journal_.get(), why);
  if (durable_end_ < written_end_) FailFrom(durable_end_, why);
  ops_changed_.NotifyAll();
}

// Steps follow what the log wrote in the last second or two, so that an idle one has none.
void Log::MaybeAllocate(Segment& segment) {
  const LogOptions& options = env_.options();
  if (options.allocate_bytes_min <= 0) return;
  const base::Nanos now = task::Scheduler::Current().now();
  if (now - rate_since_ >= kRateWindow) {
    rate_bytes_before_ = now - rate_since_ < 2 * kRateWindow ? rate_bytes_ : 0;
    rate_bytes_ = 0;
    rate_since_ = now;
  }
  const int64_t rate = std::max(rate_bytes_, rate_bytes_before_);
  if (rate < options.allocate_bytes_min || segment.allocating || now < allocate_after_) return;
  const int64_t wanted = std::min(rate, env_.reserve().spare_bytes() / kSparePart);
  const int64_t step = std::min(static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(wanted))),
                                options.allocate_bytes_max);
  const int64_t ahead = segment.allocated_bytes - segment.written_bytes;
  if (ahead >= step / 4 * 3 || &segment != &active()) return;
  const int64_t from = std::max(segment.allocated_bytes, segment.written_bytes);
  const int64_t bytes = std::min(step, config_.segment_bytes_max - from);
  if (bytes < options.allocate_bytes_min) return;
  segment.allocating = true;
  task::Spawn("log preallocation", AllocateAhead(&segment, from, bytes));
}

// Appends do not wait for it: a write that gets there first extends the file by itself.
task::Task<void> Log::AllocateAhead(Segment* segment, int64_t from, int64_t bytes) {
  absl::StatusOr<FilePin> pin = co_await env_.files().Pin(segment->file());
  absl::Status status = pin.status();
  if (pin.ok()) {
    status = co_await io::Allocate(env_.io(), pin->fd(), from, bytes, segment->file()->path());
  }
  if (status.ok()) {
    segment->allocated_bytes = from + bytes;
    env_.reserve().Charge(bytes);
    ++env_.counters().allocations;
  } else {
    allocate_after_ = task::Scheduler::Current().now() + kAllocateRetry;
  }
  segment->allocating = false;
  background_done_.NotifyAll();
}

task::Task<void> Log::QueueDrained() {
  while (writing_) co_await queue_drained_.Wait();
}

}  // namespace ringtail::log
