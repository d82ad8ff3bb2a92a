#include "engine/io/uring_backend.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "engine/io/file.h"
#include "engine/task/sync.h"
#include "tests/engine/io/test_loop.h"

namespace ringtail::io {
namespace {

using task::Task;

TEST(UringBackend, DescribesTheKernel) {
  TestLoop loop;
  EXPECT_NE(loop.backend().features().description.find("kernel"), std::string::npos);
  printf("%s\n", loop.backend().features().description.c_str());
}

// The kernel keeps what does not fit the completion queue; that is counted, and nothing is lost.
TEST(UringBackend, OverflowLosesNothing) {
  UringOptions options;
  options.submission_entries = 8;
  options.completion_entries = 16;
  TestLoop loop(options);
  std::vector<Op> ops(1000);
  static int completed;
  completed = 0;
  {
    const task::Scheduler::Scope scope(loop.scheduler());
    for (Op& op : ops) {
      op.result = 77;
      op.on_complete = [](Op*) { ++completed; };
      loop.backend().Submit(&op);
      EXPECT_LT(completed, 1000);  // nothing completes inside Submit
    }
  }
  EXPECT_EQ(completed, 0);
  while (loop.backend().in_flight() > 0) loop.Turn(true);
  EXPECT_EQ(completed, 1000);
  for (const Op& op : ops) EXPECT_EQ(op.result, 0);
  EXPECT_EQ(loop.backend().counters().completed, 1000u);
  EXPECT_GT(loop.backend().counters().overflows, 0u);
}

// More completes at once than the completion queue holds.
TEST(UringBackend, ABurstBeyondTheCompletionQueueLosesNothing) {
  UringOptions options;
  options.submission_entries = 64;
  options.completion_entries = 64;
  TestLoop loop(options);
  const auto [read_end, write_end] = *loop.backend().Pipe(65536);
  std::vector<Op> polls(500);
  {
    const task::Scheduler::Scope scope(loop.scheduler());
    for (Op& op : polls) {
      op.code = OpCode::kPoll;
      op.fd = read_end;
      op.poll_events = POLLIN;
      loop.backend().Submit(&op);
    }
    loop.backend().Poll(0);
  }
  EXPECT_EQ(loop.backend().in_flight(), 500u);
  ASSERT_EQ(write(write_end, "x", 1), 1);
  while (loop.backend().in_flight() > 0) loop.Turn(true);
  for (const Op& op : polls) EXPECT_EQ(op.result & POLLIN, POLLIN);
  loop.backend().CloseInline(read_end);
  loop.backend().CloseInline(write_end);
}

TEST(UringBackend, PollWithoutWorkReturnsAtOnceAndAtItsDeadline) {
  TestLoop loop;
  const task::Scheduler::Scope scope(loop.scheduler());
  EXPECT_EQ(loop.backend().Poll(0), 0u);
  EXPECT_EQ(loop.backend().counters().waits, 0u);
  const base::Nanos deadline = loop.backend().Now() + 2 * base::kNanosPerMilli;
  while (loop.backend().Now() < deadline) EXPECT_EQ(loop.backend().Poll(deadline), 0u);
  EXPECT_GE(loop.backend().counters().waits, 1u);
}

TEST(UringBackend, FileOperations) {
  TestLoop loop;
  loop.Run([](Backend& io) -> Task<void> {
    const std::string directory = MakeTestDirectory();
    const std::string path = directory + "/a";
    const int fd = *co_await OpenFile(io, path, O_RDWR | O_CREAT, 0600);
    EXPECT_TRUE((co_await Allocate(io, fd, 0, 1 << 20, path)).ok());
    EXPECT_EQ(io.Stat(fd)->size_bytes, 1 << 20);

    std::string first(5000, 'a'), second(7000, 'b');
    iovec out[2] = {{first.data(), first.size()}, {second.data(), second.size()}};
    EXPECT_EQ(co_await WriteFully(io, fd, out, 2, 100, kDataSync), 12000);
    std::string back(12000, 0);
    iovec in[2] = {{back.data(), 1}, {back.data() + 1, back.size() - 1}};
    EXPECT_EQ(co_await ReadFully(io, fd, in, 2, 100), 12000);
    EXPECT_EQ(back, first + second);

    EXPECT_EQ(io.Truncate(fd, 8000), 0);
    iovec all = {back.data(), back.size()};
    EXPECT_EQ(co_await ReadFully(io, fd, &all, 1, 100), 7900);  // short only at the end
    Op sync = MakeOp(OpCode::kSyncAll, fd);
    EXPECT_EQ(co_await io::Run(io, &sync), 0);
    Op writeback = MakeOp(OpCode::kWriteback, fd);
    writeback.length = 8000;
    EXPECT_EQ(co_await io::Run(io, &writeback), 0);
    co_await CloseFile(io, fd);

    EXPECT_TRUE((co_await Rename(io, path, directory + "/b")).ok());
    EXPECT_TRUE(absl::IsNotFound(io.StatPath(path).status()));
    EXPECT_TRUE(absl::IsNotFound(co_await Unlink(io, path)));
    EXPECT_TRUE((co_await MakeDirectory(io, directory + "/d")).ok());
    EXPECT_TRUE((co_await MakeDirectory(io, directory + "/d")).ok());
    EXPECT_TRUE(absl::IsAlreadyExists(co_await MakeDirectory(io, directory + "/b")));
    auto entries = *io.ListDirectory(directory);
    std::sort(entries.begin(), entries.end(),
              [](const auto& x, const auto& y) { return x.name < y.name; });
    EXPECT_EQ(entries.size(), 2u);
    EXPECT_EQ(entries[0].name, "b");
    EXPECT_TRUE(entries[1].is_directory);
    EXPECT_FALSE((co_await RemoveDirectoryWithFiles(io, directory)).ok());  // holds a directory
    EXPECT_TRUE((co_await RemoveDirectoryWithFiles(io, directory + "/d")).ok());
    EXPECT_TRUE((co_await RemoveDirectoryWithFiles(io, directory)).ok());
    EXPECT_TRUE(absl::IsNotFound(io.StatPath(directory).status()));
    EXPECT_GT(io.Space("/")->total_bytes, 0);
  }(loop.backend()));
}

TEST(UringBackend, ReplaceFileLeavesNoTemporary) {
  TestLoop loop;
  loop.Run([](Backend& io) -> Task<void> {
    const std::string directory = MakeTestDirectory();
    const std::string path = directory + "/state";
    EXPECT_TRUE((co_await ReplaceFile(io, path, "one")).ok());
    EXPECT_TRUE((co_await ReplaceFile(io, path, std::string(100000, 'x'))).ok());
    EXPECT_EQ((co_await ReadWholeFile(io, path, 1 << 20))->size(), 100000u);
    EXPECT_TRUE(absl::IsOutOfRange((co_await ReadWholeFile(io, path, 99999)).status()));
    EXPECT_EQ(io.ListDirectory(directory)->size(), 1u);
    EXPECT_TRUE(absl::IsNotFound(co_await ReplaceFile(io, directory + "/none/x", "y")));
    EXPECT_TRUE((co_await RemoveDirectoryWithFiles(io, directory)).ok());
  }(loop.backend()));
}

// The kernel's own count falls short now and then where other threads want the CPU.
TEST(UringBackend, WhatIsResidentIsNeverTakenForCold) {
  constexpr int64_t kBytes = (5 << 19) + 77;
  const int fd = open((MakeTestDirectory() + "/f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  const std::string data(kBytes, 'd');
  ASSERT_EQ(pwrite(fd, data.data(), data.size(), 0), kBytes);
  void* map = mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(map, MAP_FAILED);
  if (mlock(map, kBytes) != 0) GTEST_SKIP() << "pages cannot be kept in memory here";
  std::atomic<bool> stop{false};
  std::thread others([&stop] {
    while (!stop.load(std::memory_order_relaxed)) sched_yield();
  });
  TestLoop loop;
  std::mt19937_64 random(1);
  int64_t missed = 0;
  for (int look = 0; look < 1'000'000; ++look) {
    const auto position = static_cast<int64_t>(random() % kBytes);
    const int64_t length =
        std::min<int64_t>(1 + static_cast<int64_t>(random() % (512 << 10)), kBytes - position);
    if (!loop.backend().Resident(fd, position, length)) ++missed;
  }
  stop.store(true);
  others.join();
  EXPECT_EQ(missed, 0);
  munmap(map, kBytes);
  close(fd);
}

TEST(UringBackend, ResidencyNowaitAndUncachedReads) {
  TestLoop loop;
  loop.Run([](Backend& io) -> Task<void> {
    const std::string path = MakeTestDirectory() + "/f";
    const int fd = *co_await OpenFile(io, path, O_RDWR | O_CREAT, 0600);
    std::string data(1 << 20, 'd');
    iovec vector = {data.data(), data.size()};
    EXPECT_EQ(io.WriteInline(fd, &vector, 1, 0), 1 << 20);
    EXPECT_EQ(io.counters().inline_writes, 1u);
    EXPECT_TRUE(io.Resident(fd, 0, 1 << 20));
    EXPECT_TRUE((co_await SyncFile(io, fd, path)).ok());
    std::string back(1 << 16, 0);
    vector = {back.data(), back.size()};
    // The kernel drops what nobody else refers to at the moment: a few pages may take a second try.
    int64_t resident = 0;
    for (int tries = 0; tries < 1000 && resident != -EAGAIN; ++tries) {
      Op drop = MakeOp(OpCode::kDropCache, fd);
      drop.length = 1 << 20;
      EXPECT_EQ(co_await io::Run(io, &drop), 0);
      resident = io.ReadNowait(fd, &vector, 1, 1 << 18);
    }
    EXPECT_EQ(resident, -EAGAIN);
    EXPECT_FALSE(io.Resident(fd, 0, 1 << 20));

    Op read = MakeOp(OpCode::kRead, fd);
    read.vectors = &vector;
    read.vector_count = 1;
    read.position = 1 << 19;
    read.flags = kDontCache;
    EXPECT_EQ(co_await io::Run(io, &read), 1 << 16);
    EXPECT_EQ(back, std::string(1 << 16, 'd'));
    if (io.features().dont_cache) {
      EXPECT_FALSE(io.Resident(fd, 1 << 19, 1 << 16));
    }
    read.flags = 0;
    EXPECT_EQ(co_await io::Run(io, &read), 1 << 16);
    EXPECT_TRUE(io.Resident(fd, 1 << 19, 1 << 16));
    EXPECT_EQ(io.ReadNowait(fd, &vector, 1, 1 << 19), 1 << 16);
    EXPECT_EQ(io.ReadNowait(fd, &vector, 1, 1 << 20), 0);  // the end

    const uint8_t* map = *io.Map(fd, 5000, 100);
    EXPECT_EQ(map[99], 'd');
    io.Unmap(map, 100);
    EXPECT_EQ(io.ReadBlocking(fd, back.data(), 10, (1 << 20) - 4), 4);
    co_await CloseFile(io, fd);
    EXPECT_TRUE((co_await Unlink(io, path)).ok());
  }(loop.backend()));
}

// /dev/shm (tmpfs) refuses RWF_DONTCACHE: the flag is a wish, not a demand.
TEST(UringBackend, UncachedReadFallsBackWhereTheFileSystemRefuses) {
  TestLoop loop;
  if (!loop.backend().StatPath("/dev/shm").ok()) GTEST_SKIP() << "no /dev/shm";
  loop.Run([](Backend& io) -> Task<void> {
    const int fd = *co_await OpenFile(io, "/dev/shm", O_RDWR | O_TMPFILE, 0600);
    std::string data = "bytes";
    iovec vector = {data.data(), data.size()};
    EXPECT_EQ(io.WriteInline(fd, &vector, 1, 0), 5);
    Op read = MakeOp(OpCode::kRead, fd);
    read.vectors = &vector;
    read.vector_count = 1;
    read.flags = kDontCache;
    EXPECT_EQ(co_await io::Run(io, &read), 5);
    co_await CloseFile(io, fd);
  }(loop.backend()));
}

TEST(UringBackend, SocketsCarryBytesBothWays) {
  TestLoop loop;
  loop.Run([](Backend& io) -> Task<void> {
    const auto [client, server] = co_await ConnectPair(io);
    EXPECT_EQ(io.PeerName(client).substr(0, 10), "127.0.0.1:");
    EXPECT_NE(fcntl(server, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(fcntl(server, F_GETFD) & FD_CLOEXEC, 0);

    char a[] = "hello ", b[] = "world";
    const iovec out[2] = {{a, 6}, {b, 5}};
    Op send = MakeOp(OpCode::kSend, client);
    send.vectors = out;
    send.vector_count = 2;
    EXPECT_EQ(co_await io::Run(io, &send), 11);
    char in[11];
    iovec into = {in, sizeof(in)};
    Op receive = MakeOp(OpCode::kReceive, server);
    receive.vectors = &into;
    receive.vector_count = 1;
    receive.flags = kWaitAll;
    EXPECT_EQ(co_await io::Run(io, &receive), 11);
    EXPECT_EQ(std::string(in, 11), "hello world");

    EXPECT_EQ(io.SendNowait(server, out, 1, false), 6);
    Op provided = MakeOp(OpCode::kReceiveProvided, client);
    EXPECT_EQ(co_await io::Run(io, &provided), 6);
    EXPECT_EQ(std::string(reinterpret_cast<char*>(provided.provided.data), 6), "hello ");
    io.ReleaseProvided(provided.provided);

    send.flags = kZeroCopy;
    EXPECT_EQ(co_await io::Run(io, &send), 11);
    send.vector_count = 1;
    EXPECT_EQ(co_await io::Run(io, &send), 6);
    EXPECT_EQ(io.in_flight(), 0u);  // each zero-copy send completed once

    io.ShutdownSocket(client);
    iovec rest = {in, 11};
    receive.vectors = &rest;
    EXPECT_EQ(co_await io::Run(io, &receive), 11);
    receive.flags = 0;
    EXPECT_EQ(co_await io::Run(io, &receive), 6);
    EXPECT_EQ(co_await io::Run(io, &receive), 0);
    io.CloseInline(client);
    io.CloseInline(server);
  }(loop.backend()));
}

TEST(UringBackend, ProvidedBuffersRunOutAndComeBack) {
  UringOptions options;
  options.provided_buffers = 2;
  options.provided_buffer_bytes = 4096;
  TestLoop loop(options);
  loop.Run([](Backend& io) -> Task<void> {
    const auto [client, server] = co_await ConnectPair(io);
    const std::string text(3 * 4096, 'p');
    const iovec out = {const_cast<char*>(text.data()), text.size()};
    EXPECT_EQ(io.SendNowait(client, &out, 1, false), 3 * 4096);
    Op first = MakeOp(OpCode::kReceiveProvided, server), second = first, third = first;
    EXPECT_EQ(co_await io::Run(io, &first), 4096);
    EXPECT_EQ(co_await io::Run(io, &second), 4096);
    EXPECT_NE(first.provided.id, second.provided.id);
    EXPECT_EQ(co_await io::Run(io, &third), -ENOBUFS);
    io.ReleaseProvided(first.provided);
    EXPECT_EQ(co_await io::Run(io, &third), 4096);
    io.ReleaseProvided(second.provided);
    io.ReleaseProvided(third.provided);
    // The end of the stream uses no buffer up.
    io.ShutdownSocket(client);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(co_await io::Run(io, &third), 0);
    io.CloseInline(client);
    io.CloseInline(server);
  }(loop.backend()));
}

TEST(UringBackend, LinkedSpliceMovesAFileRangeToASocket) {
  TestLoop loop;
  loop.Run([](Backend& io) -> Task<void> {
    const auto [client, server] = co_await ConnectPair(io);
    const std::string path = MakeTestDirectory() + "/f";
    EXPECT_TRUE((co_await ReplaceFile(io, path, std::string(30000, 's'))).ok());
    const int fd = *co_await OpenFile(io, path, O_RDONLY, 0);
    const auto [read_end, write_end] = *io.Pipe(1 << 18);
    EXPECT_GE(io.PipeCapacity(read_end), 1 << 16);

    struct Pair : Op {
      task::Event* done = nullptr;
    };
    task::Event done;
    Pair second;
    Op first = MakeOp(OpCode::kSplice, fd);
    first.fd2 = write_end;
    first.position = 1000;
    first.position2 = -1;
    first.length = 20000;
    first.on_complete = [](Op*) {};
    second.code = OpCode::kSplice;
    second.fd = read_end;
    second.fd2 = server;
    second.position = second.position2 = -1;
    second.length = 20000;
    second.done = &done;
    second.on_complete = [](Op* op) { static_cast<Pair*>(op)->done->Set(); };
    io.SubmitLinked(&first, &second);
    co_await done.Wait();
    EXPECT_EQ(first.result, 20000);
    EXPECT_EQ(second.result, 20000);

    // A short first half (the file ends) breaks the link.
    task::Event again;
    second.done = &again;
    first.position = 25000;
    io.SubmitLinked(&first, &second);
    co_await again.Wait();
    EXPECT_EQ(first.result, 5000);
    EXPECT_EQ(second.result, -ECANCELED);
    io.CloseInline(read_end);
    io.CloseInline(write_end);
    io.CloseInline(client);
    io.CloseInline(server);
    co_await CloseFile(io, fd);
  }(loop.backend()));
}

TEST(UringBackend, SendfileStopsWhereTheSocketIsFull) {
  TestLoop loop;
  loop.Run([](Backend& io) -> Task<void> {
    const auto [client, server] = co_await ConnectPair(io);
    const int fd = *co_await OpenFile(io, MakeTestDirectory(), O_RDWR | O_TMPFILE, 0600);
    EXPECT_EQ(io.Truncate(fd, 64 << 20), 0);
    int64_t sent = 0, result = 0;
    while ((result = io.SendfileNowait(server, fd, sent, 1 << 20)) > 0) sent += result;
    EXPECT_EQ(result, -EAGAIN);
    EXPECT_GT(sent, 0);
    EXPECT_LT(sent, 64 << 20);
    EXPECT_GT(io.UnacknowledgedBytes(server), 0);
    io.CloseInline(client);
    io.CloseInline(server);
    co_await CloseFile(io, fd);
  }(loop.backend()));
}

Task<void> RunInto(Backend& io, Op* op, bool* done) {
  co_await io::Run(io, op);
  *done = true;
}

TEST(UringBackend, CancelEndsAWaitingReceive) {
  TestLoop loop;
  loop.Run([](Backend& io) -> Task<void> {
    const auto [client, server] = co_await ConnectPair(io);
    Op receive = MakeOp(OpCode::kReceiveProvided, server);
    bool done = false;
    task::Spawn("receive", RunInto(io, &receive, &done));
    co_await task::Yield();
    EXPECT_EQ(io.in_flight(), 1u);
    io.Cancel(&receive);
    while (!done) {
      Op nop;
      co_await io::Run(io, &nop);
    }
    EXPECT_EQ(receive.result, -ECANCELED);
    io.CloseInline(client);
    io.CloseInline(server);
  }(loop.backend()));
}

TEST(UringBackend, ShutdownEndsAWaitingAcceptAndReceive) {
  TestLoop loop;
  loop.Run([](Backend& io) -> Task<void> {
    const auto [client, server] = co_await ConnectPair(io);
    const int listener = *io.Listen("127.0.0.1", 0, true);
    Op receive = MakeOp(OpCode::kReceiveProvided, server),
       accept = MakeOp(OpCode::kAccept, listener);
    bool received = false, accepted = false;
    task::Spawn("receive", RunInto(io, &receive, &received));
    task::Spawn("accept", RunInto(io, &accept, &accepted));
    co_await task::Yield();
    io.ShutdownSocket(server);
    io.ShutdownSocket(listener);
    while (!received || !accepted) {
      Op nop;
      co_await io::Run(io, &nop);
    }
    EXPECT_EQ(receive.result, 0);
    EXPECT_LT(accept.result, 0);
    io.CloseInline(client);
    io.CloseInline(server);
    io.CloseInline(listener);
  }(loop.backend()));
}

TEST(UringBackend, ListenersShareAPortAndBadAddressesAreRefused) {
  TestLoop loop;
  Backend& io = loop.backend();
  const int first = *io.Listen("::1", 0, true);
  const uint16_t port = *io.LocalPort(first);
  const int second = *io.Listen("::1", port, true);
  EXPECT_FALSE(io.Listen("::1", port, false).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(io.Listen("localhost", 0, false).status()));
  io.CloseInline(first);
  io.CloseInline(second);
}

// Frames with operations in flight can be destroyed once these have been dropped (ASan watches).
TEST(UringBackend, DropsWhatIsInFlight) {
  TestLoop loop;
  loop.Spawn([](Backend& io) -> Task<void> {
    const auto [client, server] = co_await ConnectPair(io);
    char bytes[64];
    iovec into = {bytes, sizeof(bytes)};
    Op receive = MakeOp(OpCode::kReceive, server);
    receive.vectors = &into;
    receive.vector_count = 1;
    co_await io::Run(io, &receive);
    ADD_FAILURE() << "nothing was sent to " << client;
  }(loop.backend()));
  while (loop.backend().counters().completed < 2) loop.Turn(true);
  loop.Turn(false);
  EXPECT_EQ(loop.backend().in_flight(), 1u);
}

TEST(UringBackend, AnyThreadWakesABlockedPoll) {
  TestLoop loop;
  for (int i = 0; i < 100; ++i) {
    std::atomic<bool> told = false;
    std::thread waker([&] {
      told = true;
      loop.backend().WakeFromAnyThread();
    });
    const task::Scheduler::Scope scope(loop.scheduler());
    while (!told) loop.backend().Poll(base::kNever);
    waker.join();
  }
}

// Two rings on two threads send a token to and fro, each blocked for good until it is woken.
TEST(UringBackend, RingsWakeEachOther) {
  constexpr int kRounds = 2000;
  std::atomic<int> token = 0;
  std::atomic<Backend*> backends[2] = {nullptr, nullptr};
  std::atomic<int> finished = 0;
  const auto play = [&](int self) {
    TestLoop loop;
    const task::Scheduler::Scope scope(loop.scheduler());
    backends[self] = &loop.backend();
    while (backends[1 - self] == nullptr) std::this_thread::yield();
    Backend& other = *backends[1 - self];
    while (token < kRounds) {
      if (token % 2 == self) {
        ++token;
        loop.backend().Wake(other);
        loop.backend().Poll(0);
      } else {
        loop.backend().Poll(base::kNever);
      }
    }
    loop.backend().Wake(other);  // who waits for a token that is not coming any more
    loop.backend().Poll(0);
    ++finished;
    while (finished < 2) std::this_thread::yield();
  };
  std::thread first(play, 0), second(play, 1);
  first.join();
  second.join();
  EXPECT_GE(token, kRounds);
}

}  // namespace
}  // namespace ringtail::io
