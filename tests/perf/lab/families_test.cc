// Every cell of the quick selection, for a moment: it gives all its figures, or says why it cannot.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "perf/lab/families.h"
#include "perf/lib/check.h"
#include "perf/lib/os.h"

namespace ringtail::lab {
namespace {

constexpr double kSeconds = 0.01;

std::string Title(const Group& group, const Cell& cell) {
  std::string title = group.family;
  for (const Parameter& parameter : group.parameters) title += ", " + parameter.text;
  return title + ": " + cell.path;
}

class FamiliesTest : public testing::Test {
 protected:
  FamiliesTest() : scratch_(testing::TempDir()) {
    selection_.directory = scratch_.path();
    selection_.quick = true;
    selection_.space_bytes = 64 << 20;
  }

  // Runs all cells, which must yield these figures above zero; returns how many could be measured.
  int Run(const std::vector<Group>& groups, const std::vector<std::string>& wanted) {
    int measured = 0;
    for (const Group& group : groups) {
      for (const Cell& cell : group.cells) {
        SCOPED_TRACE(Title(group, cell));
        measured += RunCell(cell, wanted);
      }
    }
    return measured;
  }

  static bool RunCell(const Cell& cell, const std::vector<std::string>& wanted) {
    perf::Figures figures;
    try {
      figures = cell.run(kSeconds);
    } catch (const perf::Unavailable& why) {
      EXPECT_GT(std::string(why.what()).size(), 10u);
      return false;
    }
    for (const std::string& name : wanted) {
      EXPECT_EQ(figures.count(name), 1u) << name;
    }
    for (const auto& [name, value] : figures) {
      EXPECT_TRUE(std::isfinite(value)) << name << " " << value;
      EXPECT_GE(value, 0) << name;
      if (name != "switches_per_op" && name != "syscalls_per_op") EXPECT_GT(value, 0) << name;
    }
    return true;
  }

  // The files to send from are there as long as the groups.
  void TearDown() override { EXPECT_TRUE(std::filesystem::is_empty(scratch_.path())); }

  perf::ScratchDir scratch_;
  Selection selection_;
};

constexpr const char* kByteFigures[] = {"gb_per_s", "cpu_s_per_gb", "ops_per_s", "cpu_us_per_op",
                                        "p50_us",   "p99_us",       "p999_us",   "switches_per_op"};
const std::vector<std::string> kAllOfBytes(std::begin(kByteFigures), std::end(kByteFigures));

TEST_F(FamiliesTest, WriteCellsMeasure) {
  const int measured = Run(WriteGroups(selection_), kAllOfBytes);
  EXPECT_GE(measured, 6);  // pwrite, its fdatasync and its DSYNC need no ring
}

TEST_F(FamiliesTest, SendCellsMeasure) {
  const int measured = Run(SendGroups(selection_), kAllOfBytes);
  EXPECT_GE(measured, 16);  // system calls need no ring
}

TEST_F(FamiliesTest, SizesOfWritesAndSendsCanBeChosen) {
  selection_.size_bytes = {12'345};
  std::vector<Group> groups = WriteGroups(selection_);
  ASSERT_EQ(groups.size(), 1u);
  Run(groups, {"gb_per_s"});
  groups = SendGroups(selection_);
  ASSERT_FALSE(groups.empty());
  EXPECT_EQ(groups[0].parameters[1].value, 12'345);
  Run({groups[0]}, {"gb_per_s"});
}

TEST_F(FamiliesTest, ReceiveCellsMeasure) {
  const int measured = Run(ReceiveGroups(selection_), kAllOfBytes);
  EXPECT_GE(measured, 4);  // epoll for each, and recv for one, need no ring
}

TEST_F(FamiliesTest, SizesOfReceivedMessagesCanBeChosen) {
  selection_.size_bytes = {100'000, 64 << 20};
  const std::vector<Group> groups = ReceiveGroups(selection_);
  ASSERT_EQ(groups.size(), 4u);
  EXPECT_EQ(groups[0].parameters[0].value, 100'000);
  Run({groups[1]}, {"gb_per_s", "p999_us"});
  EXPECT_THROW(groups[3].cells[0].run(kSeconds), perf::Unavailable);  // 4 GiB of memory
}

TEST_F(FamiliesTest, WakeCellsMeasure) {
  const int measured = Run(WakeGroups(selection_), {"ops_per_s", "cpu_us_per_op", "p50_us",
                                                    "p99_us", "p999_us", "switches_per_op"});
  EXPECT_GE(measured, 3);  // futex, eventfd and pipe need nothing that a kernel may lack
}

TEST_F(FamiliesTest, RingCellsMeasure) {
  Run(RingGroups(selection_), {"ops_per_s", "cpu_us_per_op", "switches_per_op"});
}

TEST_F(FamiliesTest, ReadsNeedSpaceForTheirFile) {
  selection_.space_bytes = 4096;
  for (const Group& group : RingGroups(selection_)) {
    if (group.parameters[0].text == "NOP") continue;
    for (const Cell& cell : group.cells) EXPECT_THROW(cell.run(kSeconds), perf::Unavailable);
  }
}

}  // namespace
}  // namespace ringtail::lab
