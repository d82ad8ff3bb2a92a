// Streams, listeners and pipes of the simulated network behave as Linux's do.
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>

#include <set>

#include "gtest/gtest.h"
#include "tests/sim/node.h"
#include "tests/sim/seeds.h"

namespace ringtail::sim {
namespace {

using io::Op;
using io::OpCode;

// A server and a client, each a process, and one connection between them.
class Pair {
 public:
  explicit Pair(uint64_t seed, NetworkOptions network = {})
      : world(Options(seed, network)),
        server(world, world.NewProcess("server", nullptr, "10.0.0.1"),
               {.provided_count = 2, .provided_bytes = 100}),
        client(world, world.NewProcess("client", &world.AddDisk({}), "10.0.0.2")) {
    listener = *server.io().Listen("127.0.0.1", 0, false);
    port = *server.io().LocalPort(listener);
    a = Connect();
    b = Do(server, {.code = OpCode::kAccept, .fd = listener});
  }

  static SimOptions Options(uint64_t seed, const NetworkOptions& network) {
    SimOptions options;
    options.seed = seed;
    options.network = network;
    return options;
  }
  static task::Task<int> One(io::Backend& io, Op op) { co_return co_await io::Run(io, &op); }
  int Do(SimNode& node, Op op) { return node.Run(One(node.io(), op)); }
  int Connect(int* error = nullptr) {
    const int fd = *client.io().StreamSocket(false);
    sockaddr_storage storage = {};
    auto* address = reinterpret_cast<sockaddr_in*>(&storage);
    address->sin_family = AF_INET;
    address->sin_port = htons(port);
    inet_pton(AF_INET, "10.0.0.1", &address->sin_addr);
    const int result = Do(client, {.code = OpCode::kConnect,
                                   .fd = fd,
                                   .address = &storage,
                                   .address_length = sizeof(sockaddr_in)});
    if (error != nullptr) *error = result;
    return fd;
  }
  int Send(SimNode& node, int fd, std::string text, uint32_t flags = io::kWaitAll) {
    const iovec vector{text.data(), text.size()};
    return Do(
        node,
        {.code = OpCode::kSend, .flags = flags, .fd = fd, .vectors = &vector, .vector_count = 1});
  }
  // The text, or "-errno".
  std::string Receive(SimNode& node, int fd, size_t bytes, uint32_t flags = 0) {
    std::string text(bytes, '\0');
    const iovec vector{text.data(), text.size()};
    const int got = Do(node, {.code = OpCode::kReceive,
                              .flags = flags,
                              .fd = fd,
                              .vectors = &vector,
                              .vector_count = 1});
    if (got < 0) return std::to_string(got);
    text.resize(static_cast<size_t>(got));
    return text;
  }
  // Submits, and leaves the operation in flight.
  Op* Leave(SimNode& node, Op op) {
    left.push_back(std::make_unique<Op>(op));
    Op* kept = left.back().get();
    kept->result = 1;
    kept->on_complete = [](Op*) {};
    node.io().Submit(kept);
    world.RunFor(100 * base::kNanosPerMilli);
    return kept;
  }

