// What the runtime itself costs: tasks, the ring, mailboxes between cores, buffers.
#include <atomic>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/base/check.h"
#include "engine/core/core.h"
#include "engine/core/mailbox.h"
#include "engine/io/buffer_pool.h"
#include "engine/task/task.h"
#include "perf/lib/engine_core.h"
#include "perf/lib/os.h"

namespace ringtail {
namespace {

using core::Core;
using perf::MakeBackend;
using task::Task;

void BM_TaskSwitch(benchmark::State& state) {
  task::Scheduler scheduler;
  const task::Scheduler::Scope scope(scheduler);
  bool stop = false;
  for (int i = 0; i < 2; ++i) {
    task::Spawn("switch", [](bool* stop) -> Task<void> {
      while (!*stop) co_await task::Yield();
    }(&stop));
  }
  for (auto _ : state) scheduler.RunReady(1);
  stop = true;
  while (scheduler.RunReady(1) > 0) {
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_TaskSwitch);

[[gnu::noinline]] Task<int> Leaf(int value) { co_return value + 1; }

// A nested call that does not suspend: frame, two transfers, result.
void BM_NestedCall(benchmark::State& state) {
  task::Scheduler scheduler;
  const task::Scheduler::Scope scope(scheduler);
  int64_t wanted = 0;
  bool stop = false;
  task::Spawn("nested", [](int64_t* wanted, bool* stop) -> Task<void> {
    int sum = 0;
    while (!*stop) {
      for (; *wanted > 0; --*wanted) sum += co_await Leaf(sum);
      benchmark::DoNotOptimize(sum);
      co_await task::Yield();
    }
  }(&wanted, &stop));
  constexpr int64_t kCallsPerRun = 1000;
  for (auto _ : state) {
    wanted = kCallsPerRun;
    scheduler.RunReady(1);
  }
  stop = true;
  scheduler.RunReady(1);
  state.SetItemsProcessed(state.iterations() * kCallsPerRun);
}
BENCHMARK(BM_NestedCall);

void BM_BufferTakeAndReturn(benchmark::State& state) {
  io::BufferPool pool(32 << 20);
  for (auto _ : state) {
    io::Buffer buffer = pool.Take(static_cast<size_t>(state.range(0)));
    benchmark::DoNotOptimize(buffer.data());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_BufferTakeAndReturn)->Arg(1500)->Arg(256 << 10);

// A whole turn of the core loop around one nop of the ring, `range` of them at a time.
void BM_NopRoundTrip(benchmark::State& state) {
  core::CoreGroup group(1);
  Core core(base::CoreId(0), group, MakeBackend(), {});
  group.Install(base::CoreId(0), &core);
  const task::Scheduler::Scope scope(core.scheduler());
  static bool stop;
  stop = false;
  for (int64_t i = 0; i < state.range(0); ++i) {
    task::Spawn("nop", [](io::Backend* io) -> Task<void> {
      while (!stop) {
        io::Op nop;
        co_await io::Run(*io, &nop);
      }
    }(&core.io()));
  }
  for (auto _ : state) core.Turn(/*may_wait=*/true);
  stop = true;
  while (core.scheduler().root_count() > 0) core.Turn(/*may_wait=*/false);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_NopRoundTrip)->Arg(1)->Arg(16)->Arg(128);

void BM_IdleTurn(benchmark::State& state) {
  core::CoreGroup group(1);
  Core core(base::CoreId(0), group, MakeBackend(), {});
  group.Install(base::CoreId(0), &core);
  for (auto _ : state) core.Turn(/*may_wait=*/false);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_IdleTurn);

// The mailbox alone, both sides on this thread: so many messages in, and out again.
void BM_Mailbox(benchmark::State& state) {
  core::Mailbox mailbox;
  std::vector<core::Message> messages(static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    for (core::Message& message : messages) RT_CHECK(mailbox.Push(&message));
    while (core::Message* message = mailbox.Pop()) benchmark::DoNotOptimize(message);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Mailbox)->Arg(1)->Arg(64)->Arg(core::Mailbox::kCapacity);

Task<int64_t> Answer(int64_t value) { co_return value + 1; }

// `range(0)` callers on one core, each with one call to the other core outstanding; range(1): how
// long a core spins before it blocks, in microseconds.
void BM_CallOnOtherCore(benchmark::State& state) {
  core::CoreOptions options;
  options.busy_poll_ns = state.range(1) * 1000;
  core::CoreGroup group(2);
  std::atomic<bool> made = false, ended = false;
  perf::PinToCpu(perf::kServerCpu);
  std::thread other([&] {
    perf::PinToCpu(perf::kClientCpu);
    Core core(base::CoreId(1), group, MakeBackend(), options);
    group.Install(base::CoreId(1), &core);
    made = true;
    core.Run();
    while (!ended) std::this_thread::yield();
  });
  {
    Core core(base::CoreId(0), group, MakeBackend(), options);
    group.Install(base::CoreId(0), &core);
    while (!made) std::this_thread::yield();
    const task::Scheduler::Scope scope(core.scheduler());
    static int64_t calls;
    static bool stop;
    calls = 0;
    stop = false;
    for (int64_t i = 0; i < state.range(0); ++i) {
      task::Spawn("caller", []() -> Task<void> {
        while (!stop) {
          const int64_t value = calls;
          co_await core::CallOn(base::CoreId(1), [value] { return Answer(value); });
          ++calls;
        }
      }());
    }
    for (auto _ : state) {
      const int64_t until = calls + state.range(0);
      while (calls < until) core.Turn(/*may_wait=*/true);
    }
    stop = true;
    while (core.scheduler().root_count() > 0) core.Turn(/*may_wait=*/false);
    state.SetItemsProcessed(calls);
    group.core(base::CoreId(1)).RequestStop();
    ended = true;
    other.join();
  }
}
BENCHMARK(BM_CallOnOtherCore)
    ->ArgNames({"callers", "spin_us"})
    ->Args({1, 0})
    ->Args({1, 20})
    ->Args({64, 0})
    ->Args({64, 20})
    ->UseRealTime();

}  // namespace
}  // namespace ringtail

BENCHMARK_MAIN();
