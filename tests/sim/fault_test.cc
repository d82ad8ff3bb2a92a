// Fault rules, cuts and kills, as an engine on the simulated backend meets them.
#include <fcntl.h>

#include <set>

#include "engine/io/file.h"
#include "gtest/gtest.h"
#include "tests/sim/node.h"
#include "tests/sim/seeds.h"

namespace ringtail::sim {
namespace {

using io::OpCode;

struct Aligned {
  alignas(4096) char bytes[8192];
};

class FaultTest : public testing::Test {
 protected:
  FaultTest() : FaultTest(1) {}
  explicit FaultTest(uint64_t seed) : world_(seed) { Restart(); }

  void Restart() {
    node_.reset();
    node_ = std::make_unique<SimNode>(world_, world_.NewProcess("broker"));
  }
  int Open(const char* path, int flags = O_RDWR | O_CREAT) {
    const auto fd = node_->Run(io::OpenFile(node_->io(), path, flags));
    EXPECT_TRUE(fd.ok()) << fd.status();
    return fd.value_or(-1);
  }
  static task::Task<int64_t> One(io::Backend& io, io::Op op) {
    co_return co_await io::Run(io, &op);
  }
  int64_t Do(io::Op op) { return node_->Run(One(node_->io(), op)); }
  int64_t Write(int fd, std::string text, int64_t position = 0, uint32_t flags = 0) {
    const iovec vector{text.data(), text.size()};
    return Do({.code = OpCode::kWrite,
               .flags = flags,
               .fd = fd,
               .vectors = &vector,
               .vector_count = 1,
               .position = position});
  }
  int64_t Sync(int fd) { return Do({.code = OpCode::kSync, .fd = fd}); }

