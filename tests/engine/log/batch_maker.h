// Record batches for tests: uncompressed, records with a value only, CRC right.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/crc32c.h"
#include "engine/base/endian.h"
#include "engine/base/varint.h"
#include "engine/log/batch.h"

namespace ringtail::log {

struct BatchSpec {
  int32_t records = 1;
  size_t value_bytes = 16;
  int64_t timestamp_ms =
      1000;  // of the first record; each further one is `timestamp_step_ms` later
  int64_t timestamp_step_ms = 0;
  int64_t producer_id = kNoProducerId;
  int16_t producer_epoch = kNoProducerEpoch;
  int32_t base_sequence = kNoSequence;
  int64_t base_offset = 0;
  int32_t leader_epoch = -1;
  uint16_t attributes = 0;
  char fill = 'v';
};

inline void PutVarint(std::string* out, int64_t value) {
  uint8_t bytes[10];
  out->append(reinterpret_cast<char*>(bytes), base::EncodeVarint(bytes, value));
}

inline std::string MakeBatch(const BatchSpec& spec) {
  std::string records;
  for (int32_t i = 0; i < spec.records; ++i) {
    std::string record(1, '\0');
    PutVarint(&record, i * spec.timestamp_step_ms);
    PutVarint(&record, i);
    PutVarint(&record, -1);
    PutVarint(&record, static_cast<int64_t>(spec.value_bytes));
    record.append(spec.value_bytes, spec.fill);
    PutVarint(&record, 0);
    PutVarint(&records, static_cast<int64_t>(record.size()));
    records += record;
  }
  std::string batch(kBatchHeaderBytes, '\0');
  batch += records;
  auto* at = reinterpret_cast<uint8_t*>(batch.data());
  base::StoreBe<int64_t>(at + kBaseOffsetAt, spec.base_offset);
  base::StoreBe<int32_t>(at + kBatchLengthAt,
                         static_cast<int32_t>(batch.size() - kBatchPrefixBytes));
  base::StoreBe<int32_t>(at + kLeaderEpochAt, spec.leader_epoch);
  at[kMagicAt] = kBatchMagic;
  base::StoreBe<uint16_t>(at + kAttributesAt, spec.attributes);
  base::StoreBe<int32_t>(at + kLastOffsetDeltaAt, spec.records - 1);
  base::StoreBe<int64_t>(at + kBaseTimestampAt, spec.timestamp_ms);
  base::StoreBe<int64_t>(at + kMaxTimestampAt,
                         spec.timestamp_ms + (spec.records - 1) * spec.timestamp_step_ms);
  base::StoreBe<int64_t>(at + kProducerIdAt, spec.producer_id);
  base::StoreBe<int16_t>(at + kProducerEpochAt, spec.producer_epoch);
  base::StoreBe<int32_t>(at + kBaseSequenceAt, spec.base_sequence);
  base::StoreBe<int32_t>(at + kRecordCountAt, spec.records);
  const base::ByteView covered(at + kAttributesAt, batch.size() - kAttributesAt);
  base::StoreBe<uint32_t>(at + kCrcAt, base::Crc32c(covered));
  return batch;
}

inline base::MutableByteView Bytes(std::string& text) {
  return {reinterpret_cast<uint8_t*>(text.data()), text.size()};
}

}  // namespace ringtail::log
