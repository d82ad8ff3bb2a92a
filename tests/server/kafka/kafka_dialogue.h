// One Kafka connection of a test: requests in, responses out, as the codec's structs.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/endian.h"
#include "server/kafka/frame.h"
#include "tests/server/sim_client.h"

namespace ringtail::kafka {

// A decoded response; lives as long as this.
template <class Response>
struct Decoded {
  std::string frame;
  std::unique_ptr<Arena> arena = std::make_unique<Arena>();
  int32_t correlation_id = -1;
  Response body;
};

template <class Request>
std::string KafkaFrame(const Request& request, int16_t version, int32_t correlation_id) {
  std::vector<uint8_t> bytes;
  const absl::Status status =
      AppendRequest(request, version, correlation_id, absl::string_view("test"), &bytes);
  RT_CHECK(status.ok());
  return std::string(bytes.begin(), bytes.end());
}

class KafkaDialogue {
 public:
  explicit KafkaDialogue(sim::SimWorld& world, const std::string& name = "kafka")
      : client_(world, name) {}

  server::SimClient& client() { return client_; }
  bool Open(uint16_t port) { return client_.Connect(port); }

  // nullptr: the stream ended, no response comes, or it does not decode.
  template <class Response, class Request>
  std::unique_ptr<Decoded<Response>> Ask(const Request& request, int16_t version,
                                         int32_t correlation_id) {
    if (!client_.Send(KafkaFrame(request, version, correlation_id))) return nullptr;
    return Next<Response>(version);
  }
  template <class Response>
  std::unique_ptr<Decoded<Response>> Next(int16_t version) {
    const std::string prefix = client_.Receive(4);
    if (prefix.size() < 4) return nullptr;
    const auto bytes = base::LoadBe<int32_t>(reinterpret_cast<const uint8_t*>(prefix.data()));
    auto decoded = std::make_unique<Decoded<Response>>();
    decoded->frame = client_.Receive(static_cast<size_t>(bytes));
    const absl::Status status =
        DecodeResponse(base::AsBytes(decoded->frame), version, *decoded->arena,
                       &decoded->correlation_id, &decoded->body);
    return status.ok() ? std::move(decoded) : nullptr;
  }
  bool Closed() { return client_.Receive(1).empty(); }

 private:
  server::SimClient client_;
};

}  // namespace ringtail::kafka
