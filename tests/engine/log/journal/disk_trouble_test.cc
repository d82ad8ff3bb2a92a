// Disks that fail: each operation in turn ends with an error, short, late or never. Nothing that
// was acknowledged may be lost by it, and what failed must not come back as if it had not.
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/engine/log/journal/life.h"
#include "tests/sim/random.h"
#include "tests/sim/seeds.h"

namespace ringtail::log {
namespace {

using io::OpCode;
using sim::FaultKind;

struct Trouble {
  const char* name;
  FaultKind kind;
  int error;
  std::vector<OpCode> codes;
};

const std::vector<Trouble>& Troubles() {
  static const auto* all = new std::vector<Trouble>{
      {"EIO at a write", FaultKind::kError, EIO, {OpCode::kWrite}},
      {"ENOSPC at a write", FaultKind::kError, ENOSPC, {OpCode::kWrite, OpCode::kAllocate}},
      {"a short write", FaultKind::kShort, 0, {OpCode::kWrite}},
      {"a failed sync", FaultKind::kFailSync, EIO, {OpCode::kSync}},
      {"a hung write", FaultKind::kHang, 0, {OpCode::kWrite}},
      {"a hung sync", FaultKind::kHang, 0, {OpCode::kSync}},
      {"EIO at a name", FaultKind::kError, EIO, {OpCode::kRename, OpCode::kUnlink, sim::kTruncate}},
  };
  return *all;
}

// After a failed sync the page cache may have what the device has not, and says nothing of it. The
// journal has what it was to make durable; a page_cache log has only the page cache.
StackOptions OptionsFor(const Trouble& trouble, uint64_t seed) {
  return {.depth = size_t{1} << (seed % 3), .journal_only = trouble.kind == FaultKind::kFailSync};
}

sim::FaultRule RuleOf(const Trouble& trouble, uint64_t skip) {
  sim::FaultRule rule;
  rule.kind = trouble.kind;
  rule.error = trouble.error;
  rule.codes = trouble.codes;
  rule.path = "/data";
  rule.skip = skip;
  return rule;
}

// Ends as the seed says, then looks at what is there, twice: what recovery said is durable must be.
void EndAndLook(Life& life, uint64_t choice, const Trouble& trouble) {
  const StackOptions options = OptionsFor(trouble, choice);
  bool paused = false;
  if (choice % 2 == 0) {
    life.Kill();
    life.RunUntil(std::nullopt, options, choice, 0, &paused);
    if (testing::Test::HasFailure()) return;
    life.PowerCut({sim::PowerCutPolicy::kNone, sim::kSectorBytes});
  } else {
    life.PowerCut(PolicyOf(choice / 2));
  }
  life.RunUntil(std::nullopt, options, choice, 5, &paused);
  if (testing::Test::HasFailure()) return;
  life.PowerCut({sim::PowerCutPolicy::kNone, sim::kSectorBytes});
  life.RunUntil(std::nullopt, options, choice, 0, &paused);
  if (testing::Test::HasFailure()) return;
  life.Kill();
}

TEST(DiskTroubleTest, AtEachOperationNothingAcknowledgedIsLost) {
  sim::ForSeeds(4, [](uint64_t seed) {
    for (const Trouble& trouble : Troubles()) {
      for (uint64_t at = seed % 4;; at += 4) {
        SCOPED_TRACE(absl::StrCat(trouble.name, " at ", at));
        Life life(seed);
        life.RunTroubled(RuleOf(trouble, at), false, OptionsFor(trouble, seed), seed, kOperations);
        if (testing::Test::HasFailure()) return;
        const bool fired = life.fired();
        if (fired) EndAndLook(life, at + seed, trouble);
        if (testing::Test::HasFailure()) return;
        if (!fired) {
          life.Kill();
          break;
        }
      }
    }
  });
}

// Operation `at` of a recovery after a power cut has the trouble. False: it came to no such one.
bool TroubleInRecovery(uint64_t seed, const Trouble& trouble, uint64_t at) {
  SCOPED_TRACE(absl::StrCat(trouble.name, " at ", at, " of a start"));
  Life life(seed);
  bool paused = false;
  StackOptions options = OptionsFor(trouble, seed);
  life.RunUntil(100 + seed * 17, options, seed, kOperations, &paused);
  if (testing::Test::HasFailure()) return false;
  life.PowerCut(PolicyOf(at + seed));
  options.damaged = true;
  life.RunTroubled(RuleOf(trouble, at), true, options, seed, 3);
  if (testing::Test::HasFailure()) return false;
  const bool fired = life.fired();
  EndAndLook(life, at, trouble);
  return fired;
}

TEST(DiskTroubleTest, InRecoveryTheNextStartFindsAll) {
  sim::ForSeeds(4, [](uint64_t seed) {
    for (const Trouble& trouble : Troubles()) {
      for (uint64_t at = 0; TroubleInRecovery(seed, trouble, at); at += 2) {
        if (testing::Test::HasFailure()) return;
      }
    }
  });
}

// A failed sync closes a partition, whose journal file is held. Its last frame was torn, and the
// next start took that for rot.
TEST(DiskTroubleTest, ATornFrameInAHeldFileIsNoRot) {
  for (const Trouble& trouble : Troubles()) {
    if (trouble.kind == FaultKind::kFailSync) EXPECT_TRUE(TroubleInRecovery(38, trouble, 2));
  }
}

// Failures that last: the disk is full, or every sync fails, from some point to the end of the run.
TEST(DiskTroubleTest, ThatLastsStillNothingAcknowledgedIsLost) {
  sim::ForSeeds(10, [](uint64_t seed) {
    for (const Trouble& trouble : Troubles()) {
      SCOPED_TRACE(trouble.name);
      for (const char* path : {"/data/journal", "/data/topic"}) {
        Life life(seed);
        sim::FaultRule rule = RuleOf(trouble, 20 + seed * 5);
        rule.path = path;
        rule.count = 1 + seed % 4 * 50;
        StackOptions options = OptionsFor(trouble, seed);
        options.appends_most = 6;
        life.RunTroubled(rule, false, options, seed, kOperations);
        if (testing::Test::HasFailure()) return;
        EndAndLook(life, seed, trouble);
        if (testing::Test::HasFailure()) return;
      }
    }
  });
}

// Syncs that take long fill the journal: appends wait, none fails, and all are done in the end.
TEST(DiskTroubleTest, SlowSyncsStallTheJournalAndNothingFails) {
  uint64_t stalls = 0;
  sim::ForSeeds(10, [&stalls](uint64_t seed) {
    sim::FaultRule rule;
    rule.kind = FaultKind::kDelay;
    rule.codes = {OpCode::kSync};
    rule.path = "/data/topic";
    rule.count = sim::Faults::kAlways;
    rule.delay_ns = 400 * base::kNanosPerMilli;
    Life life(seed);
    ASSERT_TRUE(life.RunTroubled(
        rule, false,
        {.cores = 1, .bypass_bytes = 1 << 20, .appends_most = 80, .journal_only = true}, seed, 30));
    life.machine().world().RunFor(200 * base::kNanosPerSecond);
    stalls += life.stack().journal(0).journal().metrics().stalls;
    for (const auto& [index, part] : life.parts()) {
      if (part->gone) continue;
      const Known& facts = life.known()[index];
      EXPECT_TRUE(facts.branches.empty()) << facts.topic;
      EXPECT_EQ(facts.acked, facts.end()) << facts.topic;
    }
    if (testing::Test::HasFailure()) return;
    const Trouble none = {"", FaultKind::kNone, 0, {}};
    EndAndLook(life, seed, none);
  });
  EXPECT_GT(stalls, 0u);
}

}  // namespace
}  // namespace ringtail::log
