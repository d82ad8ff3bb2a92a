// The rings of the raw loops: closed when they go, and where the kernel refuses one, Unavailable in
// words that name the flag.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <string>

#include "perf/lib/os.h"

namespace ringtail::raw {

// As the broker sets its rings up: one issuer, completions run when it asks for them.
inline constexpr uint32_t kBrokerRingFlags = IORING_SETUP_SINGLE_ISSUER |
                                             IORING_SETUP_DEFER_TASKRUN |
                                             IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL;

struct RingOptions {
  unsigned entries = 64;
  uint32_t flags = kBrokerRingFlags;  // IORING_SETUP_...
  uint32_t sqpoll_idle_ms = 50;       // with SQPOLL: after so long without work its thread sleeps
  int sqpoll_cpu = perf::kClientCpu;  // and stands on this CPU (perf::CpuNumber)
  bool register_ring = false;         // saves looking its descriptor up at each call
};

class Ring {
 public:
  explicit Ring(const RingOptions& options);
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() { io_uring_queue_exit(&ring_); }

  io_uring* get() { return &ring_; }
  // Submits what is there where the queue is full.
  io_uring_sqe* Entry();
  // Hands over what is prepared and waits for `count` completions.
  void SubmitAndWait(unsigned count);
  // Calls `take` with each completion that is there; returns how many.
  template <typename Take>
  unsigned Reap(const Take& take) {
    unsigned head;
    unsigned count = 0;
    const io_uring_cqe* completion;
    io_uring_for_each_cqe(&ring_, head, completion) {
      take(*completion);
      ++count;
    }
    io_uring_cq_advance(&ring_, count);
    return count;
  }

 private:
  io_uring ring_;
};

// "EOPNOTSUPP" of a negated error.
std::string ErrorName(int negated_error);

}  // namespace ringtail::raw
