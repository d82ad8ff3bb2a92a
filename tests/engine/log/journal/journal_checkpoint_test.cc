#include "engine/log/journal/journal_checkpoint.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "engine/log/journal/journal_manifest.h"
#include "tests/engine/log/journal/journal_fixture.h"
#include "tests/sim/node.h"

namespace ringtail::log {
namespace {

using sim::FaultKind;
using sim::PowerCutPolicy;
using sim::SimNode;
using sim::SimWorld;

constexpr char kCore[] = "/data/journal/core-0000";

Checkpoint ACheckpoint(uint32_t tail, size_t records) {
  Checkpoint checkpoint;
  checkpoint.header.run = 3;
  checkpoint.header.tail_file = tail;
  checkpoint.header.dir_id = TestId(0x40);
  for (size_t i = 0; i < records; ++i) {
    checkpoint.records.push_back({.topic_id = TestId(1), .partition = static_cast<uint32_t>(i)});
  }
  return checkpoint;
}

struct Newest {
  uint32_t slot = 9;
  Checkpoint checkpoint;
};

Newest ReadNewest(SimNode& node) {
  Newest newest;
  for (uint32_t slot = 0; slot < 2; ++slot) {
    const auto read = node.Run(ReadCheckpointSlot(node.io(), kCore, slot));
    if (!read.ok() || read->header.number <= newest.checkpoint.header.number) continue;
    newest = {slot, *read};
  }
  return newest;
}

TEST(JournalCheckpoint, SlotsTakeTurns) {
  SimWorld world(1);
  world.disk().Put(std::string(kCore) + "/x", "");
  SimNode node(world, world.NewProcess("broker"));
  CheckpointWriter writer(node.io(), kCore);
  for (uint32_t i = 1; i <= 5; ++i) {
    ASSERT_TRUE(node.Run(writer.Write(ACheckpoint(i, 10 - i))).ok());
    const Newest newest = ReadNewest(node);
    EXPECT_EQ(newest.slot, (i + 1) % 2);
    EXPECT_EQ(newest.checkpoint.header.tail_file, i);
    EXPECT_EQ(newest.checkpoint.records.size(), 10 - i);
  }
}

// A cut at every operation: the newest slot is the last that was confirmed, or the one under way.
TEST(JournalCheckpoint, PowerCutAnywhereLeavesTheLastOne) {
  for (uint64_t cut = 0; cut < 40; ++cut) {
    for (const auto kept : {PowerCutPolicy::kNone, PowerCutPolicy::kSubset, PowerCutPolicy::kAll}) {
      SimWorld world(cut + 1);
      world.disk().Put(std::string(kCore) + "/x", "");
      uint32_t confirmed = 0;
      {
        SimNode node(world, world.NewProcess("broker"));
        CheckpointWriter writer(node.io(), kCore);
        world.faults().Add({.kind = FaultKind::kPause, .path = "core-0000", .skip = cut});
        for (uint32_t i = 1; i <= 5; ++i) {
          const auto status = node.TryRun(writer.Write(ACheckpoint(i, 30)));
          if (!status.has_value()) break;
          ASSERT_TRUE(status->ok());
          confirmed = i;
        }
        world.PowerCut({kept, 512});
      }
      world.faults().Clear();
      SimNode node(world, world.NewProcess("broker"));
      const Newest newest = ReadNewest(node);
      EXPECT_GE(newest.checkpoint.header.tail_file, confirmed) << world.Report();
      EXPECT_LE(newest.checkpoint.header.tail_file, confirmed + 1);
    }
  }
}

TEST(JournalCheckpoint, FailedWriteLeavesTheOtherSlot) {
  SimWorld world(1);
  world.disk().Put(std::string(kCore) + "/x", "");
  SimNode node(world, world.NewProcess("broker"));
  CheckpointWriter writer(node.io(), kCore);
  ASSERT_TRUE(node.Run(writer.Write(ACheckpoint(1, 3))).ok());
  ASSERT_TRUE(node.Run(writer.Write(ACheckpoint(2, 3))).ok());
  world.faults().Add({.kind = FaultKind::kFailSync, .codes = {io::OpCode::kSync}, .count = 2});
  EXPECT_FALSE(node.Run(writer.Write(ACheckpoint(3, 3))).ok());
  EXPECT_FALSE(node.Run(writer.Write(ACheckpoint(4, 3))).ok());
  const auto other = node.Run(ReadCheckpointSlot(node.io(), kCore, 1));
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(other->header.tail_file, 2u);
  ASSERT_TRUE(node.Run(writer.Write(ACheckpoint(5, 3))).ok());
  EXPECT_EQ(ReadNewest(node).checkpoint.header.tail_file, 5u);
}

TEST(JournalManifest, ReplacedWhole) {
  for (uint64_t cut = 0; cut < 20; ++cut) {
    SimWorld world(cut + 1);
    world.disk().Put("/data/x", "");
    uint32_t confirmed = 0;
    {
      SimNode node(world, world.NewProcess("broker"));
      EXPECT_TRUE(absl::IsNotFound(node.Run(ReadManifest(node.io(), "/data")).status()));
      world.faults().Add({.kind = FaultKind::kPause, .path = "journal", .skip = cut});
      for (uint32_t run = 1; run <= 3; ++run) {
        const auto status = node.TryRun(
            WriteManifest(node.io(), "/data", {.run = run, .cores = 2, .dir_id = TestId(5)}));
        if (!status.has_value()) break;
        ASSERT_TRUE(status->ok()) << *status;
        confirmed = run;
      }
      world.PowerCut({PowerCutPolicy::kSubset, 512});
    }
    world.faults().Clear();
    SimNode node(world, world.NewProcess("broker"));
    const auto read = node.Run(ReadManifest(node.io(), "/data"));
    if (confirmed > 0) {
      ASSERT_TRUE(read.ok()) << read.status() << world.Report();
    }
    if (read.ok()) {
      EXPECT_GE(read->run, confirmed);
      EXPECT_LE(read->run, confirmed + 1);
    } else {
      EXPECT_TRUE(absl::IsNotFound(read.status())) << read.status();
    }
  }
}

TEST(JournalManifest, DamageNamesTheFile) {
  SimWorld world(1);
  world.disk().Put("/data/journal/MANIFEST", std::string(64, 'x'));
  SimNode node(world, world.NewProcess("broker"));
  const absl::Status status = node.Run(ReadManifest(node.io(), "/data")).status();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_NE(status.message().find("/data/journal/MANIFEST"), absl::string_view::npos);
}

}  // namespace
}  // namespace ringtail::log
