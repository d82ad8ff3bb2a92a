#include "server/broker.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/broker_calls.h"
#include "tests/server/cluster/scripted_catalog.h"
#include "tests/server/sim_server.h"
#include "tests/sim/seeds.h"

namespace ringtail::server {
namespace {

using base::Error;
using log::MakeBatch;
using partition::PartitionId;
using Outcome = ProposalResult::Outcome;

constexpr base::Nanos kSecond = base::kNanosPerSecond;

class BrokerTest : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    options_.cores = GetParam();
    options_.listen = false;
    Restart(GetParam());
  }
  void Restart(uint32_t cores) {
    options_.cores = cores;
    server_ = std::make_unique<SimServer>(world_, options_);
    const absl::Status started = server_->Start();
    ASSERT_TRUE(started.ok()) << started;
  }
  uint32_t cores() const { return options_.cores; }
  // Any other core, or the same where there is one.
  uint32_t Other(uint32_t core) const { return (core + 1) % cores(); }

  sim::SimWorld world_{7};
  SimServerOptions options_;
  std::unique_ptr<SimServer> server_;
};

TEST_P(BrokerTest, AsksOtherCoresOnlyWhereItMust) {
  ASSERT_EQ(server_->CreateTopic("t", 5).outcome, Outcome::kApplied);
  for (int32_t index = 0; index < 5; ++index) {
    const PartitionId id = server_->IdOf("t", index);
    for (uint32_t core = 0; core < cores(); ++core) {
      Broker& broker = server_->broker(core);
      const uint64_t before = broker.counters().hops;
      const bool here = server_->CoreOf(id) == core;
      const auto produced = ProduceOne(*server_, core, id, MakeBatch({}));
      ASSERT_EQ(produced.error, Error::kNone);
      EXPECT_EQ(broker.counters().hops - before, here ? 0u : 1u);
      const Fetched fetched = FetchOne(*server_, core, id, produced.base_offset.value());
      EXPECT_EQ(fetched.error, Error::kNone);
      EXPECT_EQ(FillsOf(fetched.bytes), "v");
      EXPECT_EQ(broker.counters().hops - before, here ? 0u : 2u);
    }
    EXPECT_EQ(FetchOne(*server_, 0, id, 0).high_watermark, cores());
  }
}

// A stop of many partitions syncs them all at once: nothing of them may be missing after it, though
// the power goes out. A second stop finds nothing new, and leaves them as whole.
TEST_P(BrokerTest, ManyPartitionsAreSyncedByOnePassWhenItStops) {
  server_.reset();
  options_.syncs_at_once = true;
  Restart(cores());
  for (const std::string durability : {"journal", "page_cache"}) {
    ASSERT_EQ(server_->CreateTopic(durability, 60, {{"ringtail.durability", durability}}).outcome,
              Outcome::kApplied);
    std::vector<std::pair<PartitionId, std::string>> wanted;
    for (int32_t index = 0; index < 60; ++index) {
      wanted.emplace_back(server_->IdOf(durability, index), MakeBatch({}));
    }
    for (const auto& result : ProduceAll(*server_, 0, std::move(wanted))) {
      ASSERT_EQ(result.error, Error::kNone);
    }
  }
  for (int stop = 0; stop < 2; ++stop) {
    const int syncs =
        world_.faults().Add({.codes = {io::OpCode::kSync}, .path = ".log", .count = 0});
    ASSERT_TRUE(server_->Stop());
    EXPECT_EQ(world_.faults().matched(syncs), 0u);
    world_.disk().PowerCut({sim::PowerCutPolicy::kNone, sim::kSectorBytes});
    Restart(cores());
    for (const char* topic : {"journal", "page_cache"}) {
      for (int32_t index = 0; index < 60; ++index) {
        const Fetched fetched = FetchOne(*server_, 0, server_->IdOf(topic, index), 0);
        ASSERT_EQ(fetched.error, Error::kNone) << topic << "-" << index;
        ASSERT_EQ(FillsOf(fetched.bytes), "v") << topic << "-" << index;
      }
    }
  }
}

