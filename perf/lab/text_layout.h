// Lines of a terminal: texts of a known width, wrapped and set in columns.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ringtail::lab {

// Characters of UTF-8 text; each is taken to be one column wide.
size_t WidthOf(absl::string_view text);

// At most `width` characters; a longer text ends with "...".
std::string Cut(absl::string_view text, size_t width);

// `text` behind `first`, in lines of at most `width`; those that follow are indented as far. A word
// that is longer than a line is broken.
std::string Wrap(absl::string_view first, absl::string_view text, size_t width);

// The first column and the last are set to the left, those between to the right.
class TextTable {
 public:
  // All rows, headings among them, have as many cells.
  void AddRow(std::vector<std::string> cells);
  // A line of its own between rows.
  void AddLine(std::string line);

  size_t Width() const;
  // The first column is cut where the table is wider than `width`.
  std::string Text(size_t width) const;

 private:
  struct Line {
    std::vector<std::string> cells;
    std::string alone;
  };

  std::vector<size_t> Widths() const;

  std::vector<Line> lines_;
};

}  // namespace ringtail::lab
