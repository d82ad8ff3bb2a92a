// Charts as inline SVG. They are drawn for a width of 360 CSS pixels, so that a phone shows their
// text as large as it is. Colours come from the page's style sheet, by the classes s0 to s7.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "perf/lab/difference.h"
#include "perf/lab/figures.h"

namespace ringtail::lab {

inline constexpr size_t kColors = 8;

// What a path looks like in all charts of its family and promise.
struct Look {
  std::string path;
  bool engine = false;  // drawn heavier, with a filled mark
  size_t color = 0;     // below kColors
  size_t shape = 0;     // any number; shapes repeat
};

struct Chart {
  std::string id;     // unique in the page
  std::string title;  // for those who do not see it
  const FigureKind* kind = nullptr;
  std::vector<std::string> ticks;  // of the axis that is no figure: "4 KiB", "64 KiB"
  struct Series {
    Look look;
    std::vector<std::optional<Middle>> at;  // for each tick
  };
  std::vector<Series> series;
};

// A mark and a whisker over the middle half for each tick, joined by lines.
std::string LinesSvg(const Chart& chart);
// A bar and a whisker for each series, for a chart with one tick.
std::string BarsSvg(const Chart& chart);
// A row for each series, below the heading of its tick: from `low` (p50), a dot, to `high` (p99).
std::string RangesSvg(const Chart& chart);

// The mark of a legend.
std::string KeySvg(const Look& look);

}  // namespace ringtail::lab
