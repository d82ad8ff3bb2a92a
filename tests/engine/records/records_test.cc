// Builder and reader together, against each other and against batches of another implementation.
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine/base/crc32c.h"
#include "engine/base/endian.h"
#include "engine/records/record_batch_builder.h"
#include "engine/records/record_reader.h"
#include "gtest/gtest.h"
#include "tests/engine/log/golden_batches.h"

namespace ringtail::records {
namespace {

using base::AsBytes;
using base::AsText;
using base::ByteView;
using base::Offset;
using log::Codec;
using Bytes = std::vector<uint8_t>;
using Text = std::optional<std::string>;

struct Model {
  int64_t offset = 0;
  int64_t timestamp_ms = 0;
  Text key;
  Text value;
  std::vector<std::pair<std::string, Text>> headers;

  bool operator==(const Model&) const = default;
};

// The five codecs, snappy in both framings.
std::vector<Compression> AllCompressions() {
  return {{.codec = Codec::kNone},
          {.codec = Codec::kGzip},
          {.codec = Codec::kSnappy, .snappy_framing = SnappyFraming::kXerial},
          {.codec = Codec::kSnappy, .snappy_framing = SnappyFraming::kRaw},
          {.codec = Codec::kLz4},
          {.codec = Codec::kZstd}};
}

std::optional<ByteView> View(const Text& text) {
  return text ? std::optional<ByteView>(AsBytes(*text)) : std::nullopt;
}

Text ToText(const std::optional<ByteView>& bytes) {
  return bytes ? Text(std::string(AsText(*bytes))) : std::nullopt;
}

AppendResult AppendModel(RecordBatchBuilder& builder, const Model& model) {
  std::vector<log::HeaderView> headers;
  for (const auto& [key, value] : model.headers) headers.push_back({AsBytes(key), View(value)});
  return builder.Append({.key = View(model.key),
                         .value = View(model.value),
                         .timestamp_ms = model.timestamp_ms,
                         .headers = headers});
}

std::vector<Model> ReadAll(RecordReader& reader, ByteView bytes) {
  std::vector<Model> models;
  const auto parsed = log::ParseBatch(bytes);
  EXPECT_TRUE(parsed.ok());
  if (!reader.Open(parsed.batch).ok()) return models;
  while (reader.Next()) {
    const Record& record = reader.record();
    Model model{record.offset.value(),
                record.timestamp_ms,
                ToText(record.key()),
                ToText(record.value()),
                {}};
    for (log::HeaderCursor headers = record.headers(); headers.Next();) {
      model.headers.emplace_back(AsText(headers.header().key), ToText(headers.header().value));
    }
    models.push_back(std::move(model));
  }
  return models;
}

std::string Repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

std::vector<Model> GoldenModels() {
  return {{0,
           1'700'000'000'000,
           "key-0",
           Repeat("value 0 ", 4),
           {{"h1", "x"}, {"empty", ""}, {"null", std::nullopt}}},
          {1, 1'699'999'999'995, std::nullopt, Repeat("value 1 ", 4), {}},
          {2, 1'700'000'000'250, "key-2", std::nullopt, {}}};
}

// Sets length and CRC after a change of the records.
void Repair(Bytes& batch) {
  base::StoreBe<int32_t>(batch.data() + log::kBatchLengthAt,
                         static_cast<int32_t>(batch.size() - log::kBatchPrefixBytes));
  base::StoreBe<uint32_t>(batch.data() + log::kCrcAt,
                          base::Crc32c(ByteView(batch).subspan(log::kAttributesAt)));
}

Bytes BuildZeros(const Compression& compression, size_t value_bytes) {
  RecordBatchBuilder builder({.compression = compression, .batch_bytes_max = 1 << 30});
  const std::string zeros(value_bytes, '\0');
  EXPECT_EQ(builder.Append({.value = AsBytes(zeros)}), AppendResult::kAppended);
  return *builder.Finish();
}

class RandomRecords {
 public:
  explicit RandomRecords(uint32_t seed) : random_(seed) {}

