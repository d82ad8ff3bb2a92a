#include "tools/top/view.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace ringtail::top {
namespace {

using Maybe = std::optional<double>;
using Cells = std::vector<std::string>;

constexpr char kNotTold[] = "-";

// Three digits and a unit: 0, 0.5, 12.3, 456, 1.2k.
std::string Short(Maybe value, double base, std::vector<const char*> units) {
  if (!value.has_value() || std::isnan(*value)) return kNotTold;
  double number = *value;
  size_t unit = 0;
  for (; std::abs(number) >= 999.5 && unit + 1 < units.size(); ++unit) number /= base;
  const bool whole = number == std::floor(number) || std::abs(number) >= 99.95;
  return absl::StrFormat("%.*f%s", whole ? 0 : 1, number, units[unit]);
}
std::string Count(Maybe value) { return Short(value, 1000, {"", "k", "M", "G"}); }
std::string Bytes(Maybe value) { return Short(value, 1024, {"", "K", "M", "G", "T"}); }
std::string Percent(Maybe share) {
  return share.has_value() ? absl::StrFormat("%.1f", *share * 100) : kNotTold;
}
std::string Microseconds(Maybe seconds) {
  if (!seconds.has_value()) return kNotTold;
  return std::isinf(*seconds) ? "more" : Count(*seconds * 1e6);
}

// The first line names the columns; the first column is left-aligned.
void AppendTable(const std::vector<Cells>& rows, std::vector<std::string>* lines) {
  std::vector<size_t> widths(rows.front().size());
  for (const Cells& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Cells& row : rows) {
    std::string line = absl::StrFormat("%-*s", static_cast<int>(widths[0]), row[0]);
    for (size_t i = 1; i < row.size(); ++i) {
      absl::StrAppendFormat(&line, "  %*s", static_cast<int>(widths[i]), row[i]);
    }
    lines->push_back(std::move(line));
  }
  lines->push_back("");
}

class View {
 public:
  View(const MetricsPage& before, const MetricsPage& now, const ViewOptions& options)
      : before_(before), now_(now), options_(options) {
    for (const Series& series : now.All("ringtail_core_up")) {
      const auto core = series.labels.find("core");
      if (core == series.labels.end()) continue;
      (series.value > 0 ? cores_ : stalled_).push_back(core->second);
    }
  }

  std::string Text() {
    Header();
    Requests();
    Journal();
    Writes();
    Sends();
    Partitions();
    while (lines_.back().empty()) lines_.pop_back();
    if (options_.rows_max > 0 && lines_.size() > options_.rows_max) {
      lines_.resize(options_.rows_max);
    }
    for (std::string& line : lines_) {
      if (options_.columns_max > 0 && line.size() > options_.columns_max) {
        line.resize(options_.columns_max);
      }
    }
    return absl::StrJoin(lines_, "\n") + "\n";
  }

 private:
  using Wanted = MetricsPage::Wanted;

  Maybe Rate(absl::string_view name, const Wanted& wanted = {}) const {
    const Maybe now = now_.Sum(name, wanted);
    if (!now.has_value()) return std::nullopt;
    const double before = before_.Sum(name, wanted).value_or(0);
    return (before > *now ? *now : *now - before) / options_.seconds;
  }
  Maybe Ratio(Maybe above, Maybe below) const {
    if (!above.has_value() || !below.has_value() || *below <= 0) return std::nullopt;
    return *above / *below;
  }
  // Of what was observed between the pages: the upper bound of the bucket that has it.
  Maybe Quantile(const std::string& histogram, double share, const Wanted& wanted) const {
    const std::string name = histogram + "_bucket";
    const double all = Rate(histogram + "_count", wanted).value_or(0);
    if (all <= 0) return std::nullopt;
    std::vector<std::string> bounds;
    for (const Series& series : now_.All(name)) {
      const auto le = series.labels.find("le");
      if (le != series.labels.end() &&
          std::find(bounds.begin(), bounds.end(), le->second) == bounds.end()) {
        bounds.push_back(le->second);
      }
    }
    for (const std::string& bound : bounds) {
      Wanted below = wanted;
      below.emplace_back("le", bound);
      if (Rate(name, below).value_or(0) < share * all) continue;
      double seconds = HUGE_VAL;
      return bound == "+Inf" || !absl::SimpleAtod(bound, &seconds) ? HUGE_VAL : seconds;
    }
    return std::nullopt;
  }
  void Header() {
    const std::string version = now_.Label("ringtail_build_info", "version");
    const std::vector<std::string> words = absl::StrSplit(version, ' ');
    lines_.push_back(absl::StrCat(
        "ringtail ", words[0].empty() ? kNotTold : words[0], " at ", options_.address, ", ",
        cores_.size() + stalled_.size(), " cores, ", absl::StrFormat("%.1f s", options_.seconds),
        ": CPU ", Percent(Rate("process_cpu_seconds_total")), " %, memory ",
        Bytes(now_.Sum("process_resident_memory_bytes")), ", descriptors ",
        Count(now_.Sum("process_open_fds")), ", disk free ",
        Bytes(now_.Sum("ringtail_disk_available_bytes"))));
    std::vector<std::string> warnings;
    if (now_.Sum("ringtail_ready").value_or(1) == 0) warnings.push_back("it is not ready yet");
    if (now_.Sum("ringtail_disk_low").value_or(0) > 0) {
      warnings.push_back("the disk is low: appends are refused");
    }
    if (!stalled_.empty()) {
      warnings.push_back(absl::StrCat("cores that do not answer: ", absl::StrJoin(stalled_, ", ")));
    }
    const double offline = now_.Sum("ringtail_partitions_offline").value_or(0);
    if (offline > 0) warnings.push_back(absl::StrCat(Count(offline), " partitions are offline"));
    if (!warnings.empty()) lines_.push_back("! " + absl::StrJoin(warnings, "; "));
    lines_.push_back("");
  }

