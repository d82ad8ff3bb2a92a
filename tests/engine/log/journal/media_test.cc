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

// A run that ended without a stop, all of it on the medium: the last frame's seal, too.
void RunAndCrash(Life& life, uint64_t seed, const StackOptions& options) {
  bool paused = false;
  life.RunUntil(std::nullopt, options, seed, kOperations, &paused);
  if (testing::Test::HasFailure()) return;
  life.machine().world().RunFor(base::kNanosPerSecond / 5);
  life.machine().world().disk().SyncEverything();
  life.Kill();
  life.machine().world().disk().SyncEverything();
}

std::vector<std::string> FilesBelow(const sim::SimDisk& disk, const std::string& directory) {
  std::vector<std::string> files;
  std::vector<io::DirectoryEntry> entries;
  disk.List(directory, &entries);
  for (const io::DirectoryEntry& entry : entries) {
    const std::string path = absl::StrCat(directory, "/", entry.name);
    if (!entry.is_directory) {
      files.push_back(path);
      continue;
    }
    for (std::string& each : FilesBelow(disk, path)) files.push_back(std::move(each));
  }
  return files;
}

// Whether the journal's newest frames are in this file. That they ever were is written nowhere
// else.
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

// Ok, or why the start was refused.
absl::Status StartDamaged(Life& life, StackOptions options) {
  options.damaged = true;
  const auto started = life.TryStart(options);
  EXPECT_TRUE(started.has_value()) << "the start does not end";
  return started.value_or(absl::InternalError("hangs"));
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
        if (life.stack().recovered().frames_damaged > 0 || !zeros) life.ForgiveTrims();
        life.CheckAll();
      }
      if (testing::Test::HasFailure()) return;
      life.Kill();
    }
    RecordProperty(absl::StrCat("closed_seed_", seed), hurt);
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
        life.ForgiveTrims();
        if (last && change != Change::kDoubled) life.ForgiveShorter();
        life.CheckAll();
      }
      if (testing::Test::HasFailure()) return;
      life.Kill();
    }
  });
}

}  // namespace
}  // namespace ringtail::log
