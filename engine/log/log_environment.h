// What all logs of one core share: the backend, the open files, the choice of the write path and
// the counters. Made on its core, outlives the core's logs, used on that core's thread only.
#pragma once

#include <array>
#include <cstdint>

#include "engine/core/core.h"
#include "engine/io/backend.h"
#include "engine/log/disk_reserve.h"
#include "engine/log/file_cache.h"
#include "engine/log/log_options.h"
#include "engine/log/read_plan.h"
#include "engine/task/sync.h"

namespace ringtail::log {

struct LogCounters {
  uint64_t appends = 0;  // calls
  uint64_t append_batches = 0;
  uint64_t append_bytes = 0;
  uint64_t writes_inline = 0;
  uint64_t writes_ring = 0;
  uint64_t inline_pauses = 0;  // times that slow inline writes moved the core to the ring
  uint64_t write_failures = 0;
  uint64_t rolls = 0;
  uint64_t allocations = 0;  // preallocation steps
  uint64_t plans = 0;
  uint64_t plan_headers = 0;     // batch headers read to find where a plan starts or ends
  uint64_t plan_ring_reads = 0;  // reads of a plan that were not in the page cache
  uint64_t bypasses = 0;         // writes that were synced in place, not journaled
  uint64_t truncations = 0;
  uint64_t segments_removed = 0;
};

// Durations by powers of two: bucket i counts those below 2^i microseconds.
struct WriteTimes {
  std::array<uint64_t, 28> buckets{};
  uint64_t count = 0;
  uint64_t sum_us = 0;
  uint64_t max_us = 0;

  void Add(base::Nanos took_ns);
};

class CoreJournal;

class LogEnvironment {
 public:
  // `core` is null only in tests that run without one: pins must then be released on this thread.
  LogEnvironment(io::Backend& backend, const LogOptions& options, core::Core* core);
  // Before any log is opened; outlives them. Null: no journal, all logs are kPageCache.
  void set_journal(CoreJournal* journal) { journal_ = journal; }
  CoreJournal* journal() const { return journal_; }

  LogEnvironment(const LogEnvironment&) = delete;
  LogEnvironment& operator=(const LogEnvironment&) = delete;

  io::Backend& io() { return io_; }
  const LogOptions& options() const { return options_; }
  // From the next write on.
  void SetWritePath(WritePath path, int64_t inline_bytes_max) {
    options_.write_path = path;
    options_.inline_bytes_max = inline_bytes_max;
  }
  FileCache& files() { return files_; }
  PinTable& pins() { return pins_; }
  DiskReserve& reserve() { return reserve_; }
  const DiskReserve& reserve() const { return reserve_; }
  LogCounters& counters() { return counters_; }
  // From handing a write to the kernel to its completion.
  WriteTimes& write_times() { return write_times_; }

  // For each log that writes files behind its appends: many that begin to at once take turns, as
  // the files that they open are not of the cache.
  task::ByteSemaphore& background() { return background_; }

  // Whether a write of `bytes` goes through pwritev on this thread.
  bool WriteInline(int64_t bytes);
  // Tells how long an inline write of `bytes` took.
  void NoteInlineWrite(int64_t bytes, base::Nanos took_ns);

 private:
  static constexpr size_t kBackgroundAtOnce = 16;

  io::Backend& io_;
  LogOptions options_;
  LogCounters counters_;
  WriteTimes write_times_;
  FileCache files_;
  PinTable pins_;
  DiskReserve reserve_;
  task::ByteSemaphore background_{kBackgroundAtOnce};
  CoreJournal* journal_ = nullptr;
  base::Nanos slow_until_ = 0;  // an inline write was slow not long before
  base::Nanos pause_until_ = 0;
  base::Nanos pause_ns_ = 0;
};

}  // namespace ringtail::log
