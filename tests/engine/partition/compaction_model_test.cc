// A log of keyed records that is appended to, compacted, trimmed and restarted, and killed or left
// without power at every operation of the disk: it always holds, at their offsets, what it was
// given, and of each key the latest.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/partition/compaction.h"
#include "engine/records/record_batch_builder.h"
#include "engine/records/record_reader.h"
#include "gtest/gtest.h"
#include "tests/engine/log/log_fixture.h"
#include "tests/sim/random.h"
#include "tests/sim/seeds.h"

namespace ringtail::log {
namespace {

struct ModelRecord {
  std::string key;
  std::optional<std::string> value;
  int64_t timestamp_ms = 0;

  bool operator==(const ModelRecord&) const = default;
};
using Records = std::map<int64_t, ModelRecord>;  // by offset

// The latest of each key that is not deleted.
std::map<std::string, std::string> Fold(const Records& records) {
  std::map<std::string, std::string> state;
  for (const auto& [offset, record] : records) {
    if (record.value.has_value()) {
      state[record.key] = *record.value;
    } else {
      state.erase(record.key);
    }
  }
  return state;
}

Records Decode(const std::string& bytes) {
  Records found;
  records::RecordReader reader;
  int64_t next = 0;
  BatchWalker walker(base::AsBytes(bytes));
  while (walker.Next()) {
    EXPECT_EQ(ValidateBatch(walker.batch(), BatchRules::Verbatim()), BatchError::kNone);
    EXPECT_GE(walker.batch().base_offset().value(), next);
    next = walker.batch().next_offset().value();
    EXPECT_TRUE(reader.Open(walker.batch()).ok());
    while (reader.Next()) {
      const records::Record& record = reader.record();
      ModelRecord each{std::string(base::AsText(*record.key())), std::nullopt, record.timestamp_ms};
      if (record.value().has_value()) each.value = std::string(base::AsText(*record.value()));
      EXPECT_TRUE(found.emplace(record.offset.value(), each).second);
    }
    EXPECT_TRUE(reader.status().ok()) << reader.status();
  }
  EXPECT_EQ(walker.error(), BatchError::kNone);
  return found;
}

struct NoHurry : CompactionPace {
  task::Task<void> Spend(int64_t) override { co_await task::Yield(); }
};

// The log, and what is known of it, over all its lives.
class Keeper {
 public:
  explicit Keeper(uint64_t seed) : machine_(seed), log_(machine_, Options(seed)), random_(seed) {
    log_.config.segment_bytes_max = 700;
    log_.config.index_interval_bytes = 150;
    log_.Create();
  }

  SimMachine& machine() { return machine_; }
  int64_t now_ms() const { return now_ms_; }
  const partition::CompactionCounters& counters() const { return counters_; }
  size_t segments() { return log_->segment_count(); }

  // Each may end early where the world pauses. False: it has.
  bool Append() {
    std::string bytes = MakeBatch();
    const AppendResult append = log_.Append(std::move(bytes));
    if (machine_.world().paused()) return false;
    EXPECT_TRUE(append.ok());
    const auto written = machine_.TryRun(log_->WaitWritten(append, base::kNever));
    if (!written.has_value()) return false;
    EXPECT_TRUE(written->ok()) << *written;
    return true;
  }
  bool Sync() {
    const auto synced = machine_.TryRun(log_->Sync());
    if (!synced.has_value()) return false;
    EXPECT_TRUE(synced->ok()) << *synced;
    synced_ = end_;
    return true;
  }
  bool Roll() {
    const auto rolled = machine_.TryRun(RollLog(&*log_));
    if (!rolled.has_value()) return false;
    EXPECT_TRUE(rolled->ok()) << *rolled;
    return true;
  }
  bool Trim() {
    const int64_t start =
        start_ +
        static_cast<int64_t>(random_.Below(static_cast<uint64_t>(synced_ - start_) / 4 + 1));
    start_asked_ = std::max(start_asked_, start);
    const auto trimmed = machine_.TryRun(log_->Trim(At(start)));
    if (!trimmed.has_value()) return false;
    EXPECT_TRUE(trimmed->ok());
    start_ = std::max(start_, start);
    return machine_.TryRun(log_->RemoveSegmentsBelowStart()).has_value();
  }
  bool Compact() {
    const auto end = machine_.TryRun(log_->CompactableEnd());
    if (!end.has_value()) return false;
    EXPECT_TRUE(end->ok()) << end->status();
    now_ms_ += static_cast<int64_t>(random_.Below(1000));
    // Few keys fit now and then, so that a pass ends within a segment.
    filter_ =
        std::make_unique<partition::LatestByKey>(1 << 20, kDeleteRetentionMs, now_ms_, &counters_);
    const auto done = machine_.TryRun(log_->Compact({clean_end_, end->value()}, *filter_, pace_));
    if (!done.has_value()) return false;
    EXPECT_TRUE(done->ok()) << done->status();
    if (done->ok()) clean_end_ = std::max(clean_end_, (*done)->clean_end);
    return true;
  }

