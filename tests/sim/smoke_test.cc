// The first things that anyone does with a simulation, through engine/io/file.h and a SimBroker.
#include <arpa/inet.h>
#include <fcntl.h>

#include "engine/core/core.h"
#include "engine/io/file.h"
#include "gtest/gtest.h"
#include "tests/sim/cluster.h"
#include "tests/sim/node.h"

namespace ringtail::sim {
namespace {

TEST(SmokeTest, FileSurvivesPowerCutOnceReplaced) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    SimWorld world(seed);
    {
      SimNode node(world, world.NewProcess("broker"));
      ASSERT_TRUE(node.Run(io::MakeDirectory(node.io(), "/data")).ok());
      ASSERT_TRUE(node.Run(io::SyncDirectory(node.io(), "/")).ok());
      ASSERT_TRUE(node.Run(io::ReplaceFile(node.io(), "/data/a", "first")).ok());
      ASSERT_TRUE(node.Run(io::ReplaceFile(node.io(), "/data/a", "second")).ok());
      node.TryRun(io::ReplaceFile(node.io(), "/data/a", "third"), 12);
      world.PowerCut({PowerCutPolicy::kSubset});
    }
    SimNode node(world, world.NewProcess("broker"));
    const auto content = node.Run(io::ReadWholeFile(node.io(), "/data/a", 100));
    ASSERT_TRUE(content.ok()) << content.status();
    EXPECT_TRUE(*content == "second" || *content == "third") << *content;
  }
}

task::Task<void> Echo(io::Backend& io, int listener) {
  io::Op accept{.code = io::OpCode::kAccept, .fd = listener};
  const int fd = co_await io::Run(io, &accept);
  std::vector<char> buffer(1000);
  while (true) {
    const iovec vector{buffer.data(), buffer.size()};
    const int got = co_await io::OpAwaiter(
        io, {.code = io::OpCode::kReceive, .fd = fd, .vectors = &vector, .vector_count = 1});
    if (got <= 0) break;
    const iovec reply{buffer.data(), static_cast<size_t>(got)};
    co_await io::OpAwaiter(io, {.code = io::OpCode::kSend,
                                .flags = io::kWaitAll,
                                .fd = fd,
                                .vectors = &reply,
                                .vector_count = 1});
  }
  io.CloseInline(fd);
}

task::Task<bool> Talk(io::Backend& io, uint16_t port) {
  const int fd = *io.StreamSocket(false);
  sockaddr_storage storage = {};
  auto* address = reinterpret_cast<sockaddr_in*>(&storage);
  address->sin_family = AF_INET;
  address->sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.1", &address->sin_addr);
  io::Op connect{.code = io::OpCode::kConnect, .fd = fd};
  connect.address = &storage;
  connect.address_length = sizeof(sockaddr_in);
  if (co_await io::Run(io, &connect) != 0) co_return false;
  std::string sent(50'000, 0), received(50'000, 0);
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 7 / 3);
  const iovec out{sent.data(), sent.size()};
  io::Op send{.code = io::OpCode::kSend,
              .flags = io::kWaitAll,
              .fd = fd,
              .vectors = &out,
              .vector_count = 1};
  const int count = co_await io::Run(io, &send);
  const iovec in{received.data(), received.size()};
  io::Op receive{.code = io::OpCode::kReceive,
                 .flags = io::kWaitAll,
                 .fd = fd,
                 .vectors = &in,
                 .vector_count = 1};
  const int got = co_await io::Run(io, &receive);
  io.CloseInline(fd);
  co_return count == 50'000 && got == 50'000 && sent == received;
}

// A broker of two cores whose second core listens on behalf of the first; a client of its own
// process.
uint64_t RunEcho(uint64_t seed) {
  SimOptions options;
  options.seed = seed;
  options.network.send_buffer_bytes = 64 << 10;
  options.network.receive_buffer_bytes = 64 << 10;
  SimWorld world(options);
  SimBrokerOptions two;
  two.cores = 2;
  SimBroker broker(world, "broker", two);
  const auto port = broker.Get<uint16_t>(0, []() -> task::Task<uint16_t> {
    co_return co_await core::CallOn(base::CoreId(1), []() -> task::Task<uint16_t> {
      io::Backend& io = core::Core::Current().io();
      const int listener = *io.Listen("0.0.0.0", 0, true);
      task::Spawn("echo", Echo(io, listener));
      co_return *io.LocalPort(listener);
    });
  });
  EXPECT_TRUE(port.has_value());
  SimNode client(world, world.NewProcess("client"));
  EXPECT_TRUE(client.Run(Talk(client.io(), port.value_or(0)))) << world.Report();
  return world.trace_hash();
}

TEST(SmokeTest, EchoAcrossProcessesReplaysExactly) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    EXPECT_EQ(RunEcho(seed), RunEcho(seed));
  }
  EXPECT_NE(RunEcho(1), RunEcho(2));
}

}  // namespace
}  // namespace ringtail::sim
