// Kafka's RecordBatch, version 2 (KIP-98), in place: the only record format of this broker, in
// memory, on disk and on the wire. Nothing here allocates, copies or keeps state.
//
//   ParseBatch     finds the bounds of the first batch in some bytes and gives a view of it
//   BatchView      reads fields of a parsed batch; it lives as long as the bytes
//   ValidateBatch  says whether a parsed batch may be appended (CRC, counts, attributes)
//   Patch*, Set*   change what the broker owns: base offset, leader epoch, log append time
//   ChangeRecords, AppendEmptyBatch: what compaction leaves of a batch
//   BatchWalker    goes over batches that lie one after the other, to a clean stop at a torn last
//   one
//
// Layout, big endian (https://kafka.apache.org/documentation/#recordbatch). The CRC covers
// everything from the attributes on, so base offset and leader epoch are assigned without touching
// it. What the records region holds is batch_records.h's matter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "engine/base/endian.h"
#include "engine/base/types.h"

namespace ringtail::log {

inline constexpr size_t kBaseOffsetAt = 0;        // int64
inline constexpr size_t kBatchLengthAt = 8;       // int32: bytes that follow this field
inline constexpr size_t kLeaderEpochAt = 12;      // int32
inline constexpr size_t kMagicAt = 16;            // int8
inline constexpr size_t kCrcAt = 17;              // uint32: CRC32C from the attributes to the end
inline constexpr size_t kAttributesAt = 21;       // int16
inline constexpr size_t kLastOffsetDeltaAt = 23;  // int32
inline constexpr size_t kBaseTimestampAt = 27;    // int64
inline constexpr size_t kMaxTimestampAt = 35;     // int64
inline constexpr size_t kProducerIdAt = 43;       // int64
inline constexpr size_t kProducerEpochAt = 51;    // int16
inline constexpr size_t kBaseSequenceAt = 53;     // int32
inline constexpr size_t kRecordCountAt = 57;      // int32
inline constexpr size_t kBatchHeaderBytes = 61;   // the records start here

inline constexpr size_t kBatchPrefixBytes =
    12;  // base offset and length: enough to find the next batch
inline constexpr int8_t kBatchMagic = 2;
// What the length field can say at most.
inline constexpr size_t kBatchBytesMax =
    kBatchPrefixBytes + static_cast<size_t>(std::numeric_limits<int32_t>::max());

static_assert(kBatchLengthAt == kBaseOffsetAt + sizeof(int64_t));
static_assert(kBatchPrefixBytes == kBatchLengthAt + sizeof(int32_t));
static_assert(kLeaderEpochAt == kBatchPrefixBytes);
static_assert(kMagicAt == kLeaderEpochAt + sizeof(int32_t));
static_assert(kCrcAt == kMagicAt + sizeof(int8_t));
static_assert(kAttributesAt == kCrcAt + sizeof(uint32_t));
static_assert(kLastOffsetDeltaAt == kAttributesAt + sizeof(int16_t));
static_assert(kBaseTimestampAt == kLastOffsetDeltaAt + sizeof(int32_t));
static_assert(kMaxTimestampAt == kBaseTimestampAt + sizeof(int64_t));
static_assert(kProducerIdAt == kMaxTimestampAt + sizeof(int64_t));
static_assert(kProducerEpochAt == kProducerIdAt + sizeof(int64_t));
static_assert(kBaseSequenceAt == kProducerEpochAt + sizeof(int16_t));
static_assert(kRecordCountAt == kBaseSequenceAt + sizeof(int32_t));
static_assert(kBatchHeaderBytes == kRecordCountAt + sizeof(int32_t));

inline constexpr uint16_t kCodecMask = 0x07;
inline constexpr uint16_t kLogAppendTimeBit = 0x08;
inline constexpr uint16_t kTransactionalBit = 0x10;
inline constexpr uint16_t kControlBit = 0x20;
inline constexpr uint16_t kDeleteHorizonBit = 0x40;  // KIP-534: base timestamp is a delete horizon
inline constexpr uint16_t kUnusedAttributeBits = 0xff80;

enum class Codec : uint8_t { kNone = 0, kGzip = 1, kSnappy = 2, kLz4 = 3, kZstd = 4 };
inline constexpr uint8_t kCodecMax = 4;

inline constexpr int64_t kNoTimestamp = -1;
inline constexpr int64_t kNoProducerId = -1;
inline constexpr int16_t kNoProducerEpoch = -1;
inline constexpr int32_t kNoSequence = -1;

enum class BatchError : uint8_t {
  kNone,
  kTooShort,   // the bytes end before the batch does: more may come, or the tail is torn
  kBadLength,  // a length no batch can have; zeros of a preallocated file look like this
  kTooLarge,   // longer than allowed
  kBadMagic,   // a message format before version 2, or no batch at all
  kBadCrc,
  kBadOffset,  // negative offset, or offsets past the largest
  kBadCount,   // record count, offset delta and length do not agree
  kBadTimestamps,
  kBadCodec,
  kBadAttributes,  // bits that are unknown or not a producer's to set
  kBadProducer,    // producer id, epoch and sequence do not go together
  kControlBatch,   // only brokers write these
  kTransactional,
  kBadRecords,  // the records region is not what the header says
};

// A short sentence for logs and error messages, without a full stop.
absl::string_view BatchErrorText(BatchError error);
// "none", "gzip", "snappy", "lz4", "zstd".
absl::string_view CodecName(Codec codec);

// The fixed fields of a batch whose kBatchHeaderBytes are in memory (the records need not be).
// Comes out of ParseBatchHeader or ParseBatch; a default one may only be assigned to.
class BatchHeader {
 public:
  BatchHeader() = default;

