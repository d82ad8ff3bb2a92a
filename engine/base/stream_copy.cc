#include "engine/base/stream_copy.h"

#include <emmintrin.h>

#include <cstring>

namespace ringtail::base {
namespace {

constexpr size_t kLineBytes = 64;
// A line that is written in parts goes to memory in parts, which is slower than a plain store.
constexpr size_t kStreamedMin = 4 * kLineBytes;

size_t ToNextLine(const uint8_t* to) {
  return (kLineBytes - reinterpret_cast<uintptr_t>(to) % kLineBytes) % kLineBytes;
}

void StreamLine(uint8_t* to, __m128i a, __m128i b, __m128i c, __m128i d) {
  auto* line = reinterpret_cast<__m128i*>(to);
  _mm_stream_si128(line, a);
  _mm_stream_si128(line + 1, b);
  _mm_stream_si128(line + 2, c);
  _mm_stream_si128(line + 3, d);
}

}  // namespace

void StreamCopy(uint8_t* to, const void* from, size_t bytes) {
  if (bytes == 0) return;  // `from` may be null then
  const auto* source = static_cast<const uint8_t*>(from);
  if (bytes >= kStreamedMin) {
    const size_t head = ToNextLine(to);
    std::memcpy(to, source, head);
    to += head;
    source += head;
    bytes -= head;
    for (; bytes >= kLineBytes; bytes -= kLineBytes, to += kLineBytes, source += kLineBytes) {
      const auto* line = reinterpret_cast<const __m128i*>(source);
      StreamLine(to, _mm_loadu_si128(line), _mm_loadu_si128(line + 1), _mm_loadu_si128(line + 2),
                 _mm_loadu_si128(line + 3));
    }
  }
  std::memcpy(to, source, bytes);
}

void StreamZero(uint8_t* to, size_t bytes) {
  if (bytes >= kStreamedMin) {
    const size_t head = ToNextLine(to);
    std::memset(to, 0, head);
    to += head;
    bytes -= head;
    const __m128i zero = _mm_setzero_si128();
    for (; bytes >= kLineBytes; bytes -= kLineBytes, to += kLineBytes) {
      StreamLine(to, zero, zero, zero, zero);
    }
  }
  std::memset(to, 0, bytes);
}

void StreamFence() { _mm_sfence(); }

}  // namespace ringtail::base
