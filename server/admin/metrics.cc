#include "server/admin/metrics.h"

#include <dirent.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ringtail::server::admin {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Families = std::vector<MetricFamily>;
using Labels = std::vector<ClientMetric::Label>;

constexpr double kNanosPerSecond = 1e9;
constexpr double kMicrosPerSecond = 1e6;

struct CoreMetric {
  const char* name;
  const char* help;
  MetricType type;
  double (*read)(const CoreSnapshot&);
};

constexpr MetricType kCounter = MetricType::Counter;
constexpr MetricType kGauge = MetricType::Gauge;

#define RT_READ(field) [](const CoreSnapshot& core) { return static_cast<double>(core.field); }
#define RT_READ_NANOS(field) \
  [](const CoreSnapshot& core) { return static_cast<double>(core.field) / kNanosPerSecond; }

// The load, and what it costs.
constexpr CoreMetric kServerMetrics[] = {
    {"ringtail_produce_requests_total", "Produce requests.", kCounter,
     RT_READ(requests.produce_requests)},
    {"ringtail_fetch_requests_total", "Fetch requests.", kCounter,
     RT_READ(requests.fetch_requests)},
    {"ringtail_fetch_waits_total", "Fetches that had to wait for records.", kCounter,
     RT_READ(requests.fetch_waits)},
    {"ringtail_hops_total", "Calls to a partition of another core.", kCounter,
     RT_READ(requests.hops)},
    {"ringtail_request_bytes", "Memory of requests in flight.", kGauge,
     RT_READ(requests.bytes_used)},
    {"ringtail_request_bytes_max", "Bound of that memory (core_bytes_max).", kGauge,
     RT_READ(requests.bytes_max)},
    {"ringtail_groups", "Groups of consumers, of both protocols.", kGauge, RT_READ(groups.groups)},
    {"ringtail_consumer_groups", "Those of them that are of KIP-848's protocol.", kGauge,
     RT_READ(groups.consumer_groups)},
    {"ringtail_group_members", "Members of them.", kGauge, RT_READ(groups.members)},
    {"ringtail_group_bytes", "Memory of groups, members and committed offsets.", kGauge,
     RT_READ(groups.bytes)},
    {"ringtail_group_partitions_loading", "Partitions of __consumer_offsets that are being read.",
     kGauge, RT_READ(groups.loading)},
    {"ringtail_group_rebalances_total", "Generations of groups that began.", kCounter,
     RT_READ(groups.rebalances)},
    {"ringtail_group_members_expired_total", "Members that were given up.", kCounter,
     RT_READ(groups.members_expired)},
    {"ringtail_group_commits_total", "Offsets committed.", kCounter, RT_READ(groups.commits)},
    {"ringtail_group_commit_failures_total", "Commits that were not recorded.", kCounter,
     RT_READ(groups.commit_failures)},
    {"ringtail_group_offsets_expired_total", "Committed offsets that were let go by their age.",
     kCounter, RT_READ(groups.offsets_expired)},
    {"ringtail_fetch_sessions", "Fetch sessions of Kafka consumers (KIP-227).", kGauge,
     RT_READ(fetch_sessions.sessions)},
    {"ringtail_fetch_session_partitions", "Partitions in them.", kGauge,
     RT_READ(fetch_sessions.partitions)},
    {"ringtail_fetch_session_bytes", "Memory of them.", kGauge, RT_READ(fetch_sessions.bytes)},
    {"ringtail_fetch_sessions_created_total", "Fetch sessions begun.", kCounter,
     RT_READ(fetch_sessions.created)},
    {"ringtail_fetch_sessions_evicted_total", "Fetch sessions that gave way to others.", kCounter,
     RT_READ(fetch_sessions.evicted)},
    {"ringtail_fetch_sessions_refused_total",
     "Clients that got no fetch session, or lost theirs, for want of slots or memory.", kCounter,
     RT_READ(fetch_sessions.refused)},
    {"ringtail_fetch_sessions_unknown_total", "Requests of a fetch session that is not here.",
     kCounter, RT_READ(fetch_sessions.not_found)},
    {"ringtail_producers", "Idempotent producers that are remembered.", kGauge, RT_READ(producers)},
    {"ringtail_producers_evicted_total", "Idempotent producers forgotten for others' sake.",
     kCounter, RT_READ(producers_evicted)},
    {"ringtail_connections", "Open client connections.", kGauge, RT_READ(listener.connections)},
    {"ringtail_connections_accepted_total", "Connections accepted.", kCounter,
     RT_READ(listener.accepted)},
    {"ringtail_connections_refused_total", "Connections closed at once, over connections_max.",
     kCounter, RT_READ(listener.refused)},
    {"ringtail_accept_failures_total", "Accepts that failed: out of descriptors or memory.",
     kCounter, RT_READ(listener.accept_failures)},
    {"ringtail_partitions", "Partitions that this core serves.", kGauge, RT_READ(partitions)},
    {"ringtail_partitions_offline", "Partitions that this core should serve and cannot.", kGauge,
     RT_READ(partitions_offline)},
    {"ringtail_buffer_kept_bytes", "Free request memory kept for reuse.", kGauge,
     RT_READ(buffers.kept_bytes)},
    {"ringtail_buffer_lent_bytes", "Request memory in use.", kGauge, RT_READ(buffers.lent_bytes)},
    {"ringtail_buffer_takes_total", "Buffers taken.", kCounter, RT_READ(buffers.takes)},
    {"ringtail_buffer_allocations_total", "Buffers that had to be allocated.", kCounter,
     RT_READ(buffers.allocations)},
    {"ringtail_send_span_bytes_total", "Bytes sent from memory: headers and small replies.",
     kCounter, RT_READ(sender.span_bytes)},
    {"ringtail_send_cold_reads_total", "Reads of fetched bytes that were not in the page cache.",
     kCounter, RT_READ(sender.cold.reads)},
    {"ringtail_send_cold_reads_direct_total", "Of these, around the page cache (O_DIRECT).",
     kCounter, RT_READ(sender.cold.direct)},
    {"ringtail_send_cold_reads_ahead_total",
     "Of these, begun while what lies before was still being sent.", kCounter,
     RT_READ(sender.cold.ahead)},
    {"ringtail_send_cold_waits_total",
     "Such reads that waited for their turn, or for memory, behind other readers of old data.",
     kCounter, RT_READ(sender.cold.waits)},
    {"ringtail_send_cold_drops_total",
     "Such reads whose bytes the peer did not take, dropped as others needed the memory.", kCounter,
     RT_READ(sender.cold.drops)},
    {"ringtail_send_cold_bytes_total",
     "Bytes sent that were not in the page cache; they are among those of path copy.", kCounter,
     RT_READ(sender.cold_bytes)},
    {"ringtail_send_socket_waits_total", "Waits for a peer whose socket was full.", kCounter,
     RT_READ(sender.socket_waits)},
};

