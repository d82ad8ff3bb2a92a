#include "engine/base/check.h"

#include <cstdio>
#include <cstdlib>

#include "engine/base/backtrace.h"

namespace ringtail::base {

void CheckFailed(const char* file, int line, const char* text) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, text);
  PrintBacktrace();
  std::abort();
}

}  // namespace ringtail::base
