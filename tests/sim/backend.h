// io::Backend over a SimWorld: one per simulated core. Operations are handed over in Poll(), take a
// seeded time, and may be hit by a fault rule; results and side effects are those of Linux as far
// as the engine can see them. Besides:
//  - An fd that is closed with operations in flight, or a buffer that changes while it is being
//    written, is a CHECK failure: rules 4 of io::Backend and J14 of the journal.
//  - File effects happen at one moment between hand-over and completion, in any order among
//    operations in flight. A sync covers what was written before it was handed over.
//  - O_DIRECT without kDataSync is not durable: it may sit in the device's cache.
//  - SendfileNowait and Map serve what is not in the page cache, and count that in cold_touches():
//    a real core would block there.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/backend.h"
#include "tests/sim/world.h"

namespace ringtail::sim {

struct SimBackendOptions {
  size_t provided_count = 64;
  size_t provided_bytes = 4096;
  bool dont_cache = true;  // false: a kernel before 6.14
};

class SimBackend : public io::Backend {
 public:
  SimBackend(SimWorld& world, SimProcess& process, const SimBackendOptions& options = {});
  ~SimBackend() override;

  void Submit(io::Op* op) override;
  void SubmitLinked(io::Op* first, io::Op* second) override;
  void Cancel(io::Op* op) override;
  size_t Poll(base::Nanos deadline) override;
  size_t in_flight() const override { return flights_.size(); }
  void DropOperations() override;
  void ReleaseProvided(io::ProvidedBuffer buffer) override;
  size_t provided_buffer_bytes() const override { return options_.provided_bytes; }
  void Wake(io::Backend& target) override;
  void WakeFromAnyThread() override { woken_.store(true); }

  base::Nanos Now() override { return world_.Tick(); }
  int64_t WallMillis() override { return world_.wall_ms(); }

  int64_t WriteInline(int fd, const iovec* vectors, int count, int64_t position) override;
  int64_t ReadNowait(int fd, const iovec* vectors, int count, int64_t position) override;
  int64_t ReadBlocking(int fd, void* data, size_t bytes, int64_t position) override;
  bool Resident(int fd, int64_t position, int64_t length) override;
  int Truncate(int fd, int64_t size_bytes) override;
  absl::StatusOr<io::FileInfo> Stat(int fd) override;
  absl::StatusOr<io::FileInfo> StatPath(const std::string& path) override;
  absl::StatusOr<std::vector<io::DirectoryEntry>> ListDirectory(const std::string& path) override;
  absl::StatusOr<io::DiskSpace> Space(const std::string& path) override;
  absl::StatusOr<const uint8_t*> Map(int fd, int64_t position, int64_t length) override;
  void Unmap(const uint8_t* data, int64_t length) override;

  absl::StatusOr<int> Listen(const std::string& host, uint16_t port, bool share) override;
  absl::StatusOr<uint16_t> LocalPort(int fd) override;
  std::string PeerName(int fd) override;
  absl::StatusOr<int> StreamSocket(bool v6) override;
  void SetNoDelay(int fd) override {}
  void ShutdownSocket(int fd) override;
  void EndSending(int fd) override;
  void AbortSocket(int fd) override;
  void CloseInline(int fd) override;
  int64_t SendfileNowait(int socket, int file, int64_t position, int64_t length) override;
  int64_t SendNowait(int socket, const iovec* vectors, int count, bool more) override;
  int64_t UnacknowledgedBytes(int socket) override;
  absl::StatusOr<std::pair<int, int>> Pipe(int64_t capacity_bytes) override;
  int64_t PipeCapacity(int pipe) override;

  SimProcess& process() { return process_; }
  // Whether a turn of its core would find something.
  bool HasWork() const { return !staged_.empty() || !completed_.empty() || woken_.load(); }
  base::Nanos poll_deadline() const { return poll_deadline_; }
  size_t provided_lent() const { return options_.provided_count - provided_free_.size(); }
  uint64_t cold_touches() const { return cold_touches_; }

