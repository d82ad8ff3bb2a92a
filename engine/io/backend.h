// The seam: everything of the data path that touches disk, network or time goes through a Backend.
// Two implementations: UringBackend (engine/io/uring_backend.h) and the deterministic simulation
// (tests/sim/). One per core, used on that core's thread only (WakeFromAnyThread excepted).
//
// Contract
//  1. Submit() only stages. Nothing completes inside it; Poll() hands staged operations to the
//  kernel
//     and makes the waiters of completed ones ready. An Op completes exactly once.
//  2. Results are -errno as the system call gives them, never an exception.
//  3. The synchronous calls below never wait for a disk or a peer, unless their comment says so.
//  4. Closing an fd with operations in flight on it is a bug. To end them: ShutdownSocket or
//  Cancel.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/types.h"
#include "engine/io/op.h"

namespace ringtail::io {

// What the kernel below can do; probed at start.
struct Features {
  bool cachestat = false;       // Linux 6.5; else residency is asked with preadv2(RWF_NOWAIT)
  bool dont_cache = false;      // RWF_DONTCACHE, Linux 6.14
  bool send_zero_copy = false;  // IORING_OP_SEND_ZC, 6.0
  bool message_ring = false;    // IORING_OP_MSG_RING, 5.18
  std::string description;      // one line for the log
};

struct FileInfo {
  int64_t size_bytes = 0;
  int64_t allocated_bytes = 0;  // st_blocks * 512
  int64_t modified_ms = 0;      // since the Unix epoch
  bool is_directory = false;
};

struct DirectoryEntry {
  std::string name;  // never "." or ".."
  bool is_directory = false;
};

struct DiskSpace {
  int64_t total_bytes = 0;
  int64_t available_bytes = 0;  // to an ordinary user
};

// The kernel's threads for what a ring cannot do at once (io-wq).
struct WorkerLimits {
  uint32_t file_max = 4;   // for regular files
  uint32_t other_max = 4;  // for pipes and sockets
  bool own_cpus = true;    // they stay on the CPUs of the calling thread; else on all the process's
};

struct BackendCounters {
  uint64_t polls = 0;
  uint64_t waits = 0;  // polls that were allowed to block
  uint64_t submitted = 0;
  uint64_t completed = 0;
  uint64_t overflows = 0;  // completions that did not fit the completion queue
  uint64_t wakes_sent = 0;
  uint64_t inline_writes = 0;
  uint64_t inline_write_max_ns = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // --- Operations.
  virtual void Submit(Op* op) = 0;
  // first -> second, in order: the second starts when the first has moved all its bytes, and ends
  // with -ECANCELED where the first failed or was short.
  virtual void SubmitLinked(Op* first, Op* second) = 0;
  // Asks `op` to end early: it completes as ever, with -ECANCELED or its own result.
  virtual void Cancel(Op* op) = 0;
  // Hands over what is staged, then collects completions; waits for one until `deadline`
  // (<= Now(): does not wait; kNever: as long as it takes) or a wake. Returns how many completed.
  virtual size_t Poll(base::Nanos deadline) = 0;
  virtual size_t in_flight() const = 0;
  // Ends all operations without making their waiters ready, so that the frames in which they live
  // may be destroyed. Nothing may be submitted afterwards.
  virtual void DropOperations() {}
  virtual void ReleaseProvided(ProvidedBuffer buffer) = 0;
  virtual size_t provided_buffer_bytes() const = 0;

  // Ends the Poll() that `target`, another core's backend, is in or enters next.
  virtual void Wake(Backend& target) = 0;
  // The same for this backend, from a thread that has none. May be called at any time.
  virtual void WakeFromAnyThread() = 0;

  // From now on. May be called again, also when the thread has moved to other CPUs.
  virtual void LimitWorkers(const WorkerLimits& limits) {}

  // --- Time.
  virtual base::Nanos Now() = 0;     // CLOCK_BOOTTIME
  virtual int64_t WallMillis() = 0;  // since the Unix epoch

