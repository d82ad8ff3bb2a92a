// Whole groups of cores in one thread: they talk, die, restart, and replay exactly.
#include "tests/sim/cluster.h"

#include <arpa/inet.h>
#include <fcntl.h>

#include <set>

#include "engine/io/file.h"
#include "engine/task/sync.h"
#include "gtest/gtest.h"
#include "tests/sim/node.h"
#include "tests/sim/seeds.h"

namespace ringtail::sim {
namespace {

using io::Op;
using io::OpCode;

SimBrokerOptions Cores(uint32_t count) {
  SimBrokerOptions options;
  options.cores = count;
  return options;
}

task::Task<uint32_t> WhereAmI() { co_return core::Core::Current().id().value(); }

TEST(ClusterTest, CoresCallEachOther) {
  ForSeeds(20, [](uint64_t seed) {
    SimWorld world(seed);
    SimBroker broker(world, "broker", Cores(4));
    const auto sum = broker.Get<uint32_t>(2, []() -> task::Task<uint32_t> {
      uint32_t total = 0;
      for (uint32_t i = 0; i < 4; ++i) {
        total = total * 10 + co_await core::CallOn(base::CoreId(i), [] { return WhereAmI(); });
      }
      co_return total;
    });
    EXPECT_EQ(sum, 123u);
  });
}

TEST(ClusterTest, TimersFireInOrderWithoutRealTime) {
  SimWorld world(1);
  SimBroker broker(world, "broker", Cores(2));
  std::vector<int> order;
  for (const int seconds : {3, 1, 2}) {
    broker.Start(static_cast<uint32_t>(seconds % 2), [&order, seconds]() -> task::Task<void> {
      task::Scheduler& scheduler = task::Scheduler::Current();
      co_await scheduler.SleepUntil(scheduler.now() + seconds * base::kNanosPerSecond);
      order.push_back(seconds);
    });
  }
  EXPECT_TRUE(world.RunUntil([&] { return order.size() == 3; }));
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  EXPECT_GE(world.now(), 4 * base::kNanosPerSecond);
}

TEST(ClusterTest, StepLimitEndsWhatNeverEnds) {
  SimWorld world(1);
  SimBroker broker(world, "broker", Cores(1));
  EXPECT_FALSE(broker.Run(
      0,
      []() -> task::Task<void> {
        while (true) {
          task::Scheduler& scheduler = task::Scheduler::Current();
          co_await scheduler.SleepUntil(scheduler.now() + 1000);
        }
      },
      500));
  EXPECT_NE(broker.DumpTasks().find("program"), std::string::npos);
}

TEST(ClusterTest, ABlockedProgramIsNoticed) {
  SimWorld world(1);
  SimBroker broker(world, "broker", Cores(1));
  task::Event never;
  EXPECT_FALSE(broker.Run(0, [&never]() -> task::Task<void> { co_await never.Wait(); }));
  EXPECT_LT(world.steps(), 100u);
}

TEST(ClusterTest, SharedPortSpreadsConnectionsOverCores) {
  SimWorld world(5);
  SimBroker broker(world, "broker", Cores(3));
  std::vector<int> accepted(3);
  for (uint32_t core = 0; core < 3; ++core) {
    broker.Start(core, [&accepted, core]() -> task::Task<void> {
      io::Backend& io = core::Core::Current().io();
      const int listener = *io.Listen("0.0.0.0", 9092, true);
      while (true) {
        Op accept{.code = OpCode::kAccept, .fd = listener};
        if (co_await io::Run(io, &accept) < 0) break;
        ++accepted[core];
      }
    });
  }
  world.RunFor(base::kNanosPerSecond);
  SimBroker client(world, "client", Cores(1));
  EXPECT_TRUE(client.Run(0, []() -> task::Task<void> {
    io::Backend& io = core::Core::Current().io();
    for (int i = 0; i < 60; ++i) {
      sockaddr_storage storage = {};
      auto* address = reinterpret_cast<sockaddr_in*>(&storage);
      address->sin_family = AF_INET;
      address->sin_port = htons(9092);
      address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      Op connect{.code = OpCode::kConnect, .fd = *io.StreamSocket(false)};
      connect.address = &storage;
      connect.address_length = sizeof(sockaddr_in);
      EXPECT_EQ(co_await io::Run(io, &connect), 0);
    }
  }));
  world.RunFor(base::kNanosPerSecond);
  EXPECT_EQ(accepted[0] + accepted[1] + accepted[2], 60);
  for (const int count : accepted) EXPECT_GT(count, 5);
}

// Each core appends numbered lines to a file of its own and syncs now and then; the broker is
// killed or loses power at some step and starts again. What was synced is there, in order, and with
// a kill all that was written.
struct Life {
  std::vector<int> written = std::vector<int>(2);
  std::vector<int> synced = std::vector<int>(2);
};

task::Task<void> Append(io::Backend& io, uint32_t core, Life* life) {
  const std::string path = "/log" + std::to_string(core);
  const auto fd = co_await io::OpenFile(io, path, O_RDWR | O_CREAT);
  if (!fd.ok() || !(co_await io::SyncDirectory(io, "/")).ok()) co_return;
  char line[8];
  const auto info = io.Stat(*fd);
  for (int64_t i = info->size_bytes / 8; i < 1000; ++i) {
    snprintf(line, sizeof(line), "%07d", static_cast<int>(i));
    iovec vector{line, 8};
    if (co_await io::WriteFully(io, *fd, &vector, 1, i * 8, 0) != 8) continue;
    life->written[core] = static_cast<int>(i + 1);
    if (i % 5 != 4) continue;
    if ((co_await io::SyncFile(io, *fd, path)).ok()) life->synced[core] = static_cast<int>(i + 1);
  }
}

uint64_t LiveAndDie(uint64_t seed) {
  SimWorld world(seed);
  Rng rng(seed * 31);
  for (int run = 0; run < 3; ++run) {
    Life life;
    const bool kill = rng.Chance(0.3);
    {
      SimBroker broker(world, "broker", Cores(2));
      for (uint32_t core = 0; core < 2; ++core) {
        broker.Start(core,
                     [core, &life] { return Append(core::Core::Current().io(), core, &life); });
      }
      world.RunFor(rng.Between(1, 30) * base::kNanosPerMilli);
      if (kill) {
        broker.Kill();
      } else {
        world.PowerCut({static_cast<PowerCutPolicy::Kept>(rng.Below(5)), kSectorBytes});
      }
    }
    for (uint32_t core = 0; core < 2; ++core) {
      const std::string content = world.disk().Content("/log" + std::to_string(core)).value_or("");
      const int safe = kill ? life.written[core] : life.synced[core];
      EXPECT_GE(content.size(), static_cast<size_t>(safe) * 8);
      for (int i = 0; i < safe; ++i) {
        EXPECT_EQ(std::stoi(content.substr(static_cast<size_t>(i) * 8, 7)), i);
      }
      // The rest may be torn: start again where it is whole.
      const int64_t id = world.disk().Lookup("/log" + std::to_string(core));
      if (id < 0) continue;
      world.disk().Truncate(static_cast<InodeId>(id), safe * 8, 0);
      world.disk().SyncEverything();
    }
  }
  return world.trace_hash();
}

TEST(ClusterTest, SyncedBytesSurviveLivesAndDeathsThatReplayExactly) {
  std::set<uint64_t> hashes;
  uint64_t runs = 0;
  ForSeeds(100, [&](uint64_t seed) {
    const uint64_t hash = LiveAndDie(seed);
    if (seed % 10 == 0) EXPECT_EQ(LiveAndDie(seed), hash);
    hashes.insert(hash);
    ++runs;
  });
  EXPECT_EQ(hashes.size(), runs);
}

}  // namespace
}  // namespace ringtail::sim
