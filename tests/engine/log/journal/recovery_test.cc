// Whole recoveries of directories that something is wrong with: what stays closed, for how long,
// and what is refused by name.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "gtest/gtest.h"
#include "tests/engine/log/journal/life.h"
#include "tests/sim/seeds.h"

namespace ringtail::log {
namespace {

using io::OpCode;
using sim::FaultKind;

std::set<size_t> Closed(const Life& life) {
  std::set<size_t> closed;
  for (const auto& [index, why] : life.stack().refused()) closed.insert(index);
  return closed;
}

std::string Why(const Life& life) {
  std::string all;
  for (const auto& [index, why] : life.stack().refused())
    absl::StrAppend(&all, why.message(), "; ");
  return all;
}

void RemoveBelow(sim::SimDisk& disk, const std::string& directory) {
  for (const std::string& path : FilesBelow(disk, directory)) disk.Unlink(path);
}

TEST(RecoveryTest, WhatALostJournalMayHaveHadStaysClosedUntilItIsAccepted) {
  sim::ForSeeds(3, [](uint64_t seed) {
    StackOptions options{.journal_only = true};
    Life life(seed);
    RunAndCrash(life, seed, options);
    if (testing::Test::HasFailure()) return;
    RemoveBelow(life.machine().world().disk(), "/data/journal/core-0001");
    const absl::Status refused = StartDamaged(life, options);
    EXPECT_TRUE(absl::StrContains(refused.message(), "core-0001")) << refused;
    life.Kill();
    options.accept_journal_loss = true;
    ASSERT_TRUE(StartDamaged(life, options).ok());
    const std::set<size_t> closed = Closed(life);
    EXPECT_FALSE(closed.empty());
    life.Kill();
    options.accept_journal_loss = false;
    for (int start = 0; start < 3; ++start) {
      ASSERT_TRUE(StartDamaged(life, options).ok());
      EXPECT_EQ(Closed(life), closed) << "start " << start << ": " << Why(life);
      life.CheckAll();
      if (testing::Test::HasFailure()) return;
      life.Kill();
    }
  });
}

// A life that does just that; its machine is up again.
void RunAndKill(Life& life, const StackOptions& options,
                task::Task<absl::Status> (*run)(Stack* stack)) {
  {
    Stack stack(life.machine(), life.known(), options);
    const auto started = life.machine().TryRun(stack.Start());
    ASSERT_TRUE(started.has_value() && started->ok());
    const auto ran = life.machine().TryRun(run(&stack));
    ASSERT_TRUE(ran.has_value() && ran->ok());
    life.machine().Kill();
  }
  life.machine().Start();
}

TEST(RecoveryTest, WithoutAnyJournalADirectoryWithDataIsNoNewOne) {
  Life life(1);
  StackOptions options{.journal_only = true};
  RunAndCrash(life, 1, options);
  RemoveBelow(life.machine().world().disk(), "/data/journal");
  const absl::Status refused = StartDamaged(life, options);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(refused.message(), ".log, which the catalog knows")) << refused;
  life.Kill();
  options.accept_journal_loss = true;
  ASSERT_TRUE(StartDamaged(life, options).ok());
  const std::set<size_t> closed = Closed(life);
  EXPECT_EQ(life.parts().size(), 0u) << "every partition may have had more";
  life.Kill();
  options.accept_journal_loss = false;
  ASSERT_TRUE(StartDamaged(life, options).ok());
  EXPECT_EQ(Closed(life), closed);
  life.Kill();
}

TEST(RecoveryTest, AfterACleanStopTheJournalsAreNotNeeded) {
  Life life(1);
  bool paused = false;
  life.RunUntil(std::nullopt, {}, 1, 20, &paused);
  life.StopClean();
  sim::SimDisk& disk = life.machine().world().disk();
  RemoveBelow(disk, "/data/journal");
  disk.Put(absl::StrCat("/data/", kCleanShutdownFile), "{}");
  EXPECT_TRUE(StartDamaged(life, {}).ok());
  life.Kill();
}

// First, last or any between, after a clean stop and after a kill.
TEST(RecoveryTest, SegmentsThatAreMissingCloseTheirPartitionUntilTheyAreBack) {
  sim::ForSeeds(4, [](uint64_t seed) {
    const StackOptions options{.appends_most = 10, .journal_only = true};
    size_t files = 1;
    for (size_t nth = 0; nth < files; ++nth) {
      Life life(seed);
      RunAndCrash(life, seed, options);
      if (testing::Test::HasFailure()) return;
      ASSERT_TRUE(StartDamaged(life, options).ok());
      seed % 2 == 0 ? life.StopClean() : life.Kill();
      sim::SimDisk& disk = life.machine().world().disk();
      disk.SyncEverything();
      std::map<std::string, std::string> segments;
      for (const std::string& path : FilesBelow(disk, "/data")) {
        const std::string content = disk.Content(path).value_or("");
        if (absl::EndsWith(path, ".log") && !content.empty()) segments[path] = content;
      }
      files = segments.size();
      if (files == 0) return;
      const auto [path, content] = *std::next(segments.begin(), static_cast<int64_t>(nth));
      SCOPED_TRACE(path);
      disk.Unlink(path);
      for (int start = 0; start < 2; ++start) {
        ASSERT_TRUE(StartDamaged(life, options).ok());
        ASSERT_EQ(Closed(life).size(), 1u) << Why(life);
        EXPECT_TRUE(absl::StartsWith(path, life.stack().Directory(*Closed(life).begin())));
        life.CheckAll();
        if (testing::Test::HasFailure()) return;
        life.Kill();
      }
      disk.Put(path, content);
      ASSERT_TRUE(StartDamaged(life, options).ok());
      EXPECT_TRUE(Closed(life).empty()) << Why(life);
      life.CheckAll();
      if (testing::Test::HasFailure()) return;
      life.Kill();
    }
  });
}

TEST(RecoveryTest, SegmentsOfAPageCacheLogThatAreMissingBelowItsSyncedEndAreMissed) {
  auto run = [](Stack* stack) -> task::Task<absl::Status> {
    const absl::Status made = co_await stack->Create("topic9", Durability::kPageCache);
    if (!made.ok()) co_return made;
    task::Scheduler& scheduler = task::Scheduler::Current();
    for (int i = 0; i < 50; ++i) {
      stack->Append(0, 1, 3000);
      co_await scheduler.SleepUntil(scheduler.now() + base::kNanosPerMilli);
    }
    const absl::Status synced = co_await stack->parts()[0]->log->Sync();
    co_await scheduler.SleepUntil(scheduler.now() + 30 * base::kNanosPerSecond);  // a checkpoint
    co_return synced;
  };
  Life life(1);
  const StackOptions options{.cores = 1};
  ASSERT_NO_FATAL_FAILURE(RunAndKill(life, options, run));
  sim::SimDisk& disk = life.machine().world().disk();
  std::vector<std::string> segments;
  for (const std::string& path : FilesBelow(disk, "/data/topic9-0")) {
    if (absl::EndsWith(path, ".log")) segments.push_back(path);
  }
  ASSERT_GE(segments.size(), 3u);
  const std::string content = disk.Content(segments[1]).value_or("");
  disk.Unlink(segments[1]);
  ASSERT_TRUE(StartDamaged(life, options).ok());
  EXPECT_EQ(Closed(life), std::set<size_t>{0}) << Why(life);
  life.Kill();
  disk.Put(segments[1], content);
  ASSERT_TRUE(StartDamaged(life, options).ok());
  EXPECT_EQ(Closed(life), std::set<size_t>{}) << Why(life);
  life.CheckAll();
  life.Kill();
}

// Its checkpoint says that it had nothing when the frame was written.
TEST(RecoveryTest, AnEmptyPartitionIsNoSuspectOfWhatWasLostBeforeACheckpoint) {
  auto run = [](Stack* stack) -> task::Task<absl::Status> {
    for (const char* topic : {"topic8", "topic9"}) {
      const absl::Status made = co_await stack->Create(topic, Durability::kJournal);
      if (!made.ok()) co_return made;
    }
    task::Scheduler& scheduler = task::Scheduler::Current();
    for (int i = 0; i < 3; ++i) {
      stack->Append(0, 1, 3000);
      co_await scheduler.SleepUntil(scheduler.now() + 30 * base::kNanosPerSecond);  // a checkpoint
    }
    co_return co_await stack->Create("topic7", Durability::kJournal);  // of which none tells
  };
  Life life(1);
  const StackOptions options{.cores = 1};
  ASSERT_NO_FATAL_FAILURE(RunAndKill(life, options, run));
  sim::SimDisk& disk = life.machine().world().disk();
  disk.SyncEverything();
  disk.Corrupt("/data/journal/core-0000/0.journal", kJournalBlockBytes, sim::kSectorBytes,
               FaultKind::kZeroed);
  ASSERT_TRUE(StartDamaged(life, options).ok());
  EXPECT_EQ(Closed(life), std::set<size_t>{2}) << Why(life);
  life.CheckAll();
  life.Kill();
}

// The truncation is durable before the segment's name is: a power cut may take that away.
TEST(RecoveryTest, ALogThatWasCutWhereASegmentBeginsNeedsNoFileForIt) {
  auto run = [](Stack* stack) -> task::Task<absl::Status> {
    const absl::Status made = co_await stack->Create("topic8", Durability::kJournal);
    if (!made.ok()) co_return made;
    task::Scheduler& scheduler = task::Scheduler::Current();
    for (int i = 0; i < 2; ++i) {
      stack->Append(0, 1, 3000);
      co_await scheduler.SleepUntil(scheduler.now() + base::kNanosPerMilli);
      if (i == 0) RT_CO_RETURN_IF_ERROR(stack->parts()[0]->log->Roll());
    }
    co_return co_await stack->parts()[0]->log->Truncate(base::Offset(1), base::kNever);
  };
  Life life(1);
  const StackOptions options{.cores = 1};
  ASSERT_NO_FATAL_FAILURE(RunAndKill(life, options, run));
  const std::string segment = "/data/topic8-0/00000000000000000001.log";
  ASSERT_EQ(life.machine().world().disk().Content(segment), "");
  ASSERT_EQ(life.machine().world().disk().Unlink(segment), 0);
  const absl::Status started = StartDamaged(life, options);
  ASSERT_TRUE(started.ok()) << started;
  EXPECT_TRUE(Closed(life).empty()) << Why(life);
  EXPECT_EQ(life.parts().at(0)->log->log_end(), base::Offset(1));
  life.Kill();
}

TEST(RecoveryTest, SectorsThatCannotBeReadAreRotAndRefuseNoStart) {
  const StackOptions options{.journal_only = true};
  for (uint64_t at = 0; at < 40; ++at) {
    Life life(2);
    RunAndCrash(life, 2, options);
    SCOPED_TRACE(absl::StrCat("reads ", at, " and the next"));
    sim::FaultRule rule;
    rule.kind = FaultKind::kError;
    rule.codes = {OpCode::kRead};
    rule.path = ".journal";
    rule.skip = at;
    rule.count = 2;
    const int id = life.machine().world().faults().Add(rule);
    const absl::Status started = StartDamaged(life, options);
    EXPECT_TRUE(started.ok()) << started;
    const bool fired = life.machine().world().faults().fired(id) > 0;
    life.machine().world().faults().Remove(id);
    life.CheckAll();
    if (testing::Test::HasFailure()) return;
    life.Kill();
    ASSERT_TRUE(StartDamaged(life, options).ok());
    life.CheckAll();
    life.Kill();
    if (testing::Test::HasFailure() || !fired) return;
  }
}

TEST(RecoveryTest, APartitionThatCannotBeReadNowIsLookedAtAgainByTheNextStart) {
  for (const char* path : {"partition.metadata", ".log"}) {
    for (const OpCode code : {OpCode::kOpen, OpCode::kRead}) {
      for (uint64_t at = 0; at < 8; ++at) {
        SCOPED_TRACE(absl::StrCat(path, ", operation ", static_cast<int>(code), ", ", at));
        const StackOptions options{.journal_only = true};
        Life life(3);
        RunAndCrash(life, 3, options);
        sim::FaultRule rule;
        rule.kind = FaultKind::kError;
        rule.codes = {code};
        rule.path = path;
        rule.skip = at;
        const int id = life.machine().world().faults().Add(rule);
        const absl::Status started = StartDamaged(life, options);
        EXPECT_TRUE(started.ok()) << started;
        EXPECT_LE(Closed(life).size(), 1u) << Why(life);
        life.machine().world().faults().Remove(id);
        life.CheckAll();
        if (testing::Test::HasFailure()) return;
        life.Kill();
        ASSERT_TRUE(StartDamaged(life, options).ok());
        EXPECT_TRUE(Closed(life).empty()) << Why(life);
        life.CheckAll();
        if (testing::Test::HasFailure()) return;
        life.Kill();
      }
    }
  }
}

TEST(RecoveryTest, ACheckpointOfAnotherDirectoryIsRefusedByName) {
  Life life(1), other(2);
  RunAndCrash(life, 1, {});
  RunAndCrash(other, 2, {});
  for (const char* slot : {"checkpoint.0", "checkpoint.1"}) {
    const std::string path = absl::StrCat("/data/journal/core-0000/", slot);
    sim::SimDisk& disk = life.machine().world().disk();
    const std::string ours = disk.Content(path).value_or("");
    disk.Put(path, other.machine().world().disk().Content(path).value_or(""));
    const absl::Status started = StartDamaged(life, {});
    EXPECT_TRUE(absl::StrContains(started.message(), path)) << started;
    life.Kill();
    disk.Put(path, ours);
  }
}

// What a failed sync leaves in the page cache counts as clean: it must be written once more.
TEST(RecoveryTest, WhatAPageCacheLogCouldNotSyncIsWrittenAgain) {
  sim::ForSeeds(10, [](uint64_t seed) {
    Life life(seed);
    bool paused = false;
    life.RunUntil(std::nullopt, {.cores = 1}, seed, 0, &paused);
    life.Kill();
    auto run = [](Stack* stack) -> task::Task<absl::Status> {
      absl::Status made = co_await stack->Create("topic8", Durability::kJournal);
      if (made.ok()) made = co_await stack->Create("topic9", Durability::kPageCache);
      if (!made.ok()) co_return made;
      stack->Append(0, 1, 3000);  // the next checkpoint has time
      const size_t index = stack->parts().rbegin()->first;
      for (int i = 0; i < 20; ++i) stack->Append(index, 1, 3000);
      task::Scheduler& scheduler = task::Scheduler::Current();
      co_await scheduler.SleepUntil(scheduler.now() + base::kNanosPerMilli);
      // This one fails, or that of a segment that was rolled.
      static_cast<void>(co_await stack->parts()[index]->log->Sync());
      co_await scheduler.SleepUntil(scheduler.now() + base::kNanosPerSecond);
      co_return absl::OkStatus();
    };
    {
      Stack stack(life.machine(), life.known(), {.cores = 1});
      const auto started = life.machine().TryRun(stack.Start());
      ASSERT_TRUE(started.has_value() && started->ok());
      sim::FaultRule rule;
      rule.kind = FaultKind::kFailSync;
      rule.codes = {OpCode::kSync};
      rule.path = ".log";
      const int id = life.machine().world().faults().Add(rule);
      const auto ran = life.machine().TryRun(run(&stack));
      ASSERT_TRUE(ran.has_value() && ran->ok());
      EXPECT_EQ(life.machine().world().faults().fired(id), 1u);
      life.machine().world().faults().Remove(id);
      life.machine().Kill();
    }
    life.machine().Start();
    life.RunUntil(std::nullopt, {.cores = 1}, seed, 0, &paused);  // whole, after kill -9
    if (testing::Test::HasFailure()) return;
    life.PowerCut({sim::PowerCutPolicy::kNone, sim::kSectorBytes});
    life.RunUntil(std::nullopt, {.cores = 1}, seed, 0, &paused);
    life.Kill();
  });
}

}  // namespace
}  // namespace ringtail::log
