// Records as lines of text.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/client/consumer.h"

namespace ringtail::cli {

enum class RecordFormat { kValue, kKeyValue, kJson };

// "value", "key-value", "json".
absl::StatusOr<RecordFormat> ParseRecordFormat(absl::string_view text);

// Appends one line. kValue and kKeyValue write the bytes as they are, null as nothing; kJson writes
// null as null, and bytes that aren't UTF-8 in base64, as "value_base64" instead of "value".
void AppendRecordText(const client::ConsumerRecord& record, RecordFormat format,
                      absl::string_view key_separator, std::string* text);

}  // namespace ringtail::cli
