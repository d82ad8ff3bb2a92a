// The journal of one core: what is staged here is durable once its frame has been written, with one
// sequential O_DIRECT|RWF_DSYNC write for all partitions of the core (bytes:
// engine/log/JOURNAL.md). Everything is called on that core's thread.
//
//   Stage() copies an entry into the frame that is being filled. At the end of the turn the frame
//   is placed at the head and written, up to `depth` at a time; what comes meanwhile fills the
//   next one (group commit, no timer). Clients are told in the order of the frames, over the
//   contiguous prefix of those that completed.
//
// Life: OPEN; STALLED while no space is left for payloads (nothing fails, it ends when files are
// freed or the disk has room to grow); CLOSED after a failed write or Stop(): all that is pending
// fails, nothing is tried again.
//
// Files form a ring: FREE (may be overwritten), READY (its header has the next number), HEAD, LIVE
// (full), HELD (kept for a poisoned partition, out of the ring). Only a durable checkpoint makes a
// LIVE file FREE or HELD: CheckpointIsDurable().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/bytes.h"
#include "engine/base/histogram.h"
#include "engine/base/ring_queue.h"
#include "engine/base/types.h"
#include "engine/io/backend.h"
#include "engine/log/disk_reserve.h"
#include "engine/log/journal/frame_builder.h"
#include "engine/log/journal/journal_format.h"
#include "engine/task/sync.h"
#include "engine/task/task.h"

namespace ringtail::log {

enum class JournalSyncMode : uint8_t {
  kDataSync,   // each frame is one direct write with RWF_DSYNC
  kFdatasync,  // write, then fdatasync, one frame at a time: file systems without O_DIRECT
};

// A file that recovery found to hold live entries of a partition that is not healed yet.
struct HeldJournalFile {
  HeldFile file;
  std::string path;
  int64_t bytes = 0;
};

struct JournalOptions {
  std::string directory;  // .../core-NNNN; made if missing
  uint32_t run = 1;
  uint32_t core = 0;
  base::Uuid dir_id;
  int64_t file_bytes = int64_t{64} << 20;
  int64_t bytes_max = int64_t{1} << 30;  // of all files, held ones included
  size_t files_min = 2;
  size_t depth = 2;
  JournalSyncMode sync_mode = JournalSyncMode::kDataSync;
  int64_t reserve_bytes = 256 << 10;  // for entries without payload
  base::Nanos seal_after_ns = 50 * base::kNanosPerMilli;
  base::Nanos late_after_ns = 10 * base::kNanosPerSecond;  // a write that takes longer is reported
  int64_t zero_chunk_bytes = 1 << 20;
  std::vector<HeldJournalFile> held;  // from earlier runs; those in `directory` are left alone
  const DiskReserve* reserve =
      nullptr;  // left alone by files beyond files_min; outlives the journal
};

struct JournalMetrics {
  uint64_t frames = 0;  // seals included
  uint64_t seals = 0;
  uint64_t entries = 0;
  uint64_t payload_bytes = 0;
  uint64_t frame_bytes = 0;
  uint64_t short_writes = 0;
  uint64_t rotations = 0;
  uint64_t files_made = 0;
  uint64_t stalls = 0;
  uint64_t stall_us = 0;
  uint64_t late_frames = 0;  // took longer than late_after_ns, or do so now
  base::Histogram entries_per_frame;
  base::Histogram frame_us;   // from handing the write over to its completion
  base::Histogram submit_us;  // from the first entry's staging to handing over
};

// Whoever stages. Must not suspend. Outlives its entries, or Detach()es.
class JournalClient {
 public:
  virtual ~JournalClient() = default;
  // The frame `seq` with the entry `token` got its place. In the order of seq; only to be noted, as
  // it may come from inside Stage().
  virtual void OnPlaced(uint64_t token, uint64_t seq, uint32_t file_number) {}
  // It is durable, and so are all frames before it. From a task of the journal; may stage.
  virtual void OnDurable(uint64_t token, uint64_t seq) = 0;
  // The journal closed first. The entry may still be found by recovery.
  virtual void OnFailed(uint64_t token, const absl::Status& why) = 0;
};

enum class StageError : uint8_t {
  kNone,
  kFull,      // the frame is full and `depth` are in flight: WaitForRoom
  kStalled,   // no space: WaitForRoom
  kClosed,    // for good: status() says why
  kTooLarge,  // larger than payload_bytes_max(): bypass
};

struct StageResult {
  StageError error = StageError::kNone;
  uint64_t seq = 0;  // of the frame that will carry it
  bool ok() const { return error == StageError::kNone; }
};

class Journal {
 public:
  enum class State : uint8_t { kOpen, kStalled, kClosed };

