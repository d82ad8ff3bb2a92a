// Kafka's primitive types on the wire, for the generated message code: Reader takes them from a
// frame, Sizer counts and checks what a message will take, Writer puts them into a buffer of that
// size. Integers are big-endian; "compact" types of flexible versions carry length + 1 as an
// unsigned varint. Source: Kafka protocol guide, "Protocol Primitive Types"; KIP-482 for flexible
// versions.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "engine/base/types.h"
#include "server/kafka/arena.h"

namespace ringtail::kafka {

inline constexpr size_t kStringBytesMax = INT16_MAX;  // compact or not: Kafka's own limit
inline constexpr size_t kFrameBytesMax = INT32_MAX;

// The value of a `bytes` field: a view into the frame it was decoded from.
class Bytes {
 public:
  Bytes() = default;
  Bytes(base::ByteView view) : view_(view) {}  // NOLINT: a Bytes is a view that compares
  operator base::ByteView() const { return view_; }
  const uint8_t* data() const { return view_.data(); }
  size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }
  friend bool operator==(const Bytes& a, const Bytes& b) {
    return base::AsText(a.view_) == base::AsText(b.view_);
  }

 private:
  base::ByteView view_;
};

// The value of a `records` field: bytes in memory (always so when decoded, a view into the frame),
// or a hole: a promise that `size` bytes follow from elsewhere, a file range as a rule. See
// RecordsHole.
class Records {
 public:
  Records() = default;
  explicit Records(base::ByteView bytes) : bytes_(bytes), size_(bytes.size()) {}
  static Records Hole(uint32_t size, uint32_t id) {
    Records records;
    records.size_ = size;
    records.hole_id_ = id;
    records.is_hole_ = true;
    return records;
  }
  size_t size() const { return size_; }
  bool is_hole() const { return is_hole_; }
  uint32_t hole_id() const { return hole_id_; }
  base::ByteView bytes() const { return bytes_; }  // empty for a hole
  friend bool operator==(const Records& a, const Records& b) {
    return a.size_ == b.size_ && a.is_hole_ == b.is_hole_ && a.hole_id_ == b.hole_id_ &&
           base::AsText(a.bytes_) == base::AsText(b.bytes_);
  }

 private:
  base::ByteView bytes_;
  size_t size_ = 0;
  uint32_t hole_id_ = 0;
  bool is_hole_ = false;
};

// Where the bytes of a Records::Hole belong in an encoded buffer: send the buffer up to
// buffer_position, then `size` bytes from elsewhere, then the rest. In the order of the buffer;
// holes of size 0 are left out.
struct RecordsHole {
  size_t buffer_position = 0;
  uint32_t size = 0;
  uint32_t id = 0;  // as given to Records::Hole
};

// What an encoded message takes.
struct EncodedSize {
  size_t buffer_bytes = 0;  // written by Encode
  size_t hole_bytes = 0;    // of records that come from elsewhere
  size_t total_bytes() const { return buffer_bytes + hole_bytes; }
};

// An array takes at most so many times the bytes that its elements need in the frame; the generated
// code asserts it for every element type. In a bad frame each level of nesting can claim the same
// bytes once.
inline constexpr size_t kArrayGrowthMax = 24;

struct DecodeLimits {
  // Memory that the arrays of one message may take in the arena. An array's count is checked
  // against the bytes left in the frame first, so small frames never come near it.
  size_t array_bytes_max = 32 * 1024 * 1024;
  size_t elements_max = SIZE_MAX;  // of all its arrays together
  // What follows the message is passed over instead of refused.
  bool bytes_may_follow = false;
};

inline size_t UnsignedVarintSize(uint32_t value) {
  return (static_cast<size_t>(std::bit_width(value | 1)) + 6) / 7;
}

