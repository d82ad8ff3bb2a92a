#include "perf/raw/chunk_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "perf/lib/check.h"
#include "perf/lib/os.h"
#include "perf/raw/chunk_ring.h"
#include "perf/raw/range_sender.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;

struct Connection {
  perf::Fd socket;
  std::unique_ptr<RangeSender> sender;
  DueRequests due;
};

FetchMethod MethodOf(ChunkMethod method) {
  switch (method) {
    case ChunkMethod::kReadSend:
      return FetchMethod::kReadSend;
    case ChunkMethod::kSplice:
      return FetchMethod::kSplice;
    case ChunkMethod::kMapped:
      return FetchMethod::kMapped;
    default:
      return FetchMethod::kSendfile;
  }
}

bool OnRing(ChunkMethod method) { return method >= ChunkMethod::kRingSplice; }

void ServeByCalls(const ChunkOptions& options, std::vector<perf::Fd> sockets) {
  struct stat stat;
  CheckCall(::stat(options.file.c_str(), &stat), "stat");
  const FetchOptions fetch = {MethodOf(options.method), options.chunk_bytes, true, options.cold};
  const perf::Fd poller(CheckCall(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
  std::deque<Connection> connections;
  for (perf::Fd& socket : sockets) {
    perf::SetNonBlocking(socket.get());
    Connection& each = connections.emplace_back();
    each.sender = std::make_unique<RangeSender>(fetch, options.file, socket.get());
    each.sender->StartAt(StartOf(options, stat.st_size, static_cast<int>(connections.size()) - 1));
    each.socket = std::move(socket);
    epoll_event event = {};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &each;
    CheckCall(epoll_ctl(poller.get(), EPOLL_CTL_ADD, each.socket.get(), &event), "epoll_ctl");
  }
  for (Connection& each : connections) perf::SendAll(each.socket.get(), "R", 1);
  for (size_t open = connections.size(); open > 0;) {
    epoll_event events[64];
    const int ready = CheckCall(epoll_wait(poller.get(), events, 64, -1), "epoll_wait");
    for (int i = 0; i < ready; ++i) {
      auto& each = *static_cast<Connection*>(events[i].data.ptr);
      const bool gone = (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
      if (!gone && ServeRequests(each.socket.get(), each.due, *each.sender)) continue;
      each.socket.Close();
      --open;
    }
  }
}

}  // namespace

std::string Name(ChunkMethod method) {
  constexpr std::array kNames = {"sendfile",    "read send",   "splice",  "mapped send",
                                 "ring splice", "ring mapped", "send_zc", "read send_zc fixed"};
  return kNames[static_cast<size_t>(method)];
}

int64_t StartOf(const ChunkOptions& options, int64_t file_bytes, int index) {
  const int64_t chunks = file_bytes / options.chunk_bytes;
  return chunks * index / options.connections * options.chunk_bytes;
}

std::vector<perf::Fd> AcceptAll(const ChunkOptions& options, int listener) {
  std::vector<perf::Fd> sockets;
  for (int i = 0; i < options.connections; ++i) {
    sockets.emplace_back(CheckCall(accept(listener, nullptr, nullptr), "accept"));
    perf::SetNoDelay(sockets.back().get());
  }
  return sockets;
}

void ServeChunks(const ChunkOptions& options, int listener) {
  std::vector<perf::Fd> sockets = AcceptAll(options, listener);
  if (OnRing(options.method)) {
    ServeByRing(options, std::move(sockets));
  } else {
    ServeByCalls(options, std::move(sockets));
  }
}

}  // namespace ringtail::raw
