#include "tools/tune/parse.h"

#include "gtest/gtest.h"

namespace ringtail::tune {
namespace {

TEST(ParseTest, CpuLists) {
  EXPECT_EQ(ParseCpuList("0-3,8-11\n"), CpuList({0, 1, 2, 3, 8, 9, 10, 11}));
  EXPECT_EQ(ParseCpuList("5"), CpuList({5}));
  EXPECT_EQ(ParseCpuList("3,1,2-3"), CpuList({1, 2, 3}));
  EXPECT_EQ(ParseCpuList(" \n"), CpuList());
  EXPECT_EQ(ParseCpuList("8191"), CpuList({8191}));
}

TEST(ParseTest, CpuListsThatMakeNoSense) {
  for (const char* text :
       {"3-1", "a", "1-", "-1", "1,,2", "1-2-3", "0-4294967295", "99999999999999999999", "8192",
        "0-8192", "+1", "1 2", "1;2", "0x3", "\xff\xfe"}) {
    EXPECT_FALSE(ParseCpuList(text)) << text;
  }
}

TEST(ParseTest, CpuListsAreWrittenAsTheKernelWritesThem) {
  EXPECT_EQ(FormatCpuList({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
  EXPECT_EQ(FormatCpuList({}), "");
  EXPECT_EQ(Intersect({0, 1, 2, 5}, {1, 5, 7}), CpuList({1, 5}));
}

TEST(ParseTest, TheOneInUseIsInBrackets) {
  EXPECT_EQ(Chosen("none [mq-deadline] kyber\n"), "mq-deadline");
  EXPECT_EQ(Chosen(" 4096\t16384\t4194304\n"), "4096 16384 4194304");
  EXPECT_EQ(Chosen("[open"), "[open");
  EXPECT_EQ(Chosen("] ["), "] [");
  EXPECT_EQ(Choices("none [mq-deadline] kyber\n"),
            std::vector<std::string>({"none", "mq-deadline", "kyber"}));
}

TEST(ParseTest, KernelVersions) {
  EXPECT_EQ(ParseKernelVersion("6.18.44-fc\n"), (KernelVersion{6, 18}));
  EXPECT_LT((KernelVersion{6, 9}), (KernelVersion{6, 14}));
  EXPECT_FALSE(ParseKernelVersion("six"));
  EXPECT_FALSE(ParseKernelVersion(""));
  EXPECT_FALSE(ParseKernelVersion("6"));
  EXPECT_FALSE(ParseKernelVersion("99999999999.1"));
}

constexpr const char* kMounts =
    "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n"
    "28 27 254:16 / /srv/my\\040data rw,noatime - xfs /dev/vdb rw\n"
    "29 27 0:31 / /srv rw - tmpfs tmpfs rw,size=4k\n"
    "30 27 0:32 / /srv rw master:1 propagate_from:2 - btrfs none rw,subvol=/a\n"
    "a line that is none\n"
    "31 27 0:33 / - x y\n";

TEST(ParseTest, MountInfo) {
  const std::vector<Mount> mounts = ParseMountInfo(kMounts);
  ASSERT_EQ(mounts.size(), 4u);
  EXPECT_EQ(mounts[1].point, "/srv/my data");
  EXPECT_EQ(mounts[0].options, "rw,relatime,rw,discard");
  EXPECT_EQ(MountOf(mounts, "/srv/my data/x")->type, "xfs");
  EXPECT_EQ(MountOf(mounts, "/srv/my database")->type, "btrfs") << "the later one lies on top";
  EXPECT_EQ(MountOf(mounts, "/srvx")->type, "ext4");
  EXPECT_EQ(MountOf(mounts, "relative"), nullptr);
  EXPECT_TRUE(HasOption(mounts[0], "discard"));
  EXPECT_FALSE(HasOption(mounts[0], "disc"));
  EXPECT_EQ(OptionValue(mounts[2], "size"), "4k");
  EXPECT_FALSE(OptionValue(mounts[2], "siz"));
}

TEST(ParseTest, Cgroups) {
  const std::vector<CgroupLine> lines =
      ParseCgroup("9:cpu,cpuacct:/docker/1:2\n0::/a\n:\nx\n1:b\n");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].controllers, std::vector<std::string>({"cpu", "cpuacct"}));
  EXPECT_EQ(lines[0].path, "/docker/1:2");
  EXPECT_TRUE(lines[1].controllers.empty());
}

TEST(ParseTest, Limits) {
  const char* text =
      "Limit                     Soft Limit           Hard Limit           Units     \n"
      "Max open files            1024                 524288               files     \n"
      "Max locked memory         unlimited            unlimited            bytes     \n"
      "Max processes             12\n";
  EXPECT_EQ(ParseLimit(text, "Max open files")->hard, 524288);
  EXPECT_EQ(ParseLimit(text, "Max locked memory")->soft, kUnlimited);
  EXPECT_FALSE(ParseLimit(text, "Max processes"));
  EXPECT_FALSE(ParseLimit(text, "Max nice priority"));
  EXPECT_FALSE(ParseLimit("Max open files many few", "Max open files"));
}

TEST(ParseTest, Fields) {
  EXPECT_EQ(ParseField("A:\t1\nMemTotal:   12 kB\n", "MemTotal"), "12 kB");
  EXPECT_FALSE(ParseField("MemTotalX: 1", "MemTotal"));
  EXPECT_FALSE(ParseField("", "MemTotal"));
}

// Whatever prefix and whatever flipped byte: an answer or none, never a crash.
TEST(ParseTest, DamagedFiles) {
  const std::string whole = std::string(kMounts) + "0::/a\nMax open files 1 2\n0-3,8-11\n";
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const char byte : {'\0', ' ', '-', ',', '\\', '9', '\n', '\xff'}) {
      std::string text = whole.substr(0, at) + byte + whole.substr(at + 1);
      for (const std::string& each : {text, text.substr(0, at + 1), text.substr(at)}) {
        for (const Mount& mount : ParseMountInfo(each)) OptionValue(mount, "size");
        ParseCgroup(each);
        ParseLimit(each, "Max open files");
        ParseCpuList(each);
        Chosen(each);
        Choices(each);
      }
    }
  }
}

}  // namespace
}  // namespace ringtail::tune
