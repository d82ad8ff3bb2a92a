// What is left of a log when disks fail, fill up or lose power, tried at every write.
#include <gtest/gtest.h>

#include "engine/io/op.h"
#include "tests/engine/log/log_fixture.h"

namespace ringtail::log {
namespace {

using io::OpCode;
using sim::FaultKind;

constexpr int kAppends = 25;

// A log on a simulated disk, a fixed load on it, and a record of what was acknowledged.
class LogRun {
 public:
  explicit LogRun(uint64_t seed, WritePath path = WritePath::kAuto) : machine_(seed) {
    LogOptions options;
    options.write_path = path;
    options.allocate_bytes_min = 200;
    options.allocate_bytes_max = 2000;
    log_.emplace(machine_, options);
    log_->config.segment_bytes_max = 3000;
    log_->config.index_interval_bytes = 300;
    log_->Create();
  }
  SimMachine& machine() { return machine_; }
  sim::Faults& faults() { return machine_.world().faults(); }
  LogUnderTest& log() { return *log_; }

  // Appends batches of 1 to 3 records, some together, waiting for some; syncs now and then. Ends
  // early where an operation paused the world.
  void Load() {
    for (int i = 0; i < kAppends; ++i) {
      const AppendResult append = log_->Append(Batch(i), i / 8);
      if (machine_.world().paused()) return;
      if (!append.ok()) {
        ++refused;
        continue;
      }
      if (i % 3 == 1) continue;
      const auto status = machine_.TryRun((*log_)->WaitWritten(append, base::kNever));
      if (!status.has_value()) return;
      if (status->ok()) {
        acked_end = append.end_offset;
      } else {
        ++failed;
        last_error = *status;
      }
      if (i % 10 == 9) {
        const auto synced = machine_.TryRun((*log_)->Sync());
        if (!synced.has_value()) return;
        if (synced->ok()) synced_end = acked_end;
      }
    }
  }
  static std::string Batch(int i) {
    return MakeBatch({.records = 1 + i % 3,
                      .value_bytes = static_cast<size_t>(40 + 100 * (i % 4)),
                      .timestamp_ms = 1000 + i,
                      .fill = static_cast<char>('a' + i)});
  }
  // Every batch the log holds is whole and valid, offsets follow each other, each filled as it was
  // sent, in the order in which they were sent.
  void ExpectWholeBatches() {
    const std::string all = log_->ReadAll(700);
    base::Offset next = (*log_)->log_start();
    char fill = 0;
    BatchWalker walker(base::AsBytes(all));
    while (walker.Next()) {
      const BatchView& batch = walker.batch();
      ASSERT_EQ(ValidateBatch(batch, BatchRules::Verbatim()), BatchError::kNone);
      ASSERT_EQ(batch.base_offset(), next);
      next = batch.next_offset();
      const char found = static_cast<char>(batch.records()[batch.records().size() - 2]);
      ASSERT_GT(found, fill);
      fill = found;
    }
    ASSERT_EQ(walker.error(), BatchError::kNone);
    ASSERT_EQ(next, (*log_)->log_end());
    ASSERT_EQ((*log_)->written_end(), (*log_)->log_end());
  }

  base::Offset acked_end;
  base::Offset synced_end;
  int refused = 0;
  int failed = 0;
  absl::Status last_error;

