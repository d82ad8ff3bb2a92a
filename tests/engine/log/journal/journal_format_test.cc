#include "engine/log/journal/journal_format.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "engine/base/crc32c.h"
#include "engine/log/journal/frame_builder.h"
#include "tests/engine/log/journal/golden_journal.h"

namespace ringtail::log {
namespace {

using base::AsBytes;
using base::ByteView;

base::Uuid Id(uint8_t first) {
  base::Uuid id;
  for (size_t i = 0; i < 16; ++i) id.bytes[i] = static_cast<uint8_t>(first + i);
  return id;
}

constexpr uint64_t kCreated = 0x18c0ffee123;

Manifest AManifest() {
  return {.run = 7,
          .cores = 2,
          .state = ManifestState::kOpen,
          .created_ms = kCreated,
          .dir_id = Id(0x10)};
}

JournalFileHeader AFileHeader() {
  return {.run = 7,
          .core = 3,
          .file_number = 9,
          .file_bytes = 64 << 20,
          .created_ms = kCreated,
          .dir_id = Id(0x10)};
}

FramePlace APlace() {
  return {.run = 7,
          .core = 3,
          .file_number = 9,
          .position = 17 * 4096,
          .file_bytes = 1 << 20,
          .dir_id = Id(0x10)};
}

constexpr absl::string_view kPayload = "hello, journal";

EntryHeader AnAppend() {
  EntryHeader entry;
  entry.topic_id = Id(0xa0);
  entry.partition = 5;
  entry.type = static_cast<uint8_t>(EntryType::kAppend);
  entry.leader_epoch = 4;
  entry.base_offset = 1000;
  entry.end_offset = 1010;
  entry.segment_base = 900;
  entry.position = 4711;
  TellStart(10, &entry);
  return entry;
}

EntryHeader ATruncate() {
  EntryHeader entry;
  entry.topic_id = Id(0xa0);
  entry.partition = 6;
  entry.type = static_cast<uint8_t>(EntryType::kTruncate);
  entry.flags = kTruncateStartFresh;
  entry.leader_epoch = 4;
  entry.end_offset = 77;
  entry.segment_base = 70;
  return entry;
}

Checkpoint ACheckpoint() {
  Checkpoint checkpoint;
  checkpoint.header = {
      .run = 7, .core = 3, .tail_file = 8, .number = 12, .tail_seq = 33, .dir_id = Id(0x10)};
  checkpoint.records.push_back({.topic_id = Id(0xa0),
                                .partition = 5,
                                .flags = kRecordPoisoned,
                                .sync_seq = 41,
                                .offset = 1000,
                                .segment_base = 900,
                                .log_start = 10,
                                .position = 4711,
                                .leader_epoch = 4});
  checkpoint.held.push_back({.run = 6, .core = 3, .file_number = 5});
  return checkpoint;
}

struct BuiltFrame {
  std::vector<uint8_t> buffer = std::vector<uint8_t>(kFrameBytesMax, 0xee);
  size_t bytes = 0;
  ByteView view() const { return ByteView(buffer).first(bytes); }
};

BuiltFrame AFrame() {
  BuiltFrame frame;
  FrameBuilder builder(frame.buffer.data());
  builder.Add(AnAppend(), AsBytes(kPayload));
  builder.Add(ATruncate(), base::ByteView());
  frame.bytes = builder.Finish(APlace(), 42, 40, 0).size();
  return frame;
}

std::string Hex(ByteView bytes) { return absl::BytesToHexString(base::AsText(bytes)); }

template <class T>
std::string Hex(const T& value) {
  return Hex(ByteView(reinterpret_cast<const uint8_t*>(&value), sizeof(T)));
}

TEST(JournalFormat, ManifestBytes) {
  const std::string bytes = EncodeManifest(AManifest());
  EXPECT_EQ(Hex(AsBytes(bytes)), kManifest);
  const auto read = DecodeManifest(AsBytes(bytes));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->run, 7u);
  EXPECT_EQ(read->cores, 2u);
  EXPECT_EQ(read->dir_id, Id(0x10));
}

TEST(JournalFormat, FileHeaderBytes) {
  std::vector<uint8_t> block(kJournalBlockBytes, 0xee);
  EncodeJournalFileHeader(AFileHeader(), block);
  EXPECT_EQ(Hex(ByteView(block).first(64)), kFileHeader);
  for (size_t i = 64; i < block.size(); ++i) ASSERT_EQ(block[i], 0) << i;
  const auto read = DecodeJournalFileHeader(block);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->file_number, 9u);
  EXPECT_EQ(read->file_bytes, uint64_t{64 << 20});
}

