// The program itself: options, exit codes, and a machine there and back again.
#include <stdlib.h>
#include <sys/wait.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/tools/tune/fixture.h"

namespace ringtail::tune {
namespace {

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

Ran Tune(const Fixture& fixture, const std::string& arguments) {
  const std::string base = absl::StrCat(getenv("TEST_TMPDIR"), "/run");
  const std::string command =
      absl::StrCat("tools/ringtail tune --root ", fixture.root, " --dir ", fixture.directory, " ",
                   arguments, " >", base, ".out 2>", base, ".err");
  Ran ran;
  ran.code = WEXITSTATUS(system(command.c_str()));
  ran.out = ReadWhole(base + ".out");
  ran.err = ReadWhole(base + ".err");
  return ran;
}

TEST(TuneCliTest, LooksAndSaysWithItsExitCodeWhetherThereIsAdvice) {
  const Fixture fixture = Unpack("laptop");
  const Ran text = Tune(fixture, "--profile laptop");
  EXPECT_EQ(text.code, 3) << text.err;
  EXPECT_TRUE(absl::StrContains(text.out, "/proc/sys/vm/swappiness")) << text.out;
  WriteWhole(fixture.root + "/proc/sys/kernel/io_uring_disabled", "0\n");
  const std::string mounts = fixture.root + "/proc/self/mountinfo";
  WriteWhole(mounts, "27 1 0:29 / / rw,relatime - xfs /dev/dm-0 rw\n");
  const Ran fine = Tune(fixture, "--profile laptop");
  EXPECT_EQ(fine.code, 0) << fine.out;
}

TEST(TuneCliTest, Json) {
  const Ran ran = Tune(Unpack("container_v1"), "--json");
  EXPECT_EQ(ran.code, 3);
  const auto json = nlohmann::json::parse(ran.out, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(json.is_object()) << ran.out;
  EXPECT_EQ(json["profile"], "balanced");
  EXPECT_FALSE(json.contains("changes"));
}

TEST(TuneCliTest, ThereAndBackAgain) {
  const Fixture fixture = Unpack("numa_server");
  const std::string swappiness = fixture.root + "/proc/sys/vm/swappiness";
  const std::string state = absl::StrCat(" --state ", fixture.root, ".revert.json");
  const Ran applied = Tune(fixture, "--profile throughput --apply --json" + state);
  EXPECT_EQ(applied.code, 0) << applied.out << applied.err;
  EXPECT_EQ(nlohmann::json::parse(applied.out)["changes"][0]["result"], "changed");
  EXPECT_EQ(ReadWhole(swappiness), "10\n");
  EXPECT_EQ(Tune(fixture, "--profile throughput --apply" + state).code, 0);
  const Ran reverted = Tune(fixture, "--revert" + state);
  EXPECT_EQ(reverted.code, 0) << reverted.out << reverted.err;
  EXPECT_TRUE(absl::StrContains(reverted.out, "vm/swappiness: 10 -> 60")) << reverted.out;
  EXPECT_EQ(ReadWhole(swappiness), "60\n");
  const Ran again = Tune(fixture, "--revert" + state);
  EXPECT_EQ(again.code, 1);
  EXPECT_TRUE(absl::StrContains(again.err, "nothing to put back")) << again.err;
}

TEST(TuneCliTest, WhatIsRefused) {
  const Fixture fixture = Unpack("numa_server");
  const Ran no_state = Tune(fixture, "--apply");
  EXPECT_EQ(no_state.code, 1);
  EXPECT_TRUE(absl::StrContains(no_state.err, "--state")) << no_state.err;
  EXPECT_EQ(ReadWhole(fixture.root + "/proc/sys/vm/swappiness"), "60\n");
  EXPECT_NE(Tune(fixture, "--apply --revert --state /tmp/x").code, 0);
  EXPECT_NE(Tune(fixture, "--profile fast").code, 0);
  const Ran nowhere = Tune({.root = "/nonexistent", .directory = "/data"}, "");
  EXPECT_EQ(nowhere.code, 1);
  EXPECT_TRUE(absl::StrContains(nowhere.err, "no proc and sys")) << nowhere.err;
  EXPECT_EQ(Tune({.root = fixture.root, .directory = "data"}, "").code, 1);
}

}  // namespace
}  // namespace ringtail::tune
