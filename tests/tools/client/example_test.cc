#include <stdio.h>

#include <string>

#include "gtest/gtest.h"
#include "tests/tools/client/fake_broker.h"

namespace ringtail::client {
namespace {

// What the program prints; `code` is what it ended with.
std::string RunExample(const std::string& bootstrap, int* code) {
  FILE* pipe = popen(("tools/client/example " + bootstrap).c_str(), "r");
  std::string out;
  char bytes[4096];
  size_t got;
  while ((got = fread(bytes, 1, sizeof(bytes), pipe)) > 0) out.append(bytes, got);
  *code = pclose(pipe);
  return out;
}

TEST(ExampleTest, PrintsWhatItSent) {
  FakeBroker broker(2);
  std::string expected;
  for (int round = 0; round < 2; ++round) {
    int code = -1;
    const std::string out = RunExample(broker.bootstrap(), &code);
    EXPECT_EQ(code, 0);
    expected.clear();
    for (int i = 0; i < 10; ++i) {
      expected += std::to_string(round * 10 + i) + ": " + std::to_string(i + 1) + "\n";
    }
    EXPECT_EQ(out, expected);
  }
}

}  // namespace
}  // namespace ringtail::client
