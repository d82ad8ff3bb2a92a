#include "perf/lab/comparison.h"

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "perf/lab/text_layout.h"
#include "tests/perf/lab/golden.h"
#include "tests/perf/lab/sample.h"

namespace ringtail::lab {
namespace {

constexpr const char* kWrite = "write 64 KiB, 1 file";

void Scale(PathResult& path, const char* figure, double factor) {
  for (double& value : path.rounds.at(figure)) value *= factor;
}

// Later: one path slower, one faster, one gone, one new, one that cannot be measured any more.
LabResult Later() {
  LabResult result = Sample();
  result.version = "1.3.0";
  result.started_ms += 86'400'000;
  result.partial = false;
  result.machine["kernel"] = "Linux 6.12.0";
  result.machine["memory"] = "8 GiB";
  Scale(PathOf(result, kWrite, "journal"), "gb_per_s", 0.8);
  Scale(PathOf(result, kWrite, "journal"), "cpu_s_per_gb", 1.5);
  Scale(PathOf(result, kWrite, "pwrite"), "gb_per_s", 0.9);
  Scale(PathOf(result, kWrite, "append"), "p50_us", 0.5);
  PathOf(result, kWrite, "ring") = {"ring", false, Promise::kPageCache, {}, "io_uring is disabled"};
  PathResult uncached = PathOf(result, kWrite, "pwrite");
  uncached.path = "write+RWF_UNCACHED";
  PathOf(result, kWrite, "write+RWF_UNCACHED") = uncached;
  result.groups.pop_back();
  return result;
}

TEST(ComparisonTest, Golden) {
  ExpectGolden("comparison.txt", ComparisonText(Sample(), Later(), 100));
}

TEST(ComparisonTest, TheWorstFirst) {
  const Comparison comparison = Compare(Sample(), Later());
  ASSERT_EQ(comparison.worse.size(), 3u);
  EXPECT_EQ(comparison.worse[0].path, "journal");
  EXPECT_STREQ(comparison.worse[0].kind->name, "cpu_s_per_gb");
  EXPECT_EQ(comparison.worse[1].path, "journal");
  EXPECT_EQ(comparison.worse[2].path, "pwrite");
  ASSERT_EQ(comparison.better.size(), 1u);
  EXPECT_EQ(comparison.better[0].path, "append");
}

TEST(ComparisonTest, WithItselfNothingDiffers) {
  const Comparison comparison = Compare(Sample(), Sample());
  EXPECT_TRUE(comparison.worse.empty() && comparison.better.empty());
  EXPECT_TRUE(comparison.only_before.empty() && comparison.only_after.empty());
  EXPECT_GT(comparison.unchanged, 40u);
  EXPECT_FALSE(absl::StrContains(ComparisonText(Sample(), Sample(), 100), "differ, so"));
}

TEST(ComparisonTest, InsideTheSpreadIsNoChange) {
  LabResult after = Sample();
  Scale(PathOf(after, kWrite, "pwrite"), "gb_per_s", 0.98);
  EXPECT_TRUE(Compare(Sample(), after).worse.empty());
}

TEST(ComparisonTest, OfZero) {
  LabResult before = Sample();
  Scale(PathOf(before, kWrite, "pwrite"), "p50_us", 0);
  EXPECT_TRUE(absl::StrContains(ComparisonText(before, Sample(), 100), "from 0"));
}

TEST(ComparisonTest, GroupsMayStandInAnotherOrderAndBeWrittenDifferently) {
  LabResult after = Sample();
  std::swap(after.groups[0], after.groups[1]);
  std::swap(after.groups[0].parameters[0], after.groups[0].parameters[1]);
  after.groups[0].parameters[0].text = "one file";
  EXPECT_EQ(Compare(Sample(), after).cells, Compare(Sample(), Sample()).cells);
}

TEST(ComparisonTest, NoLineIsLongerThanTheWidth) {
  LabResult after = Later();
  after.machine["device"] = std::string(300, 'd');
  for (const absl::string_view line : absl::StrSplit(ComparisonText(Sample(), after, 60), '\n')) {
    EXPECT_LE(WidthOf(line), 60u) << line;
  }
}

}  // namespace
}  // namespace ringtail::lab
