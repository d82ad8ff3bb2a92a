// Fills any Kafka message with values that its version carries, for tests: RandomFill at random,
// GoldenFill by the rules of golden/GoldenGenerator.java. What a fill makes lives in the Pool.
#pragma once

#include <cctype>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "engine/base/bytes.h"
#include "server/kafka/arena.h"
#include "server/kafka/messages_reflect.h"
#include "server/kafka/wire.h"

namespace ringtail::kafka {

struct Pool {
  Arena arena;
  std::deque<std::string> texts;
  absl::string_view Keep(std::string text) { return texts.emplace_back(std::move(text)); }
};

template <class T>
concept Scalar =
    std::is_arithmetic_v<T> || std::is_same_v<T, base::Uuid> ||
    std::is_same_v<T, absl::string_view> || std::is_same_v<T, Bytes> || std::is_same_v<T, Records>;

// A field visitor over a Source, which gives values and decides which nullable fields are null.
// `path` tells apart the elements of arrays.
template <class Source>
class Filler {
 public:
  Filler(Source& source, int16_t version, Pool& pool, uint32_t path = 0)
      : source_(source), version_(version), pool_(pool), path_(path) {}

  template <class T>
  void operator()(const FieldInfo& info, T& value) {
    if (info.InVersion(version_)) Fill(info, path_, value);
  }

 private:
  template <Scalar T>
  void Fill(const FieldInfo& info, uint32_t path, T& value) {
    source_.Value(info.name, path, pool_, value);
  }
  template <class T>
  void Fill(const FieldInfo& info, uint32_t path, std::optional<T>& value) {
    value.reset();
    if (info.NullableIn(version_) && source_.Null()) return;
    T present{};
    Fill(info, path, present);
    value = present;
  }
  template <class T>
  void Fill(const FieldInfo& info, uint32_t path, Array<T>& value) {
    const uint32_t count = source_.Count();
    for (uint32_t i = 0; i < count; ++i) {
      Fill(info, path * 31 + i + 1, value.Add(pool_.arena));
    }
  }
  template <class T>
  void Fill(const FieldInfo&, uint32_t path, T& value) {
    VisitFields(value, Filler(source_, version_, pool_, path));
  }

  Source& source_;
  const int16_t version_;
  Pool& pool_;
  const uint32_t path_;
};

class RandomSource {
 public:
  explicit RandomSource(uint64_t seed) : random_(seed) {}

  bool Null() { return random_() % 4 == 0; }
  uint32_t Count() {
    return static_cast<uint32_t>(random_() % 8 == 0 ? random_() % 5 : random_() % 3);
  }

  void Value(const char*, uint32_t, Pool&, bool& value) { value = random_() % 2 == 0; }
  void Value(const char*, uint32_t, Pool&, double& value) {
    value = static_cast<double>(static_cast<int32_t>(random_())) / 8;
  }
  template <std::integral T>
  void Value(const char*, uint32_t, Pool&, T& value) {
    value = static_cast<T>(random_() >> (random_() % 64));
  }
  void Value(const char*, uint32_t, Pool&, base::Uuid& value) {
    for (uint8_t& byte : value.bytes) byte = static_cast<uint8_t>(random_());
  }
  void Value(const char*, uint32_t, Pool& pool, absl::string_view& value) {
    value = pool.Keep(Text());
  }
  void Value(const char*, uint32_t, Pool& pool, Bytes& value) {
    value = Bytes(base::AsBytes(pool.Keep(Text())));
  }
  void Value(const char*, uint32_t, Pool& pool, Records& value) {
    value = Records(base::AsBytes(pool.Keep(Text())));
  }

 private:
  std::string Text() {
    std::string text(random_() % 16 == 0 ? random_() % 300 : random_() % 12, '\0');
    for (char& c : text) c = static_cast<char>(random_());
    return text;
  }

  std::mt19937_64 random_;
};

class GoldenSource {
 public:
  explicit GoldenSource(bool nulls) : nulls_(nulls) {}

  bool Null() const { return nulls_; }
  uint32_t Count() const { return 2; }

  void Value(const char* name, uint32_t path, Pool&, bool& value) { value = Mix(name, path) & 1; }
  void Value(const char* name, uint32_t path, Pool&, double& value) {
    value = static_cast<int32_t>(Mix(name, path)) / 8.0;
  }
  template <std::integral T>
  void Value(const char* name, uint32_t path, Pool&, T& value) {
    value = static_cast<T>(sizeof(T) == 8 ? Wide(Mix(name, path)) : Mix(name, path));
  }
  void Value(const char* name, uint32_t path, Pool&, base::Uuid& value) {
    const uint32_t h = Mix(name, path);
    for (size_t i = 0; i < 16; ++i) {
      value.bytes[i] = static_cast<uint8_t>(Wide(i < 8 ? h : h + 1) >> (56 - i % 8 * 8));
    }
  }
  void Value(const char* name, uint32_t path, Pool& pool, absl::string_view& value) {
    const uint32_t h = Mix(name, path);
    std::string text(h % 23 == 0 ? 150 : 3 + h % 11, '\0');
    for (uint32_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + (h + i * 7) % 26);
    value = pool.Keep(std::move(text));
  }
  void Value(const char* name, uint32_t path, Pool& pool, Bytes& value) {
    value = Bytes(MakeBytes(name, path, pool));
  }
  void Value(const char* name, uint32_t path, Pool& pool, Records& value) {
    value = Records(MakeBytes(name, path, pool));
  }

 private:
  static uint32_t Mix(absl::string_view name, uint32_t path) {
    uint32_t hash = 0x811c9dc5;
    for (const char c : name) {
      if (c != '_') hash = (hash ^ static_cast<uint8_t>(std::tolower(c))) * 0x01000193;
    }
    hash ^= path * 0x9e3779b1;
    hash ^= hash >> 15;
    hash *= 0x2c1b3c6d;
    return hash ^ (hash >> 13);
  }
  // The Java side multiplies a signed int: the low half of the product is the same.
  static uint64_t Wide(uint32_t h) { return (uint64_t{h} << 32) | (h * 0x85ebca6bu); }

  static base::ByteView MakeBytes(const char* name, uint32_t path, Pool& pool) {
    const uint32_t h = Mix(name, path);
    std::string bytes(h % 11 == 0 ? 150 : 1 + h % 20, '\0');
    for (uint32_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(h + i * 13);
    return base::AsBytes(pool.Keep(std::move(bytes)));
  }

  const bool nulls_;
};

template <class Message>
Message RandomFill(RandomSource& source, int16_t version, Pool& pool) {
  Message message;
  VisitFields(message, Filler<RandomSource>(source, version, pool));
  return message;
}

template <class Message>
Message GoldenFill(bool nulls, int16_t version, Pool& pool) {
  GoldenSource source(nulls);
  Message message;
  VisitFields(message, Filler<GoldenSource>(source, version, pool));
  return message;
}

}  // namespace ringtail::kafka
