#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "engine/base/bytes.h"
#include "engine/log/batch.h"
#include "perf/lib/clock.h"
#include "perf/lib/latencies.h"
#include "perf/lib/load.h"
#include "perf/lib/native.h"
#include "perf/lib/os.h"
#include "perf/lib/rounds.h"

namespace ringtail::perf {
namespace {

TEST(LatenciesTest, PercentileIsTheSmallestSampleThatCoversTheFraction) {
  Latencies latencies;
  for (int us = 1000; us >= 1; --us) latencies.Add(us * 1000);
  EXPECT_EQ(latencies.PercentileUs(0.5), 500);
  EXPECT_EQ(latencies.PercentileUs(0.99), 990);
  EXPECT_EQ(latencies.PercentileUs(0.999), 999);
  EXPECT_EQ(latencies.PercentileUs(0.9999), 1000);
  EXPECT_EQ(latencies.PercentileUs(0), 1);
}

TEST(RoundsTest, MedianOfEvenAndOddCounts) {
  EXPECT_EQ(SpreadOf({3, 1, 2}).median, 2);
  EXPECT_EQ(SpreadOf({4, 1, 2, 3}).median, 2.5);
  EXPECT_EQ(SpreadOf({4, 1, 2, 3}).max, 4);
}

TEST(RoundsTest, ContendersTakeTurnsInReversedOrderAndWarmupsAreDropped) {
  std::string order;
  double value = 0;
  const auto contender = [&](const char* name) {
    return Contender{name, [&order, &value, name] {
                       order += name;
                       return Figures{{"value", ++value}};
                     }};
  };
  const auto outcomes = RunInterleaved({contender("a"), contender("b")}, 2, 1);
  EXPECT_EQ(order, "abbaab");
  EXPECT_EQ(outcomes[0].rounds.at("value"), (std::vector<double>{4, 5}));
  EXPECT_EQ(outcomes[1].rounds.at("value"), (std::vector<double>{3, 6}));
  EXPECT_EQ(RatioOf(outcomes[1], outcomes[0], "value").median, 1);
}

TEST(ClockTest, ProcessClockCountsAllThreadsEndedOnesToo) {
  const int64_t before_ns = ProcessCpuNs(getpid());
  std::thread([] {
    volatile uint64_t work = 0;
    for (int i = 0; i < 10'000'000; ++i) work = work + 1;
  }).join();
  EXPECT_GT(ProcessCpuNs(getpid()), before_ns + 100'000);
}

TEST(NativeTest, BatchHasExactlyTheSizeAskedForAndIsValid) {
  for (const int64_t bytes : {16 << 10, 64 << 10, 1 << 20, 1'000'000}) {
    const EncodedBatch batch = MakeBatch(bytes, 1024);
    EXPECT_EQ(static_cast<int64_t>(batch.bytes.size()), bytes);
    EXPECT_GT(batch.records, bytes / 1100);
    const auto parsed = log::ParseBatch(base::AsBytes(batch.bytes), 64 << 20);
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(log::ValidateBatch(parsed.batch, log::BatchRules::Producer(64 << 20)),
              log::BatchError::kNone);
  }
}

// An echo of fixed replies, as the raw servers are.
void ServeFixed(int listener, size_t request_bytes, size_t reply_bytes) {
  const Fd socket(accept(listener, nullptr, nullptr));
  std::string request(request_bytes, '\0');
  const std::string reply(reply_bytes, 'a');
  while (ReceiveAll(socket.get(), request.data(), request.size())) {
    SendAll(socket.get(), reply.data(), reply.size());
  }
}

TEST(LoadTest, BothLoopsMeasureEachRequestOnce) {
  for (const double rate : {0.0, 20000.0}) {
    const Listener listener = ListenLoopback();
    const Child server = Child::Fork([&] { ServeFixed(listener.fd.get(), 100, 10); });
    const Fd socket = ConnectLoopback(listener.port);
    FixedWire wire(100, 10);
    LoadOptions options;
    options.window = 4;
    options.rate_per_s = rate;
    options.warmup_requests = 10;
    options.requests = 500;
    const Figures figures = RunLoad(socket.get(), wire, server.pid(), options);
    EXPECT_GT(figures.at("p50_us"), 0);
    EXPECT_GE(figures.at("p9999_us"), figures.at("p50_us"));
    EXPECT_GT(figures.at("cpu_us_per_request"), 0);
  }
}

}  // namespace
}  // namespace ringtail::perf
