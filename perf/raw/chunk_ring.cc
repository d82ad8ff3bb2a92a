#include "perf/raw/chunk_ring.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "perf/lib/check.h"
#include "perf/lib/os.h"
#include "perf/raw/due_requests.h"
#include "perf/raw/ring.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::CheckRing;
using perf::Require;
using perf::Unavailable;

constexpr unsigned kRingEntries = 1024;
constexpr int kPipeBytes = 1 << 20;
constexpr int64_t kPageBytes = 4096;

// What a completion is of; in the low bits of its user data, above them the connection's number.
enum Kind : uint64_t { kReceive, kSend, kFill, kDrain };
constexpr int kKindBits = 2;
constexpr uint64_t kKindMask = (1u << kKindBits) - 1;

struct Connection {
  perf::Fd socket;
  DueRequests due;
  bool closed = false;

  bool sending = false;  // a chunk
  int64_t position = 0;  // of the chunk in the file
  int64_t sent = 0;      // of the chunk
  int operations = 0;    // in flight for it
  int64_t in_pipe = 0;
  perf::Fd pipe_in;
  perf::Fd pipe_out;
  std::unique_ptr<perf::Buffer> buffer;
  int lent = 0;  // sends that may still read the buffer
};

class Server {
 public:
  Server(const ChunkOptions& options, std::vector<perf::Fd> sockets)
      : options_(options),
        file_(CheckCall(open(options.file.c_str(), O_RDONLY | O_CLOEXEC), "open")),
        connections_(sockets.size()),
        ring_({.entries = kRingEntries}) {
    struct stat stat;
    CheckCall(fstat(file_.get(), &stat), "fstat");
    size_ = stat.st_size / options.chunk_bytes * options.chunk_bytes;
    Require(size_ > 0, "the file is smaller than a chunk");
    for (size_t i = 0; i < sockets.size(); ++i) {
      connections_[i].socket = std::move(sockets[i]);
      connections_[i].position = StartOf(options, stat.st_size, static_cast<int>(i));
      if (options.method == ChunkMethod::kRingSplice) OpenPipe(connections_[i]);
      if (options.method == ChunkMethod::kZeroCopyFixed) {
        connections_[i].buffer =
            std::make_unique<perf::Buffer>(static_cast<size_t>(options.chunk_bytes));
      }
    }
    if (options.method == ChunkMethod::kZeroCopyFixed) RegisterBuffers();
    if (options.method == ChunkMethod::kRingMapped || options.method == ChunkMethod::kZeroCopy) {
      void* memory = mmap(nullptr, static_cast<size_t>(size_), PROT_READ,
                          MAP_SHARED | (options.cold ? 0 : MAP_POPULATE), file_.get(), 0);
      Require(memory != MAP_FAILED, "mmap failed");
      mapping_ = static_cast<const char*>(memory);
    }
  }
  ~Server() {
    if (mapping_ != nullptr) munmap(const_cast<char*>(mapping_), static_cast<size_t>(size_));
  }

  void Run() {
    for (Connection& each : connections_) {
      perf::SendAll(each.socket.get(), "R", 1);
      Receive(each);
    }
    for (size_t open = connections_.size(); open > 0;) {
      ring_.SubmitAndWait(1);
      // Entries are prepared only when all that is there has been noted.
      completions_.clear();
      ring_.Reap([this](const io_uring_cqe& completion) { completions_.push_back(completion); });
      for (const io_uring_cqe& completion : completions_) {
        Connection& each = connections_[completion.user_data >> kKindBits];
        const bool was_closed = each.closed;
        Complete(each, static_cast<Kind>(completion.user_data & kKindMask), completion.res,
                 completion.flags);
        if (!was_closed && each.closed) --open;
      }
    }
  }