  SimWorld world_;
  std::unique_ptr<SimNode> node_;
};

TEST_F(FaultTest, NthOperationOnAPathFails) {
  const int log = Open("/a.log");
  const int other = Open("/b.index");
  const int rule = world_.faults().Add(
      {.kind = FaultKind::kError, .codes = {OpCode::kWrite}, .path = ".log", .skip = 1});
  EXPECT_EQ(Write(log, "1"), 1);
  EXPECT_EQ(Write(other, "1"), 1);
  EXPECT_EQ(Write(log, "2"), -EIO);
  EXPECT_EQ(Write(log, "3"), 1);
  EXPECT_EQ(world_.faults().matched(rule), 3u);
  EXPECT_EQ(world_.faults().fired(rule), 1u);
  EXPECT_EQ(world_.disk().Content("/a.log"), "3");
}

TEST_F(FaultTest, InlineCallsAreMatchedToo) {
  const int fd = Open("/f");
  world_.faults().Add({.kind = FaultKind::kError, .error = ENOSPC, .codes = {OpCode::kWrite}});
  world_.faults().Add({.kind = FaultKind::kError, .codes = {kTruncate}});
  char text[] = "abc";
  const iovec vector{text, 3};
  EXPECT_EQ(node_->io().WriteInline(fd, &vector, 1, 0), -ENOSPC);
  EXPECT_EQ(node_->io().WriteInline(fd, &vector, 1, 0), 3);
  EXPECT_EQ(node_->io().Truncate(fd, 1), -EIO);
  EXPECT_EQ(world_.disk().Content("/f"), "abc");
}

TEST_F(FaultTest, ShortWritesAndReadsAreContinuedByFullyCalls) {
  const int fd = Open("/f");
  world_.faults().Add({.kind = FaultKind::kShort, .count = Faults::kAlways, .probability = 0.7});
  std::string text(10'000, 'x'), back(10'000, ' ');
  iovec out{text.data(), text.size()}, in{back.data(), back.size()};
  EXPECT_EQ(node_->Run(io::WriteFully(node_->io(), fd, &out, 1, 0, 0)), 10'000);
  EXPECT_EQ(node_->Run(io::ReadFully(node_->io(), fd, &in, 1, 0)), 10'000);
  EXPECT_EQ(text, back);
}

TEST_F(FaultTest, FailedSyncLosesDataThatReadersStillSee) {
  world_.disk().Put("/f", "old");
  world_.disk().set_background_writeback(0);
  const int fd = Open("/f");
  bool lost = false;
  for (int i = 0; i < 20 && !lost; ++i) {
    Write(fd, i % 2 == 0 ? "new" : "odd");
    world_.faults().Add({.kind = FaultKind::kFailSync});
    EXPECT_EQ(Sync(fd), -EIO);
    EXPECT_EQ(Sync(fd), 0);
    lost = world_.disk().DurableContent("/f") != world_.disk().Content("/f");
  }
  EXPECT_TRUE(lost);
}

TEST_F(FaultTest, HungOperationEndsWhenReleased) {
  const int fd = Open("/f");
  const int rule = world_.faults().Add({.kind = FaultKind::kHang, .codes = {OpCode::kSync}});
  int64_t result = 1;
  node_->Start("sync", [](io::Backend& io, int file, int64_t* to) -> task::Task<void> {
    *to = co_await One(io, {.code = OpCode::kSync, .fd = file});
  }(node_->io(), fd, &result));
  world_.RunFor(10 * base::kNanosPerSecond);
  EXPECT_EQ(result, 1);
  EXPECT_EQ(Write(fd, "others go on"), 12);
  world_.faults().Release(rule);
  EXPECT_TRUE(world_.RunUntil([&] { return result == 0; }));
}

TEST_F(FaultTest, DelayTakesTime) {
  const int fd = Open("/f");
  world_.faults().Add({.kind = FaultKind::kDelay, .delay_ns = 3 * base::kNanosPerSecond});
  const base::Nanos before = world_.now();
  EXPECT_EQ(Write(fd, "x"), 1);
  EXPECT_GE(world_.now() - before, 3 * base::kNanosPerSecond);
}

TEST_F(FaultTest, LyingWritesAreSeenAfterwards) {
  for (const FaultKind kind :
       {FaultKind::kBitFlip, FaultKind::kZeroed, FaultKind::kMisdirected, FaultKind::kForgotten}) {
    world_.disk().Put("/f", std::string(64 << 10, 'o'));
    const int fd = Open("/f", O_RDWR | O_DIRECT);
    world_.faults().Add({.kind = kind, .codes = {OpCode::kWrite}});
    Aligned memory;
    std::fill(std::begin(memory.bytes), std::end(memory.bytes), 'n');
    const iovec vector{memory.bytes, sizeof(memory.bytes)};
    EXPECT_EQ(Do({.code = OpCode::kWrite,
                  .flags = io::kDataSync,
                  .fd = fd,
                  .vectors = &vector,
                  .vector_count = 1,
                  .position = 8192}),
              8192);
    std::string right(64 << 10, 'o');
    std::fill(right.begin() + 8192, right.begin() + 16384, 'n');
    const std::string there = *world_.disk().Content("/f");
    int wrong = 0;
    for (size_t i = 0; i < there.size() && i < right.size(); ++i) wrong += there[i] != right[i];
    if (kind == FaultKind::kBitFlip) EXPECT_EQ(wrong, 1);
    if (kind == FaultKind::kZeroed) EXPECT_TRUE(wrong == 512 || wrong == 4096) << wrong;
    if (kind == FaultKind::kForgotten) EXPECT_EQ(wrong, 8192);
    if (kind == FaultKind::kMisdirected) EXPECT_GE(wrong, 8192);
    Do({.code = OpCode::kClose, .fd = fd});
    world_.faults().Clear();
  }
}

TEST_F(FaultTest, PauseStopsBeforeTheOperationIsDone) {
  world_.disk().Put("/f", "old");
  const int fd = Open("/f");
  world_.faults().Add({.kind = FaultKind::kPause, .codes = {OpCode::kSync}});
  EXPECT_EQ(Write(fd, "new"), 3);
  EXPECT_FALSE(node_->TryRun(One(node_->io(), {.code = OpCode::kSync, .fd = fd})).has_value());
  EXPECT_TRUE(world_.paused());
  world_.PowerCut({PowerCutPolicy::kNone});
  world_.Resume();
  Restart();
  EXPECT_EQ(world_.disk().Content("/f"), "old");
}

TEST_F(FaultTest, DirectIoNeedsAlignmentAndSyncsOnlyWhenAsked) {
  world_.disk().Put("/f", std::string(8192, 'o'));
  world_.disk().set_background_writeback(0);
  const int fd = Open("/f", O_RDWR | O_DIRECT);
  Aligned memory = {};
  iovec vector{memory.bytes, 512};
  io::Op op{.code = OpCode::kWrite, .fd = fd, .vectors = &vector, .vector_count = 1};
  EXPECT_EQ(Do(op), 512);
  EXPECT_EQ(world_.disk().DurableContent("/f")->at(0), 'o');
  op.flags = io::kDataSync;
  EXPECT_EQ(Do(op), 512);
  EXPECT_EQ(world_.disk().DurableContent("/f")->at(0), '\0');
  vector.iov_len = 511;
  EXPECT_EQ(Do(op), -EINVAL);
  vector = {memory.bytes + 1, 512};
  EXPECT_EQ(Do(op), -EINVAL);
  vector = {memory.bytes, 512};
  op.position = 100;
  EXPECT_EQ(Do(op), -EINVAL);
}

TEST_F(FaultTest, ColdPagesAreReadOnlyByWhoMayWait) {
  world_.disk().Put("/f", std::string(8192, 'o'));
  const int fd = Open("/f");
  world_.disk().MakeCold("/f");
  char byte = 0;
  const iovec vector{&byte, 1};
  EXPECT_FALSE(node_->io().Resident(fd, 0, 1));
  EXPECT_EQ(node_->io().ReadNowait(fd, &vector, 1, 4096), -EAGAIN);
  EXPECT_EQ(node_->io().ReadBlocking(fd, &byte, 1, 4096), 1);
  EXPECT_EQ(node_->io().ReadNowait(fd, &vector, 1, 4096), 1);
  EXPECT_TRUE(node_->io().Resident(fd, 4096, 4096));
  EXPECT_FALSE(node_->io().Resident(fd, 0, 8192));
}

TEST_F(FaultTest, MappingSeesLaterWrites) {
  const int fd = Open("/f");
  Write(fd, "before");
  const auto map = node_->io().Map(fd, 0, 4096);
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(memcmp(*map, "before", 6), 0);
  Write(fd, "after!");
  EXPECT_EQ(memcmp(*map, "after!", 6), 0);
  node_->io().Unmap(*map, 4096);
}

TEST_F(FaultTest, LinkedSecondStartsOnlyAfterAWholeFirst) {
  const int fd = Open("/f");
  for (const bool whole : {true, false}) {
    if (!whole) world_.faults().Add({.kind = FaultKind::kShort, .codes = {OpCode::kWrite}});
    char text[] = "abcdefgh";
    const iovec vector{text, 8};
    io::Op write{.code = OpCode::kWrite, .fd = fd, .vectors = &vector, .vector_count = 1};
    io::Op sync{.code = OpCode::kSync, .fd = fd};
    static int done;
    done = 0;
    write.on_complete = sync.on_complete = [](io::Op*) { ++done; };
    node_->io().SubmitLinked(&write, &sync);
    EXPECT_TRUE(world_.RunUntil([&] { return done == 2; }));
    EXPECT_EQ(write.result == 8, whole);
    EXPECT_EQ(sync.result, whole ? 0 : -ECANCELED);
  }
}

// A direct, synced write in flight when power goes: any mix of old and new sectors, nothing else.
TEST(PowerCutTest, DirectWriteInFlightTears) {
  std::set<std::string> outcomes;
  ForSeeds(100, [&](uint64_t seed) {
    SimWorld world(seed);
    world.disk().Put("/f", std::string(2048, 'o'));
    {
      SimNode node(world, world.NewProcess("broker"));
      const int fd = *node.Run(io::OpenFile(node.io(), "/f", O_RDWR | O_DIRECT));
      Aligned memory;
      std::fill(std::begin(memory.bytes), std::end(memory.bytes), 'n');
      const iovec vector{memory.bytes, 2048};
      io::Op write{.code = OpCode::kWrite,
                   .flags = io::kDataSync,
                   .fd = fd,
                   .vectors = &vector,
                   .vector_count = 1};
      world.faults().Add({.kind = FaultKind::kPause, .codes = {OpCode::kWrite}});
      node.io().Submit(&write);
      EXPECT_FALSE(world.RunUntil([] { return false; }));
      if (seed % 2 == 0) {
        world.PowerCut({PowerCutPolicy::kSubset});
      } else {
        world.Kill(node.io().process());
      }
    }
    const std::string content = *world.disk().Content("/f");
    std::string letters;
    for (size_t at = 0; at < content.size(); at += 512) {
      EXPECT_EQ(content.substr(at, 512), std::string(512, content[at]));
      letters += content[at];
    }
    outcomes.insert(letters);
  });
  EXPECT_GE(outcomes.size(), 12u);
}

TEST(PowerCutTest, KillKeepsThePageCache) {
  SimWorld world(3);
  {
    SimNode node(world, world.NewProcess("broker"));
    ASSERT_TRUE(node.Run(io::ReplaceFile(node.io(), "/g", "x")).ok());
    const int fd = *node.Run(io::OpenFile(node.io(), "/f", O_RDWR | O_CREAT));
    char text[] = "never synced";
    const iovec vector{text, 12};
    EXPECT_EQ(node.io().WriteInline(fd, &vector, 1, 0), 12);
    world.Kill(node.io().process());
  }
  EXPECT_EQ(world.disk().Content("/f"), "never synced");
  world.disk().set_background_writeback(0);
  world.PowerCut({PowerCutPolicy::kNone});
  EXPECT_EQ(world.disk().Content("/g"), "x");
}

TEST(PowerCutTest, CutAtEveryOperationOfAReplacement) {
  uint64_t operations = 0;
  {
    SimWorld world(1);
    SimNode node(world, world.NewProcess("broker"));
    const int rule = world.faults().Add({.count = 0});
    ASSERT_TRUE(node.Run(io::ReplaceFile(node.io(), "/a", "new")).ok());
    operations = world.faults().matched(rule);
  }
  ASSERT_GE(operations, 6u);
  ForSeeds(20, [&](uint64_t seed) {
    for (uint64_t index = 0; index < operations; ++index) {
      for (int kept = PowerCutPolicy::kNone; kept <= PowerCutPolicy::kSubset; ++kept) {
        SimWorld world(seed);
        world.disk().Put("/a", "old");
        SimNode node(world, world.NewProcess("broker"));
        world.faults().Add({.kind = FaultKind::kPause, .skip = index});
        EXPECT_FALSE(node.TryRun(io::ReplaceFile(node.io(), "/a", "new")).has_value());
        world.PowerCut({static_cast<PowerCutPolicy::Kept>(kept)});
        const auto content = world.disk().Content("/a");
        EXPECT_TRUE(content == "old" || content == "new") << content.value_or("gone");
      }
    }
  });
}

}  // namespace
}  // namespace ringtail::sim
