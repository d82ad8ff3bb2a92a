// What is read of a journal to find its frames: all of it where there are any, little of it where
// there are none, and none that is behind a long gap is passed over.
#include "engine/log/journal/journal_scan.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/log/journal/frame_builder.h"
#include "tests/engine/log/journal/journal_fixture.h"
#include "tests/engine/log/machine.h"

namespace ringtail::log {
namespace {

constexpr int64_t kBlock = kJournalBlockBytes;
constexpr int64_t kFileBytes = 4 << 20;
constexpr const char* kPath = "/data/journal/core-0000/0.journal";

class JournalScanTest : public testing::Test {
 protected:
  JournalScanTest() : machine_(5), content_(kFileBytes, '\0') { PutHeader(TestId(0x40)); }
  void PutHeader(base::Uuid dir_id) {
    JournalFileHeader header;
    header.run = 3;
    header.file_number = 1;
    header.file_bytes = kFileBytes;
    header.dir_id = dir_id;
    EncodeJournalFileHeader(header, {reinterpret_cast<uint8_t*>(content_.data()), kBlock});
  }
  // A frame with one entry, two blocks long.
  void PutFrame(uint64_t seq, int64_t position) {
    alignas(kBlock) static uint8_t buffer[kFrameBytesMax];
    FrameBuilder builder(buffer);
    builder.Add(TestAppend(1, seq), base::AsBytes(std::string(5000, 'p')));
    const FramePlace place = {.run = 3,
                              .core = 0,
                              .file_number = 1,
                              .position = position,
                              .file_bytes = kFileBytes,
                              .dir_id = TestId(0x40)};
    const base::ByteView frame = builder.Finish(place, seq, seq - 1, 0);
    ASSERT_EQ(frame.size(), static_cast<size_t>(2 * kBlock));
    content_.replace(static_cast<size_t>(position), frame.size(),
                     reinterpret_cast<const char*>(frame.data()), frame.size());
  }
  void PutFrames(uint64_t first, uint64_t last) {
    for (uint64_t seq = first; seq <= last; ++seq) {
      PutFrame(seq, kBlock + static_cast<int64_t>(seq - 1) * 2 * kBlock);
    }
  }
  JournalScan Scan() {
    machine_.world().disk().Put(kPath, content_);
    reads_ = machine_.world().faults().Add(
        {.codes = {io::OpCode::kRead}, .path = "0.journal", .process = "", .count = 0});
    const std::vector<JournalFileFound> files = {{kPath, kFileBytes, 3, 0, 1}};
    auto scan = machine_.Run(ScanJournal(machine_.io(), Options(), files, 1, 1, 0));
    EXPECT_TRUE(scan.ok()) << scan.status();
    return *std::move(scan);
  }
  std::vector<ScannedEntry> Held(const JournalFileFound& file) {
    bool gaps = false;
    auto entries = machine_.Run(ScanHeldFile(machine_.io(), Options(), file, 0, &gaps));
    EXPECT_TRUE(entries.ok()) << entries.status();
    EXPECT_FALSE(gaps);
    return *std::move(entries);
  }
  static JournalScanOptions Options() {
    return {.directory = "/data/journal/core-0000",
            .run = 3,
            .core = 0,
            .dir_id = TestId(0x40),
            .read_bytes = 16 << 10,
            .quiet_bytes = 128 << 10,
            .probe_bytes = 3 * kBlock,
            .probe_every_bytes = 256 << 10};
  }
  absl::StatusOr<std::vector<JournalFileFound>> List() {
    machine_.world().disk().Put(kPath, content_);
    return machine_.Run(ListJournalFiles(machine_.io(), "/data/journal/core-0000", TestId(0x40)));
  }
  uint64_t reads() { return machine_.world().faults().matched(reads_); }

  SimMachine machine_;
  std::string content_;
  int reads_ = 0;
};

TEST_F(JournalScanTest, LittleIsReadOfWhatWasNotWritten) {
  PutFrames(1, 10);
  const JournalScan scan = Scan();
  EXPECT_EQ(scan.frames, 10u);
  EXPECT_TRUE(scan.lost.empty());
  EXPECT_LT(reads(), 2 * kFileBytes / (16 << 10) / 4u);  // the machine may shorten each of them
}

TEST_F(JournalScanTest, ThatNothingWasWrittenIsSeenSoon) {
  const JournalScan scan = Scan();
  EXPECT_EQ(scan.frames, 0u);
  EXPECT_LT(reads(), 2 * kFileBytes / (16 << 10) / 4u);
}

// Wherever the gap lies: what follows it proves that it is none at the end.
TEST_F(JournalScanTest, FramesBehindALongGapAreFound) {
  constexpr uint64_t kFrames = 300;  // 2.4 MiB
  for (uint64_t gap_from : {1u, 2u, 17u, 50u, 90u}) {
    for (uint64_t gap_frames : {10u, 17u, 40u, 120u}) {
      SCOPED_TRACE(testing::Message() << gap_frames << " frames lost from " << gap_from);
      std::fill(content_.begin() + kBlock, content_.end(), '\0');
      PutFrames(1, kFrames);
      const int64_t from = kBlock + static_cast<int64_t>(gap_from - 1) * 2 * kBlock;
      const auto bytes = static_cast<int64_t>(gap_frames) * 2 * kBlock;
      std::fill_n(content_.begin() + from, bytes, '\0');
      const JournalScan scan = Scan();
      EXPECT_EQ(scan.frames, kFrames - gap_frames);
      ASSERT_EQ(scan.lost.size(), 1u);
      EXPECT_EQ(scan.lost[0].first, gap_from);
      EXPECT_EQ(scan.lost[0].last, gap_from + gap_frames - 1);
    }
  }
}

// A file that is held for a closed partition is read again when nothing proves any more where its
// run ended.
TEST_F(JournalScanTest, WhatTheTornEndCutIsInNoHeldFile) {
  PutFrames(1, 4);
  content_[static_cast<size_t>(kBlock + 2 * 2 * kBlock + kBlock + 100)] ^= 1;  // frame 3, payload
  content_[static_cast<size_t>(kBlock + 3 * 2 * kBlock + 8)] ^= 1;  // frame 4, which proves frame 3
  JournalScan scan = Scan();
  EXPECT_EQ(scan.frames, 2u);
  EXPECT_EQ(scan.frames_cut, 1u);
  EXPECT_EQ(scan.files[0].end_block, 5u);
  EXPECT_EQ(Held(scan.files[0]).size(), 2u);
  scan.files[0].end_block = 0;
  EXPECT_EQ(Held(scan.files[0]).size(), 3u);
}

TEST_F(JournalScanTest, OneForeignBlockIsALostHeader) {
  PutHeader(TestId(0x41));
  PutFrames(1, 3);
  const auto files = List();
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 1u);
  EXPECT_TRUE(files->front().header_lost);
  EXPECT_EQ(files->front().number, 1u);
}

TEST_F(JournalScanTest, AForeignFileIsRefused) {
  PutHeader(TestId(0x41));
  const auto files = List();
  EXPECT_TRUE(absl::IsFailedPrecondition(files.status())) << files.status();
}

}  // namespace
}  // namespace ringtail::log
