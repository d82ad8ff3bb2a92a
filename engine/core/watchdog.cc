#include "engine/core/watchdog.h"

#include <chrono>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ringtail::core {
namespace {

constexpr std::chrono::seconds kLookEvery{1};

// From /proc: the state follows the thread's name, which is in parentheses and may hold anything.
std::string WhatThreadDoes(int thread_id) {
  std::ifstream file(absl::StrCat("/proc/self/task/", thread_id, "/stat"));
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const size_t name_end = text.rfind(") ");
  const char state = name_end == std::string::npos ? '?' : text[name_end + 2];
  switch (state) {
    case 'R':
      return "it is computing, or waits for a CPU";
    case 'D':
      return "it waits in the kernel, as for a disk that does not answer";
    case 'S':
      return "it waits in a system call";
    case 'T':
    case 't':
      return "it was stopped from outside";
    default:
      return "what it does is unknown";
  }
}

}  // namespace

Watchdog::Watchdog(CoreGroup& group, WatchdogOptions options)
    : group_(group), options_(std::move(options)), seen_(group.count()) {}

void Watchdog::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void Watchdog::Loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, kLookEvery, [this] { return stop_; })) {
    lock.unlock();
    Look(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
    lock.lock();
  }
}

void Watchdog::Look(base::Nanos now) {
  std::string reason;
  for (uint32_t i = 0; i < group_.count(); ++i) {
    const Core& core = group_.core(base::CoreId(i));
    Seen& seen = seen_[i];
    const base::Nanos busy_since = core.busy_since();
    if (busy_since == 0 || busy_since != seen.busy_since) {
      seen = {busy_since, now, options_.report_after_ns};
      continue;
    }
    const base::Nanos stuck_ns = now - seen.first_seen;
    if (stuck_ns >= seen.next_report_ns) {
      seen.next_report_ns = 2 * stuck_ns;
      if (options_.on_report)
        options_.on_report(core.id(), stuck_ns, WhatThreadDoes(core.thread_id()));
    }
    if (stuck_ns < options_.stuck_after_ns) continue;
    absl::StrAppend(&reason, reason.empty() ? "" : "; ", "core ", i,
                    " has not come back to its loop for ", stuck_ns / base::kNanosPerSecond,
                    " s: ", WhatThreadDoes(core.thread_id()));
  }
  const std::lock_guard lock(mutex_);
  stuck_reason_ = std::move(reason);
}

std::string Watchdog::StuckReason() const {
  const std::lock_guard lock(mutex_);
  return stuck_reason_;
}

}  // namespace ringtail::core
