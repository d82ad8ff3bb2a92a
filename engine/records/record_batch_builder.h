// Makes one RecordBatch after the other (engine/log/batch.h) from records. For clients, tools,
// tests, and what the broker itself records; else it appends what producers built.
//
//   RecordBatchBuilder builder({.compression = {.codec = log::Codec::kZstd}});
//   if (builder.Append({.value = bytes, .timestamp_ms = now}) == AppendResult::kFull) send first
//   absl::StatusOr<std::vector<uint8_t>> batch = builder.Finish();
//
// Uncompressed records are encoded straight into the bytes that Finish hands out. One thread at a
// time; no exceptions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/bytes.h"
#include "engine/base/types.h"
#include "engine/log/batch.h"
#include "engine/log/batch_records.h"
#include "engine/records/compressor.h"

namespace ringtail::records {

// Views that need to live only during the call.
struct RecordInput {
  std::optional<base::ByteView> key;    // nullopt: null
  std::optional<base::ByteView> value;  // nullopt: null, a tombstone
  int64_t timestamp_ms = log::kNoTimestamp;
  std::span<const log::HeaderView> headers;
};

struct BuilderOptions {
  Compression compression;
  // Of the batch before compression, header included; a broker's limit is 1 MiB unless configured.
  size_t batch_bytes_max = 1024 * 1024;
  int64_t producer_id = log::kNoProducerId;
  int16_t producer_epoch = log::kNoProducerEpoch;
  int32_t base_sequence = log::kNoSequence;
  bool transactional = false;
  bool control = false;
};

enum class AppendResult : uint8_t {
  kAppended,
  kFull,      // not appended: finish this batch, then it fits
  kTooLarge,  // not appended: it is larger than batch_bytes_max on its own
};

struct FinishOptions {
  base::Offset base_offset{0};
  int32_t leader_epoch = -1;  // what producers send: the leader fills it in
  // Only for compaction: the batch's last offset stays what it was when its last record goes.
  std::optional<int32_t> last_offset_delta;
};

class RecordBatchBuilder {
 public:
  explicit RecordBatchBuilder(const BuilderOptions& options);

  AppendResult Append(const RecordInput& record);
  // With a gap before it, as compaction leaves one; larger than every delta before.
  AppendResult AppendAt(int32_t offset_delta, const RecordInput& record);

  // Of the batches from now on, the current one included.
  void SetProducer(int64_t producer_id, int16_t producer_epoch, int32_t base_sequence);

  bool empty() const { return record_count_ == 0; }
  int32_t record_count() const { return record_count_; }
  // Of the batch so far, before compression, header included.
  size_t size_bytes() const { return plain_.size(); }

  // The batch with its CRC; the builder is then empty again. FailedPrecondition without records
  // (unless last_offset_delta is given); InvalidArgument for a compression level that does not
  // exist.
  absl::StatusOr<std::vector<uint8_t>> Finish(const FinishOptions& finish = {});

 private:
  void Encode(int32_t offset_delta, const RecordInput& record, size_t body_bytes);
  void WriteHeader(const FinishOptions& finish, std::vector<uint8_t>& batch) const;
  void Clear();

  BuilderOptions options_;
  Compressor compressor_;
  std::vector<uint8_t> plain_;  // room for the header, then the records
  int32_t record_count_ = 0;
  int32_t last_offset_delta_ = -1;
  int64_t base_timestamp_ms_ = log::kNoTimestamp;
  int64_t max_timestamp_ms_ = log::kNoTimestamp;
};

}  // namespace ringtail::records
