// Media that lie: sectors of the journal, of checkpoints and segments that changed, and files of
// journal/ that are missing, foreign, there twice, or from an old copy. What was acknowledged is
// there, or its partition is closed and says why, or the start is refused and names the file: no
// log is ever silently shorter or different.
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/log/journal/journal_format.h"
#include "gtest/gtest.h"
#include "tests/engine/log/journal/life.h"
#include "tests/sim/random.h"
#include "tests/sim/seeds.h"

namespace ringtail::log {
namespace {

using sim::FaultKind;

// Whether the journal's newest frames are in this file. An older copy of it lacks some, and they
// are written nowhere else.
bool HasLastFrames(const sim::SimDisk& disk, const std::string& path) {
  const auto number_of = [&disk](const std::string& file) -> uint32_t {
    const std::string content = disk.Content(file).value_or("");
    if (!absl::EndsWith(file, ".journal") || content.size() < 2 * kJournalBlockBytes) return 0;
    const base::ByteView bytes = base::AsBytes(content);
    const auto header = DecodeJournalFileHeader(bytes.first(kJournalBlockBytes));
    if (!header.ok()) return 0;
    const FramePlace place = {header->run,
                              header->core,
                              header->file_number,
                              kJournalBlockBytes,
                              static_cast<int64_t>(content.size()),
                              header->dir_id};
    const auto frame = DecodeFrame(bytes.subspan(kJournalBlockBytes), place);
    return frame.ok() ? header->file_number : 0;
  };
  uint32_t last = 0;
  for (const std::string& each : FilesBelow(disk, path.substr(0, path.rfind('/')))) {
    last = std::max(last, number_of(each));
  }
  return last != 0 && number_of(path) == last;
}

std::string RefusedBy(const Life& life) {
  std::string all;
  for (const auto& [index, why] : life.stack().refused()) {
    absl::StrAppend(&all, why.message(), "; ");
    EXPECT_FALSE(why.message().empty());
  }
  return all;
}

constexpr FaultKind kChanges[] = {FaultKind::kBitFlip, FaultKind::kZeroed};

TEST(MediaTest, SectorsOfTheJournalNeverShortenALogSilently) {
  sim::ForSeeds(3, [](uint64_t seed) {
    const StackOptions options{.appends_most = seed % 2 == 0 ? 20 : 3};
    sim::Rng rng(seed);
    std::vector<std::string> files;
    {
      Life life(seed);
      RunAndCrash(life, seed, options);
      if (testing::Test::HasFailure()) return;
      files = FilesBelow(life.machine().world().disk(), "/data/journal");
    }
    int hurt = 0;
    for (int i = 0; i < 120; ++i) {
      Life life(seed);
      RunAndCrash(life, seed, options);
      sim::SimDisk& disk = life.machine().world().disk();
      const std::string& path = files[rng.Below(files.size())];
      const std::string content = *disk.Content(path);
      if (content.empty()) continue;
      // Mostly where there is something.
      uint64_t at = 0;
      for (int attempt = 0; attempt < 200; ++attempt) {
        at = rng.Below(content.size()) / sim::kSectorBytes * sim::kSectorBytes;
        if (i % 8 == 0 || content.find_first_not_of('\0', at) < at + sim::kSectorBytes) break;
      }
      const bool zeros = content.find_first_not_of('\0', at) >= at + sim::kSectorBytes;
      const FaultKind kind = kChanges[rng.Below(2)];
      SCOPED_TRACE(absl::StrCat(path, " byte ", at, ", kind ", static_cast<int>(kind)));
      disk.Corrupt(path, static_cast<int64_t>(at), sim::kSectorBytes, kind);
      const absl::Status started = StartDamaged(life, options);
      if (!started.ok()) {
        EXPECT_TRUE(absl::StrContains(started.message(), "journal")) << started.ToString();
        EXPECT_FALSE(absl::StrContains(path, ".journal")) << started.ToString();
      } else {
        const std::string refused = RefusedBy(life);
        EXPECT_TRUE(!zeros || refused.empty() || !absl::StrContains(path, ".journal")) << refused;
        hurt += refused.empty() ? 0 : 1;
        life.CheckAll();
      }
      if (testing::Test::HasFailure()) return;
      life.Kill();
    }
    RecordProperty(absl::StrCat("closed_seed_", seed), hurt);
  });
}

// A directory as a life left it, to be damaged again and again.
struct Past {
  std::vector<Known> known;
  std::map<std::string, std::string> files;
  std::map<std::string, std::string> earlier;  // the same half-way: what stale writes leave
};

Past MakePast(uint64_t seed, const StackOptions& options) {
  Past past;
  const auto files = [](Life& life) {
    std::map<std::string, std::string> all;
    const sim::SimDisk& disk = life.machine().world().disk();
    for (const std::string& path : FilesBelow(disk, "/data")) {
      all[path] = disk.Content(path).value_or("");
    }
    return all;
  };
  const uint64_t operations = CountOperations(seed, options);
  Life half(seed);
  bool paused = false;
  half.RunUntil(operations / 2, options, seed, kOperations, &paused);
  half.Kill();
  past.earlier = files(half);
  Life life(seed);
  RunAndCrash(life, seed, options);
  past.known = life.known();
  past.files = files(life);
  return past;
}

enum class Lie { kBitFlip, kZeroedSector, kZeroedBlock, kMisdirected, kStale, kEnd };

// False: that changes nothing there.
bool Tell(Lie lie, const Past& past, const std::string& path, size_t at, std::string* bytes) {
  const std::string before = *bytes;
  const size_t block = at / kJournalBlockBytes * kJournalBlockBytes;
  const size_t length = std::min(kJournalBlockBytes, bytes->size() - block);
  switch (lie) {
    case Lie::kBitFlip:
      (*bytes)[at + at / sim::kSectorBytes % (bytes->size() - at)] ^= 0x10;
      break;
    case Lie::kZeroedSector:
      bytes->replace(at, std::min<size_t>(sim::kSectorBytes, bytes->size() - at),
                     std::min<size_t>(sim::kSectorBytes, bytes->size() - at), '\0');
      break;
    case Lie::kZeroedBlock:
      bytes->replace(block, length, length, '\0');
      break;
    case Lie::kMisdirected: {  // the block before or behind was written here
      const size_t other =
          block >= kJournalBlockBytes ? block - kJournalBlockBytes : block + kJournalBlockBytes;
      if (other + length > bytes->size()) return false;
      bytes->replace(block, length, before.substr(other, length));
      break;
    }
    default: {
      const auto earlier = past.earlier.find(path);
      if (earlier == past.earlier.end() || earlier->second.size() < block + length) return false;
      bytes->replace(block, length, earlier->second.substr(block, length));
    }
  }
  return *bytes != before;
}

// Starts over `past` with one file changed, and looks.
void StartWith(const Past& past, const std::string& path, const std::string& bytes, uint64_t seed,
               const StackOptions& options) {
  Life life(seed);
  life.known() = past.known;
  sim::SimDisk& disk = life.machine().world().disk();
  for (const auto& [each, content] : past.files) {
    disk.Put(each, each == path ? bytes : content);
  }
  const absl::Status started = StartDamaged(life, options);
  if (!started.ok()) {
    // A header of another directory on a file without a frame: whose it is nothing tells.
    const bool foreign = absl::EndsWith(path, ".journal") &&
                         absl::StrContains(started.message(), "another data directory") &&
                         bytes.find_first_not_of('\0', kJournalBlockBytes) == std::string::npos;
    EXPECT_FALSE((absl::EndsWith(path, ".journal") && !foreign) || absl::EndsWith(path, ".log"))
        << started;
    EXPECT_TRUE(absl::StrContains(started.message(), "journal")) << started;
  } else if (absl::EndsWith(path, ".log")) {
    for (const auto& [index, why] : life.stack().refused()) {
      EXPECT_TRUE(absl::StartsWith(path, life.stack().Directory(index))) << why.ToString();
    }
    life.CheckAll([&](size_t index, const Log& log, const Known& facts) {
      if (!absl::StartsWith(path, absl::StrCat(life.stack().Directory(index), "/"))) return true;
      EXPECT_GE(log.durable_end().value(), std::min(facts.acked, facts.cutting));
      return false;
    });
  } else {
    RefusedBy(life);
    life.CheckAll();
  }
  life.Kill();
}

// All live sectors in turn; one run takes every `stride`-th, each seed begins at another.
TEST(MediaTest, EachLiveSectorThatLies) {
  sim::ForSeeds(2, [](uint64_t seed) {
    const StackOptions options{.appends_most = seed % 2 == 0 ? 10 : 3, .journal_only = true};
    const Past past = MakePast(seed % 10 + 1, options);
    if (testing::Test::HasFailure()) return;
    std::vector<std::pair<std::string, size_t>> sectors;
    for (const auto& [path, content] : past.files) {
      const bool counts = absl::StrContains(path, "/journal/") || absl::EndsWith(path, ".log");
      for (size_t at = 0; counts && at < content.size(); at += sim::kSectorBytes) {
        if (content.find_first_not_of('\0', at) < at + sim::kSectorBytes) {
          sectors.emplace_back(path, at);
        }
      }
    }
    const size_t stride = sectors.size() / 40 + 1;
    for (size_t i = seed * 7 % stride; i < sectors.size(); i += stride) {
      const auto& [path, at] = sectors[i];
      for (int lie = 0; lie < static_cast<int>(Lie::kEnd); ++lie) {
        SCOPED_TRACE(absl::StrCat(path, " byte ", at, ", lie ", lie));
        std::string bytes = past.files.at(path);
        if (!Tell(static_cast<Lie>(lie), past, path, at, &bytes)) continue;
        StartWith(past, path, bytes, seed, options);
        if (testing::Test::HasFailure()) return;
      }
    }
  });
}

TEST(MediaTest, SectorsOfSegmentsHurtNoOtherPartition) {
  sim::ForSeeds(3, [](uint64_t seed) {
    const StackOptions options{.journal_only = true};
    sim::Rng rng(seed);
    for (int i = 0; i < 60; ++i) {
      Life life(seed);
      RunAndCrash(life, seed, options);
      if (testing::Test::HasFailure()) return;
      sim::SimDisk& disk = life.machine().world().disk();
      std::vector<std::string> segments;
      for (const std::string& path : FilesBelow(disk, "/data")) {
        if (absl::EndsWith(path, ".log") && !disk.Content(path)->empty()) segments.push_back(path);
      }
      const std::string& path = segments[rng.Below(segments.size())];
      const uint64_t at = rng.Below(disk.Content(path)->size());
      SCOPED_TRACE(absl::StrCat(path, " byte ", at));
      disk.Corrupt(path, static_cast<int64_t>(at) / sim::kSectorBytes * sim::kSectorBytes,
                   sim::kSectorBytes, kChanges[i % 2]);
      const absl::Status started = StartDamaged(life, options);
      ASSERT_TRUE(started.ok()) << started.ToString();
      for (const auto& [index, why] : life.stack().refused()) {
        EXPECT_TRUE(absl::StartsWith(path, life.stack().Directory(index))) << why.ToString();
      }
      life.CheckAll([&](size_t index, const Log& log, const Known& facts) {
        if (!absl::StartsWith(path, absl::StrCat(life.stack().Directory(index), "/"))) return true;
        EXPECT_GE(log.durable_end().value(), std::min(facts.acked, facts.cutting));
        return false;
      });
      if (testing::Test::HasFailure()) return;
      life.Kill();
    }
  });
}

enum class Change { kMissing, kForeign, kDoubled, kOld, kEmpty, kEnd };

TEST(MediaTest, FilesOfTheJournalMissingForeignDoubledOrOld) {
  sim::ForSeeds(3, [](uint64_t seed) {
    const StackOptions options{.appends_most = 10};
    for (size_t i = 0;; ++i) {
      Life life(seed);
      Life other(seed + 500);
      RunAndCrash(life, seed, options);
      RunAndCrash(other, seed + 500, options);
      sim::SimDisk& disk = life.machine().world().disk();
      const std::vector<std::string> files = FilesBelow(disk, "/data/journal");
      if (i / static_cast<size_t>(Change::kEnd) >= files.size()) break;
      const std::string& path = files[i / static_cast<size_t>(Change::kEnd)];
      const auto change = static_cast<Change>(i % static_cast<size_t>(Change::kEnd));
      const std::string old = *disk.Content(path);
      SCOPED_TRACE(absl::StrCat(path, ", change ", static_cast<int>(change)));
      bool paused = false;
      if (change == Change::kOld) {
        life.RunUntil(std::nullopt, options, seed + 1, 20, &paused);
        life.Kill();
        disk.SyncEverything();
      }
      const bool last = HasLastFrames(disk, path);
      disk.Unlink(path);
      if (change == Change::kForeign) {
        disk.Put(path, other.machine().world().disk().Content(path).value_or("foreign"));
      }
      if (change == Change::kDoubled) {
        disk.Put(path, old);
        const std::string directory = path.substr(0, path.rfind('/'));
        disk.Put(
            absl::StrCat(directory, "/", absl::EndsWith(path, ".journal") ? "77.journal" : "copy"),
            old);
      }
      if (change == Change::kOld) disk.Put(path, old);
      if (change == Change::kEmpty) disk.Put(path, "");
      const absl::Status started = StartDamaged(life, options);
      if (!started.ok()) {
        EXPECT_TRUE(absl::StrContains(started.message(), "journal")) << started.ToString();
        EXPECT_NE(change, Change::kDoubled) << started.ToString();
      } else {
        RefusedBy(life);
        if (last && change == Change::kOld) life.ForgiveShorter();
        life.CheckAll();
      }
      if (testing::Test::HasFailure()) return;
      life.Kill();
    }
  });
}

}  // namespace
}  // namespace ringtail::log
