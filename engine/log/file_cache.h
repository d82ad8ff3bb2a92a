// The files of a core's logs, opened when first needed and kept open within a budget of
// descriptors.
//
// A LogFile names one file and is held by its segment (FileRef). Whoever does I/O on it takes a
// FilePin, which keeps the descriptor open. Before another file is opened and there would be more
// than the budget, those without pins are closed, least recently used first. All on one core.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/io/backend.h"
#include "engine/task/intrusive_list.h"
#include "engine/task/sync.h"
#include "engine/task/task.h"

namespace ringtail::log {

class FileCache;
class FilePin;

class LogFile : public task::ListNode {
 public:
  const std::string& path() const { return path_; }
  bool is_open() const { return fd_ >= 0; }
  size_t pin_count() const { return pins_; }

 private:
  friend class FileCache;
  friend class FilePin;
  friend class FileRef;
  LogFile(FileCache& cache, std::string path) : cache_(cache), path_(std::move(path)) {}

  FileCache& cache_;
  std::string path_;
  int fd_ = -1;
  bool opening_ = false;
  size_t pins_ = 0;
  size_t references_ = 0;
  task::WaitList opened_;
};

// Keeps a LogFile alive (not open). When the last one goes, the descriptor is closed.
class FileRef {
 public:
  FileRef() = default;
  FileRef(const FileRef& other);
  FileRef(FileRef&& other) noexcept : file_(std::exchange(other.file_, nullptr)) {}
  FileRef& operator=(FileRef other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  ~FileRef();
  LogFile* get() const { return file_; }
  LogFile* operator->() const { return file_; }
  explicit operator bool() const { return file_ != nullptr; }

 private:
  friend class FileCache;
  friend class FilePin;
  explicit FileRef(LogFile* file);
  LogFile* file_ = nullptr;
};

// Keeps a LogFile open. Move-only.
class FilePin {
 public:
  FilePin() = default;
  FilePin(FilePin&& other) noexcept : file_(std::move(other.file_)) {}
  FilePin& operator=(FilePin&& other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  ~FilePin() { Release(); }
  void Release();
  int fd() const { return file_->fd_; }
  LogFile* file() const { return file_.get(); }
  explicit operator bool() const { return static_cast<bool>(file_); }

 private:
  friend class FileCache;
  explicit FilePin(FileRef file);
  FileRef file_;
};

struct FileCacheCounters {
  uint64_t opens = 0;
  uint64_t evictions = 0;
  uint64_t over_budget = 0;  // opens that found every open file in use
  uint64_t append_waits = 0;
};

class FileCache {
 public:
  FileCache(io::Backend& backend, size_t open_files_max);
  FileCache(const FileCache&) = delete;
  FileCache& operator=(const FileCache&) = delete;
  ~FileCache();  // all references are gone; does no I/O

  // Names a file; does no I/O.
  FileRef Add(std::string path);
  // The directory was renamed. Open descriptors stay.
  void SetPath(const FileRef& file, std::string path);

  // Empty where the file is not open.
  FilePin TryPin(const FileRef& file);
  // Opens the file for reading and writing if it is not open; with `create`, makes it.
  task::Task<absl::StatusOr<FilePin>> Pin(FileRef file, bool create = false);
  // The same for an append, of which any number may come at once: waits while as many files as the
  // budget has are in use or being closed. Whoever waits holds no pin, and what those who hold them
  // wait for (the journal, syncs) never waits here.
  task::Task<absl::StatusOr<FilePin>> PinToAppend(FileRef file, bool create);
  // Closes what is open and unpinned.
  task::Task<void> CloseIdle();

  size_t open_count() const { return open_count_; }
  size_t pinned_count() const { return open_count_ - idle_count_; }
  const FileCacheCounters& counters() const { return counters_; }

 private:
  friend class FilePin;
  friend class FileRef;
  void Unpinned(LogFile* file);
  void Forget(LogFile* file);
  // Outlives the cache where files are still being closed.
  struct Room {
    size_t closing = 0;
    task::WaitList changed;
  };
  bool HasRoom() const { return open_count_ + opening_count_ + room_->closing < open_files_max_; }
  bool EvictOne();
  void CloseSoon(int fd);
  static task::Task<void> Close(io::Backend& backend, int fd, std::shared_ptr<Room> room);

  io::Backend& backend_;
  size_t open_files_max_;
  size_t open_count_ = 0;
  size_t idle_count_ = 0;
  size_t opening_count_ = 0;
  FileCacheCounters counters_;
  std::shared_ptr<Room> room_ = std::make_shared<Room>();
  task::IntrusiveList<LogFile> idle_;  // least recently used first
};

}  // namespace ringtail::log