 private:
  friend class SimWorld;
  enum class Stage : uint8_t { kStaged, kLinked, kQueued, kHung, kWaiting, kCompleted };
  struct Flight {
    uint64_t id = 0;
    io::Op* op = nullptr;
    Stage stage = Stage::kStaged;
    uint64_t next = 0;  // the linked one that follows
    Faults::Hit hit;
    SimDisk::SyncSnapshot snapshot;
    uint32_t checksum = 0;
    int64_t moved = 0;        // kWaitAll: bytes so far
    uint64_t ack_target = 0;  // kZeroCopy: the memory is free when the peer has so much
    Channel channel = 0;      // what it waits on
    bool connecting = false;
    int64_t result = 0;
    io::ProvidedBuffer provided;
  };

  // backend.cc: the life of an operation.
  Flight& NewFlight(io::Op* op);
  void Begin(Flight& flight);
  void Queue(Flight& flight, base::Nanos delay);
  void Execute(uint64_t id);
  void Complete(Flight& flight, int64_t result);
  void CountInFlight(const io::Op& op, int delta);
  void HungReleased();
  // Ends all operations. As the process is killed, or loses power; afterwards the backend is dead.
  void Drop(bool power_cut);
  void Die(bool power_cut);

  // backend_files.cc
  base::Nanos FileLatency(const Flight& flight);
  int64_t DoFileOp(Flight& flight);
  int64_t DoRead(Flight& flight, const SimProcess::Fd& fd);
  int64_t DoWrite(Flight& flight, const SimProcess::Fd& fd);
  int64_t DoSync(Flight& flight, const SimProcess::Fd& fd);
  int64_t DoOpen(const io::Op& op);
  int64_t DoClose(int fd);
  void ApplyPartly(Flight& flight, bool power_cut);
  Faults::Hit MatchFault(io::OpCode code, absl::string_view path);
  // Matches an inline call; true: *result is its result.
  bool InlineFault(io::OpCode code, absl::string_view path, Faults::Hit* hit, int64_t* result);

  // backend_sockets.cc
  void BeginSocketOp(Flight& flight);
  void Retry(uint64_t id);  // an operation that waits on a channel
  int64_t TrySocketOp(Flight& flight);
  int64_t TryReceive(Flight& flight, Channel channel);
  int64_t TryReceiveProvided(Flight& flight, Channel channel);
  int64_t TrySend(Flight& flight, Channel channel);
  int64_t TryConnect(Flight& flight, Channel channel);
  int64_t DoSplice(const io::Op& op);
  int64_t SpliceToPipe(const io::Op& op, const SimProcess::Fd& from, Channel pipe);
  int64_t SpliceFromPipe(const io::Op& op, Channel pipe, const SimProcess::Fd& to);
  Channel ChannelOf(int fd, SimProcess::Fd::Kind kind);

  SimWorld& world_;
  SimProcess& process_;
  SimBackendOptions options_;
  uint64_t id_;
  bool dead_ = false;
  std::atomic<bool> woken_{false};
  base::Nanos poll_deadline_ = base::kNever;
  uint64_t next_flight_ = 1;
  std::map<uint64_t, Flight> flights_;
  std::vector<uint64_t> staged_;
  std::vector<uint64_t> completed_;
  std::vector<uint8_t> provided_memory_;
  std::vector<uint16_t> provided_free_;
  uint64_t cold_touches_ = 0;
};

// absl::Status as io::ErrnoStatus gives it.
absl::Status ErrorStatus(int64_t negative_errno, absl::string_view what, absl::string_view path);
// The part of the vectors from `skip` on, at most `bytes` long.
std::vector<iovec> Slice(const iovec* vectors, size_t count, int64_t skip, int64_t bytes);
int64_t TotalBytes(const iovec* vectors, size_t count);

}  // namespace ringtail::sim
