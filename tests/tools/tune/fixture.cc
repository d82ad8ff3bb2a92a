#include "tests/tools/tune/fixture.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "tools/tune/parse.h"

namespace ringtail::tune {
namespace {

// "a{0-2}b" to a0b, a1b, a2b.
std::vector<std::string> Expand(const std::string& path) {
  const size_t open = path.find('{');
  const size_t close = path.find('}');
  if (open == std::string::npos || close == std::string::npos) return {path};
  std::vector<std::string> paths;
  const auto numbers = ParseCpuList(path.substr(open + 1, close - open - 1));
  for (const int number : numbers.value_or(CpuList())) {
    paths.push_back(absl::StrCat(path.substr(0, open), number, path.substr(close + 1)));
  }
  return paths;
}

std::string Make(const std::string& root, const std::string& path) {
  const std::string whole = absl::StrCat(root, path);
  std::filesystem::create_directories(std::filesystem::path(whole).parent_path());
  return whole;
}

void MakeFile(const std::string& root, const std::string& paths, absl::string_view line) {
  std::string text;
  if (absl::ConsumePrefix(&line, "hex ")) {
    text = absl::HexStringToBytes(line);
  } else if (!line.empty()) {
    text = absl::StrCat(line, "\n");
  }
  for (const std::string& path : Expand(paths)) WriteWhole(Make(root, path), text);
}

}  // namespace

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void WriteWhole(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

Fixture Unpack(const std::string& name) {
  Fixture fixture{.root = absl::StrCat(getenv("TEST_TMPDIR"), "/", name, ".XXXXXX")};
  EXPECT_NE(mkdtemp(fixture.root.data()), nullptr);
  const std::string source = absl::StrCat("tests/tools/tune/testdata/", name, ".txt");
  const std::string all = ReadWhole(source);
  EXPECT_FALSE(all.empty()) << source;
  std::string last;  // the file that lines with | go to
  for (const absl::string_view line : absl::StrSplit(all, '\n', absl::SkipEmpty())) {
    if (line[0] == '#') continue;
    if (line[0] == '|') {
      std::ofstream(absl::StrCat(fixture.root, last), std::ios::app) << line.substr(1) << "\n";
    } else if (absl::StartsWith(line, "= ")) {
      fixture.directory = std::string(line.substr(2));
    } else if (absl::StrContains(line, " -> ")) {
      const std::vector<std::string> ends = absl::StrSplit(line, " -> ");
      std::filesystem::create_symlink(ends[1], Make(fixture.root, ends[0]));
    } else if (absl::EndsWith(line, "/")) {
      Make(fixture.root, std::string(line));
    } else {
      const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(": ", 1));
      last = std::string(absl::StripSuffix(parts[0], ":"));
      EXPECT_EQ(last[0], '/') << source << ": " << line;
      MakeFile(fixture.root, last, parts.size() == 2 ? parts[1] : "");
    }
  }
  return fixture;
}

}  // namespace ringtail::tune
