#include "perf/lib/chunk_client.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <deque>
#include <string>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/os.h"
#include "perf/lib/work_meter.h"

namespace ringtail::perf {
namespace {

constexpr double kWarmUp = 0.2;
constexpr size_t kReceiveBytes = 256 << 10;
// No server takes so long for a chunk that is being sent.
constexpr int kPatienceMs = 10'000;

struct Connection {
  Fd socket;
  std::deque<int64_t> asked_ns;  // of the chunks that have not come whole, the oldest first
  int64_t received_bytes = 0;    // of the oldest
  int64_t left = 0;              // chunks that it may still ask for
};

class Clients {
 public:
  Clients(uint16_t port, const ChunkLoad& load)
      : load_(load),
        request_(static_cast<size_t>(load.request_bytes), 'r'),
        buffer_(kReceiveBytes),
        poller_(CheckCall(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")) {
    for (int i = 0; i < load.connections; ++i) {
      connections_.push_back({.socket = ConnectLoopback(port)});
    }
    const int64_t share = load.bytes_max / load.connections / load.chunk_bytes;
    Require(load.bytes_max == 0 || share > 0, "less than a chunk for each connection");
    for (Connection& each : connections_) {
      char ready;
      Require(ReceiveAll(each.socket.get(), &ready, 1), "the server did not set up");
      each.left = load.bytes_max == 0 ? INT64_MAX : share;
      epoll_event event = {};
      event.events = EPOLLIN;
      event.data.ptr = &each;
      CheckCall(epoll_ctl(poller_.get(), EPOLL_CTL_ADD, each.socket.get(), &event), "epoll_ctl");
    }
  }

  void AskFirst() {
    for (Connection& each : connections_) {
      for (int i = 0; i < load_.window; ++i) Ask(each);
    }
  }

  // Drains until `end_ns`, a chunk at least, or until nothing is left to come. Latencies go to
  // `meter`, if any; returns how many chunks have come.
  int64_t Drain(int64_t end_ns, WorkMeter* meter) {
    int64_t chunks = 0;
    while (asked_ > 0) {
      epoll_event events[64];
      const int ready = CheckCall(epoll_wait(poller_.get(), events, 64, kPatienceMs), "epoll_wait");
      Require(ready > 0, "the server stopped sending");
      for (int i = 0; i < ready; ++i) {
        chunks += Receive(*static_cast<Connection*>(events[i].data.ptr), meter);
      }
      if (chunks > 0 && NowNs() >= end_ns) break;
    }
    return chunks;
  }

 private:
  void Ask(Connection& connection) {
    if (connection.left == 0) return;
    --connection.left;
    ++asked_;
    connection.asked_ns.push_back(NowNs());
    SendAll(connection.socket.get(), request_.data(), request_.size());
  }

  int64_t Receive(Connection& connection, WorkMeter* meter) {
    const ssize_t got =
        CheckCall(recv(connection.socket.get(), buffer_.data(), buffer_.size(), 0), "recv");
    Require(got > 0, "the server closed the connection");
    connection.received_bytes += got;
    int64_t chunks = 0;
    while (connection.received_bytes >= load_.chunk_bytes) {
      Require(!connection.asked_ns.empty(), "the server sent what was not asked for");
      connection.received_bytes -= load_.chunk_bytes;
      if (meter != nullptr) meter->Add(NowNs() - connection.asked_ns.front());
      connection.asked_ns.pop_front();
      --asked_;
      ++chunks;
      Ask(connection);
    }
    return chunks;
  }

  const ChunkLoad& load_;
  const std::string request_;
  Buffer buffer_;
  Fd poller_;
  std::deque<Connection> connections_;
  int64_t asked_ = 0;
};

}  // namespace

Figures RunChunkClient(uint16_t port, pid_t server, const ChunkLoad& load, double seconds) {
  Clients clients(port, load);
  const auto after = [](double s) { return NowNs() + static_cast<int64_t>(s * kNsPerSecond); };
  if (load.bytes_max > 0) {
    WorkMeter meter(server);
    clients.AskFirst();
    const int64_t chunks = clients.Drain(after(seconds), &meter);
    return meter.Finish(chunks, chunks * load.chunk_bytes);
  }
  clients.AskFirst();
  clients.Drain(after(seconds * kWarmUp), nullptr);
  WorkMeter meter(server);
  const int64_t chunks = clients.Drain(after(seconds), &meter);
  return meter.Finish(chunks, chunks * load.chunk_bytes);
}

}  // namespace ringtail::perf
