// What the generated code needs beside Sizer and Writer: arrays, nullable values and tagged fields,
// written once for both. Included by generated sources only.
#pragma once

#include <optional>

#include "server/kafka/wire.h"

namespace ringtail::kafka {

inline constexpr char kVersion[] = "the version";
inline constexpr char kNoVersion[] = "not in the schema";
inline constexpr char kNotCarried[] = "set, but this version does not carry it";
inline constexpr char kNoNull[] = "null, but this version requires a value";

template <class Message>
constexpr bool CarriesVersion(int16_t version) {
  return version >= Message::kVersionMin && version <= Message::kVersionMax;
}

template <class Sink, class T, class Put>
void PutArray(Sink& s, bool compact, const Array<T>& array, const char* field, Put put) {
  s.Length(compact, array.size(), field);
  for (const T& element : array) put(element);
}

template <class Sink, class T, class Put>
void PutNullableArray(Sink& s, bool compact, bool nullable, const std::optional<Array<T>>& array,
                      const char* field, Put put) {
  if (array.has_value()) return PutArray(s, compact, *array, field, put);
  if (!nullable) s.Fail(field, kNoNull);
  s.NullLength(compact);
}

template <class Sink>
void PutNullableString(Sink& s, bool compact, bool nullable,
                       const std::optional<absl::string_view>& text, const char* field) {
  if (text.has_value()) return s.String(compact, *text, field);
  if (!nullable) s.Fail(field, kNoNull);
  s.NullString(compact);
}

template <class Sink>
void PutNullableByteString(Sink& s, bool compact, bool nullable, const std::optional<Bytes>& bytes,
                           const char* field) {
  if (bytes.has_value()) return s.ByteString(compact, *bytes, field);
  if (!nullable) s.Fail(field, kNoNull);
  s.NullLength(compact);
}

template <class Sink>
void PutNullableRecords(Sink& s, bool compact, bool nullable, const std::optional<Records>& records,
                        const char* field) {
  if (records.has_value()) return s.RecordBytes(compact, *records, field);
  if (!nullable) s.Fail(field, kNoNull);
  s.NullLength(compact);
}

// True if the struct's fields follow.
template <class Sink>
bool PutHasStruct(Sink& s, bool nullable, bool has_value, const char* field) {
  if (!has_value && !nullable) s.Fail(field, kNoNull);
  s.I8(has_value ? 1 : -1);
  return has_value;
}

// put(sink) puts the value; it runs twice, since its size goes before it.
template <class Sink, class Put>
void PutTagged(Sink& s, uint32_t tag, Put put) {
  Sizer sizer;
  put(sizer);
  s.UVarint(tag);
  s.UVarint(static_cast<uint32_t>(sizer.buffer_bytes()));
  put(s);
}

}  // namespace ringtail::kafka