 private:
  SimMachine machine_;
  std::optional<LogUnderTest> log_;
};

// How many operations of these kinds the load makes on files whose path contains `path`.
uint64_t CountOperations(const std::vector<OpCode>& codes, const std::string& path) {
  LogRun run(1);
  const int rule = run.faults().Add({.codes = codes, .path = path, .count = 0});
  run.Load();
  EXPECT_EQ(run.failed + run.refused, 0);
  EXPECT_GT(run.log().env().counters().allocations, 2u);
  return run.faults().matched(rule);
}

TEST(LogFaultTest, AShortWriteIsContinuedAtEveryIndex) {
  const uint64_t writes = CountOperations({OpCode::kWrite}, ".log");
  ASSERT_GT(writes, 10u);
  for (const WritePath path : {WritePath::kInline, WritePath::kRing}) {
    for (uint64_t i = 0; i < writes; ++i) {
      SCOPED_TRACE(i);
      LogRun run(i + 1, path);
      run.faults().Add(
          {.kind = FaultKind::kShort, .codes = {OpCode::kWrite}, .path = ".log", .skip = i});
      run.Load();
      EXPECT_EQ(run.failed + run.refused, 0) << run.last_error;
      run.ExpectWholeBatches();
      ASSERT_TRUE(run.log().KillAndOpen().ok());
      EXPECT_GE(run.log()->log_end(), run.acked_end);
      run.ExpectWholeBatches();
    }
  }
}

TEST(LogFaultTest, AnErrorPoisonsUntilRestartAtEveryIndex) {
  const uint64_t writes = CountOperations({OpCode::kWrite}, ".log");
  for (const WritePath path : {WritePath::kInline, WritePath::kRing}) {
    for (uint64_t i = 0; i < writes; ++i) {
      SCOPED_TRACE(i);
      LogRun run(i + 1, path);
      run.faults().Add({.kind = FaultKind::kError,
                        .error = i % 2 == 0 ? EIO : 0,  // 0: it gets nowhere
                        .codes = {OpCode::kWrite},
                        .path = ".log",
                        .skip = i});
      run.Load();
      EXPECT_GT(run.failed + run.refused, 0);
      EXPECT_TRUE(absl::IsDataLoss(run.log()->write_status())) << run.log()->write_status();
      EXPECT_EQ(run.log()->written_end(), run.log()->log_end());
      EXPECT_GE(run.log()->log_end(), run.acked_end);
      EXPECT_EQ(run.log().Append(LogRun::Batch(25)).error, AppendError::kPoisoned);
      run.ExpectWholeBatches();  // reads go on
      ASSERT_TRUE(run.log().KillAndOpen().ok());
      EXPECT_GE(run.log()->log_end(), run.acked_end);
      run.ExpectWholeBatches();
      EXPECT_TRUE(run.log().Write(LogRun::Batch(25)).ok());
      run.ExpectWholeBatches();
    }
  }
}

TEST(LogFaultTest, AFullDiskFailsTheQueueAndIsOverWhenThereIsSpace) {
  const uint64_t writes = CountOperations({OpCode::kWrite}, ".log");
  for (const WritePath path : {WritePath::kInline, WritePath::kRing}) {
    for (uint64_t i = 0; i < writes; ++i) {
      SCOPED_TRACE(i);
      LogRun run(i + 1, path);
      run.faults().Add({.kind = FaultKind::kError,
                        .error = ENOSPC,
                        .codes = {OpCode::kWrite},
                        .path = ".log",
                        .skip = i,
                        .count = 2});
      run.Load();
      EXPECT_GT(run.failed + run.refused, 0);
      EXPECT_GE(run.log()->log_end(), run.acked_end);
      run.machine().world().RunFor(300 * base::kNanosPerMilli);
      absl::Status written = run.log().Write(LogRun::Batch(25));
      if (absl::IsResourceExhausted(written)) {  // the second of the two
        run.machine().world().RunFor(300 * base::kNanosPerMilli);
        written = run.log().Write(LogRun::Batch(25));
      }
      EXPECT_TRUE(written.ok()) << written;
      EXPECT_TRUE(run.log()->write_status().ok());
      run.ExpectWholeBatches();
      ASSERT_TRUE(run.log().Reopen().ok());
      run.ExpectWholeBatches();
    }
  }
}

TEST(LogFaultTest, ARealFullDiskRefusesAppendsUntilSpaceIsBack) {
  sim::SimOptions options;
  options.disk.capacity_bytes = 200 << 10;
  SimMachine machine(options);
  LogUnderTest log(machine);
  log.Create();
  bool full = false;
  base::Offset end;
  for (int i = 0; i < 500 && !full; ++i) {
    const AppendResult append = log.Append(MakeBatch({.value_bytes = 1000}));
    ASSERT_TRUE(append.ok());
    const absl::Status status = log.Wait(append);
    full = absl::IsResourceExhausted(status);
    EXPECT_TRUE(full || status.ok()) << status;
    if (!full) end = append.end_offset;
  }
  ASSERT_TRUE(full);
  EXPECT_EQ(log->log_end(), end);
  EXPECT_EQ(log.observer().rolled_back.back(), end.value());
  EXPECT_EQ(log.Append(MakeBatch({})).error, AppendError::kNoSpace);
  machine.world().RunFor(base::kNanosPerSecond);
  EXPECT_EQ(log.Append(MakeBatch({})).error, AppendError::kNoSpace);
  machine.world().disk().set_capacity_bytes(10 << 20);
  machine.world().RunFor(base::kNanosPerSecond);
  ASSERT_TRUE(log.Write(MakeBatch({})).ok());
  EXPECT_EQ(log->log_end(), end + 1);
}

TEST(LogFaultTest, AFailedSyncPoisons) {
  LogRun run(3);
  run.faults().Add({.kind = FaultKind::kFailSync, .codes = {OpCode::kSync}, .path = ".log"});
  run.Load();
  EXPECT_TRUE(absl::IsDataLoss(run.log()->write_status()));
  EXPECT_EQ(run.log().Append(LogRun::Batch(25)).error, AppendError::kPoisoned);
  run.ExpectWholeBatches();
}

const std::vector<OpCode>& Changes() {
  static const std::vector<OpCode> codes = {OpCode::kWrite,  OpCode::kSync,     OpCode::kSyncAll,
                                            OpCode::kRename, OpCode::kUnlink,   OpCode::kOpen,
                                            sim::kTruncate,  OpCode::kAllocate, OpCode::kClose};
  return codes;
}

// At every operation that changes the disk, with every policy of what the disk keeps.
TEST(LogFaultTest, APowerCutLeavesAPrefixOfWholeBatches) {
  const uint64_t operations = CountOperations(Changes(), "");
  ASSERT_GT(operations, 40u);
  for (uint64_t i = 0; i < operations; ++i) {
    for (const auto kept :
         {sim::PowerCutPolicy::kNone, sim::PowerCutPolicy::kAll, sim::PowerCutPolicy::kPrefix,
          sim::PowerCutPolicy::kSuffix, sim::PowerCutPolicy::kSubset}) {
      SCOPED_TRACE(i);
      SCOPED_TRACE(static_cast<int>(kept));
      LogRun run(i + 1);
      run.faults().Add({.kind = FaultKind::kPause, .codes = Changes(), .skip = i});
      run.Load();
      run.machine().PowerCut({kept, i % 2 == 0 ? 512 : 4096});
      run.log().open.recovery_point = run.log()->recovery_point();
      run.log().Forget();
      run.faults().Clear();
      run.machine().Start();
      const absl::Status opened = run.log().Open();
      ASSERT_TRUE(opened.ok()) << opened;
      EXPECT_GE(run.log()->log_end(), run.synced_end);
      run.ExpectWholeBatches();
      // And it goes on from there, through another kill.
      ASSERT_TRUE(run.log().Write(LogRun::Batch(25), 9).ok());
      run.ExpectWholeBatches();
      ASSERT_TRUE(run.log().KillAndOpen().ok());
      run.ExpectWholeBatches();
    }
  }
}

// The same for kill -9: the page cache stays, so nothing acknowledged is lost.
TEST(LogFaultTest, AKillAtEveryOperationLosesNothingAcknowledged) {
  const uint64_t operations = CountOperations(Changes(), "");
  for (uint64_t i = 0; i < operations; ++i) {
    for (const WritePath path : {WritePath::kInline, WritePath::kRing}) {
      SCOPED_TRACE(i);
      LogRun run(i + 1, path);
      run.faults().Add({.kind = FaultKind::kPause, .codes = Changes(), .skip = i});
      run.Load();
      run.log().Kill();
      run.faults().Clear();
      run.machine().Start();
      const absl::Status opened = run.log().Open();
      ASSERT_TRUE(opened.ok()) << opened;
      EXPECT_GE(run.log()->log_end(), run.acked_end);
      run.ExpectWholeBatches();
    }
  }
}

TEST(LogFaultTest, AFlippedBitCutsThereAndNothingIsKeptBehind) {
  LogRun run(5);
  run.Load();
  const base::Offset end = run.log()->log_end();
  run.machine().world().disk().SyncEverything();
  run.log().Kill();
  ASSERT_TRUE(run.machine().world().disk().Corrupt("/data/topic-0/00000000000000000000.log", 700, 1,
                                                   FaultKind::kBitFlip));
  run.machine().Start();
  run.log().open.recovery_point = At(0);
  ASSERT_TRUE(run.log().Open().ok());
  EXPECT_LT(run.log()->log_end(), end);
  EXPECT_EQ(run.log()->segment_count(), 1u);
  EXPECT_NE(run.log().info.cut_reason, "");
  EXPECT_GT(run.log().info.segments_removed, 0u);
  run.ExpectWholeBatches();
}

TEST(LogFaultTest, DamagedEpochsAndSnapshotsAreRebuilt) {
  LogRun run(6);
  run.Load();
  const auto epochs = run.log()->epochs().entries();
  ASSERT_TRUE(run.log().machine().Run(run.log()->Close()).ok());
  const int64_t end = run.log()->log_end().value();
  sim::SimDisk& disk = run.machine().world().disk();
  run.log().Kill();
  disk.Put("/data/topic-0/leader-epoch-checkpoint", "garbage");
  disk.Put("/data/topic-0/" + SegmentFileName(At(end), kSnapshotSuffix), "garbage");
  run.machine().Start();
  run.log().open.clean = true;
  ASSERT_TRUE(run.log().Open().ok());
  EXPECT_EQ(run.log()->epochs().entries(), epochs);
  EXPECT_LT(run.log().observer().snapshot, end);
  ASSERT_FALSE(run.log().observer().replayed.empty());
  EXPECT_EQ(run.log()->log_end(), At(end));
}

}  // namespace
}  // namespace ringtail::log
