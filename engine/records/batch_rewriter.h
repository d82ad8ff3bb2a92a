// Makes of a stored batch one that has only some of its records, for compaction. What is not
// dropped stays as it was: base and last offset, producer, epoch, codec, and each record's bytes.
//
//   absl::StatusOr<base::ByteView> plain = rewriter.Open(batch);
//   for (log::RecordCursor cursor(*plain, batch.record_count()); cursor.Next();)
//     if (...) rewriter.Keep(cursor.record());
//   absl::Status status = rewriter.Finish(horizon, &out);
//
// Keep one for many batches. One thread at a time; no exceptions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/bytes.h"
#include "engine/log/batch.h"
#include "engine/log/batch_records.h"
#include "engine/records/compressor.h"
#include "engine/records/decompressor.h"

namespace ringtail::records {

class BatchRewriter {
 public:
  explicit BatchRewriter(size_t plain_bytes_max) : decompressor_(plain_bytes_max) {}

  // The records, decompressed; valid until the next Open. Errors are Decompressor::Decompress's.
  absl::StatusOr<base::ByteView> Open(const log::BatchView& batch);
  // A record of the open batch, in order.
  void Keep(const log::RecordView& record);
  int32_t kept() const { return static_cast<int32_t>(records_.size()); }

  // Appends the batch with what was kept, at least one record. With a horizon (KIP-534) the base
  // timestamp becomes that, and the records' timestamps, which count from it, are written anew.
  absl::Status Finish(std::optional<int64_t> delete_horizon_ms, std::vector<uint8_t>* out);

 private:
  Decompressor decompressor_;
  Compressor compressor_;
  log::BatchView batch_;
  std::vector<log::RecordView> records_;  // to be kept
  std::vector<uint8_t> plain_;            // of a compressed batch
};

}  // namespace ringtail::records
