// A client's end of a connection, in a process of its own. Each call runs the world until it is
// done, so that a test reads like a dialogue.
#pragma once

#include <arpa/inet.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "tests/sim/node.h"

namespace ringtail::server {

class SimClient {
 public:
  explicit SimClient(sim::SimWorld& world, const std::string& name = "client")
      : process_(world.NewProcess(name)), node_(world, process_) {}

  sim::SimNode& node() { return node_; }
  sim::SimProcess& process() { return process_; }
  int fd() const { return fd_; }

  bool Connect(uint16_t port) { return node_.TryRun(ConnectTask(this, port)).value_or(false); }
  // False: the connection broke, or the peer does not read and nothing more can happen.
  bool Send(absl::string_view bytes) {
    return node_.TryRun(SendTask(&node_, fd_, std::string(bytes))).value_or(false);
  }
  // Exactly so many bytes; fewer where the stream ended or broke, or nothing more would come.
  std::string Receive(size_t bytes) {
    auto into = std::make_shared<std::string>();
    node_.TryRun(ReceiveTask(&node_, fd_, bytes, into));
    return *into;
  }
  // All bytes until the peer closes.
  std::string ReceiveToEnd() { return Receive(SIZE_MAX); }
  void Close() {
    if (fd_ >= 0) node_.io().CloseInline(std::exchange(fd_, -1));
  }

 private:
  static task::Task<bool> ConnectTask(SimClient* self, uint16_t port) {
    io::Backend& io = self->node_.io();
    const int fd = *io.StreamSocket(false);
    sockaddr_storage storage = {};
    auto* address = reinterpret_cast<sockaddr_in*>(&storage);
    address->sin_family = AF_INET;
    address->sin_port = htons(port);
    inet_pton(AF_INET, "127.0.0.1", &address->sin_addr);
    io::Op connect{.code = io::OpCode::kConnect, .fd = fd};
    connect.address = &storage;
    connect.address_length = sizeof(sockaddr_in);
    if (co_await io::Run(io, &connect) != 0) {
      io.CloseInline(fd);
      co_return false;
    }
    self->fd_ = fd;
    co_return true;
  }
  static task::Task<bool> SendTask(sim::SimNode* node, int fd, std::string bytes) {
    const iovec out{bytes.data(), bytes.size()};
    if (bytes.empty()) co_return true;
    io::Op send{.code = io::OpCode::kSend,
                .flags = io::kWaitAll,
                .fd = fd,
                .vectors = &out,
                .vector_count = 1};
    co_return co_await io::Run(node->io(), &send) == static_cast<int32_t>(bytes.size());
  }
  static task::Task<bool> ReceiveTask(sim::SimNode* node, int fd, size_t bytes,
                                      std::shared_ptr<std::string> into) {
    std::string buffer(64 << 10, 0);
    while (into->size() < bytes) {
      const iovec in{buffer.data(), std::min(buffer.size(), bytes - into->size())};
      io::Op receive{.code = io::OpCode::kReceive, .fd = fd, .vectors = &in, .vector_count = 1};
      const int32_t got = co_await io::Run(node->io(), &receive);
      if (got <= 0) co_return false;
      into->append(buffer.data(), static_cast<size_t>(got));
    }
    co_return true;
  }

  sim::SimProcess& process_;
  sim::SimNode node_;
  int fd_ = -1;
};

}  // namespace ringtail::server
