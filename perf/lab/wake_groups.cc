// What it costs to wake a thread that sleeps on another CPU and to be woken by it: why a core tells
// another of a message through the ring, and only where that one sleeps.
#include <atomic>
#include <memory>
#include <thread>

#include "engine/base/check.h"
#include "engine/core/core.h"
#include "engine/task/task.h"
#include "perf/lab/families.h"
#include "perf/lib/clock.h"
#include "perf/lib/engine_core.h"
#include "perf/lib/isolated.h"
#include "perf/lib/os.h"
#include "perf/lib/timed_work.h"
#include "perf/raw/wake.h"

namespace ringtail::lab {
namespace {

using core::Core;
using task::Task;

// The core that is called: a loop on a thread of its own.
class OtherCore {
 public:
  OtherCore(core::CoreGroup& group, const core::CoreOptions& options)
      : group_(group), thread_([this, options] { Run(options); }) {
    made_.wait(false);
  }
  ~OtherCore() {
    group_.core(base::CoreId(1)).RequestStop();
    may_end_ = true;
    may_end_.notify_one();
    thread_.join();
  }

 private:
  void Run(const core::CoreOptions& options) {
    perf::PinToCpu(perf::kClientCpu);
    Core core(base::CoreId(1), group_, perf::MakeBackend(), options);
    group_.Install(base::CoreId(1), &core);
    made_ = true;
    made_.notify_one();
    core.Run();
    may_end_.wait(false);
  }

  core::CoreGroup& group_;
  std::atomic<bool> made_{false};
  std::atomic<bool> may_end_{false};
  std::thread thread_;
};

Task<int64_t> Answer(int64_t value) { co_return value + 1; }

Task<void> CallAgainAndAgain(perf::TimedWork* work) {
  int64_t calls = 0;
  int64_t last_ns = perf::NowNs();
  while (true) {
    const int64_t answer =
        co_await core::CallOn(base::CoreId(1), [calls] { return Answer(calls); });
    RT_CHECK(answer == ++calls);
    const int64_t now_ns = perf::NowNs();
    work->AddLatency(now_ns - last_ns);
    last_ns = now_ns;
    if (!work->Count(1, 0, now_ns)) break;
  }
  Core::Current().RequestStop();
}

perf::Figures RunCalls(const core::CoreOptions& options, double seconds) {
  core::CoreGroup group(2);
  Core core(base::CoreId(0), group, perf::MakeBackend(), options);
  group.Install(base::CoreId(0), &core);
  const OtherCore other(group, options);
  perf::TimedWork work(seconds);
  {
    const task::Scheduler::Scope scope(core.scheduler());
    task::Spawn("calls", CallAgainAndAgain(&work));
  }
  core.Run();
  perf::Figures figures = work.figures();
  figures.erase("syscalls_per_op");  // of this core alone
  return figures;
}

Cell EngineCell(const std::string& path, base::Nanos busy_poll_ns) {
  return {path, /*engine=*/true, Promise::kNone, [busy_poll_ns](double seconds) {
            core::CoreOptions options;
            options.busy_poll_ns = busy_poll_ns;
            return perf::RunIsolated([&] { return RunCalls(options, seconds); },
                                     perf::DeadlineSeconds(seconds));
          }};
}

}  // namespace

std::vector<Group> WakeGroups(const Selection&) {
  const auto cell = [](raw::WakePath path) {
    return Cell{raw::Name(path), /*engine=*/false, Promise::kNone, [path](double s) {
                  return perf::RunIsolated([&] { return raw::RunWake(path, s); },
                                           perf::DeadlineSeconds(s));
                }};
  };
  // What it costs where nobody sleeps: no path beside the others, as it takes both CPUs.
  const Group floor = {
      "wake", {{"threads", 0, "threads that never sleep"}}, {cell(raw::WakePath::kSpin)}};
  Group group = {"wake", {{"threads", 1, "threads that sleep"}}, {}};
  for (const raw::WakePath path :
       {raw::WakePath::kFutex, raw::WakePath::kEventfd, raw::WakePath::kPipe,
        raw::WakePath::kRingEventfd, raw::WakePath::kMessageRing}) {
    group.cells.push_back(cell(path));
  }
  group.cells.push_back(EngineCell("call to another core", core::CoreOptions{}.busy_poll_ns));
  group.cells.push_back(EngineCell("call to another core, without busy polling", 0));
  return {floor, group};
}

}  // namespace ringtail::lab
