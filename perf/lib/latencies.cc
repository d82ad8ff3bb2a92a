#include "perf/lib/latencies.h"

#include <algorithm>
#include <cmath>

namespace ringtail::perf {

double Latencies::PercentileUs(double fraction) {
  if (samples_ns_.empty()) return 0;
  if (!sorted_) std::sort(samples_ns_.begin(), samples_ns_.end());
  sorted_ = true;
  const double rank = std::ceil(fraction * static_cast<double>(samples_ns_.size()));
  const size_t index = std::max<size_t>(1, static_cast<size_t>(rank)) - 1;
  return static_cast<double>(samples_ns_[std::min(index, samples_ns_.size() - 1)]) / 1e3;
}

}  // namespace ringtail::perf
