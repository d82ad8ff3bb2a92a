#include "engine/io/sender.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <random>
#include <string>
#include <tuple>

#include "engine/io/file.h"
#include "engine/io/run_until.h"
#include "engine/task/sync.h"
#include "tests/engine/io/test_loop.h"

namespace ringtail::io {
namespace {

using task::Task;

std::string RandomBytes(size_t bytes) {
  const auto seed = std::random_device()();
  printf("seed %u\n", seed);
  std::mt19937_64 random(seed);
  std::string text(bytes, 0);
  for (size_t at = 0; at + 8 <= bytes; at += 8) {
    const uint64_t word = random();
    memcpy(text.data() + at, &word, 8);
  }
  return text;
}

// A file with random content, a connection, a sender, and a peer that reads into `received`.
class SenderFixture {
 public:
  explicit SenderFixture(int64_t file_bytes, const SenderOptions& options = {})
      : sender(loop.backend(), buffers, options),
        content(RandomBytes(static_cast<size_t>(file_bytes))) {
    loop.Run([](SenderFixture* self) -> Task<void> {
      Backend& io = self->loop.backend();
      const std::string path = MakeTestDirectory() + "/f";
      EXPECT_TRUE((co_await ReplaceFile(io, path, self->content)).ok());
      self->file = *co_await OpenFile(io, path, O_RDONLY, 0);
      EXPECT_TRUE((co_await Unlink(io, path)).ok());
      std::tie(self->peer, self->socket) = co_await ConnectPair(io);
    }(this));
  }
  ~SenderFixture() {
    if (map != nullptr) munmap(map, content.size());
    if (peer >= 0) loop.backend().CloseInline(peer);
    loop.backend().CloseInline(socket);
    loop.backend().CloseInline(file);
  }

  void ShrinkSendBuffer() {
    const int bytes = 16384;  // the receiving side keeps its own, or TCP's window timers rule
    setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
  }
  // Else the kernel may take pages of it back at any time, as it does on machines that lend their
  // free memory to others.
  void KeepHot() {
    map = mmap(nullptr, content.size(), PROT_READ, MAP_SHARED, file, 0);
    EXPECT_NE(map, MAP_FAILED);
    EXPECT_EQ(mlock(map, content.size()), 0);
  }
  void MakeCold() {
    loop.Run([](SenderFixture* self) -> Task<void> {
      Op drop = MakeOp(OpCode::kDropCache, self->file);
      drop.length = static_cast<int64_t>(self->content.size());
      EXPECT_EQ(co_await io::Run(self->loop.backend(), &drop), 0);
    }(this));
    EXPECT_FALSE(loop.backend().Resident(file, 0, static_cast<int64_t>(content.size())));
  }
  // Reads until the stream ends, `step` bytes at a time, letting `pauses` turns pass in between.
  Task<void> ReadAll(size_t step, int pauses) {
    std::string piece(step, 0);
    iovec vector = {piece.data(), piece.size()};
    Op receive = MakeOp(OpCode::kReceive, peer);
    receive.vectors = &vector;
    receive.vector_count = 1;
    while (true) {
      for (int i = 0; i < pauses; ++i) co_await task::Yield();
      const int32_t bytes = co_await io::Run(loop.backend(), &receive);
      if (bytes <= 0) co_return;
      received.append(piece.data(), static_cast<size_t>(bytes));
    }
  }
  Task<void> SendRange(int64_t position, int64_t bytes, SendPath path, base::Nanos timeout_ns) {
    const base::Nanos deadline =
        timeout_ns == base::kNever ? base::kNever : loop.backend().Now() + timeout_ns;
    status = co_await sender.SendFileRange(socket, file, position, bytes, path, deadline);
    loop.backend().ShutdownSocket(socket);
  }
  uint64_t fallbacks() const {
    uint64_t sum = 0;
    for (const uint64_t count : sender.counters().fallbacks) sum += count;
    return sum;
  }
  // Which they were, by name.
  std::string FallbackText() const {
    std::string text;
    for (size_t i = 0; i < kSendFallbackCount; ++i) {
      text += std::string(SendFallbackName(static_cast<SendFallback>(i))) + " " +
              std::to_string(sender.counters().fallbacks[i]) + " ";
    }
    return text;
  }
  uint64_t BytesBy(SendPath path) const {
    return sender.counters().bytes[static_cast<size_t>(path)];
  }

