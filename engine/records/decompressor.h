// Decompresses the records region of a batch, whoever wrote it, never into more than a given number
// of bytes: a few kilobytes from the wire can stand for gigabytes. Keep one and use it again; it
// keeps its contexts and its buffer. One thread at a time; no exceptions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/bytes.h"
#include "engine/log/batch.h"

namespace ringtail::records {

class Decompressor {
 public:
  explicit Decompressor(size_t plain_bytes_max);
  ~Decompressor();
  Decompressor(Decompressor&&) noexcept;
  Decompressor& operator=(Decompressor&&) noexcept;

  // A view that lives until the next call, or as long as `packed` for Codec::kNone.
  // ResourceExhausted if there are more than `plain_bytes_max` bytes; DataLoss if `packed` is
  // damaged or ends early; InvalidArgument for an unknown codec. Snappy: xerial's framing and the
  // raw format. Gzip, lz4, zstd: several frames in a row are one text.
  absl::StatusOr<base::ByteView> Decompress(log::Codec codec, base::ByteView packed);

 private:
  struct Contexts;

  absl::Status Gzip(base::ByteView packed);
  absl::Status Snappy(base::ByteView packed);
  absl::Status SnappyBlock(base::ByteView packed);
  absl::Status Lz4(base::ByteView packed);
  absl::Status Zstd(base::ByteView packed);
  // Where the next plain bytes go: at least one byte.
  absl::StatusOr<base::MutableByteView> Room();

  size_t plain_bytes_max_;
  std::vector<uint8_t> plain_;  // never shrinks; the first plain_bytes_ are in use
  size_t plain_bytes_ = 0;
  std::unique_ptr<Contexts> contexts_;
};

}  // namespace ringtail::records
