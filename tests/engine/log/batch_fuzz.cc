// Feeds bytes to everything that looks at batches. The mutator repairs lengths, magic and CRC, so
// that the checks behind them are reached too.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/crc32c.h"
#include "engine/log/batch.h"
#include "engine/log/batch_records.h"

namespace ringtail::log {
namespace {

using base::ByteView;
using base::MutableByteView;
using Bytes = std::vector<uint8_t>;

// Makes the bytes a row of batches with valid prefixes and CRCs. `salt` decides where each ends.
void Repair(MutableByteView bytes, unsigned salt) {
  while (bytes.size() >= kBatchHeaderBytes) {
    size_t size = bytes.size();
    if (salt % 4 == 0) size = std::min(size, kBatchHeaderBytes + (salt >> 2) % 512);
    base::StoreBe<int32_t>(bytes.data() + kBatchLengthAt,
                           static_cast<int32_t>(size - kBatchPrefixBytes));
    bytes[kMagicAt] = kBatchMagic;
    const uint32_t crc = base::Crc32c(ByteView(bytes).first(size).subspan(kAttributesAt));
    base::StoreBe<uint32_t>(bytes.data() + kCrcAt, crc);
    bytes = bytes.subspan(size);
  }
}

void WalkAll(const BatchView& batch) {
  RecordCursor cursor(batch.records(), batch.record_count());
  int64_t sum = 0;
  while (cursor.Next()) {
    sum += RecordTimestampMs(batch, cursor.record()) & 1;
    for (HeaderCursor headers(cursor.record()); headers.Next();) {
      for (const uint8_t byte : headers.header().key) sum += byte;
    }
    for (const uint8_t byte : cursor.record().value.value_or(ByteView())) sum += byte;
  }
  RT_CHECK(sum >= 0);
  const BatchError dense = CheckRecords(batch, batch.records(), OffsetDeltas::kDense);
  if (dense == BatchError::kNone) {
    RT_CHECK(cursor.error() == BatchError::kNone);
    RT_CHECK(CheckRecords(batch, batch.records(), OffsetDeltas::kGaps) == BatchError::kNone);
  }
  FindTimestamp(batch, batch.records(), batch.max_timestamp_ms());
  FindMaxTimestamp(batch, batch.records());
}

// What a broker does with an accepted batch keeps it acceptable.
void AppendAsLeader(const BatchView& batch) {
  Bytes copy(batch.bytes().begin(), batch.bytes().end());
  PatchBaseOffset(copy, base::Offset(1'000'000));
  PatchLeaderEpoch(copy, 3);
  const BatchView patched = ParseBatch(copy).batch;
  RT_CHECK(ValidateBatch(patched, BatchRules::Verbatim()) == BatchError::kNone);
  RT_CHECK(patched.next_offset() - patched.base_offset() == patched.record_count());
  SetLogAppendTime(copy, 12345);
  RT_CHECK(ValidateBatch(patched, BatchRules::Verbatim()) == BatchError::kNone);
}

}  // namespace
}  // namespace ringtail::log

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ringtail::log;
  BatchRules producer = BatchRules::Producer(1 << 20);
  BatchWalker walker({data, size}, 1 << 20);
  size_t end = 0;
  while (walker.Next()) {
    RT_CHECK(walker.position() == end);
    end = walker.end();
    producer.allow_transactional = !producer.allow_transactional;
    if (ValidateBatch(walker.batch(), producer) == BatchError::kNone)
      AppendAsLeader(walker.batch());
    if (ValidateBatch(walker.batch(), BatchRules::Verbatim()) == BatchError::kNone) {
      RT_CHECK(walker.batch().next_offset() > walker.batch().base_offset());
    }
    WalkAll(walker.batch());
  }
  RT_CHECK(walker.end() == end);
  RT_CHECK((walker.error() == BatchError::kNone) == (end == size));
  return 0;
}

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  // Some stay as they are: damage has to be found, too.
  if (seed % 8 != 0) ringtail::log::Repair({data, size}, seed >> 3);
  return size;
}
