#include "server/cluster/local_catalog.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/endian.h"
#include "gtest/gtest.h"
#include "tests/sim/node.h"
#include "tests/sim/seeds.h"

namespace ringtail::server {
namespace {

using Outcome = ProposalResult::Outcome;
using proto::catalog::CatalogFile;

constexpr char kDirectory[] = "/data";
constexpr char kFile[] = "/data/catalog";

// One broker's catalog on one simulated machine, which can be stopped and started again.
class CatalogMachine {
 public:
  explicit CatalogMachine(uint64_t seed = 1) : world_(seed) { world_.disk().Put("/data/.x", ""); }

  sim::SimWorld& world() { return world_; }
  sim::SimNode& node() { return *node_; }
  LocalCatalog& operator*() { return *catalog_; }
  LocalCatalog* operator->() { return catalog_.get(); }

  absl::Status Start(int32_t broker_id = 3) {
    Stop();
    node_ = std::make_unique<sim::SimNode>(world_, world_.NewProcess("broker"));
    auto opened = node_->Run(LocalCatalog::Open(node_->io(), kDirectory, broker_id));
    if (!opened.ok()) return opened.status();
    catalog_ = *std::move(opened);
    return node_->Run(catalog_->BeginRun());
  }
  void Stop() {
    // Tasks that use the catalog go with the node.
    node_.reset();
    catalog_.reset();
  }
  ProposalResult Create(const std::string& name, uint32_t partitions = 1,
                        std::map<std::string, std::string> configs = {}) {
    return node_->Run(catalog_->CreateTopic(
        {.name = name, .partitions = partitions, .configs = std::move(configs)}));
  }
  ProposalResult Alter(AlterTopicProposal proposal) {
    std::vector<AlterTopicProposal> proposals;
    proposals.push_back(std::move(proposal));
    return node_->Run(catalog_->AlterTopics(std::move(proposals)))[0];
  }
  std::string File() { return world_.disk().Content(kFile).value_or(""); }

 private:
  sim::SimWorld world_;
  std::unique_ptr<LocalCatalog> catalog_;
  std::unique_ptr<sim::SimNode> node_;
};

CatalogFile SmallFile() {
  CatalogFile file;
  file.set_format_version(1);
  file.set_version(7);
  file.set_cluster_id(std::string(16, 'c'));
  file.set_directory_id(std::string(16, 'd'));
  file.set_broker_id(3);
  file.set_incarnation(4);
  return file;
}

TEST(CatalogFormatTest, ReadsWhatItWrites) {
  const std::string bytes = EncodeCatalogFile(SmallFile());
  EXPECT_EQ(bytes.substr(0, 8), "RTCAT001");
  EXPECT_EQ(base::LoadLe<uint32_t>(reinterpret_cast<const uint8_t*>(bytes.data()) + 12),
            bytes.size() - 16);
  const auto read = DecodeCatalogFile(bytes);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->SerializeAsString(), SmallFile().SerializeAsString());
}

TEST(CatalogFormatTest, EveryFlippedBitAndEveryCutIsSeen) {
  const std::string good = EncodeCatalogFile(SmallFile());
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    const auto read = DecodeCatalogFile(bad);
    ASSERT_TRUE(absl::IsDataLoss(read.status())) << "bit " << bit << ": " << read.status();
  }
  for (size_t size = 0; size < good.size(); ++size) {
    ASSERT_TRUE(absl::IsDataLoss(DecodeCatalogFile(good.substr(0, size)).status())) << size;
  }
  EXPECT_TRUE(absl::IsDataLoss(DecodeCatalogFile(good + "x").status()));
}

TEST(CatalogFormatTest, SaysWhatIsWrongAndWhatToDo) {
  const auto read = DecodeCatalogFile("something else that is no catalog");
  const std::string message(read.status().message());
  EXPECT_TRUE(absl::StrContains(message, "RTCAT001")) << message;
  EXPECT_TRUE(absl::StrContains(message, "restore")) << message;
  CatalogFile newer = SmallFile();
  newer.set_format_version(2);
  const auto refused = DecodeCatalogFile(EncodeCatalogFile(newer));
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
}