  void Restart(bool power_cut, uint64_t choice) {
    log_.open.recovery_point = recovery_point_;
    log_.open.log_start = At(start_);
    log_.open.clean = false;
    if (power_cut) {
      machine_.PowerCut(choice);
      log_.Forget();
    } else {
      log_.Kill();
      log_.open.log_start = At(start_);
    }
    machine_.Start();
    const absl::Status opened = log_.Open();
    ASSERT_TRUE(opened.ok()) << opened;
    const int64_t end = log_->log_end().value();
    ASSERT_GE(end, power_cut ? synced_ : 0);
    std::erase_if(sent_, [&](const auto& each) { return each.first >= end; });
    end_ = synced_ = end;
    start_ = std::max(start_, log_->log_start().value());
    // The next life may find less compacted than this one was told, not more to do.
    clean_end_ = std::min(clean_end_, At(end));
  }
  // What a start would be told of the log.
  void NoteRecoveryPoint() { recovery_point_ = log_->recovery_point(); }

  void Check() {
    ASSERT_EQ(log_->log_end().value(), end_);
    const Records found = Decode(log_.ReadAll(1 + static_cast<int64_t>(random_.Below(2000))));
    std::map<std::string, int64_t> latest;
    Records whole;
    for (const auto& [offset, record] : sent_) {
      latest[record.key] = offset;
      whole.emplace(offset, record);
    }
    for (const auto& [offset, record] : found) {
      const auto sent = whole.find(offset);
      ASSERT_TRUE(sent != whole.end()) << "offset " << offset << " was never sent";
      ASSERT_TRUE(sent->second == record) << "offset " << offset << " has changed";
    }
    for (const auto& [offset, record] : whole) {
      if (offset < start_ || found.contains(offset)) continue;
      const bool outdated = latest[record.key] > offset;
      const bool expired = !record.value.has_value() && counters_.tombstones_removed > 0;
      ASSERT_TRUE(outdated || expired) << "offset " << offset << " is gone";
    }
    // Of what a reader from the start sees, keys below it aside.
    Records tail(whole.lower_bound(start_), whole.end());
    ASSERT_EQ(Fold(Records(found.lower_bound(start_), found.end())), Fold(tail));
  }

 private:
  static task::Task<absl::Status> RollLog(Log* log) { co_return log->Roll(); }
  static constexpr int64_t kDeleteRetentionMs = 1500;

  static LogOptions Options(uint64_t seed) {
    LogOptions options;
    options.write_path = seed % 2 == 0 ? WritePath::kRing : WritePath::kInline;
    options.allocate_bytes_min = 0;
    options.open_files_max = 1 + seed % 5;
    options.recovery_read_bytes = 100 + static_cast<int64_t>(seed % 3) * 500;
    return options;
  }