// More partitions are appended to at once than files may be open: they take turns, and none fails.
TEST_P(BrokerTest, AppendsToManyPartitionsShareFewDescriptors) {
  server_.reset();
  constexpr size_t kFiles = 40;
  constexpr size_t kBehind = 20;  // a core's: 16 of logs' background work, and the journal's
  constexpr int32_t kPartitions = 600;
  options_.server.log.open_files_max = kFiles;
  Restart(cores());
  ASSERT_EQ(server_->CreateTopic("t", kPartitions).outcome, Outcome::kApplied);
  const size_t before = server_->sim().process().most_open();
  const size_t at_rest = server_->sim().process().open_count();
  std::vector<std::pair<PartitionId, std::string>> wanted;
  for (int32_t index = 0; index < kPartitions; ++index) {
    wanted.emplace_back(server_->IdOf("t", index), MakeBatch({}));
  }
  for (const auto& result : ProduceAll(*server_, 0, std::move(wanted))) {
    EXPECT_EQ(result.error, Error::kNone);
  }
  // Nor do the files that each log then writes behind its appends come on top of those.
  EXPECT_LE(server_->sim().process().most_open(),
            std::max(before, at_rest + cores() * (kFiles + kBehind)));
  for (uint32_t core = 0; core < cores(); ++core) {
    const log::FileCache& files = server_->broker(core).log_environment().files();
    EXPECT_GT(files.counters().append_waits, 0u);
    EXPECT_EQ(files.counters().over_budget, 0u);
  }
}

// Below the reserve appends and creations are refused; all that makes room, and a start, go on.
TEST_P(BrokerTest, ALowDiskRefusesAppendsAndNothingElse) {
  constexpr int64_t kReserve = 24 << 20;
  server_.reset();
  options_.server.log.reserve = {.directory = "/data", .bytes = kReserve, .cores = cores()};
  Restart(cores());
  ASSERT_EQ(server_->CreateTopic("t", 4, {{"segment.bytes", "16384"}}).outcome, Outcome::kApplied);
  ASSERT_EQ(server_->CreateTopic("gone").outcome, Outcome::kApplied);
  const PartitionId id = server_->IdOf("t", 1);
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(ProduceOne(*server_, 0, id, MakeBatch({.value_bytes = 8000})).error, Error::kNone);
  }
  const io::DiskSpace space = world_.disk().Space();
  const int64_t used = space.total_bytes - space.available_bytes;
  world_.disk().set_capacity_bytes(used + kReserve - (1 << 20));
  world_.RunFor(2 * kSecond);
  for (int32_t index = 0; index < 4; ++index) {  // also on a core that has not looked by itself
    const auto refused = ProduceOne(*server_, 0, server_->IdOf("t", index), MakeBatch({}));
    EXPECT_EQ(refused.error, Error::kDiskFull);
  }
  for (uint32_t core = 0; core < cores(); ++core) {
    for (const PartitionStatus& status : server_->broker(core).LocalStatus()) {
      EXPECT_TRUE(absl::StrContains(status.refuses_appends, "--disk_reserve_bytes"));
    }
  }
  EXPECT_EQ(FetchOne(*server_, 0, id, 7).error, Error::kNone);
  const ProposalResult created = server_->CreateTopic("new");
  EXPECT_EQ(created.failure.error, Error::kDiskFull);
  EXPECT_TRUE(absl::StrContains(created.failure.message, "kept free")) << created.failure.message;
  EXPECT_EQ(server_->DeleteTopic("gone").outcome, Outcome::kApplied);

  SimServer* server = server_.get();
  const auto deleted = server_->sim().Get<Error>(0, [server, id]() -> task::Task<Error> {
    std::vector<DeleteRecordsItem> items{{.id = id, .before = base::Offset(4)}};
    co_await server->broker(0).DeleteRecords(items);
    co_return items[0].result.error;
  });
  EXPECT_EQ(deleted, Error::kNone);

  server_->Kill();
  Restart(cores());
  for (uint32_t core = 0; core < cores(); ++core) {
    for (const PartitionStatus& status : server_->broker(core).LocalStatus()) {
      EXPECT_EQ(status.offline_reason, "");
    }
  }
  EXPECT_EQ(FetchOne(*server_, 0, id, 3).error, Error::kOffsetOutOfRange);
  EXPECT_EQ(ProduceOne(*server_, 0, id, MakeBatch({})).error, Error::kDiskFull);
  world_.disk().set_capacity_bytes(used + 2 * kReserve);
  world_.RunFor(kSecond);
  const auto produced = ProduceOne(*server_, 0, id, MakeBatch({}));
  EXPECT_EQ(produced.error, Error::kNone);
  EXPECT_EQ(produced.base_offset.value(), 8);
}