  // --- Files, at once.
  // pwritev to the page cache. Short or -errno as the system call. May be throttled by the kernel
  // when too many pages are dirty: the appender watches its duration.
  virtual int64_t WriteInline(int fd, const iovec* vectors, int count, int64_t position) = 0;
  // Only what is in the page cache: -EAGAIN where the first byte is not.
  virtual int64_t ReadNowait(int fd, const iovec* vectors, int count, int64_t position) = 0;
  // pread that may wait for the disk. Only for start, stop and tools, never while serving.
  virtual int64_t ReadBlocking(int fd, void* data, size_t bytes, int64_t position) = 0;
  // Whether all pages of the range are in the page cache.
  virtual bool Resident(int fd, int64_t position, int64_t length) = 0;
  // From now on the kernel reads nothing of the file but what is asked for, by this descriptor.
  virtual void NoReadAhead(int fd) {}
  virtual int Truncate(int fd, int64_t size_bytes) = 0;  // 0 or -errno
  virtual absl::StatusOr<FileInfo> Stat(int fd) = 0;
  virtual absl::StatusOr<FileInfo> StatPath(const std::string& path) = 0;  // NotFound
  virtual absl::StatusOr<std::vector<DirectoryEntry>> ListDirectory(const std::string& path) = 0;
  virtual absl::StatusOr<DiskSpace> Space(const std::string& path) = 0;
  // A read-only shared mapping; touching pages that are not resident waits for the disk.
  virtual absl::StatusOr<const uint8_t*> Map(int fd, int64_t position, int64_t length) = 0;
  virtual void Unmap(const uint8_t* data, int64_t length) = 0;

  // --- Sockets and pipes, at once. fds are non-blocking and close-on-exec.
  // Binds and listens. host: an address literal, v4 or v6. port 0: the kernel picks.
  // share: SO_REUSEPORT, so that every core has a listener on one port.
  virtual absl::StatusOr<int> Listen(const std::string& host, uint16_t port, bool share) = 0;
  virtual absl::StatusOr<uint16_t> LocalPort(int fd) = 0;
  virtual std::string PeerName(int fd) = 0;  // "host:port", or "?" where it is gone
  virtual absl::StatusOr<int> StreamSocket(bool v6) = 0;
  virtual void SetNoDelay(int fd) = 0;
  // Both directions: operations in flight on it complete.
  virtual void ShutdownSocket(int fd) = 0;
  // The peer sees the end behind what was sent; it may still be received from.
  virtual void EndSending(int fd) = 0;
  // The same, and throws away what is queued to send: the peer sees a reset.
  virtual void AbortSocket(int fd) { ShutdownSocket(fd); }
  virtual void CloseInline(int fd) = 0;  // sockets, pipes; no operations in flight
  // As much as fits the socket buffer from resident pages. -EAGAIN: the socket is full.
  virtual int64_t SendfileNowait(int socket, int file, int64_t position, int64_t length) = 0;
  // As much as fits. -EAGAIN: the socket is full.
  virtual int64_t SendNowait(int socket, const iovec* vectors, int count, bool more) = 0;
  // Bytes sent but not yet acknowledged by the peer (SIOCOUTQ).
  virtual int64_t UnacknowledgedBytes(int socket) = 0;
  // {read end, write end}; capacity_bytes as near as the kernel grants.
  virtual absl::StatusOr<std::pair<int, int>> Pipe(int64_t capacity_bytes) = 0;
  // What the kernel granted: a splice into it moves at most this.
  virtual int64_t PipeCapacity(int pipe) { return 64 << 10; }

  const Features& features() const { return features_; }
  const BackendCounters& counters() const { return counters_; }

 protected:
  Features features_;
  BackendCounters counters_;
};

// co_await Run(backend, op): submits, suspends, returns op.result. The Op stays in the awaiter.
class OpAwaiter {
 public:
  OpAwaiter(Backend& backend, const Op& op) : backend_(backend), op_(op) {}
  OpAwaiter(const OpAwaiter&) = delete;
  OpAwaiter& operator=(const OpAwaiter&) = delete;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    op_.waiter = waiter;
    backend_.Submit(&op_);
  }
  int32_t await_resume() const { return op_.result; }

 private:
  Backend& backend_;
  Op op_;
};

// The same for an Op that the caller keeps, to read more than its result or to cancel it.
class OpReferenceAwaiter {
 public:
  OpReferenceAwaiter(Backend& backend, Op* op) : backend_(backend), op_(op) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    op_->waiter = waiter;
    backend_.Submit(op_);
  }
  int32_t await_resume() const { return op_->result; }

 private:
  Backend& backend_;
  Op* op_;
};

inline OpReferenceAwaiter Run(Backend& backend, Op* op) { return {backend, op}; }

}  // namespace ringtail::io
