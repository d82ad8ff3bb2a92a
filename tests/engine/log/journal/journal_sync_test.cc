#include "engine/log/journal/journal_sync.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/log/journal/mutants.h"
#include "tests/engine/io/test_loop.h"
#include "tests/engine/log/journal/fake_log.h"
#include "tests/engine/log/journal/journal_fixture.h"
#include "tests/sim/node.h"
#include "tests/sim/seeds.h"

namespace ringtail::log {
namespace {

using sim::FaultKind;
using sim::PowerCutPolicy;
using sim::SimNode;
using sim::SimWorld;

constexpr base::Nanos kMilli = base::kNanosPerMilli;
constexpr char kSyncPath[] = "/data/journal/sync";

// syncfs on a device with a cache: the data is written, but stable only after the flush that the
// fdatasync of journal/sync sends (a rule of Bench watches for it).
struct FakeFileSystemSync : FileSystemSync {
  bool usable = true;
  absl::Status answer;
  int calls = 0;
  bool available(int64_t) const override { return usable; }
  task::Task<absl::Status> Sync() override {
    ++calls;
    co_return answer;
  }
};

class Bench {
 public:
  explicit Bench(uint64_t seed, size_t logs, JournalOptions options = SmallJournal(),
                 bool with_group = false)
      : world(seed), options(options) {
    world.disk().Put("/data/journal/core-0000/x", "");
    // What is not synced stays volatile: only the code under test makes it durable.
    world.disk().set_background_writeback(0);
    node.emplace(world, world.NewProcess("broker"));
    auto opened = node->Run(Journal::Open(node->io(), options));
    EXPECT_TRUE(opened.ok()) << opened.status();
    journal = *std::move(opened);
    checkpoints = std::make_unique<CheckpointWriter>(node->io(), options.directory);
    const task::Scheduler::Scope scope(node->scheduler());
    sync = std::make_unique<JournalSync>(node->io(), *journal, *checkpoints,
                                         with_group ? &group : nullptr,
                                         JournalReclaimOptions{.sync_path = kSyncPath});
    for (uint32_t i = 0; i < logs; ++i) {
      this->logs.push_back(std::make_unique<FakeLog>(node->io(), *journal, *sync, i));
    }
    for (auto& log : this->logs) node->Start("open", log->Open());
    world.RunFor(20 * kMilli);
    flush_rule = world.faults().Add({.kind = FaultKind::kDelay,
                                     .codes = {io::OpCode::kSync},
                                     .path = kSyncPath,
                                     .count = sim::Faults::kAlways,
                                     .delay_ns = 1,
                                     .hook = [this] {
                                       if (group.calls > 0) world.disk().SyncEverything();
                                     }});
  }
  ~Bench() {
    node.reset();
    logs.clear();
    sync.reset();
    journal.reset();
  }

  void Append(size_t log, size_t bytes) {
    if (!logs[log]->busy()) node->Start("append", Drop(logs[log]->Append(bytes)));
  }
  void Truncate(size_t log) {
    FakeLog& target = *logs[log];
    if (target.busy() || target.acked.empty()) return;
    const FakeLog::Sent& at = target.acked[target.acked.size() / 2];
    node->Start("truncate", Drop(target.Truncate(at.offset, at.position)));
  }
  static task::Task<void> Drop(task::Task<bool> task) {
    static_cast<void>(co_await std::move(task));
  }

  std::optional<Checkpoint> Newest() {
    std::optional<Checkpoint> newest;
    for (uint32_t slot = 0; slot < 2; ++slot) {
      const auto bytes =
          world.disk().DurableContent(options.directory + "/" + CheckpointFileName(slot));
      if (!bytes.has_value()) continue;
      auto read = DecodeCheckpoint(base::AsBytes(*bytes));
      if (read.ok() && (!newest || newest->header.number < read->header.number)) {
        newest = *std::move(read);
      }
    }
    return newest;
  }

