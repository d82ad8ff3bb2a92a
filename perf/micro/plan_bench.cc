// Log::PlanRead, with which every fetch begins, over a hot segment of 32 MiB in batches of 4 KiB:
// the latest append, whose position is remembered, the log in order in pieces of 1 MiB, and offsets
// in no order. The segment is the active one, with its index in memory, or closed, with its
// index in a file. It lies below $RINGTAIL_PERF_DIR.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "benchmark/benchmark.h"
#include "engine/base/result.h"
#include "engine/core/core.h"
#include "engine/log/log.h"
#include "engine/log/log_environment.h"
#include "perf/lib/engine_core.h"
#include "perf/lib/os.h"
#include "perf/lib/scattered.h"
#include "perf/micro/batch_maker.h"

namespace ringtail {
namespace {

constexpr int64_t kRecordsPerBatch = 4;
constexpr int64_t kValueBytes = 1000;
constexpr int64_t kBatchesPerAppend = 256;
constexpr int64_t kAppends = 32;
constexpr int64_t kPlanBytesMax = 1 << 20;

enum class Reader { kAtEnd, kInOrder, kScattered };

// Where the reader asks next, having been told where its last plan ended.
class Asked {
 public:
  Asked(Reader reader, base::Offset last_append, base::Offset end)
      : reader_(reader),
        from_(reader == Reader::kAtEnd ? last_append : base::Offset(0)),
        end_(end) {}

  base::Offset from() const { return from_; }
  void Move(base::Offset next) {
    if (reader_ == Reader::kInOrder) from_ = next < end_ ? next : base::Offset(0);
    if (reader_ == Reader::kScattered) from_ = base::Offset(scattered_.Below(end_.value()));
  }

 private:
  Reader reader_;
  base::Offset from_;
  base::Offset end_;
  perf::Scattered scattered_;
};

task::Task<absl::Status> PlanAll(benchmark::State* state, log::Log* log, Asked asked) {
  int64_t bytes = 0;
  for (auto _ : *state) {
    RT_CO_ASSIGN_OR_RETURN(const log::ReadPlan plan,
                           co_await log->PlanRead(asked.from(), log->written_end(), kPlanBytesMax,
                                                  /*at_least_one_batch=*/true));
    if (plan.bytes == 0) co_return absl::InternalError("an empty plan");
    bytes += plan.bytes;
    asked.Move(plan.next_offset);
  }
  state->SetItemsProcessed(state->iterations());
  state->counters["bytes_per_plan"] =
      benchmark::Counter(static_cast<double>(bytes), benchmark::Counter::kAvgIterations);
  co_return absl::OkStatus();
}

task::Task<absl::Status> Measure(benchmark::State* state, std::string directory) {
  core::Core& core = core::Core::Current();
  log::LogEnvironment env(core.io(), log::LogOptions{}, &core);
  log::LogObserver observer;
  RT_CO_ASSIGN_OR_RETURN(const std::unique_ptr<log::Log> log,
                         co_await log::Log::Create(env, observer, directory + "/plan-0",
                                                   log::LogConfig{}, {"plan", 0}, base::Uuid{}));
  const micro::Bytes batch = micro::MakeBatch(kRecordsPerBatch, kValueBytes);
  micro::Bytes batches;
  for (int64_t i = 0; i < kBatchesPerAppend; ++i) {
    batches.insert(batches.end(), batch.begin(), batch.end());
  }
  log::AppendResult last;
  for (int64_t i = 0; i < kAppends; ++i) {
    last = log->AppendAsLeader(batches, /*leader_epoch=*/0);
    RT_CO_RETURN_IF_ERROR(co_await log->WaitWritten(last, base::kNever));
  }
  const bool closed = state->range(1) != 0;
  if (closed) RT_CO_RETURN_IF_ERROR(co_await log->CloseUnsynced());
  const absl::Status planned = co_await PlanAll(
      state, log.get(),
      Asked(static_cast<Reader>(state->range(0)), last.base_offset, last.end_offset));
  if (closed) co_return planned;
  const absl::Status ended = co_await log->CloseAndRemove();
  co_return planned.ok() ? ended : planned;
}

void BM_PlanRead(benchmark::State& state) {
  const perf::ScratchDir directory(perf::ScratchParent());
  perf::RunOnCore([&] { return Measure(&state, directory.path()); });
  const char* const labels[] = {"at the end", "in order", "scattered"};
  state.SetLabel(labels[state.range(0)]);
}
BENCHMARK(BM_PlanRead)
    ->ArgNames({"reader", "closed"})
    ->Args({static_cast<int>(Reader::kAtEnd), 0})
    ->ArgsProduct({{static_cast<int>(Reader::kInOrder), static_cast<int>(Reader::kScattered)},
                   {0, 1}})
    ->Iterations(5000);

}  // namespace
}  // namespace ringtail

BENCHMARK_MAIN();