// Reads a frame. The first failure is kept and ends the input; what is read after it is zero or
// empty, so callers check ok() once per array element and at the end. Never reads outside the
// input; allocates only for arrays, from the arena.
class Reader {
 public:
  Reader(base::ByteView input, Arena* arena, DecodeLimits limits = {})
      : start_(input.data()),
        next_(input.data()),
        end_(input.data() + input.size()),
        arena_(arena),
        array_bytes_left_(limits.array_bytes_max),
        elements_left_(limits.elements_max) {}

  bool ok() const { return error_ == nullptr; }
  size_t position() const { return static_cast<size_t>(next_ - start_); }
  size_t left() const { return static_cast<size_t>(end_ - next_); }
  // Ok, or where and why reading failed. Finish also refuses input that is longer than the message.
  absl::Status Finish(absl::string_view message, int16_t version);
  absl::Status CurrentStatus(absl::string_view message, int16_t version) const;
  void Fail(const char* field, const char* reason, int64_t value = -1);

  int8_t I8(const char* field) { return static_cast<int8_t>(Fixed<uint8_t>(field)); }
  int16_t I16(const char* field) { return static_cast<int16_t>(Fixed<uint16_t>(field)); }
  int32_t I32(const char* field) { return static_cast<int32_t>(Fixed<uint32_t>(field)); }
  int64_t I64(const char* field) { return static_cast<int64_t>(Fixed<uint64_t>(field)); }
  uint16_t U16(const char* field) { return Fixed<uint16_t>(field); }
  uint32_t U32(const char* field) { return Fixed<uint32_t>(field); }
  double F64(const char* field) { return std::bit_cast<double>(Fixed<uint64_t>(field)); }
  bool Bool(const char* field) { return Fixed<uint8_t>(field) != 0; }
  base::Uuid Id(const char* field);
  uint32_t UVarint(const char* field);

  absl::string_view String(bool compact, const char* field);
  std::optional<absl::string_view> NullableString(bool compact, bool nullable, const char* field);
  Bytes ByteString(bool compact, const char* field);
  std::optional<Bytes> NullableByteString(bool compact, bool nullable, const char* field);
  std::optional<Records> NullableRecords(bool compact, bool nullable, const char* field);

  // True if a nullable struct follows.
  bool HasStruct(bool nullable, const char* field);

  // An array whose elements take at least element_bytes_min (>= 1) each on the wire; `read` fills
  // one.
  template <class T, class Read>
  void ReadArray(bool compact, size_t element_bytes_min, const char* field, Array<T>* out,
                 Read read) {
    const int32_t count = Length(compact, false, field);
    if (count > 0) ReadElements(count, element_bytes_min, field, out, read);
  }
  template <class T, class Read>
  void ReadNullableArray(bool compact, bool nullable, size_t element_bytes_min, const char* field,
                         std::optional<Array<T>>* out, Read read) {
    const int32_t count = Length(compact, nullable, field);
    if (count < 0) {
      out->reset();
      return;
    }
    out->emplace();
    if (count > 0) ReadElements(count, element_bytes_min, field, &**out, read);
  }

  // The tagged fields that end a struct of a flexible version. read(tag) reads the value of a known
  // tag and returns true, or returns false, and the value is skipped.
  template <class ReadTag>
  void TaggedFields(const char* owner, ReadTag read) {
    const uint32_t count = UVarint(owner);
    for (uint32_t i = 0; i < count && ok(); ++i) {
      const uint32_t tag = UVarint(owner);
      const uint32_t size = UVarint(owner);
      if (size > left()) Fail(owner, "a tagged field is longer than the frame", size);
      if (!ok()) return;
      const uint8_t* outer_end = end_;
      const uint8_t* value_end = next_ + size;
      end_ = value_end;
      const bool known = read(tag);
      if (!ok()) return;
      if (known && next_ != value_end) Fail(owner, "a tagged field has bytes left", tag);
      if (!ok()) return;
      next_ = value_end;
      end_ = outer_end;
    }
  }
  void SkipTaggedFields(const char* owner) {
    TaggedFields(owner, [](uint32_t) { return false; });
  }