TEST(LocalCatalogTest, StartsAnEmptyDirectoryAndRaisesTheIncarnationEachTime) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  EXPECT_EQ(machine->image()->incarnation(), 1u);
  EXPECT_EQ(machine->image()->broker_id(), 3);
  EXPECT_FALSE(machine->image()->cluster_id().IsZero());
  const base::Uuid cluster = machine->image()->cluster_id();
  const base::Uuid directory = machine->directory_id();
  ASSERT_EQ(machine.Create("t", 2).outcome, Outcome::kApplied);
  EXPECT_EQ(machine->image()->FindByName("t")->partitions[1].leader_epoch, 1);
  ASSERT_TRUE(machine.Start().ok());
  EXPECT_EQ(machine->image()->incarnation(), 2u);
  EXPECT_EQ(machine->image()->cluster_id(), cluster);
  EXPECT_EQ(machine->directory_id(), directory);
  // One broker: its incarnation is the leader epoch of all its partitions.
  ASSERT_NE(machine->image()->FindByName("t"), nullptr);
  EXPECT_EQ(machine->image()->FindByName("t")->partitions[0].leader_epoch, 2);
}

TEST(LocalCatalogTest, RefusesAnotherBrokersDirectoryAndDamage) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start(3).ok());
  const absl::Status other = machine.Start(4);
  EXPECT_TRUE(absl::IsFailedPrecondition(other)) << other;
  EXPECT_TRUE(absl::StrContains(other.message(), "broker 3")) << other;
  std::string damaged = machine.File();
  damaged[20] = static_cast<char>(damaged[20] ^ 1);
  machine.Stop();
  machine.world().disk().Put(kFile, damaged);
  const absl::Status refused = machine.Start(3);
  EXPECT_TRUE(absl::IsDataLoss(refused)) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "checksum")) << refused;
  EXPECT_EQ(machine.File(), damaged) << "a damaged file is left as it is";
}

TEST(LocalCatalogTest, ProposalsThatContradictAreConflictsAndChangeNothing) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  ASSERT_EQ(machine.Create("t").outcome, Outcome::kApplied);
  const std::string before = machine.File();
  const auto refused = [&](const ProposalResult& result, base::Error error) {
    EXPECT_EQ(result.outcome, Outcome::kConflict);
    EXPECT_EQ(result.failure.error, error) << result.failure.message;
    EXPECT_FALSE(result.failure.message.empty());
    EXPECT_EQ(machine.File(), before);
  };
  refused(machine.Create("t"), base::Error::kTopicExists);
  refused(machine.Create("a/b"), base::Error::kInvalidTopic);
  refused(machine.Create("none", 0), base::Error::kInvalidPartitions);
  refused(machine.Create("many", 10'001), base::Error::kInvalidPartitions);
  refused(machine.Create("bad", 1, {{"segment.bytes", "1"}}), base::Error::kInvalidConfig);
  refused(machine.Create("bad", 1, {{"no.such.thing", "1"}}), base::Error::kInvalidConfig);
  refused(machine.node().Run(machine->DeleteTopic(base::Uuid::Random())),
          base::Error::kUnknownTopic);
  const ProposalResult checked =
      machine.node().Run(machine->CreateTopic({.name = "only-checked", .validate_only = true}));
  EXPECT_EQ(checked.outcome, Outcome::kApplied);
  EXPECT_EQ(machine.File(), before);
}

TEST(LocalCatalogTest, BoundsThePartitionsOfTheBroker) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(machine.Create(absl::StrCat("t", i), 10'000).outcome, Outcome::kApplied);
  }
  EXPECT_EQ(machine.Create("more").failure.error, base::Error::kInvalidPartitions);
}

TEST(LocalCatalogTest, SlotsOfSmallTopicsWalkTheCores) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  std::set<uint32_t> cores;
  for (int i = 0; i < 8; ++i) {
    const std::string name = absl::StrCat("t", i);
    ASSERT_EQ(machine.Create(name).outcome, Outcome::kApplied);
    cores.insert(machine->image()->FindByName(name)->partitions[0].slot % 8u);
  }
  EXPECT_EQ(cores.size(), 8u);
}