  base::Offset base_offset() const { return base::Offset(Field<int64_t>(kBaseOffsetAt)); }
  // Of the last record that the producer sent (compaction may have removed it). Inclusive.
  // Only meaningful where the offsets were validated or assigned.
  base::Offset last_offset() const { return base_offset() + last_offset_delta(); }
  // Where the next batch of the log starts.
  base::Offset next_offset() const { return last_offset() + 1; }
  // Of the whole batch, prefix included.
  size_t size_bytes() const {
    return kBatchPrefixBytes + static_cast<size_t>(Field<int32_t>(kBatchLengthAt));
  }
  int32_t leader_epoch() const { return Field<int32_t>(kLeaderEpochAt); }
  int8_t magic() const { return Field<int8_t>(kMagicAt); }
  uint32_t crc() const { return Field<uint32_t>(kCrcAt); }
  uint16_t attributes() const { return Field<uint16_t>(kAttributesAt); }
  int32_t last_offset_delta() const { return Field<int32_t>(kLastOffsetDeltaAt); }
  int64_t base_timestamp_ms() const { return Field<int64_t>(kBaseTimestampAt); }
  int64_t max_timestamp_ms() const { return Field<int64_t>(kMaxTimestampAt); }
  int64_t producer_id() const { return Field<int64_t>(kProducerIdAt); }
  int16_t producer_epoch() const { return Field<int16_t>(kProducerEpochAt); }
  int32_t base_sequence() const { return Field<int32_t>(kBaseSequenceAt); }
  int32_t record_count() const { return Field<int32_t>(kRecordCountAt); }

  // 5 to 7 are possible before validation.
  Codec codec() const { return static_cast<Codec>(attributes() & kCodecMask); }
  bool compressed() const { return (attributes() & kCodecMask) != 0; }
  bool log_append_time() const { return (attributes() & kLogAppendTimeBit) != 0; }
  bool transactional() const { return (attributes() & kTransactionalBit) != 0; }
  bool control() const { return (attributes() & kControlBit) != 0; }
  bool has_delete_horizon() const { return (attributes() & kDeleteHorizonBit) != 0; }
  bool has_producer() const { return producer_id() > kNoProducerId; }
  // Sequences run to INT32_MAX and start again at 0. kNoSequence where there is none.
  int32_t last_sequence() const;

 private:
  friend struct BatchParser;
  friend class BatchView;
  friend void AppendEmptyBatch(const BatchHeader& batch, std::vector<uint8_t>* out);
  explicit BatchHeader(const uint8_t* data) : data_(data) {}
  template <class T>
  T Field(size_t at) const {
    return base::LoadBe<T>(data_ + at);
  }

  const uint8_t* data_ = nullptr;
};

// A whole batch in memory.
class BatchView : public BatchHeader {
 public:
  BatchView() = default;

