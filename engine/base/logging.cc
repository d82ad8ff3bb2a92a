#include "engine/base/logging.h"

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <time.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

namespace ringtail::base {
namespace {

constexpr size_t kQueuedLinesMax = 8192;
constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%e%z %^%-5l%$ %v";
constexpr char kJsonPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","message":%v})";

std::shared_ptr<spdlog::logger> logger;  // set once, before the cores start
std::atomic<LogLevel> lowest{LogLevel::kWarn};
bool json_lines = false;

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

int64_t CoarseSeconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec;
}

}  // namespace

void StartLogging(const LogOptions& options) {
  lowest.store(options.level, std::memory_order_relaxed);
  json_lines = options.json;
  spdlog::init_thread_pool(kQueuedLinesMax, 1);
  logger = std::make_shared<spdlog::async_logger>(
      "ringtaild", std::make_shared<spdlog::sinks::stderr_sink_mt>(), spdlog::thread_pool(),
      spdlog::async_overflow_policy::overrun_oldest);
  logger->set_level(ToSpdlog(options.level));
  logger->set_pattern(options.json ? kJsonPattern : kTextPattern);
  logger->flush_on(spdlog::level::warn);
  spdlog::flush_every(std::chrono::seconds(1));
  spdlog::register_logger(logger);
}

void SetLogLevel(LogLevel level) {
  lowest.store(level, std::memory_order_relaxed);
  if (logger != nullptr) logger->set_level(ToSpdlog(level));
}

void FlushLogs() {
  if (logger == nullptr) return;
  spdlog::shutdown();  // drains the queue
  logger.reset();
}

bool ParseLogLevel(absl::string_view text, LogLevel* level) {
  static constexpr struct {
    absl::string_view name;
    LogLevel level;
  } kNames[] = {{"debug", LogLevel::kDebug},
                {"info", LogLevel::kInfo},
                {"warn", LogLevel::kWarn},
                {"error", LogLevel::kError}};
  for (const auto& [name, value] : kNames) {
    if (name != text) continue;
    *level = value;
    return true;
  }
  return false;
}

bool LogEnabled(LogLevel level) { return level >= lowest.load(std::memory_order_relaxed); }

void WriteLog(LogLevel level, const std::string& message) {
  if (logger == nullptr) {
    std::fprintf(stderr, "%s\n", message.c_str());
    return;
  }
  if (json_lines) {
    const auto replace = nlohmann::json::error_handler_t::replace;
    logger->log(ToSpdlog(level), "{}", nlohmann::json(message).dump(-1, ' ', false, replace));
  } else {
    logger->log(ToSpdlog(level), "{}", message);
  }
}

bool LogRateLimiter::Allow(int64_t interval_s, uint64_t* suppressed) {
  const int64_t now = CoarseSeconds();
  if (now < next_s_) {
    ++suppressed_;
    return false;
  }
  *suppressed = suppressed_;
  suppressed_ = 0;
  next_s_ = now + interval_s;
  return true;
}

}  // namespace ringtail::base
