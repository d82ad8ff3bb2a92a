// Latencies of single requests. Every sample is kept, so percentiles are exact; memory is 8 bytes a
// request, which suits runs of seconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringtail::perf {

class Latencies {
 public:
  void Add(int64_t latency_ns) {
    samples_ns_.push_back(latency_ns);
    sorted_ = false;
  }

  size_t size() const { return samples_ns_.size(); }

  // The smallest sample that at least `fraction` (0.5, 0.999, 0.9999) of all samples do not exceed,
  // in microseconds; 0 without samples.
  double PercentileUs(double fraction);

 private:
  std::vector<int64_t> samples_ns_;
  bool sorted_ = true;
};

}  // namespace ringtail::perf