TEST(JournalFormat, FrameBytes) {
  const BuiltFrame frame = AFrame();
  ASSERT_EQ(frame.bytes, 4096u);
  const size_t golden = std::strlen(kFrame) / 2;
  EXPECT_EQ(Hex(frame.view().first(golden)), kFrame);
  for (size_t i = golden; i < frame.bytes; ++i) ASSERT_EQ(frame.view()[i], 0) << i;
  const auto read = DecodeFrame(frame.view(), APlace());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->header.seq, 42u);
  EXPECT_EQ(read->header.durable_seq, 40u);
  ASSERT_EQ(read->entries.size(), 2u);
  EXPECT_EQ(base::AsText(PayloadOf(frame.view(), read->entries[0])), kPayload);
  EXPECT_TRUE(PayloadIsWhole(frame.view(), read->entries[0]));
  EXPECT_EQ(read->entries[1].type, static_cast<uint8_t>(EntryType::kTruncate));
  EXPECT_EQ(read->entries[1].flags, kTruncateStartFresh);
}

TEST(JournalFormat, CheckpointBytes) {
  std::string bytes = EncodeCheckpoint(ACheckpoint());
  EXPECT_EQ(Hex(AsBytes(bytes)), kCheckpoint);
  bytes.append(100, 'x');  // what an older, longer one left behind
  const auto read = DecodeCheckpoint(AsBytes(bytes));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->header.tail_seq, 33u);
  ASSERT_EQ(read->records.size(), 1u);
  EXPECT_EQ(Hex(read->records[0]), Hex(ACheckpoint().records[0]));
  EXPECT_EQ(read->held, ACheckpoint().held);
}

