#include "perf/raw/message_load.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <string>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/latencies.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::Require;

constexpr size_t kBufferBytesMin = 64 << 10;
constexpr int64_t kReceiveBytesMax = 256 << 20;
// The first and the last bytes of each message: one that was put together wrongly has others.
constexpr uint64_t kHead = 0x52696e677461696cu;
constexpr uint64_t kTail = 0x6c6961746e676952u;
constexpr int64_t kMessageBytesMin = 2 * sizeof(kHead);

// Few, so that sockets' buffers stay small where there are many.
int InFlight(const MessageLoad& load) { return load.connections == 1 ? 4 : 2; }

enum Stage : int { kWarmup, kMeasured, kOver };

// The client's end of one connection.
class Connection {
 public:
  Connection(uint16_t port, const MessageLoad& load, const char* message)
      : socket_(perf::ConnectLoopback(port)), load_(load), message_(message) {
    perf::SetNonBlocking(socket_.get());
  }

  int socket() const { return socket_.get(); }

  // Takes the acknowledgements that have come, and sends as long as the socket takes bytes and,
  // unless `stopping`, new messages may go out. False once the connection has ended.
  bool Advance(bool stopping, perf::Latencies* latencies) {
    TakeAcks(latencies);
    while (sent_ > 0 || (!stopping && starts_ns_.size() < static_cast<size_t>(InFlight(load_)))) {
      if (sent_ == 0) starts_ns_.push_back(perf::NowNs());
      const ssize_t more = send(socket_.get(), message_ + sent_,
                                static_cast<size_t>(load_.message_bytes - sent_), MSG_NOSIGNAL);
      if (more < 0 && errno == EAGAIN) break;
      sent_ += CheckCall(more, "send");
      if (sent_ == load_.message_bytes) sent_ = 0;
    }
    if (!stopping || !starts_ns_.empty()) return true;
    socket_.Close();
    return false;
  }

 private:
  void TakeAcks(perf::Latencies* latencies) {
    char acks[1024];
    while (true) {
      const ssize_t got = recv(socket_.get(), acks, sizeof(acks), 0);
      if (got < 0 && errno == EAGAIN) return;
      Require(CheckCall(got, "recv") > 0, "the measured process closed a connection");
      const int64_t now_ns = perf::NowNs();
      for (ack_bytes_ += got; ack_bytes_ >= kAckBytes; ack_bytes_ -= kAckBytes) {
        Require(!starts_ns_.empty(), "an acknowledgement without a message");
        if (latencies != nullptr) latencies->Add(now_ns - starts_ns_.front());
        starts_ns_.pop_front();
      }
      if (got < static_cast<ssize_t>(sizeof(acks))) return;
    }
  }

  perf::Fd socket_;
  const MessageLoad& load_;
  const char* message_;
  int64_t sent_ = 0;  // of the message that is going out; 0: none is
  int64_t ack_bytes_ = 0;
  std::deque<int64_t> starts_ns_;  // of the messages in flight
};

