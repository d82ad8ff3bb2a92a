// Puts one frame together in a buffer of its user's: payloads are copied in as they come, the entry
// table is kept aside and put behind them by Finish(). On one core; allocates only while the table
// grows.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/log/journal/journal_format.h"

namespace ringtail::log {

// The bytes of an entry: in one piece, or in parts that follow each other. An argument; refers to
// what it is made of.
class Payload {
 public:
  Payload(base::ByteView whole)  // NOLINT: implicit
      : whole_{const_cast<uint8_t*>(whole.data()), whole.size()}, parts_(&whole_, 1) {
    bytes_ = whole.size();
  }
  Payload(std::span<const iovec> parts) : parts_(parts) {  // NOLINT: implicit
    for (const iovec& part : parts) bytes_ += part.iov_len;
  }
  Payload(const Payload&) = delete;
  Payload& operator=(const Payload&) = delete;

  std::span<const iovec> parts() const { return parts_; }
  size_t bytes() const { return bytes_; }

 private:
  iovec whole_ = {};
  std::span<const iovec> parts_;
  size_t bytes_ = 0;
};

class FrameBuilder {
 public:
  // `buffer` holds kFrameBytesMax, stays with its user, and is aligned for direct writes.
  explicit FrameBuilder(uint8_t* buffer) : buffer_(buffer) {}

  void Reset();
  bool empty() const { return table_.empty(); }
  size_t entry_count() const { return table_.size(); }
  size_t payload_bytes() const { return payloads_end_ - sizeof(FrameHeader); }
  // What Finish() would make of what is here.
  size_t frame_bytes() const { return FrameBytesFor(payload_bytes(), table_.size()); }
  // The same with one entry more.
  size_t FrameBytesWith(size_t payload) const {
    return FrameBytesFor(payload_bytes() + PaddedPayload(payload), table_.size() + 1);
  }
  // The largest payload that fits an empty frame.
  static constexpr size_t kPayloadBytesMax =
      kFrameBytesMax - sizeof(FrameHeader) - sizeof(EntryHeader);

  // Copies the payload, fills in its place, length and CRC. CHECKs that it fits.
  void Add(EntryHeader entry, const Payload& payload);
  // The whole frame in the buffer, zeros behind the table. durable_seq < seq.
  base::ByteView Finish(const FramePlace& place, uint64_t seq, uint64_t durable_seq,
                        uint32_t flags);

 private:
  uint8_t* buffer_;
  size_t payloads_end_ = sizeof(FrameHeader);
  std::vector<EntryHeader> table_;
};

}  // namespace ringtail::log