  // After recovery has switched the MANIFEST to options.run: all files in the directory that are
  // not held are recycled. Ends when the first file is READY.
  static task::Task<absl::StatusOr<std::unique_ptr<Journal>>> Open(io::Backend& io,
                                                                   JournalOptions options);
  ~Journal();  // stopped, or the backend has dropped all operations
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // --- Staging. The payload is copied. `client` may be null. The entry's payload fields are filled
  // in here. Entries without payload are staged even while STALLED.
  StageResult Stage(const EntryHeader& entry, const Payload& payload, JournalClient* client,
                    uint64_t token);
  // What Stage would answer.
  StageError WhyNot(size_t payload_bytes) const;
  size_t payload_bytes_max() const;
  // Ends when Stage may succeed, or never will (closed), or at the deadline (false).
  task::Task<bool> WaitForRoom(size_t payload_bytes, base::Nanos deadline);
  // Hands over what is staged, if a frame may start. Happens by itself at the end of the turn.
  void Flush();
  // Ends when the frame `seq` is durable, with status() if the journal closed before.
  task::Task<absl::Status> WaitDurable(uint64_t seq);
  // No more calls for this client.
  void Detach(JournalClient* client);

  // --- State.
  State state() const;
  const absl::Status& status() const { return status_; }  // why it is closed
  uint64_t durable_seq() const { return durable_seq_; }
  uint64_t next_seq() const { return next_seq_; }
  // Durable up to here: all that was staged so far is.
  uint64_t staged_seq() const {
    return filling_ != nullptr && !filling_->builder.empty() ? next_seq_ : next_seq_ - 1;
  }
  uint32_t head_file() const { return head_ == nullptr ? 0 : head_->number; }
  // The first frame in a file that is HEAD or LIVE.
  uint64_t first_seq_of(uint32_t file_number) const;
  int64_t used_bytes() const;  // of files that are LIVE, and of the head up to its position
  int64_t capacity_bytes() const;
  int64_t held_bytes() const { return held_bytes_; }
  size_t ready_files() const { return ready_.size(); }
  size_t ring_files() const { return files_.size(); }
  // How long the oldest write in flight has taken so far; 0: none is.
  base::Nanos oldest_write_ns() const;
  JournalSyncMode sync_mode() const { return options_.sync_mode; }
  const JournalOptions& options() const { return options_; }
  const JournalMetrics& metrics() const { return metrics_; }

  // --- Reclaim. The checkpoint that was just synced says: files of this run below `tail_file` are
  // not needed, but for `held`. CHECKs that the tail does not go back nor past the head.
  void CheckpointIsDurable(uint32_t tail_file, const std::vector<HeldFile>& held);
  // Called after a frame was placed or the fill changed, to pace the syncs. Must not suspend.
  void set_on_fill(void (*call)(void*), void* argument) {
    on_fill_ = call;
    on_fill_argument_ = argument;
  }

  // Fails what is pending and takes no more: a journal or held-files failure.
  void Fail(const absl::Status& why);
  // Writes what is staged, waits for all in flight and for background work, closes the files.
  task::Task<void> Stop();

 private:
  struct File {
    uint32_t index = 0;  // K of K.journal
    int fd = -1;
    std::string path;
    uint32_t number = 0;  // 0: never had one in this run
    uint64_t first_seq = 0;
    int64_t position = 0;  // where the next frame goes
    int64_t zeroed_to = 0;
    int64_t zeroing_from = 0;  // a zeroing write in flight; equal: none
    int64_t zeroing_to = 0;
  };
  struct Notify {
    JournalClient* client;
    uint64_t token;
  };
  struct Slot {  // a frame: being filled, in flight, or unused
    explicit Slot(uint8_t* buffer) : buffer(buffer), builder(buffer) {}
    uint8_t* buffer;
    FrameBuilder builder;
    std::vector<Notify> clients;
    uint64_t seq = 0;
    uint64_t durable_seq = 0;  // as the frame tells it
    File* file = nullptr;
    int64_t position = 0;
    size_t bytes = 0;
    base::Nanos staged_at = 0;
    base::Nanos submitted_at = 0;
    FrameHeader header;  // as it was when it was handed over
    bool written = false;
    bool late = false;  // it has been reported
  };