 private:
  template <class U>
  U Fixed(const char* field) {
    if (left() < sizeof(U)) {
      Fail(field, "the frame ends inside it");
      return 0;
    }
    U value;
    std::memcpy(&value, next_, sizeof(U));
    next_ += sizeof(U);
    if constexpr (sizeof(U) == 2) value = __builtin_bswap16(value);
    if constexpr (sizeof(U) == 4) value = __builtin_bswap32(value);
    if constexpr (sizeof(U) == 8) value = __builtin_bswap64(value);
    return value;
  }

  template <class T, class Read>
  void ReadElements(int32_t count, size_t element_bytes_min, const char* field, Array<T>* out,
                    Read read) {
    const size_t elements = static_cast<size_t>(count);
    if (elements > left() / element_bytes_min) {
      return Fail(field, "more elements than the frame can hold", count);
    }
    if (elements > array_bytes_left_ / sizeof(T)) {
      return Fail(field, "the message's arrays exceed the memory limit", count);
    }
    if (elements > elements_left_) {
      return Fail(field, "the message names more topics, partitions and other things than allowed",
                  count);
    }
    array_bytes_left_ -= elements * sizeof(T);
    elements_left_ -= elements;
    *out = Array<T>(arena_->New<T>(elements), elements);
    for (T& element : *out) {
      read(element);
      if (!ok()) return;
    }
  }

  // Of an array, bytes or records: -1 for null, 0 after a failure.
  int32_t Length(bool compact, bool nullable, const char* field);
  int32_t StringLength(bool compact, bool nullable, const char* field);
  // `length` bytes; fails where the frame holds fewer.
  base::ByteView Take(int32_t length, const char* field);

  const uint8_t* start_;
  const uint8_t* next_;
  const uint8_t* end_;
  Arena* arena_;
  size_t array_bytes_left_;
  size_t elements_left_;
  const char* error_ = nullptr;
  const char* error_field_ = nullptr;
  int64_t error_value_ = -1;
};

// Counts the bytes of a message and checks that the version can carry its values.
class Sizer {
 public:
  static constexpr bool kChecks = true;

  void I8(int8_t) { size_.buffer_bytes += 1; }
  void I16(int16_t) { size_.buffer_bytes += 2; }
  void I32(int32_t) { size_.buffer_bytes += 4; }
  void I64(int64_t) { size_.buffer_bytes += 8; }
  void U16(uint16_t) { size_.buffer_bytes += 2; }
  void U32(uint32_t) { size_.buffer_bytes += 4; }
  void F64(double) { size_.buffer_bytes += 8; }
  void Bool(bool) { size_.buffer_bytes += 1; }
  void Id(const base::Uuid&) { size_.buffer_bytes += 16; }
  void UVarint(uint32_t value) { size_.buffer_bytes += UnsignedVarintSize(value); }
  void String(bool compact, absl::string_view text, const char* field) {
    if (text.size() > kStringBytesMax) Fail(field, "a string longer than 32767 bytes");
    size_.buffer_bytes += (compact ? LengthSize(text.size()) : 2) + text.size();
  }
  void NullString(bool compact) { size_.buffer_bytes += compact ? 1 : 2; }
  void ByteString(bool compact, base::ByteView bytes, const char* field) {
    Length(compact, bytes.size(), field);
    size_.buffer_bytes += bytes.size();
  }
  void RecordBytes(bool compact, const Records& records, const char* field) {
    Length(compact, records.size(), field);
    (records.is_hole() ? size_.hole_bytes : size_.buffer_bytes) += records.size();
  }
  // Of an array, bytes or records.
  void Length(bool compact, size_t length, const char* field) {
    if (length > kFrameBytesMax - 1) Fail(field, "too long for Kafka's 32-bit lengths");
    size_.buffer_bytes += compact ? LengthSize(length) : 4;
  }
  void NullLength(bool compact) { size_.buffer_bytes += compact ? 1 : 4; }

