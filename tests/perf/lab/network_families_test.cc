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

class NetworkFamiliesTest : public testing::Test {
 protected:
  NetworkFamiliesTest() : scratch_(testing::TempDir()) {
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
    EXPECT_TRUE(std::filesystem::is_empty(scratch_.path()));
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

  perf::ScratchDir scratch_;
  Selection selection_;
};

TEST_F(NetworkFamiliesTest, ReceiveCellsMeasure) {
  const int measured =
      Run(ReceiveGroups(selection_), {"gb_per_s", "cpu_s_per_gb", "ops_per_s", "cpu_us_per_op",
                                      "p50_us", "p99_us", "p999_us", "switches_per_op"});
  EXPECT_GE(measured, 4);  // epoll for each, and recv for one, need no ring
}

TEST_F(NetworkFamiliesTest, SizesOfReceivedMessagesCanBeChosen) {
  selection_.size_bytes = {100'000, 64 << 20};
  const std::vector<Group> groups = ReceiveGroups(selection_);
  ASSERT_EQ(groups.size(), 4u);
  EXPECT_EQ(groups[0].parameters[0].value, 100'000);
  Run({groups[1]}, {"gb_per_s", "p999_us"});
  EXPECT_THROW(groups[3].cells[0].run(kSeconds), perf::Unavailable);  // 4 GiB of memory
}

TEST_F(NetworkFamiliesTest, WakeCellsMeasure) {
  const int measured = Run(WakeGroups(selection_), {"ops_per_s", "cpu_us_per_op", "p50_us",
                                                    "p99_us", "p999_us", "switches_per_op"});
  EXPECT_GE(measured, 3);  // futex, eventfd and pipe need nothing that a kernel may lack
}

TEST_F(NetworkFamiliesTest, RingCellsMeasure) {
  Run(RingGroups(selection_), {"ops_per_s", "cpu_us_per_op", "switches_per_op"});
}

TEST_F(NetworkFamiliesTest, ReadsNeedSpaceForTheirFile) {
  selection_.space_bytes = 4096;
  for (const Group& group : RingGroups(selection_)) {
    if (group.parameters[0].text == "NOP") continue;
    for (const Cell& cell : group.cells) EXPECT_THROW(cell.run(kSeconds), perf::Unavailable);
  }
}

}  // namespace
}  // namespace ringtail::lab