// Each bit of what the CRC covers, and each way to be cut.
TEST(JournalFormat, EveryFlippedBitIsSeen) {
  std::string manifest = EncodeManifest(AManifest());
  std::string checkpoint = EncodeCheckpoint(ACheckpoint());
  std::vector<uint8_t> block(kJournalBlockBytes);
  EncodeJournalFileHeader(AFileHeader(), block);
  const auto each_bit = [](uint8_t* bytes, size_t count, auto decode) {
    for (size_t bit = 0; bit < count * 8; ++bit) {
      bytes[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
      ASSERT_FALSE(decode().ok()) << "bit " << bit;
      bytes[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    }
    ASSERT_TRUE(decode().ok());
  };
  each_bit(reinterpret_cast<uint8_t*>(manifest.data()), manifest.size(),
           [&] { return DecodeManifest(AsBytes(manifest)).status(); });
  each_bit(reinterpret_cast<uint8_t*>(checkpoint.data()), checkpoint.size(),
           [&] { return DecodeCheckpoint(AsBytes(checkpoint)).status(); });
  each_bit(block.data(), block.size(), [&] { return DecodeJournalFileHeader(block).status(); });
  BuiltFrame frame = AFrame();
  const auto whole = [&]() -> absl::Status {
    const auto read = DecodeFrame(frame.view(), APlace());
    if (!read.ok()) return read.status();
    for (const EntryHeader& entry : read->entries) {
      if (!PayloadIsWhole(frame.view(), entry)) return absl::DataLossError("payload");
    }
    return absl::OkStatus();
  };
  each_bit(frame.buffer.data(), 64 + kPayload.size(), whole);
  each_bit(frame.buffer.data() + 80, 2 * sizeof(EntryHeader), whole);
}

TEST(JournalFormat, CutShortIsRefused) {
  const std::string manifest = EncodeManifest(AManifest());
  const std::string checkpoint = EncodeCheckpoint(ACheckpoint());
  for (size_t i = 0; i < manifest.size(); ++i) {
    EXPECT_FALSE(DecodeManifest(AsBytes(manifest).first(i)).ok());
  }
  for (size_t i = 0; i < checkpoint.size(); ++i) {
    EXPECT_FALSE(DecodeCheckpoint(AsBytes(checkpoint).first(i)).ok());
  }
  const BuiltFrame frame = AFrame();
  for (size_t i = 0; i < frame.bytes; ++i) {
    EXPECT_FALSE(DecodeFrame(frame.view().first(i), APlace()).ok());
  }
}

TEST(JournalFormat, FrameElsewhereDoesNotExist) {
  const BuiltFrame frame = AFrame();
  const auto refused = [&](void (*change)(FramePlace*), absl::string_view text) {
    FramePlace place = APlace();
    change(&place);
    const absl::Status status = DecodeFrame(frame.view(), place).status();
    EXPECT_TRUE(absl::StrContains(status.message(), text)) << status;
  };
  refused([](FramePlace* place) { place->run = 8; }, "of run 7, not 8");
  refused([](FramePlace* place) { place->core = 2; }, "of core 3, not 2");
  refused([](FramePlace* place) { place->file_number = 10; }, "of file 9, not 10");
  refused([](FramePlace* place) { place->position += 4096; }, "for block 17");
  refused([](FramePlace* place) { place->dir_id = Id(0x11); }, "another data directory");
  refused([](FramePlace* place) { place->file_bytes = 17 * 4096; }, "4096 bytes long");
}

// A frame with a right CRC and wrong contents, as another program might write it.
TEST(JournalFormat, LengthsAreCheckedBehindAGoodCrc) {
  const auto with = [](void (*change)(EntryHeader*)) {
    BuiltFrame frame = AFrame();
    uint8_t* bytes = frame.buffer.data();
    EntryHeader entry;
    std::memcpy(&entry, bytes + 80, sizeof(entry));
    change(&entry);
    std::memcpy(bytes + 80, &entry, sizeof(entry));
    const uint32_t crc = base::Crc32cExtend(base::Crc32c(ByteView(bytes + 8, 56)),
                                            ByteView(bytes + 80, 2 * sizeof(entry)));
    std::memcpy(bytes + 4, &crc, 4);
    return DecodeFrame(frame.view(), APlace()).status();
  };
  EXPECT_TRUE(with([](EntryHeader*) {}).ok());
  EXPECT_TRUE(with([](EntryHeader* entry) { entry->type = 99; }).ok());  // recovery's business
  EXPECT_FALSE(with([](EntryHeader* entry) { entry->payload_bytes = 1 << 30; }).ok());
  EXPECT_FALSE(with([](EntryHeader* entry) { entry->payload_offset = 0xfffffff8; }).ok());
  EXPECT_FALSE(with([](EntryHeader* entry) { entry->payload_offset = 56; }).ok());
  EXPECT_FALSE(with([](EntryHeader* entry) { entry->payload_offset = 65; }).ok());
  EXPECT_FALSE(with([](EntryHeader* entry) { entry->payload_bytes = 17; }).ok());
  EXPECT_FALSE(with([](EntryHeader* entry) { entry->type = 4; }).ok());
  EXPECT_FALSE(with([](EntryHeader* entry) { entry->end_offset = entry->base_offset; }).ok());
  EXPECT_FALSE(with([](EntryHeader* entry) { entry->segment_base = uint64_t{1} << 63; }).ok());
  EXPECT_FALSE(with([](EntryHeader* entry) { entry->flags = 0; }).ok());
  EXPECT_FALSE(with([](EntryHeader* entry) { entry->start_behind_high = 1; }).ok());
}

TEST(JournalFormat, EntriesTellWhereTheLogStarts) {
  const auto told = [](uint64_t start, uint64_t end) {
    EntryHeader entry;
    entry.end_offset = end;
    TellStart(start, &entry);
    return StartTold(entry);
  };
  constexpr uint64_t kFar = uint64_t{1} << 48;
  EXPECT_EQ(told(7, 7), 7u);
  EXPECT_EQ(told(7, 1000), 7u);
  EXPECT_EQ(told(INT64_MAX - kFar + 1, INT64_MAX), INT64_MAX - kFar + 1);
  EXPECT_EQ(told(1, kFar + 1), 0u) << "too far to be told";
  EXPECT_EQ(told(8, 7), 0u) << "a DROP, say, has no end";
}

TEST(JournalFormat, LaterVersionIsNamed) {
  std::string bytes = EncodeManifest(AManifest());
  bytes[8] = kJournalVersion + 1;
  const uint32_t crc = base::Crc32c(AsBytes(bytes).subspan(8));
  std::memcpy(bytes.data() + 4, &crc, 4);
  const absl::Status status = DecodeManifest(AsBytes(bytes)).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

TEST(JournalFormat, FullFrameAndSeal) {
  BuiltFrame frame;
  FrameBuilder builder(frame.buffer.data());
  FramePlace place = APlace();
  place.file_bytes = 8 << 20;
  const std::vector<uint8_t> payload(FrameBuilder::kPayloadBytesMax / 8 * 8, 7);
  EXPECT_EQ(builder.FrameBytesWith(payload.size()), kFrameBytesMax);
  builder.Add(AnAppend(), base::ByteView(payload));
  frame.bytes = builder.Finish(place, 2, 1, 0).size();
  EXPECT_EQ(frame.bytes, kFrameBytesMax);
  EXPECT_TRUE(DecodeFrame(frame.view(), place).ok());

  builder.Reset();
  EXPECT_EQ(builder.frame_bytes(), 4096u);
  frame.bytes = builder.Finish(place, 3, 2, kFrameFlagSeal).size();
  const auto seal = DecodeFrame(frame.view(), place);
  ASSERT_TRUE(seal.ok()) << seal.status();
  EXPECT_EQ(seal->header.flags, kFrameFlagSeal);
  EXPECT_TRUE(seal->entries.empty());
}

TEST(JournalFormat, Names) {
  EXPECT_EQ(JournalCoreDirectory("/d", 3), "/d/journal/core-0003");
  EXPECT_EQ(JournalManifestPath("/d"), "/d/journal/MANIFEST");
  uint32_t number = 0;
  EXPECT_TRUE(ParseJournalFileName("12.journal", &number));
  EXPECT_EQ(number, 12u);
  EXPECT_FALSE(ParseJournalFileName("012.journal", &number));
  EXPECT_FALSE(ParseJournalFileName("-1.journal", &number));
  EXPECT_FALSE(ParseJournalFileName("x.journal", &number));
  EXPECT_FALSE(ParseJournalFileName("1.journal.tmp", &number));
  EXPECT_TRUE(ParseJournalCoreDirectory("core-0016", &number));
  EXPECT_EQ(number, 16u);
  EXPECT_FALSE(ParseJournalCoreDirectory("core-16", &number));
}

}  // namespace
}  // namespace ringtail::log
