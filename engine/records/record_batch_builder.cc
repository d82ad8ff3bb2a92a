#include "engine/records/record_batch_builder.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/crc32c.h"
#include "engine/base/endian.h"
#include "engine/base/result.h"
#include "engine/base/varint.h"

namespace ringtail::records {

using base::ByteView;
using Bytes = std::vector<uint8_t>;

namespace {

size_t NullableSize(const std::optional<ByteView>& bytes) {
  if (!bytes) return base::VarintSize(-1);
  return base::VarintSize(static_cast<int64_t>(bytes->size())) + bytes->size();
}

// What follows the record's length.
size_t BodySize(int64_t timestamp_delta, int32_t offset_delta, const RecordInput& record) {
  size_t size = 1;  // attributes
  size += base::VarintSize(timestamp_delta) + base::VarintSize(offset_delta);
  size += NullableSize(record.key) + NullableSize(record.value);
  size += base::VarintSize(static_cast<int64_t>(record.headers.size()));
  for (const log::HeaderView& header : record.headers) {
    size += NullableSize(header.key) + NullableSize(header.value);
  }
  return size;
}

// Of a batch that holds nothing else.
size_t AloneBytes(const RecordInput& record) {
  const size_t body_bytes = BodySize(0, 0, record);
  return log::kBatchHeaderBytes + base::VarintSize(static_cast<int64_t>(body_bytes)) + body_bytes;
}

uint8_t* PutBytes(uint8_t* to, const std::optional<ByteView>& bytes) {
  to += base::EncodeVarint(to, bytes ? static_cast<int64_t>(bytes->size()) : -1);
  if (!bytes || bytes->empty()) return to;
  std::memcpy(to, bytes->data(), bytes->size());
  return to + bytes->size();
}

int64_t SubtractWrapping(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}

}  // namespace

RecordBatchBuilder::RecordBatchBuilder(const BuilderOptions& options) : options_(options) {
  // A batch's length is an int32.
  options_.batch_bytes_max = std::min(options_.batch_bytes_max, log::kBatchBytesMax);
  Clear();
}

void RecordBatchBuilder::Clear() {
  plain_.resize(log::kBatchHeaderBytes);
  record_count_ = 0;
  last_offset_delta_ = -1;
  base_timestamp_ms_ = log::kNoTimestamp;
  max_timestamp_ms_ = log::kNoTimestamp;
}

void RecordBatchBuilder::SetProducer(int64_t producer_id, int16_t producer_epoch,
                                     int32_t base_sequence) {
  options_.producer_id = producer_id;
  options_.producer_epoch = producer_epoch;
  options_.base_sequence = base_sequence;
}

AppendResult RecordBatchBuilder::Append(const RecordInput& record) {
  if (last_offset_delta_ == std::numeric_limits<int32_t>::max()) return AppendResult::kFull;
  return AppendAt(last_offset_delta_ + 1, record);
}

AppendResult RecordBatchBuilder::AppendAt(int32_t offset_delta, const RecordInput& record) {
  RT_CHECK(offset_delta > last_offset_delta_);
  if (empty()) base_timestamp_ms_ = record.timestamp_ms;
  const int64_t timestamp_delta = SubtractWrapping(record.timestamp_ms, base_timestamp_ms_);
  const size_t body_bytes = BodySize(timestamp_delta, offset_delta, record);
  const size_t record_bytes = base::VarintSize(static_cast<int64_t>(body_bytes)) + body_bytes;
  if (record_bytes > options_.batch_bytes_max - std::min(options_.batch_bytes_max, plain_.size())) {
    const bool alone = empty() || AloneBytes(record) > options_.batch_bytes_max;
    return alone ? AppendResult::kTooLarge : AppendResult::kFull;
  }
  Encode(offset_delta, record, body_bytes);
  ++record_count_;
  last_offset_delta_ = offset_delta;
  max_timestamp_ms_ = std::max(max_timestamp_ms_, record.timestamp_ms);
  return AppendResult::kAppended;
}

void RecordBatchBuilder::Encode(int32_t offset_delta, const RecordInput& record,
                                size_t body_bytes) {
  const size_t start = plain_.size();
  const size_t length_bytes = base::VarintSize(static_cast<int64_t>(body_bytes));
  plain_.resize(start + length_bytes + body_bytes);
  uint8_t* to = plain_.data() + start;
  to += base::EncodeVarint(to, static_cast<int64_t>(body_bytes));
  *to++ = 0;  // attributes: none are defined
  to += base::EncodeVarint(to, SubtractWrapping(record.timestamp_ms, base_timestamp_ms_));
  to += base::EncodeVarint(to, offset_delta);
  to = PutBytes(to, record.key);
  to = PutBytes(to, record.value);
  to += base::EncodeVarint(to, static_cast<int64_t>(record.headers.size()));
  for (const log::HeaderView& header : record.headers) {
    to = PutBytes(to, header.key);
    to = PutBytes(to, header.value);
  }
  RT_CHECK(to == plain_.data() + plain_.size());
}

absl::StatusOr<Bytes> RecordBatchBuilder::Finish(const FinishOptions& finish) {
  if (empty() && !finish.last_offset_delta) {
    return absl::FailedPreconditionError("a batch without records");
  }
  RT_CHECK(finish.last_offset_delta.value_or(last_offset_delta_) >= last_offset_delta_);
  Bytes batch;
  if (options_.compression.codec == log::Codec::kNone) {
    const size_t size_bytes = plain_.size();
    batch = std::exchange(plain_, {});
    plain_.reserve(size_bytes);  // the next one will be about as large
  } else {
    batch.resize(log::kBatchHeaderBytes);
    const ByteView records = ByteView(plain_).subspan(log::kBatchHeaderBytes);
    RT_RETURN_IF_ERROR(compressor_.Compress(options_.compression, records, batch));
    if (batch.size() > log::kBatchBytesMax) {
      return absl::ResourceExhaustedError("a batch of more than 2 GiB");
    }
  }
  WriteHeader(finish, batch);
  Clear();
  return batch;
}

void RecordBatchBuilder::WriteHeader(const FinishOptions& finish, Bytes& batch) const {
  uint8_t* to = batch.data();
  auto attributes = static_cast<uint16_t>(options_.compression.codec);
  if (options_.transactional) attributes |= log::kTransactionalBit;
  if (options_.control) attributes |= log::kControlBit;
  base::StoreBe<int64_t>(to + log::kBaseOffsetAt, finish.base_offset.value());
  base::StoreBe<int32_t>(to + log::kBatchLengthAt,
                         static_cast<int32_t>(batch.size() - log::kBatchPrefixBytes));
  base::StoreBe<int32_t>(to + log::kLeaderEpochAt, finish.leader_epoch);
  base::StoreBe<int8_t>(to + log::kMagicAt, log::kBatchMagic);
  base::StoreBe<uint16_t>(to + log::kAttributesAt, attributes);
  base::StoreBe<int32_t>(to + log::kLastOffsetDeltaAt,
                         finish.last_offset_delta.value_or(last_offset_delta_));
  base::StoreBe<int64_t>(to + log::kBaseTimestampAt, base_timestamp_ms_);
  base::StoreBe<int64_t>(to + log::kMaxTimestampAt, max_timestamp_ms_);
  base::StoreBe<int64_t>(to + log::kProducerIdAt, options_.producer_id);
  base::StoreBe<int16_t>(to + log::kProducerEpochAt, options_.producer_epoch);
  base::StoreBe<int32_t>(to + log::kBaseSequenceAt, options_.base_sequence);
  base::StoreBe<int32_t>(to + log::kRecordCountAt, record_count_);
  const uint32_t crc = base::Crc32c(ByteView(batch).subspan(log::kAttributesAt));
  base::StoreBe<uint32_t>(to + log::kCrcAt, crc);
}

}  // namespace ringtail::records
