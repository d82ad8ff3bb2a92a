#include "engine/io/send_rule.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/check.h"

namespace ringtail::io {
namespace {

constexpr std::array<absl::string_view, kSendPathCount> kPathNames = {
    "auto", "splice", "sendfile", "mapped", "send_zc", "copy"};

absl::Status BadRule(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      "expected ascending BYTES=PATH, then *=PATH, then cold=PATH if need be, as in \"",
      ToText(SendRule()), "\", came \"", text, "\": ", why));
}

bool ServesCold(SendPath path) { return path == SendPath::kCopy || path == SendPath::kSplice; }

}  // namespace

absl::string_view SendPathName(SendPath path) { return kPathNames[static_cast<size_t>(path)]; }

bool ParseSendPath(absl::string_view name, SendPath* path) {
  const auto found = std::find(kPathNames.begin(), kPathNames.end(), name);
  if (found == kPathNames.end()) return false;
  *path = static_cast<SendPath>(found - kPathNames.begin());
  return true;
}

SendPath SendRule::Choose(int64_t bytes_left, bool resident) const {
  if (!resident && bytes_left > copy_bytes_max()) return cold;
  for (const Step& step : hot) {
    if (bytes_left <= step.bytes_max) return step.path;
  }
  RT_CHECK(false);
  return SendPath::kCopy;
}

absl::StatusOr<SendRule> ParseSendRule(absl::string_view text) {
  constexpr int64_t kRest = std::numeric_limits<int64_t>::max();
  SendRule rule;
  rule.hot.clear();
  bool cold = false;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> ends =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    SendPath path;
    if (!ParseSendPath(ends.second, &path) || path == SendPath::kAuto) {
      return BadRule(text, absl::StrCat("no path \"", ends.second, "\""));
    }
    const bool complete = !rule.hot.empty() && rule.hot.back().bytes_max == kRest;
    if (ends.first == "cold") {
      if (cold || !complete) return BadRule(text, "cold comes once, behind *");
      if (!ServesCold(path)) return BadRule(text, "cold is copy or splice");
      rule.cold = path;
      cold = true;
      continue;
    }
    int64_t bytes_max = kRest;
    if (ends.first != "*" &&
        (!absl::SimpleAtoi(ends.first, &bytes_max) || bytes_max <= 0 || bytes_max == kRest)) {
      return BadRule(text, absl::StrCat("no number of bytes \"", ends.first, "\""));
    }
    if (complete || (!rule.hot.empty() && bytes_max <= rule.hot.back().bytes_max)) {
      return BadRule(text, "the sizes do not ascend, or come behind *");
    }
    if (rule.hot.size() == SendRule::kStepsMax) return BadRule(text, "more than 16 sizes");
    rule.hot.push_back({bytes_max, path});
  }
  if (rule.hot.empty() || rule.hot.back().bytes_max != kRest) return BadRule(text, "no *");
  return rule;
}

std::string ToText(const SendRule& rule) {
  std::string text;
  for (const SendRule::Step& step : rule.hot) {
    const bool rest = step.bytes_max == std::numeric_limits<int64_t>::max();
    absl::StrAppend(&text, rest ? "*" : absl::StrCat(step.bytes_max), "=", SendPathName(step.path),
                    ",");
  }
  return absl::StrCat(text, "cold=", SendPathName(rule.cold));
}

}  // namespace ringtail::io
