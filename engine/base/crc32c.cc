#include "engine/base/crc32c.h"

#include <isa-l/crc.h>
#include <nmmintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace ringtail::base {
namespace {

// ISA-L folds only from here on; below, its loop is slower than this one: at 224 bytes 18 ns
// against 5 where that was measured (AVX-512). perf/micro/crc_bench.cc (BM_Crc32c) shows that there
// is no step here.
constexpr size_t kIsalBytesMin = 256;
// ISA-L takes its length as an int.
constexpr size_t kIsalBytesMax = size_t{1} << 30;

// Without the inversions, like crc32_iscsi. SSE4.2 is the floor of this project (x86-64-v2).
__attribute__((target("sse4.2"))) uint32_t UpdateShort(uint32_t state, ByteView bytes) {
  const uint8_t* at = bytes.data();
  size_t left = bytes.size();
  uint64_t wide = state;
  for (; left >= 8; left -= 8, at += 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  state = static_cast<uint32_t>(wide);
  if (left >= 4) {
    uint32_t word;
    std::memcpy(&word, at, 4);
    state = _mm_crc32_u32(state, word);
    left -= 4;
    at += 4;
  }
  for (; left > 0; --left, ++at) state = _mm_crc32_u8(state, *at);
  return state;
}

}  // namespace

uint32_t Crc32cExtend(uint32_t crc, ByteView bytes) {
  uint32_t state = ~crc;
  while (bytes.size() >= kIsalBytesMin) {
    const size_t size = std::min(bytes.size(), kIsalBytesMax);
    // The C interface lacks the const; crc32_iscsi only reads.
    state = crc32_iscsi(const_cast<uint8_t*>(bytes.data()), static_cast<int>(size), state);
    bytes = bytes.subspan(size);
  }
  return ~UpdateShort(state, bytes);
}

}  // namespace ringtail::base
