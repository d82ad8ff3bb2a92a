#include "server/process_options.h"

#include <algorithm>

#include "absl/strings/str_split.h"
#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "server/group/assignor.h"
#include "server/host.h"

namespace ringtail::server {
namespace {

// At most this part of the descriptors is for segment files; the rest is for connections.
constexpr size_t kFilesShare = 2;
constexpr size_t kOwnDescriptors = 64;  // rings, listeners, pipes, checkpoints, admin pages

group::MigrationPolicy ToMigrationPolicy(absl::string_view name) {
  if (name == "upgrade") return group::MigrationPolicy::kUpgrade;
  if (name == "downgrade") return group::MigrationPolicy::kDowngrade;
  return name == "disabled" ? group::MigrationPolicy::kDisabled
                            : group::MigrationPolicy::kBidirectional;
}

group::ConsumerOptions ToConsumerOptions(const Config& config) {
  group::ConsumerOptions options{
      .session_timeout_ms = static_cast<int32_t>(config.consumer_group_session_timeout_ms()),
      .heartbeat_interval_ms = static_cast<int32_t>(config.consumer_group_heartbeat_interval_ms()),
      .members_max = static_cast<size_t>(config.group_members_max()),
      .assignors = {},
      .migration_policy = ToMigrationPolicy(config.consumer_group_migration_policy())};
  for (const absl::string_view name : absl::StrSplit(config.consumer_group_assignors(), ',')) {
    const std::optional<group::Assignor> assignor = group::FindAssignor(name);
    RT_CHECK(assignor.has_value());  // the configuration has been checked
    options.assignors.push_back(*assignor);
  }
  return options;
}

group::GroupOptions ToGroupOptions(const Config& config) {
  constexpr int64_t kMillisPerMinute = 60'000;
  return {.limits = {.initial_rebalance_delay_ms = config.group_initial_rebalance_delay_ms(),
                     .members_max = static_cast<size_t>(config.group_members_max())},
          .consumer = ToConsumerOptions(config),
          .session_timeout_min_ms = static_cast<int32_t>(config.group_session_timeout_min_ms()),
          .session_timeout_max_ms = static_cast<int32_t>(config.group_session_timeout_max_ms()),
          .offsets_retention_ms = config.offsets_retention_minutes() * kMillisPerMinute,
          .groups_max = static_cast<size_t>(config.groups_max()),
          .bytes_max = static_cast<size_t>(config.group_bytes_max())};
}

CoreServerOptions ToServerOptions(const Config& config, size_t cores, size_t descriptors) {
  CoreServerOptions options;
  options.connection.bytes_max = static_cast<size_t>(config.connection_bytes_max());
  options.core_bytes_max = static_cast<size_t>(config.core_bytes_max());
  options.connections_max = static_cast<size_t>(config.connections_max());
  options.groups = ToGroupOptions(config);
  options.sender.cold = {.piece_bytes = config.cold_read_bytes() / 4096 * 4096,
                         .reads_at_once = static_cast<size_t>(config.cold_reads_at_once()),
                         .memory_bytes = config.cold_read_memory_bytes()};
  options.log.reserve = {
      .directory = config.data_dir(), .bytes = config.disk_reserve_bytes(), .cores = cores};
  // The rest is for connections, less what the broker needs for itself.
  const size_t sockets = descriptors - descriptors / kFilesShare;
  const size_t own = std::min(kOwnDescriptors, sockets / 2);
  const size_t connections = std::max<size_t>((sockets - own) / cores, 1);
  if (connections < options.connections_max) {
    RT_LOG(kInfo, "a core takes {} connections instead of {}: the limit of descriptors is {}",
           connections, options.connections_max, descriptors);
    options.connections_max = connections;
  }
  const auto wanted = static_cast<size_t>(config.open_files_max());
  options.log.open_files_max = std::min(wanted, descriptors / kFilesShare / cores);
  if (options.log.open_files_max < wanted) {
    RT_LOG(kInfo, "a core keeps {} files open instead of {}: the limit of descriptors is {}",
           options.log.open_files_max, wanted, descriptors);
  }
  return options;
}

JournalSettings ToJournalSettings(const Config& config) {
  JournalSettings settings;
  settings.file_bytes = config.journal_file_bytes() / 4096 * 4096;
  settings.bytes_max = config.journal_bytes_max();
  settings.depth = static_cast<size_t>(config.journal_depth());
  settings.sync_mode = config.journal_sync() == "fdatasync" ? log::JournalSyncMode::kFdatasync
                                                            : log::JournalSyncMode::kDataSync;
  if (settings.sync_mode == log::JournalSyncMode::kFdatasync) settings.depth = 1;
  settings.accept_loss = config.accept_journal_loss();
  return settings;
}

}  // namespace

ProcessOptions ToProcessOptions(const LoadedConfig& loaded, size_t descriptors) {
  const Config& config = loaded.config;
  ProcessOptions options;
  options.data_directory = config.data_dir();
  options.listen_host = config.listen();
  options.cpus = loaded.cpus;
  options.shared_ports = {.kafka = static_cast<uint16_t>(config.kafka_port()),
                          .native = static_cast<uint16_t>(config.native_port())};
  options.advertise_cores = config.advertise() == "cores";
  options.advertise_host = config.advertise_host();
  options.broker_id = static_cast<int32_t>(config.broker_id());
  options.shutdown_grace_ns = config.shutdown_grace_s() * base::kNanosPerSecond;
  options.uring.provided_buffers = static_cast<uint32_t>(config.provided_buffers());
  options.uring.sqpoll_idle_ms = static_cast<uint32_t>(config.sqpoll_idle_ms());
  options.uring.provided_buffer_bytes = static_cast<uint32_t>(config.provided_buffer_bytes());
  options.server = ToServerOptions(config, loaded.cpus.size(), descriptors);
  options.live = std::make_shared<const LiveConfig>(loaded, options.server.connections_max);
  options.durability =
      config.durability() == "journal" ? log::Durability::kJournal : log::Durability::kPageCache;
  options.journal = ToJournalSettings(config);
  options.fetch_sessions.sessions_max = static_cast<size_t>(config.fetch_sessions_max());
  options.native.software_version = kVersion;
  options.native.exchanges_max = static_cast<uint32_t>(options.server.connection.exchanges_max);
  options.native.connection_bytes_max = options.server.connection.bytes_max;
  return options;
}

}  // namespace ringtail::server
