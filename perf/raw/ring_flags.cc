#include "perf/raw/ring_flags.h"

#include <unistd.h>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/timed_work.h"
#include "perf/raw/page_file.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::CheckRing;
using perf::Require;

constexpr int kNopsPerClockLook = 64;

RingVariant Variant(const std::string& name, uint32_t flags) {
  RingVariant variant;
  variant.name = name;
  variant.options.flags = flags;
  return variant;
}

// A number of reads that are always in flight, each into memory of its own.
class RingReader {
 public:
  RingReader(const RingVariant& variant, const PageReads& reads)
      : variant_(variant),
        file_(reads.directory, reads.file_bytes, reads.direct),
        memory_(static_cast<size_t>(reads.depth * kPageBytes)),
        ring_(variant.options),
        slots_(static_cast<size_t>(reads.depth)),
        work_(reads.seconds) {
    if (variant.registered_file) {
      const int fd = file_.fd();
      CheckRing(io_uring_register_files(ring_.get(), &fd, 1), "io_uring_register_files");
    }
    if (variant.registered_buffer) RegisterMemory();
  }

  perf::Figures Run() {
    const int64_t start_ns = perf::NowNs();
    for (Slot& slot : slots_) Prepare(slot, start_ns);
    auto in_flight = static_cast<unsigned>(slots_.size());
    std::vector<Slot*> ended;
    while (in_flight > 0) {
      ring_.SubmitAndWait(1);
      const int64_t now_ns = perf::NowNs();
      ended.clear();
      ring_.Reap([&](const io_uring_cqe& completion) {
        Slot& slot = slots_[completion.user_data];
        CheckPollable(completion.res);
        PageFile::Check(completion.res, Memory(slot), slot.position);
        work_.AddLatency(now_ns - slot.start_ns);
        ended.push_back(&slot);
      });
      in_flight -= static_cast<unsigned>(ended.size());
      if (!work_.Count(static_cast<int64_t>(ended.size()), 0, now_ns)) continue;
      for (Slot* slot : ended) Prepare(*slot, now_ns);
      in_flight += static_cast<unsigned>(ended.size());
    }
    return work_.figures();
  }

 private:
  struct Slot {
    int64_t position = 0;
    int64_t start_ns = 0;
  };

  void RegisterMemory() {
    const iovec vector = {memory_.data(), memory_.size()};
    const int error = io_uring_register_buffers(ring_.get(), &vector, 1);
    if (error == -ENOMEM) {
      throw perf::Unavailable(
          "registered buffers: the limit of locked memory forbids them (ENOMEM)");
    }
    CheckRing(error, "io_uring_register_buffers");
  }

  void Prepare(Slot& slot, int64_t now_ns) {
    slot.position = file_.NextPosition();
    slot.start_ns = now_ns;
    const int fd = variant_.registered_file ? 0 : file_.fd();
    const auto position = static_cast<uint64_t>(slot.position);
    io_uring_sqe* entry = ring_.Entry();
    if (variant_.registered_buffer) {
      io_uring_prep_read_fixed(entry, fd, Memory(slot), kPageBytes, position, 0);
    } else {
      io_uring_prep_read(entry, fd, Memory(slot), kPageBytes, position);
    }
    if (variant_.registered_file) entry->flags |= IOSQE_FIXED_FILE;
    entry->user_data = static_cast<uint64_t>(&slot - slots_.data());
  }

  void CheckPollable(int result) const {
    if ((variant_.options.flags & IORING_SETUP_IOPOLL) == 0 || result != -EOPNOTSUPP) return;
    throw perf::Unavailable("IORING_SETUP_IOPOLL: the file's device cannot be polled (EOPNOTSUPP)");
  }

  char* Memory(const Slot& slot) { return memory_.data() + (&slot - slots_.data()) * kPageBytes; }

  const RingVariant& variant_;
  PageFile file_;
  perf::Buffer memory_;
  Ring ring_;
  std::vector<Slot> slots_;
  perf::TimedWork work_;
};

}  // namespace

std::vector<RingVariant> NopVariants() {
  std::vector<RingVariant> variants = {
      Variant("no flags", 0),
      Variant("COOP_TASKRUN", IORING_SETUP_COOP_TASKRUN),
      Variant("SINGLE_ISSUER", IORING_SETUP_SINGLE_ISSUER),
      Variant("SINGLE_ISSUER|DEFER_TASKRUN",
              IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN),
      Variant("SQPOLL, idle after 50 ms", IORING_SETUP_SQPOLL),
      Variant("no flags, ring registered", 0),
  };
  variants.back().options.register_ring = true;
  return variants;
}

std::vector<RingVariant> HotReadVariants() {
  std::vector<RingVariant> variants;
  for (const bool file : {false, true}) {
    for (const bool buffer : {false, true}) {
      std::string name = "ring";
      if (file || buffer) name += ", registered ";
      name += std::string(file ? "file" : "") + (file && buffer ? " and " : "") +
              (buffer ? "buffer" : "");
      variants.push_back(Variant(name, kBrokerRingFlags));
      variants.back().registered_file = file;
      variants.back().registered_buffer = buffer;
    }
  }
  return variants;
}

std::vector<RingVariant> DirectReadVariants() {
  return {Variant("ring, interrupts", kBrokerRingFlags),
          Variant("ring, IOPOLL", kBrokerRingFlags | IORING_SETUP_IOPOLL),
          Variant("ring, SQPOLL, idle after 50 ms", IORING_SETUP_SQPOLL)};
}

perf::Figures RunNops(const RingVariant& variant, int batch, double seconds) {
  Ring ring(variant.options);
  perf::TimedWork work(seconds);
  int since_look = 0;
  while (true) {
    for (int i = 0; i < batch; ++i) io_uring_prep_nop(ring.Entry());
    ring.SubmitAndWait(static_cast<unsigned>(batch));
    const unsigned reaped =
        ring.Reap([](const io_uring_cqe& completion) { CheckRing(completion.res, "ring NOP"); });
    Require(reaped == static_cast<unsigned>(batch), "NOPs were lost");
    since_look += batch;
    if (since_look < kNopsPerClockLook) continue;
    if (!work.Count(since_look, 0)) return work.figures();
    since_look = 0;
  }
}

perf::Figures RunRingReads(const RingVariant& variant, const PageReads& reads) {
  return RingReader(variant, reads).Run();
}

perf::Figures RunPreads(const PageReads& reads) {
  PageFile file(reads.directory, reads.file_bytes, reads.direct);
  const perf::Buffer page(kPageBytes);
  perf::TimedWork work(reads.seconds);
  int64_t last_ns = perf::NowNs();
  while (true) {
    const int64_t position = file.NextPosition();
    const ssize_t read = CheckCall(pread(file.fd(), page.data(), page.size(), position), "pread");
    PageFile::Check(read, page.data(), position);
    const int64_t now_ns = perf::NowNs();
    work.AddLatency(now_ns - last_ns);
    last_ns = now_ns;
    if (!work.Count(1, 0, now_ns)) return work.figures();
  }
}

}  // namespace ringtail::raw