TEST_P(BrokerTest, SaysWhichPartitionsItDoesNotKnow) {
  ASSERT_EQ(server_->CreateTopic("t", 2).outcome, Outcome::kApplied);
  const PartitionId good = server_->IdOf("t", 1);
  const auto results = ProduceAll(*server_, 0,
                                  {{{base::Uuid::Random(), 0}, MakeBatch({})},
                                   {{good.topic_id, 2}, MakeBatch({})},
                                   {{good.topic_id, -1}, MakeBatch({})},
                                   {good, MakeBatch({})}});
  EXPECT_EQ(results[0].error, Error::kUnknownTopicId);
  EXPECT_EQ(results[1].error, Error::kUnknownTopic);
  EXPECT_EQ(results[2].error, Error::kUnknownTopic);
  EXPECT_EQ(results[3].error, Error::kNone) << "the others' errors are not its own";
  const auto fetched = FetchAll(
      *server_, 0, {.from = {{{base::Uuid::Random(), 0}, 0}, {good, 1}}, .wait_ns = 10 * kSecond});
  EXPECT_EQ(fetched[0].error, Error::kUnknownTopicId);
  EXPECT_EQ(fetched[1].error, Error::kNone);
  EXPECT_LT(fetched[1].took_ns, kSecond) << "an error is told at once";
}

// Many requests at the same time, each to several partitions: per partition they append in the
// order of the calls.
TEST_P(BrokerTest, RequestsOfOneCoreAppendInOrder) {
  ASSERT_EQ(server_->CreateTopic("t", 4).outcome, Outcome::kApplied);
  constexpr int kRequests = 60;
  struct State {
    std::vector<std::string> batches;
    std::vector<std::vector<ProduceItem>> items{kRequests};
    int done = 0;
  };
  auto state = std::make_shared<State>();
  for (int i = 0; i < kRequests * 3; ++i) state->batches.push_back(MakeBatch({.records = 2}));
  for (int i = 0; i < kRequests; ++i) {
    const int count = 1 + i % 3;
    for (int p = 0; p < count; ++p) {
      state->items[static_cast<size_t>(i)].push_back(
          {.id = server_->IdOf("t", p),
           .batches = log::Bytes(state->batches[static_cast<size_t>(i * 3 + p)])});
    }
  }
  SimServer* server = server_.get();
  server_->sim().Start(0, [server, state]() -> task::Task<void> {
    for (int i = 0; i < kRequests; ++i) {
      task::Spawn("request",
                  [](SimServer* server, std::shared_ptr<State> state, int i) -> task::Task<void> {
                    co_await server->broker(0).Produce(partition::AckPolicy::kAll,
                                                       state->items[static_cast<size_t>(i)]);
                    ++state->done;
                  }(server, state, i));
    }
    co_return;
  });
  ASSERT_TRUE(world_.RunUntil([&] { return state->done == kRequests; })) << world_.Report();
  std::vector<int64_t> last(3, -1);
  for (const auto& items : state->items) {
    for (size_t p = 0; p < items.size(); ++p) {
      ASSERT_EQ(items[p].result.error, Error::kNone);
      ASSERT_GT(items[p].result.base_offset.value(), last[p]);
      last[p] = items[p].result.base_offset.value();
    }
  }
}

