// What the broker is told to do follows what was measured, whatever that was.
#include "perf/lab/rule.h"

#include "gtest/gtest.h"
#include "perf/lab/families.h"

namespace ringtail::lab {
namespace {

using io::SendPath;

// CPU seconds per GB in three rounds, a little apart.
PathResult Path(const std::string& name, double cpu, double spread = 0.01) {
  PathResult path;
  path.path = name;
  path.engine = true;
  path.rounds["cpu_s_per_gb"] = {cpu * (1 - spread), cpu, cpu * (1 + spread)};
  return path;
}

GroupResult Sends(int64_t residency, int64_t size, int64_t connections,
                  std::vector<PathResult> paths) {
  return {"send",
          {{"residency", residency, ""}, {"size", size, ""}, {"connections", connections, ""}},
          std::move(paths)};
}

GroupResult Writes(int64_t size, double in_line, double ring) {
  return {"write",
          {{"size", size, ""}, {"files", 1, ""}},
          {Path(kAppendInline, in_line), Path(kAppendRing, ring)}};
}

TEST(RuleTest, NothingMeasuredKeepsTheDefaults) {
  const Rule rule = RuleOf({});
  EXPECT_EQ(rule.send, io::SendRule());
  EXPECT_TRUE(FlagsOf(rule).empty());
  EXPECT_EQ(rule.send_reasons.size(), 2u);
  EXPECT_EQ(rule.write_reasons.size(), 1u);
}

TEST(RuleTest, WhatTheDefaultsRestOnGivesTheDefaults) {
  LabResult result;
  result.groups = {Sends(0, 1 << 10, 1, {Path("sender copy", 1.04), Path("sender sendfile", 1.14)}),
                   Sends(0, 4 << 10, 1, {Path("sender copy", 2.01), Path("sender sendfile", 1.38)}),
                   Sends(0, 1 << 20, 1, {Path("sender copy", 168), Path("sender sendfile", 74)}),
                   Writes(64 << 10, 0.3, 0.5), Writes(1 << 20, 0.3, 0.31)};
  const Rule rule = RuleOf(result);
  EXPECT_EQ(rule.send, io::SendRule()) << io::ToText(rule.send);
  EXPECT_TRUE(FlagsOf(rule).empty());
}

TEST(RuleTest, AForgedResultChangesTheChoices) {
  LabResult result;
  result.groups = {Sends(0, 1 << 10, 1, {Path("sender copy", 1), Path("sender sendfile", 2)}),
                   Sends(0, 4 << 10, 1, {Path("sender copy", 1), Path("sender sendfile", 2)}),
                   Sends(0, 64 << 10, 1, {Path("sender sendfile", 2), Path("sender mapped", 1)}),
                   Sends(0, 64 << 10, 16, {Path("sender sendfile", 3), Path("sender mapped", 2)}),
                   Sends(0, 1 << 20, 1, {Path("sender sendfile", 2), Path("sender splice", 1)}),
                   Sends(1, 1 << 20, 1, {Path("sender copy", 2), Path("sender splice", 1)}),
                   Writes(4 << 10, 1, 2),
                   Writes(64 << 10, 2, 1)};
  const Rule rule = RuleOf(result);
  const std::vector<Flag> flags = FlagsOf(rule);
  ASSERT_EQ(flags.size(), 2u);
  EXPECT_EQ(flags[0].text, "--send_rule=16384=copy,262144=mapped,*=splice,cold=copy");
  EXPECT_NE(flags[0].why.find("less CPU for a byte than by sendfile"), std::string::npos);
  EXPECT_EQ(flags[1].text, "--inline_write_bytes_max=16384");
  // And the broker does what it says.
  const auto loaded = io::ParseSendRule(io::ToText(rule.send));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->Choose(4096, true), SendPath::kCopy);
  EXPECT_EQ(loaded->Choose(100'000, true), SendPath::kMapped);
  EXPECT_EQ(loaded->Choose(1 << 20, true), SendPath::kSplice);
  EXPECT_EQ(loaded->Choose(1 << 20, false), SendPath::kCopy);
}

TEST(RuleTest, WhatIsWithinTheSpreadChangesNothing) {
  LabResult result;
  result.groups = {
      Sends(0, 64 << 10, 1, {Path("sender sendfile", 1.05, 0.1), Path("sender mapped", 1, 0.1)}),
      Sends(1, 64 << 10, 1, {Path("sender copy", 1.05, 0.1), Path("sender splice", 1, 0.1)}),
      {"write", {{"size", 4096, ""}}, {Path(kAppendInline, 1.05, 0.1), Path(kAppendRing, 1, 0.1)}}};
  EXPECT_TRUE(FlagsOf(RuleOf(result)).empty());
}

TEST(RuleTest, ItMustBeCheaperOverAllConnections) {
  LabResult result;
  result.groups = {Sends(0, 64 << 10, 1, {Path("sender sendfile", 2), Path("sender mapped", 1)}),
                   Sends(0, 64 << 10, 16, {Path("sender sendfile", 1), Path("sender mapped", 2)})};
  EXPECT_TRUE(FlagsOf(RuleOf(result)).empty());
}

TEST(RuleTest, BelowWhatWasMeasuredTheDefaultHolds) {
  LabResult result;
  result.groups = {Sends(0, 64 << 10, 1, {Path("sender sendfile", 2), Path("sender mapped", 1)})};
  EXPECT_EQ(io::ToText(RuleOf(result).send), "2048=copy,*=mapped,cold=copy");
}

TEST(RuleTest, MoreSizesThanARuleHolds) {
  LabResult result;
  for (int i = 0; i < 40; ++i) {
    const double mapped = i % 2 == 0 ? 1 : 3;
    result.groups.push_back(Sends(0, (i + 1) * 100'000, 1,
                                  {Path("sender sendfile", 2), Path("sender mapped", mapped)}));
  }
  const Rule rule = RuleOf(result);
  EXPECT_LE(rule.send.hot.size(), io::SendRule::kStepsMax);
  EXPECT_TRUE(io::ParseSendRule(io::ToText(rule.send)).ok()) << io::ToText(rule.send);
}

TEST(RuleTest, OddResultsAreNoTrouble) {
  LabResult result;
  result.groups = {Sends(0, 0, 1, {Path("sender sendfile", 1)}),
                   Sends(0, -5, 1, {Path("sender sendfile", 1)}),
                   Sends(0, 4096, 1, {Path("sender sendfile", 0), Path("sender copy", 0)}),
                   {"send", {}, {Path("sender sendfile", 1)}},
                   {"write", {{"size", 4096, ""}}, {}}};
  EXPECT_TRUE(FlagsOf(RuleOf(result)).empty());
}

}  // namespace
}  // namespace ringtail::lab
