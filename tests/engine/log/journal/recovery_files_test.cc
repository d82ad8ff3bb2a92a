// How recovery writes segments: what continues is gathered, and everything lands where it belongs.
#include "engine/log/journal/recovery_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/bytes.h"
#include "tests/engine/log/machine.h"

namespace ringtail::log {
namespace {

using io::OpCode;
using sim::FaultKind;

class RecoveryFilesTest : public testing::Test {
 protected:
  RecoveryFilesTest() : machine_(3), files_(machine_.io(), "/data/t-0") {
    disk().Put("/data/t-0/00000000000000000000.log", "first");
    EXPECT_TRUE(files_.List().ok());
  }
  sim::SimDisk& disk() { return machine_.world().disk(); }
  absl::Status Write(uint64_t base, int64_t position, const std::string& bytes) {
    const auto room = machine_.Run(files_.RoomToWrite(base, position, bytes.size()));
    if (room.ok()) std::copy(bytes.begin(), bytes.end(), room->begin());
    return room.status();
  }
  task::Task<bool> Discard() {
    co_await files_.Discard();
    co_return true;
  }
  absl::Status Flush() { return machine_.Run(files_.Flush()); }
  std::string Content(uint64_t base) {
    return disk().Content(files_.PathOf(base)).value_or("none");
  }
  int Count(OpCode code) {
    return machine_.world().faults().Add({.codes = {code}, .path = "/data/t-0/", .count = 0});
  }
  uint64_t matched(int rule) { return machine_.world().faults().matched(rule); }

  SimMachine machine_;
  SegmentFiles files_;
};

TEST_F(RecoveryFilesTest, WritesThatContinueEachOtherAreOne) {
  const int writes = Count(OpCode::kWrite);
  const int opens = Count(OpCode::kOpen);
  std::string expected = "first";
  for (int i = 0; i < 1000; ++i) {
    const std::string bytes = absl::StrCat("entry ", i, ";");
    ASSERT_TRUE(Write(0, static_cast<int64_t>(expected.size()), bytes).ok());
    expected += bytes;
  }
  ASSERT_TRUE(Flush().ok());
  EXPECT_EQ(Content(0), expected);
  EXPECT_EQ(files_.sizes().at(0), static_cast<int64_t>(expected.size()));
  EXPECT_LE(matched(writes), 2u);  // the machine may shorten one
  EXPECT_EQ(matched(opens), 1u);
}

TEST_F(RecoveryFilesTest, WritesElsewhereAreKeptApartAndInOrder) {
  ASSERT_TRUE(Write(0, 5, "aaaa").ok());
  ASSERT_TRUE(Write(0, 9, "bbbb").ok());
  ASSERT_TRUE(Write(0, 7, "CCCC").ok());   // over the ends of both, made later
  ASSERT_TRUE(Write(40, 0, "next").ok());  // a segment that is not there yet
  ASSERT_TRUE(Write(40, 4, "more").ok());
  ASSERT_TRUE(Write(0, 13, "back").ok());
  ASSERT_TRUE(Flush().ok());
  EXPECT_EQ(Content(0), "firstaaCCCCbbback");
  EXPECT_EQ(Content(40), "nextmore");
  EXPECT_EQ(files_.sizes().at(40), 8);
}

TEST_F(RecoveryFilesTest, MuchIsWrittenInPieces) {
  const std::string piece(300 << 10, 'p');
  const int writes = Count(OpCode::kWrite);
  for (int64_t i = 0; i < 20; ++i) {
    ASSERT_TRUE(Write(0, i * static_cast<int64_t>(piece.size()), piece).ok());
  }
  EXPECT_GE(matched(writes), 4u);  // it does not keep all of it in memory
  ASSERT_TRUE(Flush().ok());
  EXPECT_EQ(Content(0).size(), 20 * piece.size());
}

TEST_F(RecoveryFilesTest, AFailedWriteIsToldAndNothingOfItIsTriedAgain) {
  machine_.world().faults().Add({.kind = FaultKind::kError, .codes = {OpCode::kWrite}});
  ASSERT_TRUE(Write(0, 5, "aaaa").ok());
  EXPECT_FALSE(Flush().ok());
  const int writes = Count(OpCode::kWrite);
  EXPECT_TRUE(Flush().ok());
  EXPECT_EQ(matched(writes), 0u);
  EXPECT_EQ(files_.sizes().at(0), 5);
}

TEST_F(RecoveryFilesTest, RoomThatIsNotFilledIsNotWritten) {
  ASSERT_TRUE(Write(0, 5, "aaaa").ok());
  ASSERT_TRUE(machine_.Run(files_.RoomToWrite(0, 9, 4)).ok());
  EXPECT_TRUE(machine_.Run(Discard()));
  EXPECT_TRUE(Flush().ok());
  EXPECT_EQ(Content(0), "first");
}

}  // namespace
}  // namespace ringtail::log
