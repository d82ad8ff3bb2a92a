#include "engine/io/cold_reader.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/io/file.h"
#include "engine/task/scheduler.h"

namespace ringtail::io {
namespace {

constexpr int64_t kPageBytes = 4096;  // O_DIRECT asks for no more on any device in use
constexpr size_t kLargePageBytes = 2 << 20;
constexpr base::Nanos kKeepUnused = base::kNanosPerSecond;

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

class ColdReader::Memory : private task::Timer {
 public:
  Memory(size_t slot_bytes, size_t slots) : Timer(&Fire), slot_bytes_(slot_bytes), slots_(slots) {}
  ~Memory() {
    if (base_ != nullptr) munmap(base_, mapped_bytes());
  }

  uint8_t* Take() {
    if (base_ == nullptr) Map();
    RT_CHECK(!free_.empty());
    uint8_t* slot = free_.back();
    free_.pop_back();
    return slot;
  }
  // The last one that was used is the next: only as much is touched as is used at once.
  void Return(uint8_t* slot) {
    free_.push_back(slot);
    if (free_.size() < slots_ || !task::Scheduler::HasCurrent()) return;
    task::Scheduler& scheduler = task::Scheduler::Current();
    Arm(scheduler, scheduler.now() + kKeepUnused);
  }

 private:
  size_t mapped_bytes() const { return RoundUp(slot_bytes_ * slots_, kLargePageBytes); }
  void Map() {
    // Aligned by hand: the ends of a larger mapping go back at once.
    const size_t bytes = mapped_bytes();
    void* all = mmap(nullptr, bytes + kLargePageBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    RT_CHECK(all != MAP_FAILED);
    auto* begin = static_cast<uint8_t*>(all);
    base_ = begin + RoundUp(reinterpret_cast<uintptr_t>(begin), kLargePageBytes) -
            reinterpret_cast<uintptr_t>(begin);
    const auto before = static_cast<size_t>(base_ - begin);
    if (before > 0) munmap(begin, before);
    munmap(base_ + bytes, kLargePageBytes - before);
    madvise(base_, bytes, MADV_HUGEPAGE);  // small ones serve, too
    for (size_t i = slots_; i > 0; --i) free_.push_back(base_ + (i - 1) * slot_bytes_);
  }
  static void Fire(task::Timer* timer) {
    auto* self = static_cast<Memory*>(timer);
    if (self->base_ == nullptr || self->free_.size() < self->slots_) return;
    munmap(std::exchange(self->base_, nullptr), self->mapped_bytes());
    self->free_.clear();
  }

  const size_t slot_bytes_;
  const size_t slots_;
  uint8_t* base_ = nullptr;
  std::vector<uint8_t*> free_;
};

ColdReader::ColdReader(Backend& backend, const ColdReadOptions& options, ColdReadCounters& counters)
    : backend_(backend),
      options_(options),
      turns_(options.reads_at_once),
      memory_(
          static_cast<size_t>(std::max<int64_t>(options.memory_bytes / options.piece_bytes, 1))),
      slots_(
          std::make_unique<Memory>(static_cast<size_t>(options.piece_bytes), memory_.capacity())),
      counters_(counters) {
  RT_CHECK(options.piece_bytes >= kPageBytes && options.piece_bytes % kPageBytes == 0);
  RT_CHECK(options.reads_at_once > 0);
}

ColdReader::~ColdReader() = default;

// By its descriptor, which works for files that have been renamed or unlinked as well.
task::Task<ColdReader::File> ColdReader::Open(int fd) {
  const absl::StatusOr<int> direct =
      co_await OpenFile(backend_, absl::StrCat("/proc/self/fd/", fd), O_RDONLY | O_DIRECT);
  if (!direct.ok()) backend_.NoReadAhead(fd);
  co_return File{fd, direct.value_or(-1)};
}

task::Task<void> ColdReader::Close(File file) {
  if (file.direct >= 0) co_await CloseFile(backend_, file.direct);
}

class ColdReader::Piece::Done {
 public:
  explicit Done(Piece& piece) : piece_(piece) {}
  bool await_ready() const { return piece_.done_; }
  void await_suspend(std::coroutine_handle<> waiter) { piece_.waiting_ = waiter; }
  void await_resume() const {}

