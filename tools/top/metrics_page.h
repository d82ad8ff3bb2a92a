// A broker's /metrics page, parsed: Prometheus' text format 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/), as far as ringtaild writes it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ringtail::top {

using Labels = std::map<std::string, std::string, std::less<>>;

struct Series {
  Labels labels;
  double value = 0;
};

class MetricsPage {
 public:
  using Wanted = std::vector<std::pair<absl::string_view, absl::string_view>>;

  // InvalidArgument names the line that is no sample and no comment.
  static absl::StatusOr<MetricsPage> Parse(absl::string_view text);

  // In the order of the page.
  const std::vector<Series>& All(absl::string_view name) const;
  // Of the series that have these labels, among others; nullopt: there are none.
  std::optional<double> Sum(absl::string_view name, const Wanted& wanted = {}) const;
  // The value of a label in the first series; empty: there is none.
  std::string Label(absl::string_view name, absl::string_view label) const;

 private:
  std::map<std::string, std::vector<Series>, std::less<>> series_;
};

}  // namespace ringtail::top
