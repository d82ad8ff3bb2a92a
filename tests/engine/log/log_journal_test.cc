// What a log and its core's journal do to each other: which half an ack waits for, in which order
// entries and files change, and what is left to do when one of the two fails.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/log/journal/core_journal.h"
#include "engine/log/log.h"
#include "tests/engine/log/batch_maker.h"
#include "tests/engine/log/journal/journal_fixture.h"
#include "tests/engine/log/machine.h"

namespace ringtail::log {
namespace {

using io::OpCode;
using sim::FaultKind;

struct Part : LogObserver {
  std::string directory;
  base::Uuid id;
  std::unique_ptr<Log> log;
  std::vector<int64_t> durable;
  void OnDurable(base::Offset end) override { durable.push_back(end.value()); }

  Log* operator->() { return log.get(); }
};

class LogJournalTest : public testing::Test {
 protected:
  LogJournalTest() : machine_(7) {
    machine_.world().disk().Put("/data/journal/sync", "");
    LogOptions logs;
    logs.write_path = WritePath::kRing;
    logs.allocate_bytes_min = 0;
    env_ = std::make_unique<LogEnvironment>(machine_.io(), logs, nullptr);
  }
  ~LogJournalTest() override {
    machine_.Kill();
    parts_.clear();
    core_.reset();
    env_.reset();
  }

  void OpenJournal(size_t files_max = 4) {
    CoreJournalOptions options;
    options.journal = SmallJournal();
    options.journal.bytes_max = static_cast<int64_t>(files_max) * kTestFileBytes;
    options.reclaim.sync_path = "/data/journal/sync";
    options.bypass_bytes = 12 << 10;
    auto opened = machine_.Run(CoreJournal::Open(machine_.io(), nullptr, std::move(options)));
    ASSERT_TRUE(opened.ok()) << opened.status();
    core_ = *std::move(opened);
    env_->set_journal(core_.get());
  }
  // With one record in it.
  Part& Create(Durability durability = Durability::kJournal, int64_t segment_bytes_max = 1 << 20) {
    if (core_ == nullptr) OpenJournal();
    parts_.push_back(std::make_unique<Part>());
    Part& part = *parts_.back();
    part.id = TestId(static_cast<uint8_t>(parts_.size()));
    const std::string topic = absl::StrCat("topic", parts_.size());
    part.directory = absl::StrCat("/data/", topic, "-0");
    LogConfig config;
    config.durability = durability;
    config.segment_bytes_max = segment_bytes_max;
    auto made = machine_.Run(Log::Create(*env_, part, part.directory, config, {topic, 0}, part.id));
    RT_CHECK(made.ok());
    part.log = *std::move(made);
    EXPECT_TRUE(Durable(part, Append(part)).ok());
    Settle();
    return part;
  }
  AppendResult AppendNow(Part& part, size_t value_bytes = 100) {
    kept_.push_back(std::make_unique<std::string>(MakeBatch({.value_bytes = value_bytes})));
    std::string& bytes = *kept_.back();
    return part->AppendAsLeader({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}, 0);
  }
  template <class F>
  auto Do(F what) -> decltype(what()) {
    return machine_.Run(Call(std::move(what)));
  }
  AppendResult Append(Part& part, size_t value_bytes = 100) {
    return Do([&] { return AppendNow(part, value_bytes); });
  }
  absl::Status Durable(Part& part, const AppendResult& append) {
    if (!append.ok()) return absl::InternalError("refused");
    return machine_.TryRun(part->WaitDurable(append, base::kNever))
        .value_or(absl::InternalError("nothing can happen any more"));
  }
  // A task that goes on beside the test, and what it ended with.
  std::shared_ptr<std::optional<absl::Status>> Start(task::Task<absl::Status> task) {
    auto result = std::make_shared<std::optional<absl::Status>>();
    machine_.Spawn(Keep(std::move(task), result));
    return result;
  }
  // Frames, seals, reclaim by age.
  void Settle() { machine_.world().RunFor(base::kNanosPerSecond); }
  int Fault(FaultKind kind, OpCode code, std::string path, int error = EIO, uint64_t count = 1) {
    return faults().Add(
        {.kind = kind, .error = error, .codes = {code}, .path = std::move(path), .count = count});
  }
  sim::Faults& faults() { return machine_.world().faults(); }
  int64_t FileBytes(const Part& part, const char* name = "00000000000000000000.log") {
    const auto content = machine_.world().disk().Content(part.directory + "/" + name);
    return content.has_value() ? static_cast<int64_t>(content->size()) : -1;
  }
  // Where its segments begin.
  std::vector<int64_t> Bases(const Part& part) {
    std::vector<int64_t> bases;
    std::vector<io::DirectoryEntry> entries;
    RT_CHECK(machine_.world().disk().List(part.directory, &entries) == 0);
    for (const io::DirectoryEntry& entry : entries) {
      if (absl::EndsWith(entry.name, ".log")) bases.push_back(std::stoll(entry.name));
    }
    std::sort(bases.begin(), bases.end());
    return bases;
  }
  // The types of all its entries, in order; the flags of those that have some behind them.
  std::string Entries(const Part& part) {
    std::vector<std::string> all;
    for (const auto& [seq, found] : FindFrames(machine_.world().disk(), SmallJournal())) {
      for (const EntryHeader& entry : found.frame.entries) {
        if (!(entry.topic_id == part.id)) continue;
        const std::string flags = entry.flags == 0 ? "" : absl::StrCat("f", entry.flags);
        all.push_back(absl::StrCat(entry.type, flags));
      }
    }
    return absl::StrJoin(all, " ");
  }
  void CutWithoutRoom(bool drop);
  // Where it starts by the newest checkpoint on the medium; -1: there is none, or none of it.
  int64_t DurableStart(const Part& part) {
    std::optional<Checkpoint> newest;
    for (const char* slot : {"checkpoint.0", "checkpoint.1"}) {
      const auto bytes =
          machine_.world().disk().DurableContent(absl::StrCat(SmallJournal().directory, "/", slot));
      if (!bytes.has_value()) continue;
      auto found = DecodeCheckpoint(base::AsBytes(*bytes));
      if (!found.ok()) continue;
      if (newest.has_value() && newest->header.number > found->header.number) continue;
      newest = *std::move(found);
    }
    if (!newest.has_value()) return -1;
    for (const CheckpointRecord& record : newest->records) {
      if (record.topic_id == part.id) return static_cast<int64_t>(record.log_start);
    }
    return -1;
  }
  Journal& journal() { return core_->journal(); }

