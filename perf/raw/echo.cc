#include "perf/raw/echo.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "perf/lib/check.h"
#include "perf/lib/os.h"
#include "perf/raw/ring.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::CheckRing;
using perf::Require;

constexpr int64_t kFileBytes = 256 << 20;

// Takes requests out of a stream of received bytes, stores each, and collects the replies.
class Handler {
 public:
  explicit Handler(const EchoOptions& options) : write_(options.write), buffer_(64 << 10) {
    const std::string path = options.directory + "/raw-echo";
    file_ = perf::Fd(
        CheckCall(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), "open"));
    unlink(path.c_str());
    CheckCall(fallocate(file_.get(), 0, 0, kFileBytes), "fallocate");
    reply_.assign(buffer_.size() / kEchoRequestBytes * kEchoReplyBytes, 'a');
  }

  char* free() { return buffer_.data() + filled_; }
  size_t free_bytes() const { return buffer_.size() - filled_; }

  // Stores the whole requests among the bytes received so far; returns the replies to send.
  perf::Bytes Take(size_t received) {
    filled_ += received;
    const size_t requests = filled_ / kEchoRequestBytes;
    for (size_t i = 0; i < requests && write_; ++i) {
      const char* record =
          buffer_.data() + i * kEchoRequestBytes + (kEchoRequestBytes - kEchoWriteBytes);
      const ssize_t written = pwrite(file_.get(), record, kEchoWriteBytes, position_);
      Require(CheckCall(written, "pwrite") == kEchoWriteBytes, "pwrite wrote less");
      position_ = (position_ + kEchoWriteBytes) % kFileBytes;
    }
    const size_t taken = requests * kEchoRequestBytes;
    std::memmove(buffer_.data(), buffer_.data() + taken, filled_ - taken);
    filled_ -= taken;
    return {reply_.data(), requests * kEchoReplyBytes};
  }

 private:
  bool write_;
  perf::Fd file_;
  int64_t position_ = 0;
  std::vector<char> buffer_;
  size_t filled_ = 0;
  std::string reply_;
};

void ServeBlocking(Handler& handler, int socket) {
  while (true) {
    const ssize_t received =
        CheckCall(recv(socket, handler.free(), handler.free_bytes(), 0), "recv");
    if (received == 0) return;
    const perf::Bytes replies = handler.Take(static_cast<size_t>(received));
    if (replies.size > 0) perf::SendAll(socket, replies.data, replies.size);
  }
}

void ServeEpoll(Handler& handler, int socket) {
  perf::SetNonBlocking(socket);
  const perf::Fd poller(CheckCall(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
  epoll_event event = {};
  event.events = EPOLLIN;
  CheckCall(epoll_ctl(poller.get(), EPOLL_CTL_ADD, socket, &event), "epoll_ctl");
  while (true) {
    CheckCall(epoll_wait(poller.get(), &event, 1, -1), "epoll_wait");
    const ssize_t received =
        CheckCall(recv(socket, handler.free(), handler.free_bytes(), 0), "recv");
    if (received == 0) return;
    const perf::Bytes replies = handler.Take(static_cast<size_t>(received));
    if (replies.size > 0) perf::SendAll(socket, replies.data, replies.size);
  }
}

// One receive always armed; the reply's send and the next receive go in with one system call, which
// also waits.
void ServeRing(Handler& handler, int socket) {
  Ring ring({.entries = 8});
  while (true) {
    io_uring_sqe* sqe = ring.Entry();
    io_uring_prep_recv(sqe, socket, handler.free(), handler.free_bytes(), 0);
    io_uring_sqe_set_data64(sqe, 1);
    ssize_t received = -1;
    while (received < 0) {
      ring.SubmitAndWait(1);
      ring.Reap([&](const io_uring_cqe& completion) {
        const int result = CheckRing(completion.res, "ring receive or send");
        if (completion.user_data == 1) received = result;
      });
    }
    if (received == 0) break;
    const perf::Bytes replies = handler.Take(static_cast<size_t>(received));
    if (replies.size == 0) continue;
    sqe = ring.Entry();
    io_uring_prep_send(sqe, socket, replies.data, replies.size, MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data64(sqe, 2);
  }
}

void Serve(const EchoOptions& options, int listener) {
  perf::PinToCpu(perf::kServerCpu);
  Handler handler(options);
  const perf::Fd socket(CheckCall(accept(listener, nullptr, nullptr), "accept"));
  perf::SetNoDelay(socket.get());
  switch (options.loop) {
    case EchoLoop::kBlocking:
      return ServeBlocking(handler, socket.get());
    case EchoLoop::kEpoll:
      return ServeEpoll(handler, socket.get());
    case EchoLoop::kRing:
      return ServeRing(handler, socket.get());
  }
}

}  // namespace

std::string Name(const EchoOptions& options) {
  const char* loop = options.loop == EchoLoop::kBlocking ? "blocking"
                     : options.loop == EchoLoop::kEpoll  ? "epoll"
                                                         : "ring";
  return std::string(options.write ? "echo + pwrite, " : "echo only, ") + loop;
}

perf::Figures RunEcho(const EchoOptions& options, const perf::LoadOptions& load) {
  const perf::Listener listener = perf::ListenLoopback();
  perf::PinToCpu(perf::kClientCpu);
  const perf::Child server = perf::Child::Fork([&] { Serve(options, listener.fd.get()); });
  const perf::Fd socket = perf::ConnectLoopback(listener.port);
  perf::FixedWire wire(kEchoRequestBytes, kEchoReplyBytes);
  return perf::RunLoad(socket.get(), wire, server.pid(), load);
}

}  // namespace ringtail::raw
