#include "perf/lab/verdicts.h"

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "perf/lab/figures.h"
#include "perf/lab/summary.h"
#include "tests/perf/lab/sample.h"

namespace ringtail::lab {
namespace {

PathResult Path(const char* name, std::vector<double> rate, std::vector<double> cpu) {
  return {name, false, Promise::kNone, {{"gb_per_s", rate}, {"cpu_s_per_gb", cpu}}, ""};
}

std::string VerdictOf(const GroupResult& group, const std::string& path) {
  for (const Ranking& ranking : Rank(group)) {
    for (const Ranked& ranked : ranking.paths) {
      if (ranked.path->path == path) return VerdictText(ranked.verdict);
    }
  }
  return "not there";
}

TEST(VerdictsTest, BesideTheBestOfTheGroup) {
  const GroupResult group = {
      "send",
      {},
      {Path("slow", {1, 1, 1}, {1, 1, 1}), Path("fast", {2, 2, 2}, {1, 1, 1}),
       Path("level", {1.9, 2.1, 2}, {0.9, 1.1, 1.05}), Path("hungry", {2, 2, 2}, {1.5, 1.5, 1.5}),
       Path("frugal", {1.5, 1.5, 1.5}, {0.5, 0.5, 0.5})}};
  EXPECT_EQ(VerdictOf(group, "fast"), "best");
  EXPECT_EQ(VerdictOf(group, "level"), "= best");
  EXPECT_EQ(VerdictOf(group, "slow"), "2.0x");
  EXPECT_EQ(VerdictOf(group, "hungry"), "CPU 1.5x");
  EXPECT_EQ(VerdictOf(group, "frugal"), "1.3x, CPU 0.5x");
}

TEST(VerdictsTest, OfEquallyFastOnesTheLeastCpuIsBest) {
  const GroupResult group = {
      "send", {}, {Path("a", {2, 2.1, 2}, {2, 2, 2}), Path("b", {2, 2, 2}, {1, 1, 1})}};
  EXPECT_EQ(VerdictOf(group, "b"), "best");
  EXPECT_EQ(VerdictOf(group, "a"), "CPU 2.0x");
}

TEST(VerdictsTest, NothingIsFasterThanTheBest) {
  // The widest has the highest median; the thrifty one overlaps with it, but not with the narrow.
  const GroupResult group = {
      "send",
      {},
      {Path("wide", {1, 4, 6}, {2, 2, 2}), Path("narrow", {3, 3.5, 3.6}, {3, 3, 3}),
       Path("thrifty", {1.5, 1.6, 1.7}, {1, 1, 1})}};
  EXPECT_EQ(VerdictOf(group, "wide"), "best");
}

TEST(VerdictsTest, OtherPromisesDoNotCompete) {
  const LabResult sample = Sample();
  EXPECT_EQ(VerdictOf(sample.groups[1], "pwrite"), "best");
  EXPECT_EQ(VerdictOf(sample.groups[1], "journal"), "CPU 1.5x");
}

TEST(VerdictsTest, AloneOrWithoutARate) {
  GroupResult group = {"ring", {}, {Path("only", {1}, {1})}};
  EXPECT_EQ(VerdictOf(group, "only"), "alone");
  group.paths[0].rounds.erase("gb_per_s");
  EXPECT_EQ(VerdictOf(group, "only"), "");
}

TEST(VerdictsTest, ZeroIsTheFarthestBehind) {
  const GroupResult group = {
      "send", {}, {Path("some", {2, 2}, {0, 0}), Path("none", {0, 0}, {1, 1})}};
  EXPECT_EQ(VerdictOf(group, "none"), ">999x, CPU >999x");
}

TEST(FiguresTest, Values) {
  const FigureKind& us = KindOf("p50_us");
  const FigureKind& ops = KindOf("ops_per_s");
  EXPECT_EQ(FormatValue(us, 0), "0");
  EXPECT_EQ(FormatValue(us, 0.00001), "1.0e-05");
  EXPECT_EQ(FormatValue(us, 0.0412), "0.041");
  EXPECT_EQ(FormatValue(us, 0.9996), "1.00");
  EXPECT_EQ(FormatValue(us, 9.996), "10.0");
  EXPECT_EQ(FormatValue(us, 99.96), "100");
  EXPECT_EQ(FormatValue(us, 123456), "123456");
  EXPECT_EQ(FormatValue(us, 1e15), "1.00e+15");
  EXPECT_EQ(FormatValue(ops, 9876), "9876");
  EXPECT_EQ(FormatValue(ops, 12345), "12.3k");
  EXPECT_EQ(FormatValue(ops, 412000), "412k");
  EXPECT_EQ(FormatValue(ops, 999'900), "1.00M");
  EXPECT_EQ(FormatValue(ops, 1'630'000), "1.63M");
}

TEST(FiguresTest, Factors) {
  EXPECT_EQ(FormatFactor(1.004), "1.00x");
  EXPECT_EQ(FormatFactor(1.04), "1.04x");
  EXPECT_EQ(FormatFactor(1.44), "1.4x");
  EXPECT_EQ(FormatFactor(0.6), "0.6x");
  EXPECT_EQ(FormatFactor(0.04), "0.04x");
  EXPECT_EQ(FormatFactor(12.3), "12x");
  EXPECT_EQ(FormatFactor(FactorOf(1, 0)), ">999x");
  EXPECT_EQ(FactorOf(0, 0), 1);
}

TEST(SummaryTest, TheBrokerBesideTheBestRawLoop) {
  const std::vector<FamilySummary> summaries = Summarize(Sample());
  ASSERT_EQ(summaries.size(), 5u);
  EXPECT_EQ(FamilyName(summaries[1]), "write, durable");
  EXPECT_EQ(summaries[1].groups, 2u);
  EXPECT_EQ(summaries[1].leads[0].path, "O_DIRECT+DSYNC");
  EXPECT_EQ(summaries[1].broker,
            "Beside the best raw loop, the broker's best path is as fast in all 2 groups. Its CPU "
            "is more in all 2 groups, at most 1.5x (4 KiB, 1 file: journal beside "
            "O_DIRECT+DSYNC); 1.5x in the median.");
  EXPECT_EQ(summaries[4].preference, "Nothing was measured beside default.");
  EXPECT_EQ(summaries[4].broker, "");
}

}  // namespace
}  // namespace ringtail::lab
