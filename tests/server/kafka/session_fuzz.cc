// What one client sends, frame after frame, into a whole broker. Inputs are streams as they come
// over the wire, so recorded sessions of real clients serve as seeds (sessions/README.md). The
// mutator works on frames and repairs lengths and checksums, or hardly anything would get past
// them.
#include <algorithm>
#include <cstring>
#include <random>

#include "engine/base/crc32c.h"
#include "engine/log/batch.h"
#include "tests/server/fuzz_server.h"
#include "tests/server/kafka/valid_frames.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace ringtail::kafka {
namespace {

constexpr size_t kLengthBytes = 4;
constexpr size_t kHeaderBytesMin = 8;

// Stands in an input for the id of topic "t", which is another one in each run.
base::Uuid TopicIdMark() {
  base::Uuid mark;
  mark.bytes.fill(0xa5);
  return mark;
}

void SetTopicId(std::string* stream, const base::Uuid& id) {
  const base::Uuid mark = TopicIdMark();
  const auto* from = reinterpret_cast<const char*>(mark.bytes.data());
  const auto* to = reinterpret_cast<const char*>(id.bytes.data());
  for (size_t at = 0; (at = stream->find(from, at, mark.bytes.size())) != std::string::npos;) {
    stream->replace(at, id.bytes.size(), to, id.bytes.size());
    at += id.bytes.size();
  }
}

// The whole frames of a stream, then what is left.
std::vector<std::string> SplitFrames(absl::string_view stream) {
  std::vector<std::string> frames;
  while (stream.size() > kLengthBytes) {
    const auto bytes = base::LoadBe<int32_t>(reinterpret_cast<const uint8_t*>(stream.data()));
    if (bytes < 0 || static_cast<size_t>(bytes) > stream.size() - kLengthBytes) break;
    frames.emplace_back(stream.substr(0, kLengthBytes + static_cast<size_t>(bytes)));
    stream.remove_prefix(frames.back().size());
  }
  if (!stream.empty()) frames.emplace_back(stream);
  return frames;
}

// Lengths and checksums of the batches of a produce, as far as it can be decoded.
void RepairBatches(std::string* frame) {
  RequestFrame request;
  const base::ByteView body = base::AsBytes(absl::string_view(*frame).substr(kLengthBytes));
  if (!DecodeRequestFrame(body, &request).ok()) return;
  const int16_t version = request.header.request_api_version;
  if (request.header.request_api_key != ProduceRequest::kApiKey ||
      version < ProduceRequest::kVersionMin || version > ProduceRequest::kVersionMax) {
    return;
  }
  Arena arena;
  ProduceRequest produce;
  if (!Decode(request.body, version, arena, &produce).ok()) return;
  for (const auto& topic : produce.topic_data) {
    for (const auto& partition : topic.partition_data) {
      if (!partition.records.has_value()) continue;
      const base::ByteView view = partition.records->bytes();
      if (view.size() < log::kBatchHeaderBytes) continue;
      auto* batch = const_cast<uint8_t*>(view.data());
      base::StoreBe<int32_t>(batch + log::kBatchLengthAt,
                             static_cast<int32_t>(view.size() - log::kBatchPrefixBytes));
      base::StoreBe<uint32_t>(batch + log::kCrcAt, base::Crc32c(view.subspan(log::kAttributesAt)));
    }
  }
}

void RepairFrame(std::string* frame) {
  if (frame->size() < kLengthBytes + kHeaderBytesMin) return;
  base::StoreBe<int32_t>(reinterpret_cast<uint8_t*>(frame->data()),
                         static_cast<int32_t>(frame->size() - kLengthBytes));
  RepairBatches(frame);
}

// Changes the body, or one time in eight key, version and correlation id, too.
void MutateFrame(std::minstd_rand& random, size_t room, std::string* frame) {
  const size_t kept = random() % 8 == 0 ? kLengthBytes : kLengthBytes + kHeaderBytesMin;
  if (frame->size() <= kept) return;
  const size_t size = frame->size() - kept;
  frame->resize(frame->size() + room);
  const size_t mutated =
      LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(frame->data()) + kept, size, size + room);
  frame->resize(kept + mutated);
  RepairFrame(frame);
}

const std::vector<ValidFrame>& Templates() {
  static const std::vector<ValidFrame> frames = [] {
    std::vector<ValidFrame> all = ValidFrames(TopicIdMark(), false);
    for (ValidFrame& frame : ValidFrames(TopicIdMark(), true)) all.push_back(std::move(frame));
    return all;
  }();
  return frames;
}

std::string Mutate(absl::string_view stream, size_t bytes_max, unsigned int seed) {
  constexpr size_t kRoomMax = 64;
  std::minstd_rand random(seed);
  std::vector<std::string> frames = SplitFrames(stream);
  const size_t room = std::min(bytes_max - std::min(bytes_max, stream.size()), kRoomMax);
  const size_t choice = frames.empty() ? 0 : random() % 8;
  const size_t at = frames.empty() ? 0 : random() % frames.size();
  if (choice <= 1) {
    frames.insert(frames.begin() + static_cast<ptrdiff_t>(at),
                  Templates()[random() % Templates().size()].bytes);
  } else if (choice == 2) {
    frames.erase(frames.begin() + static_cast<ptrdiff_t>(at));
  } else if (choice == 3) {
    frames.push_back(frames[at]);
  } else {
    MutateFrame(random, room, &frames[at]);
  }
  std::string mutated;
  for (const std::string& frame : frames) mutated += frame;
  return mutated;
}

}  // namespace
}  // namespace ringtail::kafka

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ringtail;  // NOLINT: the entry point of one file
  std::string stream(reinterpret_cast<const char*>(data), size);
  for (const std::string& frame : kafka::SplitFrames(stream)) {
    if (kafka::TooSlowHere(frame)) return 0;
  }
  server::FuzzServer& server = server::SharedFuzzServer();
  if (server.server().broker(0).image()->FindByName("t") == nullptr) {
    server.server().CreateTopic("t", 2);
  }
  kafka::SetTopicId(&stream, server.server().IdOf("t").topic_id);
  server.Serve(server::ListenerKind::kKafka, "", stream);
  return 0;
}

// One time in eight the bytes change without regard for frames.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  using namespace ringtail::kafka;  // NOLINT: the entry point of one file
  if (seed % 8 == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string mutated =
      Mutate({reinterpret_cast<const char*>(data), size}, max_size, seed / 8);
  if (mutated.empty() || mutated.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, mutated.data(), mutated.size());
  return mutated.size();
}
