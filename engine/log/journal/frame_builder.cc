#include "engine/log/journal/frame_builder.h"

#include <cstring>

#include "engine/base/check.h"
#include "engine/base/crc32c.h"
#include "engine/base/stream_copy.h"
#include "engine/log/journal/mutants.h"

namespace ringtail::log {

void FrameBuilder::Reset() {
  payloads_end_ = sizeof(FrameHeader);
  table_.clear();
}

void FrameBuilder::Add(EntryHeader entry, const Payload& payload) {
  const size_t bytes = payload.bytes();
  RT_CHECK(FrameBytesWith(bytes) <= kFrameBytesMax);
  entry.payload_bytes = static_cast<uint32_t>(bytes);
  entry.payload_offset = 0;
  entry.payload_crc = 0;
  if (bytes > 0) {
    entry.payload_offset = static_cast<uint32_t>(payloads_end_);
    uint8_t* to = buffer_ + payloads_end_;
    for (const iovec& part : payload.parts()) {
      entry.payload_crc = base::Crc32cExtend(
          entry.payload_crc, {static_cast<const uint8_t*>(part.iov_base), part.iov_len});
      base::StreamCopy(to, part.iov_base, part.iov_len);
      to += part.iov_len;
    }
    base::StreamZero(to, PaddedPayload(bytes) - bytes);
    payloads_end_ += PaddedPayload(bytes);
  }
  table_.push_back(entry);
}

base::ByteView FrameBuilder::Finish(const FramePlace& place, uint64_t seq, uint64_t durable_seq,
                                    uint32_t flags) {
  RT_CHECK(durable_seq < seq && place.position % kJournalBlockBytes == 0);
  const size_t bytes = frame_bytes();
  const size_t table_bytes = table_.size() * sizeof(EntryHeader);
  RT_CHECK(bytes <= kFrameBytesMax && place.position + int64_t(bytes) <= place.file_bytes);
  FrameHeader header;
  header.seq = seq;
  header.durable_seq = kMutantDurableSeqZero ? 0 : durable_seq;
  header.run = place.run;
  header.file_number = place.file_number;
  header.core = place.core;
  header.position_blocks = static_cast<uint32_t>(place.position / int64_t{kJournalBlockBytes});
  header.frame_bytes = static_cast<uint32_t>(bytes);
  header.entry_count = static_cast<uint32_t>(table_.size());
  header.flags = flags;
  header.table_offset = static_cast<uint32_t>(payloads_end_);
  std::memcpy(header.dir_id, place.dir_id.bytes.data(), sizeof(header.dir_id));
  const auto* table = reinterpret_cast<const uint8_t*>(table_.data());
  header.header_crc = base::Crc32cExtend(
      base::Crc32c({reinterpret_cast<const uint8_t*>(&header) + 8, sizeof(FrameHeader) - 8}),
      {table, table_bytes});
  const size_t end = payloads_end_ + table_bytes;
  base::StreamCopy(buffer_ + payloads_end_, table, table_bytes);
  base::StreamZero(buffer_ + end, bytes - end);
  std::memcpy(buffer_, &header, sizeof(header));
  base::StreamFence();
  return {buffer_, bytes};
}

}  // namespace ringtail::log
