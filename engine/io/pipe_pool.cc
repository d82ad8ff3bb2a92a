#include "engine/io/pipe_pool.h"

#include <utility>

namespace ringtail::io {

PipePool::Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      ends_(other.ends_),
      content_bytes_(other.content_bytes_) {}

PipePool::Lease::~Lease() {
  if (pool_ == nullptr) return;
  --pool_->out_;
  if (content_bytes_ == 0) {
    pool_->idle_.push_back(ends_);
  } else {
    pool_->Close(ends_);
  }
}

PipePool::~PipePool() {
  for (const Ends& ends : idle_) Close(ends);
}

PipePool::Lease PipePool::Take() {
  Lease lease;
  if (out_ >= pipes_max_) return lease;
  if (!idle_.empty()) {
    lease.ends_ = idle_.back();
    idle_.pop_back();
  } else {
    const absl::StatusOr<std::pair<int, int>> made = backend_.Pipe(pipe_bytes_);
    if (!made.ok()) return lease;
    lease.ends_ = {made->first, made->second, backend_.PipeCapacity(made->first)};
  }
  lease.pool_ = this;
  ++out_;
  return lease;
}

void PipePool::Close(const Ends& ends) {
  backend_.CloseInline(ends.read_end);
  backend_.CloseInline(ends.write_end);
}

}  // namespace ringtail::io
