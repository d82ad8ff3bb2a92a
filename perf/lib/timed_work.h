// A warm-up and then a measured time: what a loop that measures asks whether to go on.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "perf/lib/clock.h"
#include "perf/lib/rounds.h"
#include "perf/lib/work_meter.h"

namespace ringtail::perf {

class TimedWork {
 public:
  // The warm-up begins, a tenth of `seconds` within bounds; then it is measured for `seconds` and
  // for `operations_min` operations at least.
  explicit TimedWork(double seconds, int64_t operations_min = 1);

  // `operations` more have ended by `now_ns`, and moved `bytes`. False once the time is over: what
  // ends later is not in the figures.
  bool Count(int64_t operations, int64_t bytes, int64_t now_ns = NowNs());
  // The time is over with the next Count(), or the warm-up if that is still on.
  void EndWithNext() { next_ns_ = 0; }
  // How long one of them took.
  void AddLatency(int64_t latency_ns) {
    if (measuring()) meter_->Add(latency_ns);
  }

  bool measuring() const { return meter_.has_value() && !done_; }
  bool done() const { return done_; }
  // Once done: as WorkMeter's.
  const Figures& figures() const { return figures_; }

 private:
  int64_t measure_ns_;
  int64_t operations_min_;
  int64_t next_ns_;  // when the warm-up or the measured time ends
  std::optional<WorkMeter> meter_;
  int64_t operations_ = 0;
  int64_t bytes_ = 0;
  bool done_ = false;
  Figures figures_;
};

// Calls `operation`, which moves `bytes` (0: not counted in bytes), again and again. An operation
// is one call.
Figures MeasureOperations(double seconds, int64_t bytes, const std::function<void()>& operation);

}  // namespace ringtail::perf
