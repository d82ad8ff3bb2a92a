#include "tools/tune/apply.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/sim/seeds.h"
#include "tests/tools/tune/fixture.h"
#include "tools/tune/gather.h"
#include "tools/tune/parse.h"
#include "tools/tune/report.h"
#include "tools/tune/rules.h"
#include "tools/tune/state_file.h"

namespace ringtail::tune {
namespace {

using Snapshot = std::map<std::string, std::string>;

Snapshot Files(const std::string& root) {
  Snapshot files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.is_regular_file()) files[entry.path()] = ReadWhole(entry.path());
  }
  return files;
}

struct PowerCut {};

// A machine that was unpacked, with what the kernel does beside storing a value.
class Kernel {
 public:
  explicit Kernel(const std::string& fixture)
      : fixture_(Unpack(fixture)),
        tree_(fixture_.root),
        options_(tree_, absl::StrCat(fixture_.root, ".state/revert.json")) {
    options_.write = [this](const std::string& path, const std::string& value) {
      return Write(path, value);
    };
  }

  absl::StatusOr<std::vector<Outcome>> Apply(Profile profile) {
    return tune::Apply(tree_, Changes(profile), options_);
  }
  absl::StatusOr<std::vector<Outcome>> Revert() { return tune::Revert(tree_, options_); }

  std::vector<Change> Changes(Profile profile) const {
    return ChangesOf(MakeReport(Gather(tree_, fixture_.directory), profile));
  }
  Snapshot Files() const { return tune::Files(fixture_.root); }
  std::string Value(const std::string& path) const { return *tree_.ReadValue(path); }
  void Set(const std::string& path, const std::string& value) {
    ASSERT_TRUE(tree_.Write(path, value).ok());
  }
  const std::string& state_file() const { return options_.state_file; }
  bool HasState() const { return access(state_file().c_str(), F_OK) == 0; }

  std::string refuses;        // writes to paths with this in them fail
  int writes_until_cut = -1;  // the power fails before that write
  int writes = 0;

 private:
  absl::Status Write(const std::string& path, const std::string& value) {
    if (writes++ == writes_until_cut) throw PowerCut();
    if (!refuses.empty() && absl::StrContains(path, refuses)) {
      return absl::PermissionDeniedError("Read-only file system");
    }
    const absl::StatusOr<std::string> read = tree_.Read(path);
    if (!read.ok()) return read.status();
    const std::string before = *read;
    if (absl::StrContains(path, "/vm/dirty") && absl::StrContains(path, "_bytes") && value == "0") {
      return absl::InvalidArgumentError("Invalid argument");
    }
    if (!before.empty() && absl::StrContains(before, "[")) return Choose(path, before, value);
    const absl::Status status = tree_.Write(path, value);
    const bool bytes = absl::EndsWith(path, "_bytes");
    if (absl::StrContains(path, "/vm/dirty") && (bytes || absl::EndsWith(path, "_ratio"))) {
      const std::string other = bytes ? absl::StrReplaceAll(path, {{"_bytes", "_ratio"}})
                                      : absl::StrReplaceAll(path, {{"_ratio", "_bytes"}});
      Set(other, "0");
    }
    return status;
  }

  absl::Status Choose(const std::string& path, const std::string& before,
                      const std::string& value) {
    const std::vector<std::string> all = Choices(before);
    if (std::find(all.begin(), all.end(), value) == all.end()) {
      return absl::InvalidArgumentError("Invalid argument");
    }
    std::vector<std::string> words;
    for (const std::string& word : all) {
      words.push_back(word == value ? absl::StrCat("[", word, "]") : word);
    }
    if (absl::EndsWith(path, "/scheduler") && Chosen(before) != value) {
      // Another scheduler brings its own depth, and its settings start anew.
      const std::string queue = path.substr(0, path.rfind('/'));
      Set(absl::StrCat(queue, "/nr_requests"), value == "none" ? "1023" : "256");
      const std::string settings = tree_.OnDisk(absl::StrCat(queue, "/iosched"));
      if (value == "none") {
        std::filesystem::rename(settings, absl::StrCat(settings, ".gone"));
      } else {
        std::filesystem::rename(absl::StrCat(settings, ".gone"), settings);
        for (const auto& entry : std::filesystem::directory_iterator(settings)) {
          WriteWhole(entry.path(), "7\n");
        }
      }
    }
    return tree_.Write(path, absl::StrJoin(words, " "));
  }

