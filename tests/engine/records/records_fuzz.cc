// The first byte names the codec, the rest is the records region of a batch of three.
#include <cstddef>
#include <cstdint>

#include "engine/base/check.h"
#include "engine/log/batch_records.h"
#include "engine/records/decompressor.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ringtail;
  constexpr size_t kPlainBytesMax = 256 * 1024;
  static auto* const decompressor = new records::Decompressor(kPlainBytesMax);
  if (size == 0) return 0;
  const auto codec = static_cast<log::Codec>(data[0] & log::kCodecMask);
  const auto plain = decompressor->Decompress(codec, {data + 1, size - 1});
  if (!plain.ok()) return 0;
  RT_CHECK(plain->size() <= kPlainBytesMax);
  for (log::RecordCursor cursor(*plain, 3); cursor.Next();) {
    for (log::HeaderCursor headers(cursor.record()); headers.Next();) {
    }
  }
  return 0;
}
