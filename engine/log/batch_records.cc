#include "engine/log/batch_records.h"

#include "engine/base/varint.h"

namespace ringtail::log {
namespace {

// Takes one thing after the other off the front of a view. After a failure everything fails.
class Taker {
 public:
  explicit Taker(base::ByteView bytes) : left_(bytes) {}

  int32_t Varint32() {
    const auto number = base::DecodeVarint32(left_);
    Advance(number.size);
    return number.value;
  }

  int64_t Varint64() {
    const auto number = base::DecodeVarint64(left_);
    Advance(number.size);
    return number.value;
  }

  void SkipByte() { Advance(left_.empty() ? 0 : 1); }

  base::ByteView Bytes(int32_t size) {
    if (size < 0 || static_cast<size_t>(size) > left_.size()) {
      ok_ = false;
      return {};
    }
    const base::ByteView taken = left_.first(static_cast<size_t>(size));
    left_ = left_.subspan(taken.size());
    return taken;
  }

  std::optional<base::ByteView> NullableBytes() {
    const int32_t size = Varint32();
    if (size == -1) return std::nullopt;
    return Bytes(size);
  }

  bool ok() const { return ok_; }
  base::ByteView left() const { return left_; }

 private:
  void Advance(size_t size) {
    ok_ = ok_ && size != 0;
    if (!ok_)
      left_ = {};
    else
      left_ = left_.subspan(size);
  }

  base::ByteView left_;
  bool ok_ = true;
};

HeaderView TakeHeader(Taker& from) {
  HeaderView header;
  header.key = from.Bytes(from.Varint32());
  header.value = from.NullableBytes();
  return header;
}

// The body of one record, which has to fill `body`.
bool ParseRecord(base::ByteView body, RecordView& record) {
  Taker from(body);
  from.SkipByte();  // attributes: none are defined
  record.timestamp_delta_ms = from.Varint64();
  record.offset_delta = from.Varint32();
  record.key = from.NullableBytes();
  record.value = from.NullableBytes();
  record.header_count = from.Varint32();
  if (!from.ok() || record.header_count < 0) return false;
  record.headers = from.left();
  // Each takes two bytes at least, so a wild count ends with the bytes.
  for (int32_t i = 0; i < record.header_count && from.ok(); ++i) TakeHeader(from);
  return from.ok() && from.left().empty();
}

}  // namespace

bool RecordCursor::Fail() {
  error_ = BatchError::kBadRecords;
  return false;
}

bool RecordCursor::Next() {
  if (error_ != BatchError::kNone) return false;
  if (count_left_ <= 0) return left_.empty() ? false : Fail();
  Taker from(left_);
  const base::ByteView body = from.Bytes(from.Varint32());
  if (!from.ok() || !ParseRecord(body, record_)) return Fail();
  record_.bytes = left_.first(left_.size() - from.left().size());
  left_ = from.left();
  --count_left_;
  return true;
}

bool HeaderCursor::Next() {
  if (count_left_ <= 0) return false;
  Taker from(left_);
  header_ = TakeHeader(from);
  left_ = from.left();
  --count_left_;
  return from.ok();
}

int64_t RecordTimestampMs(const BatchHeader& batch, const RecordView& record) {
  if (batch.log_append_time()) return batch.max_timestamp_ms();
  return AddWrapping(batch.base_timestamp_ms(), record.timestamp_delta_ms);
}

base::Offset RecordOffset(const BatchHeader& batch, const RecordView& record) {
  return base::Offset(AddWrapping(batch.base_offset().value(), record.offset_delta));
}

BatchError CheckRecords(const BatchHeader& batch, base::ByteView plain_records,
                        OffsetDeltas deltas) {
  RecordCursor cursor(plain_records, batch.record_count());
  int64_t delta_min = 0;
  while (cursor.Next()) {
    const int64_t delta = cursor.record().offset_delta;
    if (delta < delta_min || delta > batch.last_offset_delta()) return BatchError::kBadRecords;
    if (deltas == OffsetDeltas::kDense && delta != delta_min) return BatchError::kBadRecords;
    delta_min = delta + 1;
  }
  return cursor.error();
}

std::optional<RecordAt> FindTimestamp(const BatchHeader& batch, base::ByteView plain_records,
                                      int64_t timestamp_ms) {
  RecordCursor cursor(plain_records, batch.record_count());
  while (cursor.Next()) {
    const int64_t found_ms = RecordTimestampMs(batch, cursor.record());
    if (found_ms >= timestamp_ms) return RecordAt{RecordOffset(batch, cursor.record()), found_ms};
  }
  return std::nullopt;
}

std::optional<RecordAt> FindMaxTimestamp(const BatchHeader& batch, base::ByteView plain_records) {
  std::optional<RecordAt> best;
  RecordCursor cursor(plain_records, batch.record_count());
  while (cursor.Next()) {
    const int64_t found_ms = RecordTimestampMs(batch, cursor.record());
    if (best && best->timestamp_ms >= found_ms) continue;
    best = RecordAt{RecordOffset(batch, cursor.record()), found_ms};
  }
  return best;
}

}  // namespace ringtail::log
