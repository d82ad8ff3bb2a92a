// Making a ring with the project's flags, probing what the kernel can do, and saying in words what
// is missing where the kernel or the container refuses.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/io/backend.h"

namespace ringtail::io {

struct UringOptions {
  uint32_t submission_entries = 512;
  uint32_t completion_entries = 8192;  // what is in flight beyond this costs an overflow
  uint32_t provided_buffers = 256;     // a power of two; 0: no kReceiveProvided
  uint32_t provided_buffer_bytes = 16384;
  WorkerLimits workers;
  uint32_t sqpoll_idle_ms = 0;  // over 0: a kernel thread submits, and sleeps when idle for so long
  std::string data_directory;   // where to probe what its file system can do; may be empty
};

// SINGLE_ISSUER|DEFER_TASKRUN|TASKRUN_FLAG|SUBMIT_ALL|CQSIZE|CLAMP: only the calling thread may use
// the ring. Without TASKRUN_FLAG completions would stay unseen until the next system call. With
// SQPOLL neither of the two is possible: the kernel's thread completes as well.
absl::Status SetUpRing(const UringOptions& options, io_uring* ring);

// Fills `features`; an error names the operations that are missing. Linux 6.1 has all it needs.
absl::Status ProbeFeatures(const UringOptions& options, io_uring* ring, Features* features);

void LimitWorkersOf(const WorkerLimits& limits, io_uring* ring);

// Buffers that the kernel picks from when bytes arrive, so that idle connections hold no memory.
class ProvidedRing {
 public:
  static constexpr uint16_t kGroup = 0;

  ProvidedRing() = default;
  ProvidedRing(const ProvidedRing&) = delete;
  ProvidedRing& operator=(const ProvidedRing&) = delete;
  ~ProvidedRing();  // the io_uring is gone

  absl::Status SetUp(uint32_t count, uint32_t bytes, io_uring* ring);
  uint8_t* Data(uint16_t id) { return memory_ + size_t{id} * bytes_; }
  void Release(uint16_t id);
  uint32_t buffer_bytes() const { return bytes_; }

 private:
  io_uring_buf_ring* entries_ = nullptr;
  size_t entries_bytes_ = 0;
  uint8_t* memory_ = nullptr;
  uint32_t count_ = 0;
  uint32_t bytes_ = 0;
};

}  // namespace ringtail::io
