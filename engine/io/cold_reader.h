// Reads of what is not in the page cache, for all of a core's readers of old data. They take turns,
// few at a time, so that whatever else waits for the disk waits for few, and what is read does not
// go through the page cache, where it would push out what the others read. One per core.
//
// Read by O_DIRECT, into large pages: a request that the device, or the host of a virtual one, sees
// as one stretch of memory takes half as long as one of 64 small pages, and the kernel does not
// read ahead of its own accord. On a virtual disk, 256 KiB, two at a time (this is (l) in
// perf/README.md):
//   O_DIRECT, large pages                   1.3 GB/s, 0.4 ms each
//   O_DIRECT, small pages                   0.8 GB/s, 0.7 ms
//   RWF_DONTCACHE, no read-ahead            0.5 GB/s, 1.0 ms
//   RWF_DONTCACHE, the kernel's read-ahead (8 MiB there) kept a journal's writes waiting for 16 ms
// Where a file cannot be opened so, RWF_DONTCACHE it is.
#pragma once

#include <sys/uio.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/base/bytes.h"
#include "engine/io/backend.h"
#include "engine/task/sync.h"
#include "engine/task/task.h"

namespace ringtail::io {

struct ColdReadOptions {
  int64_t piece_bytes = 512 << 10;  // of a file, at a time; a multiple of 4096
  size_t reads_at_once = 2;         // at the disk, of all readers
  int64_t memory_bytes = 16 << 20;  // read, or being read, and not sent yet; at least one piece
};

struct ColdReadCounters {
  uint64_t reads = 0;
  uint64_t direct = 0;  // of them, around the page cache
  uint64_t ahead = 0;   // of them, begun while what lies before was still being sent
  uint64_t waits = 0;   // for the disk or for memory, as other readers had it
  uint64_t drops = 0;   // pieces, as others waited for the memory and their peer did not take them
};

class ColdReader {
 public:
  // A file that is read by this. Close() it.
  struct File {
    int fd = -1;
    int direct = -1;  // the same with O_DIRECT, where that can be
  };
  task::Task<File> Open(int fd);
  task::Task<void> Close(File file);

  // One range of a file, at most piece_bytes: read, looked at, given back; then the next. Lives in
  // the frame of whoever waits for it, and Finish() has ended before that is left.
  class Piece : private Op {
   public:
    explicit Piece(ColdReader& reader) : reader_(reader) {}
    Piece(const Piece&) = delete;
    Piece& operator=(const Piece&) = delete;
    ~Piece() { Drop(); }

    // Takes memory, when there is some. Files are opened behind it: so no more of them are open
    // than there are pieces.
    task::Task<void> Reserve();
    // Begins to read, with the memory reserved, when it is its turn. `bytes` is cut to what a piece
    // holds.
    task::Task<void> Begin(const File& file, int64_t position, int64_t bytes);
    // The same if it need not wait for others.
    bool TryBegin(const File& file, int64_t position, int64_t bytes);
    bool begun() const { return begun_; }
    // Ends with the read: how many bytes there are, 0 at the end of the file, or -errno.
    task::Task<int64_t> Finish();
    int64_t position() const { return wanted_at_; }
    base::ByteView bytes() const { return bytes_; }
    // Gives back its memory.
    void Drop();

   private:
    friend class ColdReader;
    class Done;
    void Prepare(const File& file, int64_t position, int64_t bytes);
    void Submit();
    static void Completed(Op* op);

    ColdReader& reader_;
    File file_;
    int64_t wanted_at_ = 0;
    int64_t wanted_bytes_ = 0;
    iovec vector_ = {};
    uint8_t* slot_ = nullptr;
    base::ByteView bytes_;
    bool begun_ = false;
    bool done_ = false;
    std::coroutine_handle<> waiting_;
  };

  // Counts in `counters`, which outlive it.
  ColdReader(Backend& backend, const ColdReadOptions& options, ColdReadCounters& counters);
  ColdReader(const ColdReader&) = delete;
  ColdReader& operator=(const ColdReader&) = delete;
  ~ColdReader();

  // From now on; reads that are at the disk are not held back.
  void SetReadsAtOnce(size_t reads) { turns_.SetCapacity(reads); }

  // Others wait for memory: whoever keeps a piece for a slow peer should drop it.
  bool contended() const { return waiting_for_memory_ > 0; }
  void NoteDrop() { ++counters_.drops; }
  size_t held_bytes() const { return memory_.used() * static_cast<size_t>(options_.piece_bytes); }

 private:
  // Slots of a piece each, in one stretch of large pages. Given back to the system when none has
  // been used for a second.
  class Memory;

  Backend& backend_;
  const ColdReadOptions options_;
  task::ByteSemaphore turns_;   // reads at the disk
  task::ByteSemaphore memory_;  // slots
  size_t waiting_for_memory_ = 0;
  std::unique_ptr<Memory> slots_;
  ColdReadCounters& counters_;
};

}  // namespace ringtail::io
