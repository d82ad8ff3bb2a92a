#include "perf/raw/ring.h"

#include <cstring>

#include "perf/lib/check.h"

namespace ringtail::raw {
namespace {

using perf::CheckRing;
using perf::Require;

std::string FlagNames(uint32_t flags) {
  constexpr struct {
    uint32_t flag;
    const char* name;
  } kNames[] = {{IORING_SETUP_IOPOLL, "IOPOLL"},
                {IORING_SETUP_SQPOLL, "SQPOLL"},
                {IORING_SETUP_COOP_TASKRUN, "COOP_TASKRUN"},
                {IORING_SETUP_SINGLE_ISSUER, "SINGLE_ISSUER"},
                {IORING_SETUP_DEFER_TASKRUN, "DEFER_TASKRUN"}};
  std::string names;
  for (const auto& [flag, name] : kNames) {
    if ((flags & flag) != 0) names += (names.empty() ? "" : "|") + std::string(name);
  }
  return names.empty() ? "" : " with " + names;
}

}  // namespace

std::string ErrorName(int negated_error) {
  const char* name = strerrorname_np(-negated_error);
  return name != nullptr ? name : std::to_string(-negated_error);
}

Ring::Ring(const RingOptions& options) {
  io_uring_params params = {};
  params.flags = options.flags;
  if ((options.flags & IORING_SETUP_SQPOLL) != 0) {
    params.flags |= IORING_SETUP_SQ_AFF;
    params.sq_thread_cpu = static_cast<uint32_t>(perf::CpuNumber(options.sqpoll_cpu));
    params.sq_thread_idle = options.sqpoll_idle_ms;
  }
  const int error = io_uring_queue_init_params(options.entries, &ring_, &params);
  if (error < 0) {
    throw perf::Unavailable("io_uring_setup" + FlagNames(options.flags) + ": " + strerror(-error) +
                            " (" + ErrorName(error) + ")");
  }
  if (!options.register_ring) return;
  const int registered = io_uring_register_ring_fd(&ring_);
  if (registered == 1) return;
  io_uring_queue_exit(&ring_);
  throw perf::Unavailable("IORING_REGISTER_RING_FDS: " + std::string(strerror(-registered)) + " (" +
                          ErrorName(registered) + ")");
}

io_uring_sqe* Ring::Entry() {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  if (entry == nullptr) {
    CheckRing(io_uring_submit(&ring_), "io_uring_submit");
    entry = io_uring_get_sqe(&ring_);
  }
  Require(entry != nullptr, "the submission queue is full");
  return entry;
}

void Ring::SubmitAndWait(unsigned count) {
  CheckRing(io_uring_submit_and_wait(&ring_, count), "io_uring_submit_and_wait");
}

}  // namespace ringtail::raw
