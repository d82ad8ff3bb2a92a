// The Backend on Linux: one io_uring, its receive buffers and the plain system calls beside it.
// Made, used and destroyed on its core's thread (or destroyed after that thread has ended).
//
// Loop rules
//  1. One io_uring_enter per turn where possible: Poll() submits and waits in the same call, and
//  makes
//     none where nothing is staged and the kernel has flagged nothing.
//  2. Completions are copied into their operations first; waiters are made ready from a flat loop
//     afterwards. No code of a waiter runs while the completion queue is read.
//  3. Both entries of a linked pair are reserved before the first is prepared: a submit in between
//     would silently unlink them.
//  4. Never LINK together with CQE_SKIP_SUCCESS.
#pragma once

#include <liburing.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/backend.h"
#include "engine/io/uring_ring_setup.h"

namespace ringtail::io {

class UringBackend final : public Backend {
 public:
  // An error says what is missing and how to allow it.
  static absl::StatusOr<std::unique_ptr<Backend>> Create(const UringOptions& options);
  ~UringBackend() override;

  void Submit(Op* op) override;
  void SubmitLinked(Op* first, Op* second) override;
  void Cancel(Op* op) override;
  size_t Poll(base::Nanos deadline) override;
  size_t in_flight() const override { return in_flight_; }
  void DropOperations() override;
  void ReleaseProvided(ProvidedBuffer buffer) override;
  size_t provided_buffer_bytes() const override { return provided_.buffer_bytes(); }
  void Wake(Backend& target) override;
  void WakeFromAnyThread() override;
  void LimitWorkers(const WorkerLimits& limits) override { LimitWorkersOf(limits, &ring_); }

  base::Nanos Now() override;
  int64_t WallMillis() override;

  int64_t WriteInline(int fd, const iovec* vectors, int count, int64_t position) override;
  int64_t ReadNowait(int fd, const iovec* vectors, int count, int64_t position) override;
  int64_t ReadBlocking(int fd, void* data, size_t bytes, int64_t position) override;
  bool Resident(int fd, int64_t position, int64_t length) override;
  void NoReadAhead(int fd) override;
  int Truncate(int fd, int64_t size_bytes) override;
  absl::StatusOr<FileInfo> Stat(int fd) override;
  absl::StatusOr<FileInfo> StatPath(const std::string& path) override;
  absl::StatusOr<std::vector<DirectoryEntry>> ListDirectory(const std::string& path) override;
  absl::StatusOr<DiskSpace> Space(const std::string& path) override;
  absl::StatusOr<const uint8_t*> Map(int fd, int64_t position, int64_t length) override;
  void Unmap(const uint8_t* data, int64_t length) override;

  absl::StatusOr<int> Listen(const std::string& host, uint16_t port, bool share) override;
  absl::StatusOr<uint16_t> LocalPort(int fd) override;
  std::string PeerName(int fd) override;
  absl::StatusOr<int> StreamSocket(bool v6) override;
  void SetNoDelay(int fd) override;
  void ShutdownSocket(int fd) override;
  void EndSending(int fd) override;
  void AbortSocket(int fd) override;
  void CloseInline(int fd) override;
  int64_t SendfileNowait(int socket, int file, int64_t position, int64_t length) override;
  int64_t SendNowait(int socket, const iovec* vectors, int count, bool more) override;
  int64_t UnacknowledgedBytes(int socket) override;
  absl::StatusOr<std::pair<int, int>> Pipe(int64_t capacity_bytes) override;
  int64_t PipeCapacity(int pipe) override;

 private:
  UringBackend() = default;

  absl::Status SetUp(const UringOptions& options);
  io_uring_sqe* TakeEntry();
  void ReserveEntries(unsigned count);
  void Prepare(io_uring_sqe* entry, Op* op);
  void PrepareFile(io_uring_sqe* entry, Op* op);
  void PrepareSocket(io_uring_sqe* entry, Op* op);
  void PrepareSend(io_uring_sqe* entry, Op* op);
  void StageWakeRead();
  int EnterWaiting(base::Nanos deadline);
  bool KernelFlagged() const;
  void Reap();
  void TakeCompletion(const io_uring_cqe& completion);
  void TakeOpCompletion(Op* op, const io_uring_cqe& completion);
  size_t Dispatch();

  io_uring ring_ = {};
  bool ring_made_ = false;
  ProvidedRing provided_;
  int wake_event_ = -1;
  uint64_t wake_count_ = 0;  // what the read of wake_event_ writes
  bool wake_read_due_ = false;
  size_t in_flight_ = 0;
  std::vector<Op*> completed_;  // copied out of the queue, not yet dispatched
};

}  // namespace ringtail::io
