// A TCP echo over UringBackend beside the raw loops of perf/raw (1,228 bytes in, 64 out). Seconds,
// and the server is another process: its figures are counters, so the comparison of revisions,
// which judges the CPU time of this one, leaves it out.
//   bazel run --config=release //perf/micro:echo_bench
#include "benchmark/benchmark.h"
#include "engine/base/check.h"
#include "engine/core/core.h"
#include "engine/io/backend.h"
#include "engine/task/task.h"
#include "perf/lib/engine_core.h"
#include "perf/lib/load.h"
#include "perf/lib/os.h"
#include "perf/raw/echo.h"

namespace ringtail {
namespace {

using core::Core;
using perf::MakeBackend;
using task::Task;

enum class EchoSend { kInline, kRing };

Task<void> ServeEcho(int listener, EchoSend how) {
  Core& core = Core::Current();
  io::Backend& io = core.io();
  io::Op accept;
  accept.code = io::OpCode::kAccept;
  accept.fd = listener;
  const int socket = co_await io::Run(io, &accept);
  RT_CHECK(socket >= 0);
  io.SetNoDelay(socket);
  char reply[raw::kEchoReplyBytes] = {};
  int64_t pending = 0;
  while (true) {
    io::Op receive;
    receive.code = io::OpCode::kReceiveProvided;
    receive.fd = socket;
    const int32_t bytes = co_await io::Run(io, &receive);
    if (bytes <= 0) break;
    io.ReleaseProvided(receive.provided);
    for (pending += bytes; pending >= raw::kEchoRequestBytes; pending -= raw::kEchoRequestBytes) {
      const iovec vector = {reply, sizeof(reply)};
      if (how == EchoSend::kInline) {
        RT_CHECK(io.SendNowait(socket, &vector, 1, false) == raw::kEchoReplyBytes);
        continue;
      }
      io::Op send;
      send.code = io::OpCode::kSend;
      send.fd = socket;
      send.vectors = &vector;
      send.vector_count = 1;
      RT_CHECK(co_await io::Run(io, &send) == raw::kEchoReplyBytes);
    }
  }
  core.RequestStop();
}

// One request outstanding, or with rate > 0 an open loop of that many a second.
void BM_Echo(benchmark::State& state) {
  const auto how = static_cast<EchoSend>(state.range(0));
  perf::LoadOptions load;
  load.requests = 20'000;
  load.rate_per_s = static_cast<double>(state.range(2));
  perf::Figures figures;
  for (auto _ : state) {
    const perf::Listener listener = perf::ListenLoopback();
    perf::PinToCpu(perf::kClientCpu);
    const perf::Child server = perf::Child::Fork([&] {
      perf::PinToCpu(perf::kServerCpu);
      core::CoreOptions options;
      options.busy_poll_ns = state.range(1) * 1000;
      core::CoreGroup group(1);
      Core core(base::CoreId(0), group, MakeBackend(), options);
      group.Install(base::CoreId(0), &core);
      {
        const task::Scheduler::Scope scope(core.scheduler());
        // Runs from the first turn on, when the core is current.
        task::Spawn("start", [](int listener, EchoSend how) -> Task<void> {
          co_await ServeEcho(listener, how);
        }(listener.fd.get(), how));
      }
      core.Run();
    });
    const perf::Fd socket = perf::ConnectLoopback(listener.port);
    perf::FixedWire wire(raw::kEchoRequestBytes, raw::kEchoReplyBytes);
    figures = perf::RunLoad(socket.get(), wire, server.pid(), load);
  }
  for (const char* name : {"p50_us", "p99_us", "cpu_us_per_request", "requests_per_s"}) {
    state.counters[name] = figures[name];
  }
}
BENCHMARK(BM_Echo)
    ->ArgNames({"ring_send", "spin_us", "rate"})
    ->ArgsProduct({{0, 1}, {0, 20}, {0, 5000}})
    ->Iterations(1)
    ->UseRealTime();

}  // namespace
}  // namespace ringtail

BENCHMARK_MAIN();