  void Requests() {
    std::vector<Cells> rows = {{"core", "busy %", "conns", "produce/s", "p50 us", "p99 us",
                                "fetch/s", "p50 us", "p99 us", "waits/s", "hops/s", "in flight",
                                "stalls/s"}};
    for (const std::string& core : cores_) {
      const std::string latency = "ringtail_latency_seconds";
      rows.push_back(
          {core, Percent(Rate("ringtail_core_busy_seconds_total", {{"core", core}})),
           Count(now_.Sum("ringtail_connections", {{"core", core}})),
           Count(Rate("ringtail_produce_requests_total", {{"core", core}})),
           Microseconds(Quantile(latency, 0.5, {{"core", core}, {"operation", "produce"}})),
           Microseconds(Quantile(latency, 0.99, {{"core", core}, {"operation", "produce"}})),
           Count(Rate("ringtail_fetch_requests_total", {{"core", core}})),
           Microseconds(Quantile(latency, 0.5, {{"core", core}, {"operation", "fetch"}})),
           Microseconds(Quantile(latency, 0.99, {{"core", core}, {"operation", "fetch"}})),
           Count(Rate("ringtail_fetch_waits_total", {{"core", core}})),
           Count(Rate("ringtail_hops_total", {{"core", core}})),
           Count(now_.Sum("ringtail_io_in_flight", {{"core", core}})),
           Count(Rate("ringtail_core_stalls_total", {{"core", core}}))});
    }
    AppendTable(rows, &lines_);
  }

  void Journal() {
    if (now_.All("ringtail_journal_up").empty()) return;
    std::vector<Cells> rows = {{"journal", "frames/s", "entries/frame", "bytes/s", "filled %",
                                "syncs/s", "stalls/s", "oldest write ms", "state"}};
    for (const std::string& core : cores_) {
      const Maybe frames = Rate("ringtail_journal_frames_total", {{"core", core}});
      const Maybe oldest = now_.Sum("ringtail_journal_oldest_write_seconds", {{"core", core}});
      rows.push_back(
          {core, Count(frames),
           Count(Ratio(Rate("ringtail_journal_entries_total", {{"core", core}}), frames)),
           Bytes(Rate("ringtail_journal_frame_bytes_total", {{"core", core}})),
           Percent(Ratio(now_.Sum("ringtail_journal_used_bytes", {{"core", core}}),
                         now_.Sum("ringtail_journal_capacity_bytes", {{"core", core}}))),
           Count(Rate("ringtail_journal_syncs_total", {{"core", core}})),
           Count(Rate("ringtail_journal_stalls_total", {{"core", core}})),
           Count(oldest.has_value() ? Maybe(*oldest * 1000) : oldest),
           now_.Sum("ringtail_journal_up", {{"core", core}}).value_or(0) > 0 ? "open" : "CLOSED"});
    }
    AppendTable(rows, &lines_);
  }

  void Writes() {
    std::vector<Cells> rows = {{"writes", "batches/s", "bytes/s", "batches/write", "inline/s",
                                "ring/s", "in place/s", "p99 us", "failed/s"}};
    for (const std::string& core : cores_) {
      const Maybe batches = Rate("ringtail_log_append_batches_total", {{"core", core}});
      rows.push_back(
          {core, Count(batches), Bytes(Rate("ringtail_log_append_bytes_total", {{"core", core}})),
           Count(Ratio(batches, Rate("ringtail_log_writes_total", {{"core", core}}))),
           Count(Rate("ringtail_log_writes_total", {{"core", core}, {"path", "inline"}})),
           Count(Rate("ringtail_log_writes_total", {{"core", core}, {"path", "ring"}})),
           Count(Rate("ringtail_log_bypasses_total", {{"core", core}})),
           Microseconds(Quantile("ringtail_log_write_seconds", 0.99, {{"core", core}})),
           Count(Rate("ringtail_log_write_failures_total", {{"core", core}}))});
    }
    AppendTable(rows, &lines_);
  }

