#include "engine/log/batch.h"

#include <cstdint>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "engine/base/crc32c.h"
#include "gtest/gtest.h"
#include "tests/engine/log/golden_batches.h"

namespace ringtail::log {

void PrintTo(BatchError error, std::ostream* out) { *out << std::string(BatchErrorText(error)); }

namespace {

using base::ByteView;
using base::Offset;
using base::StoreBe;
using Bytes = std::vector<uint8_t>;

constexpr size_t kLimit = 1 << 20;

// After a change of the fields under the CRC.
void FixCrc(Bytes& batch) {
  const uint32_t crc = base::Crc32c(ByteView(batch).subspan(kAttributesAt));
  StoreBe<uint32_t>(batch.data() + kCrcAt, crc);
}

BatchError Validated(const Bytes& bytes, const BatchRules& rules) {
  const auto parsed = ParseBatch(bytes);
  return parsed.ok() ? ValidateBatch(parsed.batch, rules) : parsed.error;
}

BatchError AsProducer(const Bytes& bytes) { return Validated(bytes, BatchRules::Producer(kLimit)); }
BatchError AsVerbatim(const Bytes& bytes) { return Validated(bytes, BatchRules::Verbatim()); }

// The golden batch with one field changed and the CRC repaired.
template <class T>
Bytes With(size_t at, T value) {
  Bytes bytes = GoldenBatch(0);
  StoreBe<T>(bytes.data() + at, value);
  FixCrc(bytes);
  return bytes;
}

TEST(BatchTest, ReadsEveryFieldOfAForeignBatch) {
  Bytes bytes = GoldenBatch(0);
  PatchBaseOffset(bytes, Offset(0x0102030405060708));
  PatchLeaderEpoch(bytes, 0x11121314);
  const auto parsed = ParseBatch(bytes);
  ASSERT_EQ(parsed.error, BatchError::kNone);
  const BatchView& batch = parsed.batch;
  EXPECT_EQ(batch.base_offset(), Offset(0x0102030405060708));
  EXPECT_EQ(batch.last_offset(), Offset(0x010203040506070a));
  EXPECT_EQ(batch.next_offset(), Offset(0x010203040506070b));
  EXPECT_EQ(batch.size_bytes(), bytes.size());
  EXPECT_EQ(batch.leader_epoch(), 0x11121314);
  EXPECT_EQ(batch.magic(), 2);
  EXPECT_EQ(batch.crc(), 0x9ef36a8du);
  EXPECT_EQ(batch.ComputeCrc(), batch.crc());
  EXPECT_EQ(batch.attributes(), 0);
  EXPECT_EQ(batch.codec(), Codec::kNone);
  EXPECT_EQ(batch.last_offset_delta(), 2);
  EXPECT_EQ(batch.base_timestamp_ms(), 1'700'000'000'000);
  EXPECT_EQ(batch.max_timestamp_ms(), 1'700'000'000'250);
  EXPECT_EQ(batch.producer_id(), 4242);
  EXPECT_EQ(batch.producer_epoch(), 7);
  EXPECT_EQ(batch.base_sequence(), 99);
  EXPECT_EQ(batch.last_sequence(), 101);
  EXPECT_EQ(batch.record_count(), 3);
  EXPECT_EQ(batch.records().size(), bytes.size() - 61);
  EXPECT_FALSE(batch.compressed() || batch.control() || batch.transactional());
  EXPECT_FALSE(batch.log_append_time() || batch.has_delete_horizon());
}

TEST(BatchTest, AcceptsForeignBatchesOfEveryCodec) {
  for (size_t codec = 0; codec <= kCodecMax; ++codec) {
    const Bytes bytes = GoldenBatch(codec);
    EXPECT_EQ(AsProducer(bytes), BatchError::kNone) << codec;
    EXPECT_EQ(AsVerbatim(bytes), BatchError::kNone) << codec;
    EXPECT_EQ(ParseBatch(bytes).batch.codec(), static_cast<Codec>(codec));
  }
}

TEST(BatchTest, PatchesLeaveTheCrcValidAndTheRestAlone) {
  const Bytes before = GoldenBatch(4);
  Bytes after = before;
  PatchBaseOffset(after, Offset(INT64_MAX - 10));
  PatchLeaderEpoch(after, 77);
  EXPECT_EQ(AsProducer(after), BatchError::kNone);
  EXPECT_EQ(Bytes(after.begin() + 16, after.end()), Bytes(before.begin() + 16, before.end()));
  EXPECT_EQ(Bytes(after.begin() + 8, after.begin() + 12),
            Bytes(before.begin() + 8, before.begin() + 12));
}

TEST(BatchTest, LogAppendTimeSetsBitTimeAndCrc) {
  Bytes bytes = GoldenBatch(3);
  SetLogAppendTime(bytes, 1'800'000'000'123);
  const auto parsed = ParseBatch(bytes);
  ASSERT_TRUE(parsed.ok());
  EXPECT_TRUE(parsed.batch.log_append_time());
  EXPECT_EQ(parsed.batch.codec(), Codec::kLz4);
  EXPECT_EQ(parsed.batch.max_timestamp_ms(), 1'800'000'000'123);
  EXPECT_EQ(parsed.batch.base_timestamp_ms(), 1'700'000'000'000);
  EXPECT_EQ(AsVerbatim(bytes), BatchError::kNone);
  EXPECT_EQ(AsProducer(bytes), BatchError::kBadAttributes);
}

TEST(BatchTest, EveryTruncationIsTooShort) {
  const Bytes bytes = GoldenBatch(0);
  for (size_t size = 0; size < bytes.size(); ++size) {
    const ByteView cut = ByteView(bytes).first(size);
    ASSERT_EQ(ParseBatch(cut).error, BatchError::kTooShort) << size;
    const BatchError header_error = ParseBatchHeader(cut).error;
    ASSERT_EQ(header_error, size < kBatchHeaderBytes ? BatchError::kTooShort : BatchError::kNone);
  }
}

TEST(BatchTest, EveryFlippedBitUnderTheCrcIsFound) {
  const Bytes good = GoldenBatch(0);
  for (size_t at = kCrcAt; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes bad = good;
      bad[at] ^= static_cast<uint8_t>(1 << bit);
      ASSERT_EQ(AsProducer(bad), BatchError::kBadCrc) << at;
      ASSERT_EQ(AsVerbatim(bad), BatchError::kBadCrc) << at;
    }
  }
}

TEST(BatchTest, ImpossibleLengthsAreRefusedBeforeTheRestIsThere) {
  Bytes bytes = GoldenBatch(0);
  for (const int32_t length : {INT32_MIN, -1, 0, 13, 48}) {
    StoreBe<int32_t>(bytes.data() + kBatchLengthAt, length);
    EXPECT_EQ(ParseBatch(bytes).error, BatchError::kBadLength) << length;
  }
  StoreBe<int32_t>(bytes.data() + kBatchLengthAt, INT32_MAX);
  EXPECT_EQ(ParseBatch(bytes).error, BatchError::kTooShort);
  EXPECT_EQ(ParseBatch(bytes, kLimit).error, BatchError::kTooLarge);
  EXPECT_EQ(ParseBatch(ByteView(bytes).first(12), kLimit).error, BatchError::kTooLarge);
  // What an unwritten stretch of a preallocated file looks like.
  EXPECT_EQ(ParseBatch(Bytes(4096)).error, BatchError::kBadLength);
}

TEST(BatchTest, OlderFormatsAreBadMagicHoweverShort) {
  Bytes bytes = GoldenBatch(0);
  StoreBe<int32_t>(bytes.data() + kBatchLengthAt, 14);
  bytes[kMagicAt] = 1;
  EXPECT_EQ(ParseBatch(bytes).error, BatchError::kBadMagic);
  EXPECT_EQ(ParseBatch(ByteView(bytes).first(17)).error, BatchError::kBadMagic);
  bytes[kMagicAt] = 3;
  EXPECT_EQ(ParseBatch(bytes).error, BatchError::kBadMagic);
}

TEST(BatchTest, TooLargeForTheTopicIsRefused) {
  const Bytes bytes = GoldenBatch(0);
  EXPECT_EQ(Validated(bytes, BatchRules::Producer(bytes.size())), BatchError::kNone);
  EXPECT_EQ(Validated(bytes, BatchRules::Producer(bytes.size() - 1)), BatchError::kTooLarge);
}

TEST(BatchTest, CountsMustAgreeInAProducersBatch) {
  EXPECT_EQ(AsProducer(With<int32_t>(kRecordCountAt, 0)), BatchError::kBadCount);
  EXPECT_EQ(AsProducer(With<int32_t>(kRecordCountAt, -1)), BatchError::kBadCount);
  EXPECT_EQ(AsProducer(With<int32_t>(kRecordCountAt, INT32_MIN)), BatchError::kBadCount);
  EXPECT_EQ(AsProducer(With<int32_t>(kRecordCountAt, 4)), BatchError::kBadCount);
  EXPECT_EQ(AsProducer(With<int32_t>(kLastOffsetDeltaAt, 3)), BatchError::kBadCount);
  EXPECT_EQ(AsProducer(With<int32_t>(kLastOffsetDeltaAt, -1)), BatchError::kBadCount);
  // The bytes of three small records cannot hold a thousand.
  Bytes many = With<int32_t>(kRecordCountAt, 1000);
  StoreBe<int32_t>(many.data() + kLastOffsetDeltaAt, 999);
  FixCrc(many);
  EXPECT_EQ(AsProducer(many), BatchError::kBadCount);
}

TEST(BatchTest, VerbatimBatchesMayHaveGaps) {
  EXPECT_EQ(AsVerbatim(With<int32_t>(kLastOffsetDeltaAt, 1000)), BatchError::kNone);
  EXPECT_EQ(AsVerbatim(With<int32_t>(kRecordCountAt, 0)), BatchError::kNone);
  EXPECT_EQ(AsVerbatim(With<int32_t>(kRecordCountAt, 4)), BatchError::kBadCount);
  EXPECT_EQ(AsVerbatim(With<int32_t>(kRecordCountAt, -1)), BatchError::kBadCount);
  EXPECT_EQ(AsVerbatim(With<int32_t>(kLastOffsetDeltaAt, -1)), BatchError::kBadCount);
}

TEST(BatchTest, VerbatimOffsetsMustExist) {
  EXPECT_EQ(AsVerbatim(With<int64_t>(kBaseOffsetAt, -1)), BatchError::kBadOffset);
  EXPECT_EQ(AsVerbatim(With<int64_t>(kBaseOffsetAt, INT64_MAX)), BatchError::kBadOffset);
  EXPECT_EQ(AsVerbatim(With<int64_t>(kBaseOffsetAt, INT64_MAX - 2)), BatchError::kBadOffset);
  EXPECT_EQ(AsVerbatim(With<int64_t>(kBaseOffsetAt, INT64_MAX - 3)), BatchError::kNone);
  // A producer's base offset is overwritten, so it may be anything.
  EXPECT_EQ(AsProducer(With<int64_t>(kBaseOffsetAt, -1)), BatchError::kNone);
}

TEST(BatchTest, AttributesAreChecked) {
  for (uint16_t codec = 5; codec <= 7; ++codec) {
    EXPECT_EQ(AsProducer(With<uint16_t>(kAttributesAt, codec)), BatchError::kBadCodec);
    EXPECT_EQ(AsVerbatim(With<uint16_t>(kAttributesAt, codec)), BatchError::kBadCodec);
  }
  EXPECT_EQ(AsProducer(With<uint16_t>(kAttributesAt, 0x10)), BatchError::kTransactional);
  EXPECT_EQ(AsProducer(With<uint16_t>(kAttributesAt, 0x20)), BatchError::kControlBatch);
  EXPECT_EQ(AsProducer(With<uint16_t>(kAttributesAt, 0x30)), BatchError::kControlBatch);
  EXPECT_EQ(AsProducer(With<uint16_t>(kAttributesAt, 0x40)), BatchError::kBadAttributes);
  EXPECT_EQ(AsProducer(With<uint16_t>(kAttributesAt, 0x8000)), BatchError::kBadAttributes);
  EXPECT_EQ(AsVerbatim(With<uint16_t>(kAttributesAt, 0x78)), BatchError::kNone);
  BatchRules transactions = BatchRules::Producer(kLimit);
  transactions.allow_transactional = true;
  EXPECT_EQ(Validated(With<uint16_t>(kAttributesAt, 0x10), transactions), BatchError::kNone);
}

TEST(BatchTest, ProducerFieldsGoTogether) {
  EXPECT_EQ(AsProducer(With<int64_t>(kProducerIdAt, -2)), BatchError::kBadProducer);
  EXPECT_EQ(AsProducer(With<int64_t>(kProducerIdAt, -1)), BatchError::kNone);
  EXPECT_EQ(AsProducer(With<int16_t>(kProducerEpochAt, -1)), BatchError::kBadProducer);
  EXPECT_EQ(AsProducer(With<int32_t>(kBaseSequenceAt, -1)), BatchError::kBadProducer);
  EXPECT_EQ(AsVerbatim(With<int32_t>(kBaseSequenceAt, -1)), BatchError::kNone);
  Bytes nobodys_transaction = With<uint16_t>(kAttributesAt, 0x10);
  StoreBe<int64_t>(nobodys_transaction.data() + kProducerIdAt, -1);
  FixCrc(nobodys_transaction);
  EXPECT_EQ(AsVerbatim(nobodys_transaction), BatchError::kBadProducer);
}

TEST(BatchTest, SequencesWrapToZero) {
  const Bytes bytes = With<int32_t>(kBaseSequenceAt, INT32_MAX - 1);
  EXPECT_EQ(ParseBatch(bytes).batch.last_sequence(), 0);
  const Bytes none = With<int32_t>(kBaseSequenceAt, -1);
  EXPECT_EQ(ParseBatch(none).batch.last_sequence(), kNoSequence);
}

TEST(BatchTest, TimestampsOfAProducer) {
  EXPECT_EQ(AsProducer(With<int64_t>(kMaxTimestampAt, 5)), BatchError::kBadTimestamps);
  EXPECT_EQ(AsProducer(With<int64_t>(kBaseTimestampAt, -2)), BatchError::kBadTimestamps);
  EXPECT_EQ(AsProducer(With<int64_t>(kMaxTimestampAt, -2)), BatchError::kBadTimestamps);
  EXPECT_EQ(AsProducer(With<int64_t>(kBaseTimestampAt, -1)), BatchError::kNone);
  Bytes unset = With<int64_t>(kMaxTimestampAt, -1);
  EXPECT_EQ(AsProducer(unset), BatchError::kNone);
  SetMaxTimestamp(unset, 1'700'000'000'250);
  EXPECT_EQ(unset, GoldenBatch(0));
}

TEST(BatchWalkerTest, VisitsEveryBatchAndStopsCleanlyAtATornOne) {
  Bytes log;
  std::vector<size_t> starts;
  for (size_t codec = 0; codec <= kCodecMax; ++codec) {
    starts.push_back(log.size());
    const Bytes batch = GoldenBatch(codec);
    log.insert(log.end(), batch.begin(), batch.end());
  }
  starts.push_back(log.size());
  for (size_t size = 0; size <= log.size(); ++size) {
    BatchWalker walker(ByteView(log).first(size));
    size_t seen = 0;
    while (walker.Next()) {
      ASSERT_EQ(walker.position(), starts[seen]);
      ASSERT_EQ(walker.batch().codec(), static_cast<Codec>(seen));
      ASSERT_EQ(walker.end(), starts[++seen]);
    }
    ASSERT_EQ(walker.end(), starts[seen]);
    ASSERT_TRUE(seen == 5 || starts[seen + 1] > size);
    ASSERT_EQ(walker.error(), size == starts[seen] ? BatchError::kNone : BatchError::kTooShort);
    ASSERT_FALSE(walker.Next());
  }
}

TEST(BatchWalkerTest, StopsAtGarbage) {
  Bytes log = GoldenBatch(0);
  const size_t good = log.size();
  log.resize(good + 4096);
  BatchWalker walker(log);
  EXPECT_TRUE(walker.Next());
  EXPECT_FALSE(walker.Next());
  EXPECT_EQ(walker.error(), BatchError::kBadLength);
  EXPECT_EQ(walker.end(), good);
}

TEST(BatchTest, RandomBytesNeverPassForABatch) {
  const uint32_t seed = std::random_device()();
  std::cout << "seed " << seed << std::endl;
  std::mt19937 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes(random() % 200);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    if (bytes.size() > kMagicAt) {  // get past the prefix
      StoreBe<int32_t>(bytes.data() + kBatchLengthAt, static_cast<int32_t>(bytes.size() - 12));
      bytes[kMagicAt] = 2;
    }
    ASSERT_NE(AsProducer(bytes), BatchError::kNone) << "seed " << seed;
    if (ParseBatch(bytes).ok()) FixCrc(bytes);
    AsProducer(bytes);
    AsVerbatim(bytes);
  }
}

}  // namespace
}  // namespace ringtail::log