TEST_P(BrokerTest, AFetchOverManyCoresEndsWithTheFirstDataAndLeavesNoWaitBehind) {
  ASSERT_EQ(server_->CreateTopic("t", 5).outcome, Outcome::kApplied);
  for (int32_t index = 0; index < 5; ++index) {
    std::optional<std::vector<Fetched>> fetched;
    FetchCall call{.wait_ns = 60 * kSecond};
    for (int32_t p = 0; p < 5; ++p) {
      const PartitionId id = server_->IdOf("t", p);
      call.from.push_back({id, FetchOne(*server_, 0, id, 0).high_watermark});
    }
    SimServer* server = server_.get();
    server_->sim().Start(0, [server, call, &fetched]() -> task::Task<void> {
      fetched = co_await FetchTask(*server, 0, call);
    });
    world_.RunFor(kSecond);
    ASSERT_FALSE(fetched.has_value());
    const PartitionId id = server_->IdOf("t", index);
    ASSERT_EQ(ProduceOne(*server_, Other(0), id, MakeBatch({})).error, Error::kNone);
    ASSERT_TRUE(world_.RunUntil([&] { return fetched.has_value(); }));
    EXPECT_LT((*fetched)[0].took_ns, 2 * kSecond);
    for (int32_t p = 0; p < 5; ++p) {
      EXPECT_EQ(FillsOf((*fetched)[static_cast<size_t>(p)].bytes), p == index ? "v" : "");
    }
    world_.RunFor(base::kNanosPerMilli);
    EXPECT_FALSE(absl::StrContains(server_->sim().DumpTasks(), "fetch wait"))
        << server_->sim().DumpTasks();
  }
}

TEST_P(BrokerTest, AFetchWaitsForItsMinimumAndNoLongerThanItsDeadline) {
  ASSERT_EQ(server_->CreateTopic("t", 2).outcome, Outcome::kApplied);
  const std::string batch = MakeBatch({.value_bytes = 100});
  const PartitionId a = server_->IdOf("t", 0), b = server_->IdOf("t", 1);
  ASSERT_EQ(ProduceOne(*server_, 0, a, batch).error, Error::kNone);
  const FetchCall two{.from = {{a, 0}, {b, 0}},
                      .bytes_min = static_cast<int64_t>(2 * batch.size()),
                      .wait_ns = 3 * kSecond};
  auto late = FetchAll(*server_, 0, two);
  EXPECT_GE(late[0].took_ns, 3 * kSecond);
  EXPECT_LT(late[0].took_ns, 4 * kSecond);
  EXPECT_EQ(FillsOf(late[0].bytes), "v") << "at its deadline it gets what there is";
  ASSERT_EQ(ProduceOne(*server_, 0, b, batch).error, Error::kNone);
  auto enough = FetchAll(*server_, 0, two);
  EXPECT_LT(enough[0].took_ns, kSecond);
  EXPECT_EQ(FillsOf(enough[0].bytes) + FillsOf(enough[1].bytes), "vv");
}

// A client may ask for more at least than at most; what it may get is then enough.
TEST_P(BrokerTest, AMinimumAboveTheMaximumDoesNotWait) {
  ASSERT_EQ(server_->CreateTopic("t", 2).outcome, Outcome::kApplied);
  const std::string batch = MakeBatch({.value_bytes = 100});
  const PartitionId a = server_->IdOf("t", 0), b = server_->IdOf("t", 1);
  ASSERT_EQ(ProduceOne(*server_, 0, a, batch).error, Error::kNone);
  const auto fetched = FetchAll(*server_, 0,
                                {.from = {{a, 0}, {b, 0}},
                                 .bytes_min = 1 << 20,
                                 .bytes_max = static_cast<int64_t>(batch.size()),
                                 .wait_ns = 5 * kSecond});
  EXPECT_EQ(FillsOf(fetched[0].bytes), "v");
  EXPECT_LT(fetched[0].took_ns, kSecond);
}

