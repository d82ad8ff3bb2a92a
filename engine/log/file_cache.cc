#include "engine/log/file_cache.h"

#include <fcntl.h>

#include "engine/base/check.h"
#include "engine/io/file.h"

namespace ringtail::log {

FileRef::FileRef(LogFile* file) : file_(file) {
  if (file_ != nullptr) ++file_->references_;
}

FileRef::FileRef(const FileRef& other) : FileRef(other.file_) {}

FileRef::~FileRef() {
  if (file_ == nullptr || --file_->references_ > 0) return;
  file_->cache_.Forget(file_);
}

FilePin::FilePin(FileRef file) : file_(std::move(file)) {
  LogFile* pinned = file_.get();
  if (pinned->pins_++ > 0 || !pinned->linked()) return;
  pinned->Unlink();
  --pinned->cache_.idle_count_;
}

void FilePin::Release() {
  if (!file_) return;
  LogFile* pinned = file_.get();
  RT_CHECK(pinned->pins_ > 0);
  if (--pinned->pins_ == 0) pinned->cache_.Unpinned(pinned);
  file_ = FileRef();
}

FileCache::FileCache(io::Backend& backend, size_t open_files_max)
    : backend_(backend), open_files_max_(open_files_max) {}

FileCache::~FileCache() = default;

FileRef FileCache::Add(std::string path) { return FileRef(new LogFile(*this, std::move(path))); }

void FileCache::SetPath(const FileRef& file, std::string path) { file->path_ = std::move(path); }

FilePin FileCache::TryPin(const FileRef& file) {
  if (file->fd_ < 0) return FilePin();
  return FilePin(file);
}

task::Task<absl::StatusOr<FilePin>> FileCache::Pin(FileRef file, bool create) {
  while (file->opening_) co_await file->opened_.Wait();
  if (file->fd_ >= 0) co_return FilePin(std::move(file));
  file->opening_ = true;
  ++opening_count_;
  while (open_count_ + opening_count_ > open_files_max_ && EvictOne()) {
  }
  const int flags = O_RDWR | (create ? O_CREAT : 0);
  absl::StatusOr<int> fd = co_await io::OpenFile(backend_, file->path_, flags);
  file->opening_ = false;
  --opening_count_;
  file->opened_.NotifyAll();
  if (!fd.ok()) {
    room_->changed.NotifyOne();
    co_return fd.status();
  }
  file->fd_ = *fd;
  ++open_count_;
  ++counters_.opens;
  FilePin pin(std::move(file));
  if (open_count_ > open_files_max_) ++counters_.over_budget;
  co_return pin;
}

task::Task<absl::StatusOr<FilePin>> FileCache::PinToAppend(FileRef file, bool create) {
  if (file->fd_ < 0 && !HasRoom()) {
    ++counters_.append_waits;
    while (file->fd_ < 0 && !HasRoom()) {
      EvictOne();
      co_await room_->changed.Wait();
    }
  }
  co_return co_await Pin(std::move(file), create);
}

task::Task<void> FileCache::CloseIdle() {
  while (LogFile* file = idle_.PopFront()) {
    --idle_count_;
    --open_count_;
    co_await io::CloseFile(backend_, std::exchange(file->fd_, -1));
  }
}

void FileCache::Unpinned(LogFile* file) {
  idle_.PushBack(*file);
  ++idle_count_;
  room_->changed.NotifyOne();
}

void FileCache::Forget(LogFile* file) {
  if (file->linked()) {
    file->Unlink();
    --idle_count_;
  }
  if (file->fd_ >= 0) {
    --open_count_;
    CloseSoon(file->fd_);
  }
  delete file;
}

// False: all that are open are in use.
bool FileCache::EvictOne() {
  LogFile* file = idle_.PopFront();
  if (file == nullptr) return false;
  --idle_count_;
  --open_count_;
  ++counters_.evictions;
  CloseSoon(std::exchange(file->fd_, -1));
  return true;
}

// Closing the last descriptor of an unlinked file frees its blocks, which may take long. Where the
// core is being torn down, its backend may be gone already: the process takes the descriptor with
// it.
void FileCache::CloseSoon(int fd) {
  if (!task::Scheduler::HasCurrent()) return;
  ++room_->closing;
  task::Spawn("close file", Close(backend_, fd, room_));
}

task::Task<void> FileCache::Close(io::Backend& backend, int fd, std::shared_ptr<Room> room) {
  co_await io::CloseFile(backend, fd);
  --room->closing;
  room->changed.NotifyOne();
}

}  // namespace ringtail::log
