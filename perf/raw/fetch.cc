#include "perf/raw/fetch.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "perf/lib/check.h"
#include "perf/raw/range_sender.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;

void ServeConnection(const FetchOptions& options, const std::string& file, int socket) {
  perf::SetNonBlocking(socket);
  perf::SetNoDelay(socket);
  RangeSender sender(options, file, socket);
  const perf::Fd poller(CheckCall(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  CheckCall(epoll_ctl(poller.get(), EPOLL_CTL_ADD, socket, &event), "epoll_ctl");
  DueRequests due;
  while (true) {
    CheckCall(epoll_wait(poller.get(), &event, 1, -1), "epoll_wait");
    if ((event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) return;
    if (options.on_request) {
      if (!ServeRequests(socket, due, sender)) return;
      continue;
    }
    while (sender.SendChunk()) {
    }
  }
}

}  // namespace

std::string Name(const FetchOptions& options) {
  const char* method = options.method == FetchMethod::kSendfile   ? "sendfile"
                       : options.method == FetchMethod::kReadSend ? "read + send"
                       : options.method == FetchMethod::kSplice   ? "splice"
                                                                  : "send from mapping";
  return std::string(method) + (options.on_request ? ", on request" : "");
}

FetchServer::FetchServer(const std::string& file, const FetchOptions& options) {
  perf::Listener listener = perf::ListenLoopback();
  port_ = listener.port;
  child_ = perf::Child::Fork([&] {
    perf::PinToCpu(perf::kServerCpu);
    while (true) {
      const perf::Fd socket(CheckCall(accept(listener.fd.get(), nullptr, nullptr), "accept"));
      try {
        ServeConnection(options, file, socket.get());
      } catch (const std::system_error& error) {
        const int code = error.code().value();
        if (code != EPIPE && code != ECONNRESET) throw;
      }
    }
  });
}

std::string MakeHotFile(const std::string& directory, int64_t bytes) {
  const std::string path = directory + "/hot";
  const perf::Fd fd(CheckCall(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644), "open"));
  const perf::Buffer buffer(1 << 20);
  for (int64_t position = 0; position < bytes;) {
    const auto size = std::min(static_cast<int64_t>(buffer.size()), bytes - position);
    position +=
        CheckCall(pwrite(fd.get(), buffer.data(), static_cast<size_t>(size), position), "pwrite");
  }
  return path;
}

void DropFromCache(const std::string& file) {
  const perf::Fd fd(CheckCall(open(file.c_str(), O_RDONLY | O_CLOEXEC), "open"));
  CheckCall(fdatasync(fd.get()), "fdatasync");
  // It gives the error back instead of setting errno.
  perf::CheckRing(-posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), "posix_fadvise");
}

perf::Figures RunFetch(const std::string& file, const FetchOptions& options,
                       const perf::DrainOptions& drain, int window) {
  perf::PinToCpu(perf::kClientCpu);
  const FetchServer server(file, options);
  const perf::Fd socket = perf::ConnectLoopback(server.port());
  perf::Drainer drainer(socket.get(), drain);
  if (!options.on_request) {
    return perf::MeasureDrain(server.pid(), drain, [&] { return drainer.DrainSome(INT64_MAX); });
  }
  const std::string request(kFetchRequestBytes, 'r');
  for (int i = 0; i < window; ++i) perf::SendAll(socket.get(), request.data(), request.size());
  return perf::MeasureDrain(server.pid(), drain, [&] {
    drainer.Drain(options.chunk_bytes);
    perf::SendAll(socket.get(), request.data(), request.size());
    return options.chunk_bytes;
  });
}

}  // namespace ringtail::raw