  // J1, J3, J4 as a reader after a power cut sees them: each acknowledged append is in its segment,
  // if the newest checkpoint says so, else in a frame that the checkpoint keeps.
  void ExpectAckedSurvive() {
    const auto checkpoint = Newest();
    const auto frames = FindFrames(world.disk(), options);
    for (size_t i = 0; i < logs.size(); ++i) {
      uint64_t sync_seq = 0;
      bool poisoned = false;
      if (checkpoint.has_value()) {
        for (const CheckpointRecord& record : checkpoint->records) {
          if (record.partition != i) continue;
          sync_seq = record.sync_seq;
          poisoned = (record.flags & kRecordPoisoned) != 0;
        }
      }
      const std::string segment = world.disk().DurableContent(logs[i]->path()).value_or("");
      for (const FakeLog::Sent& sent : logs[i]->acked) {
        if (sent.seq <= sync_seq) {
          ASSERT_TRUE(segment.size() >= sent.position + sent.bytes.size() &&
                      segment.compare(sent.position, sent.bytes.size(), sent.bytes) == 0)
              << "log " << i << " offset " << sent.offset << " is not in place, S is " << sync_seq
              << "\n"
              << world.Report();
          continue;
        }
        const auto found = frames.find(sent.seq);
        ASSERT_TRUE(found != frames.end()) << "log " << i << " offset " << sent.offset << ": frame "
                                           << sent.seq << " is gone, S is " << sync_seq << "\n"
                                           << world.Report();
        if (!checkpoint.has_value()) continue;
        const HeldFile file = {options.run, 0, found->second.file_number, 0};
        const bool kept =
            file.file_number >= checkpoint->header.tail_file ||
            (poisoned && std::count(checkpoint->held.begin(), checkpoint->held.end(), file) > 0);
        ASSERT_TRUE(kept) << "log " << i << " offset " << sent.offset << ": its frame is below the "
                          << "tail";
      }
    }
  }

