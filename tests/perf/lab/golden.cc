#include "tests/perf/lab/golden.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "gtest/gtest.h"

namespace ringtail::lab {

void ExpectGolden(const std::string& name, const std::string& text) {
  if (const char* directory = getenv("RINGTAIL_UPDATE_GOLDEN"); directory != nullptr) {
    std::ofstream(std::string(directory) + "/" + name) << text;
    return;
  }
  std::ostringstream golden;
  golden << std::ifstream("tests/perf/lab/testdata/" + name).rdbuf();
  EXPECT_EQ(text, golden.str()) << name;
}

}  // namespace ringtail::lab
