#include "server/process_snapshots.h"

#include <utility>

namespace ringtail::server {
namespace {

using admin::Answers;

admin::JournalSnapshot JournalOf(log::CoreJournal& core) {
  const log::Journal& journal = core.journal();
  const bool closed = journal.state() == log::Journal::State::kClosed;
  const bool open = journal.state() == log::Journal::State::kOpen;
  return {.state = open     ? "open"
                   : closed ? "closed"
                            : "stalled",
          .closed_reason = closed ? std::string(journal.status().message()) : "",
          .used_bytes = static_cast<uint64_t>(journal.used_bytes()),
          .capacity_bytes = static_cast<uint64_t>(journal.capacity_bytes()),
          .held_bytes = static_cast<uint64_t>(journal.held_bytes()),
          .oldest_write_ns = journal.oldest_write_ns(),
          .frames = journal.metrics(),
          .reclaim = core.sync().metrics()};
}

admin::GroupTotals TotalsOf(const group::Coordinator& groups) {
  const group::CoordinatorCounters& counters = groups.counters();
  return {.groups = groups.group_count(),
          .consumer_groups = groups.consumer_group_count(),
          .members = groups.member_count(),
          .bytes = groups.memory_bytes(),
          .loading = groups.loading_count(),
          .rebalances = counters.groups.rebalances,
          .members_expired = counters.groups.members_expired,
          .commits = counters.commits,
          .commit_failures = counters.commit_failures,
          .offsets_expired = counters.offsets_expired};
}

admin::CoreSnapshot SnapshotOf(CoreServer& server, const kafka::CoreState& kafka) {
  core::Core& core = server.core();
  Broker& broker = server.broker();
  admin::CoreSnapshot snapshot{.core = core.id().value(), .answered = true};
  snapshot.tasks = core.scheduler().root_count();
  snapshot.partitions = broker.partitions().size();
  snapshot.partitions_offline = broker.offline_count();
  snapshot.loop = core.counters();
  snapshot.backend = core.io().counters();
  snapshot.operations_in_flight = core.io().in_flight();
  snapshot.buffers = {.kept_bytes = core.buffers().kept_bytes(),
                      .lent_bytes = core.buffers().lent_bytes(),
                      .takes = core.buffers().takes(),
                      .allocations = core.buffers().allocations()};
  const BrokerCounters& requests = broker.counters();
  snapshot.requests = {.produce_requests = requests.produce_requests,
                       .fetch_requests = requests.fetch_requests,
                       .fetch_waits = requests.fetch_waits,
                       .hops = requests.hops,
                       .bytes_used = server.budget().used(),
                       .bytes_max = server.budget().capacity()};
  const kafka::FetchSessionCache& sessions = kafka.fetch_sessions;
  snapshot.fetch_sessions = {.sessions = sessions.size(),
                             .partitions = sessions.partition_count(),
                             .bytes = sessions.memory_bytes(),
                             .created = sessions.counters().created,
                             .evicted = sessions.counters().evicted,
                             .refused = sessions.counters().refused,
                             .not_found = sessions.counters().not_found};
  snapshot.groups = TotalsOf(server.groups());
  snapshot.producers = broker.producers().count();
  snapshot.producers_evicted = broker.producers().evicted();
  const ListenerCounters& listener = server.listener_counters();
  snapshot.listener = {.accepted = listener.accepted,
                       .refused = listener.refused,
                       .accept_failures = listener.accept_failures,
                       .connections = server.connection_count()};
  snapshot.sender = server.sender().counters();
  if (broker.journal() != nullptr) snapshot.journal = JournalOf(*broker.journal());
  log::DiskReserve& reserve = broker.log_environment().reserve();
  reserve.Look();
  snapshot.disk = {.total_bytes = reserve.total_bytes(),
                   .available_bytes = reserve.available_bytes(),
                   .reserve_bytes = reserve.reserve_bytes(),
                   .low = reserve.low()};
  broker.partitions().ForEach([&](const partition::PartitionId&, const partition::Partition& each) {
    snapshot.log_bytes += each.log().size_bytes();
    snapshot.index_bytes += each.log().index_bytes();
    snapshot.preallocated_bytes += each.log().preallocated_bytes();
  });
  snapshot.retention_segments_by_time = broker.retention().segments_by_time;
  snapshot.retention_segments_by_bytes = broker.retention().segments_by_bytes;
  snapshot.retention_bytes = broker.retention().bytes;
  snapshot.compaction = broker.compaction();
  snapshot.log = broker.log_environment().counters();
  snapshot.write_times = broker.log_environment().write_times();
  snapshot.latencies = {{"produce", broker.latencies().produce},
                        {"fetch", broker.latencies().fetch}};
  return snapshot;
}

std::vector<admin::PartitionSnapshot> PartitionsOf(CoreServer& server) {
  std::vector<admin::PartitionSnapshot> all;
  for (PartitionStatus& status : server.broker().LocalStatus()) {
    all.push_back({.topic = std::move(status.topic),
                   .partition = status.id.partition,
                   .core = status.core,
                   .offline_reason = std::move(status.offline_reason),
                   .refuses_appends = std::move(status.refuses_appends),
                   .log_start = status.log_start.value(),
                   .high_watermark = status.high_watermark.value(),
                   .log_end = status.log_end.value(),
                   .log_bytes = status.log_bytes,
                   .index_bytes = status.index_bytes,
                   .preallocated_bytes = status.preallocated_bytes,
                   .segments = status.segments,
                   .producers = status.producers,
                   .batches_in = status.counters.batches_in,
                   .bytes_in = status.counters.bytes_in,
                   .bytes_out = status.counters.bytes_out,
                   .produce_errors = status.counters.produce_errors});
  }
  return all;
}

std::vector<admin::GroupSnapshot> GroupsOf(CoreServer& server, size_t offsets_max) {
  std::vector<admin::GroupSnapshot> all;
  for (group::GroupStatus& status : server.groups().Status(offsets_max)) {
    admin::GroupSnapshot& group = all.emplace_back();
    group = {.id = std::move(status.id),
             .type = std::string(status.type),
             .protocol_type = std::move(status.protocol_type),
             .state = std::string(status.state),
             .core = server.core().id().value(),
             .generation = status.generation,
             .members = status.members,
             .offsets_omitted = status.offsets_omitted};
    for (group::OffsetStatus& each : status.offsets) {
      group.offsets.push_back({std::move(each.topic), each.partition, each.offset});
    }
  }
  return all;
}

std::vector<admin::ConnectionSnapshot> ConnectionsOf(CoreServer& server) {
  std::vector<admin::ConnectionSnapshot> all;
  const base::Nanos now = server.core().now();
  server.ForEachConnection([&](Connection& connection) {
    const ConnectionCounters& counters = connection.counters();
    all.push_back({.peer = connection.peer(),
                   .listener = connection.listener() == ListenerKind::kKafka ? "kafka" : "native",
                   .client_id = std::string(connection.session().client_id()),
                   .core = server.core().id().value(),
                   .age_ms = (now - connection.opened_at()) / base::kNanosPerMilli,
                   .requests = counters.requests,
                   .bytes_in = counters.bytes_in,
                   .bytes_out = counters.bytes_out,
                   .in_flight = connection.in_flight(),
                   .bytes_charged = connection.bytes_charged()});
  });
  return all;
}

// One list of what each core said.
template <class T>
Answers<T> Merge(std::vector<std::optional<std::vector<T>>> by_core) {
  Answers<T> answers;
  for (uint32_t core = 0; core < by_core.size(); ++core) {
    if (!by_core[core].has_value()) {
      answers.silent_cores.push_back(core);
      continue;
    }
    for (T& item : *by_core[core]) answers.items.push_back(std::move(item));
  }
  return answers;
}

}  // namespace

std::vector<admin::CoreSnapshot> ProcessSnapshots::Cores(int64_t timeout_ms) {
  std::vector<admin::CoreSnapshot> cores;
  const auto snapshot_of = [this](CoreServer& server) {
    return SnapshotOf(server, process_.kafka_state(server.core().id()));
  };
  for (auto& answer : process_.Ask<admin::CoreSnapshot>(snapshot_of, timeout_ms)) {
    const auto core = static_cast<uint32_t>(cores.size());
    cores.push_back(answer.has_value() ? *std::move(answer) : admin::CoreSnapshot{.core = core});
    cores.back().cpu = process_.CpuOf(core);
  }
  return cores;
}

Answers<admin::PartitionSnapshot> ProcessSnapshots::Partitions(int64_t timeout_ms) {
  return Merge(process_.Ask<std::vector<admin::PartitionSnapshot>>(&PartitionsOf, timeout_ms));
}

Answers<admin::GroupSnapshot> ProcessSnapshots::Groups(size_t offsets_max, int64_t timeout_ms) {
  const auto groups_of = [offsets_max](CoreServer& server) {
    return GroupsOf(server, offsets_max);
  };
  return Merge(process_.Ask<std::vector<admin::GroupSnapshot>>(groups_of, timeout_ms));
}

Answers<admin::ConnectionSnapshot> ProcessSnapshots::Connections(int64_t timeout_ms) {
  return Merge(process_.Ask<std::vector<admin::ConnectionSnapshot>>(&ConnectionsOf, timeout_ms));
}

Answers<admin::TaskSnapshot> ProcessSnapshots::Tasks(int64_t timeout_ms) {
  const auto tasks_of = [](CoreServer& server) {
    return std::vector<admin::TaskSnapshot>{
        {.core = server.core().id().value(), .text = server.core().scheduler().DumpTasks()}};
  };
  return Merge(process_.Ask<std::vector<admin::TaskSnapshot>>(tasks_of, timeout_ms));
}

}  // namespace ringtail::server