constexpr CoreMetric kJournalMetrics[] = {
    {"ringtail_retention_segments_time_total", "Segments removed by retention.ms.", kCounter,
     RT_READ(retention_segments_by_time)},
    {"ringtail_retention_segments_size_total", "Segments removed by retention.bytes.", kCounter,
     RT_READ(retention_segments_by_bytes)},
    {"ringtail_retention_bytes_total", "Bytes removed by retention.", kCounter,
     RT_READ(retention_bytes)},
    {"ringtail_compaction_passes_total", "Compactions of a partition.", kCounter,
     RT_READ(compaction.passes)},
    {"ringtail_compaction_failures_total", "Compactions that ended early, to be tried again.",
     kCounter, RT_READ(compaction.failures)},
    {"ringtail_compaction_read_bytes_total", "Bytes of batches that compaction has read.", kCounter,
     RT_READ(compaction.bytes_read)},
    {"ringtail_compaction_written_bytes_total", "Bytes of batches that compaction has left.",
     kCounter, RT_READ(compaction.bytes_written)},
    {"ringtail_compaction_records_removed_total",
     "Records removed because a newer one has their key, tombstones included.", kCounter,
     RT_READ(compaction.records_removed)},
    {"ringtail_compaction_tombstones_removed_total", "Tombstones removed after their time.",
     kCounter, RT_READ(compaction.tombstones_removed)},
    {"ringtail_compaction_unreadable_batches_total",
     "Batches that compaction kept whole, as their records are not what their header says.",
     kCounter, RT_READ(compaction.batches_unreadable)},
    {"ringtail_journal_up", "1 while the core's journal takes entries or waits for space.", kGauge,
     [](const CoreSnapshot& core) { return core.journal.state == "closed" ? 0.0 : 1.0; }},
    {"ringtail_journal_used_bytes", "Journal that waits for its segments to be synced.", kGauge,
     RT_READ(journal.used_bytes)},
    {"ringtail_journal_capacity_bytes", "Size of the journal now.", kGauge,
     RT_READ(journal.capacity_bytes)},
    {"ringtail_journal_held_bytes", "Journal files kept for closed partitions.", kGauge,
     RT_READ(journal.held_bytes)},
    {"ringtail_journal_frames_total", "Frames written.", kCounter, RT_READ(journal.frames.frames)},
    {"ringtail_journal_entries_total", "Entries in them.", kCounter,
     RT_READ(journal.frames.entries)},
    {"ringtail_journal_payload_bytes_total", "Appended bytes in them.", kCounter,
     RT_READ(journal.frames.payload_bytes)},
    {"ringtail_journal_frame_bytes_total", "Bytes of all frames, padding included.", kCounter,
     RT_READ(journal.frames.frame_bytes)},
    {"ringtail_journal_oldest_write_seconds", "How long the oldest write in flight has taken.",
     kGauge,
     [](const CoreSnapshot& core) {
       return static_cast<double>(core.journal.oldest_write_ns) / base::kNanosPerSecond;
     }},
    {"ringtail_journal_late_frames_total", "Writes that took longer than 10 s.", kCounter,
     RT_READ(journal.frames.late_frames)},
    {"ringtail_journal_stalls_total", "Times that the journal was full.", kCounter,
     RT_READ(journal.frames.stalls)},
    {"ringtail_journal_stall_seconds_total", "How long appends waited for space in it.", kCounter,
     [](const CoreSnapshot& core) {
       return static_cast<double>(core.journal.frames.stall_us) / kMicrosPerSecond;
     }},
    {"ringtail_journal_syncs_total", "Partitions synced to free journal.", kCounter,
     RT_READ(journal.reclaim.syncs)},
    {"ringtail_journal_group_syncs_total", "Syncs of many partitions at once.", kCounter,
     RT_READ(journal.reclaim.group_syncs)},
    {"ringtail_journal_checkpoints_total", "Checkpoints written.", kCounter,
     RT_READ(journal.reclaim.checkpoints)},
    {"ringtail_journal_checkpoint_failures_total", "Checkpoints that failed; tried again.",
     kCounter, RT_READ(journal.reclaim.checkpoint_failures)},
    {"ringtail_journal_poisoned_total", "Partitions closed as a sync or write of theirs failed.",
     kCounter, RT_READ(journal.reclaim.poisoned)},
    {"ringtail_log_bypasses_total", "Large appends synced in place instead of journaled.", kCounter,
     RT_READ(log.bypasses)},
};