  Fixture fixture_;
  Tree tree_;
  ApplyOptions options_;
};

// The next write before which the power fails: sanitizers, which take five times as long, see
// fewer.
int NextCut(int at) { return sim::kSanitized ? at + 1 + at / 2 : at + 1; }

constexpr const char* kSwappiness = "/proc/sys/vm/swappiness";

TEST(ApplyTest, AllProfilesAreThereAndBackAgain) {
  for (const char* machine :
       {"numa_server", "nvme_server", "container_v1", "container_v2", "laptop"}) {
    for (const Profile profile : kProfiles) {
      SCOPED_TRACE(absl::StrCat(machine, " ", ProfileName(profile)));
      Kernel kernel(machine);
      const Snapshot before = kernel.Files();
      const size_t changes = kernel.Changes(profile).size();
      const auto applied = kernel.Apply(profile);
      ASSERT_TRUE(applied.ok()) << applied.status();
      EXPECT_EQ(applied->size(), changes);
      for (const Outcome& outcome : *applied) EXPECT_TRUE(outcome.status.ok()) << outcome.path;
      EXPECT_TRUE(kernel.Changes(profile).empty()) << "nothing is left to change";
      EXPECT_EQ(kernel.HasState(), changes > 0);
      const auto reverted = kernel.Revert();
      if (changes == 0) {
        EXPECT_TRUE(absl::IsNotFound(reverted.status()));
        continue;
      }
      ASSERT_TRUE(reverted.ok()) << reverted.status();
      for (const Outcome& outcome : *reverted) {
        EXPECT_TRUE(outcome.status.ok() && !outcome.left) << outcome.path << outcome.status;
      }
      EXPECT_EQ(kernel.Files(), before);
      EXPECT_FALSE(kernel.HasState());
    }
  }
}

TEST(ApplyTest, ASecondApplyKeepsTheFirstRecord) {
  Kernel kernel("numa_server");
  const Snapshot before = kernel.Files();
  ASSERT_TRUE(kernel.Apply(Profile::kBalanced).ok());
  EXPECT_EQ(kernel.Value(kSwappiness), "10");
  const int writes = kernel.writes;
  EXPECT_TRUE(kernel.Apply(Profile::kBalanced)->empty());
  EXPECT_EQ(kernel.writes, writes) << "what has its value is not written";
  ASSERT_TRUE(kernel.Apply(Profile::kLatency).ok());
  EXPECT_EQ(kernel.Value(kSwappiness), "1");
  ASSERT_TRUE(kernel.Revert().ok());
  EXPECT_EQ(kernel.Files(), before);
}

TEST(ApplyTest, PowerCutBeforeEachWrite) {
  for (int at = 0;; at = NextCut(at)) {
    Kernel kernel("nvme_server");
    const Snapshot before = kernel.Files();
    kernel.writes_until_cut = at;
    bool cut = false;
    try {
      ASSERT_TRUE(kernel.Apply(Profile::kBalanced).ok());
    } catch (const PowerCut&) {
      cut = true;
    }
    kernel.writes_until_cut = -1;
    ASSERT_TRUE(kernel.HasState()) << "the record comes before the first write";
    if (at % 2 == 0 && cut) ASSERT_TRUE(kernel.Apply(Profile::kBalanced).ok()) << "or goes on";
    const auto reverted = kernel.Revert();
    ASSERT_TRUE(reverted.ok()) << reverted.status();
    EXPECT_EQ(kernel.Files(), before) << at;
    EXPECT_FALSE(kernel.HasState());
    if (!cut) break;
  }
}

// Until its write, a file that is changed again holds what was written the first time.
TEST(ApplyTest, PowerCutWhileAnotherProfileIsApplied) {
  for (int at = 0;; at = NextCut(at)) {
    Kernel kernel("numa_server");
    const Snapshot before = kernel.Files();
    ASSERT_TRUE(kernel.Apply(Profile::kBalanced).ok());
    kernel.writes_until_cut = kernel.writes + at;
    bool cut = false;
    try {
      ASSERT_TRUE(kernel.Apply(Profile::kThroughput).ok());
      ASSERT_TRUE(kernel.Apply(Profile::kLatency).ok());
    } catch (const PowerCut&) {
      cut = true;
    }
    kernel.writes_until_cut = -1;
    ASSERT_TRUE(kernel.Revert().ok());
    EXPECT_EQ(kernel.Files(), before) << at;
    EXPECT_FALSE(kernel.HasState());
    if (!cut) break;
    at += at / 4;  // the files of 16 CPUs are all alike
  }
}