  SimMachine machine_;
  std::unique_ptr<LogEnvironment> env_;
  std::unique_ptr<CoreJournal> core_;
  std::vector<std::unique_ptr<Part>> parts_;

 private:
  template <class F>
  static task::Task<std::invoke_result_t<F>> Call(F what) {
    co_return what();
  }
  static task::Task<void> Keep(task::Task<absl::Status> task,
                               std::shared_ptr<std::optional<absl::Status>> result) {
    result->emplace(co_await std::move(task));
  }
  std::vector<std::unique_ptr<std::string>> kept_;
};

TEST_F(LogJournalTest, LogsShareAFrameAndWaitForIt) {
  Part& a = Create();
  Part& b = Create();
  Part& c = Create();
  const uint64_t frames = journal().metrics().frames;
  const uint64_t entries = journal().metrics().entries;
  const int held = Fault(FaultKind::kHang, OpCode::kWrite, ".journal");
  const auto appends = Do([&] { return std::vector{AppendNow(a), AppendNow(b), AppendNow(c)}; });
  Settle();
  EXPECT_EQ(journal().metrics().frames, frames + 1);
  EXPECT_EQ(journal().metrics().entries, entries + 3);
  for (const auto& part : parts_) {
    EXPECT_EQ((*part)->written_end().value(), 2);
    EXPECT_EQ((*part)->durable_end().value(), 1);
    EXPECT_EQ(part->durable.back(), 1);
  }
  faults().Release(held);
  for (size_t i = 0; i < appends.size(); ++i) {
    EXPECT_TRUE(Durable(*parts_[i], appends[i]).ok());
    EXPECT_EQ(parts_[i]->durable.back(), 2);
  }
}

TEST_F(LogJournalTest, AnAckWaitsForTheSegmentToo) {
  Part& part = Create();
  const int held = Fault(FaultKind::kHang, OpCode::kWrite, ".log");
  const AppendResult append = Append(part);
  Settle();
  EXPECT_EQ(journal().durable_seq(), journal().next_seq() - 1);
  EXPECT_EQ(Entries(part), "1 1");
  EXPECT_EQ(part->durable_end().value(), 1);
  faults().Release(held);
  EXPECT_TRUE(Durable(part, append).ok());
}

TEST_F(LogJournalTest, ABypassIsSyncedBehindWhatIsDurableAndBeforeItsEntry) {
  Part& part = Create();
  const int frame = Fault(FaultKind::kHang, OpCode::kWrite, ".journal");
  Append(part);
  Settle();
  const AppendResult large = Append(part, 20 << 10);
  const AppendResult behind = Append(part);
  Settle();
  EXPECT_EQ(part->written_end().value(), 2);  // (1) earlier appends first
  const int sync = Fault(FaultKind::kHang, OpCode::kSync, ".log");
  faults().Release(frame);
  Settle();
  EXPECT_EQ(part->written_end().value(), 3);  // (2), and nothing behind it yet
  EXPECT_EQ(part->durable_end().value(), 2);
  EXPECT_EQ(Entries(part), "1 1");  // (4) no entry before the sync
  faults().Release(sync);
  EXPECT_TRUE(Durable(part, large).ok());
  EXPECT_TRUE(Durable(part, behind).ok());
  EXPECT_TRUE(Durable(part, Append(part)).ok());
  EXPECT_EQ(Entries(part), "1 1 2 1 1");
  EXPECT_EQ(env_->counters().bypasses, 1u);
}

TEST_F(LogJournalTest, FilesAreCutBehindTheirFrame) {
  Part& part = Create();
  EXPECT_TRUE(Durable(part, Append(part)).ok());
  EXPECT_TRUE(Durable(part, Append(part)).ok());
  Settle();
  const int64_t bytes = FileBytes(part);
  int held = Fault(FaultKind::kHang, OpCode::kWrite, ".journal");
  const auto cut = Start(part->Truncate(base::Offset(2), base::kNever));
  Settle();
  EXPECT_EQ(FileBytes(part), bytes);
  EXPECT_FALSE(cut->has_value());
  faults().Release(held);
  Settle();
  ASSERT_TRUE(cut->has_value());
  EXPECT_TRUE((*cut)->ok()) << **cut;
  EXPECT_EQ(FileBytes(part), bytes / 3 * 2);

  held = Fault(FaultKind::kHang, OpCode::kWrite, ".journal");
  const auto trim = Start(part->Trim(base::Offset(1)));
  Settle();
  EXPECT_EQ(part->log_start().value(), 0);
  faults().Release(held);
  Settle();
  EXPECT_EQ(part->log_start().value(), 1);

  EXPECT_TRUE(Durable(part, Append(part)).ok());
  Settle();
  held = Fault(FaultKind::kHang, OpCode::kWrite, ".journal");
  const auto fresh = Start(part->TruncateFullyAndStartAt(base::Offset(50), base::kNever));
  Settle();
  EXPECT_EQ(FileBytes(part), bytes);
  faults().Release(held);
  Settle();
  EXPECT_EQ(FileBytes(part), -1);
  EXPECT_EQ(part->durable_end().value(), 50);
  EXPECT_TRUE(Durable(part, Append(part)).ok());
  EXPECT_EQ(Entries(part), "1 1 1 3 4 1f128 3f129 1f128");  // what is behind a TRIM tells it
}

TEST_F(LogJournalTest, ADirectoryGoesBehindItsDrop) {
  Part& part = Create();
  const int held = Fault(FaultKind::kHang, OpCode::kWrite, ".journal");
  const auto gone = Start(part->CloseAndRemove());
  const auto late = Start(part->Trim(base::Offset(1)));
  Settle();
  EXPECT_GT(FileBytes(part), 0);
  faults().Release(held);
  Settle();
  ASSERT_TRUE(gone->has_value());
  EXPECT_TRUE((*gone)->ok()) << **gone;
  EXPECT_TRUE(absl::IsAborted(late->value()));
  EXPECT_EQ(FileBytes(part), -1);
  std::vector<io::DirectoryEntry> left;
  machine_.world().disk().List("/data", &left);
  for (const io::DirectoryEntry& entry : left) EXPECT_NE(entry.name.substr(0, 5), "topic");
  EXPECT_EQ(Entries(part), "1 5");
}

TEST_F(LogJournalTest, AFullDiskCutsTheEntryBeforeItGoesOn) {
  Part& part = Create();
  Fault(FaultKind::kError, OpCode::kWrite, ".log", ENOSPC);
  EXPECT_TRUE(absl::IsResourceExhausted(Durable(part, Append(part))));
  EXPECT_EQ(part->log_end().value(), 1);
  EXPECT_EQ(Append(part).error, AppendError::kNoSpace);
  Settle();
  EXPECT_TRUE(Durable(part, Append(part)).ok());
  EXPECT_EQ(part->durable_end().value(), 2);
  EXPECT_EQ(Entries(part), "1 1 3 1");
}

// Part of a failed write stays in the file, as its entry may be durable; a sealed segment must not
// keep it.
TEST_F(LogJournalTest, WhatAFailedWriteLeftIsTrimmedWithItsSegment) {
  Part& part = Create();
  const int64_t bytes = FileBytes(part);
  Fault(FaultKind::kShort, OpCode::kWrite, ".log");
  Fault(FaultKind::kError, OpCode::kWrite, ".log", ENOSPC);
  EXPECT_TRUE(absl::IsResourceExhausted(Durable(part, Append(part, 4000))));
  EXPECT_GT(FileBytes(part), bytes);
  EXPECT_TRUE(Do([&] { return part->Roll(); }).ok());
  Settle();
  EXPECT_TRUE(Durable(part, Append(part)).ok());
  Settle();
  EXPECT_EQ(FileBytes(part), bytes);
  EXPECT_EQ(FileBytes(part, "00000000000000000001.log"), bytes);
}

TEST_F(LogJournalTest, ASegmentErrorStopsThatLogAlone) {
  Part& part = Create();
  Part& other = Create();
  Fault(FaultKind::kError, OpCode::kWrite, part.directory);
  EXPECT_TRUE(absl::IsDataLoss(Durable(part, Append(part))));
  EXPECT_EQ(Append(part).error, AppendError::kPoisoned);
  EXPECT_TRUE(part->failed());
  auto plan = machine_.Run(part->PlanRead(base::Offset(0), base::Offset(1), 1 << 20, true));
  ASSERT_TRUE(plan.ok());
  EXPECT_GT(plan->bytes, 0);
  plan->pin.Release();
  EXPECT_TRUE(Durable(other, Append(other)).ok());
}

// The append that is on its way when a sync fails is written, and never durable: nobody waits on.
TEST_F(LogJournalTest, AFailedSyncEndsTheWaitForWhatIsInFlight) {
  Part& part = Create();
  EXPECT_TRUE(Durable(part, Append(part)).ok());
  const int held = Fault(FaultKind::kHang, OpCode::kWrite, ".log");
  Fault(FaultKind::kFailSync, OpCode::kSync, ".log");
  const AppendResult append = Append(part);
  const auto waited = Start(part->WaitDurable(append, base::kNever));
  EXPECT_TRUE(absl::IsDataLoss(machine_.Run(part->Sync())));
  Settle();
  faults().Release(held);
  Settle();
  ASSERT_TRUE(waited->has_value());
  EXPECT_TRUE(absl::IsDataLoss(**waited)) << **waited;
  EXPECT_EQ(part->durable_end().value(), 2);
}

TEST_F(LogJournalTest, AFailedJournalStopsItsLogsOnly) {
  Part& a = Create();
  Part& b = Create();
  Part& plain = Create(Durability::kPageCache);
  const int held = Fault(FaultKind::kHang, OpCode::kWrite, b.directory);
  Fault(FaultKind::kError, OpCode::kWrite, ".journal");
  const auto appends = Do([&] { return std::vector{AppendNow(a), AppendNow(b)}; });
  const auto in_flight = Start(b->WaitDurable(appends[1], base::kNever));
  EXPECT_TRUE(absl::IsDataLoss(Durable(a, appends[0])));
  Settle();
  faults().Release(held);
  Settle();
  ASSERT_TRUE(in_flight->has_value());
  EXPECT_TRUE(absl::IsDataLoss(**in_flight)) << **in_flight;
  EXPECT_EQ(journal().state(), Journal::State::kClosed);
  EXPECT_EQ(Append(a).error, AppendError::kJournalClosed);
  EXPECT_EQ(Append(b).error, AppendError::kJournalClosed);
  EXPECT_EQ(a->durable_end().value(), 1);
  EXPECT_TRUE(Durable(plain, Append(plain)).ok());
  EXPECT_FALSE(machine_.Run(a->Close()).ok());
  EXPECT_TRUE(machine_.Run(plain->Close()).ok());
}

TEST_F(LogJournalTest, AStallFailsNothingAndEnds) {
  OpenJournal(/*files_max=*/2);
  Part& part = Create();
  const int held = Fault(FaultKind::kHang, OpCode::kSync, ".log", 0, sim::Faults::kAlways);
  AppendResult last;
  for (int i = 0; i < 60; ++i) {
    last = Append(part, 5000);
    ASSERT_TRUE(last.ok());
    machine_.world().RunFor(base::kNanosPerMilli * 10);
  }
  EXPECT_GT(journal().metrics().stalls, 0u);
  EXPECT_LT(part->durable_end(), last.end_offset);
  faults().Release(held);
  EXPECT_TRUE(Durable(part, last).ok());
  EXPECT_EQ(part->durable_end().value(), 61);
}

// Not even entries without payload have room. The sync that will make some must not wait for the
// cut, which waits for the room.
void LogJournalTest::CutWithoutRoom(bool drop) {
  OpenJournal(/*files_max=*/2);
  Part& a = Create();
  Part& b = Create();
  Part& filler = Create();
  EXPECT_TRUE(Durable(a, Append(a)).ok());
  const int held = Fault(FaultKind::kHang, OpCode::kSync, b.directory);
  machine_.world().RunFor(12 * base::kNanosPerSecond);  // all are synced by age, but for b
  EXPECT_TRUE(Durable(a, Append(a)).ok());              // so that the first file needs a again
  for (int i = 0; i < 60; ++i) {
    Append(filler, 5000);
    machine_.world().RunFor(base::kNanosPerMilli * 10);
  }
  ASSERT_EQ(journal().state(), Journal::State::kStalled);
  std::shared_ptr<std::optional<absl::Status>> epoch;
  for (int i = 1; i < 20; ++i) {
    epoch = Start(b->BeginEpoch(i));
    machine_.world().RunFor(base::kNanosPerMilli * 10);
  }
  ASSERT_FALSE(epoch->has_value()) << "the journal's reserve is not used up";
  const auto cut = Start(drop ? a->CloseAndRemove() : a->Truncate(base::Offset(2), base::kNever));
  Settle();
  EXPECT_FALSE(cut->has_value());
  faults().Release(held);
  machine_.world().RunFor(5 * base::kNanosPerSecond);
  ASSERT_TRUE(cut->has_value());
  EXPECT_TRUE((*cut)->ok()) << **cut;
  EXPECT_TRUE(epoch->has_value());
}

TEST_F(LogJournalTest, ATruncationThatWaitsForRoomLetsReclaimMakeIt) { CutWithoutRoom(false); }
TEST_F(LogJournalTest, ADropThatWaitsForRoomLetsReclaimMakeIt) { CutWithoutRoom(true); }

// Nothing of a page_cache log is in the journal alone: what it lets go, it lets go all the same.
TEST_F(LogJournalTest, APageCacheLogIsTrimmedThoughTheJournalHasFailed) {
  Part& journaled = Create();
  Part& plain = Create(Durability::kPageCache);
  EXPECT_TRUE(Do([&] { return plain->Roll(); }).ok());
  EXPECT_TRUE(Durable(plain, Append(plain)).ok());
  EXPECT_TRUE(Do([&] { return journaled->Roll(); }).ok());
  EXPECT_TRUE(Durable(journaled, Append(journaled)).ok());
  Fault(FaultKind::kError, OpCode::kWrite, ".journal");
  EXPECT_TRUE(absl::IsDataLoss(Durable(journaled, Append(journaled))));
  ASSERT_EQ(journal().state(), Journal::State::kClosed);

  Fault(FaultKind::kError, OpCode::kWrite, "core-0000/checkpoint");
  EXPECT_FALSE(machine_.Run(plain->Trim(base::Offset(1))).ok());
  EXPECT_EQ(plain->log_start().value(), 0) << "not before it is durable";
  const absl::Status trimmed = machine_.Run(plain->Trim(base::Offset(1)));
  EXPECT_TRUE(trimmed.ok()) << trimmed;
  EXPECT_EQ(plain->log_start().value(), 1);
  const auto removed = machine_.Run(plain->RemoveSegmentsBelowStart());
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_EQ(*removed, 1u);
  EXPECT_EQ(DurableStart(plain), 1);
  EXPECT_TRUE(Durable(plain, Append(plain)).ok());

  EXPECT_FALSE(machine_.Run(journaled->Trim(base::Offset(1))).ok());
  EXPECT_EQ(journaled->log_start().value(), 0);
}

// A full disk keeps indexes from being saved: that is no failed sync.
TEST_F(LogJournalTest, NoSpaceForAnIndexIsNoFailedSync) {
  Part& part = Create();
  const int full =
      Fault(FaultKind::kError, OpCode::kWrite, ".timeindex", ENOSPC, sim::Faults::kAlways);
  EXPECT_TRUE(Do([&] { return part->Roll(); }).ok());
  EXPECT_TRUE(Durable(part, Append(part)).ok());
  machine_.world().RunFor(30 * base::kNanosPerSecond);  // reclaim by age
  EXPECT_GT(faults().fired(full), 0u);
  EXPECT_FALSE(part->failed());
  faults().Remove(full);
  EXPECT_TRUE(Durable(part, Append(part)).ok());
  EXPECT_TRUE(machine_.Run(part->Close()).ok());
  EXPECT_TRUE(machine_.Run(core_->Close()).ok());
}

TEST_F(LogJournalTest, ModesChangeBetweenTwoWrites) {
  Part& part = Create(Durability::kPageCache);
  EXPECT_EQ(Entries(part), "2f1");
  EXPECT_TRUE(Durable(part, Append(part)).ok());
  LogConfig config = part->config();
  config.durability = Durability::kJournal;
  Do([&] {
    part->SetConfig(config);
    return true;
  });
  EXPECT_TRUE(Durable(part, Append(part)).ok());
  EXPECT_EQ(Entries(part), "2f1 2 1");
  Settle();
  const int held = Fault(FaultKind::kHang, OpCode::kWrite, ".journal");
  config.durability = Durability::kPageCache;
  const AppendResult append = Do([&] {
    part->SetConfig(config);
    return AppendNow(part);
  });
  Settle();
  EXPECT_EQ(part->durable_end().value(), 3);  // no page_cache ack before the entry
  faults().Release(held);
  EXPECT_TRUE(Durable(part, append).ok());
  EXPECT_EQ(Entries(part), "2f1 2 1 2f1");
}

// Cut to where a segment begins, and nothing appended since: entries name the end of the segment
// before, which stays for as long as they may.
TEST_F(LogJournalTest, TheSegmentThatALogEndsInIsNotCompacted) {
  for (const Durability durability : {Durability::kJournal, Durability::kPageCache}) {
    Part& part = Create(durability, /*segment_bytes_max=*/4000);
    for (int i = 1; i < 12; ++i) EXPECT_TRUE(Durable(part, Append(part, 1000)).ok());
    const std::vector<int64_t> bases = Bases(part);
    ASSERT_GE(bases.size(), 4u);
    ASSERT_TRUE(
        machine_.Run(part->Truncate(base::Offset(bases[bases.size() - 1]), base::kNever)).ok());
    machine_.world().RunFor(20 * base::kNanosPerSecond);  // no entry counts any more
    auto end = machine_.Run(part->CompactableEnd());
    ASSERT_TRUE(end.ok()) << end.status();
    EXPECT_EQ(end->value(), bases[bases.size() - 2]);
    // It ends in the next one.
    EXPECT_TRUE(Durable(part, Append(part, 1000)).ok());
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(Durable(part, Append(part, 1000)).ok());
    machine_.world().RunFor(20 * base::kNanosPerSecond);
    end = machine_.Run(part->CompactableEnd());
    ASSERT_TRUE(end.ok()) << end.status();
    EXPECT_GE(end->value(), bases.back());
  }
}

TEST_F(LogJournalTest, AnEpochIsDurableBeforeItsFirstAppend) {
  Part& part = Create();
  const int held = Fault(FaultKind::kHang, OpCode::kWrite, ".journal");
  const auto begun = Start(part->BeginEpoch(5));
  Settle();
  EXPECT_FALSE(begun->has_value());
  faults().Release(held);
  Settle();
  ASSERT_TRUE(begun->has_value());
  EXPECT_EQ(Entries(part), "1 6");
}

TEST_F(LogJournalTest, AClosedLogIsSyncedByTheJournalThatClosesBehindIt) {
  Part& a = Create();
  Part& plain = Create(Durability::kPageCache);
  const AppendResult append = Append(a);
  EXPECT_TRUE(machine_.Run(a->Close()).ok());
  EXPECT_EQ(a->durable_end(), append.end_offset);
  EXPECT_TRUE(machine_.Run(plain->Close()).ok());
  EXPECT_TRUE(machine_.Run(core_->Close()).ok());
}

}  // namespace
}  // namespace ringtail::log
