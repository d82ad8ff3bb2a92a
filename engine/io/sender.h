// How a connection's reply leaves: byte spans, and ranges of files by the cheapest path. One per
// core.
//
// Never blocks the core: a range that is not in the page cache is read through the ring first, and
// a full socket is waited for. After an error the connection must be closed: part may have been
// sent. One send at a time per socket. What is sent from a file stays shared with the page cache
// until the peer acknowledges it, so its bytes must not change in place.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/base/types.h"
#include "engine/io/backend.h"
#include "engine/io/buffer_pool.h"
#include "engine/io/cold_reader.h"
#include "engine/io/pipe_pool.h"
#include "engine/io/run_until.h"
#include "engine/io/send_rule.h"
#include "engine/task/task.h"

namespace ringtail::io {

// Why a path that was asked for did not serve; the bytes went by kCopy instead.
enum class SendFallback : uint8_t {
  kNotResident,  // sendfile, mapped, send_zc: the range was not in the page cache
  kNoPipe,       // splice: all of the core's pipes are held, or none can be made
  kUnsupported,  // the kernel, or the file system, lacks it
  kMapFailed,
};
inline constexpr size_t kSendFallbackCount = 4;
absl::string_view SendFallbackName(SendFallback reason);

struct SenderOptions {
  SendRule rule;  // behind SendPath::kAuto
  size_t pipes_max = 16;
  int64_t pipe_bytes = 1 << 20;         // /proc/sys/fs/pipe-max-size is 1 MiB by default
  int64_t chunk_bytes = 512 << 10;      // handed to sendfile or mapped at a time
  int64_t read_bytes = 256 << 10;       // read into a buffer at a time, of what is resident
  ColdReadOptions cold;                 // of what is not
  int64_t yield_after_bytes = 1 << 20;  // then others have their turn
  // A peer that makes progress, but less than this, is given up in the end: it holds a file and a
  // task meanwhile.
  int64_t bytes_per_s_min = 4 << 10;
};

struct SenderCounters {
  std::array<uint64_t, kSendPathCount> bytes = {};          // by SendPath; kAuto's stays 0
  std::array<uint64_t, kSendFallbackCount> fallbacks = {};  // chunks, by SendFallback
  uint64_t span_bytes = 0;
  uint64_t cold_bytes = 0;  // of what was not in the page cache; part of kCopy's
  ColdReadCounters cold;
  uint64_t socket_waits = 0;  // the socket was full
};

class Sender {
 public:
  Sender(Backend& backend, BufferPool& buffers, const SenderOptions& options);
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  // Deadlines are for progress: each time that the peer has taken some bytes - acknowledged them,
  // or made room for more - the deadline is as far away again as it was at first; in all that lasts
  // no longer than the bytes at bytes_per_s_min. DeadlineExceeded.

  // Sends all of `spans` (which it changes). `more`: further bytes follow at once. Fails with what
  // the socket says (Unavailable: the peer is gone).
  task::Task<absl::Status> SendSpans(int socket, std::span<iovec> spans, bool more,
                                     base::Nanos deadline);
  // Sends `bytes` of `file` from `position`. DataLoss where the file ends before, or a read fails.
  task::Task<absl::Status> SendFileRange(int socket, int file, int64_t position, int64_t bytes,
                                         SendPath path, base::Nanos deadline);

  // From the next chunk on.
  void SetRule(SendRule rule);
  void SetColdReadsAtOnce(size_t reads) { cold_.SetReadsAtOnce(reads); }

  const SenderCounters& counters() const { return counters_; }
  size_t cold_bytes_held() const { return cold_.held_bytes(); }

 private:
  // How long a send still waits for its peer.
  class Patience final : public DeadlineExtender {
   public:
    Patience(Backend& backend, int socket, base::Nanos deadline, base::Nanos at_least_rate_ns);
    base::Nanos deadline() const { return deadline_; }
    void BeginWait();
    void Progressed();  // some bytes were sent
    base::Nanos Extend() override;

   private:
    Backend& backend_;
    int socket_;
    base::Nanos allowance_ns_;  // without progress
    base::Nanos deadline_;      // kNever: any time
    base::Nanos last_deadline_;
    int64_t unacknowledged_bytes_ = 0;  // when the wait began
  };
  struct Range {
    int socket;
    int file;
    int64_t position;
    int64_t left;
    Patience patience;
    int64_t since_yield = 0;
  };

  // Each moves range.position by what it sent, at least one byte unless it fails. Not inlined:
  // their frames would all be part of SendFileRange's, which each range takes from the pool.
  [[gnu::noinline]] task::Task<absl::Status> SendfileChunk(Range& range, int64_t bytes);
  [[gnu::noinline]] task::Task<absl::Status> MappedChunk(Range& range, int64_t bytes,
                                                         bool zero_copy);
  [[gnu::noinline]] task::Task<absl::Status> SpliceChunk(Range& range);
  [[gnu::noinline]] task::Task<absl::Status> CopyChunk(Range& range);
  [[gnu::noinline]] task::Task<absl::Status> SendCold(Range& range);
  task::Task<absl::Status> SendPieces(Range& range, ColdReader::File file,
                                      std::span<ColdReader::Piece, 2> pieces);
  task::Task<absl::Status> SendPiece(Range& range, ColdReader::Piece& piece);
  task::Task<absl::StatusOr<bool>> WaitWithPiece(Range& range);
  task::Task<absl::Status> DrainPipe(Range& range, PipePool::Lease& pipe);
  task::Task<absl::Status> WaitWritable(int socket, Patience& patience);
  Patience PatienceFor(int socket, int64_t bytes, base::Nanos deadline);

  bool Hot(const Range& range, int64_t bytes) {
    return backend_.Resident(range.file, range.position, bytes);
  }
  SendPath Supported(SendPath path);
  SendPath PathOfNextChunk(const Range& range, SendPath asked, int64_t chunk);
  bool CopyAtOnce(Range& range);
  void Sent(Range& range, SendPath path, int64_t bytes);
  void CountFallback(SendFallback reason) { ++counters_.fallbacks[static_cast<size_t>(reason)]; }
  absl::Status SocketError(int socket, int64_t result);

  Backend& backend_;
  BufferPool& buffers_;
  SenderOptions options_;
  int64_t copy_bytes_max_;  // up to here nobody asks whether it is resident
  PipePool pipes_;
  SenderCounters counters_;
  ColdReader cold_;
};

}  // namespace ringtail::io
