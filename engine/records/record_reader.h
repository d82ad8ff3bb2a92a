// Reads the records of batches, decompressing where needed. Keep one for many batches.
//
//   absl::Status status = reader.Open(batch);
//   while (reader.Next()) use(reader.record());
//   if (!reader.status().ok()) ...
//
// Trusts neither the batch nor its records, but leaves the CRC to log::ValidateBatch. One thread at
// a time; no exceptions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "engine/base/bytes.h"
#include "engine/base/types.h"
#include "engine/log/batch.h"
#include "engine/log/batch_records.h"
#include "engine/records/decompressor.h"

namespace ringtail::records {

// Views live until the reader's next Open, and no longer than the batch's bytes.
struct Record {
  base::Offset offset;
  int64_t timestamp_ms = log::kNoTimestamp;
  log::RecordView fields;

  const std::optional<base::ByteView>& key() const { return fields.key; }
  const std::optional<base::ByteView>& value() const { return fields.value; }
  log::HeaderCursor headers() const { return log::HeaderCursor(fields); }
};

class RecordReader {
 public:
  static constexpr size_t kPlainBytesMax = size_t{64} * 1024 * 1024;

  // A batch whose records take more than this, decompressed, is refused.
  explicit RecordReader(size_t plain_bytes_max = kPlainBytesMax) : decompressor_(plain_bytes_max) {}

  // Errors are those of Decompressor::Decompress.
  absl::Status Open(const log::BatchView& batch);
  // False at the end and at the first malformed record.
  bool Next();
  const Record& record() const { return record_; }
  // DataLoss after a malformed record, and Open's error if that failed.
  const absl::Status& status() const { return status_; }
  // All records of the open batch, decompressed: for log::FindTimestamp and the like.
  base::ByteView plain_records() const { return plain_; }

 private:
  Decompressor decompressor_;
  log::BatchView batch_;
  base::ByteView plain_;
  log::RecordCursor cursor_{{}, 0};
  Record record_;
  absl::Status status_;
};

}  // namespace ringtail::records
