// What may change while the broker runs; of each core, and the same on all.
#pragma once

#include <cstddef>
#include <memory>

#include "engine/base/logging.h"
#include "engine/core/core.h"
#include "engine/io/send_rule.h"
#include "server/broker.h"
#include "server/config.h"

namespace ringtail::server {

struct LiveOptions {
  core::CoreOptions core;
  io::WorkerLimits workers;
  bool pin_threads = true;
  io::SendPath send_path = io::SendPath::kAuto;
  io::SendRule send_rule;
  size_t cold_reads_at_once = 2;
  size_t connections_max = 10'000;
  base::Nanos connection_idle_ns = 600 * base::kNanosPerSecond;
  base::Nanos send_timeout_ns = 60 * base::kNanosPerSecond;
  std::shared_ptr<const BrokerOptions> broker = std::make_shared<BrokerOptions>();
  // Of the whole process.
  base::LogLevel log_level = base::LogLevel::kInfo;
  LoadedConfig config;  // in force
};

}  // namespace ringtail::server
