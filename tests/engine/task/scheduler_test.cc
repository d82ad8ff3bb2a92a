#include "engine/task/scheduler.h"

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/task/sync.h"
#include "engine/task/task.h"
#include "gtest/gtest.h"

namespace ringtail::task {
namespace {

void RunAll(Scheduler& scheduler) {
  while (scheduler.ready_count() > 0) scheduler.RunReady(1000);
}

Task<int> Add(int a, int b) { co_return a + b; }

Task<void> AppendTo(std::string* text, char c, int times) {
  for (int i = 0; i < times; ++i) {
    text->push_back(c);
    co_await Yield();
  }
}

TEST(Task, IsLazyAndReturnsItsValue) {
  Scheduler scheduler;
  const Scheduler::Scope scope(scheduler);
  static int started;
  started = 0;
  int result = 0;
  Task<void> task = [](int* result) -> Task<void> {
    ++started;
    *result = co_await Add(2, co_await Add(3, 4));
  }(&result);
  EXPECT_EQ(started, 0);
  Spawn("add", std::move(task));
  EXPECT_EQ(started, 0);
  RunAll(scheduler);
  EXPECT_EQ(result, 9);
  EXPECT_EQ(scheduler.root_count(), 0u);
}

TEST(Task, MovesValuesThatCannotBeCopied) {
  Scheduler scheduler;
  const Scheduler::Scope scope(scheduler);
  std::unique_ptr<int> result;
  Spawn("unique", [](std::unique_ptr<int>* result) -> Task<void> {
    const auto make = []() -> Task<std::unique_ptr<int>> { co_return std::make_unique<int>(5); };
    *result = co_await make();
  }(&result));
  RunAll(scheduler);
  EXPECT_EQ(*result, 5);
}

Task<int> Depth(int n) {
  if (n == 0) co_return 0;
  co_return 1 + co_await Depth(n - 1);
}

TEST(Task, DeepAndLongChainsUseNoStack) {
  Scheduler scheduler;
  const Scheduler::Scope scope(scheduler);
  int64_t sum = 0;
  Spawn("deep", [](int64_t* sum) -> Task<void> {
    *sum += co_await Depth(20'000);
    for (int i = 0; i < 300'000; ++i) *sum += co_await Add(1, 0);
  }(&sum));
  RunAll(scheduler);
  EXPECT_EQ(sum, 320'000);
}

TEST(Scheduler, FirstComeFirstServed) {
  Scheduler scheduler;
  const Scheduler::Scope scope(scheduler);
  std::string text;
  Spawn("a", AppendTo(&text, 'a', 3));
  Spawn("b", AppendTo(&text, 'b', 2));
  Spawn("c", AppendTo(&text, 'c', 1));
  RunAll(scheduler);
  EXPECT_EQ(text, "abcaba");
}

TEST(Scheduler, RunsNoMoreThanAskedFor) {
  Scheduler scheduler;
  const Scheduler::Scope scope(scheduler);
  std::string text;
  for (int i = 0; i < 1000; ++i) Spawn("x", AppendTo(&text, 'x', 1));
  EXPECT_EQ(scheduler.RunReady(10), 10u);
  EXPECT_EQ(text.size(), 10u);
  RunAll(scheduler);
  EXPECT_EQ(text.size(), 1000u);
}

TEST(Scheduler, ScopesNest) {
  EXPECT_FALSE(Scheduler::HasCurrent());
  Scheduler outer, inner;
  {
    const Scheduler::Scope a(outer);
    {
      const Scheduler::Scope b(inner);
      EXPECT_EQ(&Scheduler::Current(), &inner);
    }
    EXPECT_EQ(&Scheduler::Current(), &outer);
  }
  EXPECT_FALSE(Scheduler::HasCurrent());
}

TEST(Scheduler, DumpNamesTasksAndWhereTheyWait) {
  Scheduler scheduler;
  const Scheduler::Scope scope(scheduler);
  WaitList list;
  Spawn("outer", [](WaitList* list) -> Task<void> {
    const auto inner = [](WaitList* list) -> Task<void> { co_await list->Wait(); };
    co_await inner(list);
  }(&list));
  RunAll(scheduler);
  scheduler.AdvanceTo(7 * base::kNanosPerMilli);
  const std::string dump = scheduler.DumpTasks();
  EXPECT_EQ(dump.find("outer 7 ms"), 0u) << dump;
  const size_t first = dump.find("scheduler_test.cc:");
  EXPECT_NE(dump.find("scheduler_test.cc:", first + 1), std::string::npos) << dump;
  list.NotifyAll();
  RunAll(scheduler);
  EXPECT_EQ(scheduler.DumpTasks(), "");
}

struct Guard {
  int* counter;
  explicit Guard(int* counter) : counter(counter) { ++*counter; }
  ~Guard() { --*counter; }
};

// Suspended at a wait, asleep, ready but not yet run, never started, and in the depth of a call.
TEST(Scheduler, DestroysTasksWhereverTheyAre) {
  int alive = 0;
  WaitList list;
  ByteSemaphore bytes(10);
  {
    Scheduler scheduler;
    const Scheduler::Scope scope(scheduler);
    const auto wait = [](WaitList* list, int* alive) -> Task<void> {
      const Guard guard(alive);
      co_await list->WaitUntil(1000);
    };
    const auto nested = [](WaitList* list, int* alive, auto wait) -> Task<void> {
      const Guard guard(alive);
      co_await wait(list, alive);
    };
    const auto sleep = [](Scheduler* scheduler, int* alive) -> Task<void> {
      const Guard guard(alive);
      co_await scheduler->SleepUntil(5000);
    };
    const auto acquire = [](ByteSemaphore* bytes, int* alive) -> Task<void> {
      const Guard guard(alive);
      co_await bytes->Acquire(10);
      co_await bytes->Acquire(10);
    };
    Spawn("wait", wait(&list, &alive));
    Spawn("nested", nested(&list, &alive, wait));
    Spawn("sleep", sleep(&scheduler, &alive));
    Spawn("acquire", acquire(&bytes, &alive));
    RunAll(scheduler);
    EXPECT_EQ(alive, 5);
    list.NotifyOne();                   // ready, not run
    Spawn("new", wait(&list, &alive));  // not started
    EXPECT_EQ(scheduler.root_count(), 5u);
  }
  EXPECT_EQ(alive, 0);
  EXPECT_TRUE(list.empty());
}

// As a log does whose files are closed by a task of their own, wherever it is destroyed.
TEST(Scheduler, DestroysWhatDestructorsOfTasksHaveStarted) {
  struct Starts {
    int* alive;
    ~Starts() {
      Spawn("last act", [](std::unique_ptr<Guard> guard) -> Task<void> {
        co_await Scheduler::Current().SleepUntil(1);
      }(std::make_unique<Guard>(alive)));
    }
  };
  int alive = 0;
  WaitList list;
  {
    Scheduler scheduler;
    const Scheduler::Scope scope(scheduler);
    Spawn("wait", [](WaitList* list, int* alive) -> Task<void> {
      const Starts starts{alive};
      co_await list->Wait();
    }(&list, &alive));
    RunAll(scheduler);
  }
  EXPECT_EQ(alive, 0);
}

TEST(Timer, FiresInOrderOfDeadlinesAndNotBefore) {
  const auto seed = std::random_device()();
  printf("seed %u\n", seed);
  std::mt19937 random(seed);
  Scheduler scheduler;
  struct Recorded : Timer {
    Recorded() : Timer(&Fire) {}
    static void Fire(Timer* timer) {
      auto* self = static_cast<Recorded*>(timer);
      self->fired->push_back(self->deadline);
    }
    base::Nanos deadline = 0;
    std::vector<base::Nanos>* fired = nullptr;
  };
  std::vector<base::Nanos> fired, expected;
  std::vector<Recorded> timers(500);
  for (Recorded& timer : timers) {
    timer.fired = &fired;
    for (int i = 0; i < 3; ++i) {  // armed again: moved
      timer.deadline = 1 + random() % 10'000;
      timer.Arm(scheduler, timer.deadline);
    }
    if (random() % 4 == 0) {
      timer.Disarm();
    } else {
      expected.push_back(timer.deadline);
    }
  }
  std::sort(expected.begin(), expected.end());
  for (base::Nanos now = 0; now <= 10'000; now += 1 + random() % 50) {
    scheduler.AdvanceTo(now);
    const auto due = std::upper_bound(expected.begin(), expected.end(), now) - expected.begin();
    ASSERT_EQ(fired.size(), static_cast<size_t>(due));
    ASSERT_EQ(scheduler.next_deadline(),
              fired.size() < expected.size() ? expected[fired.size()] : base::kNever);
  }
  scheduler.AdvanceTo(20'000);
  EXPECT_EQ(fired, expected);
}

TEST(Timer, NeverArmsNothing) {
  Scheduler scheduler;
  Timer timer([](Timer*) { FAIL(); });
  timer.Arm(scheduler, base::kNever);
  EXPECT_FALSE(timer.armed());
  EXPECT_EQ(scheduler.next_deadline(), base::kNever);
}

TEST(Scheduler, ClockNeverGoesBack) {
  Scheduler scheduler;
  scheduler.AdvanceTo(100);
  scheduler.AdvanceTo(50);
  EXPECT_EQ(scheduler.now(), 100);
}

TEST(Scheduler, SleepUntilThePastDoesNotSuspend) {
  Scheduler scheduler;
  const Scheduler::Scope scope(scheduler);
  scheduler.AdvanceTo(100);
  bool done = false;
  Spawn("sleep", [](Scheduler* scheduler, bool* done) -> Task<void> {
    co_await scheduler->SleepUntil(99);
    *done = true;
  }(&scheduler, &done));
  EXPECT_EQ(scheduler.RunReady(1), 1u);
  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace ringtail::task
