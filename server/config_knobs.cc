#include "server/config_knobs.h"

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ringtail::server::knobs {
namespace {

struct Suffix {
  absl::string_view text;
  int64_t bytes;
};
constexpr Suffix kSuffixes[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}};
constexpr char kBytes[] = "bytes";

absl::Status ParseNumber(const Field* field, absl::string_view text, int64_t* value) {
  const bool size = OptionsOf(field).unit() == kBytes;
  int64_t unit = 1;
  absl::string_view digits = text;
  for (const Suffix& suffix : kSuffixes) {
    if (!size || !absl::EndsWithIgnoreCase(digits, suffix.text)) continue;
    digits.remove_suffix(suffix.text.size());
    unit = suffix.bytes;
    break;
  }
  if (!absl::SimpleAtoi(digits, value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a whole number", size ? " (KiB, MiB or GiB may follow)" : "", " in ",
                     Allowed(field), ", came \"", text, "\""));
  }
  if (__builtin_mul_overflow(*value, unit, value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", Allowed(field), ", came \"", text, "\""));
  }
  return absl::OkStatus();
}

bool ParseBool(absl::string_view text, bool* value) {
  const std::string lower = absl::AsciiStrToLower(text);
  for (const absl::string_view yes : {"true", "yes", "1", "on"}) {
    if (lower == yes) return *value = true;
  }
  *value = false;
  return lower == "false" || lower == "no" || lower == "0" || lower == "off";
}

}  // namespace

std::vector<const Field*> All() {
  const google::protobuf::Descriptor* message = Message::descriptor();
  std::vector<const Field*> fields;
  for (int index = 0; index < message->field_count(); ++index) {
    fields.push_back(message->field(index));
  }
  return fields;
}

const Field* Find(absl::string_view name) {
  return Message::descriptor()->FindFieldByName(std::string(name));
}

const proto::config::Knob& OptionsOf(const Field* field) {
  return field->options().GetExtension(proto::config::knob);
}

bool IsBool(const Field* field) { return field->cpp_type() == Field::CPPTYPE_BOOL; }
bool IsNumber(const Field* field) { return field->cpp_type() == Field::CPPTYPE_INT64; }

absl::Status Set(const Field* field, absl::string_view text, Message* config) {
  const google::protobuf::Reflection& reflection = *config->GetReflection();
  if (IsBool(field)) {
    bool value = false;
    if (!ParseBool(text, &value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected true or false, came \"", text, "\""));
    }
    reflection.SetBool(config, field, value);
  } else if (IsNumber(field)) {
    int64_t value = 0;
    if (absl::Status parsed = ParseNumber(field, text, &value); !parsed.ok()) return parsed;
    reflection.SetInt64(config, field, value);
  } else {
    reflection.SetString(config, field, std::string(text));
  }
  return Check(field, *config);
}

absl::Status Check(const Field* field, const Message& config) {
  const proto::config::Knob& knob = OptionsOf(field);
  const google::protobuf::Reflection& reflection = *config.GetReflection();
  bool allowed = true;
  if (IsNumber(field)) {
    const int64_t value = reflection.GetInt64(config, field);
    allowed = (!knob.has_min() || value >= knob.min()) && (!knob.has_max() || value <= knob.max());
  } else if (!IsBool(field)) {
    const std::string value = reflection.GetString(config, field);
    allowed = knob.values().empty() ||
              std::find(knob.values().begin(), knob.values().end(), value) != knob.values().end();
    if (value.find('\0') != std::string::npos) {
      return absl::InvalidArgumentError("expected text without a zero byte");
    }
  }
  if (allowed) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", Allowed(field), ", came \"", Text(field, config), "\""));
}

std::string Text(const Field* field, const Message& config) {
  const google::protobuf::Reflection& reflection = *config.GetReflection();
  if (IsBool(field)) return reflection.GetBool(config, field) ? "true" : "false";
  if (!IsNumber(field)) return reflection.GetString(config, field);
  const int64_t value = reflection.GetInt64(config, field);
  return OptionsOf(field).unit() == kBytes ? SizeText(value) : absl::StrCat(value);
}

std::string Allowed(const Field* field) {
  const proto::config::Knob& knob = OptionsOf(field);
  if (IsBool(field)) return "true|false";
  if (!knob.values().empty()) return absl::StrJoin(knob.values(), "|");
  if (!IsNumber(field)) return "";
  const bool size = knob.unit() == kBytes;
  const int64_t low = knob.has_min() ? knob.min() : std::numeric_limits<int64_t>::min();
  const int64_t high = knob.has_max() ? knob.max() : std::numeric_limits<int64_t>::max();
  const std::string range =
      size ? absl::StrCat(SizeText(low), "..", SizeText(high)) : absl::StrCat(low, "..", high);
  return knob.unit().empty() ? range : absl::StrCat(range, " ", knob.unit());
}

std::string SizeText(int64_t bytes) {
  for (const Suffix& suffix : kSuffixes) {
    if (bytes != 0 && bytes % suffix.bytes == 0)
      return absl::StrCat(bytes / suffix.bytes, suffix.text);
  }
  return absl::StrCat(bytes);
}

std::string Nearest(absl::string_view word, const std::vector<std::string>& known) {
  if (word.size() > 64) return "";
  std::string best;
  // Beyond a third of the letters it would be a guess.
  size_t best_edits = std::max<size_t>(word.size() / 3, 2) + 1;
  for (const std::string& candidate : known) {
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t column = 0; column < row.size(); ++column) row[column] = column;
    for (size_t line = 1; line <= word.size(); ++line) {
      size_t diagonal = row[0];
      row[0] = line;
      for (size_t column = 1; column < row.size(); ++column) {
        const size_t replaced = diagonal + (word[line - 1] == candidate[column - 1] ? 0 : 1);
        diagonal = row[column];
        row[column] = std::min({replaced, row[column] + 1, row[column - 1] + 1});
      }
    }
    if (row.back() < best_edits) {
      best_edits = row.back();
      best = candidate;
    }
  }
  return best;
}

std::string DidYouMean(absl::string_view word, absl::string_view prefix) {
  std::vector<std::string> known;
  for (const Field* field : All()) known.push_back(field->name());
  if (!prefix.empty()) known.insert(known.end(), {"config", "help", "version"});
  const std::string nearest = Nearest(word, known);
  return nearest.empty() ? "" : absl::StrCat("; did you mean \"", prefix, nearest, "\"?");
}

}  // namespace ringtail::server::knobs