  void Fail(const char* field, const char* reason) {
    if (error_ != nullptr) return;
    error_ = reason;
    error_field_ = field;
  }
  size_t buffer_bytes() const { return size_.buffer_bytes; }
  absl::StatusOr<EncodedSize> Finish(absl::string_view message, int16_t version) const;

 private:
  static size_t LengthSize(size_t length) {
    return UnsignedVarintSize(static_cast<uint32_t>(length) + 1);
  }

  EncodedSize size_;
  const char* error_ = nullptr;
  const char* error_field_ = nullptr;
};

// Writes a message that a Sizer has measured; checks nothing.
class Writer {
 public:
  static constexpr bool kChecks = false;

  // Hole positions count from `origin`. `holes` may be null if no records field is a hole.
  Writer(uint8_t* out, const uint8_t* origin, std::vector<RecordsHole>* holes)
      : next_(out), origin_(origin), holes_(holes) {}

  uint8_t* next() const { return next_; }

  void I8(int8_t value) { Fixed(static_cast<uint8_t>(value)); }
  void I16(int16_t value) { Fixed(__builtin_bswap16(static_cast<uint16_t>(value))); }
  void I32(int32_t value) { Fixed(__builtin_bswap32(static_cast<uint32_t>(value))); }
  void I64(int64_t value) { Fixed(__builtin_bswap64(static_cast<uint64_t>(value))); }
  void U16(uint16_t value) { Fixed(__builtin_bswap16(value)); }
  void U32(uint32_t value) { Fixed(__builtin_bswap32(value)); }
  void F64(double value) { Fixed(__builtin_bswap64(std::bit_cast<uint64_t>(value))); }
  void Bool(bool value) { Fixed(static_cast<uint8_t>(value ? 1 : 0)); }
  void Id(const base::Uuid& value) { Raw(value.bytes.data(), value.bytes.size()); }
  void UVarint(uint32_t value) {
    for (; value >= 0x80; value >>= 7) *next_++ = static_cast<uint8_t>(value | 0x80);
    *next_++ = static_cast<uint8_t>(value);
  }
  void String(bool compact, absl::string_view text, const char*) {
    if (compact) {
      UVarint(static_cast<uint32_t>(text.size()) + 1);
    } else {
      I16(static_cast<int16_t>(text.size()));
    }
    Raw(text.data(), text.size());
  }
  void NullString(bool compact) { compact ? UVarint(0) : I16(-1); }
  void ByteString(bool compact, base::ByteView bytes, const char* field) {
    Length(compact, bytes.size(), field);
    Raw(bytes.data(), bytes.size());
  }
  void RecordBytes(bool compact, const Records& records, const char* field) {
    Length(compact, records.size(), field);
    if (!records.is_hole()) return Raw(records.bytes().data(), records.size());
    if (records.size() == 0) return;
    RT_CHECK(holes_ != nullptr);
    holes_->push_back({.buffer_position = static_cast<size_t>(next_ - origin_),
                       .size = static_cast<uint32_t>(records.size()),
                       .id = records.hole_id()});
  }
  void Length(bool compact, size_t length, const char*) {
    compact ? UVarint(static_cast<uint32_t>(length) + 1) : I32(static_cast<int32_t>(length));
  }
  void NullLength(bool compact) { compact ? UVarint(0) : I32(-1); }
  void Fail(const char*, const char*) {}

 private:
  template <std::unsigned_integral U>
  void Fixed(U big_endian) {
    std::memcpy(next_, &big_endian, sizeof(U));
    next_ += sizeof(U);
  }
  void Raw(const void* bytes, size_t size) {
    if (size != 0) std::memcpy(next_, bytes, size);
    next_ += size;
  }

  uint8_t* next_;
  const uint8_t* origin_;
  std::vector<RecordsHole>* holes_;
};

}  // namespace ringtail::kafka
