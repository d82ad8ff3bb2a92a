#include "perf/lab/report_words.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "perf/lab/difference.h"

namespace ringtail::lab {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";

struct Decoded {
  char32_t code = 0;
  size_t bytes = 0;  // 0 where `text` does not begin with UTF-8
};

Decoded Decode(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < bytes) return {};
  char32_t code = first & (0x7F >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3F);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kSmallest[bytes] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return {};
  return {code, bytes};
}

bool IsControl(char32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) ||
         // Marks that turn the direction of what follows.
         (code >= 0x200E && code <= 0x200F) || (code >= 0x202A && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069);
}

bool IsNumber(absl::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string Printable(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Decoded decoded = Decode(text);
    absl::string_view shown = text.substr(0, decoded.bytes);
    if (decoded.code == '\n' || decoded.code == '\t') {
      shown = " ";
    } else if (decoded.bytes == 0 || IsControl(decoded.code)) {
      shown = kReplacement;
    }
    absl::StrAppend(&out, shown);
    text.remove_prefix(std::max<size_t>(decoded.bytes, 1));
  }
  return out;
}

std::string ParametersName(const std::vector<Parameter>& parameters) {
  std::string name;
  for (const Parameter& parameter : parameters) {
    absl::StrAppend(&name, name.empty() ? "" : ", ", Printable(parameter.text));
    if (parameter.text.empty()) absl::StrAppend(&name, parameter.value);
    // A bare number says nothing of what it counts.
    if (parameter.text.empty() || IsNumber(parameter.text)) {
      absl::StrAppend(&name, " ", Printable(parameter.name));
    }
  }
  return name;
}

std::string GroupName(const GroupResult& group) {
  const std::string parameters = ParametersName(group.parameters);
  return absl::StrCat(Printable(group.family), parameters.empty() ? "" : " ", parameters);
}

const char* PromiseWords(Promise promise) {
  switch (promise) {
    case Promise::kNone:
      return "";
    case Promise::kPageCache:
      return "in the page cache";
    case Promise::kDevice:
      return "on the device, not flushed";
    case Promise::kDurable:
      return "durable";
  }
  return "";
}

std::string DateText(int64_t ms) {
  const time_t seconds = ms / 1000;
  std::tm parts = {};
  char text[64];
  if (gmtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &parts) == 0) {
    return "an unknown date";
  }
  return text;
}

std::string DurationText(double seconds) {
  if (!(seconds >= 0 && seconds < 1e9)) return "an unknown time";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return absl::StrCat(whole, " s");
  if (whole < 3600) return absl::StrCat(whole / 60, " min ", whole % 60, " s");
  return absl::StrCat(whole / 3600, " h ", whole % 3600 / 60, " min");
}

std::string VersionText(const LabResult& result) {
  return result.version.empty() ? "ringtail of unknown version"
                                : absl::StrCat("ringtail ", Printable(result.version));
}

std::string Count(size_t count, absl::string_view one) {
  return absl::StrCat(count, " ", one, count == 1 ? "" : "s");
}

double MedianOf(std::vector<double> values) { return MiddleOf(std::move(values)).median; }

}  // namespace ringtail::lab