constexpr CoreMetric kLogMetrics[] = {
    {"ringtail_log_bytes", "Bytes of batches in segments.", kGauge, RT_READ(log_bytes)},
    {"ringtail_log_index_bytes", "Bytes of their indexes.", kGauge, RT_READ(index_bytes)},
    {"ringtail_log_preallocated_bytes", "Bytes that segments were given ahead of appends.", kGauge,
     RT_READ(preallocated_bytes)},
    {"ringtail_log_appends_total", "Appends to logs.", kCounter, RT_READ(log.appends)},
    {"ringtail_log_append_batches_total", "Record batches appended.", kCounter,
     RT_READ(log.append_batches)},
    {"ringtail_log_append_bytes_total", "Bytes appended.", kCounter, RT_READ(log.append_bytes)},
    {"ringtail_log_inline_pauses_total",
     "Times that slow inline writes moved the core's writes to the ring.", kCounter,
     RT_READ(log.inline_pauses)},
    {"ringtail_log_write_failures_total", "Writes to segments that failed.", kCounter,
     RT_READ(log.write_failures)},
    {"ringtail_log_rolls_total", "Segments begun.", kCounter, RT_READ(log.rolls)},
    {"ringtail_log_allocations_total", "Steps of preallocation.", kCounter,
     RT_READ(log.allocations)},
    {"ringtail_log_plans_total", "Reads planned.", kCounter, RT_READ(log.plans)},
    {"ringtail_log_plan_headers_total", "Batch headers read to find where a plan starts or ends.",
     kCounter, RT_READ(log.plan_headers)},
    {"ringtail_log_plan_ring_reads_total", "Reads of a plan that were not in the page cache.",
     kCounter, RT_READ(log.plan_ring_reads)},
    {"ringtail_log_truncations_total", "Truncations.", kCounter, RT_READ(log.truncations)},
    {"ringtail_log_segments_removed_total", "Segments removed.", kCounter,
     RT_READ(log.segments_removed)},
};