TEST(RevertTest, PowerCutBeforeEachWrite) {
  for (int at = 0;; at = NextCut(at)) {
    Kernel kernel("nvme_server");
    const Snapshot before = kernel.Files();
    ASSERT_TRUE(kernel.Apply(Profile::kBalanced).ok());
    kernel.writes_until_cut = kernel.writes + at;
    bool cut = false;
    try {
      ASSERT_TRUE(kernel.Revert().ok());
    } catch (const PowerCut&) {
      cut = true;
    }
    kernel.writes_until_cut = -1;
    if (cut) ASSERT_TRUE(kernel.Revert().ok());
    EXPECT_EQ(kernel.Files(), before) << at;
    EXPECT_FALSE(kernel.HasState());
    if (!cut) break;
  }
}

TEST(ApplyTest, AFileThatCannotBeWrittenKeepsNothingElseBack) {
  Kernel kernel("nvme_server");
  const Snapshot before = kernel.Files();
  kernel.refuses = "zone_reclaim_mode";
  const auto applied = kernel.Apply(Profile::kBalanced);
  ASSERT_TRUE(applied.ok());
  int failed = 0;
  for (const Outcome& outcome : *applied) {
    if (outcome.status.ok()) continue;
    ++failed;
    EXPECT_EQ(outcome.path, "/proc/sys/vm/zone_reclaim_mode");
    EXPECT_EQ(outcome.after, "1");
  }
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(kernel.Value(kSwappiness), "10");
  EXPECT_FALSE(absl::StrContains(ReadWhole(kernel.state_file()), "zone_reclaim"))
      << "what was not changed need not be put back";
  ASSERT_TRUE(kernel.Revert().ok());
  EXPECT_EQ(kernel.Files(), before);
}

TEST(ApplyTest, WhereNothingCanBeWrittenNothingIsRecorded) {
  Kernel kernel("nvme_server");
  kernel.refuses = "/";
  const auto applied = kernel.Apply(Profile::kBalanced);
  ASSERT_TRUE(applied.ok());
  for (const Outcome& outcome : *applied) EXPECT_FALSE(outcome.status.ok());
  EXPECT_FALSE(kernel.HasState());
}

TEST(RevertTest, WhatCannotBePutBackStaysRecorded) {
  Kernel kernel("nvme_server");
  const Snapshot before = kernel.Files();
  ASSERT_TRUE(kernel.Apply(Profile::kBalanced).ok());
  kernel.refuses = "scheduler";
  const auto first = kernel.Revert();
  ASSERT_TRUE(first.ok());
  EXPECT_NE(kernel.Files(), before);
  EXPECT_TRUE(kernel.HasState());
  EXPECT_EQ(kernel.Value(kSwappiness), "60");
  kernel.refuses = "";
  const auto second = kernel.Revert();
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->size(), 1u);
  EXPECT_EQ(kernel.Files(), before);
}

TEST(RevertTest, WhatSomebodyElseHasChangedIsLeft) {
  Kernel kernel("nvme_server");
  ASSERT_TRUE(kernel.Apply(Profile::kBalanced).ok());
  kernel.Set(kSwappiness, "33");
  const auto first = kernel.Revert();
  ASSERT_TRUE(first.ok());
  int left = 0;
  for (const Outcome& outcome : *first) left += outcome.left ? 1 : 0;
  EXPECT_EQ(left, 1);
  EXPECT_EQ(kernel.Value(kSwappiness), "33");
  EXPECT_TRUE(kernel.HasState());
  kernel.Set(kSwappiness, "60");
  ASSERT_TRUE(kernel.Revert().ok());
  EXPECT_FALSE(kernel.HasState());
}

constexpr const char* kBoot = "/proc/sys/kernel/random/boot_id";

TEST(RevertTest, ARecordOfAnEarlierRunPutsNothingOverThisOne) {
  Kernel kernel("nvme_server");
  ASSERT_TRUE(kernel.Apply(Profile::kBalanced).ok());
  kernel.Set(kBoot, "another");
  kernel.Set(kSwappiness, "33");  // as /etc/sysctl.d has it by now
  const auto reverted = kernel.Revert();
  ASSERT_TRUE(reverted.ok());
  EXPECT_EQ(kernel.Value(kSwappiness), "33");
  EXPECT_FALSE(kernel.HasState());
}