  // The paths are those that the page has; of the reasons to take another, those that there were.
  void Sends() {
    std::vector<std::string> paths = Values("ringtail_send_file_bytes_total", "path");
    std::vector<std::string> reasons = Values("ringtail_send_fallbacks_total", "reason");
    std::erase_if(reasons, [this](const std::string& reason) {
      return Rate("ringtail_send_fallbacks_total", {{"reason", reason}}).value_or(0) <= 0;
    });
    Cells titles = {"sends"};
    for (const std::string& path : paths) titles.push_back(path + "/s");
    titles.insert(titles.end(), {"memory/s", "cold reads/s"});
    for (const std::string& reason : reasons) titles.push_back("!" + reason + "/s");
    std::vector<Cells> rows = {titles};
    for (const std::string& core : cores_) {
      Cells row = {core};
      for (const std::string& path : paths) {
        row.push_back(
            Bytes(Rate("ringtail_send_file_bytes_total", {{"core", core}, {"path", path}})));
      }
      row.push_back(Bytes(Rate("ringtail_send_span_bytes_total", {{"core", core}})));
      row.push_back(Count(Rate("ringtail_send_cold_reads_total", {{"core", core}})));
      for (const std::string& reason : reasons) {
        row.push_back(
            Count(Rate("ringtail_send_fallbacks_total", {{"core", core}, {"reason", reason}})));
      }
      rows.push_back(std::move(row));
    }
    AppendTable(rows, &lines_);
  }
  std::vector<std::string> Values(absl::string_view name, absl::string_view label) const {
    std::vector<std::string> values;
    for (const Series& series : now_.All(name)) {
      const auto found = series.labels.find(label);
      if (found == series.labels.end()) continue;
      if (std::find(values.begin(), values.end(), found->second) == values.end()) {
        values.push_back(found->second);
      }
    }
    return values;
  }

  // By the bytes that come and go.
  void Partitions() {
    std::map<Labels, double> in, out, ends;
    Rates("ringtail_partition_in_bytes_total", &in);
    Rates("ringtail_partition_out_bytes_total", &out);
    Rates("ringtail_partition_log_end_offset", &ends);
    std::vector<std::tuple<double, Labels>> busiest;
    for (const auto& [labels, rate] : in) {
      if (rate + out[labels] > 0) busiest.emplace_back(-(rate + out[labels]), labels);
    }
    std::sort(busiest.begin(), busiest.end());
    const size_t shown = std::min(busiest.size(), options_.partitions_max);
    std::vector<Cells> rows = {{"partition", "in/s", "out/s", "records/s"}};
    for (size_t i = 0; i < shown; ++i) {
      const Labels& labels = std::get<1>(busiest[i]);
      const auto topic = labels.find("topic");
      const auto partition = labels.find("partition");
      if (topic == labels.end() || partition == labels.end()) continue;
      rows.push_back({absl::StrCat(topic->second, "-", partition->second), Bytes(in[labels]),
                      Bytes(out[labels]), Count(ends[labels])});
    }
    if (rows.size() > 1) AppendTable(rows, &lines_);
    const double omitted = now_.Sum("ringtail_partitions_omitted").value_or(0);
    if (busiest.size() > shown || omitted > 0) {
      lines_.push_back(absl::StrCat(
          busiest.size() - shown, " more partitions are in use",
          omitted > 0 ? absl::StrCat("; ", Count(omitted), " are not on the metrics page") : ""));
    }
  }
  void Rates(absl::string_view name, std::map<Labels, double>* rates) const {
    std::map<Labels, double> before;
    for (const Series& series : before_.All(name)) before[series.labels] = series.value;
    for (const Series& series : now_.All(name)) {
      const auto found = before.find(series.labels);
      // A partition that is new has no rate yet.
      if (found == before.end() || found->second > series.value) continue;
      (*rates)[series.labels] = (series.value - found->second) / options_.seconds;
    }
  }

  const MetricsPage& before_;
  const MetricsPage& now_;
  const ViewOptions& options_;
  std::vector<std::string> cores_;    // that answer
  std::vector<std::string> stalled_;  // that do not
  std::vector<std::string> lines_;
};

}  // namespace

std::string Render(const MetricsPage& before, const MetricsPage& now, const ViewOptions& options) {
  return View(before, now, options).Text();
}

}  // namespace ringtail::top
