#include "engine/log/journal/journal.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/journal/mutants.h"
#include "engine/task/scheduler.h"

namespace ringtail::log {
namespace {

constexpr base::Nanos kLateReportsEnd = 3600 * base::kNanosPerSecond;
constexpr int kYieldsMax = 8;      // how long the end of a turn is waited for
constexpr int kStallPercent = 90;  // of the capacity: payloads wait
constexpr int64_t kBlock = kJournalBlockBytes;

constexpr size_t kLargePageBytes = 2 << 20;
constexpr size_t kLargeFrameBytes = 256 << 10;
constexpr int kLargePageTries = 8;
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1; madvise(2)
#endif

uint8_t* AllocateAligned(size_t alignment, size_t bytes) {
  void* memory = std::aligned_alloc(alignment, bytes);
  RT_CHECK(memory != nullptr);
  return static_cast<uint8_t*>(memory);
}

}  // namespace

Journal::Journal(io::Backend& io, JournalOptions options) : io_(io), options_(std::move(options)) {
  RT_CHECK(options_.run > 0 && options_.core < kJournalCoresMax && options_.depth > 0);
  RT_CHECK(options_.file_bytes % kBlock == 0 && options_.file_bytes >= kJournalFileBytesMin);
  RT_CHECK(options_.zero_chunk_bytes % kBlock == 0 && options_.zero_chunk_bytes > 0);
  if (options_.sync_mode == JournalSyncMode::kFdatasync) options_.depth = 1;
  options_.files_min = std::max<size_t>(options_.files_min, 2);
  const size_t slots = options_.depth + 1;
  memory_bytes_ =
      (slots * kFrameBytesMax + kLargePageBytes - 1) / kLargePageBytes * kLargePageBytes;
  memory_ = AllocateAligned(kLargePageBytes, memory_bytes_);
  const auto chunk = static_cast<size_t>(options_.zero_chunk_bytes);
  zeros_ = AllocateAligned(kJournalBlockBytes, chunk + kJournalBlockBytes);
  std::memset(zeros_, 0, chunk);
  for (size_t i = 0; i < slots; ++i) {
    slots_.push_back(std::make_unique<Slot>(memory_ + i * kFrameBytesMax));
    unused_.push_back(slots_.back().get());
  }
  for (const HeldJournalFile& held : options_.held) held_bytes_ += held.bytes;
}

Journal::~Journal() {
  std::free(memory_);
  std::free(zeros_);
}

task::Task<absl::StatusOr<std::unique_ptr<Journal>>> Journal::Open(io::Backend& io,
                                                                   JournalOptions options) {
  std::unique_ptr<Journal> journal(new Journal(io, std::move(options)));
  const absl::Status status = co_await journal->OpenFiles();
  if (!status.ok()) co_return status;
  co_return journal;
}

// --- Staging.

size_t Journal::frame_bytes_max() const {
  return std::min(kFrameBytesMax, static_cast<size_t>(options_.file_bytes - kBlock));
}

size_t Journal::payload_bytes_max() const {
  return (frame_bytes_max() - sizeof(FrameHeader) - sizeof(EntryHeader)) / kPayloadAlignment *
         kPayloadAlignment;
}

// Whether a frame with payloads may be placed: enough is left behind it for entries without.
bool Journal::HasSpaceFor(size_t frame_bytes) const {
  if (used_bytes() * 100 >= capacity_bytes() * kStallPercent) return false;
  const auto bytes = static_cast<int64_t>(frame_bytes);
  const int64_t in_head = head_ == nullptr ? 0 : options_.file_bytes - head_->position;
  const int64_t in_ready = static_cast<int64_t>(ready_.size()) * (options_.file_bytes - kBlock);
  const int64_t left = in_ready - bytes + (bytes <= in_head ? in_head : 0);
  return (bytes <= in_head || !ready_.empty()) && left >= options_.reserve_bytes;
}

StageError Journal::WhyNot(size_t payload_bytes) const {
  if (closed_ || stopping_) return StageError::kClosed;
  if (payload_bytes > payload_bytes_max()) return StageError::kTooLarge;
  const size_t frame = filling_ == nullptr ? FrameBytesFor(PaddedPayload(payload_bytes), 1)
                                           : filling_->builder.FrameBytesWith(payload_bytes);
  if (frame > frame_bytes_max()) return StageError::kFull;
  if (payload_bytes > 0 && !HasSpaceFor(frame)) return StageError::kStalled;
  return StageError::kNone;
}

StageResult Journal::Stage(const EntryHeader& entry, const Payload& payload, JournalClient* client,
                           uint64_t token) {
  StageError error = WhyNot(payload.bytes());
  if (error == StageError::kFull && in_flight_.size() < options_.depth) {
    Flush();
    error = WhyNot(payload.bytes());
  }
  if (error == StageError::kStalled) Stall();
  if (error != StageError::kNone) return {error, 0};
  if (filling_ == nullptr) filling_ = TakeSlot();
  if (filling_->builder.empty()) filling_->staged_at = io_.Now();
  filling_->builder.Add(entry, payload);
  filling_->clients.push_back({client, token});
  metrics_.payload_bytes += payload.bytes();
  FlushLater();
  return {StageError::kNone, next_seq_};
}

task::Task<bool> Journal::WaitForRoom(size_t payload_bytes, base::Nanos deadline) {
  for (;;) {
    const StageError error = WhyNot(payload_bytes);
    if (error != StageError::kFull && error != StageError::kStalled) co_return true;
    if (!co_await room_.WaitUntil(deadline)) co_return false;
  }
}

task::Task<absl::Status> Journal::WaitDurable(uint64_t seq) {
  RT_CHECK(seq <= next_seq_);
  while (durable_seq_ < seq && !closed_) co_await durable_changed_.Wait();
  co_return durable_seq_ >= seq ? absl::OkStatus() : status_;
}

void Journal::Detach(JournalClient* client) {
  const auto forget = [client](std::vector<Notify>& clients) {
    for (Notify& notify : clients) {
      if (notify.client == client) notify.client = nullptr;
    }
  };
  for (const std::unique_ptr<Slot>& slot : slots_) forget(slot->clients);
  forget(telling_);
}

Journal::Slot* Journal::TakeSlot() {
  RT_CHECK(!unused_.empty());
  Slot* slot = unused_.back();
  unused_.pop_back();
  slot->builder.Reset();
  slot->clients.clear();
  slot->written = slot->late = false;
  return slot;
}

// --- Frames.

void Journal::FlushLater() {
  if (flush_queued_ || closed_ || in_flight_.size() >= options_.depth) return;
  flush_queued_ = true;
  flush_turn_ = task::Scheduler::Current().now();
  background_.Add();
  task::Spawn("journal flush", FlushAtEndOfTurn());
}

// All that is ready now may have something to stage; it runs first. Not what the loop's next turn
// makes ready: inline writes of what has been staged, say, which the device need not wait for.
task::Task<void> Journal::FlushAtEndOfTurn() {
  const task::Scheduler& scheduler = task::Scheduler::Current();
  for (int i = 0; i < kYieldsMax && scheduler.ready_count() > 0; ++i) {
    if (scheduler.now() != flush_turn_) break;
    co_await task::Yield();
  }
  flush_queued_ = false;
  Flush();
  background_.Done();
}

void Journal::Flush() {
  while (!closed_ && filling_ != nullptr && !filling_->builder.empty() &&
         in_flight_.size() < options_.depth) {
    if (!Place(filling_->builder.frame_bytes())) return;
    Submit(std::exchange(filling_, nullptr), 0);
    if (!unused_.empty()) room_.NotifyAll();
  }
}

// Makes the head a file with room for the frame. False: not now; Flush() comes again.
bool Journal::Place(size_t bytes) {
  const auto length = static_cast<int64_t>(bytes);
  if (head_ == nullptr || head_->position + length > options_.file_bytes) {
    if (ready_.empty()) {
      Stall();
      PrepareLater();
      return false;
    }
    if (head_ != nullptr) live_.push_back(head_);
    head_ = ready_.front();
    ready_.pop_front();
    head_->first_seq = next_seq_;
    ++metrics_.rotations;
    PrepareLater();
  }
  // Zeros on their way to this place would overtake the frame.
  return head_->zeroing_to <= head_->position || head_->zeroing_from >= head_->position + length;
}

void Journal::Submit(Slot* slot, uint32_t flags) {
  File* file = head_;
  RT_CHECK(in_flight_.size() < options_.depth);
  if (slot->builder.frame_bytes() >= kLargeFrameBytes) UseLargePages();
  RT_CHECK(in_flight_.empty() || in_flight_.back()->seq + 1 == next_seq_);  // J2
  slot->seq = next_seq_++;
  slot->durable_seq = durable_seq_;
  slot->file = file;
  slot->position = file->position;
  const FramePlace place = {.run = options_.run,
                            .core = options_.core,
                            .file_number = file->number,
                            .position = file->position,
                            .file_bytes = options_.file_bytes,
                            .dir_id = options_.dir_id};
  const uint32_t ready = ready_.empty() ? 0 : ready_.back()->number - file->number;
  slot->bytes = slot->builder
                    .Finish(place, slot->seq, durable_seq_,
                            flags | std::min(ready, kFilesReadyMax) << kFilesReadyShift)
                    .size();
  std::memcpy(&slot->header, slot->buffer, sizeof(slot->header));
  file->position += static_cast<int64_t>(slot->bytes);
  RT_CHECK(file->position <= options_.file_bytes && used_bytes() <= capacity_bytes());  // J15
  in_flight_.push_back(slot);
  slot->submitted_at = io_.Now();
  if (!late_timer_.armed()) {
    late_timer_.Arm(task::Scheduler::Current(), slot->submitted_at + options_.late_after_ns);
  }
  if (flags == 0) {
    last_entry_seq_ = slot->seq;
    metrics_.submit_us.Record(static_cast<uint64_t>(slot->submitted_at - slot->staged_at) / 1000);
    metrics_.entries_per_frame.Record(slot->builder.entry_count());
  } else {
    ++metrics_.seals;
  }
  ++metrics_.frames;
  metrics_.entries += slot->builder.entry_count();
  metrics_.frame_bytes += slot->bytes;
  for (const Notify& notify : slot->clients) {
    if (notify.client != nullptr) notify.client->OnPlaced(notify.token, slot->seq, file->number);
  }
  if (kMutantAckBeforeFrame) TellDurable(slot);
  background_.Add();
  task::SpawnNow("journal frame", WriteFrame(slot));
  if (on_fill_ != nullptr) on_fill_(on_fill_argument_);
}

// A large frame in large pages is pinned and described to the device in a few pieces instead of
// hundreds: see (h) in perf/README.md. Small frames touch little of the memory, which would all be
// taken then, so that it waits for the first large one. What is in flight cannot be moved.
void Journal::UseLargePages() {
  if (large_page_tries_ >= kLargePageTries || !in_flight_.empty()) return;
  ++large_page_tries_;
  if (madvise(memory_, memory_bytes_, MADV_COLLAPSE) == 0) large_page_tries_ = kLargePageTries;
}

task::Task<void> Journal::WriteFrame(Slot* slot) {
  const File* file = slot->file;
  const int result = co_await WriteDurably(file->fd, slot->buffer, slot->bytes, slot->position);
  const base::Nanos took_ns = io_.Now() - slot->submitted_at;
  metrics_.frame_us.Record(static_cast<uint64_t>(took_ns) / 1000);
  if (slot->late) {
    RT_LOG(kWarn, "{}: the device answered after {} s", file->path,
           took_ns / base::kNanosPerSecond);
  }
  RT_CHECK(std::memcmp(&slot->header, slot->buffer, sizeof(slot->header)) == 0);  // J14
  slot->written = result == 0;
  if (result < 0) {
    Fail(io::ErrnoStatus(-result, "write", file->path));
  } else if (!closed_) {
    Retire();
  }
  background_.Done();
}

// durable_seq moves over the contiguous prefix of what is written, and clients are told in order.
void Journal::Retire() {
  bool moved = false;
  while (!closed_ && !in_flight_.empty() && in_flight_.front()->written) {
    Slot* slot = in_flight_.front();
    in_flight_.pop_front();
    RT_CHECK(slot->seq == durable_seq_ + 1);  // J2
    durable_seq_ = slot->seq;
    recorded_seq_ = std::max(recorded_seq_, slot->durable_seq);
    unused_.push_back(slot);  // before clients are told: they may stage
    moved = true;
    TellDurable(slot);
  }
  if (in_flight_.empty()) late_timer_.Disarm();  // an idle journal has no timer
  if (!moved || closed_) return;
  last_frame_at_ = task::Scheduler::Current().now();
  durable_changed_.NotifyAll();
  room_.NotifyAll();
  if (filling_ != nullptr && !filling_->builder.empty()) FlushLater();
  ArmSeal();
}

void Journal::TellDurable(Slot* slot) {
  const uint64_t seq = slot->seq;
  RT_CHECK(telling_.empty());
  telling_.swap(slot->clients);
  for (size_t i = 0; i < telling_.size(); ++i) {
    if (telling_[i].client != nullptr) telling_[i].client->OnDurable(telling_[i].token, seq);
  }
  telling_.clear();
}

void Journal::Fail(const absl::Status& why) {
  if (closed_) return;
  RT_LOG(kError, "journal {} closed: {}; its partitions refuse appends until a restart",
         options_.directory, why.ToString());
  Close(why);
}

void Journal::Close(const absl::Status& why) {
  closed_ = true;
  status_ = why;
  seal_timer_.Disarm();
  late_timer_.Disarm();
  std::vector<Slot*> pending;
  for (size_t i = 0; i < in_flight_.size(); ++i) pending.push_back(in_flight_[i]);
  if (filling_ != nullptr) pending.push_back(filling_);
  for (Slot* slot : pending) {
    for (size_t i = 0; i < slot->clients.size(); ++i) {
      const Notify notify = slot->clients[i];
      if (notify.client != nullptr) notify.client->OnFailed(notify.token, why);
    }
    slot->clients.clear();
  }
  room_.NotifyAll();
  durable_changed_.NotifyAll();
  prepare_changed_.NotifyAll();
}

// --- Seals.

bool Journal::NeedsSeal() const {
  return !closed_ && !stopping_ && last_entry_seq_ > recorded_seq_ && in_flight_.empty() &&
         (filling_ == nullptr || filling_->builder.empty());
}

void Journal::ArmSeal() {
  if (!NeedsSeal() || seal_timer_.armed()) return;
  seal_timer_.Arm(task::Scheduler::Current(), last_frame_at_ + options_.seal_after_ns);
}

void Journal::SealDue(task::Timer* timer) {
  Journal* journal = static_cast<JournalTimer*>(timer)->journal;
  if (!journal->NeedsSeal()) return;  // armed again when what is under way has completed
  if (journal->last_frame_at_ + journal->options_.seal_after_ns >
      task::Scheduler::Current().now()) {
    journal->ArmSeal();
    return;
  }
  journal->background_.Add();
  task::Spawn("journal seal", journal->SealIfQuiet());
}

task::Task<void> Journal::SealIfQuiet() {
  const bool fits =
      (head_ != nullptr && head_->position + kBlock <= options_.file_bytes) || !ready_.empty();
  if (NeedsSeal() && fits && Place(kJournalBlockBytes)) Submit(TakeSlot(), kFrameFlagSeal);
  background_.Done();
  co_return;
}

// --- Devices that do not answer.

base::Nanos Journal::oldest_write_ns() const {
  return in_flight_.empty() ? 0 : io_.Now() - in_flight_.front()->submitted_at;
}

void Journal::LateDue(task::Timer* timer) {
  static_cast<JournalTimer*>(timer)->journal->ReportLate();
}

// Frames that follow each other do not set the timer back: it looks at what is in flight when it is
// due.
void Journal::ReportLate() {
  if (closed_ || in_flight_.empty()) return;
  Slot* oldest = in_flight_.front();
  const base::Nanos took_ns = oldest_write_ns();
  base::Nanos again_at = oldest->submitted_at + options_.late_after_ns;
  if (took_ns >= options_.late_after_ns) {
    if (!oldest->late) ++metrics_.late_frames;
    oldest->late = true;
    RT_LOG(kError, "{}: a write has taken {} s so far: the device does not answer",
           oldest->file->path, took_ns / base::kNanosPerSecond);
    if (took_ns >= kLateReportsEnd) return;  // by now it has been said often enough
    again_at = oldest->submitted_at + 2 * took_ns;
  }
  late_timer_.Arm(task::Scheduler::Current(), again_at);
}

// --- Space.

Journal::State Journal::state() const {
  if (closed_) return State::kClosed;
  return stalled_ ? State::kStalled : State::kOpen;
}

int64_t Journal::used_bytes() const {
  const int64_t in_head = head_ == nullptr ? 0 : head_->position;
  return static_cast<int64_t>(live_.size()) * options_.file_bytes + in_head;
}

int64_t Journal::capacity_bytes() const {
  return static_cast<int64_t>(files_.size()) * options_.file_bytes;
}

uint64_t Journal::first_seq_of(uint32_t file_number) const {
  if (head_ == nullptr) return next_seq_;
  if (head_->number == file_number) return head_->first_seq;
  for (const File* file : live_) {
    if (file->number == file_number) return file->first_seq;
  }
  RT_CHECK(false);
  return 0;
}

void Journal::Stall() {
  if (stalled_ || closed_) return;
  stalled_ = true;
  ++metrics_.stalls;
  stalled_since_ = io_.Now();
  PrepareLater();
  if (on_fill_ != nullptr) on_fill_(on_fill_argument_);
}

void Journal::SpaceChanged() {
  if (closed_) return;
  if (stalled_ && WhyNot(1) != StageError::kStalled) {
    stalled_ = false;
    metrics_.stall_us += static_cast<uint64_t>(io_.Now() - stalled_since_) / 1000;
  }
  room_.NotifyAll();
  if (filling_ != nullptr && !filling_->builder.empty()) FlushLater();
}

void Journal::CheckpointIsDurable(uint32_t tail_file, const std::vector<HeldFile>& held) {
  RT_CHECK(tail_file >= durable_tail_ && tail_file <= std::max(head_file(), uint32_t{1}));
  durable_tail_ = tail_file;
  while (!live_.empty() && live_.front()->number < tail_file) {
    File* file = live_.front();
    live_.pop_front();
    const HeldFile name = {options_.run, options_.core, file->number, 0};
    if (std::find(held.begin(), held.end(), name) == held.end()) {
      free_.push_back(file);
      continue;
    }
    const auto owner = std::find_if(files_.begin(), files_.end(),
                                    [file](const auto& owned) { return owned.get() == file; });
    RT_CHECK(owner != files_.end());
    held_.push_back(std::move(*owner));
    files_.erase(owner);
    held_bytes_ += options_.file_bytes;
  }
  const auto least = static_cast<int64_t>(options_.files_min) * options_.file_bytes;
  if (held_bytes_ > 0 && held_bytes_ + least > options_.bytes_max) {
    Fail(absl::ResourceExhaustedError(absl::StrCat(held_bytes_,
                                                   " bytes are held for damaged partitions, of ",
                                                   options_.bytes_max, " for the journal")));
    return;
  }
  prepare_changed_.NotifyAll();
  PrepareLater();
  SpaceChanged();
}

task::Task<void> Journal::Stop() {
  stopping_ = true;
  seal_timer_.Disarm();
  prepare_changed_.NotifyAll();
  room_.NotifyAll();
  for (;;) {
    Flush();
    const bool staged = filling_ != nullptr && !filling_->builder.empty();
    if (closed_ || (in_flight_.empty() && !staged)) break;
    if (in_flight_.empty() && stalled_) break;  // what is staged has no place to go
    if (in_flight_.empty()) {
      co_await prepare_changed_.Wait();  // zeros are on their way to its place
    } else {
      co_await durable_changed_.Wait();
    }
  }
  if (!closed_) Close(absl::FailedPreconditionError("the journal was stopped"));
  co_await background_.Wait();
  co_await CloseFiles();
}

}  // namespace ringtail::log
