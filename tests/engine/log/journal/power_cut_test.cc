// The promise itself: whatever a script of appends, cuts, trims, deletions and mode switches has
// been acknowledged is there after the power was cut, or the process killed, at any operation.
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/engine/log/journal/life.h"
#include "tests/sim/random.h"
#include "tests/sim/seeds.h"

namespace ringtail::log {
namespace {

TEST(PowerCutTest, AtEveryOperationNothingAcknowledgedIsLost) {
  sim::ForSeeds(6, [](uint64_t seed) {
    const StackOptions options{.depth = size_t{1} << (seed % 3)};
    const uint64_t operations = CountOperations(seed, options);
    if (testing::Test::HasFailure()) return;
    for (uint64_t cut = 0; cut < operations; ++cut) {
      SCOPED_TRACE(absl::StrCat("cut at operation ", cut, " of ", operations));
      Life life(seed);
      bool paused = false;
      life.RunUntil(cut, options, seed, kOperations, &paused);
      if (testing::Test::HasFailure()) return;
      life.PowerCut(PolicyOf(cut * 7 + seed));
      life.RunUntil(std::nullopt,
                    {.cores = 1 + static_cast<uint32_t>(cut % 3), .syncs_at_once = cut % 2 == 0},
                    seed + 1000, 10, &paused);
      if (testing::Test::HasFailure()) return;
      life.Kill();
      if (cut % 5 != 0) continue;
      life.RunUntil(std::nullopt, options, seed + 2000, 0, &paused);
      if (testing::Test::HasFailure()) return;
      life.Kill();
    }
  });
}

TEST(PowerCutTest, KilledAtEveryOperationNothingAcknowledgedIsLost) {
  sim::ForSeeds(3, [](uint64_t seed) {
    const uint64_t operations = CountOperations(seed, {});
    if (testing::Test::HasFailure()) return;
    for (uint64_t cut = 0; cut < operations; ++cut) {
      SCOPED_TRACE(absl::StrCat("killed at operation ", cut, " of ", operations));
      Life life(seed);
      bool paused = false;
      life.RunUntil(cut, {}, seed, kOperations, &paused);
      if (testing::Test::HasFailure()) return;
      life.Kill();
      life.RunUntil(std::nullopt, {}, seed + 1000, 5, &paused);
      if (testing::Test::HasFailure()) return;
      life.Kill();
    }
  });
}

TEST(PowerCutTest, RecoveryCutOffAnywhereTwiceStillFindsAll) {
  sim::ForSeeds(4, [](uint64_t seed) {
    const uint64_t operations = CountOperations(seed, {});
    if (testing::Test::HasFailure()) return;
    for (uint64_t cut = 40 + seed; cut < operations; cut += operations / 4) {
      for (uint64_t first = 0; first < 60; first += 3) {
        SCOPED_TRACE(absl::StrCat("cut at ", cut, ", recovery cut at ", first));
        Life life(seed);
        bool paused = false;
        life.RunUntil(cut, {}, seed, kOperations, &paused);
        life.PowerCut(PolicyOf(cut + first));
        life.RunUntil(first, {.cores = 3, .syncs_at_once = first % 2 == 0}, seed, 0, &paused);
        if (testing::Test::HasFailure()) return;
        if (!paused) {
          life.Kill();
          break;
        }
        life.PowerCut(PolicyOf(first * 3 + 1));
        life.RunUntil(first / 2, {.cores = 1}, seed, 0, &paused);
        if (testing::Test::HasFailure()) return;
        life.PowerCut(PolicyOf(first + seed));
        life.RunUntil(std::nullopt, {}, seed + 1, 5, &paused);
        if (testing::Test::HasFailure()) return;
        life.Kill();
      }
    }
  });
}

// What recovery wrote again is on the device when the new run begins: by one sync for all, or,
// where that fails, by one of each file.
TEST(PowerCutTest, WhatWasWrittenAgainIsSyncedBeforeTheNewRunBegins) {
  int syncs = 0;
  for (const bool fails : {false, true}) {
    sim::ForSeeds(6, [&](uint64_t seed) {
      Life life(seed);
      bool paused = false;
      life.RunUntil(150, {}, seed, kOperations, &paused);
      if (testing::Test::HasFailure()) return;
      life.Kill();
      life.RunUntil(std::nullopt, {.syncs_at_once = true, .sync_at_once_fails = fails}, seed, 0,
                    &paused);
      if (testing::Test::HasFailure()) return;
      syncs += life.stack().syncs_of_all();
      life.PowerCut({sim::PowerCutPolicy::kNone, sim::kSectorBytes});
      life.RunUntil(std::nullopt, {}, seed + 1, 5, &paused);
      if (testing::Test::HasFailure()) return;
      life.Kill();
    });
  }
  EXPECT_GT(syncs, 0);
}

TEST(PowerCutTest, ManyLivesOnAnyNumberOfCores) {
  sim::ForSeeds(20, [](uint64_t seed) {
    Life life(seed);
    sim::Rng rng(seed);
    for (int round = 0; round < 8; ++round) {
      SCOPED_TRACE(absl::StrCat("round ", round));
      const uint32_t cores = std::vector<uint32_t>{1, 2, 5, 16}[rng.Below(4)];
      bool paused = false;
      const std::optional<uint64_t> cut =
          rng.Below(3) == 0 ? std::nullopt : std::optional<uint64_t>(rng.Below(500));
      life.RunUntil(cut,
                    {.cores = cores,
                     .depth = 1 + rng.Below(4),
                     .appends_most = static_cast<int>(round % 2 == 0 ? 3 : 40),
                     .syncs_at_once = (seed + static_cast<uint64_t>(round)) % 2 == 0},
                    seed * 100 + round, 40, &paused);
      if (testing::Test::HasFailure()) return;
      const uint64_t how = rng.Below(3);
      if (how == 0 && !paused) {
        life.StopClean();
      } else if (how == 1) {
        life.Kill();
      } else {
        life.PowerCut(PolicyOf(rng.Below(10)));
      }
      if (testing::Test::HasFailure()) return;
    }
  });
}

}  // namespace
}  // namespace ringtail::log