constexpr CoreMetric kLoopMetrics[] = {
    {"ringtail_core_turns_total", "Turns of the core's loop.", kCounter, RT_READ(loop.turns)},
    {"ringtail_core_tasks", "Tasks, suspended or ready.", kGauge, RT_READ(tasks)},
    {"ringtail_core_tasks_run_total", "Times that a task was resumed.", kCounter,
     RT_READ(loop.tasks_run)},
    {"ringtail_core_busy_seconds_total", "Time in turns, without blocking.", kCounter,
     RT_READ_NANOS(loop.busy_ns)},
    {"ringtail_core_messages_sent_total", "Messages to other cores.", kCounter,
     RT_READ(loop.messages_sent)},
    {"ringtail_core_messages_received_total", "Messages from other cores.", kCounter,
     RT_READ(loop.messages_received)},
    {"ringtail_core_mailbox_full_total", "Messages that had to wait for room in a mailbox.",
     kCounter, RT_READ(loop.mailbox_full)},
    {"ringtail_core_stalls_total", "Turns longer than stall_report_ms.", kCounter,
     RT_READ(loop.stalls)},
    {"ringtail_core_stall_max_seconds", "The longest turn.", kGauge,
     RT_READ_NANOS(loop.stall_max_ns)},
    {"ringtail_io_polls_total", "Polls of the ring.", kCounter, RT_READ(backend.polls)},
    {"ringtail_io_waits_total", "Polls that were allowed to block.", kCounter,
     RT_READ(backend.waits)},
    {"ringtail_io_submitted_total", "Operations submitted.", kCounter, RT_READ(backend.submitted)},
    {"ringtail_io_completed_total", "Operations completed.", kCounter, RT_READ(backend.completed)},
    {"ringtail_io_in_flight", "Operations in flight.", kGauge, RT_READ(operations_in_flight)},
    {"ringtail_io_overflows_total", "Completions that did not fit the completion queue.", kCounter,
     RT_READ(backend.overflows)},
    {"ringtail_io_wakes_sent_total", "Wake-ups of sleeping cores.", kCounter,
     RT_READ(backend.wakes_sent)},
    {"ringtail_io_inline_write_max_seconds", "The longest write on the core's own thread.", kGauge,
     RT_READ_NANOS(backend.inline_write_max_ns)},
};

#undef RT_READ
#undef RT_READ_NANOS

void SetValue(MetricType type, double value, ClientMetric* metric) {
  if (type == kCounter) {
    metric->counter.value = value;
  } else {
    metric->gauge.value = value;
  }
}

void Add(MetricFamily* family, Labels labels, double value) {
  ClientMetric& metric = family->metric.emplace_back();
  metric.label = std::move(labels);
  SetValue(family->type, value, &metric);
}

