#include "perf/raw/wake.h"

#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/os.h"
#include "perf/lib/timed_work.h"
#include "perf/raw/ring.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::CheckRing;
using perf::Require;

// What lies between the two threads; each is a side, 0 or 1, and calls it with that.
class Link {
 public:
  virtual ~Link() = default;
  // Once for each side, on its thread, before anything else.
  virtual void Prepare(int) {}
  // Waits to be woken by the other side.
  virtual void Wait(int side) = 0;
  // Wakes the other side.
  virtual void Wake(int side) = 0;
  // Both, in this order.
  virtual void Exchange(int side) {
    Wake(side);
    Wait(side);
  }
};

// A line for each side's word.
struct alignas(64) Word {
  std::atomic<uint32_t> woken{0};
};

class SpinLink : public Link {
 public:
  void Wait(int side) override {
    while (words_[side].woken.load(std::memory_order_acquire) == 0) __builtin_ia32_pause();
    words_[side].woken.store(0, std::memory_order_relaxed);
  }
  void Wake(int side) override { words_[1 - side].woken.store(1, std::memory_order_release); }

 private:
  Word words_[2];
};

class FutexLink : public Link {
 public:
  void Wait(int side) override {
    while (words_[side].woken.exchange(0, std::memory_order_acquire) == 0) {
      const long result = Futex(side, FUTEX_WAIT_PRIVATE, 0);
      if (result < 0 && errno != EAGAIN && errno != EINTR) CheckCall(result, "FUTEX_WAIT");
    }
  }
  void Wake(int side) override {
    words_[1 - side].woken.store(1, std::memory_order_release);
    CheckCall(Futex(1 - side, FUTEX_WAKE_PRIVATE, 1), "FUTEX_WAKE");
  }

 private:
  long Futex(int side, int operation, uint32_t value) {
    return syscall(SYS_futex, &words_[side].woken, operation, value, nullptr, nullptr, 0);
  }

  Word words_[2];
};

class EventfdLink : public Link {
 public:
  EventfdLink() {
    for (perf::Fd& event : events_) event = perf::Fd(CheckCall(eventfd(0, EFD_CLOEXEC), "eventfd"));
  }
  void Wait(int side) override {
    uint64_t count = 0;
    const ssize_t got = CheckCall(read(events_[side].get(), &count, sizeof(count)), "read eventfd");
    Require(got == sizeof(count) && count == 1, "an eventfd was signalled more than once");
  }
  void Wake(int side) override {
    const uint64_t one = 1;
    CheckCall(write(events_[1 - side].get(), &one, sizeof(one)), "write eventfd");
  }

 private:
  perf::Fd events_[2];
};

class PipeLink : public Link {
 public:
  PipeLink() {
    for (int side = 0; side < 2; ++side) {
      int ends[2];
      CheckCall(pipe2(ends, O_CLOEXEC), "pipe2");
      from_[side] = perf::Fd(ends[0]);
      to_[side] = perf::Fd(ends[1]);
    }
  }
  void Wait(int side) override {
    char bytes[2];
    const ssize_t got = CheckCall(read(from_[side].get(), bytes, sizeof(bytes)), "read pipe");
    Require(got == 1, "a pipe held more than one byte");
  }
  void Wake(int side) override { CheckCall(write(to_[1 - side].get(), "w", 1), "write pipe"); }

 private:
  perf::Fd from_[2];
  perf::Fd to_[2];
};

// How a loop that sleeps in its ring is woken by a thread without one.
class RingEventfdLink : public Link {
 public:
  RingEventfdLink() {
    // Blocking, or the ring's read would end with EAGAIN instead of waiting.
    for (perf::Fd& event : events_) event = perf::Fd(CheckCall(eventfd(0, EFD_CLOEXEC), "eventfd"));
  }
  void Prepare(int side) override { rings_[side].emplace(RingOptions{}); }
  void Wait(int side) override {
    Ring& ring = *rings_[side];
    uint64_t count = 0;
    io_uring_prep_read(ring.Entry(), events_[side].get(), &count, sizeof(count), 0);
    ring.SubmitAndWait(1);
    const unsigned reaped = ring.Reap([](const io_uring_cqe& completion) {
      Require(CheckRing(completion.res, "ring read of an eventfd") == sizeof(uint64_t),
              "a short read of an eventfd");
    });
    Require(reaped == 1 && count == 1, "an eventfd was signalled more than once");
  }
  void Wake(int side) override {
    const uint64_t one = 1;
    CheckCall(write(events_[1 - side].get(), &one, sizeof(one)), "write eventfd");
  }