// Sends until the stage is kOver and everything has been acknowledged.
perf::Figures RunClient(const MessageLoad& load, uint16_t port, const std::atomic<int>& stage) {
  const perf::Buffer message(static_cast<size_t>(load.message_bytes));
  std::memcpy(message.data(), &kHead, sizeof(kHead));
  std::memcpy(message.data() + message.size() - sizeof(kTail), &kTail, sizeof(kTail));
  const perf::Fd poller(CheckCall(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
  std::deque<Connection> connections;
  for (int i = 0; i < load.connections; ++i) {
    connections.emplace_back(port, load, message.data());
    epoll_event event = {};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.ptr = &connections.back();
    CheckCall(epoll_ctl(poller.get(), EPOLL_CTL_ADD, connections.back().socket(), &event),
              "epoll_ctl");
  }
  perf::Latencies latencies;
  std::vector<epoll_event> events(connections.size());
  for (size_t open = connections.size(); open > 0;) {
    const int count = CheckCall(
        epoll_wait(poller.get(), events.data(), static_cast<int>(events.size()), -1), "epoll_wait");
    for (int i = 0; i < count; ++i) {
      const int now = stage.load(std::memory_order_relaxed);
      auto* connection = static_cast<Connection*>(events[static_cast<size_t>(i)].data.ptr);
      if (!connection->Advance(now == kOver, now == kWarmup ? nullptr : &latencies)) --open;
    }
  }
  return {{"p50_us", latencies.PercentileUs(0.5)},
          {"p99_us", latencies.PercentileUs(0.99)},
          {"p999_us", latencies.PercentileUs(0.999)}};
}

}  // namespace

struct MessageSource::Phase {
  std::atomic<int> stage{kWarmup};

  static Phase* Map() {
    void* memory =
        mmap(nullptr, sizeof(Phase), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    return new (memory) Phase;
  }
  static void Unmap(Phase* phase) { munmap(phase, sizeof(Phase)); }
};

MessageSource::MessageSource(const MessageLoad& load)
    : load_(load),
      phase_(Phase::Map(), &Phase::Unmap),
      acks_(static_cast<size_t>(InFlight(load) * kAckBytes), 'a'),
      // After so many, the client has seen acknowledgements of messages that were measured.
      work_(load.seconds, 2 * InFlight(load) * load.connections) {
  Require(load.message_bytes >= kMessageBytesMin, "messages of 16 bytes are the smallest");
  if (load.message_bytes * load.connections > kReceiveBytesMax) {
    throw perf::Unavailable("the messages of all connections would take more than 256 MiB");
  }
  perf::Listener listener = perf::ListenLoopback();
  client_.emplace(perf::kClientCpu, [&] {
    listener.fd.Close();
    return RunClient(load_, listener.port, phase_->stage);
  });
  for (int i = 0; i < load.connections; ++i) {
    sockets_.emplace_back(
        CheckCall(accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC), "accept"));
    perf::SetNoDelay(sockets_.back().get());
  }
}

void MessageSource::Take(const char* data) {
  uint64_t head;
  uint64_t tail;
  std::memcpy(&head, data, sizeof(head));
  std::memcpy(&tail, data + load_.message_bytes - sizeof(tail), sizeof(tail));
  Require(head == kHead && tail == kTail, "a message came damaged");
  const bool was_measuring = work_.measuring();
  const bool was_done = work_.done();
  work_.Count(1, load_.message_bytes);
  if (was_measuring != work_.measuring() || was_done != work_.done()) {
    phase_->stage.store(work_.done() ? kOver : kMeasured, std::memory_order_relaxed);
  }
}

perf::Bytes MessageSource::Acks(int64_t messages) const {
  const auto size = static_cast<size_t>(messages * kAckBytes);
  Require(size <= acks_.size(), "more messages than were in flight");
  return {acks_.data(), size};
}

perf::Figures MessageSource::Finish() {
  const perf::Figures seen = client_->Await();
  Require(work_.done(), "the client ended early");
  perf::Figures figures = work_.figures();
  figures.insert(seen.begin(), seen.end());
  return figures;
}

MessageBuffer::MessageBuffer(MessageSource& source)
    : source_(source),
      memory_(std::max(kBufferBytesMin, static_cast<size_t>(source.load().message_bytes))) {}

int64_t MessageBuffer::Received(size_t received) {
  const auto message_bytes = static_cast<size_t>(source_.load().message_bytes);
  filled_ += received;
  size_t taken = 0;
  int64_t messages = 0;
  for (; filled_ - taken >= message_bytes; taken += message_bytes, ++messages) {
    source_.Take(memory_.data() + taken);
  }
  filled_ -= taken;
  if (taken > 0 && filled_ > 0) std::memmove(memory_.data(), memory_.data() + taken, filled_);
  return messages;
}

std::unique_ptr<perf::Buffer> MessagePlaces::Borrow() {
  if (free_.empty()) {
    return std::make_unique<perf::Buffer>(static_cast<size_t>(source_.load().message_bytes));
  }
  std::unique_ptr<perf::Buffer> place = std::move(free_.back());
  free_.pop_back();
  return place;
}

int64_t MessageAssembler::Received(const char* data, size_t size) {
  const auto message_bytes = static_cast<size_t>(places_->source().load().message_bytes);
  int64_t messages = 0;
  while (size > 0) {
    size_t used = message_bytes;
    if (place_ == nullptr && size >= message_bytes) {
      places_->source().Take(data);
      ++messages;
    } else {
      if (place_ == nullptr) place_ = places_->Borrow();
      used = std::min(size, message_bytes - filled_);
      std::memcpy(place_->data() + filled_, data, used);
      filled_ += used;
      if (filled_ == message_bytes) {
        places_->source().Take(place_->data());
        places_->Return(std::move(place_));
        filled_ = 0;
        ++messages;
      }
    }
    data += used;
    size -= used;
  }
  return messages;
}

}  // namespace ringtail::raw
