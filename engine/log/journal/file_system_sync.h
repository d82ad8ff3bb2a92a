// syncfs for all cores of a process: one thread, which sleeps while nobody asks. What is asked
// before a pass begins shares that pass; what is asked during one waits for the next, as a pass
// only covers what was written before it. Started and stopped by the control thread; Sync() on any
// core.
//
// A core hears of the end through an eventfd that its ring polls, one a request: the request
// belongs to both sides, so that a task which is dropped while it waits leaves nothing behind.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/log/journal/journal_sync.h"
#include "engine/task/task.h"

namespace ringtail::log {

class SyncThread : public FileSystemSync {
 public:
  // Of the file system that holds `directory`. Errors: it cannot be opened, no descriptors.
  static absl::StatusOr<std::unique_ptr<SyncThread>> Start(const std::string& directory);
  ~SyncThread() override;
  SyncThread(const SyncThread&) = delete;
  SyncThread& operator=(const SyncThread&) = delete;

  // Below the bound is what the kernel has to write in all (Dirty and Writeback of /proc/meminfo):
  // other programs' data on the file system is written by syncfs as well. False where the kernel is
  // older than 5.8, the figures cannot be read, or after Stop().
  bool available(int64_t unsynced_bytes_max) const override;
  // Ok: all that was written to the file system before the call is with the device, which may still
  // hold it in its cache. Cancelled: Stop() came first.
  task::Task<absl::Status> Sync() override;

  // Waits for the pass in progress and answers what else was asked with Cancelled.
  void Stop();

  uint64_t passes() const { return passes_.load(std::memory_order_relaxed); }

 private:
  struct Request;
  struct Answer;

  SyncThread(std::string directory, int directory_fd, int wake_fd, int meminfo_fd, bool supported);
  void Run();
  Request* Take() { return asked_.exchange(nullptr, std::memory_order_acq_rel); }
  static void AnswerAll(Request* first, int result);

  const std::string directory_;
  const int directory_fd_;
  const int wake_fd_;
  const int meminfo_fd_;
  const bool supported_;
  std::atomic<Request*> asked_{nullptr};  // the last one first
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> passes_{0};
  std::thread thread_;
};

// Bytes of Dirty and Writeback in the text of /proc/meminfo; nullopt where one is missing.
std::optional<int64_t> UnsyncedBytes(absl::string_view meminfo);
// Whether a kernel release ("6.1.0-13-amd64") is 5.8 or later: before, syncfs hid write errors.
bool SyncfsTellsErrors(absl::string_view release);

}  // namespace ringtail::log
