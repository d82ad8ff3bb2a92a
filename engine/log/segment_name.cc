#include "engine/log/segment_name.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace ringtail::log {
namespace {

constexpr size_t kNameDigits = 20;

}  // namespace

std::string SegmentFileName(base::Offset base, const char* suffix) {
  return absl::StrFormat("%020d%s", base.value(), suffix);
}

bool ParseSegmentFileName(absl::string_view name, absl::string_view suffix, base::Offset* base) {
  if (!absl::ConsumeSuffix(&name, suffix) || name.size() != kNameDigits) return false;
  int64_t value = 0;
  if (!std::all_of(name.begin(), name.end(), absl::ascii_isdigit)) return false;
  if (!absl::SimpleAtoi(name, &value)) return false;
  *base = base::Offset(value);
  return true;
}

}  // namespace ringtail::log
