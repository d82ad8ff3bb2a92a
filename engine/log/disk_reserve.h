// The last bytes of the data directory's file system, which segments leave alone: below that much
// free space appends are refused, so that journal, checkpoints, catalog, deletions and a start
// always find room. One per core, on its thread; each looks for itself.
//
// Looks are calls of statfs, from a timer: a second after something was written, earlier when the
// core has written its share of what is left above the reserve, and every quarter of a second while
// it is low. A core that writes nothing arms no timer.
//
//   low    less than `bytes` is free: appends are refused
//   else   as soon as an eighth of the reserve is free above it, so that it does not flap
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/base/types.h"
#include "engine/io/backend.h"
#include "engine/task/scheduler.h"

namespace ringtail::log {

struct DiskReserveOptions {
  std::string directory;  // of the file system
  int64_t bytes = 0;      // 0: nothing is kept back
  size_t cores = 1;       // that write to the file system
};

class DiskReserve {
 public:
  // 2 % of the file system, 512 MiB at most.
  static int64_t DefaultBytes(int64_t total_bytes);

  // Looks.
  DiskReserve(io::Backend& io, DiskReserveOptions options);
  DiskReserve(const DiskReserve&) = delete;
  DiskReserve& operator=(const DiskReserve&) = delete;

  bool low() const { return low_; }
  // The same for an append, which would like to be told soon that it is over.
  bool Refuses() {
    if (low_ && !timer_.armed()) Schedule();
    return low_;
  }
  // Whether that much may be taken for what can be done without: space ahead of the appends, a
  // longer journal.
  bool HasSpareFor(int64_t bytes) const { return spare_bytes() >= bytes; }
  // What is free above the reserve, by the last look and what this core has taken since.
  int64_t spare_bytes() const;
  // The core has taken so much space; has the file system looked at when it is time. Cheap.
  void Charge(int64_t bytes) {
    if (options_.bytes == 0) return;
    charged_bytes_ += bytes;
    if (!timer_.armed() || (charged_bytes_ >= share_bytes_ && !due_now_)) Schedule();
  }
  // Looks now. Where the file system does not answer, nothing changes.
  void Look();
  // Called by Look() when low() has changed. Must not suspend.
  void set_on_change(void (*call)(void*), void* argument) {
    on_change_ = call;
    on_change_argument_ = argument;
  }

  // As of the last look.
  int64_t total_bytes() const { return total_bytes_; }
  int64_t available_bytes() const { return available_bytes_; }
  int64_t reserve_bytes() const { return options_.bytes; }

 private:
  struct LookTimer : task::Timer {
    explicit LookTimer(DiskReserve* owner) : Timer(&DiskReserve::LookDue), reserve(owner) {}
    DiskReserve* reserve;
  };
  static void LookDue(task::Timer* timer);
  void Schedule();
  bool ReadSpace();

  io::Backend& io_;
  DiskReserveOptions options_;
  int64_t total_bytes_ = 0;
  int64_t available_bytes_ = 0;
  int64_t charged_bytes_ = 0;  // since the last look
  int64_t share_bytes_ = 0;    // charged: it is time to look
  bool due_now_ = false;       // the timer is armed for the next turn
  bool low_ = false;
  LookTimer timer_{this};
  void (*on_change_)(void*) = nullptr;
  void* on_change_argument_ = nullptr;
};

}  // namespace ringtail::log
