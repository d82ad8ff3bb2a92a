// The sender on the simulated clock, network and page cache: how long it waits for a slow peer, and
// that it never touches what is not resident.
#include <arpa/inet.h>
#include <fcntl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/file.h"
#include "engine/io/sender.h"
#include "gtest/gtest.h"
#include "tests/sim/node.h"
#include "tests/sim/seeds.h"

namespace ringtail::io {
namespace {

constexpr base::Nanos kSecond = base::kNanosPerSecond;
constexpr int64_t kBufferBytes = 16 << 10;
constexpr SendPath kAllPaths[] = {SendPath::kAuto,   SendPath::kSplice,       SendPath::kSendfile,
                                  SendPath::kMapped, SendPath::kSendZeroCopy, SendPath::kCopy};

struct Slow {
  int64_t step_bytes = 1000;
  base::Nanos every_ns = kSecond;
};

// A broker with a file, a client, and a connection between them.
class SenderWorld {
 public:
  explicit SenderWorld(uint64_t seed, int64_t file_bytes, const SenderOptions& options = {},
                       int64_t buffer_bytes = kBufferBytes)
      : world(Options(seed, buffer_bytes)),
        broker(world, world.NewProcess("broker", nullptr, "10.0.0.1")),
        client(world, world.NewProcess("client", &world.AddDisk({}), "10.0.0.2")),
        sender(broker.io(), buffers, options),
        content(Content(seed, file_bytes)) {
    world.disk().Put("/f", content);
    file = *broker.Run(OpenFile(broker.io(), "/f", O_RDONLY, 0));
    listener_ = *broker.io().Listen("10.0.0.1", 0, false);
    Connect();
  }

  // One more connection; the first is there from the start.
  struct Connection {
    int socket = -1;
    int peer = -1;
    std::string received;
    std::optional<absl::Status> status;  // of the latest send
  };
  Connection& Connect() {
    connections_.push_back(std::make_unique<Connection>());
    Connection& made = *connections_.back();
    made.peer = *client.io().StreamSocket(false);
    sockaddr_storage storage = {};
    auto* address = reinterpret_cast<sockaddr_in*>(&storage);
    address->sin_family = AF_INET;
    address->sin_port = htons(*broker.io().LocalPort(listener_));
    inet_pton(AF_INET, "10.0.0.1", &address->sin_addr);
    Op connect;
    connect.code = OpCode::kConnect;
    connect.fd = made.peer;
    connect.address = &storage;
    connect.address_length = sizeof(sockaddr_in);
    EXPECT_EQ(client.Run(One(client.io(), connect)), 0);
    Op accept;
    accept.code = OpCode::kAccept;
    accept.fd = listener_;
    made.socket = broker.Run(One(broker.io(), accept));
    EXPECT_GE(made.socket, 0);
    return made;
  }
  Connection& first() { return *connections_.front(); }
  void StartRead(Connection& connection, const Slow& slow) {
    client.Start("reader", Read(this, &connection, slow));
  }
  void StartSend(Connection& connection, int64_t position, int64_t bytes, SendPath path,
                 base::Nanos allowance_ns) {
    broker.Start("sender",
                 Range(this, &connection, position, bytes, path, world.now() + allowance_ns));
  }

