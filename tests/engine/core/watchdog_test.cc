#include "engine/core/watchdog.h"

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/core/core_threads.h"

namespace ringtail::core {
namespace {

using base::CoreId;
using base::kNanosPerSecond;
using task::Task;

struct Report {
  uint32_t core;
  base::Nanos stuck_ns;
  std::string doing;
};

class WatchdogTest : public testing::Test {
 protected:
  WatchdogOptions Options() {
    WatchdogOptions options;
    options.on_report = [this](CoreId core, base::Nanos stuck_ns, const std::string& doing) {
      reports_.push_back({core.value(), stuck_ns, doing});
    };
    return options;
  }
  // Does not come back until Release().
  void Occupy(uint32_t core) {
    threads_.Spawn(core, [this]() -> Task<void> {
      inside_ = true;
      inside_.notify_all();
      while (!released_) {
      }
      co_return;
    });
    inside_.wait(false);
  }
  void Release(uint32_t core) {
    released_ = true;
    threads_.Run(core, []() -> Task<void> { co_return; });
  }

  std::vector<Report> reports_;
  std::atomic<bool> inside_ = false;
  std::atomic<bool> released_ = false;
  CoreThreads threads_{2};
};

TEST_F(WatchdogTest, TellsACoreThatDoesNotComeBack) {
  Watchdog watchdog(threads_.group(), Options());
  Occupy(1);
  const base::Nanos start = 1000 * kNanosPerSecond;
  watchdog.Look(start);
  EXPECT_TRUE(reports_.empty());
  for (int second = 1; second <= 9; ++second) watchdog.Look(start + second * kNanosPerSecond);
  EXPECT_EQ(watchdog.StuckReason(), "");
  ASSERT_EQ(reports_.size(), 4u);  // after 1, 2, 4 and 8 s
  EXPECT_EQ(reports_[3].core, 1u);
  EXPECT_EQ(reports_[3].stuck_ns, 8 * kNanosPerSecond);
  EXPECT_EQ(reports_[3].doing, "it is computing, or waits for a CPU");
  watchdog.Look(start + 12 * kNanosPerSecond);
  EXPECT_EQ(watchdog.StuckReason(),
            "core 1 has not come back to its loop for 12 s: it is computing, or waits for a CPU");
  Release(1);
  watchdog.Look(start + 13 * kNanosPerSecond);
  EXPECT_EQ(watchdog.StuckReason(), "");
}

TEST_F(WatchdogTest, CoresThatWaitForWorkAreNotStuck) {
  Watchdog watchdog(threads_.group(), Options());
  while (threads_.group().core(CoreId(0)).busy_since() != 0) std::this_thread::yield();
  for (int second = 0; second < 100; ++second) watchdog.Look(second * kNanosPerSecond);
  EXPECT_EQ(watchdog.StuckReason(), "");
}

TEST_F(WatchdogTest, ItsThreadEndsAtOnce) {
  Watchdog watchdog(threads_.group(), Options());
  watchdog.Start();
}

}  // namespace
}  // namespace ringtail::core
