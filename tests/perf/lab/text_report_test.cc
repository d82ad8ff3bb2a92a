// Where a report is meant to change, this writes the files anew, to be looked at with `git diff`:
//   RINGTAIL_UPDATE_GOLDEN=$PWD/tests/perf/lab/testdata bazel-bin/tests/perf/lab/text_report_test
#include "perf/lab/text_report.h"

#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "perf/lab/text_layout.h"
#include "tests/perf/lab/golden.h"
#include "tests/perf/lab/sample.h"

namespace ringtail::lab {
namespace {

TEST(TextReportTest, Golden) {
  ExpectGolden("report_100.txt", TextReport(Sample(), 100));
  ExpectGolden("report_80.txt", TextReport(Sample(), 80));
}

TEST(TextReportTest, NoLineIsLongerThanTheWidth) {
  LabResult result = Sample();
  result.groups[0].paths[0].path = std::string(150, 'p');
  result.groups[0].parameters[0].text = std::string(200, 's');
  result.groups[2].paths[0].rounds["p99_us"] = {1e15, 1e15, 1e15, 1e15, 1e15};
  result.machine[std::string(120, 'm')] = std::string(300, 'v');
  for (const size_t width : {48, 60, 80, 100, 200}) {
    for (const absl::string_view line : absl::StrSplit(TextReport(result, width), '\n')) {
      EXPECT_LE(WidthOf(line), width) << line;
    }
  }
}

TEST(TextReportTest, ControlCharactersDoNotReachTheTerminal) {
  LabResult result = Sample();
  const std::string bad = "\x1b[2J\r\x07\xc2\x9b\x7f\xff\n";
  result.version = result.notes[0] = result.machine["cpu"] = bad;
  result.groups[0].family = result.groups[0].paths[0].path = bad;
  result.groups[0].paths[6].unavailable = result.groups[0].parameters[0].text = bad;
  for (const char c : TextReport(result, 100)) {
    EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f) || c < 0) << static_cast<int>(c);
  }
}

TEST(TextReportTest, ColumnsThatNoPathHasAreLeftOut) {
  LabResult result = Sample();
  for (PathResult& path : result.groups[2].paths) {
    path.rounds.erase("p50_us");
    path.rounds.erase("p99_us");
  }
  result.groups = {result.groups[2]};
  const std::string text = TextReport(result, 100);
  EXPECT_FALSE(absl::StrContains(text, "p50")) << text;
  EXPECT_TRUE(absl::StrContains(text, "p99.9"));
}

TEST(TextReportTest, FiguresThatAreNoneAreMissing) {
  LabResult result = Sample();
  for (GroupResult& group : result.groups) {
    for (PathResult& path : group.paths) {
      for (auto& [figure, rounds] : path.rounds) {
        rounds.assign(2, std::numeric_limits<double>::quiet_NaN());
      }
    }
  }
  EXPECT_TRUE(absl::StrContains(TextReport(result, 100), "Nothing has a rate to be judged by"));
}

TEST(TextReportTest, AnEmptyResult) {
  EXPECT_TRUE(absl::StrContains(TextReport(LabResult(), 0), "nothing was measured"));
}

}  // namespace
}  // namespace ringtail::lab
