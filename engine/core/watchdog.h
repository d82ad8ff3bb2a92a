// Looks at every core from outside, so that one that never comes back to its loop is told, too: an
// endless loop, or an inline call into a disk that hangs. The core's own report comes only after
// such a turn has ended.
//
// Life: after the group's cores are there, and gone before they go. Its thread wakes once a second.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/types.h"
#include "engine/core/core.h"

namespace ringtail::core {

struct WatchdogOptions {
  base::Nanos report_after_ns = base::kNanosPerSecond;  // and each time it has doubled
  base::Nanos stuck_after_ns = 10 * base::kNanosPerSecond;
  // On the thread that looks. `doing`: what the core's thread does, as far as the kernel says.
  std::function<void(base::CoreId, base::Nanos stuck_ns, const std::string& doing)> on_report;
};

class Watchdog {
 public:
  Watchdog(CoreGroup& group, WatchdogOptions options);
  ~Watchdog() { Stop(); }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Starts a thread that looks once a second.
  void Start();
  // Ends the thread, if there is one.
  void Stop();
  // One look, at a time of any clock that does not go backwards. From one thread at a time.
  void Look(base::Nanos now);
  // Thread-safe: which cores are stuck and for how long, for people; empty if none is.
  std::string StuckReason() const;

 private:
  struct Seen {
    base::Nanos busy_since = 0;
    base::Nanos first_seen = 0;  // this turn, by Look()'s clock
    base::Nanos next_report_ns = 0;
  };
  void Loop();

  CoreGroup& group_;
  const WatchdogOptions options_;
  std::vector<Seen> seen_;  // by core

  mutable std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::string stuck_reason_;
  std::thread thread_;
};

}  // namespace ringtail::core