MetricFamily& NewFamily(Families* families, const char* name, const char* help, MetricType type) {
  return families->emplace_back(MetricFamily{name, help, type, {}});
}

void AddSingle(Families* families, const char* name, const char* help, MetricType type,
               double value) {
  Add(&NewFamily(families, name, help, type), {}, value);
}

std::string CoreLabel(const CoreSnapshot& core) { return absl::StrCat(core.core); }

template <size_t kCount>
void AddCores(const CoreMetric (&metrics)[kCount], const std::vector<CoreSnapshot>& cores,
              Families* families) {
  for (const CoreMetric& metric : metrics) {
    MetricFamily& family = NewFamily(families, metric.name, metric.help, metric.type);
    for (const CoreSnapshot& core : cores) {
      if (core.answered) Add(&family, {{"core", CoreLabel(core)}}, metric.read(core));
    }
  }
}

void AddUp(const std::vector<CoreSnapshot>& cores, Families* families) {
  MetricFamily& family = NewFamily(families, "ringtail_core_up",
                                   "1 where the core answered in time, 0 where it is stalled; its "
                                   "other series are then missing.",
                                   kGauge);
  for (const CoreSnapshot& core : cores) {
    Add(&family, {{"core", CoreLabel(core)}}, core.answered ? 1 : 0);
  }
}

void AddPaths(const std::vector<CoreSnapshot>& cores, Families* families) {
  MetricFamily sent{"ringtail_send_file_bytes_total",
                    "Bytes of files sent, by the path that they took.",
                    kCounter,
                    {}};
  MetricFamily fallbacks{"ringtail_send_fallbacks_total",
                         "Chunks that could not leave on the path asked for, by reason.",
                         kCounter,
                         {}};
  MetricFamily writes{"ringtail_log_writes_total", "Writes to segments, by path.", kCounter, {}};
  for (const CoreSnapshot& core : cores) {
    if (!core.answered) continue;
    const ClientMetric::Label label{"core", CoreLabel(core)};
    for (size_t index = 0; index < io::kSendPathCount; ++index) {
      const auto path = static_cast<io::SendPath>(index);
      if (path == io::SendPath::kAuto) continue;  // a rule, not a path
      Add(&sent, {label, {"path", std::string(io::SendPathName(path))}},
          static_cast<double>(core.sender.bytes[index]));
    }
    for (size_t index = 0; index < io::kSendFallbackCount; ++index) {
      const auto reason = static_cast<io::SendFallback>(index);
      Add(&fallbacks, {label, {"reason", std::string(io::SendFallbackName(reason))}},
          static_cast<double>(core.sender.fallbacks[index]));
    }
    Add(&writes, {label, {"path", "inline"}}, static_cast<double>(core.log.writes_inline));
    Add(&writes, {label, {"path", "ring"}}, static_cast<double>(core.log.writes_ring));
  }
  families->push_back(std::move(sent));
  families->push_back(std::move(fallbacks));
  families->push_back(std::move(writes));
}

// One bucket to each power of two of nanoseconds, from about 1 us to 17 s.
ClientMetric::Histogram Buckets(const base::Histogram& from) {
  ClientMetric::Histogram out;
  out.sample_count = from.count();
  out.sample_sum = static_cast<double>(from.sum()) / kNanosPerSecond;
  for (int power = 10; power <= 34; ++power) {
    const uint64_t end = uint64_t{1} << power;
    out.bucket.push_back({from.CountBelow(end), static_cast<double>(end) / kNanosPerSecond});
  }
  out.bucket.push_back({from.count(), INFINITY});
  return out;
}

ClientMetric::Histogram Buckets(const log::WriteTimes& from) {
  ClientMetric::Histogram out;
  out.sample_count = from.count;
  out.sample_sum = static_cast<double>(from.sum_us) / kMicrosPerSecond;
  uint64_t below = 0;
  // The last one also holds what is longer.
  for (size_t index = 0; index + 1 < from.buckets.size(); ++index) {
    below += from.buckets[index];
    out.bucket.push_back({below, static_cast<double>(uint64_t{1} << index) / kMicrosPerSecond});
  }
  out.bucket.push_back({from.count, INFINITY});
  return out;
}