// client.proto and KIP-74: the first partition with data yields a batch, even past the maximum.
TEST_P(BrokerTest, AFetchOfAtMostNothingStillGetsOneBatch) {
  ASSERT_EQ(server_->CreateTopic("t", 2).outcome, Outcome::kApplied);
  const PartitionId a = server_->IdOf("t", 0), b = server_->IdOf("t", 1);
  for (const PartitionId& id : {a, b}) {
    ASSERT_EQ(ProduceOne(*server_, 0, id, MakeBatch({})).error, Error::kNone);
    ASSERT_EQ(ProduceOne(*server_, 0, id, MakeBatch({})).error, Error::kNone);
  }
  const auto fetched =
      FetchAll(*server_, 0, {.from = {{a, 0}, {b, 0}}, .bytes_max = 0, .wait_ns = 5 * kSecond});
  EXPECT_EQ(FillsOf(fetched[0].bytes) + FillsOf(fetched[1].bytes), "v");
  EXPECT_LT(fetched[0].took_ns, kSecond);
}

TEST_P(BrokerTest, CancelEndsAWaitingFetch) {
  ASSERT_EQ(server_->CreateTopic("t", 5).outcome, Outcome::kApplied);
  partition::CancelToken cancel;
  FetchCall call{.wait_ns = 60 * kSecond, .cancel = &cancel};
  for (int32_t p = 0; p < 5; ++p) call.from.push_back({server_->IdOf("t", p), 0});
  std::optional<std::vector<Fetched>> fetched;
  SimServer* server = server_.get();
  server_->sim().Start(0, [server, call, &fetched]() -> task::Task<void> {
    fetched = co_await FetchTask(*server, 0, call);
  });
  world_.RunFor(kSecond);
  ASSERT_FALSE(fetched.has_value());
  server_->sim().Start(0, [&cancel]() -> task::Task<void> {
    cancel.Cancel();
    co_return;
  });
  ASSERT_TRUE(world_.RunUntil([&] { return fetched.has_value(); }));
  EXPECT_LT((*fetched)[0].took_ns, 2 * kSecond);
  // One that is cancelled before it starts does not wait at all.
  EXPECT_LT(FetchAll(*server_, 0, call)[0].took_ns, kSecond);
}

TEST_P(BrokerTest, DeletingATopicEndsItsWaitsAndItsFiles) {
  ASSERT_EQ(server_->CreateTopic("t", 3).outcome, Outcome::kApplied);
  FetchCall call{.wait_ns = 60 * kSecond};
  for (int32_t p = 0; p < 3; ++p) call.from.push_back({server_->IdOf("t", p), 0});
  std::optional<std::vector<Fetched>> fetched;
  SimServer* server = server_.get();
  server_->sim().Start(0, [server, call, &fetched]() -> task::Task<void> {
    fetched = co_await FetchTask(*server, 0, call);
  });
  world_.RunFor(kSecond);
  ASSERT_EQ(server_->DeleteTopic("t").outcome, Outcome::kApplied);
  ASSERT_TRUE(world_.RunUntil([&] { return fetched.has_value(); }));
  EXPECT_NE((*fetched)[0].error, Error::kNone);
  EXPECT_EQ(world_.disk().Lookup("/data/t-0"), -ENOENT);
  EXPECT_EQ(ProduceOne(*server_, 0, call.from[0].first, MakeBatch({})).error,
            Error::kUnknownTopicId);
  EXPECT_EQ(server_->catalog().file().gone_size(), 0);
}

TEST_P(BrokerTest, ATopicMadeAnewIsEmpty) {
  ASSERT_EQ(server_->CreateTopic("t", 2).outcome, Outcome::kApplied);
  const PartitionId before = server_->IdOf("t");
  ASSERT_EQ(ProduceOne(*server_, 0, before, MakeBatch({})).error, Error::kNone);
  ASSERT_EQ(server_->DeleteTopic("t").outcome, Outcome::kApplied);
  ASSERT_EQ(server_->CreateTopic("t", 2).outcome, Outcome::kApplied);
  const PartitionId after = server_->IdOf("t");
  EXPECT_NE(before.topic_id, after.topic_id);
  EXPECT_EQ(FetchOne(*server_, 0, after, 0).high_watermark, 0);
  EXPECT_EQ(ProduceOne(*server_, 0, after, MakeBatch({})).base_offset.value(), 0);
}