 private:
  perf::Fd events_[2];
  std::optional<Ring> rings_[2];
};

// A wake and the wait behind it are one system call. A message that went well tells its sender
// nothing (CQE_SKIP_SUCCESS); one that did not is an error.
class MessageRingLink : public Link {
 public:
  MessageRingLink() {
    Ring ring(RingOptions{});
    const std::unique_ptr<io_uring_probe, void (*)(io_uring_probe*)> probe(
        io_uring_get_probe_ring(ring.get()), &io_uring_free_probe);
    if (probe == nullptr) throw perf::Unavailable("io_uring_register is refused");
    if (!io_uring_opcode_supported(probe.get(), IORING_OP_MSG_RING)) {
      throw perf::Unavailable("the kernel has no IORING_OP_MSG_RING (Linux 5.18)");
    }
  }
  void Prepare(int side) override {
    rings_[side].emplace(RingOptions{});
    descriptors_[side] = rings_[side]->get()->ring_fd;
  }
  void Wait(int side) override {
    unsigned woken = 0;
    while (woken == 0) {
      rings_[side]->SubmitAndWait(1);
      rings_[side]->Reap([&](const io_uring_cqe& completion) {
        CheckRing(completion.res, "MSG_RING");
        Require(completion.user_data == kWoken && ++woken == 1, "a ring was woken more than once");
      });
    }
  }
  void Wake(int side) override {
    PrepareWake(side);
    CheckRing(io_uring_submit(rings_[side]->get()), "io_uring_submit");
  }
  void Exchange(int side) override {
    PrepareWake(side);
    Wait(side);
  }

 private:
  static constexpr uint64_t kWoken = 1;

  void PrepareWake(int side) {
    io_uring_sqe* entry = rings_[side]->Entry();
    io_uring_prep_msg_ring(entry, descriptors_[1 - side], 0, kWoken, 0);
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  }

  std::optional<Ring> rings_[2];
  std::atomic<int> descriptors_[2];
};

std::unique_ptr<Link> MakeLink(WakePath path) {
  switch (path) {
    case WakePath::kSpin:
      if (perf::CpuCount() < 2) {
        throw perf::Unavailable("two threads that spin need two CPUs, and there is one");
      }
      return std::make_unique<SpinLink>();
    case WakePath::kFutex:
      return std::make_unique<FutexLink>();
    case WakePath::kEventfd:
      return std::make_unique<EventfdLink>();
    case WakePath::kPipe:
      return std::make_unique<PipeLink>();
    case WakePath::kRingEventfd:
      return std::make_unique<RingEventfdLink>();
    case WakePath::kMessageRing:
      return std::make_unique<MessageRingLink>();
  }
  return nullptr;
}

// The side that answers. An error ends the process, for the other side may sleep: the one that
// waits for this process says so.
class Answerer {
 public:
  explicit Answerer(Link& link) : link_(link), thread_([this] { Run(); }) {
    ready_.arrive_and_wait();
  }
  ~Answerer() {
    stopping_ = true;
    link_.Wake(0);
    thread_.join();
  }

 private:
  void Run() noexcept {
    perf::PinToCpu(perf::kClientCpu);
    link_.Prepare(1);
    ready_.arrive_and_wait();
    link_.Wait(1);
    while (!stopping_) link_.Exchange(1);
  }

  Link& link_;
  std::atomic<bool> stopping_{false};
  std::barrier<> ready_{2};
  std::thread thread_;
};

}  // namespace

const char* Name(WakePath path) {
  switch (path) {
    case WakePath::kSpin:
      return "spinning on a shared word";
    case WakePath::kFutex:
      return "futex";
    case WakePath::kEventfd:
      return "eventfd";
    case WakePath::kPipe:
      return "pipe";
    case WakePath::kRingEventfd:
      return "eventfd, read by a ring";
    case WakePath::kMessageRing:
      return "MSG_RING";
  }
  return "";
}

perf::Figures RunWake(WakePath path, double seconds) {
  perf::PinToCpu(perf::kServerCpu);
  const std::unique_ptr<Link> link = MakeLink(path);
  link->Prepare(0);
  const Answerer answerer(*link);
  perf::TimedWork work(seconds);
  int64_t last_ns = perf::NowNs();
  while (true) {
    link->Exchange(0);
    const int64_t now_ns = perf::NowNs();
    work.AddLatency(now_ns - last_ns);
    last_ns = now_ns;
    if (!work.Count(1, 0, now_ns)) break;
  }
  perf::Figures figures = work.figures();
  figures.erase("syscalls_per_op");  // of this side alone
  return figures;
}

}  // namespace ringtail::raw