  Model Next(int64_t offset) {
    Model model;
    model.offset = offset;
    model.timestamp_ms = 1'700'000'000'000 + static_cast<int64_t>(Below(200'000)) - 100'000;
    model.key = MaybeText(40);
    model.value = MaybeText(Below(50) == 0 ? 100'000 : 300);
    const size_t headers = Below(4) == 0 ? Below(5) : 0;
    for (size_t i = 0; i < headers; ++i) {
      model.headers.emplace_back(SomeText(200), MaybeText(20));
    }
    return model;
  }
  size_t Below(size_t bound) { return random_() % bound; }

 private:
  // Half of it compresses well.
  std::string SomeText(size_t size_max) {
    std::string text(Below(size_max + 1), 'x');
    if (Below(2) == 0) {
      for (char& c : text) c = static_cast<char>(random_());
    }
    return text;
  }
  Text MaybeText(size_t size_max) { return Below(6) == 0 ? Text() : SomeText(size_max); }

  std::mt19937 random_;
};

TEST(RecordReaderTest, ReadsForeignBatchesOfEveryCodec) {
  RecordReader reader;
  for (size_t codec = 0; codec <= log::kCodecMax; ++codec) {
    EXPECT_EQ(ReadAll(reader, log::GoldenBatch(codec)), GoldenModels()) << codec;
    EXPECT_TRUE(reader.status().ok()) << reader.status();
  }
}

TEST(RecordBatchBuilderTest, MakesTheVeryBytesOfAnotherImplementation) {
  RecordBatchBuilder builder({.producer_id = 4242, .producer_epoch = 7, .base_sequence = 99});
  for (const Model& model : GoldenModels()) {
    ASSERT_EQ(AppendModel(builder, model), AppendResult::kAppended);
  }
  const Bytes batch = *builder.Finish({.leader_epoch = 0});
  EXPECT_EQ(batch, log::GoldenBatch(0));
}

TEST(RecordsTest, RoundTripsRandomRecordsThroughEveryCodec) {
  const uint32_t seed = std::random_device()();
  std::cout << "seed " << seed << std::endl;
  RandomRecords random(seed);
  RecordReader reader;
  for (const Compression& compression : AllCompressions()) {
    RecordBatchBuilder builder({.compression = compression, .batch_bytes_max = 16 << 20});
    for (int round = 0; round < 12; ++round) {
      const auto base = static_cast<int64_t>(random.Below(1'000'000));
      std::vector<Model> models(1 + random.Below(200));
      for (size_t i = 0; i < models.size(); ++i) {
        models[i] = random.Next(base + static_cast<int64_t>(i));
        ASSERT_EQ(AppendModel(builder, models[i]), AppendResult::kAppended);
      }
      const Bytes bytes = *builder.Finish({.base_offset = Offset(base)});
      const log::BatchView batch = log::ParseBatch(bytes).batch;
      ASSERT_EQ(batch.size_bytes(), bytes.size());
      ASSERT_EQ(log::ValidateBatch(batch, log::BatchRules::Producer(16 << 20)),
                log::BatchError::kNone);
      ASSERT_EQ(ReadAll(reader, bytes), models) << "seed " << seed;
      ASSERT_TRUE(reader.status().ok()) << reader.status();
      ASSERT_EQ(log::CheckRecords(batch, reader.plain_records(), log::OffsetDeltas::kDense),
                log::BatchError::kNone);
      const auto later = [](const Model& a, const Model& b) {
        return a.timestamp_ms < b.timestamp_ms;
      };
      const auto last = std::max_element(models.begin(), models.end(), later);
      ASSERT_EQ(batch.max_timestamp_ms(), last->timestamp_ms);
      ASSERT_EQ(log::FindMaxTimestamp(batch, reader.plain_records())->offset, Offset(last->offset));
    }
  }
}

TEST(RecordBatchBuilderTest, SetsProducerAndAttributes) {
  RecordBatchBuilder builder({.compression = {.codec = Codec::kZstd}, .transactional = true});
  builder.SetProducer(5, 6, 7);
  builder.Append({.value = AsBytes("v")});
  const Bytes bytes = *builder.Finish({.base_offset = Offset(9), .leader_epoch = 3});
  const log::BatchView batch = log::ParseBatch(bytes).batch;
  EXPECT_EQ(batch.producer_id(), 5);
  EXPECT_EQ(batch.producer_epoch(), 6);
  EXPECT_EQ(batch.base_sequence(), 7);
  EXPECT_EQ(batch.base_offset(), Offset(9));
  EXPECT_EQ(batch.leader_epoch(), 3);
  EXPECT_TRUE(batch.transactional());
  EXPECT_FALSE(batch.control());
  EXPECT_EQ(batch.codec(), Codec::kZstd);
}

TEST(RecordBatchBuilderTest, IsFullExactlyAtItsLimit) {
  const std::string value(100, 'v');
  RecordBatchBuilder measure(BuilderOptions{});
  measure.Append({.value = AsBytes(value)});
  const size_t one = measure.size_bytes();
  measure.Append({.value = AsBytes(value)});
  const size_t two = measure.size_bytes();

  RecordBatchBuilder exact({.batch_bytes_max = two});
  EXPECT_EQ(exact.Append({.value = AsBytes(value)}), AppendResult::kAppended);
  EXPECT_EQ(exact.Append({.value = AsBytes(value)}), AppendResult::kAppended);
  EXPECT_EQ(exact.Append({.value = AsBytes(value)}), AppendResult::kFull);
  EXPECT_EQ(exact.Finish()->size(), two);
  EXPECT_EQ(exact.Append({.value = AsBytes(value)}), AppendResult::kAppended);
  EXPECT_EQ(exact.record_count(), 1);

  RecordBatchBuilder less({.batch_bytes_max = one - 1});
  EXPECT_EQ(less.Append({.value = AsBytes(value)}), AppendResult::kTooLarge);
  EXPECT_EQ(less.Append({.value = AsBytes("v")}), AppendResult::kAppended);
  EXPECT_EQ(less.Append({.value = AsBytes(value)}), AppendResult::kTooLarge);
  EXPECT_EQ(less.record_count(), 1);
}

TEST(RecordBatchBuilderTest, LeavesGapsAsCompactionDoes) {
  RecordBatchBuilder builder(BuilderOptions{});
  builder.AppendAt(3, {.value = AsBytes("three")});
  builder.AppendAt(10, {.value = AsBytes("ten")});
  const Bytes bytes = *builder.Finish({.base_offset = Offset(100), .last_offset_delta = 12});
  const log::BatchView batch = log::ParseBatch(bytes).batch;
  EXPECT_EQ(log::ValidateBatch(batch, log::BatchRules::Verbatim()), log::BatchError::kNone);
  EXPECT_EQ(batch.last_offset(), Offset(112));
  RecordReader reader;
  const std::vector<Model> models = ReadAll(reader, bytes);
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0].offset, 103);
  EXPECT_EQ(models[1].offset, 110);
}

TEST(RecordBatchBuilderTest, EmptyBatchesOnlyForCompaction) {
  for (const Compression& compression : AllCompressions()) {
    RecordBatchBuilder builder({.compression = compression});
    EXPECT_EQ(builder.Finish().status().code(), absl::StatusCode::kFailedPrecondition);
    const Bytes bytes = *builder.Finish({.last_offset_delta = 4});
    const log::BatchView batch = log::ParseBatch(bytes).batch;
    EXPECT_EQ(log::ValidateBatch(batch, log::BatchRules::Verbatim()), log::BatchError::kNone);
    RecordReader reader;
    EXPECT_TRUE(ReadAll(reader, bytes).empty());
    EXPECT_TRUE(reader.status().ok()) << reader.status();
  }
}

TEST(RecordBatchBuilderTest, RefusesLevelsThatDoNotExist) {
  for (const Codec codec : {Codec::kGzip, Codec::kLz4, Codec::kZstd}) {
    for (const int level : {1, 9}) {
      RecordBatchBuilder builder({.compression = {.codec = codec, .level = level}});
      builder.Append({.value = AsBytes("value")});
      EXPECT_TRUE(builder.Finish().ok());
    }
    RecordBatchBuilder builder({.compression = {.codec = codec, .level = 1000}});
    builder.Append({.value = AsBytes("value")});
    EXPECT_EQ(builder.Finish().status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(RecordReaderTest, LogAppendTimeIsTheTimeOfEveryRecord) {
  Bytes bytes = log::GoldenBatch(4);
  log::SetLogAppendTime(bytes, 42);
  RecordReader reader;
  const std::vector<Model> models = ReadAll(reader, bytes);
  ASSERT_EQ(models.size(), 3u);
  for (const Model& model : models) EXPECT_EQ(model.timestamp_ms, 42);
}

TEST(RecordReaderTest, UnpacksExactlyUpToItsLimit) {
  for (const Compression& compression : AllCompressions()) {
    const Bytes bytes = BuildZeros(compression, 300'000);
    const log::BatchView batch = log::ParseBatch(bytes).batch;
    RecordReader generous;
    ASSERT_TRUE(generous.Open(batch).ok());
    const size_t plain_bytes = generous.plain_records().size();
    RecordReader exact(plain_bytes);
    EXPECT_TRUE(exact.Open(batch).ok()) << CodecName(compression.codec);
    RecordReader less(plain_bytes - 1);
    EXPECT_EQ(less.Open(batch).code(), absl::StatusCode::kResourceExhausted);
    EXPECT_FALSE(less.Next());
    EXPECT_EQ(less.status().code(), absl::StatusCode::kResourceExhausted);
  }
}

TEST(RecordReaderTest, StopsABombAtItsLimit) {
  for (const Compression& compression : AllCompressions()) {
    const Bytes bytes = BuildZeros(compression, 64 << 20);
    RecordReader reader(1 << 20);
    EXPECT_EQ(reader.Open(log::ParseBatch(bytes).batch).code(),
              absl::StatusCode::kResourceExhausted);
  }
}

TEST(RecordReaderTest, EveryTruncationIsAnError) {
  RecordReader reader;
  for (size_t codec = 0; codec <= log::kCodecMax; ++codec) {
    const Bytes whole = log::GoldenBatch(codec);
    for (size_t size = log::kBatchHeaderBytes; size < whole.size(); ++size) {
      Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
      Repair(cut);
      ReadAll(reader, cut);
      ASSERT_FALSE(reader.status().ok()) << "codec " << codec << " size " << size;
    }
    // And the reader is as good as new.
    ASSERT_EQ(ReadAll(reader, whole), GoldenModels());
  }
}

TEST(RecordReaderTest, ChangedBytesNeverCrashOrRunAway) {
  RecordReader reader(1 << 20);
  for (size_t codec = 0; codec <= log::kCodecMax; ++codec) {
    const Bytes whole = log::GoldenBatch(codec);
    for (size_t at = log::kBatchHeaderBytes; at < whole.size(); ++at) {
      for (int step = 1; step < 256; step += 6) {
        Bytes bad = whole;
        bad[at] = static_cast<uint8_t>(bad[at] + step);
        ReadAll(reader, bad);
        ASSERT_LE(reader.plain_records().size(), size_t{1} << 20);
      }
    }
  }
}

TEST(RecordReaderTest, JoinedFramesAreOneText) {
  RecordReader reader;
  for (size_t codec = 1; codec <= log::kCodecMax; ++codec) {
    Bytes twice = log::GoldenBatch(codec);
    const Bytes records(twice.begin() + log::kBatchHeaderBytes, twice.end());
    twice.insert(twice.end(), records.begin(), records.end());
    base::StoreBe<int32_t>(twice.data() + log::kRecordCountAt, 6);
    Repair(twice);
    EXPECT_EQ(ReadAll(reader, twice).size(), 6u) << codec;
    EXPECT_TRUE(reader.status().ok()) << reader.status();
  }
}

TEST(DecompressorTest, UnknownCodecIsInvalid) {
  Decompressor decompressor(1000);
  for (int codec = 5; codec < 8; ++codec) {
    EXPECT_EQ(decompressor.Decompress(static_cast<Codec>(codec), AsBytes("abc")).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace ringtail::records
