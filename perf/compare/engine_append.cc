#include "perf/compare/engine_append.h"

#include <unistd.h>

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "engine/core/core.h"
#include "engine/log/log.h"
#include "engine/log/log_environment.h"
#include "perf/lib/clock.h"
#include "perf/lib/engine_core.h"
#include "perf/lib/os.h"

namespace ringtail::compare {
namespace {

// The task of one round.
struct Round {
  EngineAppendOptions options;
  // One per append in flight: the log writes from them. Page-aligned as the raw loops' are, or the
  // kernel's copy is a third slower.
  std::vector<std::unique_ptr<perf::Buffer>> buffers;
  double wall_s = 0;
  double cpu_s = 0;
};

base::MutableByteView Bytes(const perf::Buffer& buffer) {
  return {reinterpret_cast<uint8_t*>(buffer.data()), buffer.size()};
}

task::Task<absl::Status> AppendAll(log::Log* log, Round* round) {
  const auto depth = round->buffers.size();
  const auto batch_bytes = static_cast<int64_t>(round->buffers[0]->size());
  std::vector<log::AppendResult> appends(depth);
  const int64_t count = round->options.total_bytes / batch_bytes;
  for (int64_t i = 0; i < count + static_cast<int64_t>(depth); ++i) {
    const size_t slot = static_cast<size_t>(i) % depth;
    if (i >= static_cast<int64_t>(depth)) {
      absl::Status written = co_await log->WaitWritten(appends[slot], base::kNever);
      if (!written.ok()) co_return written;
    }
    if (i >= count) continue;
    appends[slot] = log->AppendAsLeader(Bytes(*round->buffers[slot]), /*leader_epoch=*/0);
    if (!appends[slot].ok()) co_return absl::InternalError("the log refused an append");
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> RunRound(Round* round) {
  core::Core& core = core::Core::Current();
  log::LogEnvironment env(core.io(), log::LogOptions{}, &core);
  log::LogObserver observer;
  auto log = co_await log::Log::Create(env, observer, round->options.directory + "/append-0",
                                       log::LogConfig{}, {"append", 0}, base::Uuid{});
  if (!log.ok()) co_return log.status();
  const perf::Meter meter(getpid());
  absl::Status status = co_await AppendAll(log->get(), round);
  round->wall_s = meter.WallSeconds();
  round->cpu_s = meter.CpuSeconds();
  const absl::Status removed = co_await (*log)->CloseAndRemove();
  co_return status.ok() ? removed : status;
}

}  // namespace

perf::Figures RunEngineAppend(const EngineAppendOptions& options, const perf::EncodedBatch& batch) {
  Round round;
  round.options = options;
  for (int i = 0; i < options.depth; ++i) {
    round.buffers.push_back(std::make_unique<perf::Buffer>(batch.bytes.size()));
    std::memcpy(round.buffers.back()->data(), batch.bytes.data(), batch.bytes.size());
  }
  perf::RunOnCore([&round] { return RunRound(&round); });
  const double gb = static_cast<double>(options.total_bytes) / perf::kBytesPerGb;
  return {{"gb_per_s", gb / round.wall_s}, {"cpu_s_per_gb", round.cpu_s / gb}};
}

}  // namespace ringtail::compare
