// Topics that are changed while they are used: configs, durability, partitions.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/broker.h"
#include "tests/server/broker_calls.h"
#include "tests/server/sim_server.h"
#include "tests/sim/seeds.h"

namespace ringtail::server {
namespace {

using base::Error;
using log::MakeBatch;
using partition::PartitionId;
using Outcome = ProposalResult::Outcome;

constexpr char kDurability[] = "ringtail.durability";

AlterTopicProposal Set(base::Uuid id, const std::string& name, const std::string& value) {
  return {.topic_id = id, .configs = {{.name = name, .value = value}}};
}

class AlterTopicTest : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override { Restart(GetParam()); }
  void Restart(uint32_t cores) {
    server_.reset();
    server_ =
        std::make_unique<SimServer>(world_, SimServerOptions{.cores = cores, .listen = false});
    const absl::Status started = server_->Start();
    ASSERT_TRUE(started.ok()) << started << "\n" << world_.Report();
  }
  ProposalResult Alter(AlterTopicProposal proposal) {
    auto results = server_->AlterTopics({std::move(proposal)});
    EXPECT_TRUE(results.has_value());
    return results.has_value() ? (*results)[0] : ProposalResult{.outcome = Outcome::kUnknown};
  }
  PartitionStatus StatusOf(const PartitionId& id) {
    for (const PartitionStatus& each : server_->broker(server_->CoreOf(id)).LocalStatus()) {
      if (each.id == id) return each;
    }
    return {.offline_reason = "not there"};
  }
  std::string All(const PartitionId& id) { return FillsOf(FetchOne(*server_, 0, id, 0).bytes); }

