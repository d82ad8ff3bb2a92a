#include "engine/log/journal/journal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/file.h"
#include "tests/engine/io/test_loop.h"
#include "tests/engine/log/journal/journal_fixture.h"
#include "tests/sim/node.h"
#include "tests/sim/seeds.h"

namespace ringtail::log {
namespace {

using base::AsBytes;
using sim::FaultKind;
using sim::PowerCutPolicy;
using sim::SimNode;
using sim::SimWorld;
using State = Journal::State;

constexpr base::Nanos kMilli = base::kNanosPerMilli;

class JournalTest : public testing::Test {
 protected:
  void Begin(uint64_t seed = 1) {
    world_ = std::make_unique<SimWorld>(seed);
    world_->disk().Put("/data/journal/MANIFEST", "");
    StartNode();
  }
  void StartNode() { node_ = std::make_unique<SimNode>(*world_, world_->NewProcess("broker")); }
  void OpenJournal(JournalOptions options = SmallJournal()) {
    options_ = options;
    auto opened = node_->Run(Journal::Open(node_->io(), options));
    ASSERT_TRUE(opened.ok()) << opened.status();
    journal_ = *std::move(opened);
  }
  // Runs `body` as a task on the node.
  template <class Body>
  void Do(Body body) {
    const task::Scheduler::Scope scope(node_->scheduler());
    body();
  }
  StageResult Stage(uint64_t token, size_t bytes = 100, uint32_t partition = 1) {
    const task::Scheduler::Scope scope(node_->scheduler());
    const std::string payload(bytes, static_cast<char>('a' + token % 26));
    return journal_->Stage(TestAppend(partition, token), AsBytes(payload), &client_, token);
  }
  StageResult StageMark(uint64_t token) {
    const task::Scheduler::Scope scope(node_->scheduler());
    return journal_->Stage(TestMark(EntryType::kTruncate, 1, token), base::ByteView(), &client_,
                           token);
  }
  // The next `count` writes do not come back; returns the rule that holds them.
  int HangWrites(uint64_t count) {
    return world_->faults().Add({.kind = FaultKind::kHang,
                                 .codes = {io::OpCode::kWrite},
                                 .path = ".journal",
                                 .count = count});
  }
  void Settle() { world_->RunFor(5 * kMilli); }
  void Stop() { node_->Run(journal_->Stop()); }
  void TearDown() override {
    node_.reset();
    journal_.reset();
  }

