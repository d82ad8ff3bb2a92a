// One native connection of a test: requests in, replies out, as messages.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "engine/base/endian.h"
#include "proto/client.pb.h"
#include "tests/server/sim_client.h"

namespace ringtail::native {

using proto::client::RequestHeader;
using proto::client::ResponseHeader;

inline std::string NativeFrame(const std::string& header, const std::string& payload) {
  std::string frame(8, '\0');
  auto* at = reinterpret_cast<uint8_t*>(frame.data());
  base::StoreLe<uint32_t>(at, static_cast<uint32_t>(header.size()));
  base::StoreLe<uint32_t>(at + 4, static_cast<uint32_t>(payload.size()));
  return frame + header + payload;
}
inline std::string NativeFrame(const RequestHeader& request, const std::string& payload = "") {
  return NativeFrame(request.SerializeAsString(), payload);
}
inline RequestHeader Hello(uint64_t correlation_id = 1) {
  RequestHeader request;
  request.set_correlation_id(correlation_id);
  request.mutable_hello()->set_proto_min(1);
  request.mutable_hello()->set_proto_max(1);
  request.mutable_hello()->set_client_id("test");
  return request;
}

struct NativeReply {
  ResponseHeader header;
  std::string payload;
};

class NativeDialogue {
 public:
  NativeDialogue(sim::SimWorld& world, const std::string& name = "native") : client_(world, name) {}

  server::SimClient& client() { return client_; }
  bool Open(uint16_t port) {
    if (!client_.Connect(port)) return false;
    const auto reply = Ask(Hello());
    return reply.has_value() && !reply->header.has_error();
  }
  // nullopt: the stream ended, or no reply comes.
  std::optional<NativeReply> Ask(const RequestHeader& request, const std::string& payload = "") {
    if (!client_.Send(NativeFrame(request, payload))) return std::nullopt;
    return Next();
  }
  std::optional<NativeReply> Next() {
    const std::string prefix = client_.Receive(8);
    if (prefix.size() < 8) return std::nullopt;
    const auto* at = reinterpret_cast<const uint8_t*>(prefix.data());
    const std::string header = client_.Receive(base::LoadLe<uint32_t>(at));
    NativeReply reply{.header = {}, .payload = client_.Receive(base::LoadLe<uint32_t>(at + 4))};
    if (!reply.header.ParseFromString(header)) return std::nullopt;
    if (reply.payload.size() < base::LoadLe<uint32_t>(at + 4)) return std::nullopt;
    return reply;
  }
  // Whether the broker has closed the connection, having sent nothing more.
  bool Closed() { return client_.Receive(1).empty(); }

 private:
  server::SimClient client_;
};

}  // namespace ringtail::native