  // Sends the range with a deadline `allowance_ns` away and reads it as slowly as told; how long
  // the sender took.
  base::Nanos Send(int64_t position, int64_t bytes, SendPath path, base::Nanos allowance_ns,
                   const Slow& slow) {
    first().status.reset();
    first().received.clear();
    const base::Nanos started = world.now();
    StartRead(first(), slow);
    StartSend(first(), position, bytes, path, allowance_ns);
    EXPECT_TRUE(world.RunUntil([&] { return first().status.has_value(); }, 100'000'000));
    return world.now() - started;
  }
  base::Nanos SendText(std::string text, base::Nanos allowance_ns, const Slow& slow) {
    const base::Nanos started = world.now();
    StartRead(first(), slow);
    broker.Start("sender", Spans(this, std::move(text), started + allowance_ns));
    EXPECT_TRUE(world.RunUntil([&] { return first().status.has_value(); }, 100'000'000));
    return world.now() - started;
  }
  // Until the reader has had so much.
  bool WaitReceived(size_t bytes) {
    return world.RunUntil([&] { return first().received.size() >= bytes; }, 100'000'000);
  }
  const absl::Status& status() { return *first().status; }
  const std::string& received() { return first().received; }
  // Some parts of the file are in the page cache, others are not.
  void MakePartlyCold(sim::Rng& rng) {
    world.disk().MakeCold("/f");
    for (int64_t at = 0; at < static_cast<int64_t>(content.size()); at += 256 << 10) {
      if (rng.Below(2) == 0) continue;
      std::string page(static_cast<size_t>(rng.Between(1, 256 << 10)), 0);
      iovec vector = {page.data(), page.size()};
      Op read;
      read.code = OpCode::kRead;
      read.fd = file;
      read.vectors = &vector;
      read.vector_count = 1;
      read.position = at;
      EXPECT_GT(broker.Run(One(broker.io(), read)), 0);
    }
  }

  sim::SimWorld world;
  sim::SimNode broker;
  sim::SimNode client;
  BufferPool buffers{8 << 20};
  Sender sender;
  std::string content;
  int file = -1;

 private:
  static sim::SimOptions Options(uint64_t seed, int64_t buffer_bytes) {
    sim::SimOptions options;
    options.seed = seed;
    options.network.send_buffer_bytes = buffer_bytes;
    options.network.receive_buffer_bytes = buffer_bytes;
    return options;
  }
  static std::string Content(uint64_t seed, int64_t bytes) {
    sim::Rng rng(seed);
    std::string text(static_cast<size_t>(bytes), 0);
    for (char& c : text) c = static_cast<char>(rng.Below(256));
    return text;
  }
  static task::Task<int> One(Backend& io, Op op) { co_return co_await io::Run(io, &op); }
  static task::Task<void> Range(SenderWorld* self, Connection* connection, int64_t position,
                                int64_t bytes, SendPath path, base::Nanos deadline) {
    connection->status = co_await self->sender.SendFileRange(connection->socket, self->file,
                                                             position, bytes, path, deadline);
  }
  static task::Task<void> Spans(SenderWorld* self, std::string text, base::Nanos deadline) {
    iovec span = {text.data(), text.size()};
    self->first().status =
        co_await self->sender.SendSpans(self->first().socket, {&span, 1}, false, deadline);
  }
  static task::Task<void> Read(SenderWorld* self, Connection* connection, Slow slow) {
    std::string piece(static_cast<size_t>(slow.step_bytes), 0);
    iovec vector = {piece.data(), piece.size()};
    while (true) {
      Op receive;
      receive.code = OpCode::kReceive;
      receive.fd = connection->peer;
      receive.vectors = &vector;
      receive.vector_count = 1;
      const int32_t bytes = co_await io::Run(self->client.io(), &receive);
      if (bytes <= 0) co_return;
      connection->received.append(piece.data(), static_cast<size_t>(bytes));
      if (slow.every_ns > 0) {
        co_await self->client.scheduler().SleepUntil(self->client.scheduler().now() +
                                                     slow.every_ns);
      }
    }
  }

