#include "engine/log/log_environment.h"

#include <algorithm>
#include <bit>

#include "engine/task/scheduler.h"

namespace ringtail::log {

void WriteTimes::Add(base::Nanos took_ns) {
  const uint64_t us = static_cast<uint64_t>(std::max<base::Nanos>(took_ns, 0)) / 1000;
  ++buckets[std::min<size_t>(std::bit_width(us), buckets.size() - 1)];
  ++count;
  sum_us += us;
  max_us = std::max(max_us, us);
}

LogEnvironment::LogEnvironment(io::Backend& backend, const LogOptions& options, core::Core* core)
    : io_(backend),
      options_(options),
      files_(backend, options.open_files_max),
      pins_(core),
      reserve_(backend, options.reserve) {}

bool LogEnvironment::WriteInline(int64_t bytes) {
  switch (options_.write_path) {
    case WritePath::kRing:
      return false;
    case WritePath::kInline:
      return true;
    case WritePath::kAuto:
      break;
  }
  return bytes <= options_.inline_bytes_max && task::Scheduler::Current().now() >= pause_until_;
}

void LogEnvironment::NoteInlineWrite(int64_t bytes, base::Nanos took_ns) {
  // Copying takes its time too: a nanosecond a byte is far slower than any copy.
  if (took_ns <= options_.inline_slow_ns + bytes) {
    pause_ns_ = 0;
    return;
  }
  // A single one may be this thread's having lost its CPU; the kernel's throttling goes on.
  const base::Nanos now = io_.Now();
  const bool again = now < slow_until_;
  slow_until_ = now + 2 * options_.inline_pause_min_ns;
  if (!again && pause_ns_ == 0) return;
  pause_ns_ = std::clamp(pause_ns_ * 2, options_.inline_pause_min_ns, options_.inline_pause_max_ns);
  pause_until_ = now + pause_ns_;
  ++counters_.inline_pauses;
}

}  // namespace ringtail::log
