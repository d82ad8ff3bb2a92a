// Reads of old data on the simulated disk: whose turn it is, what they hold of memory, and what
// they leave in the page cache.
#include "engine/io/cold_reader.h"

#include <fcntl.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "gtest/gtest.h"
#include "tests/sim/node.h"

namespace ringtail::io {
namespace {

using sim::FaultKind;

constexpr int64_t kPiece = 64 << 10;
constexpr int64_t kFileBytes = 16 * kPiece;

class ColdReaderTest : public testing::Test {
 protected:
  explicit ColdReaderTest(const sim::SimBackendOptions& backend = {})
      : broker_(world_, world_.NewProcess("broker"), backend) {
    for (int64_t i = 0; i < kFileBytes; ++i) content_ += static_cast<char>('a' + i * i / 7 % 26);
    world_.disk().Put("/f", content_);
    world_.disk().MakeCold("/f");
    file_ = *broker_.Run(OpenFile(broker_.io(), "/f", O_RDONLY, 0));
  }

  void Make(ColdReadOptions options) {
    options.piece_bytes = kPiece;
    reader_.emplace(broker_.io(), options, counters_);
    source_ = broker_.Run(reader_->Open(file_));
  }
  // Reads `count` pieces one after the other, and notes by `name` when it has one.
  task::Task<void> ReadThrough(char name, int64_t position, int count) {
    for (int i = 0; i < count; ++i, position += kPiece) {
      ColdReader::Piece piece(*reader_);
      co_await piece.Reserve();
      co_await piece.Begin(source_, position, kPiece);
      EXPECT_EQ(co_await piece.Finish(), kPiece);
      ExpectContent(piece, position);
      order_ += name;
    }
  }
  void ExpectContent(const ColdReader::Piece& piece, int64_t position) {
    const base::ByteView bytes = piece.bytes();
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
              content_.substr(static_cast<size_t>(position), bytes.size()));
  }
  task::Task<int64_t> ReadOne(int64_t position, int64_t bytes) {
    ColdReader::Piece piece(*reader_);
    co_await piece.Reserve();
    co_await piece.Begin(source_, position, bytes);
    const int64_t read = co_await piece.Finish();
    if (read > 0) ExpectContent(piece, position);
    co_return read;
  }
  // Holds what it has read until `until`.
  task::Task<void> Hold(int64_t position, task::Event* until) {
    ColdReader::Piece piece(*reader_);
    co_await piece.Reserve();
    co_await piece.Begin(source_, position, kPiece);
    co_await until->Wait();
    EXPECT_EQ(co_await piece.Finish(), kPiece);
  }
  void Settle() { world_.RunFor(base::kNanosPerSecond); }

