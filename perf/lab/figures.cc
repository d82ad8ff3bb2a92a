#include "perf/lab/figures.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "perf/lib/check.h"

namespace ringtail::lab {

const std::vector<FigureKind>& FigureKinds() {
  static const std::vector<FigureKind> kinds = {
      {"gb_per_s", Subject::kRate, "GB/s", "", "GB per second"},
      {"ops_per_s", Subject::kRate, "ops/s", "", "operations per second"},
      {"cpu_s_per_gb", Subject::kCpu, "CPU", "s/GB", "CPU seconds per GB"},
      {"cpu_us_per_op", Subject::kCpu, "CPU", "us/op", "CPU us per operation"},
      {"p50_us", Subject::kLatency, "p50", "us", "p50 in us"},
      {"p99_us", Subject::kLatency, "p99", "us", "p99 in us"},
      {"p999_us", Subject::kLatency, "p99.9", "us", "p99.9 in us"},
      {"switches_per_op", Subject::kDetail, "switches", "/op", "context switches per operation"},
      {"syscalls_per_op", Subject::kDetail, "syscalls", "/op", "system calls per operation"},
  };
  return kinds;
}

const FigureKind& KindOf(absl::string_view name) {
  for (const FigureKind& kind : FigureKinds()) {
    if (name == kind.name) return kind;
  }
  throw std::logic_error(absl::StrCat("no figure ", name));
}

std::optional<Measure> MeasureOf(const GroupResult& group) {
  const Measure measures[] = {{&KindOf("gb_per_s"), &KindOf("cpu_s_per_gb")},
                              {&KindOf("ops_per_s"), &KindOf("cpu_us_per_op")}};
  for (const Measure& measure : measures) {
    for (const PathResult& path : group.paths) {
      if (RoundsOf(path, measure.rate->name) != nullptr) return measure;
    }
  }
  return std::nullopt;
}

const std::vector<double>* RoundsOf(const PathResult& path, absl::string_view figure) {
  const auto found = path.rounds.find(std::string(figure));
  if (found == path.rounds.end() || found->second.empty()) return nullptr;
  const bool sound = std::all_of(found->second.begin(), found->second.end(),
                                 [](double value) { return value >= 0 && value <= kFigureMax; });
  return sound ? &found->second : nullptr;
}

std::optional<Middle> MiddleOf(const PathResult& path, absl::string_view figure) {
  const std::vector<double>* rounds = RoundsOf(path, figure);
  if (rounds == nullptr) return std::nullopt;
  return MiddleOf(*rounds);
}

std::vector<const FigureKind*> FiguresOf(const GroupResult& group) {
  const std::optional<Measure> measure = MeasureOf(group);
  std::vector<const FigureKind*> figures;
  for (const FigureKind& kind : FigureKinds()) {
    // All operations of a group move as many bytes: their rate says the same twice.
    const bool twice = kind.subject == Subject::kRate || kind.subject == Subject::kCpu;
    if (twice && measure.has_value() && &kind != measure->rate && &kind != measure->cpu) continue;
    const bool known =
        std::any_of(group.paths.begin(), group.paths.end(),
                    [&](const PathResult& path) { return RoundsOf(path, kind.name) != nullptr; });
    if (known) figures.push_back(&kind);
  }
  return figures;
}

std::string FormatValue(const FigureKind& kind, double value) {
  if (value == 0) return "0";
  if (value >= 1e7 && kind.subject != Subject::kRate) return absl::StrFormat("%.2e", value);
  if (kind.subject == Subject::kRate && value >= 1e10) return absl::StrFormat("%.2e", value);
  if (kind.subject == Subject::kRate && value >= 999.5e3) {
    return absl::StrFormat("%.*fM", value >= 99.5e6 ? 0 : value >= 9.95e6 ? 1 : 2, value / 1e6);
  }
  if (kind.subject == Subject::kRate && value >= 1e4) {
    return absl::StrFormat("%.*fk", value >= 99.5e3 ? 0 : 1, value / 1e3);
  }
  if (value >= 99.95) return absl::StrFormat("%.0f", value);
  if (value >= 9.995) return absl::StrFormat("%.1f", value);
  if (value >= 0.9995) return absl::StrFormat("%.2f", value);
  if (value >= 0.0095) return absl::StrFormat("%.3f", value);
  if (value >= 0.00095) return absl::StrFormat("%.4f", value);
  return absl::StrFormat("%.1e", value);
}

std::string FormatSpread(const PathResult& path, const FigureKind& kind) {
  const std::vector<double>* rounds = RoundsOf(path, kind.name);
  if (rounds == nullptr || rounds->size() < 2) return "";
  const Middle middle = MiddleOf(*rounds);
  if (middle.median == 0) return middle.high == 0 ? "0%" : ">99%";
  const double reach = std::max(middle.high - middle.median, middle.median - middle.low);
  const double percent = 100 * reach / middle.median;
  return percent > 99 ? ">99%" : absl::StrFormat("%.0f%%", percent);
}

double FactorOf(double value, double base) {
  if (value == base) return 1;
  if (base <= 0) return kFactorMax;
  return std::min(value / base, kFactorMax);
}

std::string FormatFactor(double factor) {
  if (factor >= kFactorMax) return ">999x";
  if (factor >= 9.95) return absl::StrFormat("%.0fx", factor);
  if (factor >= 1.095 || (factor < 0.905 && factor >= 0.095)) {
    return absl::StrFormat("%.1fx", factor);
  }
  return absl::StrFormat("%.2fx", factor);
}

}  // namespace ringtail::lab
