#include "server/kafka/wire.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace ringtail::kafka {

void Reader::Fail(const char* field, const char* reason, int64_t value) {
  if (error_ != nullptr) return;
  error_ = reason;
  error_field_ = field;
  error_value_ = value;
  end_ = next_;
}

absl::Status Reader::Finish(absl::string_view message, int16_t version) {
  if (ok() && left() > 0) {
    Fail("the end", "bytes are left over", static_cast<int64_t>(left()));
  }
  return CurrentStatus(message, version);
}

absl::Status Reader::CurrentStatus(absl::string_view message, int16_t version) const {
  if (ok()) return absl::OkStatus();
  std::string text = absl::StrCat(message, " v", version, ": ", error_field_, " at byte ",
                                  position(), ": ", error_);
  if (error_value_ >= 0) absl::StrAppend(&text, " (", error_value_, ")");
  return absl::InvalidArgumentError(text);
}

base::Uuid Reader::Id(const char* field) {
  base::Uuid id;
  const base::ByteView raw = Take(static_cast<int32_t>(id.bytes.size()), field);
  if (!raw.empty()) std::memcpy(id.bytes.data(), raw.data(), id.bytes.size());
  return id;
}

uint32_t Reader::UVarint(const char* field) {
  uint32_t value = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    const uint8_t byte = Fixed<uint8_t>(field);
    if (shift == 28 && byte > 0x0f) break;
    value |= static_cast<uint32_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  Fail(field, "a varint of more than 32 bits");
  return 0;
}

int32_t Reader::Length(bool compact, bool nullable, const char* field) {
  const int64_t length = compact ? static_cast<int64_t>(UVarint(field)) - 1 : I32(field);
  if (!ok()) return 0;
  if (length == -1 && nullable) return -1;
  if (length < 0 || length > INT32_MAX) {
    Fail(field, length == -1 ? "null where a value is required" : "a bad length", length);
    return 0;
  }
  return static_cast<int32_t>(length);
}

int32_t Reader::StringLength(bool compact, bool nullable, const char* field) {
  const int64_t length = compact ? static_cast<int64_t>(UVarint(field)) - 1 : I16(field);
  if (!ok()) return 0;
  if (length == -1 && nullable) return -1;
  if (length < 0 || length > static_cast<int64_t>(kStringBytesMax)) {
    Fail(field, length == -1 ? "null where a value is required" : "a bad length", length);
    return 0;
  }
  return static_cast<int32_t>(length);
}

base::ByteView Reader::Take(int32_t length, const char* field) {
  if (static_cast<size_t>(length) > left()) {
    Fail(field, "longer than the frame", length);
    return {};
  }
  const base::ByteView bytes(next_, static_cast<size_t>(length));
  next_ += length;
  return bytes;
}

absl::string_view Reader::String(bool compact, const char* field) {
  return base::AsText(Take(StringLength(compact, false, field), field));
}

std::optional<absl::string_view> Reader::NullableString(bool compact, bool nullable,
                                                        const char* field) {
  const int32_t length = StringLength(compact, nullable, field);
  if (length < 0) return std::nullopt;
  return base::AsText(Take(length, field));
}

Bytes Reader::ByteString(bool compact, const char* field) {
  return Take(Length(compact, false, field), field);
}

std::optional<Bytes> Reader::NullableByteString(bool compact, bool nullable, const char* field) {
  const int32_t length = Length(compact, nullable, field);
  if (length < 0) return std::nullopt;
  return Bytes(Take(length, field));
}

std::optional<Records> Reader::NullableRecords(bool compact, bool nullable, const char* field) {
  const int32_t length = Length(compact, nullable, field);
  if (length < 0) return std::nullopt;
  return Records(Take(length, field));
}

bool Reader::HasStruct(bool nullable, const char* field) {
  const int8_t marker = I8(field);
  if (!ok()) return false;
  if (marker < 0 && !nullable) Fail(field, "null where a value is required");
  return ok() && marker >= 0;
}

absl::StatusOr<EncodedSize> Sizer::Finish(absl::string_view message, int16_t version) const {
  const char* error = error_;
  const char* field = error_field_;
  if (error == nullptr && size_.total_bytes() > kFrameBytesMax) {
    error = "too large for a frame";
    field = "the message";
  }
  if (error == nullptr) return size_;
  return absl::InvalidArgumentError(absl::StrCat(message, " v", version, ": ", field, ": ", error));
}

}  // namespace ringtail::kafka