TEST(LocalCatalogTest, ADeletedTopicLeavesATombstoneUntilItIsForgotten) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  const base::Uuid first = machine.Create("t", 2).topic_id;
  ASSERT_EQ(machine.node().Run(machine->DeleteTopic(first)).outcome, Outcome::kApplied);
  EXPECT_EQ(machine->image()->FindByName("t"), nullptr);
  ASSERT_TRUE(machine.Start().ok());
  ASSERT_EQ(machine->file().gone_size(), 1);
  EXPECT_EQ(machine->file().gone(0).partitions(), 2u);
  const base::Uuid second = machine.Create("t").topic_id;
  EXPECT_NE(first, second);
  ASSERT_EQ(machine.node().Run(machine->ForgetTopic(first)).outcome, Outcome::kApplied);
  EXPECT_EQ(machine->file().gone_size(), 0);
  EXPECT_NE(machine->image()->FindById(second), nullptr);
}

TEST(LocalCatalogTest, ProducerIdsAreGivenOnceAcrossRestarts) {
  CatalogMachine machine;
  int64_t next = -1;
  for (int start = 0; start < 3; ++start) {
    ASSERT_TRUE(machine.Start().ok());
    int64_t first = -1;
    ASSERT_EQ(machine.node().Run(machine->TakeProducerIds(1000, &first)).outcome,
              Outcome::kApplied);
    if (next >= 0) EXPECT_GE(first, next);
    EXPECT_GT(first, 0);
    next = first + 1000;
  }
}

TEST(LocalCatalogTest, AnswersOnlyWhenEveryCoreHasTheImage) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  task::Event taken_over;
  std::vector<uint64_t> published;
  machine->set_publish([&](ImagePtr image) -> task::Task<void> {
    published.push_back(image->version());
    co_await taken_over.Wait();
  });
  EXPECT_FALSE(machine.node().TryRun(machine->CreateTopic({.name = "t"})).has_value());
  ASSERT_EQ(published.size(), 1u);
  EXPECT_EQ(published[0], machine->image()->version());
  machine.Stop();
}

TEST(LocalCatalogTest, ProposalsAtTheSameTimeAreTakenOneByOne) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  struct Race {
    int applied = 0;
    int exists = 0;
    std::set<uint64_t> versions;
  } race;
  const auto create = [](LocalCatalog* catalog, std::string name, Race* race) -> task::Task<void> {
    const ProposalResult result = co_await catalog->CreateTopic({.name = name});
    if (result.outcome == Outcome::kApplied) {
      ++race->applied;
      race->versions.insert(result.version);
    } else {
      ++race->exists;
    }
  };
  for (int i = 0; i < 12; ++i) {
    machine.node().Start("create", create(&*machine, absl::StrCat("t", i % 4), &race));
  }
  machine.world().RunUntil([&] { return race.applied + race.exists == 12; });
  EXPECT_EQ(race.applied, 4);
  EXPECT_EQ(race.exists, 8);
  EXPECT_EQ(race.versions.size(), 4u);
  EXPECT_EQ(machine->image()->topics().size(), 4u);
}

TEST(LocalCatalogTest, AFailedWriteIsUnknownAndKeepsTheOldStateInForce) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  for (const int error : {EIO, ENOSPC}) {
    machine.world().faults().Add({.kind = sim::FaultKind::kError,
                                  .error = error,
                                  .codes = {io::OpCode::kWrite},
                                  .path = "catalog"});
    const ProposalResult result = machine.Create("t");
    EXPECT_EQ(result.outcome, Outcome::kUnknown);
    EXPECT_EQ(result.failure.error,
              error == EIO ? base::Error::kStorageError : base::Error::kDiskFull);
    EXPECT_EQ(machine->image()->FindByName("t"), nullptr);
  }
  EXPECT_EQ(machine.Create("t").outcome, Outcome::kApplied) << "the next one may succeed";
}

