// Frame reader, connection and core server under a protocol made for this test: a frame is a length
// (u32, little-endian, of what follows) and a text whose first character says what to do with it.
#include "server/connection.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/endian.h"
#include "engine/io/uring_backend.h"
#include "gtest/gtest.h"
#include "server/core_server.h"
#include "tests/server/sim_client.h"
#include "tests/sim/cluster.h"
#include "tests/sim/seeds.h"

namespace ringtail::server {
namespace {

constexpr base::Nanos kSecond = base::kNanosPerSecond;
constexpr size_t kToyFrameMax = 64 << 20;

std::string FrameOf(const std::string& text) {
  std::string frame(4, '\0');
  base::StoreLe<uint32_t>(reinterpret_cast<uint8_t*>(frame.data()),
                          static_cast<uint32_t>(text.size()));
  return frame + text;
}

// What the test and all toy sessions share.
struct Toy {
  std::map<std::string, std::unique_ptr<task::Event>> gates;
  std::vector<std::string> handled;  // in the order in which the handlers started
  size_t running = 0;
  size_t sessions = 0;

  task::Event& gate(const std::string& name) {
    auto& gate = gates[name];
    if (gate == nullptr) gate = std::make_unique<task::Event>();
    return *gate;
  }
};

class ToySession : public Session {
 public:
  ToySession(core::Core& core, Toy& toy) : core_(core), toy_(toy) { ++toy.sessions; }
  ~ToySession() override { --toy_.sessions; }

  size_t prefix_bytes() const override { return 4; }
  absl::StatusOr<size_t> FrameBytes(base::ByteView prefix) const override {
    const size_t bytes = base::LoadLe<uint32_t>(prefix.data());
    if (bytes > kToyFrameMax) return absl::InvalidArgumentError("too long for a toy");
    return 4 + bytes;
  }
  absl::string_view client_id() const override { return "toy"; }

  // e: echo. w: echo once the gate of that text is open. b<n>: n bytes. n: no reply. c: echo,
  // close. t: as w, with a deadline of 10 ms. a: answers at once, works on until the gate is open.
  task::Task<void> Handle(Exchange* exchange) override {
    const base::ByteView body = exchange->frame.bytes().subspan(4);
    const std::string text(base::AsText(body));
    toy_.handled.push_back(text.substr(0, 20));
    ++toy_.running;
    const char what = text.empty() ? 'e' : text[0];
    if (what == 't') exchange->context.deadline = core_.now() + 10 * base::kNanosPerMilli;
    if (what == 'a') {
      Fill(FrameOf(text), &exchange->reply);
      exchange->connection->Answer(exchange);
    }
    if (what == 'w' || what == 't' || what == 'a') co_await toy_.gate(text).Wait();
    // The bytes of a request that is still being worked on are its own.
    RT_CHECK(base::AsText(exchange->frame.bytes().subspan(4)) == text);
    int64_t size = 0;
    if (what == 'b' && absl::SimpleAtoi(text.substr(1), &size)) {
      Fill(FrameOf(std::string(static_cast<size_t>(size), 'b')), &exchange->reply);
    } else if (what != 'n' && what != 'a') {
      Fill(FrameOf(text), &exchange->reply);
    }
    exchange->reply.close_after = what == 'c';
    --toy_.running;
  }
  bool FillTimedOut(Exchange* exchange, Reply* reply) override {
    const std::string text(base::AsText(exchange->frame.bytes().subspan(4)));
    if (absl::StrContains(text, "silent")) return false;
    Fill(FrameOf("timed out " + text), reply);
    return true;
  }

 private:
  void Fill(const std::string& bytes, Reply* reply) {
    reply->head = core_.buffers().Take(bytes.size());
    std::memcpy(reply->head.data(), bytes.data(), bytes.size());
    // In two pieces, as a fetch has them.
    const size_t half = bytes.size() / 2;
    reply->AddMemory(reply->head.data(), half);
    reply->AddMemory(reply->head.data() + half, bytes.size() - half);
  }

  core::Core& core_;
  Toy& toy_;
};

class ConnectionTest : public testing::Test {
 protected:
  void TearDown() override { Close(); }

