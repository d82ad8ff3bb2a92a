// The /metrics page: Prometheus' text format, one series per core (label core="0"). Counters begin
// at the start of the process and end in _total; times are in seconds, sizes in bytes.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "server/admin/lag.h"
#include "server/admin/snapshot.h"

namespace ringtail::server::admin {

struct MetricsInput {
  std::string version;
  bool ready = false;
  std::vector<CoreSnapshot> cores;
  std::vector<PartitionSnapshot> partitions;
  size_t partitions_omitted = 0;  // because there are too many for a series each
  std::vector<LagSnapshot> lags;
  size_t lags_omitted = 0;
};

// Also says what the process itself uses (/proc/self), under the names that Prometheus' own client
// libraries use.
std::string MetricsText(const MetricsInput& input);

}  // namespace ringtail::server::admin
