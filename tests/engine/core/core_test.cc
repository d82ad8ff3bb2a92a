#include "engine/core/core.h"

#include <time.h>

#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/core/core_threads.h"

namespace ringtail::core {
namespace {

using base::CoreId;
using task::Task;

struct Tally {
  uint64_t calls = 0;  // touched by its own core only
};

Task<uint64_t> Count(Tally* tally, uint64_t add) {
  EXPECT_TRUE(task::Scheduler::HasCurrent());
  tally->calls += 1;
  co_return add + 1;
}

// One caller: `calls` calls to cores picked at random, sometimes to its own.
Task<void> CallMany(std::vector<Tally>* tallies, uint32_t seed, int calls) {
  std::mt19937 random(seed);
  for (int i = 0; i < calls; ++i) {
    const auto target = static_cast<uint32_t>(random() % tallies->size());
    Tally* tally = &(*tallies)[target];
    const uint64_t answer = co_await CallOn(
        CoreId(target), [tally, i] { return Count(tally, static_cast<uint64_t>(i)); });
    EXPECT_EQ(answer, static_cast<uint64_t>(i) + 1);
  }
}

Task<void> RunCallers(std::vector<Tally>* tallies, int callers, int calls) {
  struct Join {
    int left;
    task::WaitList changed;
  } join{callers, {}};
  for (int c = 0; c < callers; ++c) {
    task::Spawn(
        "caller",
        [](Join* join, std::vector<Tally>* tallies, uint32_t seed, int calls) -> Task<void> {
          co_await CallMany(tallies, seed, calls);
          --join->left;
          join->changed.NotifyAll();
        }(&join, tallies, static_cast<uint32_t>(c), calls));
  }
  while (join.left > 0) co_await join.changed.Wait();
}

uint64_t CallsBetween(uint32_t cores, int callers, int calls) {
  std::vector<Tally> tallies(cores);
  {
    CoreThreads threads(cores);
    std::atomic<uint32_t> ended = 0;
    for (uint32_t i = 0; i < cores; ++i) {
      threads.Spawn(i, [&]() -> Task<void> {
        return [](std::vector<Tally>* tallies, int callers, int calls,
                  std::atomic<uint32_t>* ended) -> Task<void> {
          co_await RunCallers(tallies, callers, calls);
          ++*ended;
          ended->notify_all();
        }(&tallies, callers, calls, &ended);
      });
    }
    for (uint32_t now = ended; now < cores; now = ended) ended.wait(now);
  }
  uint64_t total = 0;
  for (const Tally& tally : tallies) total += tally.calls;
  return total;
}

TEST(Core, TwoCoresCallEachOther) { EXPECT_EQ(CallsBetween(2, 8, 6250), 100'000u); }

TEST(Core, FiveCoresCallEachOther) { EXPECT_EQ(CallsBetween(5, 20, 1000), 100'000u); }

// One call at a time, each from a blocked core to a blocked core: a lost wake-up would hang.
TEST(Core, NoWakeUpIsLostBetweenSleepers) {
  CoreOptions options;
  options.busy_poll_ns = 0;
  std::vector<Tally> tallies(2);
  CoreThreads threads(2, options);
  threads.Run(0, [&] { return CallMany(&tallies, 1, 20'000); });
  EXPECT_EQ(tallies[0].calls + tallies[1].calls, 20'000u);
}

// More messages than a mailbox holds are on their way at once; none is lost, none overtakes.
TEST(Core, AFullMailboxKeepsItsOrder) {
  constexpr int kCount = 5000;
  struct Note : Message {
    int number = 0;
    std::vector<int>* seen = nullptr;
    std::atomic<int>* arrived = nullptr;
  };
  std::vector<Note> notes(kCount);
  std::vector<int> seen;
  std::atomic<int> arrived = 0;
  CoreThreads threads(2);
  threads.Run(0, [&] {
    return [](std::vector<Note>* notes, std::vector<int>* seen,
              std::atomic<int>* arrived) -> Task<void> {
      for (int i = 0; i < kCount; ++i) {
        Note& note = (*notes)[static_cast<size_t>(i)];
        note.number = i;
        note.seen = seen;
        note.arrived = arrived;
        note.run = [](Message* message) {
          auto* note = static_cast<Note*>(message);
          note->seen->push_back(note->number);
          ++*note->arrived;
        };
        Core::Current().Send(CoreId(1), &note);
      }
      EXPECT_GT(Core::Current().counters().mailbox_full, 0u);
      co_return;
    }(&notes, &seen, &arrived);
  });
  while (arrived < kCount) std::this_thread::yield();
  for (int i = 0; i < kCount; ++i) ASSERT_EQ(seen[static_cast<size_t>(i)], i);
}

TEST(Core, ControlMessagesBeyondAMailboxAllArrive) {
  struct Note : Message {
    std::atomic<int>* arrived = nullptr;
  };
  std::vector<Note> notes(4000);
  std::atomic<int> arrived = 0;
  CoreThreads threads(1);
  for (Note& note : notes) {
    note.arrived = &arrived;
    note.run = [](Message* message) { ++*static_cast<Note*>(message)->arrived; };
    threads.group().SendFromControl(CoreId(0), &note);
  }
  while (arrived < 4000) std::this_thread::yield();
}

Task<void> SleepInSteps(int steps, base::Nanos step_ns) {
  for (int i = 0; i < steps; ++i) {
    const base::Nanos deadline = Core::Current().now() + step_ns;
    co_await Core::Current().scheduler().SleepUntil(deadline);
    EXPECT_GE(Core::Current().now(), deadline);
  }
}

TEST(Core, TimersFireNotBeforeTheirTime) {
  CoreThreads threads(1);
  threads.Run(0, [] { return SleepInSteps(20, base::kNanosPerMilli / 2); });
}

base::Nanos ThreadCpu() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * base::kNanosPerSecond + time.tv_nsec;
}

// An idle core blocks: it takes no turns but those that its timer causes, after a few spins at
// most.
TEST(Core, AnIdleCoreTakesNoTurns) {
  CoreThreads threads(1);
  threads.Run(0, [] {
    return []() -> Task<void> {
      Core& core = Core::Current();
      co_await SleepInSteps(5, 5 * base::kNanosPerMilli);
      const uint64_t turns = core.counters().turns;
      const base::Nanos cpu = ThreadCpu();
      co_await SleepInSteps(10, 20 * base::kNanosPerMilli);
      EXPECT_LE(core.counters().turns - turns, 40u);
      printf("200 ms idle with a timer of 20 ms: %ld us CPU in %ld turns\n",
             static_cast<long>(ThreadCpu() - cpu) / 1000,
             static_cast<long>(core.counters().turns - turns));
    }();
  });
}

TEST(Core, ALongTurnIsCountedAndReported) {
  std::atomic<int> reports = 0;
  CoreOptions options;
  options.stall_report_ns = 2 * base::kNanosPerMilli;
  options.on_stall = [&](CoreId id, base::Nanos turn_ns) {
    EXPECT_EQ(id, CoreId(0));
    EXPECT_GE(turn_ns, 2 * base::kNanosPerMilli);
    ++reports;
  };
  CoreThreads threads(1, options);
  threads.Run(0, [] {
    return []() -> Task<void> {
      Core& core = Core::Current();
      for (int i = 0; i < 3; ++i) {
        const base::Nanos end = core.io().Now() + 3 * base::kNanosPerMilli;
        while (core.io().Now() < end) {
        }
        co_await task::Yield();
        co_await core.scheduler().SleepUntil(core.io().Now() + 1000);
      }
      EXPECT_GE(core.counters().stalls, 3u);
      EXPECT_GE(core.counters().stall_max_ns, 3u * base::kNanosPerMilli);
    }();
  });
  EXPECT_GE(reports.load(), 1);
}

// A task that never ends its work still lets messages and I/O through, by yielding.
TEST(Core, ABusyTaskDoesNotShutOthersOut) {
  std::atomic<bool> stop = false;  // outlives the cores, whose task reads it
  CoreThreads threads(2);
  threads.Spawn(0, [&] {
    return [](std::atomic<bool>* stop) -> Task<void> {
      while (!*stop) co_await task::Yield();
    }(&stop);
  });
  std::vector<Tally> tallies(2);
  threads.Run(1, [&] { return CallMany(&tallies, 3, 1000); });
  stop = true;
  EXPECT_EQ(tallies[0].calls + tallies[1].calls, 1000u);
}

TEST(Core, BuffersAreGivenBackAfterIdleSeconds) {
  CoreThreads threads(1);
  threads.Run(0, [] {
    return []() -> Task<void> {
      Core& core = Core::Current();
      core.buffers().Take(100000).Reset();
      EXPECT_GT(core.buffers().kept_bytes(), 0u);
      while (core.buffers().kept_bytes() > 0) {
        co_await core.scheduler().SleepUntil(core.now() + 100 * base::kNanosPerMilli);
      }
    }();
  });
}

// Frames with operations and calls under way are destroyed with their core (ASan watches).
TEST(Core, StopsWithTasksSuspended) {
  CoreThreads threads(2);
  static std::atomic<int> waiting;
  waiting = 0;
  for (uint32_t i = 0; i < 2; ++i) {
    threads.Spawn(i, [] {
      return []() -> Task<void> {
        io::Backend& io = Core::Current().io();
        const int listener = *io.Listen("127.0.0.1", 0, false);
        io::Buffer buffer = Core::Current().buffers().Take(5000);
        ++waiting;
        io::Op accept;
        accept.code = io::OpCode::kAccept;
        accept.fd = listener;
        co_await io::Run(io, &accept);
        ADD_FAILURE() << "nobody connects";
      }();
    });
  }
  while (waiting < 2) std::this_thread::yield();
}

}  // namespace
}  // namespace ringtail::core