TEST(LocalCatalogTest, WhyNothingCanBeWrittenIsSaidOnce) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  testing::internal::CaptureStderr();
  for (const int error : {ENOSPC, EIO}) {
    const int id = machine.world().faults().Add({.kind = sim::FaultKind::kError,
                                                 .error = error,
                                                 .codes = {io::OpCode::kWrite},
                                                 .path = "catalog",
                                                 .count = 1000});
    for (int i = 0; i < 50; ++i) EXPECT_EQ(machine.Create("t").outcome, Outcome::kUnknown);
    machine.world().faults().Remove(id);
  }
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 2) << said;
}

TEST(LocalCatalogTest, AFullDiskStillLetsTopicsBeDeletedAndTheBrokerStart) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  ASSERT_EQ(machine.Create("t").outcome, Outcome::kApplied);
  const base::Uuid id = machine->image()->FindByName("t")->id;
  machine.world().disk().set_capacity_bytes(kReserveBytes + 1);
  EXPECT_EQ(machine.Create("u").failure.error, base::Error::kDiskFull);
  ASSERT_TRUE(machine.world().disk().Content("/data/.reserve").has_value());
  EXPECT_EQ(machine.node().Run(machine->DeleteTopic(id)).outcome, Outcome::kApplied);
  EXPECT_FALSE(machine.world().disk().Content("/data/.reserve").has_value());
  EXPECT_TRUE(machine.Start().ok());
}

TEST(LocalCatalogTest, ATopicIsAlteredAsAWholeAndForGood) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  const base::Uuid id =
      machine.Create("t", 2, {{"retention.ms", "1000"}, {"segment.ms", "5"}}).topic_id;
  std::vector<ImagePtr> published;
  machine->set_publish([&](ImagePtr image) -> task::Task<void> {
    published.push_back(std::move(image));
    co_return;
  });
  const ProposalResult altered =
      machine.Alter({.topic_id = id,
                     .configs = {{.name = "retention.ms", .value = "2000"},
                                 {.name = "segment.ms", .op = ConfigChange::Op::kDelete}},
                     .partitions = 5});
  ASSERT_EQ(altered.outcome, Outcome::kApplied) << altered.failure.message;
  ASSERT_EQ(published.size(), 1u) << "one change, one image";
  for (const bool restarted : {false, true}) {
    if (restarted) ASSERT_TRUE(machine.Start().ok());
    const TopicImage* topic = machine->image()->FindById(id);
    EXPECT_EQ(topic->config_entries,
              (std::map<std::string, std::string>{{"retention.ms", "2000"}}));
    EXPECT_EQ(topic->config.retention_ms, 2000);
    ASSERT_EQ(topic->partitions.size(), 5u);
    std::set<uint32_t> cores;
    for (const PartitionImage& partition : topic->partitions) cores.insert(partition.slot % 5u);
    EXPECT_EQ(cores.size(), 5u) << "new partitions walk the cores, too";
    EXPECT_EQ(topic->partitions[4].leader_epoch, restarted ? 2 : 1);
  }
  // A deletion knows of the new ones.
  ASSERT_EQ(machine.node().Run(machine->DeleteTopic(id)).outcome, Outcome::kApplied);
  EXPECT_EQ(machine->file().gone(0).partitions(), 5u);
}

TEST(LocalCatalogTest, ReplacingConfigsForgetsWhatIsNotNamed) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  const base::Uuid id = machine.Create("t", 1, {{"segment.ms", "5"}}).topic_id;
  AlterTopicProposal proposal{
      .topic_id = id, .configs = {{.name = "retention.ms", .value = "7"}}, .replace_configs = true};
  ASSERT_EQ(machine.Alter(proposal).outcome, Outcome::kApplied);
  EXPECT_EQ(machine->image()->FindById(id)->config_entries.count("segment.ms"), 0u);
  const uint64_t version = machine->image()->version();
  EXPECT_EQ(machine.Alter(proposal).outcome, Outcome::kApplied);
  EXPECT_EQ(machine->image()->version(), version) << "what is so already costs no write";
}

