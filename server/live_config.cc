#include "server/live_config.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "server/broker_configs.h"
#include "server/config_checks.h"
#include "server/config_knobs.h"

namespace ringtail::server {
namespace {

log::WritePath ToWritePath(absl::string_view name) {
  if (name == "ring") return log::WritePath::kRing;
  return name == "inline" ? log::WritePath::kInline : log::WritePath::kAuto;
}

void ReportStall(base::CoreId core, base::Nanos turn_ns) {
  RT_LOG_EVERY(
      1, kWarn,
      "core {}: did not come back to its loop for {} ms; requests waited meanwhile (a slow "
      "disk, or too little CPU)",
      core.value(), turn_ns / base::kNanosPerMilli);
}

core::CoreOptions ToCoreOptions(const Config& config) {
  core::CoreOptions options;
  options.busy_poll_ns = config.busy_poll_us() * 1000;
  options.stall_report_ns = config.stall_report_ms() * base::kNanosPerMilli;
  options.buffer_bytes_kept = static_cast<size_t>(config.buffer_bytes_kept());
  options.on_stall = &ReportStall;
  return options;
}

BrokerOptions ToBrokerOptions(const Config& config) {
  return {.topic_defaults = {.partitions = static_cast<uint32_t>(config.default_partitions()),
                             .auto_create = config.auto_create_topics()},
          .retention_check_ns = config.retention_check_ms() * base::kNanosPerMilli,
          .compaction = {.every_ns = config.compaction_check_ms() * base::kNanosPerMilli,
                         .memory_bytes_max = static_cast<size_t>(config.compaction_memory_bytes()),
                         .bytes_per_s = config.compaction_bytes_per_s()},
          .write_path = ToWritePath(config.write_path()),
          .inline_bytes_max = config.inline_write_bytes_max(),
          .journal_bypass_bytes = static_cast<size_t>(config.journal_bypass_bytes()),
          .journal_sync_age_ns = config.journal_sync_age_ms() * base::kNanosPerMilli,
          .configs = {}};
}

}  // namespace

LiveConfig::LiveConfig(LoadedConfig start, size_t connections_max)
    : start_(std::move(start)), connections_max_(connections_max) {}

absl::Status LiveConfig::Set(const std::string& name, const std::string& value,
                             LoadedConfig* config) {
  const knobs::Field* field = knobs::Find(name);
  if (field == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown setting \"", name, "\"", knobs::DidYouMean(name, "")));
  }
  if (!knobs::OptionsOf(field).live()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name,
                     " cannot be changed while the broker runs; it is read from the flags "
                     "and the file at start"));
  }
  LoadedConfig changed = *config;
  if (const absl::Status valid = knobs::Set(field, value, &changed.config); !valid.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", valid.message()));
  }
  RT_RETURN_IF_ERROR(CheckValues(changed.config));
  changed.sources[static_cast<size_t>(field->number())] = ConfigSource::kSet;
  *config = std::move(changed);
  return absl::OkStatus();
}

LoadedConfig LiveConfig::Overlay(const Settings& set, std::vector<std::string>* refused) const {
  LoadedConfig config = start_;
  for (const auto& [name, value] : set) {
    const absl::Status valid = Set(name, value, &config);
    if (!valid.ok()) refused->emplace_back(valid.message());
  }
  return config;
}

absl::Status LiveConfig::Check(const Settings& set) const {
  std::vector<std::string> refused;
  Overlay(set, &refused);
  return refused.empty() ? absl::OkStatus() : absl::InvalidArgumentError(refused.front());
}

std::shared_ptr<const LiveOptions> LiveConfig::Under(const Settings& set,
                                                     std::vector<std::string>* left_out) const {
  std::vector<std::string> refused;
  auto options = std::make_shared<LiveOptions>();
  options->config = Overlay(set, left_out != nullptr ? left_out : &refused);
  const Config& config = options->config.config;
  options->core = ToCoreOptions(config);
  options->workers = {.file_max = static_cast<uint32_t>(config.io_file_workers_max()),
                      .other_max = static_cast<uint32_t>(config.io_other_workers_max()),
                      .own_cpus = config.io_worker_cpus() == "core"};
  options->pin_threads = config.pin_cores();
  RT_CHECK(io::ParseSendPath(config.send_path(), &options->send_path));
  absl::StatusOr<io::SendRule> rule = io::ParseSendRule(config.send_rule());
  RT_CHECK(rule.ok());  // the configuration has been checked
  options->send_rule = *std::move(rule);
  options->cold_reads_at_once = static_cast<size_t>(config.cold_reads_at_once());
  options->connections_max =
      std::min(static_cast<size_t>(config.connections_max()), connections_max_);
  options->connection_idle_ns = config.connection_idle_s() * base::kNanosPerSecond;
  options->send_timeout_ns = config.send_timeout_s() * base::kNanosPerSecond;
  RT_CHECK(base::ParseLogLevel(config.log_level(), &options->log_level));
  BrokerOptions broker = ToBrokerOptions(config);
  broker.configs = ListBrokerConfigs(options->config, start_);
  options->broker = std::make_shared<const BrokerOptions>(std::move(broker));
  return options;
}

}  // namespace ringtail::server
