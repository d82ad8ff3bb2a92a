#include "perf/raw/append.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/os.h"
#include "perf/lib/report.h"
#include "perf/raw/ring.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::CheckRing;
using perf::Require;

constexpr int64_t kPreallocateStepBytes = 16 << 20;

// The file being appended to, and how far its size is reserved.
class Target {
 public:
  explicit Target(const AppendOptions& options)
      : options_(options),
        path_(options.directory + "/raw-append"),
        fd_(CheckCall(open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), "open")) {}
  ~Target() { unlink(path_.c_str()); }

  int fd() const { return fd_.get(); }

  // Reserves what a write that ends at `end` needs.
  void Reserve(int64_t end) {
    if (options_.preallocate == Preallocate::kNone || end <= reserved_) return;
    const int64_t step = options_.preallocate == Preallocate::kWhole
                             ? options_.total_bytes
                             : std::max(kPreallocateStepBytes, options_.batch_bytes);
    CheckCall(fallocate(fd_.get(), 0, reserved_, step), "fallocate");
    reserved_ += step;
  }

 private:
  const AppendOptions& options_;
  std::string path_;
  perf::Fd fd_;
  int64_t reserved_ = 0;
};

void AppendWithPwritev(const AppendOptions& options, Target& target, const perf::Buffer& batch) {
  for (int64_t position = 0; position < options.total_bytes; position += options.batch_bytes) {
    target.Reserve(position + options.batch_bytes);
    const iovec vector = {batch.data(), batch.size()};
    const ssize_t written = CheckCall(pwritev(target.fd(), &vector, 1, position), "pwritev");
    Require(written == options.batch_bytes, "pwritev wrote less than the batch");
  }
}

void Register(Ring& ring, int fd, const perf::Buffer& batch) {
  const iovec vector = {batch.data(), batch.size()};
  CheckRing(io_uring_register_buffers(ring.get(), &vector, 1), "io_uring_register_buffers");
  CheckRing(io_uring_register_files(ring.get(), &fd, 1), "io_uring_register_files");
}

void PrepareWrite(const AppendOptions& options, Ring& ring, int fd, const perf::Buffer& batch,
                  int64_t position) {
  io_uring_sqe* sqe = ring.Entry();
  const auto size = static_cast<unsigned>(batch.size());
  if (options.method == AppendMethod::kRingFixed) {
    io_uring_prep_write_fixed(sqe, 0, batch.data(), size, position, 0);
    sqe->flags |= IOSQE_FIXED_FILE;
  } else {
    io_uring_prep_write(sqe, fd, batch.data(), size, position);
  }
}

void AppendWithRing(const AppendOptions& options, Target& target, const perf::Buffer& batch) {
  Ring ring(RingOptions{});
  if (options.method == AppendMethod::kRingFixed) Register(ring, target.fd(), batch);
  int in_flight = 0;
  int64_t position = 0;
  while (position < options.total_bytes || in_flight > 0) {
    for (; in_flight < options.in_flight && position < options.total_bytes; ++in_flight) {
      target.Reserve(position + options.batch_bytes);
      PrepareWrite(options, ring, target.fd(), batch, position);
      position += options.batch_bytes;
    }
    ring.SubmitAndWait(1);
    in_flight -= static_cast<int>(ring.Reap([&](const io_uring_cqe& completion) {
      Require(CheckRing(completion.res, "ring write") == options.batch_bytes,
              "the ring wrote less than the batch");
    }));
  }
}

}  // namespace

std::string Name(const AppendOptions& options) {
  std::string name = options.method == AppendMethod::kPwritev ? "pwritev"
                     : options.method == AppendMethod::kRing  ? "ring"
                                                              : "ring fixed";
  if (options.method != AppendMethod::kPwritev) name += " x" + std::to_string(options.in_flight);
  if (options.preallocate == Preallocate::kNone) name += ", extending";
  if (options.preallocate == Preallocate::kSteps) name += ", fallocate 16 MiB";
  if (options.preallocate == Preallocate::kWhole) name += ", fallocate all";
  return name;
}

std::vector<AppendOptions> AppendVariants(const std::string& directory, int64_t batch_bytes,
                                          int64_t total_bytes) {
  const AppendOptions base = {directory,
                              batch_bytes,
                              total_bytes / batch_bytes * batch_bytes,
                              AppendMethod::kPwritev,
                              1,
                              Preallocate::kSteps};
  std::vector<AppendOptions> variants;
  for (const Preallocate preallocate :
       {Preallocate::kNone, Preallocate::kSteps, Preallocate::kWhole}) {
    variants.push_back(base);
    variants.back().preallocate = preallocate;
  }
  for (const AppendMethod method : {AppendMethod::kRing, AppendMethod::kRingFixed}) {
    for (const int in_flight : {1, 4}) {
      variants.push_back(base);
      variants.back().method = method;
      variants.back().in_flight = in_flight;
    }
  }
  for (const Preallocate preallocate : {Preallocate::kNone, Preallocate::kWhole}) {
    variants.push_back(base);
    variants.back().method = AppendMethod::kRing;
    variants.back().preallocate = preallocate;
  }
  return variants;
}

perf::Figures RunAppend(const AppendOptions& options) {
  Require(options.batch_bytes > 0 && options.total_bytes % options.batch_bytes == 0,
          "the total must be a multiple of the batch size");
  const perf::Buffer batch(static_cast<size_t>(options.batch_bytes));
  Target target(options);
  const perf::Meter meter(getpid());
  if (options.method == AppendMethod::kPwritev) {
    AppendWithPwritev(options, target, batch);
  } else {
    AppendWithRing(options, target, batch);
  }
  const double gb = static_cast<double>(options.total_bytes) / perf::kBytesPerGb;
  const double wall_s = meter.WallSeconds();
  return {{"gb_per_s", gb / wall_s}, {"cpu_s_per_gb", meter.CpuSeconds() / gb}};
}

}  // namespace ringtail::raw