  sim::SimWorld world_{3};
  sim::SimNode broker_;
  ColdReadCounters counters_;
  std::optional<ColdReader> reader_;
  std::string content_;
  std::string order_;
  int file_ = -1;
  ColdReader::File source_;
};

class ColdReaderOnAnOldKernel : public ColdReaderTest {
 protected:
  ColdReaderOnAnOldKernel() : ColdReaderTest({.dont_cache = false}) {}
};

TEST_F(ColdReaderTest, ReadersTakeTurns) {
  Make({.reads_at_once = 1});
  for (const char name : {'a', 'b', 'c'}) broker_.Start("read", ReadThrough(name, 0, 4));
  Settle();
  EXPECT_EQ(order_, "abcabcabcabc");
  EXPECT_EQ(counters_.reads, 12u);
  EXPECT_GT(counters_.waits, 0u);
  EXPECT_EQ(reader_->held_bytes(), 0u);
}

TEST_F(ColdReaderTest, NoMoreAreAtTheDiskThanAllowed) {
  Make({.reads_at_once = 2});
  const int held = world_.faults().Add({.kind = FaultKind::kHang,
                                        .codes = {OpCode::kRead},
                                        .path = "/f",
                                        .count = sim::Faults::kAlways});
  for (int i = 0; i < 5; ++i) broker_.Start("read", ReadThrough('x', i * kPiece, 1));
  Settle();
  EXPECT_EQ(counters_.reads, 2u);
  EXPECT_EQ(broker_.io().in_flight(), 2u);
  world_.faults().Release(held);
  Settle();
  EXPECT_EQ(order_, "xxxxx");
}

// A sender that waits for its peer has its next piece read meanwhile, and that is all it takes of
// the disk.
TEST_F(ColdReaderTest, ATurnEndsWithItsReadThoughNobodyLooks) {
  Make({.reads_at_once = 1});
  task::Event enough;
  broker_.Start("hold", Hold(0, &enough));
  Settle();
  broker_.Start("read", ReadThrough('b', kPiece, 2));
  Settle();
  EXPECT_EQ(order_, "bb");
  enough.Set();
  Settle();
  EXPECT_EQ(reader_->held_bytes(), 0u);
}

TEST_F(ColdReaderTest, MemoryIsBoundedAndWhoWaitsForItIsKnown) {
  Make({.memory_bytes = 2 * kPiece});
  task::Event enough;
  broker_.Start("hold", Hold(0, &enough));
  broker_.Start("hold", Hold(kPiece, &enough));
  Settle();
  EXPECT_FALSE(reader_->contended());
  broker_.Start("read", ReadThrough('c', 0, 1));
  Settle();
  EXPECT_TRUE(reader_->contended());
  EXPECT_LE(reader_->held_bytes(), static_cast<size_t>(2 * kPiece));
  {
    const task::Scheduler::Scope scope(broker_.scheduler());
    ColdReader::Piece piece(*reader_);
    EXPECT_FALSE(piece.TryBegin(source_, 0, kPiece));
    EXPECT_FALSE(piece.begun());
    enough.Set();
  }
  Settle();
  EXPECT_EQ(order_, "c");
  EXPECT_FALSE(reader_->contended());
}

// To read ahead is no reason to have somebody wait who has nothing yet.
TEST_F(ColdReaderTest, WhatIsReadAheadDoesNotPushIn) {
  Make({.reads_at_once = 1});
  const int held = world_.faults().Add({.kind = FaultKind::kHang, .codes = {OpCode::kRead}});
  broker_.Start("read", ReadThrough('a', 0, 1));
  broker_.Start("read", ReadThrough('b', 0, 1));
  Settle();
  {
    const task::Scheduler::Scope scope(broker_.scheduler());
    ColdReader::Piece piece(*reader_);
    EXPECT_FALSE(piece.TryBegin(source_, 0, kPiece));
  }
  world_.faults().Release(held);
  Settle();
  EXPECT_EQ(order_, "ab");
  const task::Scheduler::Scope scope(broker_.scheduler());
  ColdReader::Piece piece(*reader_);
  EXPECT_TRUE(piece.TryBegin(source_, 0, kPiece));
  EXPECT_EQ(counters_.ahead, 1u);
  EXPECT_EQ(broker_.Run(piece.Finish()), kPiece);
}

TEST_F(ColdReaderTest, InterruptedReadsAreMadeAgainErrorsAreTold) {
  Make({});
  for (const int error : {EINTR, EAGAIN}) {
    world_.faults().Add({.kind = FaultKind::kError, .error = error, .codes = {OpCode::kRead}});
    EXPECT_EQ(broker_.Run(ReadOne(0, kPiece)), kPiece);
  }
  EXPECT_EQ(counters_.direct, counters_.reads);
  world_.faults().Add({.kind = FaultKind::kError, .error = EINVAL, .codes = {OpCode::kRead}});
  EXPECT_EQ(broker_.Run(ReadOne(0, kPiece)), kPiece) << "as if it could not be read directly";
  EXPECT_EQ(counters_.direct, counters_.reads - 1);
  world_.faults().Add({.kind = FaultKind::kError, .error = EIO, .codes = {OpCode::kRead}});
  EXPECT_EQ(broker_.Run(ReadOne(0, kPiece)), -EIO);
  EXPECT_EQ(broker_.Run(ReadOne(kFileBytes, kPiece)), 0);
  EXPECT_EQ(reader_->held_bytes(), 0u);
  EXPECT_EQ(broker_.Run(ReadOne(0, kPiece)), kPiece) << "all turns have been given back";
}

TEST_F(ColdReaderTest, PiecesAreOfWholePages) {
  Make({});
  EXPECT_EQ(broker_.Run(ReadOne(100, 3 * kPiece)), kPiece - 100);
  EXPECT_EQ(broker_.Run(ReadOne(4096, 3 * kPiece)), kPiece);
  EXPECT_EQ(broker_.Run(ReadOne(4097, 50)), 50);
  // The file ends within a page.
  world_.disk().Put("/g", content_.substr(0, 5000));
  const int shorter = *broker_.Run(OpenFile(broker_.io(), "/g", O_RDONLY, 0));
  source_ = broker_.Run(reader_->Open(shorter));
  EXPECT_EQ(broker_.Run(ReadOne(10, 9000)), 4990);
  EXPECT_EQ(broker_.Run(ReadOne(4500, 9000)), 500);
  EXPECT_EQ(broker_.Run(ReadOne(5000, 10)), 0);
  EXPECT_EQ(counters_.direct, counters_.reads);
}

// Memory is taken when it is needed and given back soon after; what was read before does not show.
TEST_F(ColdReaderTest, MemoryGoesBackAndComesAgain) {
  Make({});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(broker_.Run(ReadOne(i * kPiece, kPiece)), kPiece);
    world_.RunFor(10 * base::kNanosPerSecond);
  }
}

TEST_F(ColdReaderTest, NothingStaysInThePageCache) {
  Make({});
  broker_.Start("read", ReadThrough('a', 0, 16));
  Settle();
  EXPECT_EQ(order_.size(), 16u);
  EXPECT_FALSE(broker_.io().Resident(file_, 0, 4096));
}

// Neither O_DIRECT nor RWF_DONTCACHE.
TEST_F(ColdReaderOnAnOldKernel, NothingStaysInThePageCache) {
  world_.faults().Add({.kind = FaultKind::kError,
                       .error = EINVAL,
                       .codes = {OpCode::kOpen},
                       .path = "/proc/self/fd"});
  Make({});
  EXPECT_EQ(source_.direct, -1);
  broker_.Start("read", ReadThrough('a', 0, 16));
  Settle();
  EXPECT_EQ(order_.size(), 16u);
  for (int64_t at = 0; at < kFileBytes; at += 4096) {
    EXPECT_FALSE(broker_.io().Resident(file_, at, 4096)) << at;
  }
}

}  // namespace
}  // namespace ringtail::io
