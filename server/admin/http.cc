#include "server/admin/http.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <httplib.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"

namespace ringtail::server::admin {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kRequestBytesMax = 16 << 10;
constexpr size_t kWaitingMax = 32;
constexpr int kBacklog = 64;

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// One connection's bytes, within a bound and `time` each for the request and for the reply: what
// the page itself takes counts for neither. Ends early when `stop` becomes readable.
class BoundedStream : public httplib::Stream {
 public:
  BoundedStream(int socket, int stop, std::chrono::milliseconds time)
      : socket_(socket), stop_(stop), time_(time), deadline_(Clock::now() + time) {}

  bool is_readable() const override { return Wait(POLLIN); }
  bool is_writable() const override {
    BeginReply();
    return Wait(POLLOUT);
  }

  ssize_t read(char* out, size_t size) override {
    while (begin_ == end_) {
      if (received_ >= kRequestBytesMax || !Wait(POLLIN)) return -1;
      const ssize_t got = recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (got <= 0) return got;
      begin_ = 0;
      end_ = static_cast<size_t>(got);
      received_ += end_;
    }
    const size_t taken = std::min(size, end_ - begin_);
    memcpy(out, buffer_.data() + begin_, taken);
    begin_ += taken;
    return static_cast<ssize_t>(taken);
  }

  ssize_t write(const char* data, size_t size) override {
    BeginReply();
    size_t sent = 0;
    while (sent < size) {
      if (!Wait(POLLOUT)) return -1;
      const ssize_t put = send(socket_, data + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (put < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (put <= 0) return -1;
      sent += static_cast<size_t>(put);
    }
    return static_cast<ssize_t>(size);
  }

  // Nothing that is served here depends on who asks.
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return socket_; }

 private:
  void BeginReply() const {
    if (!std::exchange(replying_, true)) deadline_ = Clock::now() + time_;
  }

  bool Wait(short events) const {
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now());
      if (left.count() <= 0) return false;
      std::array<pollfd, 2> polled = {pollfd{socket_, events, 0}, pollfd{stop_, POLLIN, 0}};
      const int ready = poll(polled.data(), polled.size(), static_cast<int>(left.count()));
      if (ready < 0 && errno != EINTR) return false;
      if (polled[1].revents != 0) return false;
      if (polled[0].revents != 0) return true;
    }
  }

  int socket_;
  int stop_;
  std::chrono::milliseconds time_;
  // httplib asks whether it can write in a const function.
  mutable Clock::time_point deadline_;
  mutable bool replying_ = false;
  std::array<char, 4096> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t received_ = 0;
};

absl::StatusOr<socklen_t> FillAddress(const std::string& host, uint16_t port,
                                      sockaddr_storage* address) {
  *address = {};
  auto* v4 = reinterpret_cast<sockaddr_in*>(address);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(address);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    return sizeof(*v4);
  }
  if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return sizeof(*v6);
  }
  return absl::InvalidArgumentError(absl::StrCat("admin: not an address: ", host));
}

absl::StatusOr<Descriptor> Listen(const std::string& host, uint16_t port, uint16_t* bound) {
  sockaddr_storage address;
  RT_ASSIGN_OR_RETURN(socklen_t length, FillAddress(host, port, &address));
  const auto failed = [&](const char* what) {
    return absl::ErrnoToStatus(errno, absl::StrCat("admin: cannot ", what, " on ", host, " port ",
                                                   port, " (--admin_port sets another)"));
  };
  Descriptor listener(
      socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  if (listener.get() < 0) return failed("make a socket");
  const int on = 1;
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener.get(), generic, length) != 0) return failed("bind");
  if (listen(listener.get(), kBacklog) != 0) return failed("listen");
  if (getsockname(listener.get(), generic, &length) != 0) return failed("listen");
  *bound =
      ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                          : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
  return listener;
}

}  // namespace

// httplib without its sockets.
struct HttpServer::Parser : httplib::Server {
  explicit Parser(HttpServer::Handler handler) {
    set_pre_routing_handler([handler = std::move(handler)](const httplib::Request& request,
                                                           httplib::Response& response) {
      HttpReply reply;
      if (request.method == "GET") {
        reply = handler(request.path);
      } else {
        reply = {405, "application/json", "{\"error\":\"these pages know GET only\"}\n"};
        response.set_header("Allow", "GET");
      }
      response.status = reply.status;
      response.set_header("Cache-Control", "no-store");
      response.set_header("X-Content-Type-Options", "nosniff");
      response.set_content(std::move(reply.body), reply.content_type);
      return HandlerResponse::Handled;
    });
  }

