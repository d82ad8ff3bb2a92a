// Bytes of a peer into every message of the schema: two bytes choose message and version, the rest
// is the body, or after 0xffff a request frame. What decodes must encode, and decode to the same
// bytes again.
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "server/kafka/frame.h"
#include "server/kafka/messages_reflect.h"
#include "tests/server/kafka/message_fill.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace ringtail::kafka {
namespace {

template <class Message>
std::vector<uint8_t> EncodeToVector(const Message& message, int16_t version) {
  const absl::StatusOr<EncodedSize> size = Measure(message, version);
  RT_CHECK(size.ok());
  std::vector<uint8_t> out(size->buffer_bytes);
  Encode(message, version, *size, out.data());
  return out;
}

template <class Message>
void CheckBody(base::ByteView body, int16_t version) {
  Arena arena;
  Message message;
  if (!Decode(body, version, arena, &message).ok()) return;
  const std::vector<uint8_t> bytes = EncodeToVector(message, version);
  Message again;
  RT_CHECK(Decode(bytes, version, arena, &again).ok());
  RT_CHECK(EncodeToVector(again, version) == bytes);
}

struct Target {
  int16_t version;
  void (*check)(base::ByteView body, int16_t version);
  std::vector<uint8_t> (*make)(uint64_t seed, int16_t version);
};

template <class Message>
std::vector<uint8_t> Make(uint64_t seed, int16_t version) {
  RandomSource source(seed);
  Pool pool;
  return EncodeToVector(RandomFill<Message>(source, version, pool), version);
}

const std::vector<Target>& Targets() {
  static const std::vector<Target> targets = [] {
    std::vector<Target> all;
    ForEachMessage([&]<class Message>(std::type_identity<Message>) {
      for (int v = Message::kVersionMin; v <= Message::kVersionMax; ++v) {
        all.push_back({static_cast<int16_t>(v), CheckBody<Message>, Make<Message>});
      }
    });
    return all;
  }();
  return targets;
}

constexpr uint16_t kFrameChoice = 0xffff;

uint16_t Choice(const uint8_t* data) { return static_cast<uint16_t>(data[0] << 8 | data[1]); }

void CheckFrame(base::ByteView frame) {
  RequestFrame request;
  if (!DecodeRequestFrame(frame, &request).ok()) return;
  ForEachMessage([&]<class Message>(std::type_identity<Message>) {
    if (Message::kApiKey != request.header.request_api_key) return;
    CheckBody<Message>(request.body, request.header.request_api_version);
  });
}

}  // namespace
}  // namespace ringtail::kafka

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ringtail::kafka;  // NOLINT: the entry point of one file
  if (size < 2) return 0;
  const ringtail::base::ByteView body(data + 2, size - 2);
  if (Choice(data) == kFrameChoice) {
    CheckFrame(body);
    return 0;
  }
  const Target& target = Targets()[Choice(data) % Targets().size()];
  target.check(body, target.version);
  return 0;
}

// One time in four a whole valid message takes the input's place, since lengths within lengths are
// hard to hit by chance.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  using namespace ringtail::kafka;  // NOLINT: the entry point of one file
  if (seed % 4 != 0 || max_size < 2) return LLVMFuzzerMutate(data, size, max_size);
  const uint16_t choice = static_cast<uint16_t>(seed / 4 % Targets().size());
  const Target& target = Targets()[choice];
  const std::vector<uint8_t> body = target.make(seed, target.version);
  if (body.size() + 2 > max_size) return LLVMFuzzerMutate(data, size, max_size);
  data[0] = static_cast<uint8_t>(choice >> 8);
  data[1] = static_cast<uint8_t>(choice);
  if (!body.empty()) std::memcpy(data + 2, body.data(), body.size());
  return body.size() + 2;
}
