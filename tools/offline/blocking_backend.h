// A backend for tools: files by plain system calls, done when Poll() is called; no ring, no
// sockets. What the engine's readers and writers of files are run with where no broker runs.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/io/backend.h"
#include "engine/task/scheduler.h"
#include "engine/task/task.h"

namespace ringtail::offline {

class BlockingBackend : public io::Backend {
 public:
  void Submit(io::Op* op) override { submitted_.push_back(op); }
  void SubmitLinked(io::Op* first, io::Op* second) override;
  void Cancel(io::Op*) override {}
  size_t Poll(base::Nanos deadline) override;
  size_t in_flight() const override { return submitted_.size(); }
  void ReleaseProvided(io::ProvidedBuffer) override {}
  size_t provided_buffer_bytes() const override { return 0; }
  void Wake(io::Backend&) override {}
  void WakeFromAnyThread() override {}

  base::Nanos Now() override;
  int64_t WallMillis() override;

  int64_t WriteInline(int fd, const iovec* vectors, int count, int64_t position) override;
  int64_t ReadNowait(int fd, const iovec* vectors, int count, int64_t position) override;
  int64_t ReadBlocking(int fd, void* data, size_t bytes, int64_t position) override;
  bool Resident(int, int64_t, int64_t) override { return false; }
  int Truncate(int fd, int64_t size_bytes) override;
  absl::StatusOr<io::FileInfo> Stat(int fd) override;
  absl::StatusOr<io::FileInfo> StatPath(const std::string& path) override;
  absl::StatusOr<std::vector<io::DirectoryEntry>> ListDirectory(const std::string& path) override;
  absl::StatusOr<io::DiskSpace> Space(const std::string& path) override;
  absl::StatusOr<const uint8_t*> Map(int fd, int64_t position, int64_t length) override;
  void Unmap(const uint8_t* data, int64_t length) override;

  absl::StatusOr<int> Listen(const std::string&, uint16_t, bool) override;
  absl::StatusOr<uint16_t> LocalPort(int) override;
  std::string PeerName(int) override { return "?"; }
  absl::StatusOr<int> StreamSocket(bool) override;
  void SetNoDelay(int) override {}
  void ShutdownSocket(int) override {}
  void EndSending(int) override {}
  void CloseInline(int fd) override;
  int64_t SendfileNowait(int, int, int64_t, int64_t) override;
  int64_t SendNowait(int, const iovec*, int, bool) override;
  int64_t UnacknowledgedBytes(int) override { return 0; }
  absl::StatusOr<std::pair<int, int>> Pipe(int64_t) override;

 private:
  std::vector<io::Op*> submitted_;
};

// Runs a task of the engine to its end, here and now.
template <class T>
T RunBlocking(BlockingBackend& backend, task::Task<T> work) {
  task::Scheduler scheduler;
  const task::Scheduler::Scope scope(scheduler);
  std::optional<T> result;
  task::Spawn("offline", [](task::Task<T> work, std::optional<T>* result) -> task::Task<void> {
    result->emplace(co_await std::move(work));
  }(std::move(work), &result));
  while (!result.has_value()) {
    scheduler.AdvanceTo(backend.Now());
    scheduler.RunReady(1000);
    backend.Poll(0);
  }
  // What it has spawned, to close files say, ends as well: its operations live in its frames.
  do {
    scheduler.RunReady(1000);
  } while (backend.Poll(0) > 0);
  return *std::move(result);
}

}  // namespace ringtail::offline