  SimWorld world;
  JournalOptions options;
  FakeFileSystemSync group;
  std::unique_ptr<Journal> journal;
  std::unique_ptr<CheckpointWriter> checkpoints;
  std::unique_ptr<JournalSync> sync;
  std::vector<std::unique_ptr<FakeLog>> logs;
  int flush_rule = 0;
  std::optional<SimNode> node;
};

TEST(JournalSyncTest, IdleMeansAllSyncedAndSilence) {
  Bench bench(1, 3);
  for (size_t i = 0; i < 3; ++i) bench.Append(i, 100);
  bench.world.RunFor(1000 * kMilli);
  for (const auto& log : bench.logs) {
    EXPECT_EQ(log->acked.size(), 1u);
    EXPECT_EQ(log->syncs, 0u);  // it is in the journal; there is time
  }
  bench.world.RunFor(30'000 * kMilli);
  for (const auto& log : bench.logs) EXPECT_EQ(log->syncs, 1u);
  const auto checkpoint = bench.Newest();
  ASSERT_TRUE(checkpoint.has_value());
  ASSERT_EQ(checkpoint->records.size(), 3u);
  EXPECT_EQ(checkpoint->records[1].offset, 1u);
  EXPECT_EQ(checkpoint->records[1].position, 100u);
  EXPECT_GE(checkpoint->records[1].sync_seq, 1u);
  EXPECT_EQ(bench.node->scheduler().next_deadline(), base::kNever);
  EXPECT_EQ(bench.node->scheduler().root_count(), 0u);
}

TEST(JournalSyncTest, ReclaimKeepsUpOverManyLaps) {
  Bench bench(1, 4);
  for (int i = 0; i < 400; ++i) {
    bench.Append(static_cast<size_t>(i) % 4, 9'000);
    bench.world.RunFor(kMilli / 2);
  }
  bench.world.RunFor(100 * kMilli);
  size_t acked = 0;
  for (const auto& log : bench.logs) acked += log->acked.size();
  EXPECT_GT(acked, 350u);
  EXPECT_GT(bench.journal->metrics().rotations, 12u);
  EXPECT_EQ(bench.journal->state(), Journal::State::kOpen);
  bench.world.PowerCut({PowerCutPolicy::kNone, 512});
  bench.ExpectAckedSurvive();
}

// An idle partition's one old entry keeps its file; the others' syncs must not free it.
TEST(JournalSyncTest, TailIsTheLeastOfAllPartitions) {
  Bench bench(1, 2);
  // Its segment cannot be synced: the sync hangs.
  bench.world.faults().Add(
      {.kind = FaultKind::kHang, .codes = {io::OpCode::kSync}, .path = "t-0.log"});
  bench.Append(0, 500);
  for (int i = 0; i < 200; ++i) {
    bench.Append(1, 9'000);
    bench.world.RunFor(kMilli);
  }
  EXPECT_EQ(bench.sync->tail_file(), 1u);
  EXPECT_EQ(bench.journal->state(), Journal::State::kStalled);
  bench.world.PowerCut({PowerCutPolicy::kNone, 512});
  bench.ExpectAckedSurvive();
}

TEST(JournalSyncTest, FailedSyncPoisonsAndItsEntriesAreHeld) {
  JournalOptions options = SmallJournal();
  options.bytes_max = 8 * kTestFileBytes;
  Bench bench(1, 3, options);
  bench.world.faults().Add(
      {.kind = FaultKind::kFailSync, .codes = {io::OpCode::kSync}, .path = "t-0.log"});
  for (int i = 0; i < 5; ++i) {
    bench.Append(0, 3'000);
    bench.world.RunFor(kMilli);
  }
  for (int i = 0; i < 300; ++i) {
    bench.Append(1 + static_cast<size_t>(i) % 2, 9'000);
    bench.world.RunFor(kMilli);
  }
  EXPECT_TRUE(bench.logs[0]->poisoned);
  EXPECT_EQ(bench.logs[0]->syncs, 1u);  // never again
  EXPECT_FALSE(bench.logs[1]->poisoned);
  EXPECT_EQ(bench.journal->state(), Journal::State::kOpen);
  EXPECT_GT(bench.journal->head_file(), 4u);
  EXPECT_EQ(bench.journal->held_bytes(), kTestFileBytes);
  const auto checkpoint = bench.Newest();
  ASSERT_TRUE(checkpoint.has_value());
  EXPECT_EQ(checkpoint->held, (std::vector<HeldFile>{{options.run, 0, 1, 0}}));
  EXPECT_EQ(checkpoint->records[0].flags, kRecordPoisoned);
  bench.world.PowerCut({PowerCutPolicy::kNone, 512});
  bench.ExpectAckedSurvive();
}

TEST(JournalSyncTest, SyncThatEndsAfterATruncationIsDiscarded) {
  Bench bench(1, 2);
  for (int i = 0; i < 8; ++i) {
    bench.Append(0, 3'000);
    bench.world.RunFor(kMilli);
  }
  const int rule = bench.world.faults().Add(
      {.kind = FaultKind::kHang, .codes = {io::OpCode::kSync}, .path = "t-0.log"});
  // Due by its age.
  bench.world.RunFor(11'000 * kMilli);
  ASSERT_EQ(bench.logs[0]->syncs, 1u);
  bench.Truncate(0);
  bench.world.RunFor(5 * kMilli);
  bench.world.faults().Release(rule);
  bench.world.RunFor(5 * kMilli);
  EXPECT_EQ(bench.sync->metrics().discarded, 1u);
  bench.world.RunFor(30'000 * kMilli);
  EXPECT_FALSE(bench.logs[0]->partition().has_live_entries());
  EXPECT_EQ(bench.Newest()->records[0].position, bench.logs[0]->position());
}

TEST(JournalSyncTest, ManyPartitionsAreSyncedAsAGroup) {
  Bench bench(1, 24, SmallJournal(), /*with_group=*/true);
  for (int round = 0; round < 12; ++round) {
    for (size_t i = 0; i < 24; ++i) bench.Append(i, 2'000);
    bench.world.RunFor(5 * kMilli);
  }
  EXPECT_GT(bench.sync->metrics().group_syncs, 0u);
  EXPECT_GT(bench.group.calls, 0);
  EXPECT_EQ(bench.world.faults().fired(bench.flush_rule), bench.sync->metrics().group_syncs);
  bench.world.PowerCut({PowerCutPolicy::kNone, 512});
  bench.ExpectAckedSurvive();
}

TEST(JournalSyncTest, FailedGroupSyncFallsBackToEach) {
  Bench bench(1, 24, SmallJournal(), /*with_group=*/true);
  bench.group.answer = absl::DataLossError("syncfs: Input/output error");
  bench.world.faults().Add(
      {.kind = FaultKind::kFailSync, .codes = {io::OpCode::kSync}, .path = "t-3.log"});
  for (int round = 0; round < 12; ++round) {
    for (size_t i = 0; i < 24; ++i) bench.Append(i, 2'000);
    bench.world.RunFor(5 * kMilli);
  }
  EXPECT_GT(bench.sync->metrics().group_syncs, 0u);
  EXPECT_TRUE(bench.logs[3]->poisoned);
  EXPECT_FALSE(bench.logs[4]->poisoned);
  bench.world.PowerCut({PowerCutPolicy::kNone, 512});
  bench.ExpectAckedSurvive();
}

TEST(JournalSyncTest, FailedCheckpointFreesNothing) {
  Bench bench(1, 2);
  bench.world.faults().Add({.kind = FaultKind::kError,
                            .codes = {io::OpCode::kWrite},
                            .path = "checkpoint",
                            .count = sim::Faults::kAlways});
  for (int i = 0; i < 200; ++i) {
    bench.Append(static_cast<size_t>(i) % 2, 9'000);
    bench.world.RunFor(kMilli);
  }
  EXPECT_EQ(bench.journal->state(), Journal::State::kStalled);
  EXPECT_EQ(bench.journal->ready_files(), 0u);
  bench.world.faults().Clear();
  bench.world.RunFor(3000 * kMilli);
  EXPECT_EQ(bench.journal->state(), Journal::State::kOpen);  // and nothing had failed
  EXPECT_FALSE(bench.logs[0]->failed);
  bench.world.PowerCut({PowerCutPolicy::kNone, 512});
  bench.ExpectAckedSurvive();
}

TEST(JournalSyncTest, CleanStopSyncsAll) {
  Bench bench(1, 5);
  for (int i = 0; i < 20; ++i) {
    bench.Append(static_cast<size_t>(i) % 5, 2'000);
    bench.world.RunFor(kMilli);
  }
  bench.node->Run(bench.sync->Stop());
  EXPECT_TRUE(bench.node->Run(bench.sync->SyncAll()).ok());
  bench.node->Run(bench.journal->Stop());
  const auto checkpoint = bench.Newest();
  ASSERT_TRUE(checkpoint.has_value());
  ASSERT_EQ(checkpoint->records.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(checkpoint->records[i].position, bench.logs[i]->position());
    const std::string segment = *bench.world.disk().DurableContent(bench.logs[i]->path());
    EXPECT_EQ(segment.size(), bench.logs[i]->position());
  }
}

TEST(JournalSyncTest, RemovedAndCarried) {
  Bench bench(1, 1);
  const CheckpointRecord old = {.topic_id = TestId(9), .partition = 4, .flags = kRecordRefused};
  bench.sync->SetCarried({old}, {{2, 0, 7, 0}});
  bench.Append(0, 100);
  bench.world.RunFor(20'000 * kMilli);
  bench.node->Run(bench.sync->Remove(&bench.logs[0]->partition()));
  EXPECT_TRUE(bench.node->Run(bench.sync->WriteCheckpoint()).ok());
  const auto checkpoint = bench.Newest();
  ASSERT_TRUE(checkpoint.has_value());
  ASSERT_EQ(checkpoint->records.size(), 1u);
  EXPECT_EQ(checkpoint->records[0].flags, kRecordRefused);
  EXPECT_EQ(checkpoint->held, (std::vector<HeldFile>{{2, 0, 7, 0}}));
}

TEST(JournalSyncTest, WhatNeverHadAnythingIsOnRecord) {
  Bench bench(1, 2);
  bench.Append(0, 100);
  bench.world.RunFor(20'000 * kMilli);
  const auto checkpoint = bench.Newest();
  ASSERT_TRUE(checkpoint.has_value());
  ASSERT_EQ(checkpoint->records.size(), 2u);
  EXPECT_EQ(checkpoint->records[1].offset, 0u);
  EXPECT_EQ(checkpoint->records[1].sync_seq, bench.journal->durable_seq());
}

// One op of a frame is done, the next is not: R is the end before both.
TEST(JournalSyncTest, MarkIsTheEndBelowTheFirstOpThatIsNotDone) {
  Bench bench(1, 1);
  bench.Append(0, 100);
  bench.world.RunFor(kMilli);
  JournalPartition& partition = bench.logs[0]->partition();
  const task::Scheduler::Scope scope(bench.node->scheduler());
  const auto stage = [&](uint64_t offset, uint32_t position) {
    EntryHeader entry = {.type = static_cast<uint8_t>(EntryType::kAppend),
                         .base_offset = offset,
                         .end_offset = offset + 1,
                         .position = position};
    return partition.Stage(entry, base::AsBytes(std::string(50, 'x')));
  };
  const auto first = stage(1, 100);
  const auto second = stage(2, 150);
  EXPECT_EQ(first.seq, second.seq);
  partition.Applied(first.op);
  bench.world.RunFor(kMilli);
  EXPECT_EQ(partition.durable_end(), (LogEnd{2, 0, 150}));
  JournalPartition::Mark mark = partition.Take();
  EXPECT_EQ(mark.seq, first.seq - 1);
  EXPECT_EQ(mark.end, (LogEnd{1, 0, 100}));
  partition.Applied(second.op);
  mark = partition.Take();
  EXPECT_EQ(mark.seq, first.seq);
  EXPECT_EQ(mark.end, (LogEnd{3, 0, 200}));
}

// No space for the segment half: the op counts for nothing, the TRUNCATE behind it is in order.
TEST(JournalSyncTest, AbandonedOpMovesNoEnd) {
  Bench bench(1, 1);
  bench.Append(0, 100);
  bench.world.RunFor(kMilli);
  JournalPartition& partition = bench.logs[0]->partition();
  const task::Scheduler::Scope scope(bench.node->scheduler());
  const auto stage = [&](EntryType type, uint64_t offset, uint32_t position, size_t bytes) {
    EntryHeader entry = {.type = static_cast<uint8_t>(type),
                         .base_offset = offset,
                         .end_offset = offset + (bytes > 0 ? 1 : 0),
                         .position = position};
    return partition.Stage(entry, base::AsBytes(std::string(bytes, 'x')));
  };
  const auto failed = stage(EntryType::kAppend, 1, 100, 50);
  partition.Abandoned(failed.op);
  bench.world.RunFor(kMilli);
  EXPECT_EQ(partition.pending_ops(), 0u);
  EXPECT_EQ(partition.durable_end(), (LogEnd{1, 0, 100}));
  EXPECT_EQ(bench.logs[0]->acked.size(), 1u);
  const auto cut = stage(EntryType::kTruncate, 1, 100, 0);
  const auto next = stage(EntryType::kAppend, 1, 100, 70);
  partition.Applied(next.op);
  bench.world.RunFor(kMilli);
  EXPECT_EQ(partition.pending_ops(), 2u);  // in order: the cut has not been made yet
  EXPECT_EQ(partition.Take().seq, cut.seq - 1);
  partition.Applied(cut.op);
  EXPECT_EQ(partition.durable_end(), (LogEnd{2, 0, 170}));
}

TEST(JournalSyncTest, MarksOfEachEntryTypeReachTheRecord) {
  Bench bench(1, 1);
  bench.Append(0, 100);
  bench.world.RunFor(kMilli);
  JournalPartition& partition = bench.logs[0]->partition();
  const auto apply = [&](EntryHeader entry, EntryType type) {
    const task::Scheduler::Scope scope(bench.node->scheduler());
    entry.type = static_cast<uint8_t>(type);
    const auto staged = partition.Stage(entry, base::ByteView());
    ASSERT_TRUE(staged.ok());
    partition.Applied(staged.op);
  };
  apply({.leader_epoch = 9, .base_offset = 1}, EntryType::kEpoch);
  apply({.base_offset = 1}, EntryType::kTrim);
  apply({.flags = kInPlacePageCache, .end_offset = 40, .segment_base = 30, .position = 100},
        EntryType::kInPlace);
  bench.world.RunFor(20'000 * kMilli);
  auto checkpoint = bench.Newest();
  ASSERT_TRUE(checkpoint.has_value() && checkpoint->records.size() == 1);
  const CheckpointRecord record = checkpoint->records[0];
  EXPECT_EQ(record.leader_epoch, 9u);
  EXPECT_EQ(record.log_start, 1u);
  EXPECT_EQ(record.flags, kRecordPageCache);
  EXPECT_EQ(record.offset, 40u);
  EXPECT_EQ(record.segment_base, 30u);
  {
    const task::Scheduler::Scope scope(bench.node->scheduler());
    partition.SyncedTo({50, 30, 90});
  }
  ASSERT_TRUE(bench.node->Run(bench.sync->WriteCheckpoint()).ok());
  EXPECT_EQ(bench.Newest()->records[0].position, 90u);
  EXPECT_EQ(bench.Newest()->records[0].sync_seq, record.sync_seq);
  apply({}, EntryType::kDrop);
  bench.world.RunFor(20'000 * kMilli);
  EXPECT_TRUE(partition.dropped());
  EXPECT_TRUE(bench.Newest()->records.empty());
}

// A clean stop closes the log while the reclaim of an older entry still waits for its sync.
TEST(JournalSyncTest, SyncThatEndsLateTakesNoSyncedEndBack) {
  Bench bench(1, 1);
  bench.Append(0, 100);
  bench.world.RunFor(kMilli);
  JournalPartition& partition = bench.logs[0]->partition();
  {
    const task::Scheduler::Scope scope(bench.node->scheduler());
    const auto staged = partition.Stage({.type = static_cast<uint8_t>(EntryType::kInPlace),
                                         .flags = kInPlacePageCache,
                                         .end_offset = 40,
                                         .segment_base = 30,
                                         .position = 80},
                                        base::ByteView());
    ASSERT_TRUE(staged.ok());
    partition.Applied(staged.op);
  }
  const int rule = bench.world.faults().Add(
      {.kind = FaultKind::kHang, .codes = {io::OpCode::kSync}, .path = "t-0.log"});
  bench.world.RunFor(11'000 * kMilli);  // due by its age
  ASSERT_EQ(bench.logs[0]->syncs, 1u);
  {
    const task::Scheduler::Scope scope(bench.node->scheduler());
    partition.SyncedTo({50, 30, 90});
  }
  bench.world.faults().Release(rule);
  bench.world.RunFor(5 * kMilli);
  EXPECT_FALSE(partition.has_live_entries());
  ASSERT_TRUE(bench.node->Run(bench.sync->WriteCheckpoint()).ok());
  EXPECT_EQ(bench.Newest()->records[0].offset, 50u);
  EXPECT_EQ(bench.Newest()->records[0].position, 90u);
}

// A start goes by an entry that still counts, whatever the record says that was synced since: where
// that lets the log end, its segment must be there.
TEST(JournalSyncTest, WhatAnEntryNamesMayBeRewrittenOnceItCountsNoMore) {
  Bench bench(1, 1);
  bench.Append(0, 100);
  bench.world.RunFor(kMilli);
  JournalPartition& partition = bench.logs[0]->partition();
  const auto apply = [&](EntryType type, uint8_t flags, const LogEnd& end) {
    const task::Scheduler::Scope scope(bench.node->scheduler());
    const auto staged = partition.Stage({.type = static_cast<uint8_t>(type),
                                         .flags = flags,
                                         .end_offset = end.offset,
                                         .segment_base = end.segment_base,
                                         .position = end.position},
                                        base::ByteView());
    ASSERT_TRUE(staged.ok());
    partition.Applied(staged.op);
  };
  const auto settle = [&] { return bench.node->Run(bench.sync->Settle(&partition)); };
  const auto synced_to = [&](const LogEnd& end) {
    {
      const task::Scheduler::Scope scope(bench.node->scheduler());
      partition.SyncedTo(end);
    }
    for (int slot = 0; slot < 2; ++slot) {
      ASSERT_TRUE(bench.node->Run(bench.sync->WriteCheckpoint()).ok());
    }
    ASSERT_EQ(bench.Newest()->records[0].segment_base, end.segment_base);
  };
  apply(EntryType::kInPlace, kInPlacePageCache, {40, 30, 80});
  bench.world.RunFor(20'000 * kMilli);
  ASSERT_FALSE(partition.has_live_entries());
  ASSERT_TRUE(settle().ok());
  EXPECT_EQ(partition.settled_segment(), 30u);

  apply(EntryType::kTruncate, 0, {25, 20, 50});
  bench.world.RunFor(kMilli);
  synced_to({70, 60, 90});  // two segments were filled since
  EXPECT_EQ(partition.settled_segment(), 20u);
  const uint64_t checkpoints = bench.sync->metrics().checkpoints;
  ASSERT_TRUE(settle().ok());
  EXPECT_EQ(bench.sync->metrics().checkpoints, checkpoints) << "nothing new to say";

  bench.world.RunFor(20'000 * kMilli);  // synced in place
  ASSERT_FALSE(partition.has_live_entries());
  ASSERT_TRUE(settle().ok());
  EXPECT_EQ(partition.settled_segment(), 60u);

  apply(EntryType::kInPlace, kInPlacePageCache, {70, 60, 90});
  bench.world.RunFor(kMilli);
  synced_to({90, 80, 10});
  apply(EntryType::kInPlace, kInPlacePageCache, {90, 80, 10});
  bench.world.RunFor(kMilli);
  synced_to({95, 92, 10});
  EXPECT_EQ(partition.settled_segment(), 60u);
  bench.world.RunFor(20'000 * kMilli);
  ASSERT_TRUE(settle().ok());
  EXPECT_EQ(partition.settled_segment(), 92u);
}

TEST(JournalSyncDeathTest, EntryThatDoesNotContinueTheLog) {
  Bench bench(1, 1);
  bench.Append(0, 100);
  bench.world.RunFor(kMilli);
  const task::Scheduler::Scope scope(bench.node->scheduler());
  JournalPartition& partition = bench.logs[0]->partition();
  EntryHeader entry = {.type = static_cast<uint8_t>(EntryType::kAppend),
                       .base_offset = 1,
                       .end_offset = 2,
                       .position = 150};
  EXPECT_DEATH(partition.Stage(entry, base::AsBytes("x")), "Continues");
  entry.position = 0;
  entry.segment_base = 1;
  EXPECT_TRUE(partition.Stage(entry, base::AsBytes("x")).ok());  // rolled
}

// Random appends and truncations, laps, slow and failing syncs, then a power cut at a random write
// or sync; everything acknowledged must be found.
TEST(JournalSyncTest, RandomOperationsAndPowerCuts) {
  sim::ForSeeds(150, [](uint64_t seed) {
    JournalOptions options = SmallJournal();
    options.depth = 1 + seed % 3;
    Bench bench(seed, 6, options);
    sim::Rng& rng = bench.world.rng();
    bench.world.faults().Add({.kind = FaultKind::kDelay,
                              .codes = {io::OpCode::kSync, io::OpCode::kWrite},
                              .count = sim::Faults::kAlways,
                              .probability = 0.2,
                              .delay_ns = kMilli * 2});
    if (seed % 4 == 0) {
      bench.world.faults().Add({.kind = FaultKind::kFailSync,
                                .codes = {io::OpCode::kSync},
                                .path = "t-",
                                .skip = seed % 11});
    }
    if (seed % 5 == 0) {
      bench.world.faults().Add({.kind = FaultKind::kError,
                                .codes = {io::OpCode::kWrite},
                                .path = ".journal",
                                .skip = 40 + seed});
    }
    bench.world.faults().Add({.kind = FaultKind::kPause,
                              .codes = {io::OpCode::kSync, io::OpCode::kWrite},
                              .skip = 50 + seed * 7});
    for (int i = 0; i < 300; ++i) {
      const size_t log = rng.Below(6);
      if (rng.Below(30) == 0) {
        bench.Truncate(log);
      } else {
        bench.Append(log, 1 + rng.Below(9'000));
      }
      bench.world.RunFor(kMilli / 2);
    }
    const PowerCutPolicy policies[] = {{PowerCutPolicy::kNone, 512},
                                       {PowerCutPolicy::kSubset, 512},
                                       {PowerCutPolicy::kSubset, 4096},
                                       {PowerCutPolicy::kPrefix, 512},
                                       {PowerCutPolicy::kAll, 512}};
    bench.world.PowerCut(policies[seed % 5]);
    bench.ExpectAckedSurvive();
  });
}

task::Task<void> RunOnTheRealKernel(io::Backend& io, std::string directory) {
  JournalOptions options;
  options.directory = directory + "/core-0000";
  options.dir_id = TestId(9);
  options.file_bytes = 2 << 20;
  options.bytes_max = 8 << 20;
  auto opened = co_await Journal::Open(io, options);
  EXPECT_TRUE(opened.ok()) << opened.status();
  if (!opened.ok()) co_return;
  Journal& journal = **opened;
  CheckpointWriter checkpoints(io, options.directory);
  JournalSync sync(io, journal, checkpoints, nullptr, {.sync_path = directory + "/sync"});
  std::vector<std::unique_ptr<FakeLog>> logs;
  for (uint32_t i = 0; i < 4; ++i) {
    logs.push_back(std::make_unique<FakeLog>(io, journal, sync, i, directory));
    co_await logs.back()->Open();
  }
  for (int round = 0; round < 120; ++round) {
    for (auto& log : logs) EXPECT_TRUE(co_await log->Append(40'000));
  }
  EXPECT_TRUE((co_await journal.WaitDurable(journal.staged_seq())).ok());
  co_await sync.Stop();
  EXPECT_TRUE((co_await sync.SyncAll()).ok());
  co_await journal.Stop();
  EXPECT_GT(journal.metrics().rotations, 6u);
  const auto read =
      co_await ReadCheckpointSlot(io, options.directory, (checkpoints.durable_number() + 1) % 2);
  EXPECT_TRUE(read.ok()) << read.status();
  if (!read.ok()) co_return;
  EXPECT_EQ(read->header.number, checkpoints.durable_number());
  EXPECT_EQ(read->records.size(), 4u);
  for (const CheckpointRecord& record : read->records) EXPECT_EQ(record.offset, 120u);
  for (auto& log : logs) {
    EXPECT_EQ(log->acked.size(), 120u);
    co_await log->Shut();
  }
}

TEST(JournalSyncRing, OnTheRealKernel) {
  io::TestLoop loop;
  loop.Run(RunOnTheRealKernel(loop.backend(), io::MakeTestDirectory()));
}

// Entries that were pending when the journal closed are rolled back in the log, and an append that
// waits then is staged where the log ends now.
TEST(JournalSyncTest, AClosedJournalTakesNothingWhereverTheLogEnds) {
  Bench bench(1, 1);
  bench.world.faults().Add(
      {.kind = FaultKind::kError, .error = EIO, .codes = {io::OpCode::kWrite}, .path = ".journal"});
  bench.Append(0, 100);
  bench.world.RunFor(20 * kMilli);
  ASSERT_EQ(bench.journal->state(), Journal::State::kClosed);
  const task::Scheduler::Scope scope(bench.node->scheduler());
  const EntryHeader entry = {
      .type = static_cast<uint8_t>(EntryType::kAppend), .base_offset = 0, .end_offset = 1};
  const std::string payload(100, 'x');
  EXPECT_EQ(bench.logs[0]->partition().Stage(entry, base::AsBytes(payload)).error,
            StageError::kClosed);
}

}  // namespace
}  // namespace ringtail::log