  base::ByteView bytes() const { return {data_, size_bytes()}; }
  // As they lie there: compressed, if compressed().
  base::ByteView records() const { return bytes().subspan(kBatchHeaderBytes); }
  // Over the bytes as they are; equal to crc() in an undamaged batch.
  uint32_t ComputeCrc() const;

 private:
  friend struct BatchParser;
  using BatchHeader::BatchHeader;
};

template <class View>
struct Parsed {
  BatchError error = BatchError::kNone;
  View batch;  // set if error is kNone

  bool ok() const { return error == BatchError::kNone; }
};

// Looks at the batch that `bytes` begins with; what follows it is not looked at. Checks length and
// magic alone, from as many bytes as there are: a wrong prefix is found before the rest is read.
Parsed<BatchView> ParseBatch(base::ByteView bytes, size_t batch_bytes_max = kBatchBytesMax);
// The same where only the header is needed: the records may be missing from `bytes`.
Parsed<BatchHeader> ParseBatchHeader(base::ByteView bytes, size_t batch_bytes_max = kBatchBytesMax);

struct BatchRules {
  size_t batch_bytes_max = kBatchBytesMax;
  // A producer's batch: counts and offset deltas agree and no broker's attribute is set. Otherwise
  // a batch that a broker wrote (replica, import, recovery): compaction may have left gaps or
  // nothing.
  bool from_producer = true;
  bool allow_transactional = false;
  bool allow_control = false;
  bool check_crc = true;

  // Until transactions exist, transactional batches are refused here and nowhere else.
  static BatchRules Producer(size_t batch_bytes_max);
  static BatchRules Verbatim();
};

// kNone, or the first thing wrong with it. Reads every byte once if check_crc, else the header.
// A producer's timestamps: the largest is -1 (some clients never set it) or not below the first.
BatchError ValidateBatch(const BatchView& batch, const BatchRules& rules);

// In place, outside the CRC. `batch` holds at least the batch's header.
void PatchBaseOffset(base::MutableByteView batch, base::Offset base_offset);
void PatchLeaderEpoch(base::MutableByteView batch, int32_t leader_epoch);

// `batch` is exactly one batch. Both recompute the CRC, so they cost a pass over the bytes.
// Sets the time of every record to `now_ms` (message.timestamp.type=LogAppendTime).
void SetLogAppendTime(base::MutableByteView batch, int64_t now_ms);
// For batches of clients that left the largest timestamp at -1.
void SetMaxTimestamp(base::MutableByteView batch, int64_t max_timestamp_ms);

// What compaction changes of a batch whose records it has made fewer. Offsets, epoch, producer and
// sequence stay.
struct BatchChange {
  int32_t record_count = 0;
  int64_t max_timestamp_ms = kNoTimestamp;  // with LogAppendTime the batch's own stays
  // KIP-534: when its tombstones may go. Takes the place of the base timestamp, which the records'
  // deltas count from.
  std::optional<int64_t> delete_horizon_ms;
};
// `batch` is the old header and the new records, and nothing else. Sets length and CRC, too.
void ChangeRecords(base::MutableByteView batch, const BatchChange& change);
// What is left of a batch whose last record goes, where its place in the log or its producer's
// sequence must still be told: the header alone, as Kafka leaves it. kBatchHeaderBytes.
void AppendEmptyBatch(const BatchHeader& batch, std::vector<uint8_t>* out);

// for (BatchWalker walker(bytes); walker.Next();) use(walker.batch());
// if (walker.error() != BatchError::kNone) ...: kTooShort means that the last batch is cut off.
class BatchWalker {
 public:
  explicit BatchWalker(base::ByteView bytes, size_t batch_bytes_max = kBatchBytesMax)
      : bytes_(bytes), batch_bytes_max_(batch_bytes_max) {}

  // False at the end and at the first bytes that are no whole batch.
  bool Next();
  const BatchView& batch() const { return batch_; }
  // Where batch() starts in the bytes.
  size_t position() const { return end_ - batch_.size_bytes(); }
  // How many bytes the batches so far take: all of them after an error-free walk.
  size_t end() const { return end_; }
  BatchError error() const { return error_; }

 private:
  base::ByteView bytes_;
  size_t batch_bytes_max_;
  size_t end_ = 0;
  BatchView batch_;
  BatchError error_ = BatchError::kNone;
};

}  // namespace ringtail::log
