// A broker in the simulation for fuzzers: each input is what one client sends, then it goes away.
// However that was, nothing may be left of it: no connection, no charged or lent memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/check.h"
#include "tests/server/sim_client.h"
#include "tests/server/sim_server.h"

namespace ringtail::server {

// How bytes of the fuzzer become a stream:
//   0xxxxxxx  the rest, as it is
//   1xxxxxxx  one of the valid frames, with bytes changed: position (u16), value, and so on
inline std::string FuzzedStream(const uint8_t* data, size_t size,
                                const std::vector<std::string>& valid) {
  if (size == 0) return "";
  if ((data[0] & 0x80) == 0) return std::string(reinterpret_cast<const char*>(data + 1), size - 1);
  std::string frame = valid[(data[0] & 0x7f) % valid.size()];
  for (size_t at = 1; at + 3 <= size; at += 3) {
    const size_t position = (size_t{data[at]} << 8 | data[at + 1]) % frame.size();
    frame[position] = static_cast<char>(data[at + 2]);
  }
  return frame;
}

class FuzzServer {
 public:
  FuzzServer()
      : world_(1),
        server_(world_, {.server = {.groups = {.limits = {.initial_rebalance_delay_ms = 0},
                                               .session_timeout_min_ms = 1}}}) {
    RT_CHECK(server_.Start().ok());
    RT_CHECK(server_.CreateTopic("t", 2).failure.ok());
  }

  SimServer& server() { return server_; }
  void Serve(ListenerKind kind, absl::string_view greeting, absl::string_view stream) {
    const CorePorts& ports = server_.endpoints().cores[0];
    SimClient client(world_, "fuzzer");
    RT_CHECK(client.Connect(kind == ListenerKind::kKafka ? ports.kafka : ports.native));
    client.Send(greeting);
    client.Send(stream);
    world_.RunFor(base::kNanosPerMilli);
    client.Close();
    RT_CHECK(world_.RunUntil([&] { return server_.server(0).connection_count() == 0; }));
    RT_CHECK(server_.server(0).budget().used() == 0);
    RT_CHECK(server_.sim().io(0).provided_lent() == 0);
  }

 private:
  sim::SimWorld world_;
  SimServer server_;
};

// One server serves some inputs, so that a run is quick and what it remembers stays small.
inline FuzzServer& SharedFuzzServer() {
  constexpr int kInputsEach = 64;
  static std::unique_ptr<FuzzServer> server;
  static int inputs = 0;
  if (inputs++ % kInputsEach == 0) {
    server.reset();
    server = std::make_unique<FuzzServer>();
  }
  return *server;
}

}  // namespace ringtail::server
