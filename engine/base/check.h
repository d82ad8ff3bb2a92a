// RT_CHECK: for what can only be a bug of ours. On in release builds. Never used on bytes that come
// from a disk, a socket or a flag: those are answered with an absl::Status.
#pragma once

namespace ringtail::base {

// Prints "file:line: CHECK failed: text" and a backtrace to stderr, then aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* text);

}  // namespace ringtail::base

#define RT_CHECK(condition)                          \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::ringtail::base::CheckFailed(__FILE__, __LINE__, #condition))
