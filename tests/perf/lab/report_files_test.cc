#include "perf/lab/report_files.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "perf/lab/json.h"
#include "tests/perf/lab/sample.h"

namespace ringtail::lab {
namespace {

std::string Directory() { return getenv("TEST_TMPDIR"); }

TEST(ReportFilesTest, WhatIsWrittenIsRead) {
  const std::string file = Directory() + "/lab.json";
  WriteWhole(file, "something before");
  WriteWhole(file, ToJson(Sample()));
  EXPECT_EQ(ToJson(ReadResult(file)), ToJson(Sample()));
  EXPECT_FALSE(std::filesystem::exists(file + ".tmp"));
}

TEST(ReportFilesTest, ErrorsNameTheFile) {
  const std::string file = Directory() + "/broken.json";
  WriteWhole(file, "{}");
  try {
    ReadResult(file);
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(std::string(error.what()), file + ": format: expected a value, came nothing");
  }
  try {
    ReadResult(Directory() + "/missing.json");
    FAIL();
  } catch (const std::system_error& error) {
    EXPECT_TRUE(absl::StrContains(error.what(), "missing.json"));
  }
}

TEST(ReportFilesTest, AFileThatCannotBeWrittenLeavesNothing) {
  // A directory stands where the file should.
  const std::string file = Directory() + "/taken";
  std::filesystem::create_directories(file);
  EXPECT_THROW(WriteWhole(file, "text"), std::system_error);
  EXPECT_FALSE(std::filesystem::exists(file + ".tmp"));
  EXPECT_THROW(WriteWhole(Directory() + "/no/such/directory", "text"), std::system_error);
}

}  // namespace
}  // namespace ringtail::lab
