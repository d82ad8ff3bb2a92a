// The records inside a batch: walks over them in place and checks their structure. Takes the plain
// (decompressed) bytes of the records region, so that it serves uncompressed batches straight from
// the log, and engine/records for all others. Nothing here allocates.
//
// A record (https://kafka.apache.org/documentation/#record), numbers being zigzag varints:
//   length, attributes int8, timestamp delta, offset delta, key length (-1: null), key,
//   value length (-1: null), value, header count, then per header key length, key, value length,
//   value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "engine/base/bytes.h"
#include "engine/base/types.h"
#include "engine/log/batch.h"

namespace ringtail::log {

// All views point into the records region.
struct RecordView {
  base::ByteView bytes;  // all of it, the length in front included
  int32_t offset_delta = 0;
  int64_t timestamp_delta_ms = 0;
  std::optional<base::ByteView> key;    // nullopt: null, which is not the same as empty
  std::optional<base::ByteView> value;  // nullopt: null, a tombstone in a compacted topic
  base::ByteView headers;               // structure checked: read with HeaderCursor
  int32_t header_count = 0;
};

struct HeaderView {
  base::ByteView key;
  std::optional<base::ByteView> value;
};

// for (RecordCursor cursor(records, count); cursor.Next();) use(cursor.record());
// if (cursor.error() != BatchError::kNone) ...
class RecordCursor {
 public:
  RecordCursor(base::ByteView records, int32_t record_count)
      : left_(records), count_left_(record_count) {}

  // False after `record_count` records and at the first malformed one.
  bool Next();
  const RecordView& record() const { return record_; }
  // After Next() said false: kNone if the records were well formed and filled the region exactly.
  BatchError error() const { return error_; }

 private:
  bool Fail();

  base::ByteView left_;
  int32_t count_left_;
  RecordView record_;
  BatchError error_ = BatchError::kNone;
};

class HeaderCursor {
 public:
  explicit HeaderCursor(const RecordView& record)
      : left_(record.headers), count_left_(record.header_count) {}

  bool Next();
  const HeaderView& header() const { return header_; }

 private:
  base::ByteView left_;
  int32_t count_left_;
  HeaderView header_;
};

// Of timestamps, offsets and deltas: wraps around where a hostile one would overflow.
constexpr int64_t AddWrapping(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

// The timestamp of a record of `batch`: the batch's own in LogAppendTime.
int64_t RecordTimestampMs(const BatchHeader& batch, const RecordView& record);
base::Offset RecordOffset(const BatchHeader& batch, const RecordView& record);

enum class OffsetDeltas : uint8_t {
  kDense,  // 0, 1, 2, ...: as producers write them
  kGaps,   // rising, up to the batch's last: after compaction
};

// kNone or kBadRecords. Walks all of them.
BatchError CheckRecords(const BatchHeader& batch, base::ByteView plain_records,
                        OffsetDeltas deltas);

struct RecordAt {
  base::Offset offset;
  int64_t timestamp_ms = kNoTimestamp;
};

// The first record, in offset order, whose timestamp is not below `timestamp_ms`; nullopt if none.
std::optional<RecordAt> FindTimestamp(const BatchHeader& batch, base::ByteView plain_records,
                                      int64_t timestamp_ms);

// The largest timestamp and the first record that has it; nullopt without records.
std::optional<RecordAt> FindMaxTimestamp(const BatchHeader& batch, base::ByteView plain_records);

}  // namespace ringtail::log
