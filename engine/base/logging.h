// Logs of the broker: one line an event, saying what happened, to which partition or peer, and what
// to do. Written by a background thread, so that a slow terminal never stops a core; when its queue
// is full the oldest lines go. On top of spdlog and fmt.
//
//   RT_LOG(kWarn, "{}: append failed: {}; the partition refuses appends", partition, status);
//   RT_LOG_EVERY(10, kWarn, "...");   // at most once in 10 s from this line, then with a count
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

template <>
struct fmt::formatter<absl::string_view> : fmt::formatter<fmt::string_view> {
  template <class Context>
  auto format(absl::string_view text, Context& context) const {
    return fmt::formatter<fmt::string_view>::format({text.data(), text.size()}, context);
  }
};

namespace ringtail::base {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarn, kError };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  bool json = false;  // one object a line: time, level, message
};

// Until this is called, lines of kWarn and above go to stderr. Once per process.
void StartLogging(const LogOptions& options);
// From now on; from any thread.
void SetLogLevel(LogLevel level);
// Writes what is queued.
void FlushLogs();
// False: no such level.
bool ParseLogLevel(absl::string_view text, LogLevel* level);

bool LogEnabled(LogLevel level);
void WriteLog(LogLevel level, const std::string& message);

// Per call site, per thread: whether a line may be written now, and how many were left out before.
class LogRateLimiter {
 public:
  bool Allow(int64_t interval_s, uint64_t* suppressed);

 private:
  int64_t next_s_ = 0;
  uint64_t suppressed_ = 0;
};

}  // namespace ringtail::base

#define RT_LOG(level_name, ...)                                                 \
  do {                                                                          \
    if (::ringtail::base::LogEnabled(::ringtail::base::LogLevel::level_name)) { \
      ::ringtail::base::WriteLog(::ringtail::base::LogLevel::level_name,        \
                                 ::fmt::format(__VA_ARGS__));                   \
    }                                                                           \
  } while (false)

#define RT_LOG_EVERY(seconds, level_name, ...)                                              \
  do {                                                                                      \
    static thread_local ::ringtail::base::LogRateLimiter rt_limiter;                        \
    uint64_t rt_suppressed = 0;                                                             \
    if (::ringtail::base::LogEnabled(::ringtail::base::LogLevel::level_name) &&             \
        rt_limiter.Allow(seconds, &rt_suppressed)) {                                        \
      std::string rt_line = ::fmt::format(__VA_ARGS__);                                     \
      if (rt_suppressed > 0) rt_line += ::fmt::format(" ({} more like it)", rt_suppressed); \
      ::ringtail::base::WriteLog(::ringtail::base::LogLevel::level_name, rt_line);          \
    }                                                                                       \
  } while (false)