  void Serve(httplib::Stream& stream) {
    bool closed = false;
    process_request(stream, /*close_connection=*/true, closed, [](httplib::Request& request) {
      // Ranges that lie outside the page would make httplib throw; and compression is slower here
      // than loopback is.
      request.ranges.clear();
      request.headers.erase("Accept-Encoding");
    });
  }
};

class HttpServer::Sockets {
 public:
  static absl::StatusOr<std::unique_ptr<Sockets>> Open(const std::string& host, uint16_t port,
                                                       std::chrono::milliseconds time,
                                                       uint16_t* bound) {
    RT_ASSIGN_OR_RETURN(Descriptor listener, Listen(host, port, bound));
    Descriptor stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (stop.get() < 0) return absl::ErrnoToStatus(errno, "admin: cannot make an eventfd");
    return std::unique_ptr<Sockets>(new Sockets(std::move(listener), std::move(stop), time));
  }

  void RequestStop() { (void)eventfd_write(stop_.get(), 1); }

  // Waits for connections and their first bytes. False: stop was requested.
  bool Turn(Parser& parser) {
    std::vector<pollfd> polled = {{stop_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (const Descriptor& socket : waiting_) polled.push_back({socket.get(), POLLIN, 0});
    if (poll(polled.data(), polled.size(), -1) < 0) return errno == EINTR;
    if (polled[0].revents != 0) return false;
    std::vector<Descriptor> speaking;
    for (size_t index = waiting_.size(); index-- > 0;) {
      if (polled[index + 2].revents == 0) continue;
      speaking.push_back(std::move(waiting_[index]));
      waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(index));
    }
    if (polled[1].revents != 0) Accept();
    for (const Descriptor& socket : speaking) Serve(parser, socket.get());
    return true;
  }

 private:
  Sockets(Descriptor listener, Descriptor stop, std::chrono::milliseconds time)
      : listener_(std::move(listener)), stop_(std::move(stop)), time_(time) {}

  void Accept() {
    Descriptor socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.get() >= 0) {
      waiting_.push_back(std::move(socket));
      if (waiting_.size() > kWaitingMax) waiting_.erase(waiting_.begin());
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      // The connection stays in the backlog: without a pause this would spin until one is closed.
      if (!waiting_.empty()) waiting_.erase(waiting_.begin());
      pollfd stop{stop_.get(), POLLIN, 0};
      (void)poll(&stop, 1, 100);
    }
  }

  void Serve(Parser& parser, int socket) {
    BoundedStream stream(socket, stop_.get(), time_);
    parser.Serve(stream);
    // Closing with unread bytes would reset the connection and with it the reply on its way.
    shutdown(socket, SHUT_WR);
    std::array<char, 4096> rest;
    for (size_t drained = 0; drained < 64; ++drained) {
      if (recv(socket, rest.data(), rest.size(), MSG_DONTWAIT) <= 0) break;
    }
  }

  Descriptor listener_;
  Descriptor stop_;
  std::chrono::milliseconds time_;
  std::vector<Descriptor> waiting_;  // for their first byte, the oldest first
};

HttpServer::HttpServer() = default;
HttpServer::~HttpServer() { Stop(); }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& host,
                                                              uint16_t port,
                                                              std::chrono::milliseconds time,
                                                              Handler handler) {
  std::unique_ptr<HttpServer> server(new HttpServer());
  server->parser_ = std::make_unique<Parser>(std::move(handler));
  RT_ASSIGN_OR_RETURN(server->sockets_, Sockets::Open(host, port, time, &server->port_));
  server->thread_ = std::thread([self = server.get()] { self->Run(); });
  return server;
}

void HttpServer::Run() {
  pthread_setname_np(pthread_self(), "admin");
  while (sockets_->Turn(*parser_)) {
  }
}

void HttpServer::Stop() {
  if (!thread_.joinable()) return;
  sockets_->RequestStop();
  thread_.join();
  sockets_.reset();
}

}  // namespace ringtail::server::admin
