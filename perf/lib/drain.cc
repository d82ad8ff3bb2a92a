#include "perf/lib/drain.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"

namespace ringtail::perf {

Drainer::Drainer(int fd, const DrainOptions& options)
    : fd_(fd), buffer_(static_cast<size_t>(options.buffer_bytes)) {}

int64_t Drainer::DrainSome(int64_t limit) {
  const size_t size = std::min(static_cast<size_t>(limit), buffer_.size());
  const ssize_t received = CheckCall(recv(fd_, buffer_.data(), size, 0), "recv");
  Require(received > 0, "the server closed the connection");
  return received;
}

void Drainer::Drain(int64_t bytes) {
  while (bytes > 0) bytes -= DrainSome(bytes);
}

Figures MeasureDrain(pid_t server, const DrainOptions& options,
                     const std::function<int64_t()>& step) {
  const int64_t warm_ns = NowNs() + static_cast<int64_t>(options.warmup_s * 1e9);
  while (NowNs() < warm_ns) step();
  const Meter meter(server);
  const Meter client_meter(getpid());
  int64_t bytes = 0;
  double wall_s = 0;
  do {
    bytes += step();
    wall_s = meter.WallSeconds();
  } while (wall_s < options.seconds);
  const double gb = static_cast<double>(bytes) / kBytesPerGb;
  return {{"gb_per_s", gb / wall_s},
          {"cpu_s_per_gb", meter.CpuSeconds() / gb},
          {"client_cpu_s_per_gb", client_meter.CpuSeconds() / gb}};
}

}  // namespace ringtail::perf
