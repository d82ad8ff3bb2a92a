// The files of a journal: made, zeroed, given their headers and their numbers ahead of need.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/journal/journal.h"
#include "engine/task/scheduler.h"

namespace ringtail::log {
namespace {

constexpr int kTransientErrorsMax = 16;
constexpr int64_t kBlock = kJournalBlockBytes;
constexpr base::Nanos kGrowRetryNanos = base::kNanosPerSecond;
constexpr int64_t kGrowPercent = 50;  // of the capacity in use: one more file, while allowed

bool IsTransient(int result) { return result == -EINTR || result == -EAGAIN; }
bool IsUnsupported(int result) { return result == -EINVAL || result == -EOPNOTSUPP; }

}  // namespace

// 0 or -errno. After a short write goes on from the last whole block; nothing written twice in a
// row, or no whole block for long, is a failure.
task::Task<int> Journal::WriteDurably(int fd, const uint8_t* data, size_t bytes, int64_t position) {
  const bool data_sync = options_.sync_mode == JournalSyncMode::kDataSync;
  size_t at = 0;
  int transient = 0;
  int nothing = 0;
  int tries = 0;
  while (at < bytes) {
    const iovec vector = {const_cast<uint8_t*>(data) + at, bytes - at};
    io::Op op;
    op.code = io::OpCode::kWrite;
    op.flags = data_sync ? io::kDataSync : 0;
    op.fd = fd;
    op.vectors = &vector;
    op.vector_count = 1;
    op.position = position + static_cast<int64_t>(at);
    const int result = co_await io::Run(io_, &op);
    if (IsTransient(result) && ++transient <= kTransientErrorsMax) continue;
    if (result < 0) co_return result;
    const size_t end = at + static_cast<size_t>(result);
    if (end < bytes) ++metrics_.short_writes;
    const size_t next = end >= bytes ? bytes : end / kJournalBlockBytes * kJournalBlockBytes;
    nothing = result == 0 ? nothing + 1 : 0;
    tries = next == at ? tries + 1 : 0;
    if (nothing >= 2 || tries >= kTransientErrorsMax) co_return -EIO;
    at = next;
  }
  if (data_sync) co_return 0;
  io::Op sync;
  sync.code = io::OpCode::kSync;
  sync.fd = fd;
  co_return co_await io::Run(io_, &sync);
}

task::Task<absl::StatusOr<int>> Journal::OpenDirect(std::string path, int flags) {
  io::Op op;
  op.code = io::OpCode::kOpen;
  op.path = path.c_str();
  op.mode = 0644;
  op.open_flags =
      flags | O_RDWR | (options_.sync_mode == JournalSyncMode::kDataSync ? O_DIRECT : 0);
  const int result = co_await io::Run(io_, &op);
  if (IsUnsupported(result) && options_.sync_mode == JournalSyncMode::kDataSync) {
    co_return absl::UnimplementedError(absl::StrCat("open ", path, ": no direct writes here"));
  }
  if (result < 0) co_return io::ErrnoStatus(-result, "open", path);
  co_return result;
}

// --- At start.

task::Task<absl::Status> Journal::OpenFiles() {
  absl::Status status = co_await OpenFilesOnce();
  if (absl::IsUnimplemented(status) && options_.sync_mode == JournalSyncMode::kDataSync) {
    RT_LOG(kWarn, "{}: {}; each frame is written, then synced (--journal_sync=fdatasync)",
           options_.directory, status.message());
    co_await CloseFiles();
    options_.sync_mode = JournalSyncMode::kFdatasync;
    options_.depth = 1;
    status = co_await OpenFilesOnce();
  }
  if (!status.ok()) {
    co_await CloseFiles();
    co_return status;
  }
  ZeroLater(ready_.front());
  PrepareLater();
  co_return absl::OkStatus();
}

task::Task<absl::Status> Journal::OpenFilesOnce() {
  RT_CO_RETURN_IF_ERROR(co_await io::MakeDirectory(io_, options_.directory));
  RT_CO_RETURN_IF_ERROR(co_await io::SyncDirectory(io_, io::ParentOf(options_.directory)));
  RT_CO_ASSIGN_OR_RETURN(const std::vector<io::DirectoryEntry> entries,
                         io_.ListDirectory(options_.directory));
  for (const io::DirectoryEntry& entry : entries) {
    uint32_t index = 0;
    if (entry.is_directory || !ParseJournalFileName(entry.name, &index)) continue;
    RT_CO_RETURN_IF_ERROR(co_await AdoptFile(entry.name, index));
  }
  if (free_.empty()) co_return co_await MakeFile();
  File* file = free_.back();
  free_.pop_back();
  const int result = co_await MakeReady(file);
  if (IsUnsupported(result)) {
    co_return absl::UnimplementedError(absl::StrCat(file->path, ": no RWF_DSYNC here"));
  }
  co_return result < 0 ? io::ErrnoStatus(-result, "write", file->path) : absl::OkStatus();
}

// A file of an earlier run: kept if it is held, used again if it fits, removed otherwise.
task::Task<absl::Status> Journal::AdoptFile(std::string name, uint32_t index) {
  const std::string path = absl::StrCat(options_.directory, "/", name);
  const bool is_held =
      std::any_of(options_.held.begin(), options_.held.end(),
                  [&path](const HeldJournalFile& held) { return held.path == path; });
  if (is_held) {
    taken_indexes_.push_back(index);
    co_return absl::OkStatus();
  }
  RT_CO_ASSIGN_OR_RETURN(const io::FileInfo info, io_.StatPath(path));
  const auto ring_bytes = static_cast<int64_t>(files_.size() + 1) * options_.file_bytes;
  if (info.size_bytes != options_.file_bytes ||
      (files_.size() >= options_.files_min && ring_bytes + held_bytes_ > options_.bytes_max)) {
    co_return co_await io::Unlink(io_, path);
  }
  RT_CO_ASSIGN_OR_RETURN(const int fd, co_await OpenDirect(path, 0));
  auto file = std::make_unique<File>();
  file->index = index;
  file->fd = fd;
  file->path = path;
  file->zeroed_to = options_.file_bytes;  // its blocks were written in an earlier run
  free_.push_back(file.get());
  files_.push_back(std::move(file));
  co_return absl::OkStatus();
}

task::Task<void> Journal::CloseFiles() {
  for (const std::unique_ptr<File>& file : files_) {
    if (file->fd >= 0) co_await io::CloseFile(io_, std::exchange(file->fd, -1));
  }
  for (const std::unique_ptr<File>& file : held_) {
    if (file->fd >= 0) co_await io::CloseFile(io_, std::exchange(file->fd, -1));
  }
  files_.clear();
  held_.clear();
  free_.clear();
  ready_.clear();
  live_.clear();
  taken_indexes_.clear();
  head_ = nullptr;
}

// --- Ahead of need.

// Gives the file the next number. 0 or -errno; what was in it is gone from then on.
task::Task<int> Journal::MakeReady(File* file) {
  RT_CHECK(file->number == 0 || file->number < durable_tail_);  // J3
  while (file->zeroing_to != 0) co_await prepare_changed_.Wait();
  uint8_t* block = zeros_ + options_.zero_chunk_bytes;
  JournalFileHeader header;
  header.run = options_.run;
  header.core = options_.core;
  header.file_number = next_number_++;
  header.file_bytes = static_cast<uint64_t>(options_.file_bytes);
  header.created_ms = static_cast<uint64_t>(io_.WallMillis());
  header.dir_id = options_.dir_id;
  EncodeJournalFileHeader(header, {block, kJournalBlockBytes});
  file->number = header.file_number;
  file->position = kBlock;
  const int result = co_await WriteDurably(file->fd, block, kJournalBlockBytes, 0);
  if (result < 0) {
    --next_number_;  // recovery takes a gap in the numbers for a file that is lost
    co_return result;
  }
  RT_CHECK(ready_.empty() || ready_.back()->number < file->number);
  ready_.push_back(file);
  co_return 0;
}

task::Task<absl::Status> Journal::MakeFile() {
  auto file = std::make_unique<File>();
  const auto taken = [this](uint32_t index) {
    const auto has = [index](const auto& other) { return other->index == index; };
    return std::any_of(files_.begin(), files_.end(), has) ||
           std::any_of(held_.begin(), held_.end(), has) ||
           std::find(taken_indexes_.begin(), taken_indexes_.end(), index) != taken_indexes_.end();
  };
  while (taken(file->index)) ++file->index;
  file->path = absl::StrCat(options_.directory, "/", JournalFileName(file->index));
  RT_CO_ASSIGN_OR_RETURN(file->fd, co_await OpenDirect(file->path, O_CREAT | O_TRUNC));
  const absl::Status status = co_await FillNewFile(file.get());
  if (!status.ok()) {
    co_await io::CloseFile(io_, file->fd);
    const absl::Status ignored = co_await io::Unlink(io_, file->path);
    static_cast<void>(ignored);  // what went wrong first is what is told
    co_return status;
  }
  ++metrics_.files_made;
  files_.push_back(std::move(file));
  co_return absl::OkStatus();
}

// Space, the first zeros, header, size and name: durable, then READY.
task::Task<absl::Status> Journal::FillNewFile(File* file) {
  RT_CO_RETURN_IF_ERROR(co_await io::Allocate(io_, file->fd, 0, options_.file_bytes, file->path));
  const int64_t chunk = std::min(options_.zero_chunk_bytes, options_.file_bytes - kBlock);
  RT_CO_RETURN_IF_ERROR(co_await ZeroChunk(file, kBlock, kBlock + chunk));
  file->zeroed_to = kBlock + chunk;
  io::Op sync;
  sync.code = io::OpCode::kSyncAll;
  sync.fd = file->fd;
  const int synced = co_await io::Run(io_, &sync);
  if (synced < 0) co_return io::ErrnoStatus(-synced, "sync", file->path);
  RT_CO_RETURN_IF_ERROR(co_await io::SyncDirectory(io_, options_.directory));
  const int result = co_await MakeReady(file);
  if (IsUnsupported(result)) {
    co_return absl::UnimplementedError(absl::StrCat(file->path, ": no RWF_DSYNC here"));
  }
  co_return result < 0 ? io::ErrnoStatus(-result, "write", file->path) : absl::OkStatus();
}

bool Journal::WantsFile() const {
  if (files_.size() < options_.files_min) return true;
  if (!ready_.empty() || !free_.empty()) return false;
  const auto grown = static_cast<int64_t>(files_.size() + 1) * options_.file_bytes;
  return used_bytes() * 100 >= capacity_bytes() * kGrowPercent &&
         grown + held_bytes_ <= options_.bytes_max &&
         (options_.reserve == nullptr || options_.reserve->HasSpareFor(options_.file_bytes));
}

void Journal::PrepareLater() {
  if (preparing_ || closed_ || stopping_ || (free_.empty() && !WantsFile())) return;
  preparing_ = true;
  background_.Add();
  task::Spawn("journal files", Prepare());
}

task::Task<void> Journal::Prepare() {
  while (!closed_ && !stopping_) {
    if (!free_.empty()) {
      File* file = free_.front();
      free_.erase(free_.begin());
      const int result = co_await MakeReady(file);
      if (result < 0) {
        Fail(io::ErrnoStatus(-result, "write the header of", file->path));
        break;
      }
      SpaceChanged();
      continue;
    }
    if (!WantsFile()) break;
    const absl::Status status = co_await MakeFile();
    if (status.ok()) {
      SpaceChanged();
      ZeroLater(ready_.empty() ? nullptr : ready_.back());
      continue;
    }
    RT_LOG_EVERY(60, kWarn, "journal {} cannot grow: {}", options_.directory, status.ToString());
    const base::Nanos retry = task::Scheduler::Current().now() + kGrowRetryNanos;
    while (!closed_ && !stopping_ && free_.empty()) {
      if (!co_await prepare_changed_.WaitUntil(retry)) break;
    }
  }
  preparing_ = false;
  background_.Done();
}

// --- Zeros, for speed only: a frame over written blocks is one write and one flush.

void Journal::ZeroLater(File* file) {
  if (file == nullptr || zeroing_ || closed_ || stopping_) return;
  zeroing_ = true;
  background_.Add();
  task::Spawn("journal zeros", ZeroAhead(file));
}

task::Task<void> Journal::ZeroAhead(File* file) {
  while (file != nullptr && !closed_ && !stopping_) {
    // Well ahead of the head, so that frames seldom wait for it.
    int64_t from = file->zeroed_to;
    if (file == head_) {
      from = std::max(from, file->position + static_cast<int64_t>(kFrameBytesMax));
    }
    const int64_t to = std::min(from + options_.zero_chunk_bytes, options_.file_bytes);
    const bool is_used_up =
        file != head_ && std::find(ready_.begin(), ready_.end(), file) == ready_.end();
    if (from >= to || is_used_up) {
      file->zeroed_to = options_.file_bytes;
      const auto next = std::find_if(ready_.begin(), ready_.end(), [this](const File* other) {
        return other->zeroed_to < options_.file_bytes;
      });
      file = next == ready_.end() ? nullptr : *next;
      continue;
    }
    RT_CHECK(from >= file->position);  // J3
    file->zeroing_from = from;
    file->zeroing_to = to;
    const absl::Status status = co_await ZeroChunk(file, from, to);
    file->zeroing_from = file->zeroing_to = 0;
    file->zeroed_to = status.ok() ? to : options_.file_bytes;
    if (!status.ok()) RT_LOG(kWarn, "{}; frames there take longer", status.ToString());
    prepare_changed_.NotifyAll();
    if (filling_ != nullptr && !filling_->builder.empty()) FlushLater();
  }
  zeroing_ = false;
  background_.Done();
}

task::Task<absl::Status> Journal::ZeroChunk(File* file, int64_t from, int64_t to) {
  iovec vector = {zeros_, static_cast<size_t>(to - from)};
  const int64_t result = co_await io::WriteFully(io_, file->fd, &vector, 1, from, 0);
  if (result < 0) co_return io::ErrnoStatus(static_cast<int>(-result), "zero", file->path);
  if (result != to - from) co_return io::ErrnoStatus(ENOSPC, "zero", file->path);
  co_return absl::OkStatus();
}

}  // namespace ringtail::log
