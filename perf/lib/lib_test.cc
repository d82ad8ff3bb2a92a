#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "engine/base/bytes.h"
#include "engine/log/batch.h"
#include "perf/lib/clock.h"
#include "perf/lib/drain.h"
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

uint32_t Length(const char* data) {
  uint32_t length;
  std::memcpy(&length, data, sizeof(length));
  return length;
}

// Reads one request with its payload.
bool ReadRequest(int fd, proto::client::RequestHeader& request) {
  char prefix[8];
  if (!ReceiveAll(fd, prefix, sizeof(prefix))) return false;
  std::string rest(Length(prefix) + Length(prefix + 4), '\0');
  ReceiveAll(fd, rest.data(), rest.size());
  EXPECT_TRUE(request.ParseFromArray(rest.data(), static_cast<int>(Length(prefix))));
  return true;
}

// Replies with `payload_bytes` behind the header, cut in two where it hurts.
void Reply(int fd, const proto::client::ResponseHeader& reply, uint32_t payload_bytes) {
  const std::string header = reply.SerializeAsString();
  const uint32_t lengths[2] = {static_cast<uint32_t>(header.size()), payload_bytes};
  const std::string frame = std::string(reinterpret_cast<const char*>(lengths), sizeof(lengths)) +
                            header + std::string(payload_bytes, 'p');
  const size_t cut = sizeof(lengths) + header.size() / 2;
  SendAll(fd, frame.data(), cut);
  SendAll(fd, frame.data() + cut, frame.size() - cut);
}

// Answers each fetch with as many bytes as it asks for, and each produce with OK or, for partition
// 13, an error.
void ServeNative(int listener) {
  const Fd socket(accept(listener, nullptr, nullptr));
  SetNoDelay(socket.get());
  proto::client::RequestHeader request;
  while (ReadRequest(socket.get(), request)) {
    proto::client::ResponseHeader reply;
    uint32_t payload_bytes = 0;
    if (request.has_hello()) reply.mutable_hello();
    if (request.has_fetch()) {
      payload_bytes = request.fetch().max_bytes();
      reply.mutable_fetch()->add_partitions()->set_payload_bytes(payload_bytes);
    }
    if (request.has_produce()) {
      auto* produced = reply.mutable_produce()->add_partitions();
      if (request.produce().partitions(0).partition() == 13) {
        produced->mutable_error()->set_code(proto::client::Error::CORRUPT_BATCH);
      }
    }
    Reply(socket.get(), reply, payload_bytes);
  }
}

TEST(NativeTest, FetchStreamCountsPayloadOnly) {
  const Listener listener = ListenLoopback();
  const Child server = Child::Fork([&] { ServeNative(listener.fd.get()); });
  const NativeConnection connection(listener.port);
  const EncodedBatch batch = MakeBatch(16 << 10, 1024);
  DrainOptions drain;
  drain.buffer_bytes = 10'000;  // smaller than a chunk
  FetchStream stream(connection.fd(), {"id", 3, 0}, batch, 8, 32 << 10, drain);
  stream.Start(3);
  int64_t bytes = 0;
  while (bytes < 20 * (32 << 10)) {
    const int64_t step = stream.Step();
    EXPECT_LE(step, drain.buffer_bytes);
    bytes += step;
  }
}

TEST(NativeTest, ProduceWireThrowsWhatTheBrokerRefused) {
  for (const uint32_t partition : {3u, 13u}) {
    const Listener listener = ListenLoopback();
    const Child server = Child::Fork([&] { ServeNative(listener.fd.get()); });
    const NativeConnection connection(listener.port);
    ProduceWire wire({"id", partition, 0}, MakeSingleRecord(1024));
    LoadOptions options;
    options.window = 2;
    options.warmup_requests = 0;
    options.requests = 100;
    if (partition == 13) {
      EXPECT_THROW(RunLoad(connection.fd(), wire, server.pid(), options), std::runtime_error);
    } else {
      EXPECT_GT(RunLoad(connection.fd(), wire, server.pid(), options).at("requests_per_s"), 0);
    }
  }
}

}  // namespace
}  // namespace ringtail::perf