  void Open(uint64_t seed = 1) {
    Close();
    sim::SimOptions sim_options;
    sim_options.seed = seed;
    sim_options.network = network_;
    world_ = std::make_unique<sim::SimWorld>(sim_options);
    sim_ = std::make_unique<sim::SimBroker>(*world_, "broker", broker_options_);
    group_.brokers.resize(1);
    core::Core* core = &sim_->core(0);
    server_ =
        std::make_unique<CoreServer>(*core, group_, options_, [this, core](ListenerKind, Broker&) {
          return std::unique_ptr<Session>(new ToySession(*core, toy_));
        });
    ASSERT_TRUE(sim_->Run(0, [this]() -> task::Task<void> {
      RT_CHECK(server_->Listen("127.0.0.1", false, ListenerKind::kNative, &port_).ok());
      server_->StartAccepting();
      co_return;
    }));
    client_ = std::make_unique<SimClient>(*world_);
    ASSERT_TRUE(client_->Connect(port_));
  }
  // As after a kill -9: whatever runs is dropped.
  void Close() {
    client_.reset();
    if (sim_ == nullptr) return;
    if (sim_->alive()) sim_->Kill();
    sim_->core(0).DropTasks();
    server_.reset();
    sim_.reset();
    world_.reset();
    toy_ = {};
    port_ = 0;
  }
  void OpenGate(const std::string& text) {
    ASSERT_TRUE(sim_->Run(0, [this, text]() -> task::Task<void> {
      toy_.gate(text).Set();
      co_return;
    }));
  }
  bool WaitFor(const std::function<bool()>& done) { return world_->RunUntil(done); }
  std::string Reply(const std::string& text) { return FrameOf(text); }
  // Everything of the connection has gone: its task, its memory, its socket.
  void ExpectNothingLeft() {
    EXPECT_TRUE(WaitFor([&] { return server_->connection_count() == 0; })) << sim_->DumpTasks();
    EXPECT_EQ(toy_.sessions, 0u);
    EXPECT_EQ(toy_.running, 0u);
    EXPECT_EQ(server_->budget().used(), 0u);
    EXPECT_EQ(server_->budget().work().used(), 0u);
    EXPECT_EQ(sim_->core(0).buffers().lent_bytes(), 0u);
    EXPECT_EQ(sim_->io(0).provided_lent(), 0u);
  }

