// The primitive types of Kafka's record formats, in strings and from bytes. In a flexible version
// (KIP-482) lengths are unsigned varints of one more, and every struct ends with tagged fields.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/endian.h"
#include "engine/base/types.h"
#include "engine/base/varint.h"

namespace ringtail::group {

// Strings that are not compact have an int16 for their length.
inline constexpr size_t kTextBytesMax = 32'767;

class TextWriter {
 public:
  explicit TextWriter(bool flexible = false) : flexible_(flexible) {}

  template <class T>
  void Number(T value) {
    uint8_t bytes[sizeof(T)];
    base::StoreBe<T>(bytes, value);
    out_.append(reinterpret_cast<const char*>(bytes), sizeof(T));
  }
  void Varint(uint64_t value) {
    uint8_t bytes[10];
    out_.append(reinterpret_cast<const char*>(bytes), base::EncodeUvarint(bytes, value));
  }
  void Text(absl::string_view text) {
    if (flexible_) return Bytes(text);
    RT_CHECK(text.size() <= kTextBytesMax);
    Number(static_cast<int16_t>(text.size()));
    out_.append(text.data(), text.size());
  }
  void NullableText(const std::optional<std::string>& text) {
    if (text.has_value()) return Text(*text);
    if (flexible_) return Varint(0);
    Number(int16_t{-1});
  }
  void Bytes(absl::string_view bytes) {
    ArrayLength(bytes.size());
    out_.append(bytes.data(), bytes.size());
  }
  void ArrayLength(size_t count) {
    if (flexible_) return Varint(uint64_t{count} + 1);
    Number(static_cast<int32_t>(count));
  }
  void Uuid(const base::Uuid& id) {
    out_.append(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size());
  }
  // The end of a struct without tagged fields.
  void NoTagged() {
    if (flexible_) Varint(0);
  }
  // The end of a struct with one, whose value is `bytes`.
  void Tagged(uint32_t tag, absl::string_view bytes) {
    Varint(1);
    Varint(tag);
    Varint(bytes.size());
    out_.append(bytes.data(), bytes.size());
  }
  std::string Take() { return std::move(out_); }

 private:
  const bool flexible_;
  std::string out_;
};

// Reads past the end are remembered and give nothing.
class TextReader {
 public:
  TextReader(base::ByteView bytes, bool flexible) : left_(bytes), flexible_(flexible) {}

  bool ok() const { return ok_; }
  size_t bytes_left() const { return left_.size(); }

  template <class T>
  T Number() {
    const base::ByteView bytes = Take(sizeof(T));
    return ok_ ? base::LoadBe<T>(bytes.data()) : T{};
  }
  std::string Text() { return NullableText().value_or(""); }
  std::optional<std::string> NullableText() {
    return Sized(flexible_ ? CompactLength() : Number<int16_t>());
  }
  std::string Bytes() {
    return Sized(flexible_ ? CompactLength() : Number<int32_t>()).value_or("");
  }
  int64_t ArrayLength() { return flexible_ ? CompactLength() : Number<int32_t>(); }
  // Of elements that take a byte each at least; what cannot be there is not made room for.
  int64_t BoundedLength() {
    const int64_t count = ArrayLength();
    if (count > 0 && static_cast<uint64_t>(count) > left_.size()) ok_ = false;
    return ok_ && count > 0 ? count : 0;
  }
  base::Uuid Uuid() {
    base::Uuid id;
    const base::ByteView bytes = Take(id.bytes.size());
    if (ok_) base::Uuid::FromBytes(bytes, &id);
    return id;
  }
  // Fields that this version of the code does not need.
  void SkipTagged() {
    ForEachTagged([](uint32_t, base::ByteView) {});
  }
  // Calls take(tag, bytes) for each.
  template <class Taker>
  void ForEachTagged(Taker take) {
    if (!flexible_) return;
    for (uint32_t count = Varint(); ok_ && count > 0; --count) {
      const uint32_t tag = Varint();
      const base::ByteView bytes = Take(Varint());
      if (ok_) take(tag, bytes);
    }
  }

 private:
  base::ByteView Take(uint64_t bytes) {
    if (bytes > left_.size()) ok_ = false;
    if (!ok_) return {};
    const base::ByteView taken = left_.first(bytes);
    left_ = left_.subspan(bytes);
    return taken;
  }
  std::optional<std::string> Sized(int64_t bytes) {
    if (bytes < 0) return std::nullopt;
    const base::ByteView taken = Take(static_cast<uint64_t>(bytes));
    return std::string(reinterpret_cast<const char*>(taken.data()), taken.size());
  }
  int64_t CompactLength() { return int64_t{Varint()} - 1; }
  uint32_t Varint() {
    const auto number = base::DecodeUvarint32(left_);
    if (!number) ok_ = false;
    Take(number.size);
    return number.value;
  }

  base::ByteView left_;
  bool flexible_;
  bool ok_ = true;
};

}  // namespace ringtail::group
