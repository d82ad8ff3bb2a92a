// The connection of a simulated member of a group. Whatever happens to it, the next request makes a
// new one, to the broker that runs then.
#pragma once

#include <arpa/inet.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/endian.h"
#include "engine/io/run_until.h"
#include "server/kafka/frame.h"
#include "tests/server/kafka/groups_world.h"
#include "tests/server/kafka/kafka_dialogue.h"
#include "tests/sim/node.h"

namespace ringtail::kafka {

class MemberLink {
 public:
  MemberLink(sim::SimNode& node, GroupsWorld& world) : node_(node), world_(world) {}
  ~MemberLink() {
    if (node_.io().process().alive()) Close();
  }

  // nullptr: the connection is gone, and whether the request was served is not known.
  template <class Response, class Request>
  task::Task<std::unique_ptr<Decoded<Response>>> Ask(const Request& request, int16_t version) {
    return Exchange<Response>(KafkaFrame(request, version, ++correlation_id_), version);
  }
  void Close() {
    if (fd_ >= 0) node_.io().CloseInline(std::exchange(fd_, -1));
  }

 private:
  // More than a JoinGroup may take.
  static constexpr base::Nanos kPatience = 3 * base::kNanosPerSecond;

  task::Task<bool> Ready() {
    if (fd_ >= 0) co_return true;
    if (world_.port == 0) co_return false;
    fd_ = *node_.io().StreamSocket(false);
    sockaddr_storage storage = {};
    auto* address = reinterpret_cast<sockaddr_in*>(&storage);
    address->sin_family = AF_INET;
    address->sin_port = htons(world_.port);
    inet_pton(AF_INET, "127.0.0.1", &address->sin_addr);
    io::Op connect{.code = io::OpCode::kConnect, .fd = fd_};
    connect.address = &storage;
    connect.address_length = sizeof(sockaddr_in);
    if (co_await io::RunUntil(node_.io(), &connect, Deadline()) == 0) co_return true;
    Close();
    co_return false;
  }

  template <class Response>
  task::Task<std::unique_ptr<Decoded<Response>>> Exchange(std::string frame, int16_t version) {
    if (!co_await Ready()) co_return nullptr;
    iovec out{frame.data(), frame.size()};
    io::Op send{.code = io::OpCode::kSend,
                .flags = io::kWaitAll,
                .fd = fd_,
                .vectors = &out,
                .vector_count = 1};
    auto decoded = std::make_unique<Decoded<Response>>();
    std::string prefix(4, '\0');
    const int32_t sent = co_await io::RunUntil(node_.io(), &send, Deadline());
    if (sent == static_cast<int32_t>(frame.size()) && co_await Receive(&prefix)) {
      const auto bytes = base::LoadBe<int32_t>(reinterpret_cast<const uint8_t*>(prefix.data()));
      decoded->frame.resize(static_cast<size_t>(bytes));
      if (co_await Receive(&decoded->frame)) {
        const absl::Status status =
            DecodeResponse(base::AsBytes(decoded->frame), version, *decoded->arena,
                           &decoded->correlation_id, &decoded->body);
        if (!status.ok() || decoded->correlation_id != correlation_id_) {
          world_.Fail(absl::StrCat("not the reply of its request: ", status.ToString()));
        }
        co_return decoded;
      }
    }
    Close();
    co_return nullptr;
  }
  base::Nanos Deadline() { return node_.world().now() + kPatience; }
  task::Task<bool> Receive(std::string* into) {
    iovec in{into->data(), into->size()};
    io::Op receive{.code = io::OpCode::kReceive,
                   .flags = io::kWaitAll,
                   .fd = fd_,
                   .vectors = &in,
                   .vector_count = 1};
    co_return co_await io::RunUntil(node_.io(), &receive, Deadline()) ==
        static_cast<int32_t>(into->size());
  }

  sim::SimNode& node_;
  GroupsWorld& world_;
  int fd_ = -1;
  int32_t correlation_id_ = 0;
};

}  // namespace ringtail::kafka