// The directories of a partition that could not be opened belong to its topic all the same.
TEST_P(BrokerTest, DeletingATopicRemovesAPartitionThatIsOffline) {
  ASSERT_EQ(server_->CreateTopic("t", 2).outcome, Outcome::kApplied);
  ASSERT_EQ(ProduceOne(*server_, 0, server_->IdOf("t"), MakeBatch({})).error, Error::kNone);
  ASSERT_TRUE(server_->Stop());
  world_.faults().Add({.kind = sim::FaultKind::kError,
                       .codes = {io::OpCode::kRead, io::OpCode::kOpen},
                       .path = "/t-0/",
                       .count = sim::Faults::kAlways});
  Restart(cores());
  world_.faults().Clear();
  ASSERT_EQ(FetchOne(*server_, 0, server_->IdOf("t"), 0).error, Error::kStorageError)
      << "this test needs a partition that is offline";
  ASSERT_EQ(server_->DeleteTopic("t").outcome, Outcome::kApplied);
  EXPECT_EQ(world_.disk().Lookup("/data/t-0"), -ENOENT);
  ASSERT_EQ(server_->CreateTopic("t", 2).outcome, Outcome::kApplied);
  EXPECT_EQ(FetchOne(*server_, 0, server_->IdOf("t"), 0).high_watermark, 0);
}

// What is left of a deleted topic because its files could not be removed never shows up in a topic
// that is made anew under its name.
TEST_P(BrokerTest, LeftoversOfADeletedTopicNeverComeBack) {
  ASSERT_EQ(server_->CreateTopic("t", 2).outcome, Outcome::kApplied);
  ASSERT_EQ(ProduceOne(*server_, 0, server_->IdOf("t"), MakeBatch({})).error, Error::kNone);
  world_.faults().Add(
      {.kind = sim::FaultKind::kError,
       .codes = {io::OpCode::kUnlink, io::OpCode::kRemoveDirectory, io::OpCode::kRename},
       .path = "/t-0",
       .count = sim::Faults::kAlways});
  server_->DeleteTopic("t");
  world_.faults().Clear();
  ASSERT_NE(world_.disk().Lookup("/data/t-0"), -ENOENT);
  // A topic of that name would have a partition that cannot be served: it is not made.
  const ProposalResult refused = server_->CreateTopic("t", 2);
  EXPECT_EQ(refused.outcome, Outcome::kConflict);
  EXPECT_EQ(refused.failure.error, Error::kStorageError) << refused.failure.message;
  EXPECT_EQ(server_->broker(0).image()->FindByName("t"), nullptr) << "nor left half made";
  // A restart finishes the job.
  server_->Stop();
  Restart(cores());
  EXPECT_EQ(world_.disk().Lookup("/data/t-0"), -ENOENT);
  ASSERT_EQ(server_->CreateTopic("t", 2).outcome, Outcome::kApplied);
  const Fetched fetched = FetchOne(*server_, 0, server_->IdOf("t"), 0);
  EXPECT_EQ(FillsOf(fetched.bytes), "") << "records of the old topic";
}

TEST_P(BrokerTest, ATopicOfManyPartitions) {
  constexpr uint32_t kMany = 500;
  ASSERT_EQ(server_->CreateTopic("t", kMany).outcome, Outcome::kApplied);
  for (int32_t p : {0, 1, 250, 499}) {
    ASSERT_EQ(ProduceOne(*server_, 0, server_->IdOf("t", p), MakeBatch({})).error, Error::kNone);
  }
  server_->Kill();
  Restart(cores());
  size_t served = 0;
  for (uint32_t core = 0; core < cores(); ++core) {
    served += server_->broker(core).partitions().size();
  }
  EXPECT_EQ(served, kMany);
  EXPECT_EQ(FillsOf(FetchOne(*server_, 0, server_->IdOf("t", 499), 0).bytes), "v");
  ASSERT_EQ(server_->DeleteTopic("t").outcome, Outcome::kApplied);
  EXPECT_EQ(world_.disk().Lookup("/data/t-499"), -ENOENT);
}