  sim::SimWorld world_{7};
  std::unique_ptr<SimServer> server_;
};

TEST_P(AlterTopicTest, ConfigsHoldOnEveryCoreWhenTheAnswerComesAndAfterAKill) {
  ASSERT_EQ(server_->CreateTopic("t", 5).outcome, Outcome::kApplied);
  ASSERT_EQ(server_->CreateTopic("other", 5).outcome, Outcome::kApplied);
  const base::Uuid id = server_->IdOf("t").topic_id;
  ASSERT_EQ(Alter(Set(id, "max.message.bytes", "200")).outcome, Outcome::kApplied);
  for (const bool restarted : {false, true}) {
    if (restarted) {
      server_->Kill();
      Restart(GetParam());
    }
    for (int32_t p = 0; p < 5; ++p) {
      const std::string large = MakeBatch({.value_bytes = 500});
      EXPECT_EQ(ProduceOne(*server_, 0, {id, p}, large).error, Error::kBatchTooLarge);
      EXPECT_EQ(ProduceOne(*server_, 0, {id, p}, MakeBatch({})).error, Error::kNone);
      EXPECT_EQ(ProduceOne(*server_, 0, server_->IdOf("other", p), large).error, Error::kNone);
    }
  }
}

TEST_P(AlterTopicTest, NewPartitionsServeOnTheirCoresAndOldOnesGoOn) {
  ASSERT_EQ(server_->CreateTopic("t", 2).outcome, Outcome::kApplied);
  const base::Uuid id = server_->IdOf("t").topic_id;
  ASSERT_EQ(ProduceOne(*server_, 0, {id, 1}, MakeBatch({.fill = 'a'})).error, Error::kNone);
  EXPECT_EQ(ProduceOne(*server_, 0, {id, 6}, MakeBatch({})).error, Error::kUnknownTopic);
  ASSERT_EQ(Alter({.topic_id = id, .partitions = 7}).outcome, Outcome::kApplied);
  for (int32_t p = 0; p < 7; ++p) {
    ASSERT_EQ(ProduceOne(*server_, 0, {id, p}, MakeBatch({.fill = 'b'})).error, Error::kNone) << p;
  }
  EXPECT_EQ(All({id, 1}), "ab");
  server_->Kill();
  Restart(GetParam() % 3 + 1);
  for (int32_t p = 0; p < 7; ++p) EXPECT_EQ(All({id, p}), p == 1 ? "ab" : "b");
  // The name is free for another topic, in all its partitions.
  ASSERT_EQ(server_->DeleteTopic("t").outcome, Outcome::kApplied);
  ASSERT_EQ(server_->CreateTopic("t", 1).outcome, Outcome::kApplied);
  ASSERT_EQ(Alter({.topic_id = server_->IdOf("t").topic_id, .partitions = 7}).outcome,
            Outcome::kApplied);
  for (int32_t p = 0; p < 7; ++p) EXPECT_EQ(All(server_->IdOf("t", p)), "");
}

TEST_P(AlterTopicTest, APartitionThatCannotBeOpenedIsToldAndTheRestServes) {
  ASSERT_EQ(server_->CreateTopic("t", 1).outcome, Outcome::kApplied);
  const base::Uuid id = server_->IdOf("t").topic_id;
  // Somebody's records, of which nothing says whose they are.
  world_.disk().Put("/data/t-2/00000000000000000000.log", "something");
  const ProposalResult result = Alter({.topic_id = id, .partitions = 4});
  EXPECT_EQ(result.outcome, Outcome::kApplied);
  EXPECT_EQ(result.failure.error, Error::kStorageError);
  EXPECT_TRUE(absl::StrContains(result.failure.message, "t-2")) << result.failure.message;
  for (int32_t p = 0; p < 4; ++p) {
    EXPECT_EQ(ProduceOne(*server_, 0, {id, p}, MakeBatch({})).error,
              p == 2 ? Error::kStorageError : Error::kNone);
  }
  // Those before have nothing to do with those that come now.
  EXPECT_TRUE(Alter({.topic_id = id, .partitions = 5}).failure.ok());
}

TEST_P(AlterTopicTest, RetentionAndSegmentSizesOfALivingTopicTakeEffectAtTheNextLook) {
  // The batches' timestamps are from long ago.
  ASSERT_EQ(server_->CreateTopic("t", 1, {{"retention.ms", "-1"}}).outcome, Outcome::kApplied);
  const PartitionId id = server_->IdOf("t");
  const uint32_t owner = server_->CoreOf(id);
  const auto produce = [&](int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(ProduceOne(*server_, 0, id, MakeBatch({.value_bytes = 4000})).error, Error::kNone);
    }
  };
  const auto look = [&] {
    server_->sim().Run(owner, [&] { return server_->broker(owner).RetainOnce(); });
  };
  produce(12);
  EXPECT_EQ(StatusOf(id).segments, 1u);
  ASSERT_EQ(Alter(Set(id.topic_id, "segment.bytes", "16384")).outcome, Outcome::kApplied);
  produce(12);
  const uint32_t segments = StatusOf(id).segments;
  EXPECT_GE(segments, 4u) << "the large one ended, and small ones follow";
  look();
  EXPECT_EQ(StatusOf(id).segments, segments);
  ASSERT_EQ(Alter(Set(id.topic_id, "retention.bytes", "20000")).outcome, Outcome::kApplied);
  look();
  const PartitionStatus after = StatusOf(id);
  EXPECT_LT(after.segments, segments);
  EXPECT_GE(after.log_bytes, 20'000);
  const int64_t start = after.log_start.value();
  EXPECT_GT(start, 0);
  EXPECT_EQ(FetchOne(*server_, 0, id, 0).error, Error::kOffsetOutOfRange);
  const Fetched late = FetchOne(*server_, 0, id, start);
  EXPECT_EQ(late.error, Error::kNone);
  EXPECT_FALSE(late.bytes.empty()) << "a late consumer finds what was promised";
  EXPECT_EQ(late.high_watermark, 24);
}

INSTANTIATE_TEST_SUITE_P(Cores, AlterTopicTest, testing::Values(1, 2, 5));

// --- The switch between the modes, cut off everywhere.

// Produces 'a's under one mode, asks for the other one while more is on its way, and produces 'c's
// once that is answered. Pauses at the nth operation of the disk, ends there by a kill or a power
// cut, and starts again.
class SwitchRun {
 public:
  SwitchRun(uint64_t seed, bool to_journal) : world_(seed), to_journal_(to_journal) {}

  // False: the script was over before the nth operation.
  bool Run(uint64_t n, std::optional<sim::PowerCutPolicy> cut) {
    Start();
    const log::Durability first =
        to_journal_ ? log::Durability::kPageCache : log::Durability::kJournal;
    RT_CHECK(server_->CreateTopic("t", 2, {{kDurability, NameOf(first)}}).failure.ok());
    const int rule = world_.faults().Add({.kind = sim::FaultKind::kPause, .skip = n});
    ended_ = false;
    server_->sim().Start(0, [this] { return Script(); });
    world_.RunUntil([&] { return ended_; });
    const bool fired = world_.faults().fired(rule) > 0;
    if (cut.has_value()) world_.PowerCut(*cut);
    server_->Kill();
    world_.faults().Clear();
    world_.Resume();
    Start();
    if (testing::Test::HasFailure()) return false;
    Check(cut.has_value());
    return fired;
  }