TEST(ApplyTest, AnotherRunIsRecordedAnew) {
  Kernel kernel("nvme_server");
  ASSERT_TRUE(kernel.Apply(Profile::kBalanced).ok());
  kernel.Set(kBoot, "another");
  kernel.Set(kSwappiness, "33");
  ASSERT_TRUE(kernel.Apply(Profile::kBalanced).ok());
  EXPECT_EQ(kernel.Value(kSwappiness), "10");
  ASSERT_TRUE(kernel.Revert().ok());
  EXPECT_EQ(kernel.Value(kSwappiness), "33");
}

TEST(RevertTest, ADamagedRecordChangesNothing) {
  Kernel kernel("nvme_server");
  ASSERT_TRUE(kernel.Apply(Profile::kBalanced).ok());
  const std::string good = ReadWhole(kernel.state_file());
  const Snapshot applied = kernel.Files();
  for (const std::string& bad :
       {std::string("{"), std::string("[]"), good.substr(0, good.size() / 2),
        absl::StrReplaceAll(good, {{kSwappiness, "/proc/sys/kernel/core_pattern"}}),
        absl::StrReplaceAll(good, {{"\"version\": 1", "\"version\": 2"}}),
        absl::StrReplaceAll(good, {{"\"applied\"", "\"apply\""}}),
        absl::StrReplaceAll(good, {{"\"60\"", "60"}}),
        absl::StrReplaceAll(good, {{"\"applied\": [", "\"applied\": [ 1,"}})}) {
    WriteWhole(kernel.state_file(), bad);
    EXPECT_FALSE(kernel.Revert().ok()) << bad;
    EXPECT_FALSE(kernel.Apply(Profile::kLatency).ok()) << "it would lose what was there before";
    EXPECT_EQ(kernel.Files(), applied);
    EXPECT_EQ(ReadWhole(kernel.state_file()), bad);
  }
  WriteWhole(kernel.state_file(), good);
  EXPECT_TRUE(kernel.Revert().ok());
}

TEST(StateFileTest, IsForItsUserAlone) {
  Kernel kernel("nvme_server");
  ASSERT_TRUE(kernel.Apply(Profile::kBalanced).ok());
  struct stat info{};
  ASSERT_EQ(stat(kernel.state_file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_FALSE(std::filesystem::exists(kernel.state_file() + ".tmp"));
  // A link may lead to what somebody else can write.
  const std::string elsewhere = kernel.state_file() + ".elsewhere";
  std::filesystem::rename(kernel.state_file(), elsewhere);
  std::filesystem::create_symlink(elsewhere, kernel.state_file());
  EXPECT_FALSE(ReadState(kernel.state_file()).ok());
}

TEST(ApplyTest, WithoutAPlaceForTheRecordNothingIsChanged) {
  Kernel kernel("nvme_server");
  const Snapshot before = kernel.Files();
  const std::string directory = std::filesystem::path(kernel.state_file()).parent_path();
  WriteWhole(directory, "a file where the directory should be");
  EXPECT_FALSE(kernel.Apply(Profile::kBalanced).ok());
  EXPECT_EQ(kernel.writes, 0);
  EXPECT_EQ(kernel.Files(), before);
}

TEST(TreeTest, LinksStayBelowTheRoot) {
  const std::string root = absl::StrCat(getenv("TEST_TMPDIR"), "/links");
  std::filesystem::create_directories(root + "/a");
  WriteWhole(root + "/a/file", "  in \t side\n");
  std::filesystem::create_symlink("/a/file", root + "/absolute");
  std::filesystem::create_symlink("../../../../../../a/file", root + "/a/up");
  std::filesystem::create_symlink("loop", root + "/loop");
  const Tree tree(root + "/");
  EXPECT_EQ(*tree.ReadValue("/absolute"), "in side");
  EXPECT_EQ(*tree.ReadValue("/a/up"), "in side");
  EXPECT_EQ(tree.Resolve("/a/./../a//up"), "/a/file");
  EXPECT_FALSE(tree.Read("/loop").ok());
  EXPECT_FALSE(tree.Read("/a").ok());
  EXPECT_FALSE(tree.Write("/new", "x").ok()) << "no file is made";
}

}  // namespace
}  // namespace ringtail::tune