void AddTimes(const std::vector<CoreSnapshot>& cores, Families* families) {
  MetricFamily writes{"ringtail_log_write_seconds",
                      "From handing a write to the kernel to its completion.",
                      MetricType::Histogram,
                      {}};
  MetricFamily latencies{"ringtail_latency_seconds",
                         "From a request read to its reply ready, by operation.",
                         MetricType::Histogram,
                         {}};
  for (const CoreSnapshot& core : cores) {
    if (!core.answered) continue;
    const ClientMetric::Label label{"core", CoreLabel(core)};
    ClientMetric& metric = writes.metric.emplace_back();
    metric.label = {label};
    metric.histogram = Buckets(core.write_times);
    for (const LatencySnapshot& latency : core.latencies) {
      ClientMetric& one = latencies.metric.emplace_back();
      one.label = {label, {"operation", latency.operation}};
      one.histogram = Buckets(latency.histogram);
    }
  }
  families->push_back(std::move(writes));
  families->push_back(std::move(latencies));
}

struct PartitionMetric {
  const char* name;
  const char* help;
  MetricType type;
  double (*read)(const PartitionSnapshot&);
};

constexpr PartitionMetric kPartitionMetrics[] = {
    {"ringtail_partition_up", "1 where the partition is served, 0 where it is offline.", kGauge,
     [](const PartitionSnapshot& p) { return p.offline_reason.empty() ? 1.0 : 0.0; }},
    {"ringtail_partition_writable", "1 where it takes appends.", kGauge,
     [](const PartitionSnapshot& p) {
       return p.offline_reason.empty() && p.refuses_appends.empty() ? 1.0 : 0.0;
     }},
    {"ringtail_partition_log_start_offset", "Offset of the first record kept.", kGauge,
     [](const PartitionSnapshot& p) { return static_cast<double>(p.log_start); }},
    {"ringtail_partition_high_watermark_offset", "Consumers read up to here.", kGauge,
     [](const PartitionSnapshot& p) { return static_cast<double>(p.high_watermark); }},
    {"ringtail_partition_log_end_offset", "Offset of the next record.", kGauge,
     [](const PartitionSnapshot& p) { return static_cast<double>(p.log_end); }},
    {"ringtail_partition_log_bytes", "Bytes kept.", kGauge,
     [](const PartitionSnapshot& p) { return static_cast<double>(p.log_bytes); }},
    {"ringtail_partition_index_bytes", "Bytes of its indexes.", kGauge,
     [](const PartitionSnapshot& p) { return static_cast<double>(p.index_bytes); }},
    {"ringtail_partition_preallocated_bytes", "Bytes its files were given ahead of appends.",
     kGauge, [](const PartitionSnapshot& p) { return static_cast<double>(p.preallocated_bytes); }},
    {"ringtail_partition_in_bytes_total", "Bytes produced.", kCounter,
     [](const PartitionSnapshot& p) { return static_cast<double>(p.bytes_in); }},
    {"ringtail_partition_out_bytes_total", "Bytes fetched.", kCounter,
     [](const PartitionSnapshot& p) { return static_cast<double>(p.bytes_out); }},
    {"ringtail_partition_produce_errors_total", "Produce requests refused or failed.", kCounter,
     [](const PartitionSnapshot& p) { return static_cast<double>(p.produce_errors); }},
};

