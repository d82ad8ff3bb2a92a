#include "perf/raw/fetch.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::Require;

constexpr int64_t kRequestBytes = 64;
constexpr int kPipeBytes = 1 << 20;

// Sends ranges of one file on one socket by one method.
class Sender {
 public:
  Sender(const FetchOptions& options, const std::string& file, int socket)
      : options_(options),
        file_(CheckCall(open(file.c_str(), O_RDONLY | O_CLOEXEC), "open")),
        socket_(socket) {
    struct stat stat;
    CheckCall(fstat(file_.get(), &stat), "fstat");
    size_ = stat.st_size / options.chunk_bytes * options.chunk_bytes;
    Require(size_ > 0, "the file is smaller than a chunk");
    if (options.method == FetchMethod::kReadSend) {
      buffer_ = std::make_unique<perf::Buffer>(static_cast<size_t>(options.chunk_bytes));
    }
    if (options.method == FetchMethod::kSplice) OpenPipe();
    if (options.method == FetchMethod::kMapped) {
      void* memory = mmap(nullptr, static_cast<size_t>(size_), PROT_READ, MAP_SHARED | MAP_POPULATE,
                          file_.get(), 0);
      Require(memory != MAP_FAILED, "mmap failed");
      mapping_ = static_cast<const char*>(memory);
    }
  }
  ~Sender() {
    if (mapping_ != nullptr) munmap(const_cast<char*>(mapping_), static_cast<size_t>(size_));
  }

  // Sends until the current chunk is out (true) or the socket is full (false).
  bool SendChunk() {
    while (sent_ < options_.chunk_bytes) {
      const ssize_t sent = SendSome();
      if (sent < 0 && errno == EAGAIN) return false;
      CheckCall(sent, "send");
      sent_ += sent;
    }
    sent_ = 0;
    loaded_ = 0;
    position_ = (position_ + options_.chunk_bytes) % size_;
    return true;
  }

 private:
  void OpenPipe() {
    int ends[2];
    CheckCall(pipe2(ends, O_NONBLOCK | O_CLOEXEC), "pipe2");
    pipe_out_ = perf::Fd(ends[0]);
    pipe_in_ = perf::Fd(ends[1]);
    CheckCall(fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes), "F_SETPIPE_SZ");
  }

  ssize_t SendSome() {
    const auto left = static_cast<size_t>(options_.chunk_bytes - sent_);
    off_t position = position_ + sent_;
    switch (options_.method) {
      case FetchMethod::kSendfile:
        return sendfile(socket_, file_.get(), &position, left);
      case FetchMethod::kMapped:
        return send(socket_, mapping_ + position, left, MSG_NOSIGNAL);
      case FetchMethod::kReadSend:
        if (loaded_ == 0) loaded_ = pread(file_.get(), buffer_->data(), buffer_->size(), position);
        return send(socket_, buffer_->data() + sent_, left, MSG_NOSIGNAL);
      case FetchMethod::kSplice:
        return SpliceSome();
    }
    return -1;
  }

  ssize_t SpliceSome() {
    if (loaded_ == sent_) {  // the pipe is empty
      loff_t position = position_ + sent_;
      const auto left = static_cast<size_t>(options_.chunk_bytes - sent_);
      loaded_ +=
          CheckCall(splice(file_.get(), &position, pipe_in_.get(), nullptr, left, 0), "splice");
    }
    const auto in_pipe = static_cast<size_t>(loaded_ - sent_);
    return splice(pipe_out_.get(), nullptr, socket_, nullptr, in_pipe,
                  SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
  }

  const FetchOptions& options_;
  perf::Fd file_;
  int socket_;
  int64_t size_ = 0;
  int64_t position_ = 0;  // of the chunk in the file
  int64_t sent_ = 0;      // of the chunk
  int64_t loaded_ = 0;    // of the chunk, into the buffer or the pipe
  std::unique_ptr<perf::Buffer> buffer_;
  perf::Fd pipe_in_;
  perf::Fd pipe_out_;
  const char* mapping_ = nullptr;
};

// Adds the requests that have come to `due`. False at the end of the stream.
bool TakeRequests(int socket, int64_t& request_bytes, int64_t& due) {
  char requests[4096];
  const ssize_t received = recv(socket, requests, sizeof(requests), MSG_DONTWAIT);
  if (received < 0 && errno == EAGAIN) return true;
  if (received <= 0) return false;
  request_bytes += received;
  due += request_bytes / kRequestBytes;
  request_bytes %= kRequestBytes;
  return true;
}

// Sends what is due: true once all of it is out, false where the socket is full.
bool SendDue(const FetchOptions& options, Sender& sender, int64_t& due) {
  while (due > 0) {
    if (!sender.SendChunk()) return false;
    if (options.on_request) --due;
  }
  return true;
}

void ServeConnection(const FetchOptions& options, const std::string& file, int socket) {
  perf::SetNonBlocking(socket);
  perf::SetNoDelay(socket);
  Sender sender(options, file, socket);
  const perf::Fd poller(CheckCall(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  CheckCall(epoll_ctl(poller.get(), EPOLL_CTL_ADD, socket, &event), "epoll_ctl");
  int64_t request_bytes = 0;
  int64_t due = 0;
  while (true) {
    CheckCall(epoll_wait(poller.get(), &event, 1, -1), "epoll_wait");
    if ((event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) return;
    do {
      if (options.on_request && !TakeRequests(socket, request_bytes, due)) return;
      if (!options.on_request) due = 1;
    } while (due > 0 && SendDue(options, sender, due));
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

perf::Figures RunFetch(const std::string& file, const FetchOptions& options,
                       const perf::DrainOptions& drain, int window) {
  perf::PinToCpu(perf::kClientCpu);
  const FetchServer server(file, options);
  const perf::Fd socket = perf::ConnectLoopback(server.port());
  perf::Drainer drainer(socket.get(), drain);
  if (!options.on_request) {
    return perf::MeasureDrain(server.pid(), drain, [&] { return drainer.DrainSome(INT64_MAX); });
  }
  const std::string request(kRequestBytes, 'r');
  for (int i = 0; i < window; ++i) perf::SendAll(socket.get(), request.data(), request.size());
  return perf::MeasureDrain(server.pid(), drain, [&] {
    drainer.Drain(options.chunk_bytes);
    perf::SendAll(socket.get(), request.data(), request.size());
    return options.chunk_bytes;
  });
}

}  // namespace ringtail::raw