TEST(LocalCatalogTest, AlterationsThatMakeNoSenseChangeNothing) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  const base::Uuid id = machine.Create("t", 3).topic_id;
  const std::string before = machine.File();
  const auto refused = [&](AlterTopicProposal proposal, base::Error error) {
    const ProposalResult result = machine.Alter(std::move(proposal));
    EXPECT_EQ(result.outcome, Outcome::kConflict);
    EXPECT_EQ(result.failure.error, error) << result.failure.message;
    EXPECT_FALSE(result.failure.message.empty());
    EXPECT_EQ(machine.File(), before);
  };
  using base::Error;
  refused({.topic_id = base::Uuid::Random(), .partitions = 9}, Error::kUnknownTopic);
  refused({.topic_id = id, .partitions = 3}, Error::kInvalidPartitions);
  refused({.topic_id = id, .partitions = 2}, Error::kInvalidPartitions);
  refused({.topic_id = id, .partitions = 10'001}, Error::kInvalidPartitions);
  refused({.topic_id = id, .partitions = UINT32_MAX}, Error::kInvalidPartitions);
  refused({.topic_id = id, .configs = {{.name = "no.such.thing", .value = "1"}}},
          Error::kInvalidConfig);
  refused({.topic_id = id, .configs = {{.name = "segment.bytes", .value = "1"}}, .partitions = 5},
          Error::kInvalidConfig);
  refused({.topic_id = id, .configs = {{.name = "segment.ms", .value = "9"}}, .partitions = 1},
          Error::kInvalidPartitions);
  // Each alone would do.
  refused({.topic_id = id,
           .configs = {{.name = "flush.messages", .value = "1"},
                       {.name = "ringtail.durability", .value = "page_cache"}}},
          Error::kInvalidConfig);
  const ProposalResult checked =
      machine.Alter({.topic_id = id, .partitions = 7, .validate_only = true});
  EXPECT_EQ(checked.outcome, Outcome::kApplied) << checked.failure.message;
  EXPECT_EQ(machine.File(), before);
}

// Takes letters only.
absl::Status CheckLetters(const Settings& settings) {
  for (const auto& [name, value] : settings) {
    if (value.find_first_not_of("abc") == std::string::npos) continue;
    return absl::InvalidArgumentError(absl::StrCat(name, " takes letters"));
  }
  return absl::OkStatus();
}

TEST(LocalCatalogTest, SettingsAreKeptUntilTheyAreDeleted) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  machine->set_check_settings(&CheckLetters);
  int published = 0;
  machine->set_publish([&](ImagePtr) -> task::Task<void> {
    ++published;
    co_return;
  });
  const auto alter = [&](AlterSettingsProposal proposal) {
    return machine.node().Run(machine->AlterSettings(std::move(proposal))).outcome;
  };
  EXPECT_EQ(alter({.settings = {{.name = "x", .value = "a"}, {.name = "y", .value = "b"}}}),
            Outcome::kApplied);
  EXPECT_EQ(machine->image()->settings(), (Settings{{"x", "a"}, {"y", "b"}}));
  EXPECT_EQ(published, 1) << "one change, one image";
  EXPECT_EQ(alter({.settings = {{.name = "x", .value = "a"}}}), Outcome::kApplied);
  EXPECT_EQ(published, 1) << "what is so already costs no write";
  EXPECT_EQ(alter({.settings = {{.name = "z", .value = "c"}}, .validate_only = true}),
            Outcome::kApplied);
  EXPECT_EQ(alter({.settings = {{.name = "x", .op = ConfigChange::Op::kDelete},
                                {.name = "z", .value = "c"}}}),
            Outcome::kApplied);
  ASSERT_TRUE(machine.Start().ok());
  EXPECT_EQ(machine->image()->settings(), (Settings{{"y", "b"}, {"z", "c"}}));
  machine->set_check_settings(&CheckLetters);
  EXPECT_EQ(alter({.settings = {{.name = "w", .value = "a"}}, .replace = true}), Outcome::kApplied);
  EXPECT_EQ(machine->image()->settings(), (Settings{{"w", "a"}}));
}

