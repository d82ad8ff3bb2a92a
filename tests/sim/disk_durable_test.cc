// What a power cut may and may not take away.
#include <fcntl.h>

#include <cstring>
#include <map>
#include <set>

#include "gtest/gtest.h"
#include "tests/sim/disk.h"
#include "tests/sim/seeds.h"

namespace ringtail::sim {
namespace {

SimDisk MakeDisk(uint64_t seed, double background = 0) {
  DiskOptions options;
  options.background_writeback = background;
  return SimDisk(options, Rng(seed));
}

InodeId OpenFile(SimDisk& disk, const char* path) {
  const int64_t id = disk.Open(path, O_RDWR | O_CREAT, 0);
  EXPECT_GT(id, 0);
  return static_cast<InodeId>(id);
}

void WriteText(SimDisk& disk, InodeId id, int64_t position, std::string text) {
  const iovec vector{text.data(), text.size()};
  ASSERT_EQ(disk.Write(id, &vector, 1, position, 0), static_cast<int64_t>(text.size()));
}

// An open file "/f" of `sectors` sectors of 'o' that are all durable.
InodeId OldFile(SimDisk& disk, int64_t sectors) {
  disk.Put("/f", std::string(static_cast<size_t>(sectors * kSectorBytes), 'o'));
  return OpenFile(disk, "/f");
}

std::string Cut(SimDisk& disk, InodeId id, PowerCutPolicy policy) {
  disk.Close(id);
  disk.PowerCut(policy);
  return disk.Content("/f").value_or("gone");
}

// One letter per sector; '?' where a sector is mixed.
std::string Letters(const std::string& content) {
  std::string letters;
  for (size_t at = 0; at < content.size(); at += kSectorBytes) {
    const std::string sector = content.substr(at, kSectorBytes);
    letters += sector.find_first_not_of(sector[0]) == std::string::npos ? sector[0] : '?';
  }
  return letters;
}

std::string Sectors(const std::string& letters) {
  std::string content;
  for (const char letter : letters) content.append(kSectorBytes, letter);
  return content;
}

TEST(DiskDurableTest, NoneKeepsExactlyWhatWasSynced) {
  SimDisk disk = MakeDisk(1);
  const InodeId id = OldFile(disk, 4);
  WriteText(disk, id, 0, Sectors("a"));
  disk.FinishSync(disk.StartSync(id));
  WriteText(disk, id, 512, Sectors("bb"));
  EXPECT_EQ(Letters(Cut(disk, id, {PowerCutPolicy::kNone})), "aooo");
}

TEST(DiskDurableTest, AllKeepsEverything) {
  SimDisk disk = MakeDisk(1);
  const InodeId id = OldFile(disk, 4);
  WriteText(disk, id, 512, Sectors("bbbbb"));
  EXPECT_EQ(Letters(Cut(disk, id, {PowerCutPolicy::kAll})), "obbbbb");
}

TEST(DiskDurableTest, PrefixAndSuffixFollowTheOrderOfWrites) {
  std::set<std::string> prefixes, suffixes;
  ForSeeds(60, [&](uint64_t seed) {
    for (const auto kept : {PowerCutPolicy::kPrefix, PowerCutPolicy::kSuffix}) {
      SimDisk disk = MakeDisk(seed);
      const InodeId id = OldFile(disk, 4);
      for (const int64_t sector : {2, 0, 3, 1}) WriteText(disk, id, sector * 512, Sectors("n"));
      const std::string letters = Letters(Cut(disk, id, {kept}));
      (kept == PowerCutPolicy::kPrefix ? prefixes : suffixes).insert(letters);
    }
  });
  EXPECT_EQ(prefixes, (std::set<std::string>{"oooo", "oono", "nono", "nonn", "nnnn"}));
  EXPECT_EQ(suffixes, (std::set<std::string>{"oooo", "onoo", "onon", "nnon", "nnnn"}));
}

TEST(DiskDurableTest, SubsetTearsBetweenUnits) {
  std::set<std::string> small, large;
  ForSeeds(600, [&](uint64_t seed) {
    for (const int64_t unit : {kSectorBytes, kPageBytes}) {
      SimDisk disk = MakeDisk(seed);
      const InodeId id = OldFile(disk, 16);
      WriteText(disk, id, 0, Sectors(std::string(16, 'n')));
      const std::string letters = Letters(Cut(disk, id, {PowerCutPolicy::kSubset, unit}));
      EXPECT_EQ(letters.find('?'), std::string::npos);
      (unit == kSectorBytes ? small : large).insert(letters);
    }
  });
  EXPECT_GT(small.size(), 100u);
  EXPECT_EQ(large.size(), 4u);
}

TEST(DiskDurableTest, SyncCoversWhatWasWrittenBeforeItStarted) {
  SimDisk disk = MakeDisk(1);
  const InodeId id = OldFile(disk, 2);
  WriteText(disk, id, 0, Sectors("a"));
  const auto sync = disk.StartSync(id);
  WriteText(disk, id, 0, Sectors("bb"));
  WriteText(disk, id, 1024, Sectors("b"));
  disk.FinishSync(sync);
  EXPECT_GT(disk.dirty_bytes(), 0);
  EXPECT_EQ(Letters(Cut(disk, id, {PowerCutPolicy::kNone})), "ao");
}

TEST(DiskDurableTest, GrowthDuringASyncTakesNothingFromIt) {
  SimDisk disk = MakeDisk(1);
  const InodeId id = OldFile(disk, 1);
  WriteText(disk, id, 512, Sectors("a"));
  const auto sync = disk.StartSync(id);
  WriteText(disk, id, 1024, Sectors("b"));
  disk.FinishSync(sync);
  EXPECT_EQ(Letters(Cut(disk, id, {PowerCutPolicy::kNone})), "oa");
}

TEST(DiskDurableTest, FailedSyncLeavesCleanPagesThatAreNotDurable) {
  bool lost = false;
  ForSeeds(20, [&](uint64_t seed) {
    SimDisk disk = MakeDisk(seed);
    const InodeId id = OldFile(disk, 4);
    WriteText(disk, id, 0, Sectors("nnnn"));
    disk.FailSync(disk.StartSync(id));
    EXPECT_EQ(disk.dirty_bytes(), 0);
    disk.FinishSync(disk.StartSync(id));  // a retry says nothing
    EXPECT_EQ(Letters(*disk.Content("/f")), "nnnn");
    lost |= Letters(Cut(disk, id, {PowerCutPolicy::kAll})) != "nnnn";
  });
  EXPECT_TRUE(lost);
}

TEST(DiskDurableTest, TruncationThatWasNotSyncedIsUndone) {
  SimDisk disk = MakeDisk(1);
  const InodeId id = OldFile(disk, 16);
  ASSERT_EQ(disk.Truncate(id, 0, 0), 0);
  WriteText(disk, id, 0, Sectors(std::string(16, 'n')));
  SimDisk fork(disk);
  disk.FinishSync(disk.StartSync(id));
  EXPECT_EQ(Letters(Cut(disk, id, {PowerCutPolicy::kNone})), std::string(16, 'n'));
  fork.PowerCut({PowerCutPolicy::kNone});
  EXPECT_EQ(Letters(*fork.Content("/f")), std::string(16, 'o'));
}

TEST(DiskDurableTest, BytesBehindASyncedTruncationStayGone) {
  SimDisk disk = MakeDisk(1);
  const InodeId id = OldFile(disk, 16);
  ASSERT_EQ(disk.Truncate(id, 700, 0), 0);
  disk.FinishSync(disk.StartSync(id));
  ASSERT_EQ(disk.Truncate(id, 16 * 512, 0), 0);
  disk.FinishSync(disk.StartSync(id));
  const std::string content = Cut(disk, id, {PowerCutPolicy::kNone});
  EXPECT_EQ(content, std::string(700, 'o') + std::string(16 * 512 - 700, '\0'));
}

TEST(DiskDurableTest, NewNameNeedsItsDirectorySynced) {
  for (const bool synced : {false, true}) {
    SimDisk disk = MakeDisk(1);
    const InodeId id = OpenFile(disk, "/f");
    WriteText(disk, id, 0, "text");
    disk.FinishSync(disk.StartSync(id));
    if (synced) disk.FinishSync(disk.StartSync(1));
    EXPECT_EQ(Cut(disk, id, {PowerCutPolicy::kNone}), synced ? "text" : "gone");
  }
}

TEST(DiskDurableTest, SyncOfOneDirectoryLeavesOthersAlone) {
  SimDisk disk = MakeDisk(1);
  disk.Put("/x/old", "1");
  disk.Put("/y/old", "2");
  ASSERT_EQ(disk.Rename("/x/old", "/x/new"), 0);
  ASSERT_EQ(disk.Rename("/y/old", "/y/new"), 0);
  disk.FinishSync(disk.StartSync(static_cast<InodeId>(disk.Lookup("/y"))));
  disk.PowerCut({PowerCutPolicy::kNone});
  EXPECT_EQ(disk.Tree(), "/x/\n/x/old 1\n/y/\n/y/new 1\n");
}

TEST(DiskDurableTest, NamesSurviveAsAPrefixOfTheirOrder) {
  std::set<std::string> trees;
  ForSeeds(60, [&](uint64_t seed) {
    SimDisk disk = MakeDisk(seed);
    disk.Put("/a", "1");
    disk.Put("/b", "2");
    disk.Rename("/a", "/c");
    disk.MakeDirectory("/d", 0);
    disk.Unlink("/b");
    disk.PowerCut({PowerCutPolicy::kSubset});
    trees.insert(disk.Tree());
  });
  EXPECT_EQ(trees, (std::set<std::string>{"/a 1\n/b 1\n", "/b 1\n/c 1\n", "/b 1\n/c 1\n/d/\n",
                                          "/c 1\n/d/\n"}));
}

TEST(DiskDurableTest, UnlinkedButOpenFileIsReadableAndGivesItsSpaceBackAtClose) {
  SimDisk disk = MakeDisk(1);
  const int64_t before = disk.Space().available_bytes;
  const InodeId id = OldFile(disk, 16);
  EXPECT_EQ(disk.Unlink("/f"), 0);
  char byte = 0;
  const iovec vector{&byte, 1};
  EXPECT_EQ(disk.Read(id, &vector, 1, 5, false, false), 1);
  EXPECT_EQ(byte, 'o');
  EXPECT_EQ(disk.Space().available_bytes, before - 8192);
  disk.Close(id);
  EXPECT_EQ(disk.Space().available_bytes, before);
}

TEST(DiskDurableTest, FullDiskShortensThenRefuses) {
  SimDisk disk = MakeDisk(1);
  disk.set_capacity_bytes(3 * kPageBytes);
  const InodeId id = OpenFile(disk, "/f");
  std::string text(5 * kPageBytes, 'n');
  const iovec vector{text.data(), text.size()};
  EXPECT_EQ(disk.Write(id, &vector, 1, 100, 0), 3 * kPageBytes - 100);
  EXPECT_EQ(disk.Write(id, &vector, 1, 3 * kPageBytes, 0), -ENOSPC);
  EXPECT_EQ(disk.Allocate(id, 0, 4 * kPageBytes, 0), -ENOSPC);
  EXPECT_EQ(disk.Write(id, &vector, 1, 0, 0), 3 * kPageBytes);  // allocated blocks
  EXPECT_EQ(disk.Truncate(id, 0, 0), 0);
  EXPECT_EQ(disk.Space().available_bytes, 3 * kPageBytes);
}

// Random writes, syncs and cuts of one file: each sector is one of the versions that it had since
// it was last synced, never anything else.
TEST(DiskDurableTest, ModelOfVersions) {
  ForSeeds(300, [](uint64_t seed) {
    Rng rng(seed * 77);
    SimDisk disk = MakeDisk(seed, 0.1);
    constexpr int kSectors = 24;
    InodeId id = OldFile(disk, kSectors);
    std::map<int, std::set<char>> allowed;
    std::map<int, char> now;
    for (int s = 0; s < kSectors; ++s) allowed[s] = {now[s] = 'o'};
    char next = 'a';
    for (int step = 0; step < 60; ++step) {
      const int first = static_cast<int>(rng.Below(kSectors));
      const int last = static_cast<int>(rng.Between(first, kSectors - 1));
      const int count = last - first + 1;
      next = next == 'n' ? 'a' : static_cast<char>(next + 1);
      const uint64_t what = rng.Below(8);
      if (what < 5) {
        WriteText(disk, id, first * 512, Sectors(std::string(static_cast<size_t>(count), next)));
        for (int s = first; s <= last; ++s) allowed[s].insert(now[s] = next);
        if (what == 0) {
          disk.MakeDurable(id, first * 512, count * 512);
          for (int s = first; s <= last; ++s) allowed[s] = {next};
        }
      } else if (what == 5) {
        const auto sync = disk.StartSync(id);
        const auto before = now;
        if (rng.Chance(0.5)) {
          WriteText(disk, id, first * 512, Sectors(std::string(1, next)));
          allowed[first].insert(now[first] = next);
        }
        disk.FinishSync(sync);
        for (int s = 0; s < kSectors; ++s) allowed[s] = {before.at(s), now[s]};
      } else if (what == 6) {
        disk.WriteBack(id, 0, 0);
        disk.DropCache(id, 0, 0);
      } else {
        const auto kept = static_cast<PowerCutPolicy::Kept>(rng.Below(5));
        const std::string letters =
            Letters(Cut(disk, id, {kept, rng.Chance(0.5) ? kSectorBytes : kPageBytes}));
        ASSERT_EQ(letters.size(), static_cast<size_t>(kSectors));
        for (int s = 0; s < kSectors; ++s) {
          ASSERT_TRUE(allowed[s].contains(letters[static_cast<size_t>(s)]))
              << "sector " << s << " of " << letters;
          allowed[s] = {now[s] = letters[static_cast<size_t>(s)]};
        }
        id = OpenFile(disk, "/f");
      }
    }
    std::string letters;
    for (int s = 0; s < kSectors; ++s) letters += now[s];
    EXPECT_EQ(Letters(*disk.Content("/f")), letters);
  });
}

}  // namespace
}  // namespace ringtail::sim
