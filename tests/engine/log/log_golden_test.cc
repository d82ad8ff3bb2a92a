// The bytes of a cleanly closed directory, file by file: what FORMAT.md says, and what Kafka's
// DumpLogSegments reads.
#include <gtest/gtest.h>

#include "engine/log/data_directory.h"
#include "tests/engine/log/log_fixture.h"

namespace ringtail::log {
namespace {

std::string Be(std::initializer_list<std::pair<int, int64_t>> fields) {
  std::string bytes;
  for (const auto& [size, value] : fields) {
    for (int i = size - 1; i >= 0; --i) {
      bytes.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
    }
  }
  return bytes;
}

TEST(LogGoldenTest, ACleanlyClosedDirectory) {
  SimMachine machine(uint64_t{1});
  LogUnderTest log(machine);
  log.config.segment_bytes_max = 700;
  log.config.index_interval_bytes = 150;
  log.Create();
  // Batches of 100 bytes: 61 of header, a record of 39.
  std::string data;
  for (int i = 0; i < 9; ++i) {
    const int64_t time = i == 4 ? 5000 : 1000 + i;
    const std::string batch = MakeBatch({.value_bytes = 32, .timestamp_ms = time});
    ASSERT_EQ(batch.size(), 100u);
    ASSERT_TRUE(log.Write(batch, 3 + i / 5).ok());
    data += MakeBatch(
        {.value_bytes = 32, .timestamp_ms = time, .base_offset = i, .leader_epoch = 3 + i / 5});
  }
  const base::Uuid id = log.Do([&] { return base::Uuid::Random(); });
  ASSERT_TRUE(machine.Run(log->Close()).ok());
  sim::SimDisk& disk = machine.world().disk();
  const std::string at = "/data/topic-0/";

  EXPECT_EQ(disk.Content(at + "00000000000000000000.log"), data.substr(0, 700));
  // The third batch is the first after more than 150 bytes without an entry, then every second one.
  EXPECT_EQ(disk.Content(at + "00000000000000000000.index"),
            Be({{4, 2}, {4, 200}, {4, 4}, {4, 400}, {4, 6}, {4, 600}}));
  // The largest timestamp so far and its offset; nothing newer after 5000, so no entry at the end.
  EXPECT_EQ(disk.Content(at + "00000000000000000000.timeindex"),
            Be({{8, 1002}, {4, 2}, {8, 5000}, {4, 4}}));
  EXPECT_EQ(disk.Content(at + "00000000000000000007.log"), data.substr(700));
  EXPECT_EQ(disk.Content(at + "00000000000000000007.index"), "");
  EXPECT_EQ(disk.Content(at + "00000000000000000007.timeindex"), Be({{8, 1008}, {4, 1}}));
  EXPECT_EQ(disk.Content(at + "00000000000000000007.snapshot"), "snapshot 7");
  EXPECT_EQ(disk.Content(at + "00000000000000000009.snapshot"), "snapshot 9");
  EXPECT_EQ(disk.Content(at + "leader-epoch-checkpoint"), "0\n2\n3 0\n4 5\n");
  EXPECT_EQ(disk.Content(at + "partition.metadata")->substr(0, 21), "version: 0\ntopic_id: ");
  EXPECT_EQ(EncodePartitionMetadata(id), "version: 0\ntopic_id: " + id.ToString() + "\n");
  // Nothing else, and all of it durable but what recovery can do without.
  std::vector<io::DirectoryEntry> entries;
  ASSERT_EQ(disk.List("/data/topic-0", &entries), 0);
  EXPECT_EQ(entries.size(), 10u);
  for (const io::DirectoryEntry& entry : entries) {
    if (entry.name == "00000000000000000007.snapshot") continue;
    EXPECT_EQ(disk.DurableContent(at + entry.name), disk.Content(at + entry.name)) << entry.name;
  }
}

TEST(LogGoldenTest, DataDirectoryFiles) {
  const OffsetCheckpoint offsets = {{{"a", 0}, base::Offset(5)}, {{"b-c", 12}, base::Offset(0)}};
  EXPECT_EQ(EncodeOffsetCheckpoint(offsets), "0\n2\na 0 5\nb-c 12 0\n");
  EXPECT_EQ(*DecodeOffsetCheckpoint("0\n2\na 0 5\nb-c 12 0\n"), offsets);
  EXPECT_FALSE(DecodeOffsetCheckpoint("1\n0\n").ok());
  EXPECT_FALSE(DecodeOffsetCheckpoint("0\n2\na 0 5\n").ok());
  EXPECT_FALSE(DecodeOffsetCheckpoint("0\n1\na 0\n").ok());
  EXPECT_FALSE(DecodeOffsetCheckpoint("0\n1\na x 5\n").ok());

  MetaProperties properties;
  properties.cluster_id = "c-1";
  properties.node_id = 7;
  ASSERT_TRUE(base::Uuid::FromString("AAAAAAAAAAAAAAAAAAAAEQ", &properties.directory_id));
  const std::string text = properties.Encode();
  EXPECT_EQ(text, "#\ncluster.id=c-1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAEQ\nnode.id=7\nversion=1\n");
  EXPECT_EQ(MetaProperties::Decode("#x\n#y\n" + text.substr(2))->node_id, 7);
  EXPECT_FALSE(MetaProperties::Decode("version=0\n").ok());
  EXPECT_FALSE(MetaProperties::Decode("").ok());
}

TEST(LogGoldenTest, PartitionDirectoryNames) {
  PartitionDirectory parsed;
  ASSERT_TRUE(ParsePartitionDirectory("a-b-12", &parsed));
  EXPECT_EQ(parsed.topic, "a-b");
  EXPECT_EQ(parsed.partition, 12);
  for (const char* name : {"a", "-1", "a-", "a-01", "a-x", "a-1.0123-delete", "a-99999999999"}) {
    EXPECT_FALSE(ParsePartitionDirectory(name, &parsed)) << name;
  }
}

TEST(LogGoldenTest, TheCleanMarkerIsTakenOnce) {
  SimMachine machine(uint64_t{1});
  EXPECT_FALSE(*machine.Run(TakeCleanShutdown(machine.io(), "/data")));
  ASSERT_TRUE(machine.Run(MarkCleanShutdown(machine.io(), "/data")).ok());
  machine.PowerCut({sim::PowerCutPolicy::kNone, 512});
  machine.Start();
  EXPECT_TRUE(*machine.Run(TakeCleanShutdown(machine.io(), "/data")));
  machine.PowerCut({sim::PowerCutPolicy::kNone, 512});
  machine.Start();
  EXPECT_FALSE(*machine.Run(TakeCleanShutdown(machine.io(), "/data")));
}

TEST(EpochCacheTest, AnswersWhereEpochsEnd) {
  EpochCache cache;
  EXPECT_EQ(cache.EndOf(3, At(9)).epoch, -1);
  EXPECT_TRUE(cache.Assign(2, At(10)));
  EXPECT_FALSE(cache.Assign(2, At(12)));
  EXPECT_TRUE(cache.Assign(5, At(20)));
  EXPECT_EQ(cache.EndOf(5, At(99)), (EpochEntry{5, At(99)}));
  EXPECT_EQ(cache.EndOf(3, At(99)), (EpochEntry{2, At(20)}));
  EXPECT_EQ(cache.EndOf(1, At(99)), (EpochEntry{1, At(10)}));
  EXPECT_EQ(cache.EndOf(6, At(99)).epoch, -1);
  EXPECT_EQ(cache.EpochAt(At(9)), -1);
  EXPECT_EQ(cache.EpochAt(At(19)), 2);
  EXPECT_EQ(cache.EpochAt(At(20)), 5);
  EXPECT_TRUE(cache.TruncateFromStart(At(15)));
  EXPECT_EQ(cache.entries().front(), (EpochEntry{2, At(15)}));
  EXPECT_TRUE(cache.TruncateFromEnd(At(20)));
  EXPECT_EQ(cache.latest(), 2);
  EXPECT_EQ(EpochCache::Decode(cache.Encode())->entries(), cache.entries());
  for (const char* text : {"", "0\n", "1\n0\n", "0\n1\n", "0\n1\n5\n", "0\n2\n5 1\n5 2\n",
                           "0\n2\n5 9\n6 9\n", "0\n1\n-1 0\n", "0\n1\n1 x\n"}) {
    EXPECT_FALSE(EpochCache::Decode(text).ok()) << text;
  }
}

TEST(PositionCacheTest, KeepsTheLatest) {
  PositionCache cache(3);
  for (int64_t i = 0; i < 5; ++i) cache.Note(At(i), At(0), i * 10);
  EXPECT_FALSE(cache.Find(At(1), At(0)).has_value());
  EXPECT_EQ(cache.Find(At(2), At(0)), 20);
  EXPECT_EQ(cache.Find(At(4), At(0)), 40);
  EXPECT_FALSE(cache.Find(At(4), At(1)).has_value());
  cache.ForgetFrom(At(3));
  EXPECT_FALSE(cache.Find(At(3), At(0)).has_value());
  EXPECT_EQ(cache.Find(At(2), At(0)), 20);
  for (int64_t i = 5; i < 9; ++i) cache.Note(At(i), At(0), i * 10);
  EXPECT_EQ(cache.Find(At(8), At(0)), 80);
}

TEST(LogEnvironmentTest, SlowInlineWritesMoveTheCoreToTheRingForAWhile) {
  SimMachine machine(uint64_t{1});
  LogOptions options;
  LogEnvironment env(machine.io(), options, nullptr);
  const auto after = [&](base::Nanos pass_ns) {
    machine.world().RunFor(pass_ns);
    struct Ask {
      static task::Task<bool> Run(LogEnvironment* env) { co_return env->WriteInline(1000); }
    };
    return machine.Run(Ask::Run(&env));
  };
  const base::Nanos slow = options.inline_slow_ns + 100'000;
  EXPECT_TRUE(after(0));
  env.NoteInlineWrite(1000, slow);  // one alone is a coincidence
  EXPECT_TRUE(after(0));
  env.NoteInlineWrite(1000, slow);
  EXPECT_FALSE(after(0));
  EXPECT_FALSE(after(options.inline_pause_min_ns / 2));
  EXPECT_TRUE(after(options.inline_pause_min_ns));
  env.NoteInlineWrite(1000, slow);  // still: twice the time
  EXPECT_FALSE(after(options.inline_pause_min_ns + options.inline_pause_min_ns / 2));
  EXPECT_TRUE(after(options.inline_pause_min_ns));
  env.NoteInlineWrite(1000, 5'000);
  EXPECT_EQ(env.counters().inline_pauses, 2u);
  EXPECT_FALSE(env.WriteInline(options.inline_bytes_max + 1));
}

TEST(FileCacheTest, ClosesTheLeastRecentlyUsedBeyondItsBudget) {
  SimMachine machine(uint64_t{1});
  for (const char* name : {"a", "b", "c"})
    machine.world().disk().Put("/data/" + std::string(name), "x");
  FileCache cache(machine.io(), 2);
  const FileRef a = cache.Add("/data/a");
  const FileRef b = cache.Add("/data/b");
  const FileRef c = cache.Add("/data/c");
  {
    const FilePin pin_a = *machine.Run(cache.Pin(a));
    machine.Run(cache.Pin(b)).value();
    EXPECT_EQ(cache.open_count(), 2u);
    machine.Run(cache.Pin(c)).value();
    // b was idle and made way; a is pinned.
    EXPECT_TRUE(cache.TryPin(a));
    EXPECT_FALSE(cache.TryPin(b));
    const FilePin pin_b = *machine.Run(cache.Pin(b));
    const FilePin pin_c = *machine.Run(cache.Pin(c));
    EXPECT_EQ(cache.open_count(), 3u);
    EXPECT_EQ(cache.counters().over_budget, 1u);
  }
  // With the next file that is opened, the cache is back within its budget.
  const FileRef d = cache.Add("/data/d");
  machine.Run(cache.Pin(d, /*create=*/true)).value();
  EXPECT_EQ(cache.open_count(), 2u);
  EXPECT_TRUE(cache.TryPin(d));
  EXPECT_TRUE(absl::IsNotFound(machine.Run(cache.Pin(cache.Add("/data/none"))).status()));
}

}  // namespace
}  // namespace ringtail::log
