// What segments leave free of a disk: appends end before it is full, go on by themselves, and
// nobody looks at a disk that nobody writes to.
#include "engine/log/disk_reserve.h"

#include <gtest/gtest.h>

#include "tests/engine/log/log_fixture.h"

namespace ringtail::log {
namespace {

constexpr int64_t kCapacity = 8 << 20;
constexpr int64_t kReserve = 2 << 20;
constexpr base::Nanos kMilli = base::kNanosPerMilli;

class DiskReserveTest : public testing::Test {
 protected:
  DiskReserveTest() : machine_(SmallDisk()), log_(machine_, Options()) { log_.Create(); }

  static sim::SimOptions SmallDisk() {
    sim::SimOptions options;
    options.disk.capacity_bytes = kCapacity;
    return options;
  }
  static LogOptions Options() {
    LogOptions options;
    options.reserve = {.directory = "/data", .bytes = kReserve, .cores = 1};
    return options;
  }
  // Appends until one is refused. Every one before that succeeds.
  void Fill(size_t value_bytes) {
    for (int i = 0; i < 10'000; ++i) {
      const AppendResult append = log_.Append(MakeBatch({.value_bytes = value_bytes}));
      if (append.error == AppendError::kNoSpace) return;
      ASSERT_TRUE(append.ok());
      ASSERT_TRUE(log_.Wait(append).ok());
    }
    FAIL() << "never refused";
  }
  AppendError TryAppend() {
    const AppendResult append = log_.Append(MakeBatch({.value_bytes = 100}));
    if (append.ok()) EXPECT_TRUE(log_.Wait(append).ok());
    return append.error;
  }
  int64_t Available() { return machine_.world().disk().Space().available_bytes; }
  void Resize(int64_t bytes) { machine_.world().disk().set_capacity_bytes(bytes); }
  void RunFor(base::Nanos ns) { machine_.world().RunFor(ns); }
  DiskReserve& reserve() { return log_.env().reserve(); }

  SimMachine machine_;
  LogUnderTest log_;
};

TEST_F(DiskReserveTest, AppendsEndBeforeTheDiskIsFull) {
  Fill(50'000);
  EXPECT_LT(Available(), kReserve);
  EXPECT_GT(Available(), kReserve - (256 << 10)) << "all of the reserve but little is left";
  EXPECT_EQ(log_.env().counters().write_failures, 0u);
  EXPECT_TRUE(log_->write_status().ok());
  auto plan = machine_.Run(log_->PlanRead(At(0), log_->written_end(), 1 << 20, true));
  ASSERT_TRUE(plan.ok());
  EXPECT_GT(plan->bytes, 0) << "reads go on";
  plan->pin.Release();
  EXPECT_TRUE(machine_.Run(log_->Sync()).ok());
  EXPECT_TRUE(log_.Reopen().ok()) << "and so does all that ends a log and opens it";
  EXPECT_EQ(TryAppend(), AppendError::kNoSpace);
}

TEST_F(DiskReserveTest, AppendsGoOnByThemselvesAndDoNotFlap) {
  Fill(50'000);
  Resize(kCapacity + (64 << 10));  // a little above the reserve: as good as nothing
  RunFor(500 * kMilli);
  EXPECT_EQ(TryAppend(), AppendError::kNoSpace);
  EXPECT_TRUE(reserve().low());
  Resize(kCapacity + kReserve);
  RunFor(500 * kMilli);  // no append has asked
  EXPECT_FALSE(reserve().low());
  EXPECT_EQ(TryAppend(), AppendError::kNone);
}

TEST_F(DiskReserveTest, SpaceThatOthersTakeIsSeenWithinASecondOfWriting) {
  EXPECT_EQ(TryAppend(), AppendError::kNone);
  Resize(kReserve);
  EXPECT_EQ(TryAppend(), AppendError::kNone);
  RunFor(1100 * kMilli);
  EXPECT_EQ(TryAppend(), AppendError::kNoSpace);
}

TEST_F(DiskReserveTest, NobodyLooksWhereNobodyWrites) {
  EXPECT_EQ(TryAppend(), AppendError::kNone);
  RunFor(5 * base::kNanosPerSecond);
  EXPECT_EQ(machine_.scheduler().next_deadline(), base::kNever);
}

TEST_F(DiskReserveTest, AnnouncesEachChangeOnce) {
  int changes = 0;
  reserve().set_on_change([](void* count) { ++*static_cast<int*>(count); }, &changes);
  Fill(50'000);
  RunFor(5 * base::kNanosPerSecond);
  EXPECT_EQ(changes, 1);
  Resize(2 * kCapacity);
  RunFor(base::kNanosPerSecond);
  EXPECT_EQ(changes, 2);
}

TEST_F(DiskReserveTest, PreallocationLeavesTheReserveAlone) {
  Fill(200'000);
  EXPECT_GT(log_.env().counters().allocations, 0u);
  EXPECT_LT(log_->preallocated_bytes(), kCapacity / 64);
  EXPECT_GT(Available(), kReserve - (512 << 10));
}

TEST_F(DiskReserveTest, CountsWhatALogTakes) {
  Fill(200'000);
  EXPECT_GT(log_->index_bytes(), 0);
  const auto file = machine_.io().StatPath(log_.directory() + "/00000000000000000000.log");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->size_bytes, log_->size_bytes() + log_->preallocated_bytes());
  EXPECT_TRUE(machine_.Run(log_->TrimIdle()).ok());
  EXPECT_EQ(log_->preallocated_bytes(), 0);
}

TEST(DiskReserveDefaultTest, IsAShareOfTheFileSystemUpToABound) {
  EXPECT_EQ(DiskReserve::DefaultBytes(int64_t{1} << 30), (int64_t{1} << 30) / 50);
  EXPECT_EQ(DiskReserve::DefaultBytes(int64_t{1} << 40), int64_t{512} << 20);
}

}  // namespace
}  // namespace ringtail::log
