// Compresses the records region of a batch as Kafka's clients do. Keep one and use it again: its
// contexts cost more than a small batch. One thread at a time; no exceptions.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/bytes.h"
#include "engine/log/batch.h"

namespace ringtail::records {

// Snappy has no stream format of its own; Kafka's readers take both.
enum class SnappyFraming : uint8_t {
  kXerial,  // snappy-java's stream of 32 KiB blocks, as the Java client writes it
  kRaw,     // one block, as librdkafka writes it
};

struct Compression {
  log::Codec codec = log::Codec::kNone;
  SnappyFraming snappy_framing = SnappyFraming::kXerial;
  // In the codec's own numbers (gzip 1 to 9, lz4 up to 12, zstd up to 22); its default if not set.
  std::optional<int> level;
};

class Compressor {
 public:
  Compressor();
  ~Compressor();
  Compressor(Compressor&&) noexcept;
  Compressor& operator=(Compressor&&) noexcept;

  // Appends the compressed bytes to `out`. InvalidArgument for a level the codec does not have.
  absl::Status Compress(const Compression& how, base::ByteView plain, std::vector<uint8_t>& out);

 private:
  struct Contexts;

  absl::Status Gzip(std::optional<int> level, base::ByteView plain, std::vector<uint8_t>& out);
  absl::Status Lz4(std::optional<int> level, base::ByteView plain, std::vector<uint8_t>& out);
  absl::Status Zstd(std::optional<int> level, base::ByteView plain, std::vector<uint8_t>& out);

  std::unique_ptr<Contexts> contexts_;
};

}  // namespace ringtail::records
