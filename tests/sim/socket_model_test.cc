// The simulated sockets against the kernel's: random histories of one connection on both backends,
// every result compared.
#include <arpa/inet.h>
#include <poll.h>

#include <memory>

#include "engine/io/uring_backend.h"
#include "engine/task/scheduler.h"
#include "gtest/gtest.h"
#include "tests/sim/node.h"
#include "tests/sim/seeds.h"

namespace ringtail::sim {
namespace {

using io::Op;
using io::OpCode;

// One backend with both ends of a connection on it.
class Side {
 public:
  virtual ~Side() = default;
  virtual io::Backend& io() = 0;
  // Until nothing more will happen.
  virtual void Settle() = 0;
  // A last chance for what the kernel put off; ends with the first completion.
  virtual void WaitBriefly() {}

  void Connect() {
    const int listener = *io().Listen("127.0.0.1", 0, false);
    sockaddr_storage storage = {};
    auto* address = reinterpret_cast<sockaddr_in*>(&storage);
    address->sin_family = AF_INET;
    address->sin_port = htons(*io().LocalPort(listener));
    inet_pton(AF_INET, "127.0.0.1", &address->sin_addr);
    fds[0] = *io().StreamSocket(false);
    EXPECT_EQ(Do({.code = OpCode::kConnect,
                  .fd = fds[0],
                  .address = &storage,
                  .address_length = sizeof(sockaddr_in)}),
              0);
    fds[1] = Do({.code = OpCode::kAccept, .fd = listener});
    io().CloseInline(listener);
    for (const int fd : fds) io().SetNoDelay(fd);  // or Nagle holds small segments back
  }
  void Close(int end) {
    io().CloseInline(fds[end]);
    fds[end] = -1;
    Settle();
  }
  // An operation that would wait gives -EAGAIN.
  int Do(Op op) {
    op.on_complete = [](Op* done) { done->poll_events = 0xffff; };
    op.poll_events &= 0x7fff;
    io().Submit(&op);
    Settle();
    if (op.poll_events != 0xffff) WaitBriefly();
    if (op.poll_events == 0xffff) return op.result;
    io().Cancel(&op);
    while (op.poll_events != 0xffff) Settle();
    return op.result == -ECANCELED ? -EAGAIN : op.result;
  }

  int fds[2] = {-1, -1};
};

class RealSide : public Side {
 public:
  RealSide() : backend_(*io::UringBackend::Create({})) {}
  ~RealSide() override {
    const task::Scheduler::Scope scope(scheduler_);
    backend_->DropOperations();
  }
  io::Backend& io() override { return *backend_; }
  // Loopback delivers within the system call; completions come with the next polls.
  void Settle() override {
    const task::Scheduler::Scope scope(scheduler_);
    for (int i = 0; i < 4; ++i) backend_->Poll(0);
  }
  void WaitBriefly() override {
    const task::Scheduler::Scope scope(scheduler_);
    backend_->Poll(backend_->Now() + 300'000);
  }

 private:
  task::Scheduler scheduler_;
  std::unique_ptr<io::Backend> backend_;
};

class SimulatedSide : public Side {
 public:
  explicit SimulatedSide(uint64_t seed)
      : world_(Options(seed)), node_(world_, world_.NewProcess("both")) {}
  io::Backend& io() override { return node_.io(); }
  void Settle() override { world_.RunFor(base::kNanosPerSecond); }

 private:
  static SimOptions Options(uint64_t seed) {
    SimOptions options;
    options.seed = seed;
    options.network.send_buffer_bytes = options.network.receive_buffer_bytes = 64 << 10;
    return options;
  }
  SimWorld world_;
  SimNode node_;
};

// One step on one side: what it did, and its result and bytes.
std::string Step(Side& side, uint64_t what, int end, size_t bytes) {
  const int fd = side.fds[end];
  if (fd < 0) return "closed";
  std::string buffer(bytes, static_cast<char>('a' + what));
  const iovec vector{buffer.data(), buffer.size()};
  const std::string name = "end " + std::to_string(end) + " ";
  if (what < 3) {
    const int64_t sent = side.io().SendNowait(fd, &vector, 1, false);
    side.Settle();
    return name + "send nowait " + std::to_string(sent);
  }
  if (what < 5) {
    const int sent =
        side.Do({.code = OpCode::kSend, .fd = fd, .vectors = &vector, .vector_count = 1});
    return name + "send " + std::to_string(sent);
  }
  if (what < 9 || what == 10) {
    buffer.assign(bytes, '\0');
    const int got = side.Do({.code = OpCode::kReceive,
                             .flags = what >= 8 ? uint32_t{io::kWaitAll} : 0,
                             .fd = fd,
                             .vectors = &vector,
                             .vector_count = 1});
    buffer.resize(static_cast<size_t>(std::max(got, 0)));
    return name + "receive " + std::to_string(what) + " " + std::to_string(got) + " " + buffer;
  }
  if (what == 9) {
    const Op poll{.code = OpCode::kPoll, .fd = fd, .poll_events = POLLIN | POLLOUT | POLLRDHUP};
    return name + "poll " + std::to_string(side.Do(poll));
  }
  if (what == 11) {
    side.io().ShutdownSocket(fd);
    side.Settle();
    return name + "shutdown";
  }
  if (what == 12) {
    side.Close(end);
    return name + "close";
  }
  if (what == 13) {
    side.io().EndSending(fd);
    side.Settle();
    return name + "end sending";
  }
  side.io().AbortSocket(fd);
  side.Settle();
  return name + "abort";
}

TEST(SocketModelTest, BehavesAsTheKernel) {
  RealSide real;  // one ring for all: the kernel frees them late
  ForSeeds(150, [&real](uint64_t seed) {
    Rng rng(seed);
    SimulatedSide simulated(seed);
    real.Connect();
    simulated.Connect();
    std::string log;
    for (int step = 0; step < 40; ++step) {
      const uint64_t what = rng.Below(rng.Chance(0.3) ? 15 : 11);
      const int end = static_cast<int>(rng.Below(2));
      const size_t bytes = 1 + rng.Below(50);
      const std::string expected = Step(real, what, end, bytes);
      log += expected + "\n";
      ASSERT_EQ(Step(simulated, what, end, bytes), expected) << log;
    }
    for (Side* side : {static_cast<Side*>(&real), static_cast<Side*>(&simulated)}) {
      for (const int end : {0, 1}) {
        if (side->fds[end] >= 0) side->Close(end);
      }
    }
  });
}

}  // namespace
}  // namespace ringtail::sim
