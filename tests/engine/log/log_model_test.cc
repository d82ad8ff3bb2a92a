// Random operations on a log and on a simple one in memory: after each, both hold the same.
// A failing run prints its seed; RINGTAIL_SEED=n runs that one, RINGTAIL_SEEDS=n runs n of them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "tests/engine/log/log_fixture.h"

namespace ringtail::log {
namespace {

struct ModelBatch {
  int64_t base = 0;
  int64_t next = 0;
  int64_t first_timestamp_ms = 0;
  int64_t timestamp_step_ms = 0;
  int32_t epoch = 0;
  std::string bytes;
};

class ModelTest {
 public:
  ModelTest(Machine& machine, uint64_t seed, const LogOptions& options)
      : random_(seed), log_(machine, options) {
    log_.config.segment_bytes_max = 2000 + static_cast<int64_t>(Random(4000));
    log_.config.index_interval_bytes = 100 + static_cast<int64_t>(Random(900));
    log_.Create();
  }

  void Step() {
    switch (Random(20)) {
      case 0:
        return Truncate();
      case 1:
        return AdvanceStart();
      case 2:
        return Restart();
      case 3:
        return RollOrSync();
      case 4:
        if (Random(8) == 0) return StartAfresh();
        return FindTime();
      case 5:
      case 6:
      case 7:
        return ReadSome();
      case 8:
        return AppendVerbatim();
      default:
        return Append();
    }
  }
  void CheckAll() {
    Settle();
    std::string expected;
    for (const ModelBatch& batch : batches_) {
      if (batch.next > start_) expected += batch.bytes;
    }
    ASSERT_EQ(log_->log_start().value(), start_);
    ASSERT_EQ(log_->log_end().value(), end_);
    ASSERT_EQ(log_->written_end().value(), end_);
    ASSERT_EQ(log_.ReadAll(1 + static_cast<int64_t>(Random(3000))), expected);
    int32_t epoch = -1;
    for (const ModelBatch& batch : batches_) {
      ASSERT_EQ(log_->epochs().EpochAt(At(std::max(batch.base, start_))), batch.epoch);
      epoch = batch.epoch;
    }
    if (!batches_.empty()) ASSERT_EQ(log_->epochs().latest(), epoch);
  }

 private:
  uint64_t Random(uint64_t below) { return random_() % below; }

