#include "perf/micro/batch_maker.h"

#include "engine/base/bytes.h"
#include "engine/records/record_batch_builder.h"

namespace ringtail::micro {

std::string LogText(size_t bytes, uint32_t seed) {
  std::string text;
  while (text.size() < bytes) {
    seed = seed * 1664525 + 1013904223;
    text += "level=info request=" + std::to_string(seed) + " path=/orders ";
  }
  text.resize(bytes);
  return text;
}

Bytes MakeBatch(int64_t record_count, int64_t value_bytes, log::Codec codec) {
  records::RecordBatchBuilder builder(
      {.compression = {.codec = codec}, .batch_bytes_max = 64 << 20});
  for (int64_t i = 0; i < record_count; ++i) {
    const std::string value = LogText(static_cast<size_t>(value_bytes), static_cast<uint32_t>(i));
    builder.Append({.value = base::AsBytes(value), .timestamp_ms = 1'700'000'000'000 + i});
  }
  return *builder.Finish();
}

}  // namespace ringtail::micro