  int listener_ = -1;
  std::vector<std::unique_ptr<Connection>> connections_;
};

class SenderSimTest : public testing::TestWithParam<SendPath> {};

INSTANTIATE_TEST_SUITE_P(Sender, SenderSimTest, testing::ValuesIn(kAllPaths),
                         [](const auto& info) { return std::string(SendPathName(info.param)); });

// 8 KiB a second, with 10 s allowed: the range takes longer than that, the peer never does.
TEST_P(SenderSimTest, APeerThatGoesOnReadingIsNotGivenUp) {
  SenderWorld sends(1, 512 << 10);
  const base::Nanos took = sends.Send(0, 512 << 10, GetParam(), 10 * kSecond, {8 << 10, kSecond});
  EXPECT_TRUE(sends.status().ok()) << sends.status();
  EXPECT_GT(took, 30 * kSecond);
  EXPECT_TRUE(sends.WaitReceived(512 << 10));
  EXPECT_TRUE(sends.received() == sends.content);
}

TEST_P(SenderSimTest, APeerThatTakesNothingIsGivenUpAfterTheAllowance) {
  SenderWorld sends(2, 512 << 10);
  const base::Nanos took =
      sends.Send(0, 512 << 10, GetParam(), 10 * kSecond, {1000, 1'000 * kSecond});
  EXPECT_TRUE(absl::IsDeadlineExceeded(sends.status())) << sends.status();
  EXPECT_GE(took, 10 * kSecond);
  EXPECT_LT(took, 25 * kSecond);
}

// A little every 5 s keeps it going, but not for ever: 64 KiB at 4 KiB/s are 16 s more.
TEST_P(SenderSimTest, APeerBelowTheLeastRateIsGivenUpInTheEnd) {
  SenderWorld sends(3, 128 << 10);
  const base::Nanos took = sends.Send(0, 128 << 10, GetParam(), 10 * kSecond, {4096, 5 * kSecond});
  EXPECT_TRUE(absl::IsDeadlineExceeded(sends.status())) << sends.status();
  EXPECT_GE(took, 20 * kSecond);
  EXPECT_LE(took, 45 * kSecond);
}

TEST(SenderSim, SpansAreSentAsLongAsThePeerGoesOnReading) {
  SenderWorld sends(4, 1);
  const base::Nanos took =
      sends.SendText(std::string(512 << 10, 'x'), 10 * kSecond, {8 << 10, kSecond});
  EXPECT_TRUE(sends.status().ok()) << sends.status();
  EXPECT_GT(took, 30 * kSecond);
}

TEST(SenderSim, SpansEndWhereThePeerTakesNothing) {
  SenderWorld sends(5, 1);
  const base::Nanos took =
      sends.SendText(std::string(512 << 10, 'x'), 10 * kSecond, {1000, 1'000 * kSecond});
  EXPECT_TRUE(absl::IsDeadlineExceeded(sends.status())) << sends.status();
  EXPECT_LT(took, 25 * kSecond);
}

// Two readers of old data, and memory for one piece: who takes nothing loses it to the other, and
// still gets every byte in the end.
TEST(SenderSim, AReaderOfOldDataThatStallsLeavesItsMemoryToOthers) {
  SenderOptions options;
  options.cold = {.piece_bytes = 64 << 10, .memory_bytes = 64 << 10};
  SenderWorld sends(6, 1 << 20, options);
  sends.world.disk().MakeCold("/f");
  SenderWorld::Connection& stalled = sends.Connect();
  SenderWorld::Connection& quick = sends.Connect();
  sends.StartSend(stalled, 0, 256 << 10, SendPath::kAuto, 1'000 * kSecond);
  sends.world.RunFor(kSecond);  // its piece is read, and fills its socket
  ASSERT_FALSE(stalled.status.has_value());
  EXPECT_EQ(sends.sender.counters().cold.drops, 0u) << "nobody else wants it";
  sends.StartRead(quick, {64 << 10, 0});
  const base::Nanos started = sends.world.now();
  sends.StartSend(quick, 500'000, 400'000, SendPath::kAuto, 1'000 * kSecond);
  ASSERT_TRUE(sends.world.RunUntil([&] { return quick.status.has_value(); }, 100'000'000));
  EXPECT_TRUE(quick.status->ok()) << *quick.status;
  EXPECT_LT(sends.world.now() - started, kSecond);
  EXPECT_EQ(sends.sender.counters().cold.drops, 1u);

  sends.StartRead(stalled, {64 << 10, 0});
  ASSERT_TRUE(sends.world.RunUntil([&] { return stalled.status.has_value(); }, 100'000'000));
  EXPECT_TRUE(stalled.status->ok()) << *stalled.status;
  sends.world.RunFor(kSecond);
  EXPECT_TRUE(quick.received == sends.content.substr(500'000, 400'000));
  EXPECT_TRUE(stalled.received == sends.content.substr(0, 256 << 10));
  EXPECT_EQ(sends.sender.cold_bytes_held(), 0u);
}

// While a piece is sent the next one is read, and an error of either ends both.
TEST(SenderSim, OldDataIsReadAheadOfASlowPeer) {
  SenderOptions options;
  options.cold = {.piece_bytes = 64 << 10};
  SenderWorld sends(7, 1 << 20, options);
  sends.world.disk().MakeCold("/f");
  sends.Send(0, 1 << 20, SendPath::kAuto, 1'000 * kSecond, {8 << 10, 10 * base::kNanosPerMilli});
  EXPECT_TRUE(sends.status().ok()) << sends.status();
  EXPECT_EQ(sends.sender.counters().cold.reads, 16u);
  EXPECT_EQ(sends.sender.counters().cold.ahead, 15u);
  sends.WaitReceived(1 << 20);
  EXPECT_TRUE(sends.received() == sends.content);

  sends.world.faults().Add(
      {.kind = sim::FaultKind::kError, .codes = {OpCode::kRead}, .path = "/f", .skip = 3});
  sends.Send(0, 1 << 20, SendPath::kAuto, 1'000 * kSecond, {8 << 10, 10 * base::kNanosPerMilli});
  EXPECT_TRUE(absl::IsDataLoss(sends.status())) << sends.status();
  EXPECT_EQ(sends.sender.cold_bytes_held(), 0u);

  const int held = sends.world.faults().Add({.kind = sim::FaultKind::kHang,
                                             .codes = {OpCode::kRead},
                                             .path = "/f",
                                             .skip = 1,
                                             .count = sim::Faults::kAlways});
  SenderWorld::Connection& gone = sends.Connect();
  sends.StartSend(gone, 0, 1 << 20, SendPath::kAuto, 1'000 * kSecond);
  sends.world.RunFor(kSecond);
  sends.client.io().ShutdownSocket(gone.peer);
  sends.client.io().CloseInline(gone.peer);
  sends.world.RunFor(kSecond);
  EXPECT_FALSE(gone.status.has_value()) << "the read has its frame";
  sends.world.faults().Release(held);
  sends.world.RunFor(kSecond);
  ASSERT_TRUE(gone.status.has_value());
  EXPECT_TRUE(absl::IsUnavailable(*gone.status)) << *gone.status;
  EXPECT_EQ(sends.sender.cold_bytes_held(), 0u);
}

// Whatever part of a file is in the page cache: no path blocks its core for the rest.
TEST_P(SenderSimTest, NeverTouchesWhatIsNotResident) {
  sim::ForSeeds(20, [&](uint64_t seed) {
    SenderWorld sends(seed, 3 << 20, {}, 256 << 10);
    sim::Rng rng(seed);
    for (int round = 0; round < 3; ++round) {
      sends.MakePartlyCold(rng);
      const int64_t position = rng.Between(0, 1 << 20);
      const int64_t bytes = rng.Between(1, 2 << 20);
      sends.Send(position, bytes, GetParam(), 1'000 * kSecond, {256 << 10, 0});
      EXPECT_TRUE(sends.status().ok()) << sends.status();
    }
    EXPECT_EQ(sends.broker.io().cold_touches(), 0u);
  });
}

}  // namespace
}  // namespace ringtail::io
