#include "engine/partition/partition.h"

#include "engine/base/endian.h"
#include "engine/io/file.h"

#include <functional>
#include <map>

#include "engine/log/log_environment.h"
#include "engine/records/record_batch_builder.h"
#include "gtest/gtest.h"
#include "tests/engine/log/batch_maker.h"
#include "tests/sim/node.h"
#include "tests/sim/seeds.h"

namespace ringtail::partition {
namespace {

using base::Error;
using base::Offset;
using log::BatchSpec;
using log::MakeBatch;

constexpr char kDirectory[] = "/data/t-0";
const base::Uuid kTopicId = base::Uuid::Random();

// Recomputes the CRC after a test has changed what it covers.
void FixCrc(std::string* batch) {
  auto* at = reinterpret_cast<uint8_t*>(batch->data());
  const base::ByteView covered(at + log::kAttributesAt, batch->size() - log::kAttributesAt);
  base::StoreBe<uint32_t>(at + log::kCrcAt, base::Crc32c(covered));
}

class PartitionTest : public testing::Test {
 protected:
  // A produce that runs by itself; its bytes live here, as in a frame.
  struct Call {
    std::string bytes;
    std::optional<ProduceResult> result;
  };

  PartitionTest() { world_.disk().Put("/data/.x", ""); }
  ~PartitionTest() override { Kill(); }

  void Open(PartitionConfig config = {}, log::LogOptions options = {}, log::OpenOptions open = {}) {
    Kill();
    node_ = std::make_unique<sim::SimNode>(world_, world_.NewProcess("broker"));
    env_ = std::make_unique<log::LogEnvironment>(node_->io(), options, nullptr);
    auto opened = node_->Run(Partition::Open(
        *env_, kDirectory, {.name = {"t", 0}, .topic_id = kTopicId, .leader_epoch = 7}, config,
        open, nullptr));
    ASSERT_TRUE(opened.ok()) << opened.status();
    partition_ = *std::move(opened);
    const absl::Status begun = node_->Run(partition_->Begin());
    ASSERT_TRUE(begun.ok()) << begun;
  }
  void Kill() {
    // The frames go first: they refer to all else. Calls live as long as frames that use them.
    if (node_ != nullptr && partition_ != nullptr) {
      world_.Kill(node_->io().process());
    }
    DropNode();
    calls_.clear();
  }
  void DropNode() {
    if (node_ == nullptr) return;
    // The node's scheduler destroys frames that hold the partition's gate and pins.
    Partition* partition = partition_.release();
    log::LogEnvironment* env = env_.release();
    node_.reset();
    delete partition;
    delete env;
  }

  ProduceResult Produce(std::string batches, AckPolicy acks = AckPolicy::kAll) {
    calls_.push_back(std::make_unique<Call>());
    calls_.back()->bytes = std::move(batches);
    return node_->Run(partition_->Produce(log::Bytes(calls_.back()->bytes), acks));
  }
  Call* Start(std::string batches) {
    calls_.push_back(std::make_unique<Call>());
    Call* call = calls_.back().get();
    call->bytes = std::move(batches);
    node_->Start("produce", [](Partition* partition, Call* call) -> task::Task<void> {
      call->result = co_await partition->Produce(log::Bytes(call->bytes), AckPolicy::kAll);
    }(partition_.get(), call));
    return call;
  }
  bool Ended(const Call* call) {
    return world_.RunUntil([&] { return call->result.has_value(); });
  }
  // Writes of the log hang until Release.
  void HoldWrites() {
    held_ = world_.faults().Add({.kind = sim::FaultKind::kHang,
                                 .codes = {io::OpCode::kWrite},
                                 .path = ".log",
                                 .count = sim::Faults::kAlways});
  }
  void ReleaseWrites() { world_.faults().Release(held_); }
  static log::LogOptions ThroughTheRing() { return {.write_path = log::WritePath::kRing}; }

  static task::Task<absl::Status> Roll(Partition* partition) { co_return partition->log().Roll(); }

  std::string Read(int64_t from) {
    FetchResult fetched =
        node_->Run(partition_->Fetch(Offset(from), 1 << 20, /*at_least_one_batch=*/true, -1));
    EXPECT_EQ(fetched.error, Error::kNone);
    std::string bytes(static_cast<size_t>(fetched.plan.bytes), '\0');
    if (!bytes.empty()) {
      EXPECT_EQ(node_->io().ReadBlocking(fetched.plan.fd, bytes.data(), bytes.size(),
                                         fetched.plan.position.value()),
                fetched.plan.bytes);
    }
    fetched.plan = {};
    return bytes;
  }

