#include "perf/lab/html_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "perf/lab/html_text.h"
#include "perf/lab/text_layout.h"

namespace ringtail::lab {
namespace {

constexpr double kWidth = 360;
constexpr size_t kShapes = 5;
constexpr double kMark = 4;  // half of a mark's width

// Maps values to a stretch of the drawing: from 0, or by logarithms where they span too much.
class Scale {
 public:
  Scale(double least, double most, double from, double to) : from_(from), to_(to) {
    constexpr double kSpanOfLinear = 12;
    log_ = least > 0 && most / least > kSpanOfLinear;
    if (log_) {
      // To the next tenth of a decade.
      low_ = std::floor(std::log10(least) * 10 - 0.3) / 10;
      high_ = std::ceil(std::log10(most) * 10 + 0.3) / 10;
    } else {
      high_ = most > 0 ? most * 1.06 : 1;
    }
  }

  bool log() const { return log_; }

  double At(double value) const {
    const double at = log_ ? std::log10(std::max(value, 1e-300)) : value;
    return from_ + (to_ - from_) * std::clamp((at - low_) / (high_ - low_), 0.0, 1.0);
  }

  std::vector<double> Ticks() const { return log_ ? LogTicks() : LinearTicks(); }

 private:
  std::vector<double> LinearTicks() const {
    const double raw = high_ / 4;
    const double decade = std::pow(10, std::floor(std::log10(raw)));
    const double digit = raw / decade;
    const double step = decade * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
    std::vector<double> ticks;
    for (int i = 0; i * step <= high_; ++i) ticks.push_back(i * step);
    return ticks;
  }

  std::vector<double> LogTicks() const {
    std::vector<double> ticks;
    const double decades = high_ - low_;
    for (double decade = std::floor(low_); decade <= high_; decade += 1) {
      for (const double digit : {1.0, 2.0, 5.0}) {
        const bool wanted = digit == 1 || decades < 2.2;
        const double at = decade + std::log10(digit);
        if (wanted && at >= low_ && at <= high_) ticks.push_back(std::pow(10, decade) * digit);
      }
    }
    // Of many decades, each second one, and so on.
    constexpr size_t kTicksMax = 7;
    const size_t each = ticks.size() / kTicksMax + 1;
    std::vector<double> kept;
    for (size_t i = 0; i < ticks.size(); i += each) kept.push_back(ticks[i]);
    return kept;
  }

