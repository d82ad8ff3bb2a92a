#include "perf/lib/load.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/os.h"

namespace ringtail::perf {
namespace {

// Sends requests and takes their replies, in order.
class Driver {
 public:
  Driver(int fd, Wire& wire, bool spin) : fd_(fd), wire_(wire), spin_(spin), received_(64 << 10) {}

  // `start_ns` is when the latency of this request begins.
  void Send(int64_t start_ns) {
    const Bytes request = wire_.NextRequest();
    SendAll(fd_, request.data, request.size);
    starts_ns_.push_back(start_ns);
  }

  size_t outstanding() const { return starts_ns_.size(); }

  // Waits for replies until `deadline_ns` (INT64_MAX: until there is one) and takes those that have
  // come.
  void Receive(int64_t deadline_ns) {
    do {
      if (!spin_ && !WaitReadable(deadline_ns)) return;
      const size_t room = received_.size() - filled_;
      const ssize_t size = recv(fd_, received_.data() + filled_, room, MSG_DONTWAIT);
      if (size < 0 && errno == EAGAIN) continue;
      Require(CheckCall(size, "recv") > 0, "the server closed the connection");
      filled_ += static_cast<size_t>(size);
      if (TakeReplies()) return;
    } while (deadline_ns == INT64_MAX || NowNs() < deadline_ns);
  }

  Latencies& latencies() { return latencies_; }

 private:
  bool WaitReadable(int64_t deadline_ns) {
    pollfd poll = {fd_, POLLIN, 0};
    timespec timeout = {};
    if (deadline_ns != INT64_MAX) {
      const int64_t left_ns = deadline_ns - NowNs();
      if (left_ns <= 0) return false;
      timeout = {left_ns / kNsPerSecond, left_ns % kNsPerSecond};
    }
    return CheckCall(ppoll(&poll, 1, deadline_ns == INT64_MAX ? nullptr : &timeout, nullptr),
                     "ppoll") > 0;
  }

  bool TakeReplies() {
    const int64_t now_ns = NowNs();
    size_t taken = 0;
    while (filled_ > taken) {
      const size_t size = wire_.ReplySize({received_.data() + taken, filled_ - taken});
      if (size == 0) break;
      Require(!starts_ns_.empty(), "a reply without a request");
      latencies_.Add(now_ns - starts_ns_.front());
      starts_ns_.pop_front();
      taken += size;
    }
    Require(taken > 0 || filled_ < received_.size(), "a reply is larger than the receive buffer");
    std::memmove(received_.data(), received_.data() + taken, filled_ - taken);
    filled_ -= taken;
    return taken > 0;
  }

  int fd_;
  Wire& wire_;
  bool spin_;
  std::vector<char> received_;
  size_t filled_ = 0;
  std::deque<int64_t> starts_ns_;
  Latencies latencies_;
};

void RunClosed(Driver& driver, int window, int64_t requests) {
  for (int64_t sent = 0; sent < requests || driver.outstanding() > 0;) {
    while (sent < requests && driver.outstanding() < static_cast<size_t>(window)) {
      driver.Send(NowNs());
      ++sent;
    }
    driver.Receive(INT64_MAX);
  }
}

void RunOpen(Driver& driver, double rate_per_s, int64_t requests) {
  const int64_t begin_ns = NowNs();
  for (int64_t sent = 0; sent < requests; ++sent) {
    const auto intended_ns =
        begin_ns + static_cast<int64_t>(static_cast<double>(sent) * 1e9 / rate_per_s);
    while (NowNs() < intended_ns) driver.Receive(intended_ns);
    driver.Send(intended_ns);
  }
  while (driver.outstanding() > 0) driver.Receive(INT64_MAX);
}

void Run(Driver& driver, const LoadOptions& options, int64_t requests) {
  if (options.rate_per_s > 0) {
    RunOpen(driver, options.rate_per_s, requests);
  } else {
    RunClosed(driver, options.window, requests);
  }
}

}  // namespace

Figures RunLoad(int fd, Wire& wire, pid_t server, const LoadOptions& options) {
  prctl(PR_SET_TIMERSLACK, 1UL);  // the default lets the kernel send 50 us late
  {
    Driver warmup(fd, wire, options.spin);
    Run(warmup, options, options.warmup_requests);
  }
  Driver driver(fd, wire, options.spin);
  const Meter meter(server);
  const Meter client_meter(getpid());
  Run(driver, options, options.requests);
  const auto requests = static_cast<double>(options.requests);
  Latencies& latencies = driver.latencies();
  return {{"requests_per_s", requests / meter.WallSeconds()},
          {"cpu_us_per_request", meter.CpuSeconds() * 1e6 / requests},
          {"client_cpu_us_per_request", client_meter.CpuSeconds() * 1e6 / requests},
          {"p50_us", latencies.PercentileUs(0.5)},
          {"p99_us", latencies.PercentileUs(0.99)},
          {"p999_us", latencies.PercentileUs(0.999)},
          {"p9999_us", latencies.PercentileUs(0.9999)}};
}

}  // namespace ringtail::perf
