#include "server/admin/pages.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "server/admin/lag.h"

namespace ringtail::server::admin {
namespace {

using Json = nlohmann::ordered_json;

std::string Dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json LoopJson(const core::CoreCounters& loop) {
  return {{"turns", loop.turns},
          {"tasks_run", loop.tasks_run},
          {"messages_sent", loop.messages_sent},
          {"messages_received", loop.messages_received},
          {"mailbox_full", loop.mailbox_full},
          {"stalls", loop.stalls},
          {"stall_max_ns", loop.stall_max_ns},
          {"busy_ns", loop.busy_ns}};
}

Json BackendJson(const io::BackendCounters& backend, uint64_t in_flight) {
  return {{"polls", backend.polls},
          {"waits", backend.waits},
          {"submitted", backend.submitted},
          {"completed", backend.completed},
          {"in_flight", in_flight},
          {"overflows", backend.overflows},
          {"wakes_sent", backend.wakes_sent},
          {"inline_writes", backend.inline_writes},
          {"inline_write_max_ns", backend.inline_write_max_ns}};
}

Json SenderJson(const io::SenderCounters& sender) {
  Json bytes = Json::object(), fallbacks = Json::object();
  for (size_t path = 0; path < io::kSendPathCount; ++path) {
    if (static_cast<io::SendPath>(path) == io::SendPath::kAuto) continue;
    bytes[std::string(io::SendPathName(static_cast<io::SendPath>(path)))] = sender.bytes[path];
  }
  for (size_t reason = 0; reason < io::kSendFallbackCount; ++reason) {
    fallbacks[std::string(io::SendFallbackName(static_cast<io::SendFallback>(reason)))] =
        sender.fallbacks[reason];
  }
  return {{"file_bytes", bytes},
          {"fallbacks", fallbacks},
          {"span_bytes", sender.span_bytes},
          {"cold_reads", sender.cold.reads},
          {"cold_reads_direct", sender.cold.direct},
          {"cold_reads_ahead", sender.cold.ahead},
          {"cold_waits", sender.cold.waits},
          {"cold_drops", sender.cold.drops},
          {"cold_bytes", sender.cold_bytes},
          {"socket_waits", sender.socket_waits}};
}

Json LogJson(const log::LogCounters& log, const log::WriteTimes& times) {
  return {{"appends", log.appends},
          {"append_batches", log.append_batches},
          {"append_bytes", log.append_bytes},
          {"writes_inline", log.writes_inline},
          {"writes_ring", log.writes_ring},
          {"inline_pauses", log.inline_pauses},
          {"write_failures", log.write_failures},
          {"write_mean_us", times.count == 0 ? 0 : times.sum_us / times.count},
          {"write_max_us", times.max_us},
          {"rolls", log.rolls},
          {"allocations", log.allocations},
          {"plans", log.plans},
          {"plan_headers", log.plan_headers},
          {"plan_ring_reads", log.plan_ring_reads},
          {"truncations", log.truncations},
          {"segments_removed", log.segments_removed}};
}

Json LatenciesJson(const std::vector<LatencySnapshot>& latencies) {
  Json all = Json::object();
  for (const LatencySnapshot& latency : latencies) {
    const base::Histogram& histogram = latency.histogram;
    all[latency.operation] = {{"count", histogram.count()},
                              {"mean_ns", histogram.mean()},
                              {"p50_ns", histogram.Percentile(50)},
                              {"p99_ns", histogram.Percentile(99)},
                              {"p999_ns", histogram.Percentile(99.9)},
                              {"max_ns", histogram.max()}};
  }
  return all;
}

Json JournalJson(const JournalSnapshot& journal) {
  Json json = {{"state", journal.state},
               {"used_bytes", journal.used_bytes},
               {"capacity_bytes", journal.capacity_bytes},
               {"held_bytes", journal.held_bytes},
               {"frames", journal.frames.frames},
               {"entries", journal.frames.entries},
               {"entries_per_frame", journal.frames.entries_per_frame.mean()},
               {"payload_bytes", journal.frames.payload_bytes},
               {"frame_bytes", journal.frames.frame_bytes},
               {"frame_p50_us", journal.frames.frame_us.Percentile(50)},
               {"frame_p99_us", journal.frames.frame_us.Percentile(99)},
               {"submit_p50_us", journal.frames.submit_us.Percentile(50)},
               {"submit_p99_us", journal.frames.submit_us.Percentile(99)},
               {"stalls", journal.frames.stalls},
               {"stall_us", journal.frames.stall_us},
               {"syncs", journal.reclaim.syncs},
               {"group_syncs", journal.reclaim.group_syncs},
               {"checkpoints", journal.reclaim.checkpoints},
               {"checkpoint_failures", journal.reclaim.checkpoint_failures},
               {"poisoned", journal.reclaim.poisoned}};
  if (!journal.closed_reason.empty()) json["closed_reason"] = journal.closed_reason;
  return json;
}

Json CoreJson(const CoreSnapshot& core) {
  if (!core.answered) return {{"core", core.core}, {"status", "stalled"}};
  return {{"core", core.core},
          {"status", "ok"},
          {"cpu", core.cpu},
          {"tasks", core.tasks},
          {"partitions", core.partitions},
          {"partitions_offline", core.partitions_offline},
          {"requests",
           {{"produce", core.requests.produce_requests},
            {"fetch", core.requests.fetch_requests},
            {"fetch_waits", core.requests.fetch_waits},
            {"hops", core.requests.hops},
            {"bytes_used", core.requests.bytes_used},
            {"bytes_max", core.requests.bytes_max}}},
          {"listener",
           {{"connections", core.listener.connections},
            {"accepted", core.listener.accepted},
            {"refused", core.listener.refused},
            {"accept_failures", core.listener.accept_failures}}},
          {"buffers",
           {{"kept_bytes", core.buffers.kept_bytes},
            {"lent_bytes", core.buffers.lent_bytes},
            {"takes", core.buffers.takes},
            {"allocations", core.buffers.allocations}}},
          {"latencies", LatenciesJson(core.latencies)},
          {"sender", SenderJson(core.sender)},
          {"log", LogJson(core.log, core.write_times)},
          {"journal", JournalJson(core.journal)},
          {"loop", LoopJson(core.loop)},
          {"backend", BackendJson(core.backend, core.operations_in_flight)}};
}

}  // namespace

std::string StatusJson(const std::string& status, const std::string& reason) {
  Json json = {{"status", status}};
  if (!reason.empty()) json["reason"] = reason;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string CoresJson(const std::vector<CoreSnapshot>& cores) {
  Json all = Json::array();
  for (const CoreSnapshot& core : cores) all.push_back(CoreJson(core));
  return Dump({{"cores", all}});
}

std::string PartitionsJson(Answers<PartitionSnapshot> partitions) {
  std::sort(partitions.items.begin(), partitions.items.end(),
            [](const PartitionSnapshot& left, const PartitionSnapshot& right) {
              return std::tie(left.topic, left.partition) < std::tie(right.topic, right.partition);
            });
  Json all = Json::array();
  for (const PartitionSnapshot& partition : partitions.items) {
    Json json = {{"topic", partition.topic},
                 {"partition", partition.partition},
                 {"core", partition.core},
                 {"status", !partition.offline_reason.empty()    ? "offline"
                            : !partition.refuses_appends.empty() ? "read_only"
                                                                 : "ok"}};
    if (!partition.offline_reason.empty()) json["reason"] = partition.offline_reason;
    if (!partition.refuses_appends.empty()) json["reason"] = partition.refuses_appends;
    json.update({{"log_start", partition.log_start},
                 {"high_watermark", partition.high_watermark},
                 {"log_end", partition.log_end},
                 {"log_bytes", partition.log_bytes},
                 {"index_bytes", partition.index_bytes},
                 {"preallocated_bytes", partition.preallocated_bytes},
                 {"segments", partition.segments},
                 {"producers", partition.producers},
                 {"batches_in", partition.batches_in},
                 {"bytes_in", partition.bytes_in},
                 {"bytes_out", partition.bytes_out},
                 {"produce_errors", partition.produce_errors}});
    all.push_back(std::move(json));
  }
  return Dump({{"partitions", all}, {"stalled_cores", partitions.silent_cores}});
}

std::string GroupsJson(Answers<GroupSnapshot> groups,
                       const std::vector<PartitionSnapshot>& partitions) {
  std::sort(
      groups.items.begin(), groups.items.end(),
      [](const GroupSnapshot& left, const GroupSnapshot& right) { return left.id < right.id; });
  const HighWatermarks ends(partitions);
  Json all = Json::array();
  for (const GroupSnapshot& group : groups.items) {
    Json offsets = Json::array();
    for (const CommittedSnapshot& each : group.offsets) {
      Json json = {
          {"topic", each.topic}, {"partition", each.partition}, {"committed", each.offset}};
      const int64_t lag = ends.Lag(each);
      if (lag >= 0) json["lag"] = lag;
      offsets.push_back(std::move(json));
    }
    all.push_back({{"group", group.id},
                   {"state", group.state},
                   {"type", group.type},
                   {"protocol_type", group.protocol_type},
                   {"core", group.core},
                   {"generation", group.generation},
                   {"members", group.members},
                   {"offsets", std::move(offsets)},
                   {"offsets_omitted", group.offsets_omitted}});
  }
  return Dump({{"groups", all}, {"stalled_cores", groups.silent_cores}});
}

std::string ConnectionsJson(const Answers<ConnectionSnapshot>& connections) {
  Json all = Json::array();
  for (const ConnectionSnapshot& connection : connections.items) {
    all.push_back({{"peer", connection.peer},
                   {"listener", connection.listener},
                   {"client_id", connection.client_id},
                   {"core", connection.core},
                   {"age_ms", connection.age_ms},
                   {"requests", connection.requests},
                   {"bytes_in", connection.bytes_in},
                   {"bytes_out", connection.bytes_out},
                   {"in_flight", connection.in_flight},
                   {"bytes_charged", connection.bytes_charged}});
  }
  return Dump({{"connections", all}, {"stalled_cores", connections.silent_cores}});
}

std::string TasksText(const Answers<TaskSnapshot>& tasks) {
  std::string text;
  for (const TaskSnapshot& core : tasks.items) {
    absl::StrAppend(&text, "core ", core.core, "\n", core.text, "\n");
  }
  for (const uint32_t core : tasks.silent_cores) {
    absl::StrAppend(&text, "core ", core, "\nstalled: it did not answer\n\n");
  }
  return text;
}

}  // namespace ringtail::server::admin