  TestLoop loop;
  BufferPool buffers{8 << 20};
  Sender sender;
  std::string content;
  std::string received;
  absl::Status status = absl::UnknownError("not sent");
  void* map = nullptr;
  int file = -1;
  int socket = -1;
  int peer = -1;
};

constexpr SendPath kAllPaths[] = {SendPath::kAuto,   SendPath::kSplice,       SendPath::kSendfile,
                                  SendPath::kMapped, SendPath::kSendZeroCopy, SendPath::kCopy};

enum class Reader { kFast, kSlow };

class EveryPath : public testing::TestWithParam<std::tuple<SendPath, bool, Reader>> {};

TEST_P(EveryPath, SendsTheExactBytes) {
  const auto [path, cold, reader] = GetParam();
  constexpr int64_t kPosition = 1001;
  constexpr int64_t kBytes = (5 << 19) + 77;
  SenderFixture fixture(3 << 20);
  if (reader == Reader::kSlow) fixture.ShrinkSendBuffer();
  cold ? fixture.MakeCold() : fixture.KeepHot();
  fixture.loop.Spawn(reader == Reader::kFast ? fixture.ReadAll(1 << 20, 0)
                                             : fixture.ReadAll(30011, 3));
  fixture.loop.Run(fixture.SendRange(kPosition, kBytes, path, base::kNever));
  EXPECT_TRUE(fixture.status.ok()) << fixture.status;
  EXPECT_TRUE(fixture.received == fixture.content.substr(kPosition, kBytes));
  EXPECT_EQ(fixture.buffers.lent_bytes(), 0u);

  uint64_t total = 0;
  for (const uint64_t bytes : fixture.sender.counters().bytes) total += bytes;
  EXPECT_EQ(total, static_cast<uint64_t>(kBytes));
  const bool needs_resident =
      path == SendPath::kSendfile || path == SendPath::kMapped || path == SendPath::kSendZeroCopy;
  if (cold && path != SendPath::kSplice) {
    EXPECT_GT(fixture.sender.counters().cold.reads, 0u);
    EXPECT_EQ(fixture.fallbacks() > 0, needs_resident);
  } else {
    EXPECT_EQ(fixture.fallbacks(), 0u) << fixture.FallbackText();
    if (path != SendPath::kAuto) {
      EXPECT_EQ(fixture.BytesBy(path), static_cast<uint64_t>(kBytes));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sender, EveryPath,
                         testing::Combine(testing::ValuesIn(kAllPaths), testing::Bool(),
                                          testing::Values(Reader::kFast, Reader::kSlow)),
                         [](const auto& info) {
                           return std::string(SendPathName(std::get<0>(info.param))) +
                                  (std::get<1>(info.param) ? "_cold" : "_hot") +
                                  (std::get<2>(info.param) == Reader::kFast ? "_fast" : "_slow");
                         });

class EachPath : public testing::TestWithParam<SendPath> {};

INSTANTIATE_TEST_SUITE_P(Sender, EachPath, testing::ValuesIn(kAllPaths),
                         [](const auto& info) { return std::string(SendPathName(info.param)); });

TEST_P(EachPath, EndsAtItsDeadlineWhereThePeerNeverReads) {
  SenderFixture fixture(16 << 20);
  fixture.loop.Run(fixture.SendRange(0, 16 << 20, GetParam(), 30 * base::kNanosPerMilli));
  EXPECT_TRUE(absl::IsDeadlineExceeded(fixture.status)) << fixture.status;
  EXPECT_EQ(fixture.loop.backend().in_flight(), 0u);
  EXPECT_EQ(fixture.buffers.lent_bytes(), 0u);
}

TEST_P(EachPath, FailsWhereThePeerHasGone) {
  SenderFixture fixture(16 << 20);
  const linger reset = {1, 0};
  setsockopt(fixture.peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  fixture.loop.backend().CloseInline(fixture.peer);
  fixture.peer = -1;
  fixture.loop.Run(fixture.SendRange(0, 16 << 20, GetParam(), base::kNever));
  EXPECT_TRUE(absl::IsUnavailable(fixture.status)) << fixture.status;
}

TEST_P(EachPath, FailsWhereTheFileEndsBefore) {
  SenderFixture fixture(100'000);
  fixture.loop.Spawn(fixture.ReadAll(1 << 20, 0));
  fixture.loop.Run(fixture.SendRange(50'000, 100'000, GetParam(), base::kNever));
  EXPECT_TRUE(absl::IsDataLoss(fixture.status)) << fixture.status;
}

TEST_P(EachPath, SmallAndEmptyRanges) {
  for (const int64_t bytes : {0, 1, 100, 4096, 16384, 16385}) {
    SenderFixture fixture(20'000);
    fixture.loop.Spawn(fixture.ReadAll(1 << 20, 0));
    fixture.loop.Run(fixture.SendRange(3000, bytes, GetParam(), base::kNever));
    EXPECT_TRUE(fixture.status.ok()) << fixture.status;
    EXPECT_TRUE(fixture.received == fixture.content.substr(3000, static_cast<size_t>(bytes)));
  }
}

TEST(Sender, PipesOfOnePageWork) {
  SenderOptions options;
  options.pipe_bytes = 4096;
  SenderFixture fixture(200'000, options);
  fixture.loop.Spawn(fixture.ReadAll(1 << 20, 0));
  fixture.loop.Run(fixture.SendRange(333, 150'000, SendPath::kSplice, base::kNever));
  EXPECT_TRUE(fixture.status.ok()) << fixture.status;
  EXPECT_TRUE(fixture.received == fixture.content.substr(333, 150'000));
  EXPECT_EQ(fixture.BytesBy(SendPath::kSplice), 150'000u);
}

TEST(Sender, CopiesWhereNoPipeIsFree) {
  SenderOptions options;
  options.pipes_max = 0;
  SenderFixture fixture(200'000, options);
  fixture.loop.Spawn(fixture.ReadAll(1 << 20, 0));
  fixture.loop.Run(fixture.SendRange(0, 200'000, SendPath::kSplice, base::kNever));
  EXPECT_TRUE(fixture.status.ok()) << fixture.status;
  EXPECT_TRUE(fixture.received == fixture.content);
  EXPECT_GT(fixture.sender.counters().fallbacks[static_cast<size_t>(SendFallback::kNoPipe)], 0u);
}

TEST(Sender, ColdRangesStayOutOfThePageCache) {
  SenderFixture fixture(4 << 20);
  fixture.MakeCold();
  fixture.loop.Spawn(fixture.ReadAll(1 << 20, 0));
  fixture.loop.Run(fixture.SendRange(0, 4 << 20, SendPath::kAuto, base::kNever));
  EXPECT_TRUE(fixture.received == fixture.content);
  EXPECT_FALSE(fixture.loop.backend().Resident(fixture.file, 1 << 20, 1 << 20));
}

TEST(Sender, SpansArriveInOrderThroughASmallSocket) {
  SenderFixture fixture(1);
  fixture.ShrinkSendBuffer();
  fixture.loop.Spawn(fixture.ReadAll(1000, 2));
  std::vector<std::string> pieces;
  std::string expected;
  for (int i = 0; i < 3000; ++i) {
    pieces.push_back(std::string(static_cast<size_t>(i % 200), static_cast<char>('a' + i % 26)));
    expected += pieces.back();
  }
  fixture.loop.Run([](SenderFixture* fixture, std::vector<std::string>* pieces) -> Task<void> {
    std::vector<iovec> spans;
    for (std::string& piece : *pieces) spans.push_back({piece.data(), piece.size()});
    fixture->status =
        co_await fixture->sender.SendSpans(fixture->socket, spans, false, base::kNever);
    fixture->loop.backend().ShutdownSocket(fixture->socket);
  }(&fixture, &pieces));
  EXPECT_TRUE(fixture.status.ok()) << fixture.status;
  EXPECT_TRUE(fixture.received == expected);
  EXPECT_EQ(fixture.sender.counters().span_bytes, expected.size());
}

TEST(Sender, SpansEndAtTheirDeadline) {
  SenderFixture fixture(1);
  fixture.loop.Run([](SenderFixture* fixture) -> Task<void> {
    std::string large(16 << 20, 'x');
    iovec span = {large.data(), large.size()};
    fixture->status = co_await fixture->sender.SendSpans(
        fixture->socket, {&span, 1}, false,
        fixture->loop.backend().Now() + 20 * base::kNanosPerMilli);
  }(&fixture));
  EXPECT_TRUE(absl::IsDeadlineExceeded(fixture.status)) << fixture.status;
}

// Others run in between, many times.
TEST(Sender, ALargeRangeDoesNotShutOthersOut) {
  SenderFixture fixture(32 << 20);
  struct Count {
    uint64_t turns = 0;
    bool stop = false;
  } count;
  fixture.loop.Spawn([](Count* count) -> Task<void> {
    while (!count->stop) {
      ++count->turns;
      co_await task::Yield();
    }
  }(&count));
  fixture.loop.Spawn(fixture.ReadAll(1 << 20, 0));
  fixture.loop.Run([](SenderFixture* fixture, Count* count) -> Task<void> {
    co_await fixture->SendRange(0, 32 << 20, SendPath::kSendfile, base::kNever);
    count->stop = true;
  }(&fixture, &count));
  EXPECT_TRUE(fixture.received == fixture.content);
  EXPECT_GE(count.turns, 32u);
}

TEST(PipePool, BoundsWhatIsOutAndDropsWhatIsNotEmpty) {
  TestLoop loop;
  PipePool pool(loop.backend(), 2, 1 << 16);
  {
    PipePool::Lease first = pool.Take();
    const PipePool::Lease second = pool.Take();
    EXPECT_TRUE(first.held() && second.held());
    EXPECT_FALSE(pool.Take().held());
    EXPECT_GE(first.ends().capacity_bytes, 1 << 16);
    first.Filled(100);
    first.Drained(99);
  }
  EXPECT_EQ(pool.out(), 0u);
  EXPECT_EQ(pool.idle(), 1u);
}

// A wait that its deadline ends, and one whose result comes first.
TEST(RunUntil, EndsByItselfOrAtTheDeadline) {
  TestLoop loop;
  loop.Run([](Backend& io) -> Task<void> {
    const auto [client, server] = co_await ConnectPair(io);
    Op receive = MakeOp(OpCode::kReceiveProvided, server);
    EXPECT_EQ(co_await RunUntil(io, &receive, io.Now() + base::kNanosPerMilli), -ETIME);
    char byte = 'b';
    const iovec vector = {&byte, 1};
    EXPECT_EQ(io.SendNowait(client, &vector, 1, false), 1);
    EXPECT_EQ(co_await RunUntil(io, &receive, io.Now() + 10 * base::kNanosPerSecond), 1);
    io.ReleaseProvided(receive.provided);
    io.CloseInline(client);
    io.CloseInline(server);
  }(loop.backend()));
}

}  // namespace
}  // namespace ringtail::io