  std::vector<std::unique_ptr<Op>> left;
  SimWorld world;
  SimNode server;
  SimNode client;
  int listener = -1;
  uint16_t port = 0;
  int a = -1;  // the client's end
  int b = -1;  // the server's
};

std::string Error(int error) { return std::to_string(-error); }

TEST(NetworkTest, BytesArriveInOrderInAnySegments) {
  std::set<size_t> first_sizes;
  ForSeeds(50, [&](uint64_t seed) {
    Pair net(seed);
    EXPECT_EQ(net.Send(net.client, net.a, "0123456789"), 10);
    std::string all = net.Receive(net.server, net.b, 100);
    first_sizes.insert(all.size());
    while (all.size() < 10) all += net.Receive(net.server, net.b, 3);
    EXPECT_EQ(all, "0123456789");
  });
  EXPECT_GT(first_sizes.size(), 4u);
}

TEST(NetworkTest, WaitAllWaitsForAllOrTheEnd) {
  Pair net(1, {.segment_bytes_max = 3});
  net.Send(net.client, net.a, "0123456789abc");
  EXPECT_EQ(net.Receive(net.server, net.b, 10, io::kWaitAll), "0123456789");
  net.client.io().ShutdownSocket(net.a);
  EXPECT_EQ(net.Receive(net.server, net.b, 10, io::kWaitAll), "abc");
  EXPECT_EQ(net.Receive(net.server, net.b, 10, io::kWaitAll), "");
}

TEST(NetworkTest, FullBuffersMakeSendsShortAndSendNowaitRefuse) {
  Pair net(1, {.send_buffer_bytes = 1000, .receive_buffer_bytes = 500});
  EXPECT_EQ(net.Send(net.client, net.a, std::string(5000, 'x'), 0), 1000);
  net.world.RunFor(base::kNanosPerSecond);
  EXPECT_EQ(net.client.io().UnacknowledgedBytes(net.a), 500);
  char text[700] = {};
  const iovec vector{text, sizeof(text)};
  EXPECT_EQ(net.client.io().SendNowait(net.a, &vector, 1, false), 500);
  EXPECT_EQ(net.client.io().SendNowait(net.a, &vector, 1, false), -EAGAIN);
  EXPECT_EQ(net.Receive(net.server, net.b, 1500, io::kWaitAll).size(), 1500u);
  EXPECT_EQ(net.client.io().UnacknowledgedBytes(net.a), 0);
}

TEST(NetworkTest, CloseGivesTheRestThenTheEndThenResets) {
  Pair net(2);
  net.Send(net.client, net.a, "bye");
  net.client.io().CloseInline(net.a);
  EXPECT_EQ(net.Receive(net.server, net.b, 3, io::kWaitAll), "bye");
  EXPECT_EQ(net.Receive(net.server, net.b, 3), "");
  EXPECT_EQ(net.Send(net.server, net.b, "x", 0), 1);  // the peer's RST is on its way
  net.world.RunFor(base::kNanosPerSecond);
  EXPECT_EQ(net.Send(net.server, net.b, "x", 0), -EPIPE);
}

TEST(NetworkTest, CloseWithUnreadBytesResets) {
  Pair net(2);
  net.Send(net.client, net.a, "unread");
  net.world.RunFor(base::kNanosPerSecond);
  net.server.io().CloseInline(net.b);
  EXPECT_EQ(net.Receive(net.client, net.a, 1), Error(ECONNRESET));
  EXPECT_EQ(net.Receive(net.client, net.a, 1), "");
  EXPECT_EQ(net.world.network().connection_count(), 1u);
}

TEST(NetworkTest, ShutdownEndsWhatWaits) {
  Pair net(3);
  char byte;
  const iovec vector{&byte, 1};
  Op* receive = net.Leave(
      net.server, {.code = OpCode::kReceive, .fd = net.b, .vectors = &vector, .vector_count = 1});
  Op* accept = net.Leave(net.server, {.code = OpCode::kAccept, .fd = net.listener});
  EXPECT_EQ(receive->result, 1);
  net.server.io().ShutdownSocket(net.b);
  net.server.io().ShutdownSocket(net.listener);
  net.world.RunFor(base::kNanosPerSecond);
  EXPECT_EQ(receive->result, 0);
  EXPECT_EQ(accept->result, -EINVAL);
  EXPECT_EQ(net.server.io().in_flight(), 0u);
  EXPECT_EQ(net.Send(net.server, net.b, "x"), -EPIPE);
  EXPECT_EQ(net.Receive(net.client, net.a, 1), "");
  int error = 0;
  net.Connect(&error);
  EXPECT_EQ(error, -ECONNREFUSED);
}

TEST(NetworkTest, CancelEndsAReceive) {
  Pair net(3);
  Op* receive = net.Leave(net.server, {.code = OpCode::kReceiveProvided, .fd = net.b});
  net.server.io().Cancel(receive);
  net.world.RunFor(base::kNanosPerSecond);
  EXPECT_EQ(receive->result, -ECANCELED);
  net.server.io().CloseInline(net.b);
}

TEST(NetworkTest, ProvidedBuffersRunOut) {
  Pair net(4, {.segment_bytes_max = 5});
  net.Send(net.client, net.a, "0123456789abcdefghij");
  Op ops[3];
  std::string all;
  for (Op& op : ops) {
    op.code = OpCode::kReceiveProvided;
    op.fd = net.b;
    op.on_complete = [](Op*) {};
    net.world.RunFor(base::kNanosPerSecond / 100000);
    net.server.io().Submit(&op);
    net.world.RunFor(base::kNanosPerSecond);
    if (&op == ops) net.Send(net.client, net.a, std::string(300, 'x'));
  }
  EXPECT_GT(ops[0].result, 0);
  EXPECT_GT(ops[1].result, 0);
  EXPECT_EQ(ops[2].result, -ENOBUFS);
  EXPECT_EQ(ops[0].provided.data[0], '0');
  EXPECT_EQ(net.server.io().provided_lent(), 2u);
  net.server.io().ReleaseProvided(ops[0].provided);
  net.server.io().ReleaseProvided(ops[1].provided);
  EXPECT_EQ(net.server.io().provided_lent(), 0u);
}

TEST(NetworkTest, ResetReachesBothEnds) {
  Pair net(5);
  EXPECT_EQ(net.world.network().Reset(net.server.io().process().id()), 1);
  EXPECT_EQ(net.Receive(net.client, net.a, 1), Error(ECONNRESET));
  EXPECT_EQ(net.Send(net.server, net.b, "x"), -ECONNRESET);
  EXPECT_EQ(net.Send(net.server, net.b, "x"), -EPIPE);
  EXPECT_EQ(net.server.io().PeerName(net.b), "?");
}

TEST(NetworkTest, CutIsSilentUntilHealed) {
  Pair net(6);
  net.world.network().Cut(net.server.io().process().id());
  EXPECT_EQ(net.Send(net.client, net.a, "hello"), 5);
  char bytes[5];
  const iovec vector{bytes, 5};
  Op* receive = net.Leave(net.server, {.code = OpCode::kReceive,
                                       .flags = io::kWaitAll,
                                       .fd = net.b,
                                       .vectors = &vector,
                                       .vector_count = 1});
  net.world.RunFor(100 * base::kNanosPerSecond);
  EXPECT_EQ(receive->result, 1);
  net.world.network().Heal();
  net.world.RunFor(base::kNanosPerSecond);
  EXPECT_EQ(receive->result, 5);
}

TEST(NetworkTest, KilledPeerClosesItsConnections) {
  Pair net(7);
  net.Send(net.server, net.b, "last");
  net.world.Kill(net.server.io().process());
  EXPECT_EQ(net.Receive(net.client, net.a, 4, io::kWaitAll), "last");
  EXPECT_EQ(net.Receive(net.client, net.a, 4), "");
}

TEST(NetworkTest, PeerThatLostPowerIsSilentAndThenResets) {
  Pair net(7);
  net.Send(net.client, net.a, "text");
  net.world.RunFor(base::kNanosPerMilli);
  net.world.PowerCut({PowerCutPolicy::kNone}, &net.client.io().process().disk());
  EXPECT_FALSE(net.client.io().process().alive());
  EXPECT_TRUE(net.server.io().process().alive());
  EXPECT_EQ(net.Receive(net.server, net.b, 4, io::kWaitAll), "text");
  const base::Nanos before = net.world.now();
  EXPECT_EQ(net.Receive(net.server, net.b, 4), Error(ECONNRESET));
  EXPECT_GT(net.world.now() - before, base::kNanosPerMilli);
}

TEST(NetworkTest, PortsAreSharedOnlyOnRequest) {
  SimWorld world(1);
  SimNode node(world, world.NewProcess("server"));
  const int first = *node.io().Listen("0.0.0.0", 9092, true);
  EXPECT_TRUE(node.io().Listen("0.0.0.0", 9092, true).ok());
  EXPECT_FALSE(node.io().Listen("0.0.0.0", 9092, false).ok());
  EXPECT_EQ(*node.io().LocalPort(first), 9092);
  EXPECT_FALSE(node.io().Listen("localhost", 1, true).ok());
}

TEST(NetworkTest, PollTellsReadiness) {
  Pair net(8, {.send_buffer_bytes = 1000, .receive_buffer_bytes = 1000});
  EXPECT_EQ(net.Do(net.client, {.code = OpCode::kPoll, .fd = net.a, .poll_events = POLLOUT}),
            POLLOUT);
  Op* poll = net.Leave(net.server, {.code = OpCode::kPoll, .fd = net.b, .poll_events = POLLIN});
  EXPECT_EQ(poll->result, 1);
  poll->result = -1;
  net.Send(net.client, net.a, std::string(2000, 'x'));
  EXPECT_EQ(poll->result, POLLIN);
  net.world.RunFor(base::kNanosPerSecond);
  Op* room = net.Leave(net.client, {.code = OpCode::kPoll, .fd = net.a, .poll_events = POLLOUT});
  EXPECT_EQ(room->result, 1);
  EXPECT_EQ(net.Receive(net.server, net.b, 2000, io::kWaitAll).size(), 2000u);
  net.world.RunFor(base::kNanosPerSecond);
  EXPECT_EQ(room->result, POLLOUT);
}

TEST(NetworkTest, ZeroCopySendEndsWhenThePeerHasAll) {
  Pair net(9, {.send_buffer_bytes = 1000, .receive_buffer_bytes = 400});
  std::string text(1000, 'x');
  const iovec vector{text.data(), text.size()};
  Op* send = net.Leave(net.client, {.code = OpCode::kSend,
                                    .flags = io::kZeroCopy,
                                    .fd = net.a,
                                    .vectors = &vector,
                                    .vector_count = 1});
  EXPECT_EQ(send->result, 1);
  EXPECT_EQ(net.Receive(net.server, net.b, 1000, io::kWaitAll).size(), 1000u);
  net.world.RunFor(base::kNanosPerSecond);
  EXPECT_EQ(send->result, 1000);
}

TEST(NetworkTest, SpliceCarriesAFileToASocket) {
  Pair net(10);
  std::string content(20'000, 0);
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 13 / 7);
  net.world.disk().Put("/f", content);
  const int file =
      net.Do(net.server, {.code = OpCode::kOpen, .open_flags = O_RDONLY, .path = "/f"});
  const auto [reader, writer] = *net.server.io().Pipe(16'384);
  EXPECT_EQ(net.server.io().PipeCapacity(writer), 16'384);
  Op in{.code = OpCode::kSplice, .fd = file, .fd2 = writer, .position = 100, .position2 = -1};
  in.length = 20'000;
  // Four slots, the first of which starts at byte 100 of its page.
  EXPECT_EQ(net.Do(net.server, in), 16'384 - 100);
  EXPECT_EQ(net.Do(net.server, in), -EAGAIN);
  int64_t moved = 0;
  while (moved < 16'284) {
    Op out{.code = OpCode::kSplice, .fd = reader, .fd2 = net.b, .position = -1, .position2 = -1};
    out.length = 16'284 - moved;
    const int now = net.Do(net.server, out);
    ASSERT_TRUE(now > 0 || now == -EAGAIN) << now;
    if (now == -EAGAIN) net.Receive(net.client, net.a, 0);
    if (now > 0) {
      const auto count = static_cast<size_t>(now);
      EXPECT_EQ(net.Receive(net.client, net.a, count, io::kWaitAll),
                content.substr(100 + static_cast<size_t>(moved), count));
      moved += now;
    }
  }
  Op empty{.code = OpCode::kSplice, .fd = reader, .fd2 = net.b, .position = -1, .position2 = -1};
  empty.length = 1;
  EXPECT_EQ(net.Do(net.server, empty), -EAGAIN);
  net.server.io().CloseInline(writer);
  EXPECT_EQ(net.Do(net.server, empty), 0);
}

TEST(NetworkTest, SendfileTakesWhatFits) {
  Pair net(11, {.send_buffer_bytes = 1000, .receive_buffer_bytes = 1000});
  net.world.disk().Put("/f", std::string(5000, 'f'));
  const int file =
      net.Do(net.server, {.code = OpCode::kOpen, .open_flags = O_RDONLY, .path = "/f"});
  net.world.disk().MakeCold("/");
  EXPECT_EQ(net.server.io().SendfileNowait(net.b, file, 0, 5000), 1000);
  EXPECT_EQ(net.server.io().SendfileNowait(net.b, file, 1000, 4000), -EAGAIN);
  EXPECT_EQ(net.server.io().cold_touches(), 1u);
}

}  // namespace
}  // namespace ringtail::sim
