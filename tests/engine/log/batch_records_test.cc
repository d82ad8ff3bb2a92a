#include "engine/log/batch_records.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/varint.h"
#include "gtest/gtest.h"
#include "tests/engine/log/golden_batches.h"

namespace ringtail::log {
namespace {

using base::AsText;
using base::ByteView;
using base::Offset;
using Bytes = std::vector<uint8_t>;

constexpr size_t kOffsetDeltaOfFirst = kBatchHeaderBytes + 3;  // after length, attributes, time

std::string Text(const std::optional<ByteView>& bytes) {
  return bytes ? std::string(AsText(*bytes)) : "(null)";
}

std::string Repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

void Put(Bytes& to, int64_t number) {
  uint8_t buffer[base::kVarintSizeMax<int64_t>];
  to.insert(to.end(), buffer, buffer + base::EncodeVarint(buffer, number));
}

// A record with these deltas, no key, no value, no headers.
Bytes EmptyRecord(int64_t timestamp_delta, int64_t offset_delta) {
  Bytes body = {0};
  Put(body, timestamp_delta);
  Put(body, offset_delta);
  Put(body, -1);
  Put(body, -1);
  Put(body, 0);
  Bytes record;
  Put(record, static_cast<int64_t>(body.size()));
  record.insert(record.end(), body.begin(), body.end());
  return record;
}

TEST(RecordCursorTest, ReadsAForeignBatch) {
  const Bytes bytes = GoldenBatch(0);
  const BatchView batch = ParseBatch(bytes).batch;
  RecordCursor cursor(batch.records(), batch.record_count());

  ASSERT_TRUE(cursor.Next());
  EXPECT_EQ(Text(cursor.record().key), "key-0");
  EXPECT_EQ(Text(cursor.record().value), Repeat("value 0 ", 4));
  EXPECT_EQ(RecordTimestampMs(batch, cursor.record()), 1'700'000'000'000);
  EXPECT_EQ(cursor.record().header_count, 3);
  HeaderCursor headers(cursor.record());
  std::string seen;
  while (headers.Next()) {
    seen += std::string(AsText(headers.header().key)) + "=" + Text(headers.header().value) + ";";
  }
  EXPECT_EQ(seen, "h1=x;empty=;null=(null);");

  ASSERT_TRUE(cursor.Next());
  EXPECT_EQ(Text(cursor.record().key), "(null)");
  EXPECT_EQ(RecordTimestampMs(batch, cursor.record()), 1'699'999'999'995);
  EXPECT_EQ(RecordOffset(batch, cursor.record()), Offset(1));
  EXPECT_FALSE(HeaderCursor(cursor.record()).Next());

  ASSERT_TRUE(cursor.Next());
  EXPECT_EQ(Text(cursor.record().key), "key-2");
  EXPECT_EQ(Text(cursor.record().value), "(null)");

  EXPECT_FALSE(cursor.Next());
  EXPECT_EQ(cursor.error(), BatchError::kNone);
  EXPECT_EQ(CheckRecords(batch, batch.records(), OffsetDeltas::kDense), BatchError::kNone);
}

TEST(RecordCursorTest, EveryTruncationAndATrailingByteAreErrors) {
  Bytes bytes = GoldenBatch(0);
  bytes.push_back(0);
  const ByteView records = ByteView(bytes).subspan(kBatchHeaderBytes);
  for (size_t size = 0; size <= records.size(); ++size) {
    const Bytes exact(records.begin(), records.begin() + static_cast<ptrdiff_t>(size));
    RecordCursor cursor(exact, 3);
    while (cursor.Next()) {
      for (HeaderCursor headers(cursor.record()); headers.Next();) {
      }
    }
    const bool whole = size == records.size() - 1;
    ASSERT_EQ(cursor.error(), whole ? BatchError::kNone : BatchError::kBadRecords) << size;
  }
}

TEST(RecordCursorTest, AWrongCountIsAnError) {
  const Bytes bytes = GoldenBatch(0);
  const BatchView batch = ParseBatch(bytes).batch;
  for (const int32_t count : {-1, 0, 2, 4, INT32_MAX}) {
    RecordCursor cursor(batch.records(), count);
    while (cursor.Next()) {
    }
    EXPECT_EQ(cursor.error(), BatchError::kBadRecords) << count;
  }
  RecordCursor none(ByteView(), 0);
  EXPECT_FALSE(none.Next());
  EXPECT_EQ(none.error(), BatchError::kNone);
}

TEST(RecordCursorTest, ChangedBytesNeverReadOutside) {
  const Bytes good = GoldenBatch(0);
  for (size_t at = kBatchHeaderBytes; at < good.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      // A heap copy of just the records, so that ASan sees a read past the end.
      Bytes records(good.begin() + kBatchHeaderBytes, good.end());
      records[at - kBatchHeaderBytes] = static_cast<uint8_t>(value);
      size_t count = 0;
      for (RecordCursor cursor(records, 3); cursor.Next(); ++count) {
        for (HeaderCursor headers(cursor.record()); headers.Next();) {
        }
      }
      ASSERT_LE(count, 3u);
    }
  }
}

TEST(CheckRecordsTest, OffsetDeltas) {
  Bytes bytes = GoldenBatch(0);
  ASSERT_EQ(bytes[kOffsetDeltaOfFirst], 0);
  bytes[kOffsetDeltaOfFirst] = 0x01;  // -1
  const BatchView batch = ParseBatch(bytes).batch;
  EXPECT_EQ(CheckRecords(batch, batch.records(), OffsetDeltas::kGaps), BatchError::kBadRecords);

  Bytes gaps = EmptyRecord(0, 1);
  const Bytes last = EmptyRecord(0, 2);
  gaps.insert(gaps.end(), last.begin(), last.end());
  base::StoreBe<int32_t>(bytes.data() + kRecordCountAt, 2);
  EXPECT_EQ(CheckRecords(batch, gaps, OffsetDeltas::kGaps), BatchError::kNone);
  EXPECT_EQ(CheckRecords(batch, gaps, OffsetDeltas::kDense), BatchError::kBadRecords);
  base::StoreBe<int32_t>(bytes.data() + kLastOffsetDeltaAt, 1);
  EXPECT_EQ(CheckRecords(batch, gaps, OffsetDeltas::kGaps), BatchError::kBadRecords);
  const Bytes once = EmptyRecord(0, 1);
  Bytes twice = once;
  twice.insert(twice.end(), once.begin(), once.end());
  EXPECT_EQ(CheckRecords(batch, twice, OffsetDeltas::kGaps), BatchError::kBadRecords);
}

TEST(FindTimestampTest, FindsTheFirstNotBelow) {
  Bytes bytes = GoldenBatch(0);
  PatchBaseOffset(bytes, Offset(500));
  BatchView batch = ParseBatch(bytes).batch;
  const auto find = [&](int64_t ms) { return FindTimestamp(batch, batch.records(), ms); };
  EXPECT_EQ(find(0)->offset, Offset(500));
  EXPECT_EQ(find(1'700'000'000'000)->offset, Offset(500));
  EXPECT_EQ(find(1'700'000'000'001)->offset, Offset(502));
  EXPECT_EQ(find(1'700'000'000'250)->timestamp_ms, 1'700'000'000'250);
  EXPECT_FALSE(find(1'700'000'000'251));
  EXPECT_EQ(FindMaxTimestamp(batch, batch.records())->offset, Offset(502));

  SetLogAppendTime(bytes, 1'800'000'000'000);
  batch = ParseBatch(bytes).batch;
  EXPECT_EQ(find(1'800'000'000'000)->offset, Offset(500));
  EXPECT_FALSE(find(1'800'000'000'001));
  EXPECT_EQ(FindMaxTimestamp(batch, batch.records())->offset, Offset(500));
}

TEST(FindTimestampTest, HostileDeltasWrapAround) {
  Bytes bytes = GoldenBatch(0);
  base::StoreBe<int32_t>(bytes.data() + kRecordCountAt, 1);
  const BatchView batch = ParseBatch(bytes).batch;
  EXPECT_FALSE(FindTimestamp(batch, EmptyRecord(INT64_MAX, 0), 0));
  EXPECT_TRUE(FindTimestamp(batch, EmptyRecord(INT64_MAX, 0), INT64_MIN));
}

}  // namespace
}  // namespace ringtail::log