TEST_P(BrokerTest, TopicsComeAndGoWhileOthersAreProducedTo) {
  ASSERT_EQ(server_->CreateTopic("steady", 3).outcome, Outcome::kApplied);
  struct State {
    bool stop = false;
    int running = 0;
    int64_t acknowledged = 0;
    bool failed = false;
  };
  auto state = std::make_shared<State>();
  SimServer* server = server_.get();
  for (uint32_t core = 0; core < cores(); ++core) {
    ++state->running;
    const PartitionId id = server_->IdOf("steady", static_cast<int32_t>(core % 3));
    server_->sim().Start(core, [server, core, id, state]() -> task::Task<void> {
      while (!state->stop) {
        std::string batch = MakeBatch({});
        ProduceItem item{.id = id, .batches = log::Bytes(batch)};
        co_await server->broker(core).Produce(partition::AckPolicy::kAll, {&item, 1});
        state->failed |= item.result.error != Error::kNone;
        ++state->acknowledged;
        core::Core& here = core::Core::Current();
        co_await here.scheduler().SleepUntil(here.now() + 200'000);
      }
      --state->running;
    });
  }
  for (int round = 0; round < 5; ++round) {
    ASSERT_EQ(server_->CreateTopic("passing", 4).outcome, Outcome::kApplied);
    for (int32_t p = 0; p < 4; ++p) {
      ASSERT_EQ(ProduceOne(*server_, 0, server_->IdOf("passing", p), MakeBatch({})).base_offset,
                base::Offset(0));
    }
    ASSERT_EQ(server_->DeleteTopic("passing").outcome, Outcome::kApplied);
  }
  state->stop = true;
  ASSERT_TRUE(world_.RunUntil([&] { return state->running == 0; }));
  EXPECT_FALSE(state->failed);
  int64_t total = 0;
  for (int32_t p = 0; p < 3; ++p) {
    total += FetchOne(*server_, 0, server_->IdOf("steady", p), 0).high_watermark;
  }
  EXPECT_EQ(total, state->acknowledged);
}

TEST_P(BrokerTest, AnotherNumberOfCoresServesTheSameDirectory) {
  ASSERT_EQ(server_->CreateTopic("t", 6).outcome, Outcome::kApplied);
  int64_t expected = 0;
  uint32_t next = cores();
  for (int round = 0; round < 6; ++round) {
    for (int32_t p = 0; p < 6; ++p) {
      const auto produced = ProduceOne(*server_, 0, server_->IdOf("t", p),
                                       MakeBatch({.fill = static_cast<char>('a' + round)}));
      ASSERT_EQ(produced.error, Error::kNone);
      ASSERT_EQ(produced.base_offset.value(), expected);
    }
    ++expected;
    if (round % 2 == 0) {
      ASSERT_TRUE(server_->Stop()) << "round " << round;
    } else {
      server_->Kill();
    }
    next = next % 5 + 1;
    Restart(next);
    for (int32_t p = 0; p < 6; ++p) {
      const Fetched fetched = FetchOne(*server_, 0, server_->IdOf("t", p), 0);
      ASSERT_EQ(FillsOf(fetched.bytes), std::string("abcdef").substr(0, expected));
    }
  }
}

TEST_P(BrokerTest, AnswersOfTheCatalogInAnyOrderAndOfEveryKind) {
  ScriptedCatalog scripted(server_->catalog().image());
  server_->group().catalog = &scripted;
  std::map<std::string, ProposalResult> answers;
  SimServer* server = server_.get();
  for (const char* name : {"a", "b", "c"}) {
    server_->sim().Start(cores() - 1, [server, name, &answers]() -> task::Task<void> {
      answers[name] =
          co_await server->broker(server->sim().core_count() - 1).CreateTopic({.name = name});
    });
  }
  ASSERT_TRUE(world_.RunUntil([&] { return scripted.pending().size() == 3; }));
  const auto answer = [&](const std::string& what, ProposalResult result) {
    server_->sim().Run(0, [&]() -> task::Task<void> {
      for (size_t i = 0; i < scripted.pending().size(); ++i) {
        if (scripted.pending()[i]->what != what) continue;
        scripted.Answer(i, result);
        break;
      }
      co_return;
    });
  };
  answer("create c", {.outcome = Outcome::kUnknown, .failure = {Error::kStorageError, "lost"}});
  ASSERT_TRUE(world_.RunUntil([&] { return answers.size() == 1; }));
  EXPECT_EQ(answers["c"].outcome, Outcome::kUnknown);
  answer("create a", {.outcome = Outcome::kConflict, .failure = {Error::kTopicExists, "there"}});
  answer("create b", {.version = 9});
  ASSERT_TRUE(world_.RunUntil([&] { return answers.size() == 3; }));
  EXPECT_EQ(answers["a"].failure.error, Error::kTopicExists);
  EXPECT_EQ(answers["b"].version, 9u);

  // A delete that is not applied is not forgotten.
  for (const Outcome outcome : {Outcome::kConflict, Outcome::kUnknown}) {
    std::optional<ProposalResult> deleted;
    server_->sim().Start(0, [server, &deleted]() -> task::Task<void> {
      deleted = co_await server->broker(0).DeleteTopic(base::Uuid::Random());
    });
    ASSERT_TRUE(world_.RunUntil([&] { return scripted.pending().size() == 1; }));
    answer("delete", {.outcome = outcome, .failure = {Error::kStorageError, "no"}});
    ASSERT_TRUE(world_.RunUntil([&] { return deleted.has_value(); }));
    EXPECT_EQ(deleted->outcome, outcome);
    EXPECT_TRUE(scripted.pending().empty());
  }

  // Producer ids: those who ask while a block is on its way share it; a refusal gives none.
  std::vector<int64_t> ids;
  std::vector<Error> errors;
  const auto ask = [&] {
    server_->sim().Start(0, [server, &ids, &errors]() -> task::Task<void> {
      int64_t id = -1;
      errors.push_back(co_await server->broker(0).NewProducerId(&id));
      ids.push_back(id);
    });
  };
  ask();
  ASSERT_TRUE(world_.RunUntil([&] { return scripted.pending().size() == 1; }));
  answer("producer ids", {.outcome = Outcome::kUnknown, .failure = {Error::kStorageError, "lost"}});
  ASSERT_TRUE(world_.RunUntil([&] { return ids.size() == 1; }));
  EXPECT_EQ(errors[0], Error::kStorageError);
  ask();
  ask();
  ASSERT_TRUE(world_.RunUntil([&] { return scripted.pending().size() == 1; }));
  answer("producer ids", {});
  ASSERT_TRUE(world_.RunUntil([&] { return ids.size() == 3; }));
  EXPECT_EQ(errors[2], Error::kNone);
  EXPECT_NE(ids[1], ids[2]);
  server_->group().catalog = &server_->catalog();
}

TEST_P(BrokerTest, AfterTheCloseEverythingIsRefusedAsShuttingDown) {
  ASSERT_EQ(server_->CreateTopic("t").outcome, Outcome::kApplied);
  const PartitionId id = server_->IdOf("t");
  const uint32_t owner = server_->CoreOf(id);
  SimServer* server = server_.get();
  EXPECT_TRUE(server_->sim()
                  .Get<bool>(owner, [server, owner] { return server->broker(owner).CloseAll(); })
                  .value_or(false));
  for (uint32_t core = 0; core < cores(); ++core) {
    EXPECT_EQ(ProduceOne(*server_, core, id, MakeBatch({})).error, Error::kShuttingDown);
    EXPECT_EQ(FetchOne(*server_, core, id, 0).error, Error::kShuttingDown);
  }
}

INSTANTIATE_TEST_SUITE_P(Cores, BrokerTest, testing::Values(1, 2, 5));

}  // namespace
}  // namespace ringtail::server
