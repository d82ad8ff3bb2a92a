#include "engine/records/batch_rewriter.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/base/varint.h"

namespace ringtail::records {
namespace {

constexpr size_t kVarintBytesMax = base::kVarintSizeMax<int64_t>;

// Wraps around where hostile timestamps would overflow.
int64_t AddWrapping(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

void AppendVarint(std::vector<uint8_t>* out, int64_t value) {
  uint8_t bytes[kVarintBytesMax];
  const size_t size = base::EncodeVarint(bytes, value);
  out->insert(out->end(), bytes, bytes + size);
}

}  // namespace

absl::StatusOr<base::ByteView> BatchRewriter::Open(const log::BatchView& batch) {
  batch_ = batch;
  records_.clear();
  kept_ = 0;
  return decompressor_.Decompress(batch.codec(), batch.records());
}

void BatchRewriter::Keep(const log::RecordView& record) {
  records_.push_back(record);
  ++kept_;
}

// The record again, its timestamp counted from another base.
void BatchRewriter::AppendFromHorizon(const log::RecordView& record, int64_t shift_ms) {
  // length, attributes, timestamp delta, and behind it what stays.
  base::ByteView rest = record.bytes;
  rest = rest.subspan(base::DecodeVarint32(rest).size);
  const uint8_t attributes = rest[0];
  rest = rest.subspan(1);
  rest = rest.subspan(base::DecodeVarint64(rest).size);
  const int64_t delta = AddWrapping(record.timestamp_delta_ms, shift_ms);
  uint8_t encoded[kVarintBytesMax];
  const size_t delta_bytes = base::EncodeVarint(encoded, delta);
  AppendVarint(&plain_, static_cast<int64_t>(1 + delta_bytes + rest.size()));
  plain_.push_back(attributes);
  plain_.insert(plain_.end(), encoded, encoded + delta_bytes);
  plain_.insert(plain_.end(), rest.begin(), rest.end());
}

absl::Status BatchRewriter::Finish(std::optional<int64_t> delete_horizon_ms,
                                   std::vector<uint8_t>* out) {
  RT_CHECK(kept_ > 0);
  const int64_t shift_ms = delete_horizon_ms.has_value()
                               ? AddWrapping(batch_.base_timestamp_ms(), -*delete_horizon_ms)
                               : 0;
  int64_t max_timestamp_ms = log::kNoTimestamp;
  plain_.clear();
  for (const log::RecordView& record : records_) {
    max_timestamp_ms = std::max(max_timestamp_ms, log::RecordTimestampMs(batch_, record));
    if (delete_horizon_ms.has_value()) {
      AppendFromHorizon(record, shift_ms);
    } else {
      plain_.insert(plain_.end(), record.bytes.begin(), record.bytes.end());
    }
  }
  const size_t at = out->size();
  out->insert(out->end(), batch_.bytes().begin(), batch_.bytes().begin() + log::kBatchHeaderBytes);
  if (batch_.compressed()) {
    RT_RETURN_IF_ERROR(compressor_.Compress({.codec = batch_.codec()}, plain_, *out));
  } else {
    out->insert(out->end(), plain_.begin(), plain_.end());
  }
  const size_t bytes = out->size() - at;
  if (bytes > log::kBatchBytesMax) {
    out->resize(at);
    return absl::OutOfRangeError(absl::StrCat("a batch of ", bytes, " bytes"));
  }
  log::BatchChange change;
  change.record_count = kept_;
  change.max_timestamp_ms = max_timestamp_ms;
  change.delete_horizon_ms = delete_horizon_ms;
  log::ChangeRecords(base::MutableByteView(*out).subspan(at), change);
  return absl::OkStatus();
}

}  // namespace ringtail::records
