#include "engine/base/random_bytes.h"

#include <sys/random.h>

#include <utility>

#include "engine/base/check.h"

namespace ringtail::base {
namespace {

thread_local RandomSource* thread_source = nullptr;

}  // namespace

void RandomBytes(std::span<uint8_t> out) {
  if (thread_source != nullptr) return thread_source->Fill(out);
  // Up to 256 bytes come whole, and at boot it waits for the kernel to have some.
  while (!out.empty()) {
    const ssize_t got = getrandom(out.data(), out.size(), 0);
    RT_CHECK(got > 0);
    out = out.subspan(static_cast<size_t>(got));
  }
}

RandomSource* SetRandomSource(RandomSource* source) { return std::exchange(thread_source, source); }

}  // namespace ringtail::base
