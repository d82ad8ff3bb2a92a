#include "perf/raw/receive.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/os.h"
#include "perf/lib/report.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::Require;

constexpr int64_t kPreallocateStepBytes = 16 << 20;

// An append-only file that starts afresh once it is full.
class Target {
 public:
  explicit Target(const ReceiveOptions& options) : file_bytes_(options.file_bytes) {
    const std::string path = options.directory + "/raw-receive";
    file_ = perf::Fd(
        CheckCall(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), "open"));
    unlink(path.c_str());
  }

  void Append(const char* data, size_t size) {
    const auto bytes = static_cast<int64_t>(size);
    if (position_ + bytes > file_bytes_) {
      CheckCall(ftruncate(file_.get(), 0), "ftruncate");
      position_ = 0;
      reserved_ = 0;
    }
    if (position_ + bytes > reserved_) {
      CheckCall(fallocate(file_.get(), 0, reserved_, kPreallocateStepBytes), "fallocate");
      reserved_ += kPreallocateStepBytes;
    }
    const ssize_t written = CheckCall(pwrite(file_.get(), data, size, position_), "pwrite");
    Require(written == bytes, "pwrite wrote less");
    position_ += bytes;
  }

 private:
  perf::Fd file_;
  int64_t file_bytes_;
  int64_t position_ = 0;
  int64_t reserved_ = 0;
};

void Serve(const ReceiveOptions& options, int listener) {
  perf::PinToCpu(perf::kServerCpu);
  Target target(options);
  const perf::Buffer chunk(static_cast<size_t>(options.chunk_bytes));
  const std::string reply(kReceiveReplyBytes, 'a');
  const perf::Fd socket(CheckCall(accept(listener, nullptr, nullptr), "accept"));
  perf::SetNoDelay(socket.get());
  while (true) {
    for (int64_t left = options.message_bytes; left > 0;) {
      const auto wanted = static_cast<size_t>(std::min(left, options.chunk_bytes));
      const int flags = options.fill_chunk ? MSG_WAITALL : 0;
      const ssize_t received = CheckCall(recv(socket.get(), chunk.data(), wanted, flags), "recv");
      if (received == 0) return;
      target.Append(chunk.data(), static_cast<size_t>(received));
      left -= received;
    }
    perf::SendAll(socket.get(), reply.data(), reply.size());
  }
}

}  // namespace

std::string Name(const ReceiveOptions& options) {
  return "chunks of " + perf::SizeName(options.chunk_bytes) +
         (options.fill_chunk ? ", filled" : ", as they come");
}

void AddPerGb(int64_t payload_bytes, perf::Figures& figures) {
  const double gb_per_request = static_cast<double>(payload_bytes) / perf::kBytesPerGb;
  figures["gb_per_s"] = figures["requests_per_s"] * gb_per_request;
  figures["cpu_s_per_gb"] = figures["cpu_us_per_request"] / 1e6 / gb_per_request;
  figures["client_cpu_s_per_gb"] = figures["client_cpu_us_per_request"] / 1e6 / gb_per_request;
}

perf::Figures RunReceive(const ReceiveOptions& options, const perf::LoadOptions& load) {
  const perf::Listener listener = perf::ListenLoopback();
  perf::PinToCpu(perf::kClientCpu);
  const perf::Child server = perf::Child::Fork([&] { Serve(options, listener.fd.get()); });
  const perf::Fd socket = perf::ConnectLoopback(listener.port);
  perf::FixedWire wire(static_cast<size_t>(options.message_bytes), kReceiveReplyBytes);
  perf::Figures figures = perf::RunLoad(socket.get(), wire, server.pid(), load);
  AddPerGb(options.message_bytes, figures);
  return figures;
}

}  // namespace ringtail::raw
