// Whole machines: what is said about each, for each profile, beside what it said before.
//
// Where that is meant to change, this writes the files anew, to be looked at with `git diff`:
//   RINGTAIL_UPDATE_GOLDEN=$PWD/tests/tools/tune/testdata/golden \
//     TEST_TMPDIR=$(mktemp -d) bazel-bin/tests/tools/tune/report_test
#include "tools/tune/report.h"

#include <stdlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "tests/tools/tune/fixture.h"
#include "tools/tune/gather.h"
#include "tools/tune/rules.h"

namespace ringtail::tune {
namespace {

constexpr const char* kMachines[] = {"numa_server", "nvme_server", "container_v2", "container_v1",
                                     "laptop"};

Report Look(const Fixture& fixture, Profile profile) {
  return MakeReport(Gather(Tree(fixture.root), fixture.directory), profile);
}

void ExpectGolden(const std::string& name, const std::string& text) {
  const char* update = getenv("RINGTAIL_UPDATE_GOLDEN");
  if (update != nullptr) WriteWhole(absl::StrCat(update, "/", name), text);
  const std::string golden = ReadWhole(absl::StrCat("tests/tools/tune/testdata/golden/", name));
  EXPECT_EQ(text, golden) << name;
}

class GoldenTest : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenTest, SaysTheSame) {
  const Fixture fixture = Unpack(GetParam());
  for (const Profile profile : kProfiles) {
    const std::string text = ToText(Look(fixture, profile), profile == Profile::kBalanced);
    EXPECT_EQ(text.find(fixture.root), std::string::npos) << "paths are those of the machine";
    ExpectGolden(absl::StrCat(GetParam(), ".", ProfileName(profile), ".txt"), text);
  }
}

TEST_P(GoldenTest, EachFindingIsComplete) {
  const Fixture fixture = Unpack(GetParam());
  for (const Profile profile : kProfiles) {
    for (const Finding& finding : Look(fixture, profile).findings) {
      SCOPED_TRACE(absl::StrCat(ProfileName(profile), " ", finding.id));
      EXPECT_FALSE(finding.title.empty());
      EXPECT_FALSE(finding.source.empty());
      EXPECT_FALSE(finding.why.empty());
      EXPECT_FALSE(finding.reference.empty());
      const bool to_do =
          finding.verdict == Verdict::kAdvice || finding.verdict == Verdict::kWarning;
      // What nothing changes but another disk or file system has no command.
      EXPECT_TRUE(to_do || finding.changes.empty());
      EXPECT_EQ(finding.verdict == Verdict::kUnknown, finding.found.empty())
          << "unknown and without a value, or neither";
      if (finding.verdict == Verdict::kUnknown) EXPECT_FALSE(finding.note.empty());
      for (const Change& change : finding.changes) {
        EXPECT_TRUE(IsChangeable(change.path)) << change.path;
        for (const std::string& also : change.also) EXPECT_TRUE(IsChangeable(also)) << also;
        EXPECT_FALSE(finding.now.empty());
      }
    }
  }
}

TEST_P(GoldenTest, ReadsEveryFileDamaged) {
  const Fixture fixture = Unpack(GetParam());
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(fixture.root)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  // All at once, as each is read by itself.
  for (const std::string& damage :
       {std::string("\xff\0 -1", 5), std::string("99999999999999999999"),
        std::string("[[]-,:\n\\0 - "), std::string()}) {
    for (const std::string& file : files) WriteWhole(file, damage);
    for (const Profile profile : kProfiles) {
      const Report report = Look(fixture, profile);
      EXPECT_FALSE(ToText(report, true).empty());
      EXPECT_FALSE(ToJson(report).empty());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Machines, GoldenTest, ::testing::ValuesIn(kMachines),
                         [](const auto& info) { return std::string(info.param); });

TEST(ReportTest, Json) {
  const Report report = Look(Unpack("nvme_server"), Profile::kBalanced);
  ExpectGolden("nvme_server.balanced.json", ToJson(report));
  const nlohmann::json json = nlohmann::json::parse(ToJson(report));
  EXPECT_EQ(json["schema"], 1);
  int findings = 0;
  for (const auto& [verdict, count] : json["summary"].items()) findings += count.get<int>();
  EXPECT_EQ(json["findings"].size(), findings);
  EXPECT_FALSE(json.contains("changes"));
}

TEST(ReportTest, NothingAtAllIsUnknownOrInfo) {
  const std::string root = absl::StrCat(getenv("TEST_TMPDIR"), "/empty");
  std::filesystem::create_directories(root);
  const Report report = MakeReport(Gather(Tree(root), "/var/lib/ringtail"), Profile::kLatency);
  for (const Finding& finding : report.findings) {
    EXPECT_EQ(finding.verdict, Verdict::kUnknown) << finding.id << ": " << finding.found;
  }
  EXPECT_FALSE(HasAdvice(report));
  EXPECT_TRUE(ChangesOf(report).empty());
}

}  // namespace
}  // namespace ringtail::tune
