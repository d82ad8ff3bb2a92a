#include "engine/log/batch.h"

#include <limits>

#include "engine/base/check.h"
#include "engine/base/crc32c.h"

namespace ringtail::log {
namespace {

constexpr int32_t kLengthMin = static_cast<int32_t>(kBatchHeaderBytes - kBatchPrefixBytes);
// Of a message of format 0, the shortest thing that ever stood behind this prefix. Such messages
// are told apart from garbage, so that an old client learns what is wrong.
constexpr int32_t kOldMessageLengthMin = 14;
// Length, attributes, two deltas, key length, value length, header count: a byte each.
constexpr size_t kRecordBytesMin = 7;

// The prefix, from whatever part of the header is there.
BatchError CheckPrefix(base::ByteView bytes, size_t batch_bytes_max) {
  if (bytes.size() < kBatchPrefixBytes) return BatchError::kTooShort;
  const int32_t length = base::LoadBe<int32_t>(bytes.data() + kBatchLengthAt);
  if (length < kOldMessageLengthMin) return BatchError::kBadLength;
  if (kBatchPrefixBytes + static_cast<size_t>(length) > batch_bytes_max) {
    return BatchError::kTooLarge;
  }
  if (bytes.size() <= kMagicAt) return BatchError::kTooShort;
  if (base::LoadBe<int8_t>(bytes.data() + kMagicAt) != kBatchMagic) return BatchError::kBadMagic;
  if (length < kLengthMin) return BatchError::kBadLength;
  return bytes.size() < kBatchHeaderBytes ? BatchError::kTooShort : BatchError::kNone;
}

BatchError CheckProducer(const BatchHeader& batch, bool from_producer) {
  if (batch.producer_id() < kNoProducerId) return BatchError::kBadProducer;
  if (!batch.has_producer()) {
    return batch.transactional() ? BatchError::kBadProducer : BatchError::kNone;
  }
  if (batch.producer_epoch() < 0) return BatchError::kBadProducer;
  // A coordinator's transaction markers carry no sequence.
  const int32_t sequence_min = from_producer ? 0 : kNoSequence;
  return batch.base_sequence() < sequence_min ? BatchError::kBadProducer : BatchError::kNone;
}

BatchError CheckProducerBatch(const BatchHeader& batch) {
  if ((batch.attributes() & (kLogAppendTimeBit | kDeleteHorizonBit | kUnusedAttributeBits)) != 0) {
    return BatchError::kBadAttributes;
  }
  if (batch.record_count() < 1) return BatchError::kBadCount;
  if (batch.last_offset_delta() != batch.record_count() - 1) return BatchError::kBadCount;
  const int64_t first_ms = batch.base_timestamp_ms();
  const int64_t max_ms = batch.max_timestamp_ms();
  if (first_ms < kNoTimestamp || (max_ms != kNoTimestamp && max_ms < first_ms)) {
    return BatchError::kBadTimestamps;
  }
  return BatchError::kNone;
}

BatchError CheckBrokerBatch(const BatchHeader& batch) {
  if (batch.record_count() < 0) return BatchError::kBadCount;
  if (batch.last_offset_delta() < 0) return BatchError::kBadCount;
  if (batch.record_count() - 1 > batch.last_offset_delta()) return BatchError::kBadCount;
  const int64_t first = batch.base_offset().value();
  // The offset after the last one must exist too.
  constexpr int64_t kOffsetMax = std::numeric_limits<int64_t>::max();
  if (first < 0 || first >= kOffsetMax - batch.last_offset_delta()) return BatchError::kBadOffset;
  return BatchError::kNone;
}

void StoreCrc(base::MutableByteView batch) {
  const uint32_t crc = base::Crc32c(base::ByteView(batch).subspan(kAttributesAt));
  base::StoreBe<uint32_t>(batch.data() + kCrcAt, crc);
}

}  // namespace

// The one place that turns bytes into views.
struct BatchParser {
  static Parsed<BatchHeader> Header(base::ByteView bytes, size_t batch_bytes_max) {
    const BatchError error = CheckPrefix(bytes, batch_bytes_max);
    if (error != BatchError::kNone) return {error, {}};
    return {error, BatchHeader(bytes.data())};
  }