  sim::SimWorld world_{11};
  std::unique_ptr<sim::SimNode> node_;
  std::unique_ptr<log::LogEnvironment> env_;
  std::unique_ptr<Partition> partition_;
  std::vector<std::unique_ptr<Call>> calls_;
  int held_ = -1;
};

TEST_F(PartitionTest, AppendsAndReadsBackWithOffsetsAndEpoch) {
  Open();
  EXPECT_EQ(Produce(MakeBatch({.records = 3})).base_offset, Offset(0));
  const ProduceResult second = Produce(MakeBatch({.records = 2}) + MakeBatch({.records = 5}));
  EXPECT_EQ(second.error, Error::kNone);
  EXPECT_EQ(second.base_offset, Offset(3));
  EXPECT_EQ(second.log_append_time_ms, -1);
  EXPECT_EQ(second.log_start, Offset(0));
  EXPECT_EQ(partition_->high_watermark(), Offset(10));
  const std::string bytes = Read(4);
  log::BatchWalker walker(base::AsBytes(bytes));
  ASSERT_TRUE(walker.Next());
  EXPECT_EQ(walker.batch().base_offset(), Offset(3));
  EXPECT_EQ(walker.batch().leader_epoch(), 7);
  ASSERT_TRUE(walker.Next());
  EXPECT_EQ(walker.batch().base_offset(), Offset(5));
  EXPECT_FALSE(walker.Next());
}

TEST_F(PartitionTest, ACompactedTopicTakesNoRecordWithoutAKey) {
  records::Decompressor decompressor(1 << 20);
  Open({.compaction = {.on = true}, .decompressor = &decompressor});
  EXPECT_EQ(Produce(MakeBatch({})).error, Error::kInvalidRecord);
  for (const log::Codec codec : {log::Codec::kNone, log::Codec::kZstd}) {
    for (const bool keyed : {true, false}) {
      records::RecordBatchBuilder builder({.compression = {.codec = codec}});
      const base::ByteView text = base::AsBytes("text");
      builder.Append({.key = text, .value = text, .timestamp_ms = 1});
      builder.Append({.key = keyed ? std::optional(text) : std::nullopt, .timestamp_ms = 1});
      const auto batch = builder.Finish();
      ASSERT_TRUE(batch.ok());
      EXPECT_EQ(Produce(std::string(base::AsText(*batch))).error,
                keyed ? Error::kNone : Error::kInvalidRecord);
    }
  }
}

struct SlowPace : log::CompactionPace {
  task::Task<void> Spend(int64_t) override {
    ++steps;
    task::Scheduler& scheduler = task::Scheduler::Current();
    co_await scheduler.SleepUntil(scheduler.now() + 10 * base::kNanosPerMilli);
  }
  int steps = 0;
};

TEST_F(PartitionTest, ACloseDoesNotWaitForTheEndOfACompaction) {
  Open({.log = {.segment_bytes_max = 70'000}});
  for (int i = 0; i < 40; ++i) Produce(MakeBatch({.value_bytes = 30'000}));
  world_.RunFor(base::kNanosPerSecond);  // full segments are saved
  partition_->SetConfig({.compaction = {.on = true, .dirty_ratio_min = 0}});
  SlowPace pace;
  CompactionCounters counters;
  const CompactionWork work = {.memory_bytes_max = 1 << 20, .pace = &pace, .counters = &counters};
  std::optional<absl::Status> ended;
  node_->Start("compact",
               [](Partition* partition, const CompactionWork* what,
                  std::optional<absl::Status>* end) -> task::Task<void> {
                 *end = (co_await partition->Compact(*what)).status();
               }(partition_.get(), &work, &ended));
  ASSERT_TRUE(world_.RunUntil([&] { return pace.steps == 2; }));
  ASSERT_TRUE(node_->Run(partition_->Close(/*remove=*/false)).ok());
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(absl::IsAborted(*ended)) << *ended;
  EXPECT_EQ(pace.steps, 2);
}

// Compressed records are not looked into, so the header's counts are all there is.
TEST_F(PartitionTest, CountsThatNoSegmentCanIndexAreRefused) {
  Open();
  std::string batch = MakeBatch({.attributes = 1});
  auto* at = reinterpret_cast<uint8_t*>(batch.data());
  base::StoreBe<int32_t>(at + log::kLastOffsetDeltaAt, INT32_MAX - 1);
  base::StoreBe<int32_t>(at + log::kRecordCountAt, INT32_MAX);
  FixCrc(&batch);
  EXPECT_EQ(Produce(batch + batch).error, Error::kInvalidRecord);
  EXPECT_EQ(partition_->log_end(), Offset(0));
  // One such batch is strange, but fits; so does what follows it, in a segment of its own.
  EXPECT_EQ(Produce(batch).error, Error::kNone);
  EXPECT_EQ(Produce(batch).error, Error::kNone);
  EXPECT_EQ(Produce(MakeBatch({})).base_offset, Offset(2 * int64_t{INT32_MAX}));
}

// What a crash in the middle of a creation or a deletion leaves.
TEST_F(PartitionTest, ADirectoryWithoutAnIdentityIsMadeAnewOrRefusedIfItHoldsRecords) {
  world_.disk().Put(std::string(kDirectory) + "/00000000000000000000.log", "");
  Open();
  EXPECT_EQ(Produce(MakeBatch({})).base_offset, Offset(0));
  Kill();
  node_ = std::make_unique<sim::SimNode>(world_, world_.NewProcess("broker"));
  env_ = std::make_unique<log::LogEnvironment>(node_->io(), log::LogOptions{}, nullptr);
  const std::string metadata = std::string(kDirectory) + "/partition.metadata";
  ASSERT_TRUE(world_.disk().Content(metadata).has_value()) << "the new one has an identity";
  ASSERT_TRUE(node_->Run(io::Unlink(node_->io(), metadata)).ok());
  const auto opened = node_->Run(Partition::Open(
      *env_, kDirectory, {.name = {"t", 0}, .topic_id = base::Uuid::Random()}, {}, {}, nullptr));
  EXPECT_TRUE(absl::IsFailedPrecondition(opened.status())) << opened.status();
}

TEST_F(PartitionTest, EachKindOfBadBatchHasItsError) {
  Open({.batch_bytes_max = 1000});
  const std::string good = MakeBatch({.records = 3});
  struct Bad {
    const char* what;
    Error error;
    std::function<void(std::string*)> spoil;
    bool fix_crc = true;
  };
  const auto byte = [](size_t at, int value) {
    return [at, value](std::string* batch) { (*batch)[at] = static_cast<char>(value); };
  };
  const std::vector<Bad> all = {
      {"a flipped bit", Error::kCorruptBatch, byte(70, 0x7f), false},
      {"a wrong CRC", Error::kCorruptBatch, byte(log::kCrcAt, 0x01), false},
      {"magic 1", Error::kInvalidRecord, byte(log::kMagicAt, 1)},
      {"magic 0", Error::kInvalidRecord, byte(log::kMagicAt, 0)},
      {"a control batch", Error::kInvalidRecord, byte(log::kAttributesAt + 1, 0x20)},
      {"a codec nobody knows", Error::kUnsupportedCodec, byte(log::kAttributesAt + 1, 6)},
      {"a transaction's batch", Error::kTransactionsUnsupported,
       [](std::string* batch) {
         *batch = MakeBatch({.producer_id = 5,
                             .producer_epoch = 0,
                             .base_sequence = 0,
                             .attributes = log::kTransactionalBit});
       }},
      {"a count that does not fit", Error::kInvalidRecord, byte(log::kRecordCountAt + 3, 2)},
      {"no records", Error::kInvalidRecord, byte(log::kRecordCountAt + 3, 0)},
      {"a negative count", Error::kInvalidRecord, byte(log::kRecordCountAt, 0x80)},
      {"unknown attributes", Error::kInvalidRecord, byte(log::kAttributesAt, 0x40)},
      {"a producer id without an epoch", Error::kInvalidRecord,
       [](std::string* batch) { *batch = MakeBatch({.producer_id = 5}); }},
      {"a cut batch", Error::kCorruptBatch,
       [](std::string* batch) { batch->resize(batch->size() - 1); }, false},
      {"bytes behind it", Error::kCorruptBatch, [](std::string* batch) { *batch += "xy"; }, false},
      {"an oversized batch", Error::kBatchTooLarge,
       [](std::string* batch) { *batch = MakeBatch({.value_bytes = 1000}); }},
      {"a length below the header", Error::kCorruptBatch, byte(log::kBatchLengthAt + 3, 8), false},
      {"nothing", Error::kInvalidRecord, [](std::string* batch) { batch->clear(); }, false},
  };
  for (const Bad& bad : all) {
    std::string batch = good;
    bad.spoil(&batch);
    if (bad.fix_crc) FixCrc(&batch);
    // Alone, and behind a good one: all or nothing.
    for (const std::string& before : {std::string(), good}) {
      if (batch.empty() && !before.empty()) continue;
      const ProduceResult result = Produce(before + batch);
      EXPECT_EQ(result.error, bad.error)
          << bad.what << ": " << base::ErrorText(result.error) << (before.empty() ? "" : " (2nd)");
      EXPECT_EQ(result.base_offset, Offset(-1)) << bad.what;
    }
  }
  EXPECT_EQ(partition_->log_end(), Offset(0)) << "nothing was appended";
  EXPECT_EQ(partition_->counters().batches_in, 0u);
  EXPECT_EQ(partition_->counters().produce_errors, 2 * all.size() - 1);
}

TEST_F(PartitionTest, DuplicatesAreAnsweredWithTheOriginalsOffsets) {
  Open();
  const auto batch = [](int32_t sequence, int32_t records = 2, int16_t epoch = 0) {
    return MakeBatch(
        {.records = records, .producer_id = 9, .producer_epoch = epoch, .base_sequence = sequence});
  };
  EXPECT_EQ(Produce(batch(0)).base_offset, Offset(0));
  EXPECT_EQ(Produce(batch(2)).base_offset, Offset(2));
  const ProduceResult again = Produce(batch(0));
  EXPECT_EQ(again.error, Error::kNone);
  EXPECT_EQ(again.base_offset, Offset(0));
  EXPECT_EQ(partition_->log_end(), Offset(4));
  const ProduceResult gap = Produce(batch(6));
  EXPECT_EQ(gap.error, Error::kOutOfOrderSequence);
  EXPECT_EQ(gap.base_offset, Offset(-1));
  EXPECT_EQ(Produce(batch(0, 2, 1)).base_offset, Offset(4)) << "a new epoch starts anew";
  EXPECT_EQ(Produce(batch(4, 2, 0)).error, Error::kProducerFenced);
}

TEST_F(PartitionTest, SeveralBatchesOfAProducerMustContinueEachOther) {
  Open();
  const auto batch = [](int32_t sequence, int64_t producer_id = 9) {
    return MakeBatch(
        {.records = 2, .producer_id = producer_id, .producer_epoch = 0, .base_sequence = sequence});
  };
  EXPECT_EQ(Produce(batch(0) + batch(2) + batch(4)).error, Error::kNone);
  EXPECT_EQ(Produce(batch(6) + batch(9)).error, Error::kOutOfOrderSequence);
  EXPECT_EQ(Produce(batch(6) + batch(6)).error, Error::kOutOfOrderSequence);
  EXPECT_EQ(Produce(batch(6) + batch(0, 10)).error, Error::kInvalidRecord);
  EXPECT_EQ(Produce(batch(6) + MakeBatch({})).error, Error::kInvalidRecord);
  EXPECT_EQ(Produce(MakeBatch({}) + batch(6)).error, Error::kInvalidRecord);
  EXPECT_EQ(partition_->log_end(), Offset(6));
  EXPECT_EQ(Produce(batch(6) + batch(8)).base_offset, Offset(6));
}

TEST_F(PartitionTest, SequencesWrapAround) {
  Open();
  const auto batch = [](int32_t sequence) {
    return MakeBatch(
        {.records = 2, .producer_id = 9, .producer_epoch = 0, .base_sequence = sequence});
  };
  // A producer that this broker never saw may start anywhere.
  EXPECT_EQ(Produce(batch(INT32_MAX - 1)).error, Error::kNone);
  EXPECT_EQ(Produce(batch(0) + batch(2)).base_offset, Offset(2));
}

TEST_F(PartitionTest, ADuplicateOfWhatIsInFlightWaitsForIt) {
  Open({}, ThroughTheRing());
  const std::string batch =
      MakeBatch({.records = 2, .producer_id = 9, .producer_epoch = 0, .base_sequence = 0});
  HoldWrites();
  Call* first = Start(batch);
  Call* again = Start(batch);
  world_.RunFor(base::kNanosPerSecond);
  EXPECT_FALSE(first->result.has_value());
  EXPECT_FALSE(again->result.has_value()) << "acknowledged before it was written";
  ReleaseWrites();
  ASSERT_TRUE(Ended(first) && Ended(again));
  EXPECT_EQ(again->result->error, Error::kNone);
  EXPECT_EQ(again->result->base_offset, first->result->base_offset);
  EXPECT_EQ(partition_->log_end(), Offset(2));
}

TEST_F(PartitionTest, ADuplicateOfWhatThenFailsIsNotAcknowledged) {
  for (const int error : {ENOSPC, EIO}) {
    Open({}, ThroughTheRing());
    const std::string batch =
        MakeBatch({.records = 2, .producer_id = 9, .producer_epoch = 0, .base_sequence = 0});
    const int64_t before = partition_->log_end().value();
    const int fails = world_.faults().Add({.kind = sim::FaultKind::kError,
                                           .error = error,
                                           .codes = {io::OpCode::kWrite},
                                           .path = ".log"});
    Call* first = Start(batch);
    Call* again = Start(batch);
    ASSERT_TRUE(Ended(first) && Ended(again));
    EXPECT_EQ(world_.faults().fired(fails), 1u);
    EXPECT_EQ(first->result->error, error == ENOSPC ? Error::kDiskFull : Error::kStorageError);
    EXPECT_EQ(again->result->error, first->result->error) << "what may be tried again";
    EXPECT_EQ(first->result->base_offset, Offset(-1));
    EXPECT_EQ(again->result->base_offset, Offset(-1));
    EXPECT_EQ(partition_->log_end(), Offset(before));
    world_.faults().Clear();
  }
}

TEST_F(PartitionTest, RequestsAppendInTheOrderOfTheirCalls) {
  Open({}, ThroughTheRing());
  HoldWrites();
  std::vector<Call*> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(Start(MakeBatch({.records = 1 + i % 3})));
  world_.RunFor(base::kNanosPerMilli);
  EXPECT_EQ(partition_->high_watermark(), Offset(0)) << "moves only after the write";
  EXPECT_EQ(Read(0), "");
  ReleaseWrites();
  int64_t next = 0;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(Ended(calls[static_cast<size_t>(i)]));
    EXPECT_EQ(calls[static_cast<size_t>(i)]->result->base_offset, Offset(next));
    next += 1 + i % 3;
  }
  EXPECT_EQ(partition_->high_watermark(), Offset(next));
}

TEST_F(PartitionTest, LogAppendTimeIsTheBrokersAndTheBatchStaysWhole) {
  Open({.log_append_time = true});
  const ProduceResult result = Produce(MakeBatch({.records = 2, .timestamp_ms = 5}) +
                                       MakeBatch({.records = 1, .timestamp_ms = 6}));
  ASSERT_EQ(result.error, Error::kNone);
  EXPECT_GE(result.log_append_time_ms, 1'700'000'000'000);
  const std::string bytes = Read(0);
  log::BatchWalker walker(base::AsBytes(bytes));
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(walker.Next());
    EXPECT_TRUE(walker.batch().log_append_time());
    EXPECT_EQ(walker.batch().max_timestamp_ms(), result.log_append_time_ms);
    EXPECT_EQ(walker.batch().crc(), walker.batch().ComputeCrc());
  }
}

// Where there is no space, what lets some go must not wait for it.
TEST_F(PartitionTest, AFullDiskLetsRetentionAndDeleteRecordsGoOn) {
  PartitionConfig config;
  config.log.segment_bytes_max = 4096;
  config.retention = {.ms = -1, .bytes = 8192};
  Open(config, ThroughTheRing());
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(Produce(MakeBatch({.value_bytes = 1500})).error, Error::kNone);
  }
  world_.faults().Add({.kind = sim::FaultKind::kError,
                       .error = ENOSPC,
                       .codes = {io::OpCode::kWrite},
                       .path = ".log"});
  ASSERT_EQ(Produce(MakeBatch({.value_bytes = 1500})).error, Error::kDiskFull);
  ASSERT_FALSE(partition_->log().write_status().ok());
  const size_t segments = partition_->log().segment_count();
  const auto retained = node_->Run(partition_->Retain());
  ASSERT_TRUE(retained.ok()) << retained.status();
  EXPECT_GT(retained->by_bytes, 0u);
  EXPECT_EQ(partition_->log().segment_count(), segments - retained->by_bytes);
  EXPECT_EQ(partition_->log_start(), retained->start);

  const OffsetResult past = node_->Run(partition_->DeleteRecords(Offset(21)));
  EXPECT_EQ(past.error, Error::kOffsetOutOfRange);
  EXPECT_EQ(node_->Run(partition_->DeleteRecords(Offset(-1))).offset, Offset(20));
  EXPECT_EQ(partition_->log().segment_count(), 1u);
}

// A crash between a moved start and the last of its files. Compaction has nothing to do there, and
// retention removes them, though it lets nothing go itself.
TEST_F(PartitionTest, WhatIsLeftBelowTheStartIsRemovedAndNotCompacted) {
  PartitionConfig config;
  config.log.segment_bytes_max = 4096;
  config.retention = {.ms = -1, .bytes = -1};
  Open(config, ThroughTheRing());
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(Produce(MakeBatch({.value_bytes = 1500})).error, Error::kNone);
  }
  const size_t segments = partition_->log().segment_count();
  Kill();
  Open(config, ThroughTheRing(), {.log_start = Offset(9)});
  ASSERT_EQ(partition_->log_start(), Offset(9));
  ASSERT_EQ(partition_->log().segment_count(), segments);
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(Produce(MakeBatch({.value_bytes = 1500})).error, Error::kNone);
  }
  world_.RunFor(base::kNanosPerSecond);  // full segments are saved

  const std::string first = absl::StrCat(kDirectory, "/00000000000000000000.log");
  const auto before = world_.disk().Content(first);
  ASSERT_TRUE(before.has_value());
  config.compaction = {.on = true, .dirty_ratio_min = 0};
  partition_->SetConfig(config);
  SlowPace pace;
  CompactionCounters counters;
  const auto compacted = node_->Run(
      partition_->Compact({.memory_bytes_max = 1 << 20, .pace = &pace, .counters = &counters}));
  ASSERT_TRUE(compacted.ok() && *compacted) << compacted.status();
  EXPECT_LT(partition_->log().segment_count(), segments) << "those above have become one";
  EXPECT_TRUE(world_.disk().Content(first) == before);

  const auto retained = node_->Run(partition_->Retain());
  ASSERT_TRUE(retained.ok()) << retained.status();
  EXPECT_FALSE(world_.disk().Content(first).has_value());
  const auto left = node_->Run(partition_->log().Segments());
  ASSERT_TRUE(left.ok());
  EXPECT_LE(left->front().base, Offset(9));
  EXPECT_GT(left->front().end, Offset(9));
  EXPECT_EQ(partition_->log_start(), Offset(9));
}

TEST_F(PartitionTest, AnotherConfigHoldsForWhatComesThen) {
  Open();
  ASSERT_EQ(Produce(MakeBatch({.value_bytes = 1000})).error, Error::kNone);
  partition_->SetConfig({.batch_bytes_max = 500, .log_append_time = true});
  EXPECT_EQ(Produce(MakeBatch({.value_bytes = 1000})).error, Error::kBatchTooLarge);
  const ProduceResult stamped = Produce(MakeBatch({.timestamp_ms = 5}));
  EXPECT_EQ(stamped.error, Error::kNone);
  EXPECT_GE(stamped.log_append_time_ms, 1'700'000'000'000);
  partition_->SetConfig({});
  EXPECT_EQ(Produce(MakeBatch({.value_bytes = 1000})).log_append_time_ms, -1);
  PartitionConfig small;
  small.log.segment_bytes_max = 4096;  // the active segment is larger after the next append
  partition_->SetConfig(small);
  const size_t segments = partition_->log().segment_count();
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(Produce(MakeBatch({.value_bytes = 2000})).error, Error::kNone);
  }
  EXPECT_GE(partition_->log().segment_count(), segments + 3);
  EXPECT_EQ(partition_->high_watermark(), Offset(11));
}

// A look at the segments that began before is not finished after retention was made longer.
TEST_F(PartitionTest, ALongerRetentionKeepsWhatAPlanOfBeforeLetsGo) {
  PartitionConfig config;
  config.log.segment_bytes_max = 4096;
  config.retention = {.ms = -1, .bytes = 0};
  Open(config, ThroughTheRing());
  for (int i = 0; i < 12; ++i) {
    ASSERT_EQ(Produce(MakeBatch({.value_bytes = 1500})).error, Error::kNone);
  }
  const int held = world_.faults().Add(
      {.kind = sim::FaultKind::kHang, .codes = {io::OpCode::kUnlink}, .path = ".log"});
  auto ended = std::make_shared<int>(0);
  const auto count = [](std::shared_ptr<int> ended,
                        task::Task<OffsetResult> task) -> task::Task<void> {
    co_await std::move(task);
    ++*ended;
  };
  node_->Start("delete records", count(ended, partition_->DeleteRecords(Offset(3))));
  world_.RunFor(base::kNanosPerSecond);
  ASSERT_EQ(partition_->log_start(), Offset(3));
  ASSERT_EQ(*ended, 0) << "it is at its files";
  auto plan = std::make_shared<std::optional<absl::StatusOr<RetentionPlan>>>();
  node_->Start("retain", [](Partition* partition, decltype(plan) plan) -> task::Task<void> {
    *plan = co_await partition->Retain();
  }(partition_.get(), plan));
  world_.RunFor(base::kNanosPerSecond);
  ASSERT_FALSE(plan->has_value()) << "it waits for its turn";
  config.retention.bytes = -1;
  partition_->SetConfig(config);
  world_.faults().Release(held);
  ASSERT_TRUE(world_.RunUntil([&] { return plan->has_value() && *ended == 1; }));
  ASSERT_TRUE((*plan)->ok()) << (*plan)->status();
  EXPECT_EQ(partition_->log_start(), Offset(3));
}

TEST_F(PartitionTest, AFullDiskIsToldWakesWaitersAndForgetsTheProducersBatches) {
  Open({}, ThroughTheRing());
  const auto batch = [](int32_t sequence) {
    return MakeBatch(
        {.records = 1, .producer_id = 9, .producer_epoch = 0, .base_sequence = sequence});
  };
  ASSERT_EQ(Produce(batch(0)).error, Error::kNone);
  bool woken = false;
  node_->Start("wait", [](Partition* partition, bool* woken) -> task::Task<void> {
    FetchWait wait(nullptr);
    partition->Watch(wait);
    *woken = co_await wait.WaitUntil(base::kNever);
  }(partition_.get(), &woken));
  world_.faults().Add({.kind = sim::FaultKind::kError,
                       .error = ENOSPC,
                       .codes = {io::OpCode::kWrite},
                       .path = ".log"});
  Call* failing = Start(batch(1));
  Call* behind = Start(batch(2));
  ASSERT_TRUE(Ended(failing) && Ended(behind));
  EXPECT_EQ(failing->result->error, Error::kDiskFull);
  EXPECT_EQ(behind->result->error, Error::kDiskFull);
  EXPECT_EQ(partition_->log_end(), Offset(1));
  EXPECT_TRUE(woken);
  world_.RunFor(base::kNanosPerSecond);
  // Not a duplicate: what failed is forgotten. Not out of order either.
  const ProduceResult again = Produce(batch(1));
  EXPECT_EQ(again.error, Error::kNone);
  EXPECT_EQ(again.base_offset, Offset(1));
}

TEST_F(PartitionTest, AnInputOutputErrorPoisonsAppendsButNotReads) {
  Open({}, ThroughTheRing());
  const std::string first = MakeBatch({});
  ASSERT_EQ(Produce(first).error, Error::kNone);
  world_.faults().Add({.kind = sim::FaultKind::kError,
                       .error = EIO,
                       .codes = {io::OpCode::kWrite},
                       .path = ".log"});
  EXPECT_EQ(Produce(MakeBatch({})).error, Error::kStorageError);
  world_.RunFor(10 * base::kNanosPerSecond);
  EXPECT_EQ(Produce(MakeBatch({})).error, Error::kStorageError);
  EXPECT_EQ(Read(0).size(), first.size());
  EXPECT_EQ(partition_->high_watermark(), Offset(1));
}

TEST_F(PartitionTest, CloseEndsEveryWaitWithNotLeader) {
  for (const bool remove : {false, true}) {
    Open({}, ThroughTheRing());
    HoldWrites();
    const std::string batch = MakeBatch(
        {.records = 1, .producer_id = remove ? 10 : 9, .producer_epoch = 0, .base_sequence = 0});
    Call* pending = Start(batch);
    Call* duplicate = Start(batch);
    bool watcher_ended = false;
    node_->Start("wait", [](Partition* partition, bool* ended) -> task::Task<void> {
      FetchWait wait(nullptr);
      partition->Watch(wait);
      co_await wait.WaitUntil(base::kNever);
      *ended = true;
    }(partition_.get(), &watcher_ended));
    world_.RunFor(base::kNanosPerMilli);
    std::optional<absl::Status> closed;
    node_->Start("close",
                 [](Partition* partition, bool remove,
                    std::optional<absl::Status>* closed) -> task::Task<void> {
                   *closed = co_await partition->Close(remove);
                 }(partition_.get(), remove, &closed));
    world_.RunFor(base::kNanosPerMilli);
    EXPECT_TRUE(watcher_ended);
    ASSERT_TRUE(Ended(duplicate));
    EXPECT_EQ(duplicate->result->error, Error::kNotLeader);
    EXPECT_FALSE(closed.has_value()) << "the write in flight still refers to the batch";
    EXPECT_EQ(Produce(MakeBatch({})).error, Error::kNotLeader);
    EXPECT_EQ(node_->Run(partition_->Fetch(Offset(0), 100, true, -1)).error, Error::kNotLeader);
    EXPECT_EQ(node_->Run(partition_->AtTimestamp(0)).error, Error::kNotLeader);
    EXPECT_EQ(node_->Run(partition_->AtMaxTimestamp()).error, Error::kNotLeader);
    ReleaseWrites();
    ASSERT_TRUE(Ended(pending));
    EXPECT_TRUE(pending->result->error == Error::kNone ||
                pending->result->error == Error::kNotLeader);
    ASSERT_TRUE(world_.RunUntil([&] { return closed.has_value(); }));
    EXPECT_TRUE(closed->ok()) << *closed;
    EXPECT_EQ(world_.disk().Lookup(kDirectory) < 0, remove);
    world_.faults().Clear();
  }
}

TEST_F(PartitionTest, FetchChecksOffsetEpochAndLimits) {
  Open();
  ASSERT_EQ(Produce(MakeBatch({.records = 4})).error, Error::kNone);
  ASSERT_EQ(Produce(MakeBatch({.records = 4})).error, Error::kNone);
  const auto fetch = [&](int64_t from, int64_t bytes_max, bool one, int32_t epoch) {
    FetchResult result = node_->Run(partition_->Fetch(Offset(from), bytes_max, one, epoch));
    result.plan.pin.Release();
    return result;
  };
  EXPECT_EQ(fetch(-1, 100, true, -1).error, Error::kOffsetOutOfRange);
  EXPECT_EQ(fetch(9, 100, true, -1).error, Error::kOffsetOutOfRange);
  EXPECT_EQ(fetch(9, 100, true, -1).high_watermark, Offset(8)) << "told with the error";
  EXPECT_EQ(fetch(8, 100, true, -1).plan.bytes, 0);
  EXPECT_FALSE(fetch(8, 100, true, -1).more);
  EXPECT_EQ(fetch(0, 1 << 20, true, 6).error, Error::kFencedLeaderEpoch);
  EXPECT_EQ(fetch(0, 1 << 20, true, 8).error, Error::kUnknownLeaderEpoch);
  EXPECT_FALSE(fetch(0, 1 << 20, true, 7).more);
  const int64_t one_batch = static_cast<int64_t>(MakeBatch({.records = 4}).size());
  EXPECT_EQ(fetch(0, 1, true, -1).plan.bytes, one_batch);
  EXPECT_TRUE(fetch(0, 1, true, -1).more);
  EXPECT_EQ(fetch(0, 0, true, -1).plan.bytes, one_batch);
  EXPECT_EQ(fetch(0, one_batch, false, -1).plan.bytes, one_batch);
  EXPECT_EQ(fetch(0, one_batch - 1, false, -1).plan.bytes, 0);
  EXPECT_TRUE(fetch(0, one_batch - 1, false, -1).more);
  EXPECT_EQ(fetch(0, 0, false, -1).plan.bytes, 0);
}

TEST_F(PartitionTest, OffsetsByPointAndTime) {
  Open();
  EXPECT_EQ(partition_->Earliest().offset, Offset(0));
  EXPECT_EQ(partition_->Latest().offset, Offset(0));
  EXPECT_EQ(node_->Run(partition_->AtMaxTimestamp()).offset, Offset(-1));
  ASSERT_EQ(Produce(MakeBatch({.records = 3, .timestamp_ms = 100, .timestamp_step_ms = 10})).error,
            Error::kNone);
  EXPECT_EQ(partition_->Latest().offset, Offset(3));
  EXPECT_EQ(partition_->Latest().leader_epoch, 7);
  EXPECT_EQ(node_->Run(partition_->AtTimestamp(0)).offset, Offset(0));
  EXPECT_EQ(node_->Run(partition_->AtTimestamp(105)).offset, Offset(1));
  EXPECT_EQ(node_->Run(partition_->AtTimestamp(105)).timestamp_ms, 110);
  EXPECT_EQ(node_->Run(partition_->AtTimestamp(121)).offset, Offset(-1));
  EXPECT_EQ(node_->Run(partition_->AtMaxTimestamp()).offset, Offset(2));
}

TEST_F(PartitionTest, ProducersAreRememberedAcrossAKill) {
  Open();
  const std::string batch =
      MakeBatch({.records = 2, .producer_id = 9, .producer_epoch = 0, .base_sequence = 0});
  ASSERT_EQ(Produce(MakeBatch({})).error, Error::kNone);
  ASSERT_EQ(Produce(batch).base_offset, Offset(1));
  Open();
  EXPECT_EQ(partition_->high_watermark(), Offset(3));
  const ProduceResult again = Produce(batch);
  EXPECT_EQ(again.error, Error::kNone);
  EXPECT_EQ(again.base_offset, Offset(1));
  EXPECT_EQ(partition_->log_end(), Offset(3));
}

TEST_F(PartitionTest, EachOfFiveBatchesInFlightIsRememberedAcrossAStopAndAKill) {
  Open();
  std::vector<std::string> batches;
  for (int i = 0; i < 6; ++i) {
    batches.push_back(
        MakeBatch({.records = 2, .producer_id = 9, .producer_epoch = 0, .base_sequence = i * 2}));
    if (i == 4) ASSERT_TRUE(node_->Run(Roll(partition_.get())).ok());
    ASSERT_EQ(Produce(batches.back()).base_offset, Offset(i * 2));
  }
  const auto expect_known = [&] {
    for (int i = 1; i < 6; ++i) {
      const ProduceResult again = Produce(batches[static_cast<size_t>(i)]);
      EXPECT_EQ(again.error, Error::kNone) << i;
      EXPECT_EQ(again.base_offset, Offset(i * 2));
    }
    EXPECT_EQ(partition_->log_end(), Offset(12));
  };
  ASSERT_TRUE(node_->Run(partition_->Close(/*remove=*/false)).ok());
  Open({}, {}, {.clean = true, .recovery_point = Offset(12)});
  expect_known();
  Open();
  expect_known();
}

TEST_F(PartitionTest, AnotherTopicsDirectoryIsNotOpened) {
  Open();
  ASSERT_EQ(Produce(MakeBatch({})).error, Error::kNone);
  Kill();
  node_ = std::make_unique<sim::SimNode>(world_, world_.NewProcess("broker"));
  env_ = std::make_unique<log::LogEnvironment>(node_->io(), log::LogOptions{}, nullptr);
  const auto opened = node_->Run(Partition::Open(
      *env_, kDirectory, {.name = {"t", 0}, .topic_id = base::Uuid::Random()}, {}, {}, nullptr));
  EXPECT_TRUE(absl::IsFailedPrecondition(opened.status())) << opened.status();
}

TEST_F(PartitionTest, OneThatTheJournalKnowsIsNotBegunAnewWhereItsDirectoryIsMissing) {
  node_ = std::make_unique<sim::SimNode>(world_, world_.NewProcess("broker"));
  env_ = std::make_unique<log::LogEnvironment>(node_->io(), log::LogOptions{}, nullptr);
  log::OpenOptions options;
  options.recovered = log::RecoveredLog{.closed_reason = "it is gone"};
  const auto opened = node_->Run(Partition::Open(
      *env_, kDirectory, {.name = {"t", 0}, .topic_id = kTopicId}, {}, options, nullptr));
  EXPECT_TRUE(absl::IsFailedPrecondition(opened.status())) << opened.status();
  EXPECT_EQ(opened.status().message(), "it is gone");
  EXPECT_FALSE(node_->io().StatPath(kDirectory).ok());
}

TEST(FetchWaitTest, EndsByDeadlineWakeOrCancel) {
  sim::SimWorld world(3);
  sim::SimNode node(world, world.NewProcess("p"));
  const auto wait = [](CancelToken* cancel, base::Nanos deadline,
                       task::IntrusiveList<FetchLink>* list) -> task::Task<bool> {
    FetchWait wait(cancel);
    wait.Watch(*list);
    co_return co_await wait.WaitUntil(deadline);
  };
  task::IntrusiveList<FetchLink> list;
  CancelToken cancel;
  const base::Nanos start = world.now();
  EXPECT_FALSE(node.Run(wait(&cancel, start + base::kNanosPerSecond, &list)));
  EXPECT_GE(world.now() - start, base::kNanosPerSecond);
  EXPECT_TRUE(list.empty()) << "who has ended watches no more";
  world.After(base::kNanosPerMilli, "wake", [&] {
    const task::Scheduler::Scope scope(node.scheduler());
    list.ForEach([](FetchLink& link) { link.wait->Wake(); });
  });
  EXPECT_TRUE(node.Run(wait(&cancel, base::kNever, &list)));
  world.After(base::kNanosPerMilli, "cancel", [&] {
    const task::Scheduler::Scope scope(node.scheduler());
    cancel.Cancel();
  });
  EXPECT_FALSE(node.Run(wait(&cancel, base::kNever, &list)));
  EXPECT_FALSE(node.Run(wait(&cancel, base::kNever, &list))) << "stays cancelled";
  cancel.Reset();
  EXPECT_FALSE(node.Run(wait(&cancel, world.now() + base::kNanosPerMilli, &list)));
  EXPECT_TRUE(list.empty());
}

}  // namespace
}  // namespace ringtail::partition