  std::string MakeBatch() {
    const Codec codecs[] = {Codec::kNone, Codec::kNone, Codec::kGzip, Codec::kLz4, Codec::kZstd};
    records::BuilderOptions options{.compression = {.codec = codecs[random_.Below(5)]}};
    records::RecordBatchBuilder builder(options);
    const int64_t base = end_;
    const uint64_t count = 1 + random_.Below(4);
    for (uint64_t i = 0; i < count; ++i) {
      ModelRecord record{absl::StrCat("k", random_.Below(12)), std::nullopt,
                         now_ms_ - static_cast<int64_t>(random_.Below(50))};
      if (random_.Below(5) != 0) record.value = std::string(random_.Below(90), 'a' + base % 26);
      records::RecordInput input{.key = base::AsBytes(record.key),
                                 .timestamp_ms = record.timestamp_ms};
      if (record.value.has_value()) input.value = base::AsBytes(*record.value);
      EXPECT_EQ(builder.Append(input), records::AppendResult::kAppended);
      sent_[end_++] = record;
    }
    const auto batch = builder.Finish({.base_offset = At(base)});
    EXPECT_TRUE(batch.ok());
    return std::string(batch->begin(), batch->end());
  }

  SimMachine machine_;
  std::unique_ptr<partition::LatestByKey> filter_;
  NoHurry pace_;
  partition::CompactionCounters counters_;
  LogUnderTest log_;
  sim::Rng random_;
  Records sent_;
  int64_t end_ = 0;
  int64_t synced_ = 0;
  int64_t start_ = 0;
  int64_t start_asked_ = 0;
  int64_t now_ms_ = 1'700'000'000'000;
  base::Offset clean_end_;
  base::Offset recovery_point_;
};

// False: the world paused.
bool RunScript(Keeper& keeper, uint64_t seed, int steps) {
  sim::Rng random(seed * 31 + 7);
  for (int i = 0; i < steps; ++i) {
    const uint64_t what = random.Below(100);
    bool done = true;
    if (what < 62) {
      done = keeper.Append();
    } else if (what < 72) {
      done = keeper.Sync();
      if (done) keeper.NoteRecoveryPoint();
    } else if (what < 77) {
      done = keeper.Roll();
    } else if (what < 82) {
      done = keeper.Trim();
    } else {
      done = keeper.Sync() && keeper.Compact();
    }
    if (!done || testing::Test::HasFailure()) return false;
  }
  return true;
}

TEST(CompactionModelTest, TheFoldStaysTheSame) {
  sim::ForSeeds(60, [](uint64_t seed) {
    Keeper keeper(seed);
    sim::Rng random(seed);
    for (int round = 0; round < 6; ++round) {
      SCOPED_TRACE(absl::StrCat("round ", round));
      RunScript(keeper, seed * 100 + static_cast<uint64_t>(round), 40);
      if (testing::Test::HasFailure()) return;
      keeper.Check();
      if (testing::Test::HasFatalFailure()) return;
      keeper.Restart(random.Below(2) == 0, random.Below(10));
      if (testing::Test::HasFatalFailure()) return;
      keeper.Check();
      if (testing::Test::HasFatalFailure()) return;
    }
    EXPECT_GT(keeper.counters().records_removed, 0u);
  });
}

TEST(CompactionModelTest, CutAtEveryOperation) {
  constexpr int kSteps = 45;
  sim::ForSeeds(4, [](uint64_t seed) {
    for (uint64_t cut = 0;; ++cut) {
      SCOPED_TRACE(absl::StrCat("cut at operation ", cut));
      Keeper keeper(seed);
      sim::FaultRule rule;
      rule.kind = sim::FaultKind::kPause;
      rule.codes = {io::OpCode::kWrite, io::OpCode::kSync, io::OpCode::kRename, io::OpCode::kUnlink,
                    sim::kTruncate};
      rule.path = "/data";
      rule.skip = cut;
      const int id = keeper.machine().world().faults().Add(rule);
      const bool ended = RunScript(keeper, seed, kSteps);
      if (testing::Test::HasFailure()) return;
      keeper.machine().world().faults().Remove(id);
      keeper.machine().world().Resume();
      keeper.Restart(cut % 3 != 0, cut * 7 + seed);
      if (testing::Test::HasFatalFailure()) return;
      keeper.Check();
      if (testing::Test::HasFatalFailure()) return;
      RunScript(keeper, seed + 1, 12);
      if (testing::Test::HasFailure()) return;
      keeper.Check();
      if (testing::Test::HasFatalFailure() || ended) return;
    }
  });
}

}  // namespace
}  // namespace ringtail::log