  double from_;
  double to_;
  double low_ = 0;  // of the logarithms, where there are such
  double high_ = 1;
  bool log_ = false;
};

std::string TickText(double value) {
  if (value >= 1e6) return absl::StrFormat("%gM", value / 1e6);
  if (value >= 1e3) return absl::StrFormat("%gk", value / 1e3);
  return absl::StrFormat("%g", value);
}

Scale ScaleOf(const Chart& chart, double from, double to) {
  double least = std::numeric_limits<double>::max();
  double most = 0;
  for (const Chart::Series& series : chart.series) {
    for (const std::optional<Middle>& middle : series.at) {
      if (!middle) continue;
      least = std::min({least, middle->low, middle->median});
      most = std::max(most, middle->high);
    }
  }
  return {least, most, from, to};
}

std::string Line(const char* kind, double x1, double y1, double x2, double y2) {
  return absl::StrFormat("<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                         kind, x1, y1, x2, y2);
}

// `anchor` is start, middle or end.
std::string Text(const char* kind, double x, double y, const char* anchor, absl::string_view text) {
  return absl::StrFormat("<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>",
                         kind, x, y, anchor, Escape(text));
}

// A shape around x, y.
std::string Mark(const Look& look, double x, double y) {
  const std::string kind = look.engine ? "mark full" : "mark";
  const auto path = [&](const std::string& d) {
    return absl::StrCat("<path class=\"", kind, "\" d=\"", d, "\"/>");
  };
  const double m = kMark;
  switch (look.shape % kShapes) {
    case 0:
      return absl::StrFormat("<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>", kind, x,
                             y, m);
    case 1:
      return path(absl::StrFormat("M%.1f %.1fh%.1fv%.1fh%.1fz", x - 3.5, y - 3.5, 7.0, 7.0, -7.0));
    case 2:
      return path(
          absl::StrFormat("M%.1f %.1fl%.1f %.1fh%.1fz", x, y - m - .5, m + .5, 8.0, -2 * m - 1));
    case 3:
      return path(absl::StrFormat("M%.1f %.1fl5 5l-5 5l-5 -5z", x, y - 5));
    default:
      return path(
          absl::StrFormat("M%.1f %.1fl%.1f %.1fh%.1fz", x, y + m + .5, m + .5, -8.0, -2 * m - 1));
  }
}

std::string Open(const Chart& chart, double height) {
  return absl::StrFormat(
      "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-labelledby=\"%s\">"
      "<title id=\"%s\">%s</title>",
      kWidth, height, Escape(chart.id), Escape(chart.id), Escape(chart.title));
}

std::string GroupOpen(const Look& look, const std::string& tip) {
  return absl::StrCat("<g class=\"s", look.color, look.engine ? " engine" : "", "\"><title>",
                      Escape(tip), "</title>");
}

std::string Tip(const Chart& chart, const Look& look, size_t tick, const Middle& middle) {
  const FigureKind& kind = *chart.kind;
  const std::string where = chart.ticks[tick];
  return absl::StrCat(look.path, where.empty() ? "" : ", ", where, ": ",
                      FormatValue(kind, middle.median), " (", FormatValue(kind, middle.low), " to ",
                      FormatValue(kind, middle.high), ") ", kind.words);
}

std::string GridAcross(const Scale& scale, double top, double bottom) {
  std::string out;
  for (const double tick : scale.Ticks()) {
    const double x = scale.At(tick);
    absl::StrAppend(&out, Line("grid", x, top, x, bottom),
                    Text("tick", x, bottom + 14, "middle", TickText(tick)));
  }
  return out;
}

// Names of rows stand in a column of their own.
constexpr double kNames = 138;
constexpr size_t kNameCharacters = 22;
constexpr size_t kLongNameCharacters = 16;
constexpr double kRow = 17;

std::string RowName(const Look& look, double y) {
  const bool is_long = WidthOf(look.path) > kLongNameCharacters;
  const std::string kind =
      absl::StrCat("name", look.engine ? " engine" : "", is_long ? " long" : "");
  return Text(kind.c_str(), kNames - 8, y + 4, "end", Cut(look.path, kNameCharacters));
}

}  // namespace

std::string LinesSvg(const Chart& chart) {
  constexpr double kLeft = 46;
  constexpr double kRight = kWidth - 8;
  constexpr double kTop = 10;
  constexpr double kBottom = 196;
  const Scale scale = ScaleOf(chart, kBottom, kTop);
  std::string out = Open(chart, kBottom + (scale.log() ? 42 : 26));
  for (const double tick : scale.Ticks()) {
    const double y = scale.At(tick);
    absl::StrAppend(&out, Line("grid", kLeft, y, kRight, y),
                    Text("tick", kLeft - 6, y + 4, "end", TickText(tick)));
  }
  const double slot = (kRight - kLeft) / static_cast<double>(chart.ticks.size());
  for (size_t i = 0; i < chart.ticks.size(); ++i) {
    const double x = kLeft + slot * (static_cast<double>(i) + 0.5);
    absl::StrAppend(&out, Text("tick", x, kBottom + 17, "middle", Cut(chart.ticks[i], 14)));
  }
  if (scale.log()) {
    absl::StrAppend(&out, Text("tick", kRight, kBottom + 34, "end", "logarithmic scale"));
  }
  // Marks of one tick stand beside each other, so that their whiskers can be told apart.
  const auto count = static_cast<double>(chart.series.size());
  const double step = std::min(10.0, slot * 0.6 / count);
  for (size_t s = 0; s < chart.series.size(); ++s) {
    const Chart::Series& series = chart.series[s];
    const double shift = (static_cast<double>(s) - (count - 1) / 2) * step;
    std::string line;
    std::string marks;
    for (size_t i = 0; i < series.at.size(); ++i) {
      if (!series.at[i]) continue;
      const Middle& middle = *series.at[i];
      const double x = kLeft + slot * (static_cast<double>(i) + 0.5) + shift;
      absl::StrAppendFormat(&line, "%.1f,%.1f ", x, scale.At(middle.median));
      absl::StrAppend(&marks, GroupOpen(series.look, Tip(chart, series.look, i, middle)),
                      Line("whisker", x, scale.At(middle.low), x, scale.At(middle.high)),
                      Mark(series.look, x, scale.At(middle.median)), "</g>");
    }
    absl::StrAppend(&out, GroupOpen(series.look, series.look.path),
                    "<polyline class=\"line\" points=\"", line, "\"/></g>", marks);
  }
  return absl::StrCat(out, "</svg>");
}

std::string BarsSvg(const Chart& chart) {
  constexpr double kTop = 6;
  constexpr double kRowOfBars = 26;
  const double bottom = kTop + kRowOfBars * static_cast<double>(chart.series.size());
  const Scale scale = ScaleOf(chart, kNames, kWidth - 14);
  std::string out = Open(chart, bottom + (scale.log() ? 36 : 20));
  absl::StrAppend(&out, GridAcross(scale, kTop, bottom));
  if (scale.log()) {
    absl::StrAppend(&out, Text("tick", kWidth - 14, bottom + 31, "end", "logarithmic scale"));
  }
  for (size_t s = 0; s < chart.series.size(); ++s) {
    const Chart::Series& series = chart.series[s];
    const double y = kTop + kRowOfBars * (static_cast<double>(s) + 0.5);
    absl::StrAppend(&out, RowName(series.look, y));
    if (series.at.empty() || !series.at[0]) continue;
    const Middle& middle = *series.at[0];
    absl::StrAppend(&out, GroupOpen(series.look, Tip(chart, series.look, 0, middle)));
    absl::StrAppendFormat(
        &out, "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"13\" rx=\"2\"/>",
        kNames, y - 6.5, scale.At(middle.median) - kNames);
    absl::StrAppend(
        &out, Line("whisker over", scale.At(middle.low), y, scale.At(middle.high), y),
        Line("whisker over", scale.At(middle.low), y - 3, scale.At(middle.low), y + 3),
        Line("whisker over", scale.At(middle.high), y - 3, scale.At(middle.high), y + 3), "</g>");
  }
  return absl::StrCat(out, "</svg>");
}

std::string RangesSvg(const Chart& chart) {
  constexpr double kTop = 4;
  const double headings = chart.ticks.size() > 1 ? static_cast<double>(chart.ticks.size()) : 0;
  const double rows = static_cast<double>(chart.series.size() * chart.ticks.size());
  const double bottom = kTop + kRow * rows + 20 * headings;
  const Scale scale = ScaleOf(chart, kNames + 6, kWidth - 14);
  std::string out = Open(chart, bottom + (scale.log() ? 36 : 20));
  absl::StrAppend(&out, GridAcross(scale, kTop, bottom));
  if (scale.log()) {
    absl::StrAppend(&out, Text("tick", kWidth - 14, bottom + 31, "end", "logarithmic scale"));
  }
  double y = kTop;
  for (size_t i = 0; i < chart.ticks.size(); ++i) {
    if (headings > 0) {
      absl::StrAppend(&out, Text("block", 0, y + 14, "start", Cut(chart.ticks[i], 18)));
      y += 20;
    }
    for (const Chart::Series& series : chart.series) {
      const double middle = y + kRow / 2;
      y += kRow;
      absl::StrAppend(&out, RowName(series.look, middle));
      if (!series.at[i]) continue;
      const Middle& at = *series.at[i];
      const double high = scale.At(at.high);
      const std::string tick = chart.ticks[i];
      absl::StrAppend(
          &out,
          GroupOpen(series.look,
                    absl::StrCat(series.look.path, tick.empty() ? "" : ", ", tick, ": p50 ",
                                 FormatValue(*chart.kind, at.median), " us, p99 ",
                                 FormatValue(*chart.kind, at.high), " us")),
          Line("range", scale.At(at.median), middle, high, middle),
          Line("range", high, middle - 4, high, middle + 4),
          Mark(series.look, scale.At(at.median), middle), "</g>");
    }
  }
  return absl::StrCat(out, "</svg>");
}

std::string KeySvg(const Look& look) {
  return absl::StrCat("<svg class=\"key s", look.color, look.engine ? " engine" : "",
                      "\" viewBox=\"0 0 22 14\" aria-hidden=\"true\">", Line("line", 0, 7, 22, 7),
                      Mark(look, 11, 7), "</svg>");
}

}  // namespace ringtail::lab