  sim::NetworkOptions network_;
  sim::SimBrokerOptions broker_options_;
  CoreServerOptions options_;
  BrokerGroup group_;
  Toy toy_;
  uint16_t port_ = 0;
  std::unique_ptr<sim::SimWorld> world_;
  std::unique_ptr<sim::SimBroker> sim_;
  std::unique_ptr<CoreServer> server_;
  std::unique_ptr<SimClient> client_;
};

TEST_F(ConnectionTest, FramesInAnyPiecesAreCutTheSame) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    network_.segment_bytes_max = seed % 2 == 0 ? 1 : 0;
    Open(seed);
    std::string sent, expected;
    for (const size_t size : {0u, 1u, 3u, 100u, 4091u, 4096u, 8187u, 8188u, 8200u, 20'000u}) {
      sent += FrameOf("e" + std::string(size, static_cast<char>('a' + size % 26)));
    }
    expected = sent;
    ASSERT_TRUE(client_->Send(sent));
    ASSERT_EQ(client_->Receive(expected.size()), expected) << "seed " << seed;
    client_->Close();
    ExpectNothingLeft();
  }
}

TEST_F(ConnectionTest, OneByteAtATime) {
  Open();
  const std::string frames = FrameOf("e12345") + FrameOf("") + FrameOf("e" + std::string(50, 'x'));
  for (const char byte : frames) {
    ASSERT_TRUE(client_->Send(std::string(1, byte)));
    world_->RunFor(base::kNanosPerMilli);
  }
  EXPECT_EQ(client_->Receive(frames.size()), frames);
}

TEST_F(ConnectionTest, LengthsThatNoFrameHasCostTheConnection) {
  for (const std::string& bad : {std::string("\xff\xff\xff\xff", 4), std::string("GET "),
                                 std::string("\x16\x03\x01\x02", 4)}) {
    Open();
    ASSERT_TRUE(client_->Send(FrameOf("e1") + bad + std::string(5000, 'x')));
    const std::string got = client_->ReceiveToEnd();
    EXPECT_TRUE(got.empty() || got == FrameOf("e1")) << "nothing but whole replies";
    ExpectNothingLeft();
  }
}

TEST_F(ConnectionTest, AStreamThatEndsInsideAFrameIsClosed) {
  const std::string frame = FrameOf("e" + std::string(10'000, 'x'));
  for (const size_t cut :
       {size_t{1}, size_t{3}, size_t{4}, size_t{5}, size_t{5000}, frame.size() - 1}) {
    Open(cut);
    ASSERT_TRUE(client_->Send(frame.substr(0, cut)));
    world_->RunFor(base::kNanosPerMilli);
    client_->Close();
    ExpectNothingLeft();
    EXPECT_TRUE(toy_.handled.empty());
  }
}

TEST_F(ConnectionTest, RepliesKeepTheOrderOfTheRequests) {
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("w1") + FrameOf("e2") + FrameOf("w3") + FrameOf("n") +
                            FrameOf("e4") + FrameOf("w5")));
  ASSERT_TRUE(WaitFor([&] { return toy_.handled.size() == 6; }));
  OpenGate("w5");
  OpenGate("w3");
  world_->RunFor(kSecond);
  EXPECT_EQ(server_->connection_count(), 1u);
  OpenGate("w1");
  const std::string expected =
      FrameOf("w1") + FrameOf("e2") + FrameOf("w3") + FrameOf("e4") + FrameOf("w5");
  EXPECT_EQ(client_->Receive(expected.size()), expected);
}

TEST_F(ConnectionTest, NoMoreThanExchangesMaxAreInFlight) {
  options_.connection.exchanges_max = 4;
  Open();
  std::string sent;
  for (int i = 0; i < 20; ++i) sent += FrameOf(absl::StrCat("w", i));
  ASSERT_TRUE(client_->Send(sent));
  world_->RunFor(kSecond);
  EXPECT_EQ(toy_.handled.size(), 4u);
  EXPECT_EQ(sim_->io(0).provided_lent(), 0u) << "who waits holds no lent buffer";
  // Done but not the first in line: still in flight.
  OpenGate("w1");
  world_->RunFor(kSecond);
  EXPECT_EQ(toy_.handled.size(), 4u);
  for (int i = 0; i < 20; ++i) OpenGate(absl::StrCat("w", i));
  EXPECT_EQ(client_->Receive(sent.size()), sent);
}

TEST_F(ConnectionTest, TheConnectionsBudgetBoundsItsMemoryAndItGoesOn) {
  options_.connection.bytes_max = 100'000;
  Open();
  std::string sent;
  for (int i = 0; i < 9; ++i) {
    sent += FrameOf(absl::StrCat("w", i, " ", std::string(30'000, 'x')));
  }
  size_t most = 0;
  std::optional<bool> all_sent;
  client_->node().Start(
      "send",
      [](SimClient* client, std::string bytes, std::optional<bool>* done) -> task::Task<void> {
        const iovec out{bytes.data(), bytes.size()};
        io::Op send{.code = io::OpCode::kSend,
                    .flags = io::kWaitAll,
                    .fd = client->fd(),
                    .vectors = &out,
                    .vector_count = 1};
        *done = co_await io::Run(client->node().io(), &send) == static_cast<int>(bytes.size());
      }(client_.get(), sent, &all_sent));
  for (int i = 0; i < 9; ++i) {
    world_->RunFor(kSecond);
    size_t charged = 0;
    server_->ForEachConnection([&](Connection& c) { charged += c.bytes_charged(); });
    most = std::max(most, charged);
    EXPECT_LE(charged, 100'000u);
    EXPECT_EQ(server_->budget().used(), charged);
    EXPECT_LE(toy_.handled.size(), static_cast<size_t>(i) + 3);
    OpenGate(absl::StrCat("w", i, " ", std::string(30'000, 'x')));
  }
  EXPECT_GE(most, 90'000u);
  EXPECT_EQ(client_->Receive(sent.size()), sent);
  // A single frame above the budget is taken alone.
  const std::string large = FrameOf("e" + std::string(300'000, 'x'));
  ASSERT_TRUE(client_->Send(FrameOf("e1") + large + FrameOf("e2")));
  const std::string expected = FrameOf("e1") + large + FrameOf("e2");
  EXPECT_EQ(client_->Receive(expected.size()), expected);
  client_->Close();
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, TheCoresBudgetIsSharedByItsConnections) {
  options_.core_bytes_max = 100'000;
  Open();
  std::vector<std::unique_ptr<SimClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<SimClient>(*world_, absl::StrCat("client", i)));
    ASSERT_TRUE(clients.back()->Connect(port_));
    ASSERT_TRUE(clients.back()->Send(FrameOf(absl::StrCat("w", i, std::string(40'000, 'x')))));
  }
  world_->RunFor(kSecond);
  EXPECT_EQ(toy_.handled.size(), 2u);
  EXPECT_LE(server_->budget().used(), 100'000u);
  for (int i = 0; i < 4; ++i) OpenGate(absl::StrCat("w", i, std::string(40'000, 'x')));
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(clients[static_cast<size_t>(i)]->Receive(40'006).size(), 40'006u);
    clients[static_cast<size_t>(i)]->Close();
  }
  client_->Close();
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, LargeRequestsThatNeverComeDoNotKeepSmallOnesOut) {
  options_.core_bytes_max = 1'000'000;
  Open();
  std::vector<std::unique_ptr<SimClient>> attackers;
  for (int i = 0; i < 5; ++i) {
    attackers.push_back(std::make_unique<SimClient>(*world_, absl::StrCat("attacker", i)));
    ASSERT_TRUE(attackers.back()->Connect(port_));
    ASSERT_TRUE(attackers.back()->Send(FrameOf("e" + std::string(700'000, 'x')).substr(0, 20)));
  }
  world_->RunFor(kSecond);
  ASSERT_TRUE(client_->Send(FrameOf("e1")));
  EXPECT_EQ(client_->Receive(6), FrameOf("e1"));
  // Each is cut when its time is over; the next then waits for its own.
  ASSERT_TRUE(WaitFor([&] { return server_->connection_count() == 1; }));
  client_->Close();
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, BegunRequestsHoldNoneOfTheReceiveBuffersThatAllShare) {
  Open();
  std::vector<std::unique_ptr<SimClient>> attackers;
  const size_t count = sim::SimBackendOptions().provided_count + 10;
  for (size_t i = 0; i < count; ++i) {
    attackers.push_back(std::make_unique<SimClient>(*world_, absl::StrCat("attacker", i)));
    ASSERT_TRUE(attackers.back()->Connect(port_));
    ASSERT_TRUE(attackers.back()->Send(FrameOf("e" + std::string(20'000, 'x')).substr(0, 20)));
  }
  world_->RunFor(kSecond);
  EXPECT_EQ(sim_->io(0).provided_lent(), 0u);
  ASSERT_TRUE(client_->Send(FrameOf("e1")));
  EXPECT_EQ(client_->Receive(6), FrameOf("e1"));
  client_->Close();
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, APeerThatNeverReadsIsClosedAtTheSendTimeout) {
  options_.connection.send_timeout_ns = 5 * kSecond;
  network_.send_buffer_bytes = network_.receive_buffer_bytes = 16 << 10;
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("b900000") + FrameOf("e2")));
  ASSERT_TRUE(WaitFor([&] { return toy_.handled.size() == 2; }));
  const base::Nanos before = world_->now();
  ASSERT_TRUE(WaitFor([&] { return server_->connection_count() == 0; })) << sim_->DumpTasks();
  EXPECT_GE(world_->now() - before, 4 * kSecond);
  EXPECT_LT(world_->now() - before, 40 * kSecond);
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, RepliesThatAreNotReadStopTheNextRequests) {
  options_.connection.reply_bytes_max = 1'000'000;
  network_.send_buffer_bytes = network_.receive_buffer_bytes = 16 << 10;
  Open();
  std::string sent, expected;
  for (int i = 0; i < 100; ++i) {
    sent += FrameOf("b300000");
    expected += FrameOf(std::string(300'000, 'b'));
  }
  ASSERT_TRUE(client_->Send(sent));
  world_->RunFor(kSecond);
  EXPECT_LE(toy_.handled.size(), 4u);
  EXPECT_LE(server_->budget().work().used(), 1'600'000u);
  EXPECT_LE(sim_->core(0).buffers().lent_bytes(), 1'600'000u);
  EXPECT_TRUE(client_->Receive(expected.size()) == expected);
  client_->Close();
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, WhoHoldsTheMostUnsentRepliesIsEndedWhereTheCoreHasTooMany) {
  options_.core_bytes_max = 100'000;  // too few for single requests: the least is taken
  options_.connection.reply_bytes_max = 100u << 20;
  network_.send_buffer_bytes = network_.receive_buffer_bytes = 16 << 10;
  Open();
  ASSERT_EQ(server_->budget().work().bytes_max(), WorkLedger::kBytesMin);
  std::vector<std::unique_ptr<SimClient>> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<SimClient>(*world_, absl::StrCat("client", i)));
    ASSERT_TRUE(clients.back()->Connect(port_));
    const int size = i == 3 ? 20'000'000 : 7'000'000;
    ASSERT_TRUE(clients.back()->Send(FrameOf(absl::StrCat("b", size))));
    world_->RunFor(base::kNanosPerMilli);
    EXPECT_LE(server_->budget().work().used(), WorkLedger::kBytesMin);
  }
  EXPECT_EQ(server_->connection_count(), 8u) << "one of nine has been ended";
  EXPECT_LT(clients[3]->ReceiveToEnd().size(), 20'000'000u);
  ASSERT_TRUE(client_->Send(FrameOf("e1")));
  EXPECT_EQ(client_->Receive(6), FrameOf("e1"));
  EXPECT_EQ(clients[0]->Receive(7'000'004).size(), 7'000'004u);
  for (auto& client : clients) client->Close();
  client_->Close();
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, APeerThatReadsSlowlyGetsEverything) {
  options_.connection.send_timeout_ns = 5 * kSecond;
  network_.send_buffer_bytes = network_.receive_buffer_bytes = 16 << 10;
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("b300000")));
  std::string got;
  while (got.size() < 300'004) {
    world_->RunFor(200 * base::kNanosPerMilli);
    const std::string more = client_->Receive(std::min<size_t>(16'000, 300'004 - got.size()));
    ASSERT_FALSE(more.empty()) << "after " << got.size() << " bytes";
    got += more;
  }
  EXPECT_EQ(got, FrameOf(std::string(300'000, 'b')));
}

// However slowly: it is closed only where it takes nothing for the timeout.
TEST_F(ConnectionTest, ASteadyReaderIsNeverClosed) {
  options_.connection.send_timeout_ns = 5 * kSecond;
  network_.send_buffer_bytes = network_.receive_buffer_bytes = 16 << 10;
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("b300000")));
  const base::Nanos before = world_->now();
  size_t got = 0;
  while (got < 300'004) {
    world_->RunFor(kSecond);
    const size_t more = client_->Receive(std::min<size_t>(8'000, 300'004 - got)).size();
    ASSERT_GT(more, 0u) << "after " << got << " bytes";
    got += more;
  }
  EXPECT_GT(world_->now() - before, 30 * kSecond);
}

// The timeout is for progress: a long reply may take longer than one.
TEST_F(ConnectionTest, ALongReplyMayTakeLongerThanTheSendTimeout) {
  options_.connection.send_timeout_ns = 5 * kSecond;
  network_.send_buffer_bytes = network_.receive_buffer_bytes = 16 << 10;
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("b1500000")));
  const base::Nanos before = world_->now();
  size_t got = 0;
  while (got < 1'500'004) {
    world_->RunFor(100 * base::kNanosPerMilli);
    const size_t more = client_->Receive(std::min<size_t>(16'000, 1'500'004 - got)).size();
    ASSERT_GT(more, 0u) << "after " << got << " bytes";
    got += more;
  }
  EXPECT_GT(world_->now() - before, 6 * kSecond);
}

TEST_F(ConnectionTest, AnIdlePeerIsClosedAfterTheIdleTime) {
  options_.connection.frames.idle_ns = 30 * kSecond;
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("e1")));
  EXPECT_EQ(client_->Receive(6), FrameOf("e1"));
  const base::Nanos before = world_->now();
  ASSERT_TRUE(WaitFor([&] { return server_->connection_count() == 0; }));
  EXPECT_GE(world_->now() - before, 29 * kSecond);
  EXPECT_LT(world_->now() - before, 40 * kSecond);
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, ABodyThatDripsIsClosed) {
  options_.connection.frames.piece_ns = 2 * kSecond;
  for (const size_t size : {size_t{100}, size_t{200'000}}) {
    Open();
    ASSERT_TRUE(client_->Send(FrameOf("e" + std::string(size, 'x')).substr(0, 20)));
    const base::Nanos before = world_->now();
    while (server_->connection_count() > 0 && world_->now() - before < 100 * kSecond) {
      world_->RunFor(kSecond);
      client_->Send("x");
    }
    EXPECT_LT(world_->now() - before, 10 * kSecond);
    ExpectNothingLeft();
    EXPECT_TRUE(toy_.handled.empty());
  }
}

TEST_F(ConnectionTest, ATimedOutRequestIsAnsweredInItsTurnWhileItsTaskGoesOn) {
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("w1") + FrameOf("t2") + FrameOf("e3")));
  world_->RunFor(kSecond);
  OpenGate("w1");
  const std::string expected = FrameOf("w1") + FrameOf("timed out t2") + FrameOf("e3");
  EXPECT_EQ(client_->Receive(expected.size()), expected);
  EXPECT_EQ(toy_.running, 1u);
  OpenGate("t2");
  ASSERT_TRUE(WaitFor([&] { return toy_.running == 0; }));
  ASSERT_TRUE(client_->Send(FrameOf("e4")));
  EXPECT_EQ(client_->Receive(6), FrameOf("e4")) << "its own reply was dropped";
  // Where nothing can be said, the connection ends.
  ASSERT_TRUE(client_->Send(FrameOf("t silent") + FrameOf("e6")));
  EXPECT_EQ(client_->ReceiveToEnd(), "");
  OpenGate("t silent");
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, ARequestOnAnIdleConnectionTimesOutToo) {
  Open();
  const base::Nanos before = world_->now();
  ASSERT_TRUE(client_->Send(FrameOf("t1")));
  EXPECT_EQ(client_->Receive(16), FrameOf("timed out t1"));
  EXPECT_LT(world_->now() - before, kSecond);
  OpenGate("t1");
}

TEST_F(ConnectionTest, ATaskThatEndsWhileItsLateAnswerIsSentLeavesNoChargeBehind) {
  options_.connection.reply_bytes_max = 10'000;
  network_.send_buffer_bytes = network_.receive_buffer_bytes = 16 << 10;
  Open();
  const std::string request = "t" + std::string(60'000, 'x');
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(client_->Send(FrameOf(request)));
    world_->RunFor(kSecond);
    OpenGate(request);
    world_->RunFor(kSecond);
    EXPECT_EQ(client_->Receive(request.size() + 14), FrameOf("timed out " + request));
    toy_.gates.clear();
  }
  ASSERT_TRUE(client_->Send(FrameOf("e1")));
  EXPECT_EQ(client_->Receive(6), FrameOf("e1"));
}

TEST_F(ConnectionTest, AnEarlyAnswerLeavesBeforeItsTaskEnds) {
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("a1") + FrameOf("e2")));
  const std::string expected = FrameOf("a1") + FrameOf("e2");
  EXPECT_EQ(client_->Receive(expected.size()), expected);
  EXPECT_EQ(toy_.running, 1u);
  OpenGate("a1");
  client_->Close();
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, CloseAfterIsTheLastReply) {
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("e1") + FrameOf("c2") + FrameOf("e3") + FrameOf("w4")));
  const std::string got = client_->ReceiveToEnd();
  EXPECT_EQ(got, FrameOf("e1") + FrameOf("c2"));
  OpenGate("w4");
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, AbortEndsTheConnectionOnceItsTasksHaveEnded) {
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("w1") + FrameOf("w2") + FrameOf("e3")));
  ASSERT_TRUE(WaitFor([&] { return toy_.handled.size() == 3; }));
  ASSERT_TRUE(sim_->Run(0, [this]() -> task::Task<void> {
    server_->ForEachConnection([](Connection& connection) { connection.Abort(); });
    co_return;
  }));
  EXPECT_EQ(client_->ReceiveToEnd(), "");
  EXPECT_EQ(server_->connection_count(), 1u) << "its tasks still use it";
  OpenGate("w1");
  OpenGate("w2");
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, AStopAnswersWhatIsInFlightAndTakesNothingNew) {
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("w1") + FrameOf("e2")));
  ASSERT_TRUE(WaitFor([&] { return toy_.handled.size() == 2; }));
  bool stopped = false;
  sim_->Start(0, [this, &stopped]() -> task::Task<void> {
    co_await server_->StopServing(sim_->core(0).now() + 10 * kSecond);
    stopped = true;
  });
  world_->RunFor(kSecond);
  EXPECT_FALSE(stopped);
  client_->Send(FrameOf("e3"));
  world_->RunFor(base::kNanosPerMilli);
  OpenGate("w1");
  EXPECT_EQ(client_->ReceiveToEnd(), FrameOf("w1") + FrameOf("e2"));
  ASSERT_TRUE(WaitFor([&] { return stopped; }));
  ExpectNothingLeft();
  SimClient late(*world_, "late");
  EXPECT_FALSE(late.Connect(port_));
}

// A reply that is on its way when the stop begins arrives whole.
TEST_F(ConnectionTest, AStopLetsAReplyThatIsBeingSentArrive) {
  network_.send_buffer_bytes = network_.receive_buffer_bytes = 16 << 10;
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("b200000")));
  ASSERT_EQ(client_->Receive(1).size(), 1u);
  bool stopped = false;
  sim_->Start(0, [this, &stopped]() -> task::Task<void> {
    co_await server_->StopServing(sim_->core(0).now() + 10 * kSecond);
    stopped = true;
  });
  world_->RunFor(100 * base::kNanosPerMilli);
  EXPECT_EQ(client_->ReceiveToEnd().size(), 200'003u);
  ASSERT_TRUE(WaitFor([&] { return stopped; }));
  ExpectNothingLeft();
}

// A socket closed with bytes unread, or that bytes come to, answers with a reset, which takes back
// what has not arrived yet.
TEST_F(ConnectionTest, AStopLetsTheLastReplyArriveThoughThePeerSendsOn) {
  network_.send_buffer_bytes = network_.receive_buffer_bytes = 16 << 10;
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("b30000")));
  ASSERT_TRUE(WaitFor([&] { return toy_.handled.size() == 1; }));
  bool stopped = false;
  sim_->Start(0, [this, &stopped]() -> task::Task<void> {
    co_await server_->StopServing(sim_->core(0).now() + 10 * kSecond);
    stopped = true;
  });
  world_->RunFor(100 * base::kNanosPerMilli);
  ASSERT_TRUE(client_->Send(FrameOf("e2")));
  world_->RunFor(100 * base::kNanosPerMilli);
  EXPECT_EQ(client_->ReceiveToEnd().size(), 30'004u);
  EXPECT_EQ(toy_.handled.size(), 1u);
  EXPECT_FALSE(stopped);
  client_->Close();
  ASSERT_TRUE(WaitFor([&] { return stopped; }));
  ExpectNothingLeft();
}

// As many do that have nothing to ask just then.
TEST_F(ConnectionTest, AStopWaitsASecondForAPeerThatDoesNotClose) {
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("e1")));
  EXPECT_EQ(client_->Receive(6), FrameOf("e1"));
  const base::Nanos before = world_->now();
  base::Nanos stopped_at = 0;
  sim_->Start(0, [this, &stopped_at]() -> task::Task<void> {
    co_await server_->StopServing(sim_->core(0).now() + 10 * kSecond);
    stopped_at = sim_->core(0).now();
  });
  ASSERT_TRUE(WaitFor([&] { return stopped_at > 0; }));
  EXPECT_GE(stopped_at - before, kSecond);
  EXPECT_LT(stopped_at - before, 2 * kSecond);
  ExpectNothingLeft();
}

TEST_F(ConnectionTest, AStopCutsWhoeverIsNotDoneByTheDeadline) {
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("w1")));
  ASSERT_TRUE(WaitFor([&] { return toy_.handled.size() == 1; }));
  bool stopped = false;
  const base::Nanos before = world_->now();
  sim_->Start(0, [this, &stopped]() -> task::Task<void> {
    co_await server_->StopServing(sim_->core(0).now() + 2 * kSecond);
    stopped = true;
  });
  ASSERT_TRUE(WaitFor([&] { return stopped; }));
  EXPECT_LT(world_->now() - before, 5 * kSecond);
  OpenGate("w1");
  ExpectNothingLeft();
}

// What the process does when the disk never answers: the tasks are dropped as they stand.
TEST_F(ConnectionTest, TasksCanBeDroppedWithRequestsInFlight) {
  Open();
  ASSERT_TRUE(client_->Send(FrameOf("w1") + FrameOf("t2") + FrameOf("a3") +
                            FrameOf("e" + std::string(9000, 'x')).substr(0, 5000)));
  ASSERT_TRUE(WaitFor([&] { return toy_.handled.size() == 3; }));
  world_->RunFor(base::kNanosPerMilli);
  sim_->Kill();
  sim_->core(0).DropTasks();
  EXPECT_EQ(toy_.sessions, 0u);
}

TEST_F(ConnectionTest, ConnectionsAboveTheBoundAreRefused) {
  options_.connections_max = 2;
  Open();
  SimClient second(*world_, "second"), third(*world_, "third");
  ASSERT_TRUE(second.Connect(port_));
  ASSERT_TRUE(third.Connect(port_));
  third.Send(FrameOf("e3"));
  EXPECT_EQ(third.ReceiveToEnd(), "");
  EXPECT_EQ(server_->listener_counters().refused, 1u);
  for (SimClient* client : {client_.get(), &second}) {
    ASSERT_TRUE(client->Send(FrameOf("e1")));
    EXPECT_EQ(client->Receive(6), FrameOf("e1"));
  }
  second.Close();
  ASSERT_TRUE(WaitFor([&] { return server_->connection_count() == 1; }));
  ASSERT_TRUE(third.Connect(port_));
  ASSERT_TRUE(third.Send(FrameOf("e3")));
  EXPECT_EQ(third.Receive(6), FrameOf("e3"));
}

TEST_F(ConnectionTest, RunningOutOfDescriptorsIsSurvived) {
  Open();
  world_->faults().Add({.kind = sim::FaultKind::kError,
                        .error = EMFILE,
                        .codes = {io::OpCode::kAccept},
                        .count = 3});
  SimClient second(*world_, "second");
  ASSERT_TRUE(second.Connect(port_));
  ASSERT_TRUE(second.Send(FrameOf("e1")));
  EXPECT_EQ(second.Receive(6), FrameOf("e1"));
}

TEST_F(ConnectionTest, NoProvidedBufferFreeIsWaitedOut) {
  broker_options_.backend.provided_count = 1;
  Open();
  std::vector<std::unique_ptr<SimClient>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(std::make_unique<SimClient>(*world_, absl::StrCat("client", i)));
    ASSERT_TRUE(clients.back()->Connect(port_));
    ASSERT_TRUE(clients.back()->Send(FrameOf("e" + std::string(20'000, 'x')).substr(0, 3)));
  }
  for (auto& client : clients) {
    ASSERT_TRUE(client->Send(FrameOf("e" + std::string(20'000, 'x')).substr(3)));
    EXPECT_EQ(client->Receive(20'005).size(), 20'005u);
  }
}

// Many clients with cuts at any time: nothing is left behind.
TEST_F(ConnectionTest, CutConnectionsLeaveNothingBehind) {
  sim::ForSeeds(30, [this](uint64_t seed) {
    Open(seed);
    for (int round = 0; round < 6; ++round) {
      SimClient client(*world_, absl::StrCat("cut", round));
      ASSERT_TRUE(client.Connect(port_));
      std::string sent;
      for (uint64_t i = 0; i < 1 + seed % 5; ++i) {
        sent += FrameOf("e" + std::string(world_->rng().Below(30'000), 'x'));
        sent += FrameOf("b50000");
      }
      client.Send(sent.substr(0, 1 + world_->rng().Below(sent.size())));
      world_->RunFor(static_cast<base::Nanos>(world_->rng().Below(300'000)));
      if (world_->rng().Below(2) == 0) {
        world_->network().Reset(client.process().id());
      } else {
        client.Close();
      }
    }
    client_->Close();
    ExpectNothingLeft();
  });
}

// On the real ring, as the simulated network has no half-closed connections: a peer that has ended
// its stream still gets the replies to what it sent.
TEST(RealConnectionTest, HalfClosedPeersGetTheirReplies) {
  core::CoreGroup cores(1);
  auto backend = io::UringBackend::Create({});
  ASSERT_TRUE(backend.ok()) << backend.status();
  core::Core core(base::CoreId(0), cores, *std::move(backend), {});
  cores.Install(base::CoreId(0), &core);
  BrokerGroup group;
  group.brokers.resize(1);
  Toy toy;
  CoreServer server(core, group, {}, [&](ListenerKind, Broker&) {
    return std::unique_ptr<Session>(new ToySession(core, toy));
  });
  uint16_t port = 0;
  ASSERT_TRUE(server.Listen("127.0.0.1", false, ListenerKind::kNative, &port).ok());
  {
    const task::Scheduler::Scope scope(core.scheduler());
    server.StartAccepting();
  }
  const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const std::string sent = FrameOf("e1") + FrameOf("b100000") + FrameOf("e3");
  ASSERT_EQ(send(client, sent.data(), sent.size(), 0), static_cast<ssize_t>(sent.size()));
  ASSERT_EQ(shutdown(client, SHUT_WR), 0);
  std::string got(200'000, '\0');
  size_t have = 0;
  for (bool ended = false; !ended;) {
    core.Turn(false);
    const ssize_t more = recv(client, got.data() + have, got.size() - have, MSG_DONTWAIT);
    if (more > 0) have += static_cast<size_t>(more);
    ended = more == 0 || (more < 0 && errno != EAGAIN);
  }
  close(client);
  EXPECT_EQ(got.substr(0, have),
            FrameOf("e1") + FrameOf(std::string(100'000, 'b')) + FrameOf("e3"));
  while (server.connection_count() > 0) core.Turn(false);
  core.DropTasks();
}

}  // namespace
}  // namespace ringtail::server
