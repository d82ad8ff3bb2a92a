// The ways to make 4 KiB of each of N files durable without a journal, and the least that a journal
// must write for it: what durable appends of many partitions are compared with. Also the paced
// direct write, which single durable records are compared with.
#pragma once

#include <atomic>
#include <barrier>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "perf/lib/os.h"
#include "perf/lib/rounds.h"

namespace ringtail::raw {

inline constexpr int64_t kDurableBytes = 4096;

// Files that grow by 4 KiB an operation, as logs do: on fresh pages, in space that was allocated
// before.
class GrowingFiles {
 public:
  // Room for `operations` in each of `count` files.
  GrowingFiles(const std::string& directory, const std::string& name, int count, int operations);
  ~GrowingFiles();
  GrowingFiles(const GrowingFiles&) = delete;
  GrowingFiles& operator=(const GrowingFiles&) = delete;

  // 4 KiB to each file's page cache; `sources` holds the bytes of each.
  void Write(const std::vector<const char*>& sources);
  // fdatasync of each, one after the other.
  void SyncOneByOne();
  // fdatasync of each, on eight threads.
  void SyncEightAtOnce();

 private:
  static constexpr int kThreads = 8;

  void SyncShare();
  void RunWorker();

  std::vector<perf::Fd> files_;
  int64_t position_ = 0;
  std::atomic<size_t> next_{0};
  std::atomic<bool> stopping_{false};
  std::barrier<> turn_{kThreads};  // at the start of a turn, and at its end
  std::vector<std::thread> threads_;
};

// A file that was written once, overwritten by O_DIRECT|RWF_DSYNC writes: what a journal's frame
// costs at least.
class DirectFile {
 public:
  explicit DirectFile(const std::string& directory);
  ~DirectFile();
  DirectFile(const DirectFile&) = delete;
  DirectFile& operator=(const DirectFile&) = delete;

  // The next `bytes`, a multiple of 4096 and at most 1 MiB.
  void Write(int64_t bytes);

 private:
  std::string path_;
  perf::Fd file_;
  perf::Buffer buffer_;
  int64_t position_ = 0;
};

// A process that overwrites 4 KiB with O_DIRECT|RWF_DSYNC, `writes` times, `rate_per_s` a second
// (one that took longer than its interval delays the next). Figures: p50_us, p99_us (of the write
// alone), cpu_us_per_request.
perf::Figures RunPacedDirectWrites(const std::string& directory, double rate_per_s, int64_t writes);

}  // namespace ringtail::raw
