// An append through the log, as the leader's, until it is in the page cache: a log on a core with a
// ring, default options, on the file system of $RINGTAIL_PERF_DIR. Each run writes 64 MiB at most
// to fresh pages, the same for every revision, and removes them.
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/base/result.h"
#include "engine/core/core.h"
#include "engine/log/log.h"
#include "engine/log/log_environment.h"
#include "perf/lib/engine_core.h"
#include "perf/lib/os.h"
#include "perf/micro/batch_maker.h"

namespace ringtail {
namespace {

// A batch that is appended again and again from one place. Page-aligned as received bytes are, or
// the kernel's copy is a third slower.
class Source {
 public:
  explicit Source(const micro::Bytes& batch) : buffer_(batch.size()) {
    std::memcpy(buffer_.data(), batch.data(), batch.size());
  }
  base::MutableByteView bytes() {
    return {reinterpret_cast<uint8_t*>(buffer_.data()), buffer_.size()};
  }

 private:
  perf::Buffer buffer_;
};

task::Task<absl::Status> AppendAll(benchmark::State* state, log::Log* log,
                                   const std::vector<std::unique_ptr<Source>>* sources) {
  for (auto _ : *state) {
    log::AppendResult last;
    for (const auto& source : *sources) {
      last = log->AppendAsLeader(source->bytes(), /*leader_epoch=*/0);
      if (!last.ok()) co_return absl::InternalError("the log refused an append");
    }
    RT_CO_RETURN_IF_ERROR(co_await log->WaitWritten(last, base::kNever));
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> Measure(benchmark::State* state, std::string directory) {
  std::vector<std::unique_ptr<Source>> sources;
  const micro::Bytes batch = micro::MakeBatch(1, state->range(0));
  for (int64_t i = 0; i < state->range(1); ++i) sources.push_back(std::make_unique<Source>(batch));

  core::Core& core = core::Core::Current();
  log::LogEnvironment env(core.io(), log::LogOptions{}, &core);
  log::LogObserver observer;
  RT_CO_ASSIGN_OR_RETURN(const std::unique_ptr<log::Log> log,
                         co_await log::Log::Create(env, observer, directory + "/append-0",
                                                   log::LogConfig{}, {"append", 0}, base::Uuid{}));
  const absl::Status appended = co_await AppendAll(state, log.get(), &sources);
  const absl::Status removed = co_await log->CloseAndRemove();
  state->SetItemsProcessed(state->iterations() * state->range(1));
  state->SetBytesProcessed(state->iterations() * state->range(1) *
                           static_cast<int64_t>(batch.size()));
  co_return appended.ok() ? removed : appended;
}

// Batches of one record, so many at once: those that wait share a write. Items are batches.
void BM_Append(benchmark::State& state) {
  const perf::ScratchDir directory(perf::ScratchParent());
  perf::RunOnCore([&] { return Measure(&state, directory.path()); });
}

// Process time: a write that goes through the ring may be made by another thread.
void BatchesAtOnce(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"bytes", "at_once"})->MeasureProcessCPUTime();
}
BENCHMARK(BM_Append)->Apply(BatchesAtOnce)->Args({1 << 10, 1})->Iterations(20'000);
BENCHMARK(BM_Append)->Apply(BatchesAtOnce)->Args({1 << 10, 64})->Iterations(1024);
BENCHMARK(BM_Append)->Apply(BatchesAtOnce)->Args({16 << 10, 1})->Iterations(4096);
BENCHMARK(BM_Append)->Apply(BatchesAtOnce)->Args({16 << 10, 16})->Iterations(256);
BENCHMARK(BM_Append)->Apply(BatchesAtOnce)->Args({256 << 10, 1})->Iterations(256);

}  // namespace
}  // namespace ringtail

BENCHMARK_MAIN();
