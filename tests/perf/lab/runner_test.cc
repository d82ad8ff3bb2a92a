// The order in which cells are measured, what becomes of those that cannot be, and where the lab
// may run.
#include "perf/lab/runner.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "perf/lib/check.h"
#include "perf/lib/os.h"

namespace ringtail::lab {
namespace {

class RunnerTest : public testing::Test {
 protected:
  RunnerTest() {
    options_.rounds = 3;
    options_.seconds = 0.001;
  }

  Cell CellNamed(const std::string& path) {
    return {path, false, Promise::kNone, [this, path](double) {
              order_ += path;
              return perf::Figures{{"ops_per_s", static_cast<double>(order_.size())}};
            }};
  }

  LabResult Measure(std::vector<Group> groups) {
    LabResult result;
    lab::Run(options_, std::move(groups), hooks_, &result);
    return result;
  }

  RunOptions options_;
  Hooks hooks_;
  std::string order_;
};

TEST_F(RunnerTest, CellsTakeTurnsAndTheFirstRoundWarmsUp) {
  const LabResult result =
      Measure({{"one", {}, {CellNamed("a"), CellNamed("b")}}, {"two", {}, {CellNamed("c")}}});
  EXPECT_EQ(order_, "abcbacabcbac");
  ASSERT_EQ(result.groups.size(), 2u);
  EXPECT_EQ(result.groups[0].paths[0].rounds.at("ops_per_s"), (std::vector<double>{5, 7, 11}));
  EXPECT_EQ(result.groups[1].paths[0].rounds.at("ops_per_s"), (std::vector<double>{6, 9, 12}));
  EXPECT_FALSE(result.partial);
}

TEST_F(RunnerTest, AQuickRunHasNoWarmUp) {
  options_.quick = true;
  EXPECT_EQ(
      Measure({{"one", {}, {CellNamed("a")}}}).groups[0].paths[0].rounds.at("ops_per_s").size(),
      3u);
  EXPECT_EQ(order_, "aaa");
}

TEST_F(RunnerTest, WhatCannotBeMeasuredIsNotTriedAgain) {
  int tries = 0;
  const Cell cannot = {"cannot", false, Promise::kNone, [&tries](double) -> perf::Figures {
                         ++tries;
                         throw perf::Unavailable("no such thing here");
                       }};
  const LabResult result = Measure({{"one", {}, {cannot, CellNamed("a")}}});
  EXPECT_EQ(tries, 1);
  EXPECT_EQ(result.groups[0].paths[0].unavailable, "no such thing here");
  EXPECT_FALSE(result.groups[0].paths[0].measured());
  EXPECT_EQ(result.groups[0].paths[1].rounds.at("ops_per_s").size(), 3u);
}

TEST_F(RunnerTest, AFailureIsForgivenOnce) {
  int tries = 0;
  const auto failing = [&tries](int failures) {
    return Cell{"fails", false, Promise::kNone, [&tries, failures](double) {
                  if (tries++ < failures) throw std::runtime_error("it broke");
                  return perf::Figures{{"ops_per_s", 1}};
                }};
  };
  EXPECT_TRUE(Measure({{"one", {}, {failing(1)}}}).groups[0].paths[0].measured());
  tries = 0;
  const LabResult result = Measure({{"one", {}, {failing(1000)}}});
  EXPECT_EQ(tries, 2);
  EXPECT_EQ(result.groups[0].paths[0].unavailable, "failed: it broke");
  tries = 0;
  options_.quick = true;
  options_.rounds = 1;
  EXPECT_EQ(Measure({{"one", {}, {failing(1)}}}).groups[0].paths[0].unavailable, "failed: it broke")
      << "there was no other round";
}

TEST_F(RunnerTest, FiguresThatAreNotInAllRoundsAreLeftOut) {
  int round = 0;
  const Cell cell = {"a", false, Promise::kNone, [&round](double) {
                       perf::Figures figures = {{"ops_per_s", 1}};
                       if (round++ != 2) figures["p50_us"] = 1;
                       return figures;
                     }};
  const LabResult result = Measure({{"one", {}, {cell}}});
  EXPECT_EQ(result.groups[0].paths[0].rounds.size(), 1u);
  EXPECT_EQ(result.groups[0].paths[0].rounds.at("ops_per_s").size(), 3u);
}

TEST_F(RunnerTest, StoppedItKeepsWhatThereIs) {
  hooks_.stop = [this] { return order_.size() == 4; };
  const LabResult result =
      Measure({{"one", {}, {CellNamed("a"), CellNamed("b")}}, {"two", {}, {CellNamed("c")}}});
  EXPECT_TRUE(result.partial);
  EXPECT_EQ(order_, "abcb");
  ASSERT_EQ(result.groups.size(), 1u) << "of the other there is nothing";
  ASSERT_EQ(result.groups[0].paths.size(), 1u);
  EXPECT_EQ(result.groups[0].paths[0].path, "b");
}

TEST_F(RunnerTest, ProgressGoesFromNoneToAll) {
  std::vector<double> seen;
  hooks_.progress = [&](double done, double left, const std::string& what) {
    seen.push_back(done);
    EXPECT_GE(left, 0);
    EXPECT_NE(what.find("one 4 KiB: "), std::string::npos) << what;
  };
  Measure({{"one", {{"size", 4096, "4 KiB"}}, {CellNamed("a"), CellNamed("b")}}});
  ASSERT_EQ(seen.size(), 8u);
  EXPECT_EQ(seen.front(), 0);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_LT(seen.back(), 1);
}

TEST(ChooseTest, FamiliesPathsAndHeadings) {
  perf::ScratchDir scratch(testing::TempDir());
  const Selection selection = {.directory = scratch.path(), .quick = true, .space_bytes = 64 << 20};
  const std::vector<Group> all = AllGroups(selection);
  EXPECT_EQ(Choose(all, {}).size(), all.size());
  for (const Group& group : Choose(all, {"wake"})) EXPECT_EQ(group.family, "wake");
  for (const Group& group : Choose(all, {"sendfile", "send_zc"})) {
    for (const Cell& cell : group.cells) {
      EXPECT_TRUE(cell.path.find("sendfile") != std::string::npos ||
                  cell.path.find("send_zc") != std::string::npos)
          << cell.path;
    }
  }
  for (const Group& group : Choose(all, {"cold"})) {
    EXPECT_EQ(group.parameters[0], (Parameter{"residency", 1, "cold"}));
  }
  EXPECT_THROW(Choose(all, {"carrier pigeon"}), std::runtime_error);
}

TEST(PlaceTest, ADirectoryThatIsNoneIsRefused) {
  EXPECT_THROW(SpaceFor("/no/such/directory"), std::exception);
  EXPECT_THROW(SpaceFor("/proc"), std::exception) << "nothing is free there";
  EXPECT_GE(SpaceFor(testing::TempDir()), 64 << 20);
}

TEST(PlaceTest, TheMachineIsDescribed) {
  LabResult result;
  DescribeMachine("/proc", &result);
  for (const char* name : {"kernel", "cpu", "cpus", "directory", "file system", "device"}) {
    EXPECT_FALSE(result.machine[name].empty()) << name;
  }
  EXPECT_EQ(result.machine["file system"].substr(0, 4), "proc");
}

}  // namespace
}  // namespace ringtail::lab