 private:
  Piece& piece_;
};

// Whole pages around what is wanted. A piece ends where a page does, so that the next one does not
// read its last page again.
void ColdReader::Piece::Prepare(const File& file, int64_t position, int64_t bytes) {
  RT_CHECK(!begun_ && bytes > 0);
  const int64_t begin = position / kPageBytes * kPageBytes;
  const int64_t end = std::min(position + bytes, begin + reader_.options_.piece_bytes);
  file_ = file;
  wanted_at_ = position;
  wanted_bytes_ = end - position;
  code = OpCode::kRead;
  fd = file.direct >= 0 ? file.direct : file.fd;
  flags = kDontCache;
  Op::position = begin;
  vector_.iov_len = RoundUp(static_cast<size_t>(end - begin), kPageBytes);
  vectors = &vector_;
  vector_count = 1;
  on_complete = &Completed;
}

void ColdReader::Piece::Submit() {
  vector_.iov_base = slot_;
  begun_ = true;
  done_ = false;
  ++reader_.counters_.reads;
  if (fd == file_.direct) ++reader_.counters_.direct;
  reader_.backend_.Submit(this);
}

// Its turn is over even while nobody looks at it, as a slow peer has its sender waiting.
void ColdReader::Piece::Completed(Op* op) {
  auto* self = static_cast<Piece*>(op);
  self->done_ = true;
  self->reader_.turns_.Release(1);
  if (self->waiting_) task::Scheduler::Current().Ready(std::exchange(self->waiting_, nullptr));
}

task::Task<void> ColdReader::Piece::Reserve() {
  RT_CHECK(slot_ == nullptr);
  size_t taken;
  if (!reader_.memory_.TryAcquire(1, &taken)) {
    ++reader_.counters_.waits;
    ++reader_.waiting_for_memory_;
    co_await reader_.memory_.Acquire(1);
    --reader_.waiting_for_memory_;
  }
  slot_ = reader_.slots_->Take();
}

task::Task<void> ColdReader::Piece::Begin(const File& file, int64_t position, int64_t bytes) {
  RT_CHECK(slot_ != nullptr);
  Prepare(file, position, bytes);
  size_t taken;
  if (!reader_.turns_.TryAcquire(1, &taken)) {
    ++reader_.counters_.waits;
    co_await reader_.turns_.Acquire(1);
  }
  Submit();
}

bool ColdReader::Piece::TryBegin(const File& file, int64_t position, int64_t bytes) {
  Prepare(file, position, bytes);
  size_t taken;
  if (!reader_.memory_.TryAcquire(1, &taken)) return false;
  slot_ = reader_.slots_->Take();
  if (!reader_.turns_.TryAcquire(1, &taken)) {
    Drop();
    return false;
  }
  ++reader_.counters_.ahead;
  Submit();
  return true;
}

task::Task<int64_t> ColdReader::Piece::Finish() {
  co_await Done(*this);
  while (result == -EINTR || result == -EAGAIN || (result == -EINVAL && fd == file_.direct)) {
    if (result == -EINVAL) fd = file_.fd;  // opened, but it does not serve: as on some FUSE
    co_await reader_.turns_.Acquire(1);
    Submit();
    co_await Done(*this);
  }
  begun_ = false;
  // Older kernels put it into the page cache all the same.
  if (result > 0 && fd != file_.direct && !reader_.backend_.features().dont_cache) {
    Op drop;
    drop.code = OpCode::kDropCache;
    drop.fd = fd;
    drop.position = Op::position;
    drop.length = result;
    co_await Run(reader_.backend_, &drop);  // at the worst it stays
  }
  const int64_t before = wanted_at_ - Op::position;
  const int64_t read = result < 0 ? result : std::clamp<int64_t>(result - before, 0, wanted_bytes_);
  if (read > 0) {
    bytes_ = {slot_ + before, static_cast<size_t>(read)};
  } else {
    Drop();
  }
  co_return read;
}

void ColdReader::Piece::Drop() {
  bytes_ = {};
  if (slot_ == nullptr) return;
  reader_.slots_->Return(std::exchange(slot_, nullptr));
  reader_.memory_.Release(1);
}

}  // namespace ringtail::io