  std::unique_ptr<SimWorld> world_;
  JournalOptions options_;
  TestClient client_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<SimNode> node_;
};

TEST_F(JournalTest, WhatIsStagedInOneTurnIsOneFrame) {
  Begin();
  OpenJournal();
  Settle();
  for (uint64_t token = 1; token <= 20; ++token) {
    const StageResult staged = Stage(token);
    ASSERT_TRUE(staged.ok());
    EXPECT_EQ(staged.seq, 1u);
  }
  EXPECT_TRUE(client_.durable.empty());
  Settle();
  ASSERT_EQ(client_.durable.size(), 20u);
  for (uint64_t i = 0; i < 20; ++i)
    EXPECT_EQ(client_.durable[i], std::make_pair(i + 1, uint64_t{1}));
  EXPECT_EQ(journal_->durable_seq(), 1u);
  EXPECT_EQ(journal_->metrics().frames, 1u);
  const auto frames = FindFrames(world_->disk(), options_);
  ASSERT_EQ(frames.size(), 1u);
  const FoundFrame& found = frames.at(1);
  ASSERT_EQ(found.frame.entries.size(), 20u);
  EXPECT_EQ(base::AsText(PayloadOf(AsBytes(found.bytes), found.frame.entries[4])),
            std::string(100, 'f'));
  Stop();
}

TEST_F(JournalTest, WhatComesMeanwhileJoinsTheNextFrame) {
  Begin();
  OpenJournal();
  Settle();
  const int rule = HangWrites(2);
  Stage(1);
  Settle();
  Stage(2);
  Settle();
  for (uint64_t token = 3; token <= 30; ++token) EXPECT_EQ(Stage(token).seq, 3u);
  Settle();
  EXPECT_EQ(journal_->next_seq(), 3u);  // two in flight, no more
  EXPECT_TRUE(client_.durable.empty());
  world_->faults().Release(rule);
  Settle();
  EXPECT_EQ(client_.durable.size(), 30u);
  EXPECT_EQ(journal_->metrics().frames, 3u);
  EXPECT_EQ(FindFrames(world_->disk(), options_).at(3).frame.header.durable_seq, 2u);
  Stop();
}

TEST_F(JournalTest, LaterFrameDoneFirstWaits) {
  Begin();
  OpenJournal();
  Settle();
  const int rule = HangWrites(1);
  Stage(1);
  Settle();
  Stage(2);
  Settle();
  ASSERT_EQ(FindFrames(world_->disk(), options_).count(2), 1u);  // it is on the medium
  EXPECT_TRUE(client_.durable.empty());
  EXPECT_EQ(journal_->durable_seq(), 0u);
  world_->faults().Release(rule);
  Settle();
  ASSERT_EQ(client_.durable.size(), 2u);
  EXPECT_EQ(client_.durable[0].first, 1u);
  Stop();
}

TEST_F(JournalTest, NothingIsToldBeforeTheFrameIsDurable) {
  Begin();
  OpenJournal();
  Settle();
  HangWrites(1);
  Stage(1);
  Settle();
  EXPECT_TRUE(client_.durable.empty());
  world_->PowerCut({PowerCutPolicy::kNone, 512});
  EXPECT_TRUE(FindFrames(world_->disk(), options_).empty());
}

TEST_F(JournalTest, AWriteThatDoesNotComeBackIsReported) {
  Begin();
  OpenJournal();
  Settle();
  const int rule = HangWrites(1);
  Stage(1);
  world_->RunFor(9000 * kMilli);
  EXPECT_EQ(journal_->metrics().late_frames, 0u);
  EXPECT_GE(journal_->oldest_write_ns(), 8999 * kMilli);
  world_->RunFor(60000 * kMilli);
  EXPECT_EQ(journal_->metrics().late_frames, 1u);
  world_->faults().Release(rule);
  Settle();
  EXPECT_EQ(client_.durable.size(), 1u);
  EXPECT_EQ(journal_->oldest_write_ns(), 0);
  // What follows is in time, however long ago the timer was set.
  Stage(2);
  world_->RunFor(60000 * kMilli);
  EXPECT_EQ(journal_->metrics().late_frames, 1u);
  Stop();
}

TEST_F(JournalTest, SealAfterAPauseThenSilence) {
  Begin();
  OpenJournal();
  Settle();
  Stage(1);
  Settle();
  EXPECT_EQ(journal_->metrics().seals, 0u);
  world_->RunFor(200 * kMilli);
  EXPECT_EQ(journal_->metrics().seals, 1u);
  const auto frames = FindFrames(world_->disk(), options_);
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames.at(2).frame.header.flags & kFrameFlagSeal, kFrameFlagSeal);
  EXPECT_EQ(FilesReady(frames.at(1).frame.header), 1u);
  EXPECT_EQ(FilesReady(frames.at(2).frame.header), 1u);
  EXPECT_EQ(frames.at(2).frame.header.durable_seq, 1u);
  EXPECT_EQ(node_->scheduler().next_deadline(), base::kNever);
  EXPECT_EQ(node_->scheduler().root_count(), 0u);
  Stop();
}

TEST_F(JournalTest, ShortWriteGoesOnFromTheLastBlock) {
  Begin();
  OpenJournal();
  Settle();
  world_->faults().Add(
      {.kind = FaultKind::kShort, .codes = {io::OpCode::kWrite}, .path = ".journal", .count = 1});
  Stage(1, 60'000);
  Settle();
  EXPECT_EQ(client_.durable.size(), 1u);
  EXPECT_EQ(journal_->metrics().short_writes, 1u);
  EXPECT_EQ(FindFrames(world_->disk(), options_).size(), 1u);
  Stop();
}

TEST_F(JournalTest, FailedWriteClosesAndIsNotTriedAgain) {
  for (const int error : {EIO, ENOSPC}) {
    Begin();
    OpenJournal();
    Settle();
    client_ = {};
    Stage(1);
    Settle();
    const int rule = world_->faults().Add({.kind = FaultKind::kError,
                                           .error = error,
                                           .codes = {io::OpCode::kWrite},
                                           .path = ".journal"});
    Stage(2);
    Settle();
    const int count =
        world_->faults().Add({.codes = {io::OpCode::kWrite}, .path = ".journal", .count = 0});
    EXPECT_EQ(journal_->state(), State::kClosed);
    EXPECT_FALSE(journal_->status().ok());
    EXPECT_EQ(client_.durable.size(), 1u);
    EXPECT_EQ(client_.failed, std::vector<uint64_t>{2});
    EXPECT_EQ(Stage(3).error, StageError::kClosed);
    EXPECT_FALSE(node_->Run(journal_->WaitDurable(2)).ok());
    world_->RunFor(1000 * kMilli);
    EXPECT_EQ(world_->faults().fired(rule), 1u);
    EXPECT_EQ(world_->faults().matched(count), 0u);
    Stop();
    TearDown();
  }
}

TEST_F(JournalTest, AWriteThatGetsNowhereTwiceIsAFailure) {
  for (const uint64_t times : {1, 2}) {
    Begin();
    OpenJournal();
    Settle();
    client_ = {};
    world_->faults().Add({.kind = FaultKind::kError,
                          .error = 0,
                          .codes = {io::OpCode::kWrite},
                          .path = ".journal",
                          .count = times});
    Stage(1);
    Settle();
    EXPECT_EQ(client_.durable.size(), times == 1 ? 1u : 0u);
    EXPECT_EQ(journal_->state(), times == 1 ? State::kOpen : State::kClosed);
    Stop();
    TearDown();
  }
}

// n+1 was written, n was not: neither counts.
TEST_F(JournalTest, FrameBehindAFailedOneFailsToo) {
  Begin();
  OpenJournal();
  Settle();
  const int rule = HangWrites(1);
  Stage(1);
  Settle();
  Stage(2);
  Settle();
  world_->faults().Add({.kind = FaultKind::kError, .codes = {io::OpCode::kWrite}, .count = 100});
  Stage(3);
  world_->faults().Release(rule);
  Settle();
  EXPECT_EQ(client_.durable.size(), 2u);
  EXPECT_EQ(client_.failed, std::vector<uint64_t>{3});
  Stop();
}

TEST_F(JournalTest, FullJournalStallsAndGoesOnAfterACheckpoint) {
  Begin();
  OpenJournal();
  Settle();
  uint64_t token = 0;
  while (Stage(token + 1, 8'000).ok()) {
    ++token;
    Settle();
  }
  EXPECT_EQ(journal_->state(), State::kStalled);
  EXPECT_EQ(journal_->ring_files(), 4u);  // it grew first
  EXPECT_EQ(client_.durable.size(), token);
  EXPECT_TRUE(client_.failed.empty());
  EXPECT_TRUE(StageMark(1000).ok());  // the reserve
  Settle();
  EXPECT_EQ(client_.durable.back().first, 1000u);

  bool room = false;
  node_->Start("waiter", [](Journal* journal, bool* room) -> task::Task<void> {
    *room = co_await journal->WaitForRoom(8'000, base::kNever);
  }(journal_.get(), &room));
  Settle();
  EXPECT_FALSE(room);
  Do([&] { journal_->CheckpointIsDurable(journal_->head_file(), {}); });
  Settle();
  EXPECT_TRUE(room);
  EXPECT_EQ(journal_->state(), State::kOpen);
  EXPECT_GT(journal_->metrics().stall_us, 0u);
  EXPECT_EQ(journal_->ready_files(), 3u);
  EXPECT_TRUE(Stage(token + 1, 8'000).ok());
  Settle();
  EXPECT_TRUE(client_.failed.empty());
  Stop();
}

// The ring laps three times; only what a durable checkpoint gave free is overwritten.
TEST_F(JournalTest, LapsKeepWhatIsLive) {
  Begin();
  OpenJournal();
  Settle();
  for (uint64_t token = 1; token < 250; ++token) {
    ASSERT_TRUE(Stage(token, 8'000).ok()) << token;
    Settle();
    if (token % 10 != 0) continue;
    const uint32_t head = journal_->head_file();
    const uint32_t tail = std::max<uint32_t>(1, head - std::min<uint32_t>(head, 1));
    Do([&] { journal_->CheckpointIsDurable(tail, {}); });
    Settle();
    const auto frames = FindFrames(world_->disk(), options_);
    for (uint64_t seq = journal_->first_seq_of(tail); seq <= journal_->durable_seq(); ++seq) {
      ASSERT_EQ(frames.count(seq), 1u) << seq;
    }
  }
  EXPECT_GT(journal_->metrics().rotations, 12u);
  Stop();
}

TEST_F(JournalTest, HeldFileLeavesTheRing) {
  Begin();
  JournalOptions options = SmallJournal();
  options.bytes_max = 3 * kTestFileBytes;
  OpenJournal(options);
  Settle();
  for (uint64_t token = 1; token < 20; ++token) ASSERT_TRUE(Stage(token, 8'000).ok());
  Settle();
  ASSERT_EQ(journal_->head_file(), 2u);
  const auto before = FindFrames(world_->disk(), options_);
  Do([&] { journal_->CheckpointIsDurable(2, {{options.run, 0, 1, 0}}); });
  Settle();
  EXPECT_EQ(journal_->held_bytes(), kTestFileBytes);
  EXPECT_EQ(journal_->ring_files(), 2u);
  for (uint64_t token = 20; token < 60 && Stage(token, 8'000).ok(); ++token) {
    Settle();
    Do([&] { journal_->CheckpointIsDurable(journal_->head_file(), {{options.run, 0, 1, 0}}); });
    Settle();
  }
  EXPECT_GT(journal_->head_file(), 3u);
  const auto after = FindFrames(world_->disk(), options_);
  for (const auto& [seq, frame] : before) {
    if (frame.file_number == 1) EXPECT_EQ(after.count(seq), 1u) << seq;
  }
  // A second one is more than the limit allows.
  const uint32_t held = journal_->head_file();
  while (journal_->head_file() == held) {
    ASSERT_TRUE(Stage(100, 8'000).ok());
    Settle();
  }
  Do([&] {
    journal_->CheckpointIsDurable(held + 1, {{options.run, 0, 1, 0}, {options.run, 0, held, 0}});
  });
  EXPECT_EQ(journal_->state(), State::kClosed);
  Stop();
}

TEST_F(JournalTest, GrowsAsFarAsTheReserveOfTheDiskAllows) {
  Begin();
  world_->disk().set_capacity_bytes(2 * kTestFileBytes + (100 << 10));
  DiskReserve reserve(node_->io(), {.directory = "/data", .bytes = 64 << 10});
  EXPECT_FALSE(reserve.HasSpareFor(2 * kTestFileBytes + (50 << 10)));
  JournalOptions options = SmallJournal();
  options.reserve = &reserve;
  OpenJournal(options);  // the first two files take what they need
  Settle();
  EXPECT_EQ(journal_->ring_files(), 2u);
  uint64_t token = 0;
  while (Stage(token + 1, 8'000).ok()) {
    ++token;
    Settle();
  }
  EXPECT_EQ(journal_->state(), State::kStalled);
  EXPECT_EQ(journal_->ring_files(), 2u);
  world_->disk().set_capacity_bytes(4 * kTestFileBytes);
  reserve.Look();
  Do([&] { journal_->CheckpointIsDurable(2, {}); });
  Settle();
  EXPECT_EQ(journal_->state(), State::kOpen);
  for (int i = 0; i < 8; ++i) {
    EXPECT_TRUE(Stage(++token, 8'000).ok());
    Settle();
  }
  EXPECT_EQ(journal_->ring_files(), 3u) << "there is space for one more";
  EXPECT_TRUE(client_.failed.empty());
  Stop();
}

TEST_F(JournalTest, FullDiskStallsAndGoesOnWithSpace) {
  Begin();
  OpenJournal();
  Settle();
  world_->disk().set_capacity_bytes(2 * kTestFileBytes + (64 << 10));
  uint64_t token = 0;
  while (Stage(token + 1, 8'000).ok()) {
    ++token;
    Settle();
  }
  EXPECT_EQ(journal_->state(), State::kStalled);
  EXPECT_EQ(journal_->ring_files(), 2u);
  world_->RunFor(3000 * kMilli);
  EXPECT_EQ(journal_->state(), State::kStalled);
  world_->disk().set_capacity_bytes(int64_t{1} << 30);
  world_->RunFor(3000 * kMilli);
  EXPECT_EQ(journal_->state(), State::kOpen);
  EXPECT_TRUE(Stage(token + 1, 8'000).ok());
  Settle();
  EXPECT_EQ(client_.durable.size(), token + 1);
  EXPECT_TRUE(client_.failed.empty());
  Stop();
}

TEST_F(JournalTest, WithoutDirectWritesEachFrameIsSynced) {
  Begin();
  world_->faults().Add({.kind = FaultKind::kError,
                        .error = EINVAL,
                        .codes = {io::OpCode::kOpen},
                        .path = ".journal",
                        .count = 1});
  OpenJournal();
  Settle();
  EXPECT_EQ(journal_->sync_mode(), JournalSyncMode::kFdatasync);
  Settle();
  Stage(1);
  Settle();
  ASSERT_EQ(client_.durable.size(), 1u);
  EXPECT_EQ(FindFrames(world_->disk(), options_).size(), 1u);
  // A failed sync is a failed frame.
  world_->faults().Add({.kind = FaultKind::kFailSync, .codes = {io::OpCode::kSync}, .count = 1});
  Stage(2);
  Settle();
  EXPECT_EQ(journal_->state(), State::kClosed);
  EXPECT_EQ(client_.failed, std::vector<uint64_t>{2});
  Stop();
}

TEST_F(JournalTest, NextRunRecyclesTheFilesButNotHeldOnes) {
  Begin();
  OpenJournal();
  Settle();
  for (uint64_t token = 1; token < 30; ++token) Stage(token, 8'000);
  Settle();
  Stop();
  const std::string held = options_.directory + "/0.journal";
  const std::string before = *world_->disk().Content(held);
  JournalOptions options = SmallJournal();
  options.run = 4;
  options.held.push_back({{3, 0, 1, 0}, held, kTestFileBytes});
  OpenJournal(options);
  Settle();
  EXPECT_TRUE(FindFrames(world_->disk(), options).empty());  // old frames do not exist
  for (uint64_t token = 1; token < 10; ++token) EXPECT_TRUE(Stage(token, 8'000).ok());
  Settle();
  EXPECT_EQ(FindFrames(world_->disk(), options).begin()->first, 1u);
  EXPECT_EQ(*world_->disk().Content(held), before);
  EXPECT_EQ(journal_->held_bytes(), kTestFileBytes);
  Stop();
}

TEST_F(JournalTest, TooLargeAndDetached) {
  Begin();
  OpenJournal();
  Settle();
  EXPECT_EQ(Stage(1, journal_->payload_bytes_max() + 8).error, StageError::kTooLarge);
  EXPECT_TRUE(Stage(2, 30'000).ok());
  Do([&] { journal_->Detach(&client_); });
  Settle();
  EXPECT_TRUE(client_.durable.empty());
  EXPECT_EQ(journal_->durable_seq(), 1u);
  Stop();
}

// The frame fills up while two are in flight: callers wait, nobody fails, order stays.
TEST_F(JournalTest, FullFrameMakesCallersWait) {
  Begin();
  OpenJournal();
  Settle();
  int done = 0;
  for (uint64_t writer = 0; writer < 6; ++writer) {
    node_->Start(
        "writer",
        [](Journal* journal, TestClient* client, uint64_t writer, int* done) -> task::Task<void> {
          const std::string payload(50'000, 'x');
          for (uint64_t i = 0; i < 3; ++i) {
            for (;;) {
              const uint64_t token = writer * 100 + i;
              const StageResult staged =
                  journal->Stage(TestAppend(1, token), AsBytes(payload), client, token);
              if (staged.ok()) break;
              EXPECT_NE(staged.error, StageError::kClosed);
              if (!co_await journal->WaitForRoom(payload.size(), base::kNever)) co_return;
              if (journal->state() == State::kStalled) {
                journal->CheckpointIsDurable(journal->head_file(), {});
              }
            }
          }
          ++*done;
        }(journal_.get(), &client_, writer, &done));
  }
  for (int i = 0; i < 200 && done < 6; ++i) {
    Settle();
    Do([&] { journal_->CheckpointIsDurable(journal_->head_file(), {}); });
  }
  Settle();
  EXPECT_EQ(done, 6);
  ASSERT_EQ(client_.durable.size(), 18u);
  for (size_t i = 1; i < 18; ++i) {
    EXPECT_LE(client_.durable[i - 1].second, client_.durable[i].second);
  }
  Stop();
}

// Power cut at every write: all that was told durable is there, whole, and no frame up to the
// largest durable_seq found is missing.
TEST_F(JournalTest, PowerCutAtEveryWrite) {
  const auto script = [this](uint64_t* token) {
    for (int round = 0; round < 12; ++round) {
      for (int i = 0; i < 3; ++i) {
        if (!Stage(*token + 1, 500 + 3'000 * static_cast<size_t>(i)).ok()) return;
        ++*token;
      }
      world_->RunFor(kMilli / 2);
    }
    world_->RunFor(100 * kMilli);
  };
  uint64_t writes = 0;
  for (uint64_t cut = 0; cut == 0 || cut <= writes; ++cut) {
    for (const auto kept : {PowerCutPolicy::kNone, PowerCutPolicy::kSubset, PowerCutPolicy::kAll}) {
      SCOPED_TRACE(absl::StrCat("cut before write ", cut, " policy ", int{kept}));
      client_ = {};
      Begin(cut + 1);
      OpenJournal();
      const int rule = world_->faults().Add({.kind = FaultKind::kPause,
                                             .codes = {io::OpCode::kWrite},
                                             .path = ".journal",
                                             .skip = cut - 1,
                                             .count = cut == 0 ? 0u : 1u});
      uint64_t token = 0;
      script(&token);
      if (cut == 0) writes = world_->faults().matched(rule);
      world_->PowerCut({kept, 512});
      const auto frames = FindFrames(world_->disk(), options_);
      uint64_t proven = 0;
      for (const auto& [seq, found] : frames) {
        proven = std::max(proven, found.frame.header.durable_seq);
      }
      for (const auto& [acked, seq] : client_.durable) {
        ASSERT_EQ(frames.count(seq), 1u) << "acked " << acked << "\n" << world_->Report();
      }
      for (uint64_t seq = 1; seq <= proven; ++seq) ASSERT_EQ(frames.count(seq), 1u) << seq;
      TearDown();
    }
  }
  EXPECT_GT(writes, 10u);
}

TEST_F(JournalTest, RandomOrderOfCompletions) {
  sim::ForSeeds(60, [this](uint64_t seed) {
    for (const size_t depth : {1u, 2u, 4u}) {
      client_ = {};
      Begin(seed);
      world_->faults().Add({.kind = FaultKind::kDelay,
                            .codes = {io::OpCode::kWrite},
                            .count = sim::Faults::kAlways,
                            .probability = 0.3,
                            .delay_ns = kMilli / 4});
      world_->faults().Add({.kind = FaultKind::kShort,
                            .codes = {io::OpCode::kWrite},
                            .path = ".journal",
                            .count = sim::Faults::kAlways,
                            .probability = 0.1});
      JournalOptions options = SmallJournal();
      options.depth = depth;
      OpenJournal(options);
      uint64_t token = 0;
      for (int round = 0; round < 80; ++round) {
        if (Stage(token + 1, 1 + seed * 37 % 4000).ok()) ++token;
        world_->RunFor(kMilli / 20);
        if (round % 8 == 7) {
          Do([&] {
            if (journal_->head_file() > 0) {
              journal_->CheckpointIsDurable(journal_->head_file(), {});
            }
          });
        }
      }
      world_->RunFor(20 * kMilli);
      ASSERT_EQ(client_.durable.size(), token) << world_->Report();
      for (uint64_t i = 0; i < token; ++i) ASSERT_EQ(client_.durable[i].first, i + 1);
      Stop();
      TearDown();
    }
  });
}

TEST(JournalRing, OnTheRealKernel) {
  io::TestLoop loop;
  JournalOptions options;
  options.directory = io::MakeTestDirectory() + "/core-0000";
  options.dir_id = TestId(9);
  options.file_bytes = 4 << 20;
  options.bytes_max = 16 << 20;
  TestClient client;
  JournalSyncMode mode = JournalSyncMode::kDataSync;
  loop.Run([](io::Backend& io, JournalOptions options, TestClient* client,
              JournalSyncMode* mode) -> task::Task<void> {
    auto opened = co_await Journal::Open(io, options);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (!opened.ok()) co_return;
    Journal& journal = **opened;
    *mode = journal.sync_mode();
    for (uint64_t token = 1; token <= 600; ++token) {
      const std::string payload(token * 377 % 70'000, static_cast<char>(token));
      while (!journal.Stage(TestAppend(1, token), AsBytes(payload + "."), client, token).ok()) {
        journal.CheckpointIsDurable(journal.head_file(), {});
        EXPECT_TRUE(co_await journal.WaitForRoom(payload.size() + 1, base::kNever));
      }
      if (token % 5 == 0) {
        EXPECT_TRUE((co_await journal.WaitDurable(journal.staged_seq())).ok());
      }
    }
    co_await journal.Stop();
    EXPECT_GT(journal.metrics().rotations, 3u);
  }(loop.backend(), options, &client, &mode));
  ASSERT_EQ(client.durable.size(), 600u);
  for (uint64_t i = 0; i < 600; ++i) EXPECT_EQ(client.durable[i].first, i + 1);
  RecordProperty("mode", mode == JournalSyncMode::kDataSync ? "dsync" : "fdatasync");
}

}  // namespace
}  // namespace ringtail::log
