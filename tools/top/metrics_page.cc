#include "tools/top/metrics_page.h"

#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace ringtail::top {
namespace {

// One sample, character by character.
class Line {
 public:
  explicit Line(absl::string_view text) : left_(text) {}

  bool Take(char c) {
    if (left_.empty() || left_[0] != c) return false;
    left_.remove_prefix(1);
    return true;
  }
  void SkipSpace() { left_ = absl::StripLeadingAsciiWhitespace(left_); }
  absl::string_view Name() {
    size_t length = 0;
    while (length < left_.size() &&
           (absl::ascii_isalnum(static_cast<unsigned char>(left_[length])) ||
            left_[length] == '_' || left_[length] == ':')) {
      ++length;
    }
    const absl::string_view name = left_.substr(0, length);
    left_.remove_prefix(length);
    return name;
  }
  // Between quotes; \\, \" and \n stand for what they do in C.
  bool Quoted(std::string* value) {
    if (!Take('"')) return false;
    while (!left_.empty() && left_[0] != '"') {
      char c = left_[0];
      left_.remove_prefix(1);
      if (c == '\\') {
        if (left_.empty()) return false;
        c = left_[0] == 'n' ? '\n' : left_[0];
        left_.remove_prefix(1);
      }
      value->push_back(c);
    }
    return Take('"');
  }
  bool LabelsAre(Labels* labels) {
    if (!Take('{')) return true;
    while (!Take('}')) {
      SkipSpace();
      const std::string name(Name());
      if (name.empty() || !Take('=') || !Quoted(&(*labels)[name])) return false;
      SkipSpace();
      Take(',');
    }
    return true;
  }
  // A timestamp may follow.
  bool Value(double* value) {
    SkipSpace();
    const absl::string_view text = left_.substr(0, left_.find(' '));
    if (text == "+Inf" || text == "-Inf" || text == "NaN") {
      *value = text == "NaN"    ? std::numeric_limits<double>::quiet_NaN()
               : text == "+Inf" ? std::numeric_limits<double>::infinity()
                                : -std::numeric_limits<double>::infinity();
      return true;
    }
    return absl::SimpleAtod(text, value);
  }

 private:
  absl::string_view left_;
};

bool Has(const Series& series, const MetricsPage::Wanted& wanted) {
  for (const auto& [label, value] : wanted) {
    const auto found = series.labels.find(label);
    if (found == series.labels.end() || found->second != value) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<MetricsPage> MetricsPage::Parse(absl::string_view text) {
  MetricsPage page;
  for (const absl::string_view each : absl::StrSplit(text, '\n')) {
    const absl::string_view stripped = absl::StripAsciiWhitespace(each);
    if (stripped.empty() || stripped[0] == '#') continue;
    Line line(stripped);
    const std::string name(line.Name());
    Series series;
    if (name.empty() || !line.LabelsAre(&series.labels) || !line.Value(&series.value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected a sample of a metric, found: ", stripped.substr(0, 200)));
    }
    page.series_[name].push_back(std::move(series));
  }
  return page;
}

const std::vector<Series>& MetricsPage::All(absl::string_view name) const {
  static const auto* none = new std::vector<Series>();
  const auto found = series_.find(name);
  return found == series_.end() ? *none : found->second;
}

std::optional<double> MetricsPage::Sum(absl::string_view name, const Wanted& wanted) const {
  std::optional<double> sum;
  for (const Series& series : All(name)) {
    if (Has(series, wanted)) sum = sum.value_or(0) + series.value;
  }
  return sum;
}

std::string MetricsPage::Label(absl::string_view name, absl::string_view label) const {
  const std::vector<Series>& all = All(name);
  if (all.empty()) return "";
  const auto found = all.front().labels.find(label);
  return found == all.front().labels.end() ? "" : found->second;
}

}  // namespace ringtail::top
