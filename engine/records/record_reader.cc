#include "engine/records/record_reader.h"

#include "absl/strings/str_cat.h"

namespace ringtail::records {

using base::ByteView;

absl::Status RecordReader::Open(const log::BatchView& batch) {
  batch_ = batch;
  plain_ = {};
  cursor_ = log::RecordCursor({}, 0);
  // What compaction leaves of a batch whose records are all gone.
  const bool nothing = batch.record_count() == 0 && batch.records().empty();
  absl::StatusOr<ByteView> plain =
      nothing ? ByteView() : decompressor_.Decompress(batch.codec(), batch.records());
  status_ = plain.status();
  if (!status_.ok()) return status_;
  plain_ = *plain;
  cursor_ = log::RecordCursor(plain_, batch.record_count());
  return status_;
}

bool RecordReader::Next() {
  if (!status_.ok()) return false;
  if (cursor_.Next()) {
    record_.fields = cursor_.record();
    record_.offset = log::RecordOffset(batch_, record_.fields);
    record_.timestamp_ms = log::RecordTimestampMs(batch_, record_.fields);
    return true;
  }
  if (cursor_.error() != log::BatchError::kNone) {
    status_ = absl::DataLossError(absl::StrCat("batch at offset ", batch_.base_offset().value(),
                                               ": ", log::BatchErrorText(cursor_.error())));
  }
  return false;
}

}  // namespace ringtail::records
