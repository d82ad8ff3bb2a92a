#include "perf/lib/timed_work.h"

#include <algorithm>
#include <utility>

namespace ringtail::perf {
namespace {

constexpr double kWarmupSecondsMin = 0.002;
constexpr double kWarmupSecondsMax = 0.1;

int64_t Nanos(double seconds) { return static_cast<int64_t>(seconds * kNsPerSecond); }

}  // namespace

TimedWork::TimedWork(double seconds, int64_t operations_min)
    : measure_ns_(Nanos(seconds)),
      operations_min_(operations_min),
      next_ns_(NowNs() + Nanos(std::clamp(seconds / 10, kWarmupSecondsMin, kWarmupSecondsMax))) {}

bool TimedWork::Count(int64_t operations, int64_t bytes, int64_t now_ns) {
  if (done_) return false;
  if (!meter_.has_value()) {
    if (now_ns < next_ns_) return true;
    meter_.emplace();
    next_ns_ = NowNs() + measure_ns_;
    return true;
  }
  operations_ += operations;
  bytes_ += bytes;
  if (now_ns < next_ns_ || operations_ < operations_min_) return true;
  figures_ = meter_->Finish(operations_, bytes_);
  done_ = true;
  return false;
}

Figures MeasureOperations(double seconds, int64_t bytes, const std::function<void()>& operation) {
  TimedWork work(seconds);
  int64_t start_ns = NowNs();
  int64_t end_ns;
  do {
    operation();
    end_ns = NowNs();
    work.AddLatency(end_ns - std::exchange(start_ns, end_ns));
  } while (work.Count(1, bytes, end_ns));
  return work.figures();
}

}  // namespace ringtail::perf
