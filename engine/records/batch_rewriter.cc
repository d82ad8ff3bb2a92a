#include "engine/records/batch_rewriter.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/base/varint.h"

namespace ringtail::records {
namespace {

constexpr size_t kVarintBytesMax = base::kVarintSizeMax<int64_t>;

void AppendVarint(std::vector<uint8_t>* out, int64_t value) {
  uint8_t bytes[kVarintBytesMax];
  const size_t size = base::EncodeVarint(bytes, value);
  out->insert(out->end(), bytes, bytes + size);
}

// The record again, its timestamp counted from a base that is `shift_ms` earlier.
void AppendShifted(const log::RecordView& record, int64_t shift_ms, std::vector<uint8_t>* out) {
  // length, attributes, timestamp delta, and behind it what stays.
  base::ByteView rest = record.bytes;
  rest = rest.subspan(base::DecodeVarint32(rest).size);
  const uint8_t attributes = rest[0];
  rest = rest.subspan(1);
  rest = rest.subspan(base::DecodeVarint64(rest).size);
  const int64_t delta = log::AddWrapping(record.timestamp_delta_ms, shift_ms);
  const auto body_bytes = static_cast<int64_t>(1 + base::VarintSize(delta) + rest.size());
  AppendVarint(out, body_bytes);
  out->push_back(attributes);
  AppendVarint(out, delta);
  out->insert(out->end(), rest.begin(), rest.end());
}

}  // namespace

absl::StatusOr<base::ByteView> BatchRewriter::Open(const log::BatchView& batch) {
  batch_ = batch;
  records_.clear();
  return decompressor_.Decompress(batch.codec(), batch.records());
}

void BatchRewriter::Keep(const log::RecordView& record) { records_.push_back(record); }

absl::Status BatchRewriter::Finish(std::optional<int64_t> delete_horizon_ms,
                                   std::vector<uint8_t>* out) {
  RT_CHECK(kept() > 0);
  const int64_t shift_ms = delete_horizon_ms.has_value()
                               ? log::AddWrapping(batch_.base_timestamp_ms(), -*delete_horizon_ms)
                               : 0;
  const size_t at = out->size();
  out->insert(out->end(), batch_.bytes().begin(), batch_.bytes().begin() + log::kBatchHeaderBytes);
  plain_.clear();
  std::vector<uint8_t>* const plain = batch_.compressed() ? &plain_ : out;
  int64_t max_timestamp_ms = log::kNoTimestamp;
  for (const log::RecordView& record : records_) {
    max_timestamp_ms = std::max(max_timestamp_ms, log::RecordTimestampMs(batch_, record));
    if (delete_horizon_ms.has_value()) {
      AppendShifted(record, shift_ms, plain);
    } else {
      plain->insert(plain->end(), record.bytes.begin(), record.bytes.end());
    }
  }
  if (batch_.compressed()) {
    RT_RETURN_IF_ERROR(compressor_.Compress({.codec = batch_.codec()}, plain_, *out));
  }
  const size_t bytes = out->size() - at;
  if (bytes > log::kBatchBytesMax) {
    out->resize(at);
    return absl::OutOfRangeError(absl::StrCat("a batch of ", bytes, " bytes"));
  }
  log::BatchChange change;
  change.record_count = kept();
  change.max_timestamp_ms = max_timestamp_ms;
  change.delete_horizon_ms = delete_horizon_ms;
  log::ChangeRecords(base::MutableByteView(*out).subspan(at), change);
  return absl::OkStatus();
}

}  // namespace ringtail::records