  std::string MakeOne(ModelBatch* batch) {
    BatchSpec spec;
    spec.records = 1 + static_cast<int32_t>(Random(4));
    spec.value_bytes = Random(5) == 0 ? Random(3000) : Random(200);
    spec.timestamp_ms = time_ms_ += static_cast<int64_t>(Random(20));
    spec.timestamp_step_ms = static_cast<int64_t>(Random(3));
    spec.base_offset = batch->base;
    spec.leader_epoch = batch->epoch = epoch_;
    spec.fill = static_cast<char>('a' + Random(26));
    batch->next = batch->base + spec.records;
    batch->first_timestamp_ms = spec.timestamp_ms;
    batch->timestamp_step_ms = spec.timestamp_step_ms;
    time_ms_ += spec.records * spec.timestamp_step_ms;
    return batch->bytes = MakeBatch(spec);
  }
  std::string MakeSome(int64_t gap) {
    if (Random(12) == 0) epoch_ += 1 + static_cast<int32_t>(Random(3));
    std::string bytes;
    for (uint64_t i = 0; i <= Random(3); ++i) {
      ModelBatch batch;
      batch.base = end_ + gap;
      bytes += MakeOne(&batch);
      end_ = batch.next;
      batches_.push_back(batch);
    }
    return bytes;
  }
  void Append() {
    const int64_t base = end_;
    const AppendResult append = log_.Append(MakeSome(0), epoch_);
    ASSERT_TRUE(append.ok());
    ASSERT_EQ(append.base_offset.value(), base);
    ASSERT_EQ(append.end_offset.value(), end_);
    last_ = append;
    if (Random(3) == 0) Settle();
  }
  void AppendVerbatim() {
    const AppendResult append =
        log_.AppendVerbatim(MakeSome(Random(2) == 0 ? static_cast<int64_t>(Random(50)) : 0));
    ASSERT_TRUE(append.ok());
    last_ = append;
  }
  void Settle() {
    if (last_.has_value()) {
      const absl::Status status = log_.Wait(*last_);
      ASSERT_TRUE(status.ok()) << status;
      acked_ = end_;
    }
    last_.reset();
  }
  // At a batch boundary, mostly; the model has no other ends.
  void Truncate() {
    if (batches_.empty()) return;
    const size_t kept = batches_.size() - std::min<size_t>(batches_.size(), Random(6));
    const int64_t end = kept < batches_.size() ? batches_[kept].base : end_;
    if (end < start_ || (kept == 0)) return;
    if (kept == batches_.size()) Settle();  // nothing to cut, so nothing waits for the queue
    const absl::Status status = log_.machine().Run(log_->Truncate(At(end), base::kNever));
    ASSERT_TRUE(status.ok()) << status;
    batches_.resize(kept);
    end_ = end;
    epoch_ = std::max(epoch_, batches_.back().epoch);
    last_.reset();
    acked_ = end_;
    CheckAll();
  }
  void StartAfresh() {
    const int64_t start = end_ + static_cast<int64_t>(Random(1000));
    const absl::Status status =
        log_.machine().Run(log_->TruncateFullyAndStartAt(At(start), base::kNever));
    ASSERT_TRUE(status.ok()) << status;
    batches_.clear();
    start_ = end_ = acked_ = start;
    last_.reset();
  }
  void AdvanceStart() {
    Settle();
    const int64_t start =
        start_ + static_cast<int64_t>(Random(static_cast<uint64_t>(end_ - start_ + 1)) / 3);
    ASSERT_TRUE(log_.machine().Run(log_->Trim(At(start))).ok());
    ASSERT_TRUE(log_.machine().Run(log_->RemoveSegmentsBelowStart()).ok());
    start_ = start;
    while (!batches_.empty() && batches_.front().next <= start_ && batches_.size() > 1) {
      batches_.erase(batches_.begin());
    }
  }
  void RollOrSync() {
    if (Random(2) == 0) {
      ASSERT_TRUE(log_.Do([&] { return log_->Roll(); }).ok());
    } else {
      Settle();
      ASSERT_TRUE(log_.machine().Run(log_->Sync()).ok());
      ASSERT_EQ(log_->synced_end().value(), end_);
    }
  }
  void Restart() {
    absl::Status status;
    if (Random(2) == 0) {
      Settle();
      status = log_.Reopen();
      ASSERT_TRUE(status.ok()) << status;
      ASSERT_FALSE(log_.info.scanned) << log_.info.cut_reason;
      // A gap at the end, left by a truncation between two batches with a gap, may be forgotten.
      const int64_t end = log_->log_end().value();
      ASSERT_GE(end, batches_.empty() ? start_ : std::max(batches_.back().next, start_));
      ASSERT_LE(end, end_);
      end_ = acked_ = end;
    } else {
      const bool power_cut = Random(2) == 0;
      const int64_t least = power_cut ? log_->synced_end().value() : acked_;
      log_.open.recovery_point = log_->recovery_point();
      log_.open.log_start = log_->log_start();
      log_.open.clean = false;
      if (power_cut) {
        log_.machine().PowerCut(random_());
        log_.Forget();
      } else {
        log_.Kill();
      }
      log_.machine().Start();
      status = log_.Open();
      ASSERT_TRUE(status.ok()) << status;
      KeepSurvivors(least);
    }
    CheckAll();
    // Producers are replayed up to the end, from the snapshot on.
    const auto& replayed = log_.observer().replayed;
    if (!batches_.empty() && batches_.back().next > log_.observer().snapshot &&
        batches_.back().next > start_) {
      ASSERT_FALSE(replayed.empty());
      ASSERT_EQ(replayed.back(), batches_.back().base);
    }
  }
  // After a crash: what had to survive is there, and of the rest a prefix. A gap at the end of the
  // log is not remembered.
  void KeepSurvivors(int64_t least) {
    const int64_t end = log_->log_end().value();
    while (!batches_.empty() && batches_.back().next > end) {
      ASSERT_GT(batches_.back().next, least);
      batches_.pop_back();
    }
    ASSERT_LE(end, end_);
    end_ = end;
    acked_ = end;
    last_.reset();
  }
  void ReadSome() {
    Settle();
    const int64_t from =
        start_ + static_cast<int64_t>(Random(static_cast<uint64_t>(end_ - start_ + 1)));
    const int64_t upper =
        start_ + static_cast<int64_t>(Random(static_cast<uint64_t>(end_ - start_ + 2)));
    const int64_t bytes_max = static_cast<int64_t>(Random(5000));
    const bool at_least_one = Random(2) == 0;
    auto plan = log_.Plan(from, upper, bytes_max, at_least_one);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const std::string bytes = log_.ReadPlanned(*plan);
    if (plan->bytes > 0) log_.machine().Run(LogUnderTest::Release(*std::move(plan)));
    // What may come: batches that reach past `from`, below `upper`, in order.
    size_t at = 0;
    size_t count = 0;
    size_t first_bytes = 0;
    for (const ModelBatch& batch : batches_) {
      if (batch.next <= from) continue;
      if (batch.next > upper) break;
      if (count == 0) first_bytes = batch.bytes.size();
      if (at == bytes.size()) break;
      ASSERT_EQ(bytes.substr(at, batch.bytes.size()), batch.bytes) << from << " " << upper;
      at += batch.bytes.size();
      ++count;
    }
    ASSERT_EQ(at, bytes.size()) << from << " " << upper;
    const bool fits = static_cast<int64_t>(bytes.size()) <= bytes_max;
    ASSERT_TRUE(fits || (at_least_one && count == 1));
    if (bytes.empty() && first_bytes > 0) {
      ASSERT_TRUE(!at_least_one && static_cast<int64_t>(first_bytes) > bytes_max)
          << from << " " << upper;
    }
  }
  void FindTime() {
    Settle();
    const int64_t time = static_cast<int64_t>(Random(static_cast<uint64_t>(time_ms_ + 10)));
    auto found = log_.machine().Run(log_->OffsetForTimestamp(time, At(INT64_MAX)));
    ASSERT_TRUE(found.ok()) << found.status();
    std::optional<int64_t> expected;
    for (const ModelBatch& batch : batches_) {
      for (int64_t i = 0; i < batch.next - batch.base && !expected.has_value(); ++i) {
        const int64_t at = batch.first_timestamp_ms + i * batch.timestamp_step_ms;
        if (at >= time && batch.base + i >= start_) expected = batch.base + i;
      }
    }
    ASSERT_EQ(found->has_value(), expected.has_value()) << time;
    if (expected.has_value()) ASSERT_EQ((*found)->offset.value(), *expected) << time;
  }

