#include "tools/cli/record_text.h"

#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/bytes.h"
#include "nlohmann/json.hpp"

namespace ringtail::cli {
namespace {

// The length of the UTF-8 character at the start of `text`; 0 if there is none (RFC 3629).
size_t Utf8Length(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Longer than needed, surrogates, past the last character.
  if (first == 0xe0 && byte(1) < 0xa0) return 0;
  if (first == 0xed && byte(1) > 0x9f) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

bool IsUtf8(absl::string_view text) {
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

void Set(nlohmann::ordered_json* json, const std::string& name,
         const std::optional<absl::string_view>& bytes) {
  if (!bytes) {
    (*json)[name] = nullptr;
  } else if (IsUtf8(*bytes)) {
    (*json)[name] = std::string(*bytes);
  } else {
    (*json)[name + "_base64"] = absl::Base64Escape(*bytes);
  }
}

std::string ToJson(const client::ConsumerRecord& record) {
  nlohmann::ordered_json json;
  json["topic"] = std::string(record.topic);
  json["partition"] = record.partition;
  json["offset"] = record.offset;
  json["timestamp"] = record.timestamp_ms;
  Set(&json, "key", record.key);
  Set(&json, "value", record.value);
  for (log::HeaderCursor cursor(record.fields); cursor.Next();) {
    nlohmann::ordered_json header;
    Set(&header, "name", base::AsText(cursor.header().key));
    std::optional<absl::string_view> value;
    if (cursor.header().value) value = base::AsText(*cursor.header().value);
    Set(&header, "value", value);
    json["headers"].push_back(std::move(header));
  }
  return json.dump();
}

}  // namespace

absl::StatusOr<RecordFormat> ParseRecordFormat(absl::string_view text) {
  if (text == "value") return RecordFormat::kValue;
  if (text == "key-value") return RecordFormat::kKeyValue;
  if (text == "json") return RecordFormat::kJson;
  return absl::InvalidArgumentError(
      absl::StrCat("--format ", text, ": use value, key-value or json"));
}

void AppendRecordText(const client::ConsumerRecord& record, RecordFormat format,
                      absl::string_view key_separator, std::string* text) {
  if (format == RecordFormat::kJson) {
    absl::StrAppend(text, ToJson(record), "\n");
    return;
  }
  if (format == RecordFormat::kKeyValue) {
    absl::StrAppend(text, record.key.value_or(""), key_separator);
  }
  absl::StrAppend(text, record.value.value_or(""), "\n");
}

}  // namespace ringtail::cli
