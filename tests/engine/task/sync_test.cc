#include "engine/task/sync.h"

#include <random>
#include <string>
#include <vector>

#include "engine/task/task.h"
#include "gtest/gtest.h"

namespace ringtail::task {
namespace {

class SyncTest : public testing::Test {
 protected:
  void RunAll() {
    while (scheduler_.ready_count() > 0) scheduler_.RunReady(1000);
  }
  void AdvanceTo(base::Nanos now) {
    scheduler_.AdvanceTo(now);
    RunAll();
  }
  Scheduler scheduler_;
  Scheduler::Scope scope_{scheduler_};
};

Task<void> WaitAndNote(WaitList* list, base::Nanos deadline, char name, std::string* text) {
  const bool notified = co_await list->WaitUntil(deadline);
  text->push_back(notified ? name : static_cast<char>(name - 'a' + 'A'));
}

TEST_F(SyncTest, NotifyOneTakesTheLongestWaiting) {
  WaitList list;
  std::string text;
  for (char name : {'a', 'b', 'c'}) Spawn("w", WaitAndNote(&list, base::kNever, name, &text));
  RunAll();
  list.NotifyOne();
  RunAll();
  EXPECT_EQ(text, "a");
  list.NotifyAll();
  RunAll();
  EXPECT_EQ(text, "abc");
  list.NotifyOne();  // nobody waits: forgotten
  Spawn("w", WaitAndNote(&list, 10, 'd', &text));
  AdvanceTo(10);
  EXPECT_EQ(text, "abcD");
}

TEST_F(SyncTest, ADeadlineEndsTheWaitAndAPastOneDoesNotStartIt) {
  WaitList list;
  std::string text;
  AdvanceTo(5);
  Spawn("w", WaitAndNote(&list, 5, 'p', &text));
  Spawn("w", WaitAndNote(&list, 20, 'q', &text));
  Spawn("w", WaitAndNote(&list, 10, 'r', &text));
  RunAll();
  EXPECT_EQ(text, "P");
  AdvanceTo(19);
  EXPECT_EQ(text, "PR");
  list.NotifyAll();
  AdvanceTo(30);
  EXPECT_EQ(text, "PRq");
}

TEST_F(SyncTest, EventStaysSet) {
  Event event;
  int passed = 0;
  const auto wait = [](Event* event, base::Nanos deadline, int* passed) -> Task<void> {
    if (co_await event->WaitUntil(deadline)) ++*passed;
  };
  Spawn("w", wait(&event, base::kNever, &passed));
  Spawn("w", wait(&event, 3, &passed));
  AdvanceTo(3);
  EXPECT_EQ(passed, 0);
  event.Set();
  RunAll();
  EXPECT_EQ(passed, 1);
  Spawn("w", wait(&event, 0, &passed));
  RunAll();
  EXPECT_EQ(passed, 2);
}

Task<void> AcquireAndNote(ByteSemaphore* bytes, size_t wanted, char name, std::string* text) {
  const size_t taken = co_await bytes->Acquire(wanted);
  EXPECT_EQ(taken, std::min(wanted, bytes->capacity()));
  text->push_back(name);
}

TEST_F(SyncTest, ByteSemaphoreIsFairToLargeRequests) {
  ByteSemaphore bytes(100);
  std::string text;
  Spawn("a", AcquireAndNote(&bytes, 60, 'a', &text));
  Spawn("b", AcquireAndNote(&bytes, 90, 'b', &text));  // waits
  Spawn("c", AcquireAndNote(&bytes, 10, 'c', &text));  // would fit, but b was first
  RunAll();
  EXPECT_EQ(text, "a");
  size_t taken = 0;
  EXPECT_FALSE(bytes.TryAcquire(1, &taken));
  bytes.Release(60);
  RunAll();
  EXPECT_EQ(text, "abc");
  EXPECT_EQ(bytes.used(), 100u);
}

TEST_F(SyncTest, ByteSemaphoreGrantsMoreThanItHasWhenAllIsFree) {
  ByteSemaphore bytes(100);
  std::string text;
  Spawn("a", AcquireAndNote(&bytes, 1, 'a', &text));
  Spawn("b", AcquireAndNote(&bytes, 5000, 'b', &text));
  RunAll();
  EXPECT_EQ(text, "a");
  bytes.Release(1);
  RunAll();
  EXPECT_EQ(text, "ab");
  EXPECT_EQ(bytes.used(), 100u);
}

TEST_F(SyncTest, ByteSemaphoreCapacityMayChange) {
  ByteSemaphore bytes(1);
  std::string text;
  Spawn("a", AcquireAndNote(&bytes, 1, 'a', &text));
  for (const char name : {'b', 'c', 'd'}) Spawn("1", AcquireAndNote(&bytes, 1, name, &text));
  RunAll();
  EXPECT_EQ(text, "a");
  bytes.SetCapacity(3);
  RunAll();
  EXPECT_EQ(text, "abc") << "as many as it has now";
  bytes.SetCapacity(1);
  EXPECT_EQ(bytes.used(), 3u);
  bytes.Release(1);
  bytes.Release(1);
  RunAll();
  EXPECT_EQ(text, "abc") << "what is over it is waited for";
  bytes.Release(1);
  RunAll();
  EXPECT_EQ(text, "abcd");
  EXPECT_EQ(bytes.used(), 1u);
}

TEST_F(SyncTest, ByteSemaphoreThatBecomesSmallerStillServesLargeRequests) {
  ByteSemaphore bytes(100);
  std::string text;
  const auto acquire = [](ByteSemaphore* from, char name, std::string* out) -> Task<void> {
    EXPECT_EQ(co_await from->Acquire(90), 90u);
    out->push_back(name);
  };
  Spawn("a", acquire(&bytes, 'a', &text));
  Spawn("b", acquire(&bytes, 'b', &text));
  RunAll();
  bytes.SetCapacity(10);
  bytes.Release(90);
  RunAll();
  EXPECT_EQ(text, "ab");
  bytes.Release(90);
  EXPECT_EQ(bytes.used(), 0u);
}

TEST_F(SyncTest, ByteSemaphoreRandomUseEndsWithAllFree) {
  const auto seed = std::random_device()();
  printf("seed %u\n", seed);
  ByteSemaphore bytes(1000);
  static size_t used;
  used = 0;
  const auto use = [](ByteSemaphore* bytes, uint32_t seed) -> Task<void> {
    std::mt19937 random(seed);
    for (int i = 0; i < 50; ++i) {
      const size_t taken = co_await bytes->Acquire(random() % 1500);
      used += taken;
      EXPECT_LE(used, 1000u);
      for (uint32_t turns = random() % 4; turns > 0; --turns) co_await Yield();
      used -= taken;
      bytes->Release(taken);
    }
  };
  for (uint32_t i = 0; i < 40; ++i) Spawn("use", use(&bytes, seed + i));
  RunAll();
  EXPECT_EQ(scheduler_.root_count(), 0u);
  EXPECT_EQ(bytes.used(), 0u);
}

TEST_F(SyncTest, GateClosesWhenAllHaveLeft) {
  Gate gate;
  EXPECT_TRUE(gate.Enter());
  bool closed = false;
  Spawn("close", [](Gate* gate, bool* closed) -> Task<void> {
    co_await gate->Close();
    *closed = true;
  }(&gate, &closed));
  RunAll();
  EXPECT_FALSE(gate.Enter());
  {
    const Gate::Hold hold(gate);
    EXPECT_FALSE(hold.entered());
  }
  EXPECT_FALSE(closed);
  gate.Leave();
  RunAll();
  EXPECT_TRUE(closed);
}

TEST_F(SyncTest, GateCloseGivesUpAtItsDeadline) {
  Gate gate;
  gate.Enter();
  int outcome = -1;
  Spawn("close", [](Gate* gate, int* outcome) -> Task<void> {
    *outcome = co_await gate->CloseUntil(10) ? 1 : 0;
  }(&gate, &outcome));
  AdvanceTo(9);
  EXPECT_EQ(outcome, -1);
  AdvanceTo(10);
  EXPECT_EQ(outcome, 0);
  gate.Leave();
}

TEST_F(SyncTest, MutexLetsOneInAtATime) {
  AsyncMutex mutex;
  std::string text;
  const auto work = [](AsyncMutex* mutex, char name, std::string* text) -> Task<void> {
    co_await mutex->Lock();
    for (int i = 0; i < 3; ++i) {
      text->push_back(name);
      co_await Yield();
    }
    mutex->Unlock();
  };
  for (char name : {'a', 'b', 'c'}) Spawn("work", work(&mutex, name, &text));
  RunAll();
  EXPECT_EQ(text, "aaabbbccc");
}

TEST_F(SyncTest, AWaiterThatIsDestroyedLeavesItsQueue) {
  WaitList list;
  {
    Scheduler other;
    const Scheduler::Scope scope(other);
    std::string text;
    Spawn("w", WaitAndNote(&list, 100, 'x', &text));
    while (other.ready_count() > 0) other.RunReady(1);
    EXPECT_FALSE(list.empty());
  }
  EXPECT_TRUE(list.empty());
  list.NotifyAll();
}

}  // namespace
}  // namespace ringtail::task