  std::mt19937_64 random_;
  LogUnderTest log_;
  std::vector<ModelBatch> batches_;
  int64_t start_ = 0;
  int64_t end_ = 0;
  int64_t acked_ = 0;
  int32_t epoch_ = 0;
  int64_t time_ms_ = 1;
  std::optional<AppendResult> last_;
};

std::vector<uint64_t> Seeds(uint64_t count_default) {
  if (const char* seed = getenv("RINGTAIL_SEED")) return {strtoull(seed, nullptr, 10)};
  uint64_t count = count_default;
  if (const char* wanted = getenv("RINGTAIL_SEEDS")) count = strtoull(wanted, nullptr, 10);
  std::vector<uint64_t> seeds;
  for (uint64_t i = 1; i <= count; ++i) seeds.push_back(i);
  return seeds;
}

LogOptions OptionsFor(uint64_t seed) {
  LogOptions options;
  const WritePath paths[] = {WritePath::kAuto, WritePath::kRing, WritePath::kInline};
  options.write_path = paths[seed % 3];
  options.allocate_bytes_min = seed % 2 == 0 ? 0 : 300;
  options.allocate_bytes_max = 3000;
  options.write_bytes_max = seed % 5 == 0 ? 500 : 1 << 20;
  options.open_files_max = 1 + seed % 7;
  options.recovery_read_bytes = 100 + static_cast<int64_t>(seed % 4) * 1000;
  return options;
}

void RunModel(Machine& machine, uint64_t seed, int steps) {
  SCOPED_TRACE("RINGTAIL_SEED=" + std::to_string(seed));
  ModelTest model(machine, seed, OptionsFor(seed));
  for (int i = 0; i < steps && !testing::Test::HasFatalFailure(); ++i) model.Step();
  if (!testing::Test::HasFatalFailure()) model.CheckAll();
}

TEST(LogModelTest, OnTheSimulation) {
  for (const uint64_t seed : Seeds(60)) {
    SimMachine machine(seed);
    RunModel(machine, seed, 250);
    if (HasFatalFailure()) return;
  }
}

TEST(LogModelTest, OnTheRing) {
  for (const uint64_t seed : Seeds(6)) {
    RingMachine machine;
    RunModel(machine, seed, 250);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace ringtail::log
