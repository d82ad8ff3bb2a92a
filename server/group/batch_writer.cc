#include "server/group/batch_writer.h"

#include <utility>

#include "engine/base/check.h"
#include "engine/base/crc32c.h"
#include "engine/base/endian.h"
#include "engine/base/varint.h"
#include "engine/log/batch.h"

namespace ringtail::group {
namespace {

void AddVarint(int64_t value, std::vector<uint8_t>* out) {
  uint8_t bytes[base::kVarintSizeMax<uint64_t>];
  out->insert(out->end(), bytes, bytes + base::EncodeVarint(bytes, value));
}

void AddText(absl::string_view text, std::vector<uint8_t>* out) {
  AddVarint(static_cast<int64_t>(text.size()), out);
  out->insert(out->end(), text.begin(), text.end());
}

}  // namespace

BatchWriter::BatchWriter(int64_t timestamp_ms)
    : timestamp_ms_(timestamp_ms), bytes_(log::kBatchHeaderBytes) {}

void BatchWriter::Add(absl::string_view key, std::optional<absl::string_view> value) {
  std::vector<uint8_t> record;
  record.push_back(0);    // attributes
  AddVarint(0, &record);  // of the timestamp
  AddVarint(count_, &record);
  AddText(key, &record);
  if (value.has_value()) {
    AddText(*value, &record);
  } else {
    AddVarint(-1, &record);
  }
  AddVarint(0, &record);  // headers
  AddVarint(static_cast<int64_t>(record.size()), &bytes_);
  bytes_.insert(bytes_.end(), record.begin(), record.end());
  ++count_;
}

std::vector<uint8_t> BatchWriter::Finish() {
  RT_CHECK(count_ > 0);
  uint8_t* header = bytes_.data();
  base::StoreBe<int64_t>(header + log::kBaseOffsetAt, 0);
  base::StoreBe<int32_t>(header + log::kBatchLengthAt,
                         static_cast<int32_t>(bytes_.size() - log::kBatchPrefixBytes));
  base::StoreBe<int32_t>(header + log::kLeaderEpochAt, -1);
  header[log::kMagicAt] = static_cast<uint8_t>(log::kBatchMagic);
  base::StoreBe<int16_t>(header + log::kAttributesAt, 0);
  base::StoreBe<int32_t>(header + log::kLastOffsetDeltaAt, count_ - 1);
  base::StoreBe<int64_t>(header + log::kBaseTimestampAt, timestamp_ms_);
  base::StoreBe<int64_t>(header + log::kMaxTimestampAt, timestamp_ms_);
  base::StoreBe<int64_t>(header + log::kProducerIdAt, log::kNoProducerId);
  base::StoreBe<int16_t>(header + log::kProducerEpochAt, log::kNoProducerEpoch);
  base::StoreBe<int32_t>(header + log::kBaseSequenceAt, log::kNoSequence);
  base::StoreBe<int32_t>(header + log::kRecordCountAt, count_);
  const base::ByteView covered = base::ByteView(bytes_).subspan(log::kAttributesAt);
  base::StoreBe<uint32_t>(header + log::kCrcAt, base::Crc32c(covered));
  return std::move(bytes_);
}

}  // namespace ringtail::group