  Journal(io::Backend& io, JournalOptions options);

  // journal.cc
  size_t frame_bytes_max() const;
  bool HasSpaceFor(size_t frame_bytes) const;
  void FlushLater();
  task::Task<void> FlushAtEndOfTurn();
  bool Place(size_t bytes);
  void Submit(Slot* slot, uint32_t flags);
  void UseLargePages();
  task::Task<void> WriteFrame(Slot* slot);
  void Retire();
  void TellDurable(Slot* slot);
  Slot* TakeSlot();
  void Close(const absl::Status& why);
  void Stall();
  void SpaceChanged();
  void ArmSeal();
  static void SealDue(task::Timer* timer);
  task::Task<void> SealIfQuiet();
  bool NeedsSeal() const;
  static void LateDue(task::Timer* timer);
  void ReportLate();

  // journal_files.cc
  task::Task<absl::Status> OpenFiles();
  task::Task<absl::Status> OpenFilesOnce();
  task::Task<void> CloseFiles();
  task::Task<absl::Status> AdoptFile(std::string name, uint32_t index);
  task::Task<int> WriteDurably(int fd, const uint8_t* data, size_t bytes, int64_t position);
  task::Task<absl::StatusOr<int>> OpenDirect(std::string path, int flags);
  task::Task<int> MakeReady(File* file);
  task::Task<absl::Status> MakeFile();
  task::Task<absl::Status> FillNewFile(File* file);
  bool WantsFile() const;
  void PrepareLater();
  task::Task<void> Prepare();
  void ZeroLater(File* file);
  task::Task<void> ZeroAhead(File* file);
  task::Task<absl::Status> ZeroChunk(File* file, int64_t from, int64_t to);

  io::Backend& io_;
  JournalOptions options_;
  uint8_t* memory_ = nullptr;  // (depth + 1) frames
  size_t memory_bytes_ = 0;
  int large_page_tries_ = 0;
  uint8_t* zeros_ = nullptr;  // zero_chunk_bytes, and a block for headers behind it
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> unused_;
  Slot* filling_ = nullptr;
  base::RingQueue<Slot*> in_flight_;  // by seq
  std::vector<Notify> telling_;       // those of a frame that has just become durable
  uint64_t next_seq_ = 1;
  uint64_t durable_seq_ = 0;
  uint64_t recorded_seq_ = 0;    // the largest durable_seq in a completed frame
  uint64_t last_entry_seq_ = 0;  // of the last frame that is no seal
  absl::Status status_;
  bool closed_ = false;
  bool stopping_ = false;
  bool stalled_ = false;
  base::Nanos stalled_since_ = 0;
  bool flush_queued_ = false;
  base::Nanos flush_turn_ = 0;  // the time of the turn in which it was
  task::WaitList room_;
  task::WaitList durable_changed_;

  std::vector<std::unique_ptr<File>> files_;  // the ring, in no order
  std::vector<File*> free_;
  std::deque<File*> ready_;
  std::deque<File*> live_;  // by number
  File* head_ = nullptr;
  std::vector<std::unique_ptr<File>> held_;  // of this run
  std::vector<uint32_t> taken_indexes_;      // of held files of earlier runs
  int64_t held_bytes_ = 0;
  uint32_t next_number_ = 1;
  uint32_t durable_tail_ = 0;
  bool preparing_ = false;
  bool zeroing_ = false;
  task::WaitList prepare_changed_;
  task::Latch background_;

  struct JournalTimer : task::Timer {
    JournalTimer(Journal* journal, void (*due)(task::Timer*)) : Timer(due), journal(journal) {}
    Journal* journal;
  };
  JournalTimer seal_timer_{this, &Journal::SealDue};
  JournalTimer late_timer_{this, &Journal::LateDue};
  base::Nanos last_frame_at_ = 0;
  void (*on_fill_)(void*) = nullptr;
  void* on_fill_argument_ = nullptr;
  JournalMetrics metrics_;
};

}  // namespace ringtail::log
