// Load generators over one connection: closed loop (a window of requests outstanding) and open loop
// (a fixed rate, latency from the intended send time). Raw servers and the broker are driven by the
// same code; a Wire says what a request and a reply look like.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "perf/lib/latencies.h"
#include "perf/lib/rounds.h"

namespace ringtail::perf {

struct Bytes {
  const char* data = nullptr;
  size_t size = 0;
};

class Wire {
 public:
  virtual ~Wire() = default;

  // The next request, ready to be sent; valid until the next call.
  virtual Bytes NextRequest() = 0;

  // Length of the reply at the start of `received`, or 0 where it is not all there yet. Throws
  // where the reply says that the request failed.
  virtual size_t ReplySize(Bytes received) = 0;
};

// Requests of a fixed content and replies of a fixed size: the raw servers' protocol.
class FixedWire : public Wire {
 public:
  FixedWire(size_t request_bytes, size_t reply_bytes)
      : request_(request_bytes, 'r'), reply_bytes_(reply_bytes) {}

  Bytes NextRequest() override { return {request_.data(), request_.size()}; }
  size_t ReplySize(Bytes received) override {
    return received.size >= reply_bytes_ ? reply_bytes_ : 0;
  }

 private:
  std::string request_;
  size_t reply_bytes_;
};

struct LoadOptions {
  int window = 1;         // closed loop: requests outstanding
  double rate_per_s = 0;  // over 0: open loop at this rate, without a window
  bool spin = false;  // the client polls its socket without sleeping: its own wake-ups are then in
                      // no latency
  int64_t warmup_requests = 1000;
  int64_t requests = 10000;
};

// Runs the load over the connected, blocking socket `fd` and measures the requests behind the
// warm-up. Figures: p50_us, p99_us, p999_us, p9999_us (round trip in a closed loop, from the
// intended send time in an open one), requests_per_s, cpu_us_per_request (process `server`),
// client_cpu_us_per_request.
Figures RunLoad(int fd, Wire& wire, pid_t server, const LoadOptions& options);

}  // namespace ringtail::perf