// One file system, of which each core has its own view: the latest is any of them.
void AddDisk(const std::vector<CoreSnapshot>& cores, Families* families) {
  const auto first = std::find_if(cores.begin(), cores.end(),
                                  [](const CoreSnapshot& core) { return core.answered; });
  if (first == cores.end()) return;
  const DiskSnapshot& disk = first->disk;
  AddSingle(families, "ringtail_disk_total_bytes", "Size of the data directory's file system.",
            kGauge, static_cast<double>(disk.total_bytes));
  AddSingle(families, "ringtail_disk_available_bytes", "What is free of it.", kGauge,
            static_cast<double>(disk.available_bytes));
  AddSingle(families, "ringtail_disk_reserve_bytes",
            "What appends leave free of it (disk_reserve_bytes).", kGauge,
            static_cast<double>(disk.reserve_bytes));
  AddSingle(families, "ringtail_disk_low", "1 while appends are refused as less is free.", kGauge,
            disk.low ? 1 : 0);
}

void AddPartitions(const std::vector<PartitionSnapshot>& partitions, Families* families) {
  for (const PartitionMetric& metric : kPartitionMetrics) {
    MetricFamily& family = NewFamily(families, metric.name, metric.help, metric.type);
    for (const PartitionSnapshot& partition : partitions) {
      Add(&family, {{"topic", partition.topic}, {"partition", absl::StrCat(partition.partition)}},
          metric.read(partition));
    }
  }
}

void AddLags(const std::vector<LagSnapshot>& lags, Families* families) {
  MetricFamily& committed =
      NewFamily(families, "ringtail_group_offset", "What a group has committed.", kGauge);
  for (const LagSnapshot& each : lags) {
    Add(&committed,
        {{"group", each.group}, {"topic", each.topic}, {"partition", absl::StrCat(each.partition)}},
        static_cast<double>(each.committed));
  }
  MetricFamily& lag = NewFamily(families, "ringtail_group_lag",
                                "Records from there to the high watermark.", kGauge);
  for (const LagSnapshot& each : lags) {
    if (each.lag < 0) continue;
    Add(&lag,
        {{"group", each.group}, {"topic", each.topic}, {"partition", absl::StrCat(each.partition)}},
        static_cast<double>(each.lag));
  }
}

double OpenDescriptors() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  double count = -3;  // ".", "..", and the directory itself
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

double ResidentBytes() {
  FILE* file = fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long total = 0, resident = 0;
  const bool read = fscanf(file, "%lu %lu", &total, &resident) == 2;
  fclose(file);
  return read ? static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) : 0;
}

double CpuSeconds() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / kMicrosPerSecond;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void AddProcess(const MetricsInput& input, Families* families) {
  Add(&NewFamily(families, "ringtail_build_info", "Always 1; its version is a label.", kGauge),
      {{"version", input.version}}, 1);
  AddSingle(families, "ringtail_ready", "1 while the broker serves.", kGauge, input.ready ? 1 : 0);
  AddSingle(families, "process_resident_memory_bytes", "Resident memory.", kGauge, ResidentBytes());
  AddSingle(families, "process_open_fds", "Open file descriptors.", kGauge, OpenDescriptors());
  AddSingle(families, "process_cpu_seconds_total", "User and system CPU time.", kCounter,
            CpuSeconds());
}

}  // namespace

std::string MetricsText(const MetricsInput& input) {
  Families families;
  AddProcess(input, &families);
  if (input.ready) {
    AddUp(input.cores, &families);
    AddCores(kServerMetrics, input.cores, &families);
    AddCores(kJournalMetrics, input.cores, &families);
    AddCores(kLogMetrics, input.cores, &families);
    AddCores(kLoopMetrics, input.cores, &families);
    AddDisk(input.cores, &families);
    AddPaths(input.cores, &families);
    AddTimes(input.cores, &families);
    AddPartitions(input.partitions, &families);
    AddSingle(&families, "ringtail_partitions_omitted",
              "Partitions that are too many for series of their own; /v1/partitions has them.",
              kGauge, static_cast<double>(input.partitions_omitted));
    AddLags(input.lags, &families);
    AddSingle(&families, "ringtail_group_lags_omitted",
              "Committed offsets that are too many for series of their own; /v1/groups has more.",
              kGauge, static_cast<double>(input.lags_omitted));
  }
  // A family without a series would be two comments about nothing.
  std::erase_if(families, [](const MetricFamily& family) { return family.metric.empty(); });
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace ringtail::server::admin
