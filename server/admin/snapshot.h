// What the admin pages show: copies of counters, taken on the cores and handed over by message, so
// that nothing here touches a core's state. The server implements SnapshotSource; the pages only
// print.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/histogram.h"
#include "engine/core/core.h"
#include "engine/io/backend.h"
#include "engine/io/sender.h"
#include "engine/log/journal/journal.h"
#include "engine/log/journal/journal_sync.h"
#include "engine/log/log_environment.h"
#include "engine/partition/compaction_counters.h"

namespace ringtail::server::admin {

struct BufferSnapshot {
  uint64_t kept_bytes = 0;
  uint64_t lent_bytes = 0;
  uint64_t takes = 0;
  uint64_t allocations = 0;
};

struct RequestSnapshot {
  uint64_t produce_requests = 0;
  uint64_t fetch_requests = 0;
  uint64_t fetch_waits = 0;
  uint64_t hops = 0;        // calls to a partition of another core
  uint64_t bytes_used = 0;  // of requests in flight
  uint64_t bytes_max = 0;
};

struct FetchSessionSnapshot {
  uint64_t sessions = 0;
  uint64_t partitions = 0;
  uint64_t bytes = 0;
  uint64_t created = 0;
  uint64_t evicted = 0;
  uint64_t refused = 0;
  uint64_t not_found = 0;
};

struct GroupTotals {
  uint64_t groups = 0;           // of both protocols
  uint64_t consumer_groups = 0;  // of them, of KIP-848's
  uint64_t members = 0;
  uint64_t bytes = 0;    // of both, and of committed offsets
  uint64_t loading = 0;  // partitions of __consumer_offsets that are being read
  uint64_t rebalances = 0;
  uint64_t members_expired = 0;
  uint64_t commits = 0;  // offsets
  uint64_t commit_failures = 0;
  uint64_t offsets_expired = 0;
};

struct ListenerSnapshot {
  uint64_t accepted = 0;
  uint64_t refused = 0;
  uint64_t accept_failures = 0;
  uint64_t connections = 0;  // open now
};

struct LatencySnapshot {
  std::string operation;      // "produce", "fetch", ...
  base::Histogram histogram;  // nanoseconds
};

struct JournalSnapshot {
  std::string state;  // "open", "stalled", "closed"
  std::string closed_reason;
  uint64_t used_bytes = 0;
  uint64_t capacity_bytes = 0;
  uint64_t held_bytes = 0;      // kept for closed partitions
  int64_t oldest_write_ns = 0;  // in flight for so long; 0: none is
  log::JournalMetrics frames;
  log::JournalReclaimMetrics reclaim;
};

// The file system of the data directory, as a core has last seen it.
struct DiskSnapshot {
  int64_t total_bytes = 0;
  int64_t available_bytes = 0;
  int64_t reserve_bytes = 0;
  bool low = false;  // appends are refused
};

struct CoreSnapshot {
  uint32_t core = 0;
  bool answered = false;  // false: nothing below is known; the core did not answer in time
  int32_t cpu = -1;       // the CPU it was given; -1: none
  uint64_t tasks = 0;     // suspended or ready
  uint64_t partitions = 0;
  uint64_t partitions_offline = 0;
  core::CoreCounters loop;
  io::BackendCounters backend;
  uint64_t operations_in_flight = 0;
  BufferSnapshot buffers;
  RequestSnapshot requests;
  FetchSessionSnapshot fetch_sessions;
  GroupTotals groups;
  ListenerSnapshot listener;
  io::SenderCounters sender;
  JournalSnapshot journal;
  uint64_t producers = 0;  // idempotent ones that are remembered
  uint64_t producers_evicted = 0;
  DiskSnapshot disk;
  // Of all its partitions.
  int64_t log_bytes = 0;
  int64_t index_bytes = 0;
  int64_t preallocated_bytes = 0;
  uint64_t retention_segments_by_time = 0;
  uint64_t retention_segments_by_bytes = 0;
  uint64_t retention_bytes = 0;
  partition::CompactionCounters compaction;
  log::LogCounters log;
  log::WriteTimes write_times;
  std::vector<LatencySnapshot> latencies;
};

struct PartitionSnapshot {
  std::string topic;
  int32_t partition = 0;
  uint32_t core = 0;
  std::string offline_reason;   // empty: it is served
  std::string refuses_appends;  // why, though it is served; empty: it takes them
  int64_t log_start = 0;
  int64_t high_watermark = 0;
  int64_t log_end = 0;
  int64_t log_bytes = 0;
  int64_t index_bytes = 0;
  int64_t preallocated_bytes = 0;
  uint64_t segments = 0;
  uint64_t producers = 0;
  uint64_t batches_in = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t produce_errors = 0;
};

struct CommittedSnapshot {
  std::string topic;
  int32_t partition = 0;
  int64_t offset = 0;
};

struct GroupSnapshot {
  std::string id;
  std::string type;  // "classic", "consumer"
  std::string protocol_type;
  std::string state;
  uint32_t core = 0;
  int32_t generation = 0;  // of a consumer group its epoch
  uint64_t members = 0;
  uint64_t offsets_omitted = 0;  // because there are too many
  std::vector<CommittedSnapshot> offsets;
};

struct ConnectionSnapshot {
  std::string peer;      // "host:port"
  std::string listener;  // "kafka", "native"
  std::string client_id;
  uint32_t core = 0;
  int64_t age_ms = 0;
  uint64_t requests = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t in_flight = 0;      // requests
  uint64_t bytes_charged = 0;  // their memory
};

struct TaskSnapshot {
  uint32_t core = 0;
  std::string text;  // as task::Scheduler::DumpTasks() writes it
};

// What the cores said, and which of them said nothing in time.
template <class T>
struct Answers {
  std::vector<T> items;
  std::vector<uint32_t> silent_cores;
};

// Called on the admin server's thread, one call at a time. Each call returns after `timeout_ms` at
// the latest, with what has come by then.
class SnapshotSource {
 public:
  virtual ~SnapshotSource() = default;
  // One for every core, by core; `answered` is false for the silent ones.
  virtual std::vector<CoreSnapshot> Cores(int64_t timeout_ms) = 0;
  virtual Answers<PartitionSnapshot> Partitions(int64_t timeout_ms) = 0;
  // With at most `offsets_max` offsets of each core.
  virtual Answers<GroupSnapshot> Groups(size_t offsets_max, int64_t timeout_ms) = 0;
  virtual Answers<ConnectionSnapshot> Connections(int64_t timeout_ms) = 0;
  virtual Answers<TaskSnapshot> Tasks(int64_t timeout_ms) = 0;
  // The configuration in force, as JSON. At once.
  virtual std::string ConfigJson() = 0;
  // Which cores have not come back to their loops for long, for people; empty: none. At once.
  virtual std::string StuckReason() = 0;
};

}  // namespace ringtail::server::admin
