#include "engine/log/journal/file_system_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <climits>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/core/core.h"
#include "engine/io/file.h"

namespace ringtail::log {
namespace {

constexpr int kPending = INT_MIN;

void Signal(int event_fd) {
  const uint64_t one = 1;
  // Fails only where 2^64 - 2 signals were not taken.
  [[maybe_unused]] const ssize_t written = write(event_fd, &one, sizeof(one));
}

std::optional<int64_t> Field(absl::string_view text, absl::string_view name) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.substr(0, name.size()) != name) continue;
    line.remove_prefix(name.size());
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t kib = 0;
    if (words.size() == 2 && words[1] == "kB" && absl::SimpleAtoi(words[0], &kib) && kib >= 0 &&
        kib <= (INT64_MAX >> 11)) {
      return kib * 1024;
    }
  }
  return std::nullopt;
}

}  // namespace

// Of the waiting task and of the thread; goes with the last of them.
struct SyncThread::Request {
  explicit Request(int fd) : event_fd(fd) {}
  ~Request() { close(event_fd); }
  void Release() {
    if (owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  const int event_fd;
  std::atomic<int> owners{2};
  std::atomic<int> result{kPending};  // 0 or -errno
  Request* next = nullptr;
};

struct SyncThread::Answer {
  explicit Answer(Request* asked) : request(asked) {}
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  ~Answer() { request->Release(); }
  Request* request;
};

std::optional<int64_t> UnsyncedBytes(absl::string_view meminfo) {
  const auto dirty = Field(meminfo, "Dirty:");
  const auto writeback = Field(meminfo, "Writeback:");
  if (!dirty || !writeback) return std::nullopt;
  return *dirty + *writeback;
}

bool SyncfsTellsErrors(absl::string_view release) {
  const std::vector<absl::string_view> parts = absl::StrSplit(release, absl::ByAnyChar(".-+"));
  int major = 0;
  int minor = 0;
  if (parts.size() < 2 || !absl::SimpleAtoi(parts[0], &major) ||
      !absl::SimpleAtoi(parts[1], &minor)) {
    return false;
  }
  return major > 5 || (major == 5 && minor >= 8);
}

absl::StatusOr<std::unique_ptr<SyncThread>> SyncThread::Start(const std::string& directory) {
  // Opened once: an error since then is told, whoever else may have been told.
  const int directory_fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory_fd < 0) return io::ErrnoStatus(errno, "open", directory);
  const int wake_fd = eventfd(0, EFD_CLOEXEC);
  if (wake_fd < 0) {
    const int error = errno;
    close(directory_fd);
    return io::ErrnoStatus(error, "eventfd", directory);
  }
  utsname kernel = {};
  const bool supported = uname(&kernel) == 0 && SyncfsTellsErrors(kernel.release);
  const int meminfo_fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
  std::unique_ptr<SyncThread> made(
      new SyncThread(directory, directory_fd, wake_fd, meminfo_fd, supported));
  SyncThread* self = made.get();
  made->thread_ = std::thread([self] { self->Run(); });
  return made;
}

SyncThread::SyncThread(std::string directory, int directory_fd, int wake_fd, int meminfo_fd,
                       bool supported)
    : directory_(std::move(directory)),
      directory_fd_(directory_fd),
      wake_fd_(wake_fd),
      meminfo_fd_(meminfo_fd),
      supported_(supported) {}

SyncThread::~SyncThread() {
  Stop();
  AnswerAll(Take(), -ECANCELED);
  if (meminfo_fd_ >= 0) close(meminfo_fd_);
  close(wake_fd_);
  close(directory_fd_);
}

void SyncThread::Stop() {
  stopping_.store(true, std::memory_order_seq_cst);
  Signal(wake_fd_);
  if (thread_.joinable()) thread_.join();
}

bool SyncThread::available(int64_t unsynced_bytes_max) const {
  if (!supported_ || stopping_.load(std::memory_order_acquire)) return false;
  char text[4096];
  const ssize_t bytes = meminfo_fd_ < 0 ? -1 : pread(meminfo_fd_, text, sizeof(text), 0);
  if (bytes <= 0) return false;
  const auto unsynced = UnsyncedBytes({text, static_cast<size_t>(bytes)});
  return unsynced.has_value() && *unsynced < unsynced_bytes_max;
}

task::Task<absl::Status> SyncThread::Sync() {
  const int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_fd < 0) co_return io::ErrnoStatus(errno, "eventfd", directory_);
  Answer answer(new Request(event_fd));
  Request* const request = answer.request;
  request->next = asked_.load(std::memory_order_relaxed);
  while (!asked_.compare_exchange_weak(request->next, request, std::memory_order_seq_cst)) {
  }
  // Either the thread's last look at `asked_` sees the request, or this sees that it is leaving.
  if (stopping_.load(std::memory_order_seq_cst)) AnswerAll(Take(), -ECANCELED);
  Signal(wake_fd_);

  io::Op wait;
  wait.code = io::OpCode::kPoll;
  wait.fd = event_fd;
  wait.poll_events = POLLIN;
  const int32_t polled = co_await io::OpAwaiter(core::Core::Current().io(), wait);
  const int result = request->result.load(std::memory_order_acquire);
  if (result == 0) co_return absl::OkStatus();
  if (result == kPending) {
    co_return io::ErrnoStatus(polled < 0 ? -polled : EIO, "wait for syncfs of", directory_);
  }
  if (result == -ECANCELED) {
    co_return absl::CancelledError(absl::StrCat("syncfs ", directory_, ": the broker stops"));
  }
  co_return io::ErrnoStatus(-result, "syncfs", directory_);
}

void SyncThread::AnswerAll(Request* first, int result) {
  while (first != nullptr) {
    Request* const request = std::exchange(first, first->next);
    request->result.store(result, std::memory_order_release);
    Signal(request->event_fd);
    request->Release();
  }
}

void SyncThread::Run() {
  while (!stopping_.load(std::memory_order_seq_cst)) {
    uint64_t signals = 0;
    if (read(wake_fd_, &signals, sizeof(signals)) < 0 && errno != EINTR) break;
    if (stopping_.load(std::memory_order_seq_cst)) break;
    Request* const batch = Take();
    if (batch == nullptr) continue;
    passes_.fetch_add(1, std::memory_order_relaxed);
    AnswerAll(batch, syncfs(directory_fd_) == 0 ? 0 : -errno);
  }
  AnswerAll(Take(), -ECANCELED);
}

}  // namespace ringtail::log