  static Parsed<BatchView> Whole(base::ByteView bytes, size_t batch_bytes_max) {
    const BatchError error = CheckPrefix(bytes, batch_bytes_max);
    if (error != BatchError::kNone) return {error, {}};
    const BatchView batch(bytes.data());
    if (batch.size_bytes() > bytes.size()) return {BatchError::kTooShort, {}};
    return {error, batch};
  }
};

Parsed<BatchView> ParseBatch(base::ByteView bytes, size_t batch_bytes_max) {
  return BatchParser::Whole(bytes, batch_bytes_max);
}

Parsed<BatchHeader> ParseBatchHeader(base::ByteView bytes, size_t batch_bytes_max) {
  return BatchParser::Header(bytes, batch_bytes_max);
}

absl::string_view BatchErrorText(BatchError error) {
  switch (error) {
    case BatchError::kNone:
      return "no error";
    case BatchError::kTooShort:
      return "the bytes end before the batch does";
    case BatchError::kBadLength:
      return "the length field holds what no batch can have";
    case BatchError::kTooLarge:
      return "the batch is larger than allowed";
    case BatchError::kBadMagic:
      return "not a record batch of version 2";
    case BatchError::kBadCrc:
      return "the CRC does not match the bytes";
    case BatchError::kBadOffset:
      return "offsets are negative or past the largest";
    case BatchError::kBadCount:
      return "record count, offset delta and length do not agree";
    case BatchError::kBadTimestamps:
      return "timestamps are negative or out of order";
    case BatchError::kBadCodec:
      return "unknown compression codec";
    case BatchError::kBadAttributes:
      return "attribute bits that a producer must not set";
    case BatchError::kBadProducer:
      return "producer id, epoch and sequence do not go together";
    case BatchError::kControlBatch:
      return "control batches are not accepted here";
    case BatchError::kTransactional:
      return "transactional batches are not accepted here";
    case BatchError::kBadRecords:
      return "the records are not what the batch header says";
  }
  return "unknown batch error";
}

absl::string_view CodecName(Codec codec) {
  switch (codec) {
    case Codec::kNone:
      return "none";
    case Codec::kGzip:
      return "gzip";
    case Codec::kSnappy:
      return "snappy";
    case Codec::kLz4:
      return "lz4";
    case Codec::kZstd:
      return "zstd";
  }
  return "unknown";
}

int32_t BatchHeader::last_sequence() const {
  const int32_t first = base_sequence();
  if (first < 0) return kNoSequence;
  constexpr uint32_t kSequenceMask = std::numeric_limits<int32_t>::max();
  const uint32_t last = static_cast<uint32_t>(first) + static_cast<uint32_t>(last_offset_delta());
  return static_cast<int32_t>(last & kSequenceMask);
}

uint32_t BatchView::ComputeCrc() const { return base::Crc32c(bytes().subspan(kAttributesAt)); }

BatchRules BatchRules::Producer(size_t batch_bytes_max) {
  return {.batch_bytes_max = batch_bytes_max};
}

BatchRules BatchRules::Verbatim() {
  return {.from_producer = false, .allow_transactional = true, .allow_control = true};
}

BatchError ValidateBatch(const BatchView& batch, const BatchRules& rules) {
  if (batch.size_bytes() > rules.batch_bytes_max) return BatchError::kTooLarge;
  // First, so that damage is called damage whatever field it hit.
  if (rules.check_crc && batch.ComputeCrc() != batch.crc()) return BatchError::kBadCrc;
  if ((batch.attributes() & kCodecMask) > kCodecMax) return BatchError::kBadCodec;
  if (batch.control() && !rules.allow_control) return BatchError::kControlBatch;
  if (batch.transactional() && !rules.allow_transactional) return BatchError::kTransactional;
  const BatchError kind_error =
      rules.from_producer ? CheckProducerBatch(batch) : CheckBrokerBatch(batch);
  if (kind_error != BatchError::kNone) return kind_error;
  const size_t records_bytes = batch.size_bytes() - kBatchHeaderBytes;
  const auto count = static_cast<size_t>(batch.record_count());
  if (!batch.compressed() && records_bytes < count * kRecordBytesMin) return BatchError::kBadCount;
  return CheckProducer(batch, rules.from_producer);
}

void PatchBaseOffset(base::MutableByteView batch, base::Offset base_offset) {
  RT_CHECK(batch.size() >= kBatchHeaderBytes);
  base::StoreBe<int64_t>(batch.data() + kBaseOffsetAt, base_offset.value());
}

void PatchLeaderEpoch(base::MutableByteView batch, int32_t leader_epoch) {
  RT_CHECK(batch.size() >= kBatchHeaderBytes);
  base::StoreBe<int32_t>(batch.data() + kLeaderEpochAt, leader_epoch);
}

void SetLogAppendTime(base::MutableByteView batch, int64_t now_ms) {
  RT_CHECK(batch.size() >= kBatchHeaderBytes);
  uint8_t* attributes = batch.data() + kAttributesAt;
  base::StoreBe<uint16_t>(attributes, base::LoadBe<uint16_t>(attributes) | kLogAppendTimeBit);
  SetMaxTimestamp(batch, now_ms);
}

void SetMaxTimestamp(base::MutableByteView batch, int64_t max_timestamp_ms) {
  RT_CHECK(batch.size() >= kBatchHeaderBytes);
  const auto length = base::LoadBe<int32_t>(batch.data() + kBatchLengthAt);
  RT_CHECK(batch.size() == kBatchPrefixBytes + static_cast<size_t>(length));
  base::StoreBe<int64_t>(batch.data() + kMaxTimestampAt, max_timestamp_ms);
  StoreCrc(batch);
}

void ChangeRecords(base::MutableByteView batch, const BatchChange& change) {
  RT_CHECK(batch.size() >= kBatchHeaderBytes && batch.size() <= kBatchBytesMax);
  uint8_t* at = batch.data();
  base::StoreBe<int32_t>(at + kBatchLengthAt,
                         static_cast<int32_t>(batch.size() - kBatchPrefixBytes));
  base::StoreBe<int32_t>(at + kRecordCountAt, change.record_count);
  const uint16_t attributes = base::LoadBe<uint16_t>(at + kAttributesAt);
  if ((attributes & kLogAppendTimeBit) == 0) {
    base::StoreBe<int64_t>(at + kMaxTimestampAt, change.max_timestamp_ms);
  }
  if (change.delete_horizon_ms.has_value()) {
    base::StoreBe<uint16_t>(at + kAttributesAt, attributes | kDeleteHorizonBit);
    base::StoreBe<int64_t>(at + kBaseTimestampAt, *change.delete_horizon_ms);
  }
  StoreCrc(batch);
}

void AppendEmptyBatch(const BatchHeader& batch, std::vector<uint8_t>* out) {
  const size_t at = out->size();
  out->insert(out->end(), batch.data_, batch.data_ + kBatchHeaderBytes);
  uint8_t* header = out->data() + at;
  // Nothing is compressed, and no tombstone waits for its end.
  base::StoreBe<uint16_t>(header + kAttributesAt,
                          batch.attributes() & ~(kCodecMask | kDeleteHorizonBit));
  base::StoreBe<int64_t>(header + kBaseTimestampAt, batch.max_timestamp_ms());
  ChangeRecords({header, kBatchHeaderBytes},
                {.record_count = 0, .max_timestamp_ms = batch.max_timestamp_ms()});
}

bool BatchWalker::Next() {
  if (error_ != BatchError::kNone || end_ == bytes_.size()) return false;
  const Parsed<BatchView> parsed = ParseBatch(bytes_.subspan(end_), batch_bytes_max_);
  error_ = parsed.error;
  if (!parsed.ok()) return false;
  batch_ = parsed.batch;
  end_ += batch_.size_bytes();
  return true;
}

}  // namespace ringtail::log
