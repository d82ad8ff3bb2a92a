#include "tools/cli/dump.h"

#include "engine/base/endian.h"
#include "engine/log/batch.h"
#include "engine/records/record_batch_builder.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tools/cli/record_text.h"
#include "tools/cli/samples.h"

namespace ringtail::cli {
namespace {

using Bytes = std::vector<uint8_t>;

void AddBatch(Bytes* segment, int64_t base_offset, int records) {
  records::RecordBatchBuilder builder({});
  for (int i = 0; i < records; ++i) {
    const std::string value = "v" + std::to_string(i);
    const log::HeaderView headers[] = {{base::AsBytes("h"), base::AsBytes("x")}};
    EXPECT_EQ(builder.Append({.key = base::AsBytes("k"),
                              .value = base::AsBytes(value),
                              .timestamp_ms = 1000 + i,
                              .headers = headers}),
              records::AppendResult::kAppended);
  }
  const Bytes batch = builder.Finish({.base_offset = base::Offset(base_offset)}).value();
  segment->insert(segment->end(), batch.begin(), batch.end());
}

struct Dumped {
  DumpResult result;
  std::vector<std::string> lines;
};

Dumped Dump(const Bytes& segment, const DumpOptions& options) {
  Dumped dumped;
  dumped.result = DumpSegment(segment, options,
                              [&](absl::string_view line) { dumped.lines.emplace_back(line); });
  return dumped;
}

TEST(DumpTest, ShowsBatchesAndRecords) {
  Bytes segment;
  AddBatch(&segment, 10, 2);
  AddBatch(&segment, 12, 1);
  const size_t bytes = segment.size();
  segment.resize(bytes + 4096);
  const Dumped dumped = Dump(segment, {.records = true});
  EXPECT_EQ(dumped.result.damage, "");
  EXPECT_EQ(dumped.result.batches, 2u);
  EXPECT_EQ(dumped.result.records, 3u);
  EXPECT_EQ(dumped.result.bytes, bytes);
  EXPECT_EQ(dumped.result.zeros, 4096u);
  ASSERT_EQ(dumped.lines.size(), 5u);
  EXPECT_EQ(dumped.lines[0].substr(0, 37), "position 0 offsets 10..11 records 2 b");
  EXPECT_EQ(dumped.lines[2], "  offset 11 timestamp 1001 key 'k' value 'v1' header h='x'");
}

TEST(DumpTest, WritesJson) {
  Bytes segment;
  AddBatch(&segment, 7, 1);
  const Dumped dumped = Dump(segment, {.records = true, .json = true});
  ASSERT_EQ(dumped.lines.size(), 2u);
  const nlohmann::json batch = nlohmann::json::parse(dumped.lines[0]);
  EXPECT_EQ(batch["base_offset"], 7);
  EXPECT_EQ(batch["crc_ok"], true);
  const nlohmann::json record = nlohmann::json::parse(dumped.lines[1]);
  EXPECT_EQ(record["value"], "v0");
  EXPECT_EQ(record["headers"][0]["name"], "h");
}

TEST(DumpTest, NamesTheDamage) {
  Bytes segment;
  AddBatch(&segment, 0, 1);
  Bytes flipped = segment;
  flipped.back() ^= 1;
  EXPECT_NE(Dump(flipped, {}).result.damage.find("batch at position 0"), std::string::npos);
  Bytes torn = segment;
  AddBatch(&torn, 1, 1);
  torn.resize(torn.size() - 3);
  EXPECT_NE(Dump(torn, {}).result.damage.find("no whole batch at position"), std::string::npos);
  Bytes backwards = segment;
  AddBatch(&backwards, 0, 1);
  EXPECT_NE(Dump(backwards, {}).result.damage.find("not above"), std::string::npos);
  EXPECT_EQ(Dump({}, {}).result.damage, "");
}

TEST(DumpTest, AnyBytesAreDumpedWithoutHarm) {
  Bytes segment;
  AddBatch(&segment, 0, 3);
  for (size_t at = 0; at < segment.size(); ++at) {
    for (const uint8_t mask : {0x01, 0x80, 0xff}) {
      Bytes damaged = segment;
      damaged[at] ^= mask;
      Dump(damaged, {.records = true, .json = at % 2 == 0});
    }
  }
}

TEST(DumpTest, ShowsIndexes) {
  Bytes index(24);
  base::StoreBe<int32_t>(index.data(), 5);
  base::StoreBe<int32_t>(index.data() + 4, 4096);
  base::StoreBe<int32_t>(index.data() + 8, 9);
  base::StoreBe<int32_t>(index.data() + 12, 8192);
  std::vector<std::string> lines;
  const auto keep = [&](absl::string_view line) { lines.emplace_back(line); };
  DumpResult result = DumpIndex(index, DumpKind::kOffsetIndex, 100, {}, keep);
  EXPECT_EQ(lines,
            (std::vector<std::string>{"offset 105 position 4096", "offset 109 position 8192"}));
  EXPECT_EQ(result.damage, "");
  EXPECT_EQ(result.zeros, 8u);

  Bytes times(12);
  base::StoreBe<int64_t>(times.data(), 1234);
  base::StoreBe<int32_t>(times.data() + 8, 7);
  lines.clear();
  result = DumpIndex(times, DumpKind::kTimeIndex, 100, {.json = true}, keep);
  EXPECT_EQ(lines, std::vector<std::string>{R"({"offset":107,"timestamp":1234})"});

  index[3] = 10;  // the first offset above the second
  EXPECT_NE(DumpIndex(index, DumpKind::kOffsetIndex, 0, {}, keep).damage, "");
  index.resize(13);
  EXPECT_NE(DumpIndex(index, DumpKind::kOffsetIndex, 0, {}, keep).damage, "");
}

TEST(DumpTest, KnowsFilesByTheirNames) {
  EXPECT_EQ(KindOf("/a/00000000000000000042.log").value(), DumpKind::kSegment);
  EXPECT_EQ(KindOf("00000000000000000042.timeindex").value(), DumpKind::kTimeIndex);
  EXPECT_FALSE(KindOf("x.txt").ok());
  EXPECT_EQ(BaseOffsetOf("/a/00000000000000000042.index").value(), 42);
  EXPECT_FALSE(BaseOffsetOf("/a/42.index").ok());
}

TEST(RecordTextTest, WritesLines) {
  client::ConsumerRecord record;
  record.topic = "t";
  record.offset = 3;
  record.timestamp_ms = 4;
  record.key = "k";
  std::string text;
  AppendRecordText(record, RecordFormat::kKeyValue, ":", &text);
  EXPECT_EQ(text, "k:\n");
  text.clear();
  record.value = "\xff\x00";
  AppendRecordText(record, RecordFormat::kJson, "", &text);
  EXPECT_EQ(text,
            "{\"topic\":\"t\",\"partition\":0,\"offset\":3,\"timestamp\":4,\"key\":\"k\","
            "\"value_base64\":\"/w==\"}\n");
}

TEST(RecordTextTest, KnowsUtf8) {
  const auto is_base64 = [](absl::string_view value) {
    client::ConsumerRecord record;
    record.value = value;
    std::string text;
    AppendRecordText(record, RecordFormat::kJson, "", &text);
    return text.find("value_base64") != std::string::npos;
  };
  for (const char* good : {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", ""}) {
    EXPECT_FALSE(is_base64(good));
  }
  for (const char* bad : {"\x80", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                          "\xf5\x80\x80\x80", "\xc3", "\xe2\x82"}) {
    EXPECT_TRUE(is_base64(bad));
  }
}

TEST(SamplesTest, PercentilesAreTheNearestRank) {
  Samples samples;
  EXPECT_EQ(samples.Percentile(50), 0);
  for (int i = 1000; i >= 1; --i) samples.Add(i * 1000);
  EXPECT_EQ(samples.Percentile(50), 500);
  EXPECT_EQ(samples.Percentile(99.9), 999);
  EXPECT_EQ(samples.Percentile(99.99), 1000);
  EXPECT_EQ(samples.Percentile(100), 1000);
  EXPECT_EQ(samples.Mean(), 500.5);
}

}  // namespace
}  // namespace ringtail::cli