 private:
  void OpenPipe(Connection& connection) {
    int ends[2];
    CheckCall(pipe2(ends, O_CLOEXEC), "pipe2");
    connection.pipe_out = perf::Fd(ends[0]);
    connection.pipe_in = perf::Fd(ends[1]);
    // Unprivileged users may have so many large pipes; the smaller one works as well.
    fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes);
    pipe_bytes_ = std::min<int64_t>(pipe_bytes_, fcntl(ends[1], F_GETPIPE_SZ));
  }

  void RegisterBuffers() {
    std::vector<iovec> vectors;
    for (const Connection& each : connections_) {
      vectors.push_back({each.buffer->data(), each.buffer->size()});
    }
    const int result = io_uring_register_buffers(ring_.get(), vectors.data(),
                                                 static_cast<unsigned>(vectors.size()));
    if (result == -ENOMEM) throw Unavailable("registered buffers: RLIMIT_MEMLOCK is too low");
    CheckRing(result, "io_uring_register_buffers");
  }

  // After the entry was prepared, which clears its user data.
  void Mark(io_uring_sqe* sqe, const Connection& connection, Kind kind) {
    const auto index = static_cast<uint64_t>(&connection - connections_.data());
    sqe->user_data = index << kKindBits | kind;
  }

  void Receive(Connection& connection) {
    io_uring_sqe* sqe = ring_.Entry();
    io_uring_prep_recv(sqe, connection.socket.get(), connection.due.memory(),
                       DueRequests::memory_bytes(), 0);
    Mark(sqe, connection, kReceive);
  }

  void Complete(Connection& connection, Kind kind, int32_t result, uint32_t flags) {
    if (kind == kReceive) return Received(connection, result);
    if ((flags & IORING_CQE_F_NOTIF) != 0) {
      --connection.lent;
      return Next(connection);
    }
    if ((flags & IORING_CQE_F_MORE) != 0) ++connection.lent;
    --connection.operations;
    if (kind == kSend && options_.method != ChunkMethod::kRingMapped && result == -EINVAL) {
      throw Unavailable("IORING_OP_SEND_ZC needs Linux 6.0");
    }
    if (kind == kSend && result == -ENOMEM) {
      throw Unavailable("IORING_OP_SEND_ZC: RLIMIT_MEMLOCK is too low");
    }
    if (result == -ECONNRESET || result == -EPIPE) {
      connection.closed = true;
      return;
    }
    if (result != -ECANCELED) {
      CheckRing(result, "send by the ring");
      if (kind == kFill) connection.in_pipe += result;
      if (kind == kDrain) connection.in_pipe -= result;
      if (kind != kFill) connection.sent += result;
    }
    if (connection.operations == 0) Next(connection);
  }

  void Received(Connection& connection, int32_t result) {
    if (result <= 0) {
      connection.closed = true;
      return;
    }
    connection.due.Received(result);
    Receive(connection);
    if (!connection.sending) Next(connection);
  }

  // Goes on with the chunk, or with the next one that is due.
  void Next(Connection& connection) {
    if (connection.closed || connection.operations > 0) return;
    if (connection.sending && connection.sent == options_.chunk_bytes) {
      connection.sending = false;
      connection.position = (connection.position + options_.chunk_bytes) % size_;
      connection.due.Answered();
    }
    if (!connection.sending) {
      if (connection.due.count() == 0) return;
      // The buffer is the peer's until the kernel has said that nothing reads it.
      if (options_.method == ChunkMethod::kZeroCopyFixed && connection.lent > 0) return;
      connection.sending = true;
      connection.sent = 0;
      if (options_.method == ChunkMethod::kZeroCopyFixed) ReadChunk(connection);
    }
    if (options_.method == ChunkMethod::kRingSplice) return SpliceSome(connection);
    SendSome(connection);
  }

  void ReadChunk(Connection& connection) {
    const ssize_t got = CheckCall(pread(file_.get(), connection.buffer->data(),
                                        connection.buffer->size(), connection.position),
                                  "pread");
    Require(got == options_.chunk_bytes, "the file ended within a chunk");
  }

  void SendSome(Connection& connection) {
    io_uring_sqe* sqe = ring_.Entry();
    const auto left = static_cast<size_t>(options_.chunk_bytes - connection.sent);
    const int socket = connection.socket.get();
    const char* from = mapping_ != nullptr ? mapping_ + connection.position + connection.sent
                                           : connection.buffer->data() + connection.sent;
    switch (options_.method) {
      case ChunkMethod::kZeroCopy:
        io_uring_prep_send_zc(sqe, socket, from, left, MSG_WAITALL | MSG_NOSIGNAL, 0);
        break;
      case ChunkMethod::kZeroCopyFixed: {
        const auto index = static_cast<unsigned>(&connection - connections_.data());
        io_uring_prep_send_zc_fixed(sqe, socket, from, left, MSG_WAITALL | MSG_NOSIGNAL, 0, index);
        break;
      }
      default:
        io_uring_prep_send(sqe, socket, from, left, MSG_WAITALL | MSG_NOSIGNAL);
    }
    Mark(sqe, connection, kSend);
    ++connection.operations;
  }

  // File to pipe and pipe to socket, linked. A short first half cancels the second; what it left in
  // the pipe goes out alone.
  void SpliceSome(Connection& connection) {
    int64_t bytes = connection.in_pipe;
    if (bytes == 0) {
      bytes = std::min(options_.chunk_bytes - connection.sent, pipe_bytes_ - kPageBytes);
      io_uring_sqe* fill = ring_.Entry();
      io_uring_prep_splice(fill, file_.get(), connection.position + connection.sent,
                           connection.pipe_in.get(), -1, static_cast<unsigned>(bytes), 0);
      fill->flags |= IOSQE_IO_LINK;
      Mark(fill, connection, kFill);
      ++connection.operations;
    }
    io_uring_sqe* drain = ring_.Entry();
    io_uring_prep_splice(drain, connection.pipe_out.get(), -1, connection.socket.get(), -1,
                         static_cast<unsigned>(bytes), SPLICE_F_MOVE);
    Mark(drain, connection, kDrain);
    ++connection.operations;
  }

  const ChunkOptions& options_;
  perf::Fd file_;
  int64_t size_ = 0;
  const char* mapping_ = nullptr;
  int64_t pipe_bytes_ = kPipeBytes;
  std::vector<Connection> connections_;
  std::vector<io_uring_cqe> completions_;
  Ring ring_;  // goes first: what is in flight ends with it
};

}  // namespace

void ServeByRing(const ChunkOptions& options, std::vector<perf::Fd> sockets) {
  Server(options, std::move(sockets)).Run();
}

}  // namespace ringtail::raw
