#include "perf/lab/text_layout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace ringtail::lab {
namespace {

constexpr size_t kIndent = 2;
constexpr size_t kGap = 2;
constexpr size_t kFirstColumnMin = 8;

// Bytes of the first `width` characters.
size_t BytesOf(absl::string_view text, size_t width) {
  size_t bytes = 0;
  for (; bytes < text.size(); ++bytes) {
    const bool begins = (static_cast<unsigned char>(text[bytes]) & 0xC0) != 0x80;
    if (begins && width-- == 0) break;
  }
  return bytes;
}

std::string Spaces(size_t count) { return std::string(count, ' '); }

size_t Missing(absl::string_view text, size_t width) {
  return width - std::min(width, WidthOf(text));
}

}  // namespace

size_t WidthOf(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string Cut(absl::string_view text, size_t width) {
  if (WidthOf(text) <= width) return std::string(text);
  constexpr absl::string_view kEnd = "...";
  if (width <= kEnd.size()) return std::string(text.substr(0, BytesOf(text, width)));
  return absl::StrCat(text.substr(0, BytesOf(text, width - kEnd.size())), kEnd);
}

std::string Wrap(absl::string_view first, absl::string_view text, size_t width) {
  const size_t indent = WidthOf(first);
  if (indent > width / 2) return Wrap("  ", absl::StrCat(first, text), width);
  std::string out;
  std::string line(first);
  bool empty = true;
  while (!text.empty()) {
    absl::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (word.empty()) continue;
    if (!empty && WidthOf(line) + 1 + WidthOf(word) > width) {
      absl::StrAppend(&out, line, "\n");
      line = Spaces(indent);
      empty = true;
    }
    if (!empty) line += ' ';
    while (WidthOf(line) + WidthOf(word) > width && WidthOf(line) < width) {
      const size_t bytes = BytesOf(word, width - WidthOf(line));
      absl::StrAppend(&out, line, word.substr(0, bytes), "\n");
      word.remove_prefix(bytes);
      line = Spaces(indent);
    }
    absl::StrAppend(&line, word);
    empty = false;
  }
  return absl::StrCat(out, line, "\n");
}

void TextTable::AddRow(std::vector<std::string> cells) { lines_.push_back({std::move(cells), ""}); }

void TextTable::AddLine(std::string line) { lines_.push_back({{}, std::move(line)}); }

std::vector<size_t> TextTable::Widths() const {
  std::vector<size_t> widths;
  for (const Line& line : lines_) {
    widths.resize(std::max(widths.size(), line.cells.size()));
    for (size_t i = 0; i < line.cells.size(); ++i) {
      widths[i] = std::max(widths[i], WidthOf(line.cells[i]));
    }
  }
  return widths;
}

size_t TextTable::Width() const {
  size_t width = kIndent;
  for (const size_t each : Widths()) width += each + kGap;
  return width - std::min(width, kGap);
}

std::string TextTable::Text(size_t width) const {
  std::vector<size_t> widths = Widths();
  const size_t excess = Width() - std::min(Width(), width);
  if (!widths.empty() && widths[0] > kFirstColumnMin) {
    widths[0] -= std::min(excess, widths[0] - kFirstColumnMin);
  }
  std::string out;
  for (const Line& line : lines_) {
    std::string text = line.cells.empty() ? line.alone : Spaces(kIndent);
    for (size_t i = 0; i < line.cells.size(); ++i) {
      const std::string cell = i == 0 ? Cut(line.cells[i], widths[i]) : line.cells[i];
      const std::string space = Spaces(Missing(cell, widths[i]));
      const bool left = i == 0 || i + 1 == line.cells.size();
      absl::StrAppend(&text, i == 0 ? "" : Spaces(kGap), left ? cell : space, left ? space : cell);
    }
    const size_t end = text.find_last_not_of(' ');
    absl::StrAppend(&out, text.substr(0, end == std::string::npos ? 0 : end + 1), "\n");
  }
  return out;
}

}  // namespace ringtail::lab
