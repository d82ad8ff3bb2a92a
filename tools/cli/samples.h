// Latencies, all of them, for exact percentiles.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace ringtail::cli {

class Samples {
 public:
  void Add(int64_t nanos) {
    nanos_.push_back(nanos);
    sorted_ = false;
  }
  size_t count() const { return nanos_.size(); }

  // The smallest sample that at least `percent` of them do not exceed (nearest rank), in
  // microseconds; 0 without samples.
  double Percentile(double percent) {
    if (nanos_.empty()) return 0;
    if (!sorted_) std::sort(nanos_.begin(), nanos_.end());
    sorted_ = true;
    const double rank = std::ceil(percent / 100 * static_cast<double>(nanos_.size()) - 1e-6);
    const size_t index = std::clamp<size_t>(static_cast<size_t>(rank), 1, nanos_.size()) - 1;
    return static_cast<double>(nanos_[index]) / 1000;
  }
  double Mean() const {
    double sum = 0;
    for (const int64_t nanos : nanos_) sum += static_cast<double>(nanos);
    return nanos_.empty() ? 0 : sum / static_cast<double>(nanos_.size()) / 1000;
  }

 private:
  std::vector<int64_t> nanos_;
  bool sorted_ = false;
};

}  // namespace ringtail::cli