// A newer program may have been here.
TEST(LocalCatalogTest, SettingsThatNobodyKnowsStayAndAreInNobodysWay) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  machine->set_check_settings([](const Settings&) { return absl::OkStatus(); });
  const auto alter = [&](std::vector<ConfigChange> changes) {
    return machine.node().Run(machine->AlterSettings({.settings = std::move(changes)})).outcome;
  };
  ASSERT_EQ(alter({{.name = "warp", .value = "9"}}), Outcome::kApplied);
  machine->set_check_settings(&CheckLetters);
  EXPECT_EQ(alter({{.name = "x", .value = "a"}}), Outcome::kApplied);
  EXPECT_EQ(machine->image()->settings(), (Settings{{"warp", "9"}, {"x", "a"}}));
  EXPECT_EQ(alter({{.name = "warp", .op = ConfigChange::Op::kDelete}}), Outcome::kApplied);
  EXPECT_EQ(machine->image()->settings(), (Settings{{"x", "a"}}));
}

TEST(LocalCatalogTest, SettingsThatMakeNoSenseChangeNothing) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  const std::string before = machine.File();
  const auto refusal = [&](std::vector<ConfigChange> changes) {
    const ProposalResult result =
        machine.node().Run(machine->AlterSettings({.settings = std::move(changes)}));
    EXPECT_EQ(result.outcome, Outcome::kConflict);
    EXPECT_EQ(result.failure.error, base::Error::kInvalidConfig);
    return result.failure.message;
  };
  EXPECT_EQ(refusal({{.name = "x", .value = "a"}}), "nothing can be set here");
  machine->set_check_settings(&CheckLetters);
  EXPECT_EQ(refusal({{.name = "x", .value = "a"}, {.name = "y", .value = "1"}}), "y takes letters");
  for (const auto op : {ConfigChange::Op::kAppend, ConfigChange::Op::kSubtract}) {
    EXPECT_EQ(refusal({{.name = "x", .op = op, .value = "a"}}),
              "x is no list: it can be set or deleted");
  }
  EXPECT_EQ(machine.File(), before);
}