 private:
  static std::string NameOf(log::Durability durability) {
    return durability == log::Durability::kJournal ? "journal" : "page_cache";
  }
  void Start() {
    server_.reset();
    server_ = std::make_unique<SimServer>(world_, SimServerOptions{.cores = 2, .listen = false});
    const absl::Status started = server_->Start();
    ASSERT_TRUE(started.ok()) << started << "\n" << world_.Report();
  }
  // Notes what was sent, and how much of it was acknowledged in which phase.
  task::Task<void> Produce(int32_t p, char fill) {
    std::string batch = MakeBatch({.value_bytes = 300, .fill = fill});
    ProduceItem item{.id = server_->IdOf("t", p), .batches = log::Bytes(batch)};
    sent_[p].push_back(fill);
    co_await server_->broker(0).Produce(partition::AckPolicy::kAll, {&item, 1});
    RT_CHECK(item.result.error == Error::kNone);
    acknowledged_[p] = static_cast<size_t>(item.result.base_offset.value()) + 1;
    if (fill == 'c') durable_[p] = acknowledged_[p];
  }
  task::Task<void> ProduceInto(int32_t p, char fill, task::Latch* latch) {
    for (int i = 0; i < 3; ++i) co_await Produce(p, fill);
    latch->Done();
  }
  task::Task<void> Script() {
    for (int32_t p = 0; p < 2; ++p) {
      for (int i = 0; i < 2; ++i) co_await Produce(p, 'a');
      if (!to_journal_) durable_[p] = acknowledged_[p];
    }
    // The second partition is idle while the mode changes.
    task::Latch latch;
    latch.Add();
    task::Spawn("load", ProduceInto(0, 'b', &latch));
    std::vector<AlterTopicProposal> proposals;
    proposals.push_back(
        Set(server_->IdOf("t").topic_id, kDurability, to_journal_ ? "journal" : "page_cache"));
    const auto results = co_await server_->broker(0).AlterTopics(std::move(proposals));
    RT_CHECK(results[0].failure.ok());
    answered_ = true;
    co_await latch.Wait();
    if (to_journal_) {
      for (int32_t p = 0; p < 2; ++p) co_await Produce(p, 'c');
    } else {
      for (int32_t p = 0; p < 2; ++p) co_await Produce(p, 'd');
    }
    ended_ = true;
  }
  // A kill loses nothing that was acknowledged; a power cut nothing that was under the journal.
  void Check(bool power_cut) {
    for (int32_t p = 0; p < 2; ++p) {
      const PartitionId id = server_->IdOf("t", p);
      for (const PartitionStatus& status : server_->broker(server_->CoreOf(id)).LocalStatus()) {
        ASSERT_EQ(status.offline_reason, "") << world_.Report();
        ASSERT_EQ(status.refuses_appends, "") << world_.Report();
      }
      const std::string found = FillsOf(FetchOne(*server_, 0, id, 0).bytes);
      ASSERT_EQ(found, sent_[p].substr(0, found.size())) << "a prefix of what was sent";
      ASSERT_GE(found.size(), power_cut ? durable_[p] : acknowledged_[p])
          << "partition " << p << "\n"
          << world_.Report();
      ASSERT_EQ(ProduceOne(*server_, 0, id, MakeBatch({})).base_offset.value(),
                static_cast<int64_t>(found.size()));
    }
    const TopicImage* topic = server_->broker(0).image()->FindByName("t");
    if (answered_) ASSERT_EQ(topic->config.durability == log::Durability::kJournal, to_journal_);
  }

  sim::SimWorld world_;
  const bool to_journal_;
  std::unique_ptr<SimServer> server_;
  std::string sent_[2];
  size_t acknowledged_[2] = {0, 0};
  size_t durable_[2] = {0, 0};
  bool answered_ = false;
  bool ended_ = false;
};

void CutAtEveryOperation(bool to_journal, bool power_cut) {
  sim::ForSeeds(2, [&](uint64_t seed) {
    for (uint64_t n = 0;; ++n) {
      std::optional<sim::PowerCutPolicy> cut;
      if (power_cut) {
        cut = {
            static_cast<sim::PowerCutPolicy::Kept>((n + seed) % (sim::PowerCutPolicy::kSubset + 1)),
            (n + seed) % 2 == 0 ? sim::kSectorBytes : sim::kPageBytes};
      }
      const bool fired = SwitchRun(seed, to_journal).Run(n, cut);
      if (testing::Test::HasFailure()) {
        ADD_FAILURE() << "at operation " << n;
        return;
      }
      if (!fired) {
        EXPECT_GT(n, 30u) << "appends, the catalog and the switch take many operations";
        return;
      }
    }
  });
}

TEST(DurabilitySwitchTest, ToTheJournalKilledAtEveryOperation) {
  CutAtEveryOperation(/*to_journal=*/true, /*power_cut=*/false);
}
TEST(DurabilitySwitchTest, ToThePageCacheKilledAtEveryOperation) {
  CutAtEveryOperation(/*to_journal=*/false, /*power_cut=*/false);
}
TEST(DurabilitySwitchTest, ToTheJournalPowerCutAtEveryOperation) {
  CutAtEveryOperation(/*to_journal=*/true, /*power_cut=*/true);
}
TEST(DurabilitySwitchTest, ToThePageCachePowerCutAtEveryOperation) {
  CutAtEveryOperation(/*to_journal=*/false, /*power_cut=*/true);
}

}  // namespace
}  // namespace ringtail::server
