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
  void Add(EntryHeader entry, std::span<const iovec> payload);
  void Add(EntryHeader entry, base::ByteView payload) {
    const iovec part{const_cast<uint8_t*>(payload.data()), payload.size()};
    Add(entry, std::span<const iovec>(&part, payload.empty() ? 0 : 1));
  }
  // The whole frame in the buffer, zeros behind the table. durable_seq < seq.
  base::ByteView Finish(const FramePlace& place, uint64_t seq, uint64_t durable_seq,
                        uint32_t flags);

 private:
  uint8_t* buffer_;
  size_t payloads_end_ = sizeof(FrameHeader);
  std::vector<EntryHeader> table_;
};

}  // namespace ringtail::log
