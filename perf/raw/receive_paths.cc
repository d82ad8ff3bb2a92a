#include "perf/raw/receive_paths.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>

#include "perf/lib/check.h"
#include "perf/lib/os.h"
#include "perf/raw/ring.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::CheckRing;
using perf::Require;

// One recv into the connection's buffer, and the acknowledgements of what it completed. False at
// the end of the stream.
bool ReceiveSome(MessageSource& source, int socket, MessageBuffer& buffer) {
  const ssize_t received = CheckCall(recv(socket, buffer.free(), buffer.free_bytes(), 0), "recv");
  if (received == 0) {
    Require(!buffer.amid_message(), "the client ended amid a message");
    return false;
  }
  const int64_t messages = buffer.Received(static_cast<size_t>(received));
  const perf::Bytes acks = source.Acks(messages);
  if (acks.size > 0) perf::SendAll(socket, acks.data, acks.size);
  return true;
}

void ServeBlocking(MessageSource& source) {
  MessageBuffer buffer(source);
  while (ReceiveSome(source, source.socket(0), buffer)) {
  }
}

void ServeEpoll(MessageSource& source) {
  const perf::Fd poller(CheckCall(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
  std::deque<MessageBuffer> buffers;
  for (size_t i = 0; i < source.count(); ++i) {
    buffers.emplace_back(source);
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = i;
    CheckCall(epoll_ctl(poller.get(), EPOLL_CTL_ADD, source.socket(i), &event), "epoll_ctl");
  }
  std::vector<epoll_event> events(source.count());
  for (size_t open = source.count(); open > 0;) {
    const int count = CheckCall(
        epoll_wait(poller.get(), events.data(), static_cast<int>(events.size()), -1), "epoll_wait");
    for (int i = 0; i < count; ++i) {
      const size_t connection = events[static_cast<size_t>(i)].data.u64;
      const int socket = source.socket(connection);
      if (ReceiveSome(source, socket, buffers[connection])) continue;
      CheckCall(epoll_ctl(poller.get(), EPOLL_CTL_DEL, socket, nullptr), "epoll_ctl");
      --open;
    }
  }
}

// A loop around one ring: a receive is always armed on each connection, and what acknowledges goes
// in with the next ones and with the wait, by one system call.
class RingServer {
 public:
  explicit RingServer(MessageSource& source) : source_(source), ring_(MakeOptions(source)) {}
  virtual ~RingServer() = default;

  void Serve() {
    open_ = source_.count();
    for (size_t i = 0; i < source_.count(); ++i) Arm(i);
    std::vector<io_uring_cqe> completions;
    while (open_ > 0 || sends_ > 0) {
      ring_.SubmitAndWait(1);
      completions.clear();
      ring_.Reap([&](const io_uring_cqe& completion) { completions.push_back(completion); });
      for (const io_uring_cqe& completion : completions) Take(completion);
    }
  }

 protected:
  // Arms a receive on a connection.
  virtual void Arm(size_t connection) = 0;
  // `received` bytes have come; returns how many messages that completed.
  virtual int64_t Received(size_t connection, const io_uring_cqe& completion) = 0;
  virtual bool AmidMessage(size_t connection) const = 0;

  io_uring_sqe* ReceiveEntry(size_t connection, char* data, size_t size, int flags) {
    io_uring_sqe* entry = ring_.Entry();
    io_uring_prep_recv(entry, source_.socket(connection), data, size, flags);
    entry->user_data = connection << 1;
    return entry;
  }

  MessageSource& source_;
  Ring ring_;

 private:
  static constexpr uint64_t kSend = 1;  // in user data, beside twice the connection
  // What a completion cannot hold is in its user data: how much a send was to send.
  static constexpr int kSizeShift = 32;

  static RingOptions MakeOptions(const MessageSource& source) {
    RingOptions options;
    options.entries = source.count() == 1 ? 64 : 512;
    options.register_ring = true;
    return options;
  }

  void Take(const io_uring_cqe& completion) {
    if ((completion.user_data & kSend) != 0) {
      --sends_;
      const auto wanted = static_cast<int64_t>(completion.user_data >> kSizeShift);
      Require(CheckRing(completion.res, "ring send") == wanted, "a send was short");
      return;
    }
    const auto connection = static_cast<size_t>(completion.user_data >> 1);
    // No buffer was left to lend; those that held bytes are back by now.
    if (completion.res == -ENOBUFS) return Arm(connection);
    if (CheckRing(completion.res, "ring receive") == 0) {
      Require(!AmidMessage(connection), "the client ended amid a message");
      --open_;
      return;
    }
    Acknowledge(connection, Received(connection, completion));
    if ((completion.flags & IORING_CQE_F_MORE) == 0) Arm(connection);
  }

  void Acknowledge(size_t connection, int64_t messages) {
    if (messages == 0) return;
    const perf::Bytes acks = source_.Acks(messages);
    io_uring_sqe* entry = ring_.Entry();
    io_uring_prep_send(entry, source_.socket(connection), acks.data, acks.size,
                       MSG_NOSIGNAL | MSG_WAITALL);
    entry->user_data = (static_cast<uint64_t>(acks.size) << kSizeShift) | (connection << 1) | kSend;
    ++sends_;
  }

  size_t open_ = 0;
  int64_t sends_ = 0;
};

class OwnBufferServer : public RingServer {
 public:
  explicit OwnBufferServer(MessageSource& source) : RingServer(source) {
    for (size_t i = 0; i < source.count(); ++i) buffers_.emplace_back(source);
  }

 protected:
  void Arm(size_t connection) override {
    MessageBuffer& buffer = buffers_[connection];
    ReceiveEntry(connection, buffer.free(), buffer.free_bytes(), 0);
  }
  int64_t Received(size_t connection, const io_uring_cqe& completion) override {
    return buffers_[connection].Received(static_cast<size_t>(completion.res));
  }
  bool AmidMessage(size_t connection) const override { return buffers_[connection].amid_message(); }

 private:
  std::deque<MessageBuffer> buffers_;
};

class InPlaceServer : public RingServer {
 public:
  explicit InPlaceServer(MessageSource& source) : RingServer(source) {
    const auto bytes = static_cast<size_t>(source.load().message_bytes);
    for (size_t i = 0; i < source.count(); ++i) places_.emplace_back(bytes);
  }

 protected:
  void Arm(size_t connection) override {
    const perf::Buffer& place = places_[connection];
    ReceiveEntry(connection, place.data(), place.size(), MSG_WAITALL);
  }
  int64_t Received(size_t connection, const io_uring_cqe& completion) override {
    Require(completion.res == source_.load().message_bytes, "a receive ended amid a message");
    source_.Take(places_[connection].data());
    return 1;
  }
  bool AmidMessage(size_t) const override { return false; }

 private:
  std::deque<perf::Buffer> places_;
};

// Registered by hand: liburing has no call that makes one before 2.4.
class LentBuffers {
 public:
  static constexpr uint16_t kGroup = 0;

  explicit LentBuffers(Ring& ring)
      : memory_(static_cast<size_t>(kProvidedBuffers) * kProvidedBytes),
        entries_(kProvidedBuffers * sizeof(io_uring_buf)) {
    io_uring_buf_ring_init(lent());
    io_uring_buf_reg registration = {};
    registration.ring_addr = reinterpret_cast<uint64_t>(lent());
    registration.ring_entries = kProvidedBuffers;
    registration.bgid = kGroup;
    const int error = io_uring_register_buf_ring(ring.get(), &registration, 0);
    if (error < 0) {
      throw perf::Unavailable("the kernel lends no receive buffers (IORING_REGISTER_PBUF_RING: " +
                              ErrorName(error) + ")");
    }
    for (int id = 0; id < kProvidedBuffers; ++id) GiveBack(static_cast<uint16_t>(id));
  }

  const char* Data(uint16_t id) const { return memory_.data() + size_t{id} * kProvidedBytes; }
  void GiveBack(uint16_t id) {
    io_uring_buf_ring_add(lent(), const_cast<char*>(Data(id)), kProvidedBytes, id,
                          io_uring_buf_ring_mask(kProvidedBuffers), 0);
    io_uring_buf_ring_advance(lent(), 1);
  }

 private:
  io_uring_buf_ring* lent() { return reinterpret_cast<io_uring_buf_ring*>(entries_.data()); }

  perf::Buffer memory_;
  perf::Buffer entries_;
};

class ProvidedServer : public RingServer {
 public:
  ProvidedServer(MessageSource& source, bool multishot)
      : RingServer(source), multishot_(multishot), buffers_(ring_), places_(source) {
    for (size_t i = 0; i < source.count(); ++i) assemblers_.emplace_back(places_);
  }

 protected:
  void Arm(size_t connection) override {
    io_uring_sqe* entry = ReceiveEntry(connection, nullptr, 0, 0);
    if (multishot_) entry->ioprio |= IORING_RECV_MULTISHOT;
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = LentBuffers::kGroup;
  }
  int64_t Received(size_t connection, const io_uring_cqe& completion) override {
    Require((completion.flags & IORING_CQE_F_BUFFER) != 0, "a receive without a lent buffer");
    const auto id = static_cast<uint16_t>(completion.flags >> IORING_CQE_BUFFER_SHIFT);
    const int64_t messages =
        assemblers_[connection].Received(buffers_.Data(id), static_cast<size_t>(completion.res));
    buffers_.GiveBack(id);
    return messages;
  }
  bool AmidMessage(size_t connection) const override {
    return assemblers_[connection].amid_message();
  }

 private:
  bool multishot_;
  LentBuffers buffers_;
  MessagePlaces places_;
  std::deque<MessageAssembler> assemblers_;
};

void Serve(ReceivePath path, MessageSource& source) {
  switch (path) {
    case ReceivePath::kBlocking:
      return ServeBlocking(source);
    case ReceivePath::kEpoll:
      return ServeEpoll(source);
    case ReceivePath::kRing:
      return OwnBufferServer(source).Serve();
    case ReceivePath::kInPlace:
      return InPlaceServer(source).Serve();
    case ReceivePath::kProvided:
      return ProvidedServer(source, /*multishot=*/false).Serve();
    case ReceivePath::kMultishot:
      return ProvidedServer(source, /*multishot=*/true).Serve();
  }
}

}  // namespace

const char* Name(ReceivePath path) {
  switch (path) {
    case ReceivePath::kBlocking:
      return "recv";
    case ReceivePath::kEpoll:
      return "epoll and recv";
    case ReceivePath::kRing:
      return "ring";
    case ReceivePath::kInPlace:
      return "ring, to its place with MSG_WAITALL";
    case ReceivePath::kProvided:
      return "ring, provided buffers";
    case ReceivePath::kMultishot:
      return "ring, provided buffers, multishot";
  }
  return "";
}

std::vector<ReceivePath> ReceivePaths(int connections) {
  std::vector<ReceivePath> paths = {ReceivePath::kEpoll, ReceivePath::kRing, ReceivePath::kInPlace,
                                    ReceivePath::kProvided, ReceivePath::kMultishot};
  if (connections == 1) paths.insert(paths.begin(), ReceivePath::kBlocking);
  return paths;
}

perf::Figures RunReceivePath(ReceivePath path, const MessageLoad& load) {
  MessageSource source(load);
  Serve(path, source);
  return source.Finish();
}

}  // namespace ringtail::raw