TEST(LocalCatalogTest, ManyAlterationsAreOneWriteAndEachIsAnsweredOnItsOwn) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  std::vector<AlterTopicProposal> proposals;
  for (int i = 0; i < 9; ++i) {
    proposals.push_back({.topic_id = machine.Create(absl::StrCat("t", i), 10'000).topic_id,
                         .configs = {{.name = "segment.ms", .value = i == 4 ? "x" : "9"}}});
  }
  const base::Uuid small = machine.Create("small").topic_id;
  proposals.push_back({.topic_id = small, .partitions = 9'000});
  proposals.push_back({.topic_id = small, .partitions = 9'500});
  proposals.push_back({.topic_id = machine.Create("other").topic_id, .partitions = 600});
  const uint64_t version = machine->image()->version();
  const auto results = machine.node().Run(machine->AlterTopics(proposals));
  EXPECT_EQ(machine->image()->version(), version + 1);
  ASSERT_EQ(results.size(), 12u);
  for (size_t i = 0; i < 11; ++i) {
    EXPECT_EQ(results[i].outcome, i == 4 ? Outcome::kConflict : Outcome::kApplied) << i;
  }
  EXPECT_EQ(results[11].failure.error, base::Error::kInvalidPartitions)
      << "those before it took the broker's last partitions";
  EXPECT_EQ(machine->image()->FindById(small)->partitions.size(), 9'500u);
}

TEST(LocalCatalogTest, AFullDiskStillTakesAShorterRetention) {
  CatalogMachine machine;
  ASSERT_TRUE(machine.Start().ok());
  const base::Uuid id = machine.Create("t").topic_id;
  machine.world().disk().set_capacity_bytes(kReserveBytes + 1);
  EXPECT_EQ(machine.Alter({.topic_id = id, .partitions = 2}).failure.error, base::Error::kDiskFull);
  EXPECT_EQ(machine.Alter({.topic_id = id, .configs = {{.name = "retention.ms", .value = "-1"}}})
                .failure.error,
            base::Error::kDiskFull);
  EXPECT_EQ(machine->image()->FindById(id)->config.retention_ms, TopicConfig().retention_ms);
  const ProposalResult shorter =
      machine.Alter({.topic_id = id, .configs = {{.name = "retention.bytes", .value = "0"}}});
  EXPECT_EQ(shorter.outcome, Outcome::kApplied) << shorter.failure.message;
}

// At every operation of a change the power goes out: the file is the old or the new one, whole, and
// what was answered as applied is there.
TEST(LocalCatalogTest, PowerCutAtEveryOperationLeavesOldOrNew) {
  sim::ForSeeds(12, [](uint64_t seed) {
    for (uint64_t skip = 0;; ++skip) {
      CatalogMachine machine(seed);
      ASSERT_TRUE(machine.Start().ok());
      ASSERT_EQ(machine.Create("first").outcome, Outcome::kApplied);
      const int rule = machine.world().faults().Add({.kind = sim::FaultKind::kPause, .skip = skip});
      const auto result = machine.node().TryRun(machine->CreateTopic({.name = "second"}));
      const bool fired = machine.world().faults().fired(rule) > 0;
      machine.world().PowerCut({sim::PowerCutPolicy::kSubset, 512});
      machine.Stop();
      machine.world().faults().Clear();
      machine.world().Resume();
      const absl::Status started = machine.Start();
      ASSERT_TRUE(started.ok()) << started << " skip " << skip << "\n" << machine.world().Report();
      EXPECT_NE(machine->image()->FindByName("first"), nullptr);
      if (result.has_value() && result->outcome == Outcome::kApplied) {
        EXPECT_NE(machine->image()->FindByName("second"), nullptr) << "was answered as applied";
      }
      EXPECT_GE(machine->image()->incarnation(), 2u);
      if (!fired) {
        EXPECT_GT(skip, 4u) << "a change takes several operations";
        break;
      }
    }
  });
}

TEST(LocalCatalogTest, PowerCutAtEveryOperationOfAnAlterationLeavesOldOrNew) {
  sim::ForSeeds(12, [](uint64_t seed) {
    for (uint64_t skip = 0;; ++skip) {
      CatalogMachine machine(seed);
      ASSERT_TRUE(machine.Start().ok());
      const base::Uuid id = machine.Create("t", 2).topic_id;
      const int rule = machine.world().faults().Add({.kind = sim::FaultKind::kPause, .skip = skip});
      std::vector<AlterTopicProposal> proposals(1);
      proposals[0] = {.topic_id = id,
                      .configs = {{.name = "ringtail.durability", .value = "page_cache"}},
                      .partitions = 4};
      const auto result = machine.node().TryRun(machine->AlterTopics(proposals));
      const bool fired = machine.world().faults().fired(rule) > 0;
      machine.world().PowerCut({sim::PowerCutPolicy::kSubset, 512});
      machine.Stop();
      machine.world().faults().Clear();
      machine.world().Resume();
      ASSERT_TRUE(machine.Start().ok()) << "skip " << skip << "\n" << machine.world().Report();
      const TopicImage* topic = machine->image()->FindById(id);
      ASSERT_NE(topic, nullptr);
      const bool altered = topic->partitions.size() == 4;
      EXPECT_EQ(topic->partitions.size(), altered ? 4u : 2u);
      EXPECT_EQ(topic->config_entries.size(), altered ? 1u : 0u) << "all of it or nothing";
      if (result.has_value() && (*result)[0].outcome == Outcome::kApplied) {
        EXPECT_TRUE(altered) << "was answered as applied";
      }
      if (!fired) {
        EXPECT_GT(skip, 4u) << "a change takes several operations";
        break;
      }
    }
  });
}

// The incarnation grows with every start that served, however the one before ended.
TEST(LocalCatalogTest, NoTwoStartsShareAnIncarnation) {
  sim::ForSeeds(20, [](uint64_t seed) {
    CatalogMachine machine(seed);
    uint64_t last = 0;
    for (int start = 0; start < 4; ++start) {
      ASSERT_TRUE(machine.Start().ok());
      ASSERT_GT(machine->image()->incarnation(), last);
      last = machine->image()->incarnation();
      machine.world().PowerCut({sim::PowerCutPolicy::kNone});
      machine.Stop();
    }
  });
}

}  // namespace
}  // namespace ringtail::server
