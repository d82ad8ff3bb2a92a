// What `ringtail top` shows: two /metrics pages of a broker and the time between them, as tables.
#pragma once

#include <cstddef>
#include <string>

#include "tools/top/metrics_page.h"

namespace ringtail::top {

struct ViewOptions {
  std::string address;         // as the user named it
  double seconds = 1;          // between the two pages
  size_t partitions_max = 10;  // the busiest ones
  size_t rows_max = 0;         // of the terminal; 0: as many as there are
  size_t columns_max = 0;
};

// Lines without colours. What the broker does not tell is shown as "-": it may be older than this
// program. Counters that went back are those of a broker that has started again.
std::string Render(const MetricsPage& before, const MetricsPage& now, const ViewOptions& options);

}  // namespace ringtail::top
