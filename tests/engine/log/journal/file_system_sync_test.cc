#include "engine/log/journal/file_system_sync.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/engine/core/core_threads.h"

namespace ringtail::log {
namespace {

using task::Task;

std::string Scratch() {
  const char* root = getenv("TEST_TMPDIR");
  std::string path = std::string(root == nullptr ? "/tmp" : root) + "/sync-XXXXXX";
  RT_CHECK(mkdtemp(path.data()) != nullptr);
  return path;
}

std::unique_ptr<SyncThread> StartSync() {
  auto started = SyncThread::Start(Scratch());
  RT_CHECK(started.ok());
  return *std::move(started);
}

Task<void> SyncOnce(SyncThread* sync, absl::Status* status) { *status = co_await sync->Sync(); }

Task<void> SyncMany(SyncThread* sync, int rounds, std::atomic<int>* done) {
  for (int i = 0; i < rounds; ++i) {
    const absl::Status status = co_await sync->Sync();
    EXPECT_TRUE(status.ok()) << status;
  }
  ++*done;
  done->notify_all();
}

TEST(SyncThread, APassForEachRequestThatFollowsAnother) {
  const auto sync = StartSync();
  core::CoreThreads cores(1);
  for (uint64_t i = 1; i <= 5; ++i) {
    absl::Status status;
    cores.Run(0, [&]() -> Task<void> { return SyncOnce(sync.get(), &status); });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(sync->passes(), i);
  }
}

TEST(SyncThread, AllCoresAreAnsweredAndSharePasses) {
  constexpr int kTasks = 12;
  constexpr int kRounds = 50;
  const auto sync = StartSync();
  core::CoreThreads cores(3);
  std::atomic<int> done = 0;
  for (uint32_t i = 0; i < kTasks; ++i) {
    cores.Spawn(i % 3, [&]() -> Task<void> { return SyncMany(sync.get(), kRounds, &done); });
  }
  for (int now = done; now < kTasks; now = done) done.wait(now);
  EXPECT_GE(sync->passes(), static_cast<uint64_t>(kRounds));
  EXPECT_LE(sync->passes(), static_cast<uint64_t>(kTasks * kRounds));
}

TEST(SyncThread, NothingHappensUnasked) {
  const auto sync = StartSync();
  sync->Stop();
  EXPECT_EQ(sync->passes(), 0u);
  EXPECT_FALSE(sync->available(INT64_MAX));
}

TEST(SyncThread, AfterStopARequestIsCancelled) {
  const auto sync = StartSync();
  sync->Stop();
  core::CoreThreads cores(1);
  absl::Status status;
  cores.Run(0, [&]() -> Task<void> { return SyncOnce(sync.get(), &status); });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST(SyncThread, StopAnswersThoseWhoAskMeanwhile) {
  for (int round = 0; round < 20; ++round) {
    const auto sync = StartSync();
    core::CoreThreads cores(2);
    std::atomic<int> done = 0;
    for (uint32_t core = 0; core < 2; ++core) {
      cores.Spawn(core, [&]() -> Task<void> {
        return [](SyncThread* sync, std::atomic<int>* done) -> Task<void> {
          absl::Status status;
          while (status.ok()) status = co_await sync->Sync();
          EXPECT_TRUE(absl::IsCancelled(status)) << status;
          ++*done;
          done->notify_all();
        }(sync.get(), &done);
      });
    }
    sync->Stop();
    for (int now = done; now < 2; now = done) done.wait(now);
  }
}

TEST(SyncThread, TasksDroppedWhileTheyWaitLeaveNothing) {
  for (int round = 0; round < 20; ++round) {
    const auto sync = StartSync();
    std::atomic<int> done = 0;
    core::CoreThreads cores(2);
    for (uint32_t i = 0; i < 8; ++i) {
      cores.Spawn(i % 2, [&]() -> Task<void> { return SyncMany(sync.get(), 1'000'000, &done); });
    }
    // Ended here, in the midst of it.
  }
}

TEST(SyncThread, ADirectoryThatIsNotThereIsNamed) {
  const auto started = SyncThread::Start("/no/such/directory");
  EXPECT_TRUE(absl::IsNotFound(started.status()));
  EXPECT_NE(started.status().message().find("/no/such/directory"), absl::string_view::npos);
}

TEST(SyncThread, AvailableByWhatTheKernelHasToWrite) {
  const auto sync = StartSync();
  EXPECT_TRUE(sync->available(INT64_MAX));
  EXPECT_FALSE(sync->available(0));
}

TEST(SyncThread, UnsyncedBytesOfMeminfo) {
  EXPECT_EQ(UnsyncedBytes("MemTotal:  10 kB\nDirty:      12 kB\nWriteback:    3 kB\n"
                          "WritebackTmp:    500 kB\n"),
            15 * 1024);
  EXPECT_EQ(UnsyncedBytes("Dirty: 12 kB\n"), std::nullopt);
  EXPECT_EQ(UnsyncedBytes("Dirty: x kB\nWriteback: 3 kB\n"), std::nullopt);
  EXPECT_EQ(UnsyncedBytes("Dirty: -1 kB\nWriteback: 3 kB\n"), std::nullopt);
  EXPECT_EQ(UnsyncedBytes(""), std::nullopt);
}

TEST(SyncThread, KernelsThatTellErrors) {
  for (const char* release : {"5.8.0", "5.10.0-8-amd64", "6.1.0-13-amd64", "6.18-rc1", "10.0"}) {
    EXPECT_TRUE(SyncfsTellsErrors(release)) << release;
  }
  for (const char* release : {"5.7.19", "4.19.0-6-amd64", "", "five", "5"}) {
    EXPECT_FALSE(SyncfsTellsErrors(release)) << release;
  }
}

}  // namespace
}  // namespace ringtail::log
