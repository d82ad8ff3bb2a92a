#include "engine/io/uring_backend.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/io/uring_abi.h"
#include "engine/task/scheduler.h"

namespace ringtail::io {
namespace {

// What a completion is for, in the low bits of its user data; an Op is at least 8-byte aligned.
enum Tag : uint64_t {
  kTagOp = 0,
  kTagWakeArrived = 1,  // MSG_RING from another core
  kTagWakeFailed = 2,   // our own MSG_RING; the bits above are the target's eventfd
  kTagWakeRead = 3,     // the read of our eventfd
  kTagIgnored = 4,      // a cancel that found nothing
};
constexpr uint64_t kTagMask = 7;

// Op::backend_state
constexpr uint64_t kStateUncached = 1;  // RWF_DONTCACHE is set: retried without where refused

// Some operations take a 32-bit length, 0 meaning "to the end of the file": used where it is
// longer.
uint32_t LengthOrToEnd(int64_t length) {
  return length > std::numeric_limits<uint32_t>::max() ? 0 : static_cast<uint32_t>(length);
}

void SignalEvent(int event) {
  const uint64_t one = 1;
  while (write(event, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> UringBackend::Create(const UringOptions& options) {
  std::unique_ptr<UringBackend> backend(new UringBackend());
  RT_RETURN_IF_ERROR(backend->SetUp(options));
  return std::unique_ptr<Backend>(std::move(backend));
}

absl::Status UringBackend::SetUp(const UringOptions& options) {
  RT_RETURN_IF_ERROR(SetUpRing(options, &ring_));
  ring_made_ = true;
  // A sendfile or splice to a closed connection has no MSG_NOSIGNAL.
  struct sigaction action = {};
  if (sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, nullptr);
  }
  RT_RETURN_IF_ERROR(ProbeFeatures(options, &ring_, &features_));
  LimitWorkers(options.workers);
  if (options.provided_buffers > 0) {
    RT_RETURN_IF_ERROR(
        provided_.SetUp(options.provided_buffers, options.provided_buffer_bytes, &ring_));
  }
  // Blocking, or the ring's read of it would end with EAGAIN instead of waiting.
  wake_event_ = eventfd(0, EFD_CLOEXEC);
  if (wake_event_ < 0) return absl::UnavailableError(absl::StrCat("eventfd: ", strerror(errno)));
  completed_.reserve(options.completion_entries);
  StageWakeRead();
  return absl::OkStatus();
}

UringBackend::~UringBackend() {
  if (ring_made_) io_uring_queue_exit(&ring_);
  if (wake_event_ >= 0) close(wake_event_);
}

io_uring_sqe* UringBackend::TakeEntry() {
  ReserveEntries(1);
  return io_uring_get_sqe(&ring_);
}

void UringBackend::ReserveEntries(unsigned count) {
  while (io_uring_sq_space_left(&ring_) < count) {
    const int submitted = io_uring_submit(&ring_);
    if (submitted > 0) continue;
    // The kernel is out of memory, or its list of completions that did not fit is full. Make room;
    // what is collected here is dispatched by the next Poll().
    RT_CHECK(submitted == 0 || submitted == -EBUSY || submitted == -EAGAIN || submitted == -EINTR);
    Reap();
    sched_yield();
  }
}

void UringBackend::Submit(Op* op) {
  op->backend_state = 0;
  ++in_flight_;
  ++counters_.submitted;
  Prepare(TakeEntry(), op);
}

void UringBackend::SubmitLinked(Op* first, Op* second) {
  ReserveEntries(2);
  in_flight_ += 2;
  counters_.submitted += 2;
  first->backend_state = second->backend_state = 0;
  // A short send breaks the link only with MSG_WAITALL; short reads, writes and splices always do.
  if (first->code == OpCode::kSend || first->code == OpCode::kReceive) first->flags |= kWaitAll;
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  Prepare(entry, first);
  entry->flags |= IOSQE_IO_LINK;
  Prepare(io_uring_get_sqe(&ring_), second);
}

void UringBackend::Cancel(Op* op) {
  io_uring_sqe* entry = TakeEntry();
  io_uring_prep_cancel(entry, op, 0);
  entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(entry, kTagIgnored);
}

void UringBackend::Prepare(io_uring_sqe* entry, Op* op) {
  switch (op->code) {
    case OpCode::kNop:
      io_uring_prep_nop(entry);
      break;
    case OpCode::kAccept:
    case OpCode::kConnect:
    case OpCode::kReceive:
    case OpCode::kReceiveProvided:
    case OpCode::kSend:
    case OpCode::kPoll:
    case OpCode::kSplice:
      PrepareSocket(entry, op);
      break;
    default:
      PrepareFile(entry, op);
      break;
  }
  io_uring_sqe_set_data64(entry, reinterpret_cast<uint64_t>(op) | kTagOp);
}

void UringBackend::PrepareFile(io_uring_sqe* entry, Op* op) {
  const auto position = static_cast<uint64_t>(op->position);
  int rw_flags = (op->flags & kDataSync) != 0 ? abi::kRwfDsync : 0;
  if ((op->flags & kDontCache) != 0 && features_.dont_cache) {
    rw_flags |= abi::kRwfDontCache;
    op->backend_state = kStateUncached;
  }
  switch (op->code) {
    case OpCode::kRead:
      if (op->vector_count == 1) {
        io_uring_prep_read(entry, op->fd, op->vectors->iov_base,
                           static_cast<unsigned>(op->vectors->iov_len), position);
        entry->rw_flags = rw_flags;
      } else {
        io_uring_prep_readv2(entry, op->fd, op->vectors, op->vector_count, position, rw_flags);
      }
      break;
    case OpCode::kWrite:
      if (op->vector_count == 1) {
        io_uring_prep_write(entry, op->fd, op->vectors->iov_base,
                            static_cast<unsigned>(op->vectors->iov_len), position);
        entry->rw_flags = rw_flags;
      } else {
        io_uring_prep_writev2(entry, op->fd, op->vectors, op->vector_count, position, rw_flags);
      }
      break;
    case OpCode::kSync:
      io_uring_prep_fsync(entry, op->fd, IORING_FSYNC_DATASYNC);
      break;
    case OpCode::kSyncAll:
      io_uring_prep_fsync(entry, op->fd, 0);
      break;
    case OpCode::kWriteback:
      io_uring_prep_sync_file_range(entry, op->fd, LengthOrToEnd(op->length), position,
                                    SYNC_FILE_RANGE_WRITE);
      break;
    case OpCode::kAllocate:
      io_uring_prep_fallocate(entry, op->fd, 0, op->position, op->length);
      break;
    case OpCode::kDropCache:
      io_uring_prep_fadvise(entry, op->fd, position, static_cast<off_t>(LengthOrToEnd(op->length)),
                            POSIX_FADV_DONTNEED);
      break;
    case OpCode::kOpen:
      io_uring_prep_openat(entry, AT_FDCWD, op->path, op->open_flags | O_CLOEXEC, op->mode);
      break;
    case OpCode::kClose:
      io_uring_prep_close(entry, op->fd);
      break;
    case OpCode::kUnlink:
      io_uring_prep_unlinkat(entry, AT_FDCWD, op->path, 0);
      break;
    case OpCode::kRemoveDirectory:
      io_uring_prep_unlinkat(entry, AT_FDCWD, op->path, AT_REMOVEDIR);
      break;
    case OpCode::kRename:
      io_uring_prep_renameat(entry, AT_FDCWD, op->path, AT_FDCWD, op->path2, 0);
      break;
    case OpCode::kMakeDirectory:
      io_uring_prep_mkdirat(entry, AT_FDCWD, op->path, op->mode);
      break;
    default:
      RT_CHECK(false && "unknown operation");
  }
}

void UringBackend::PrepareSocket(io_uring_sqe* entry, Op* op) {
  switch (op->code) {
    case OpCode::kAccept:
      io_uring_prep_accept(entry, op->fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      break;
    case OpCode::kConnect:
      io_uring_prep_connect(entry, op->fd, reinterpret_cast<sockaddr*>(op->address),
                            op->address_length);
      break;
    case OpCode::kReceive:
      io_uring_prep_recv(entry, op->fd, op->vectors->iov_base, op->vectors->iov_len,
                         (op->flags & kWaitAll) != 0 ? MSG_WAITALL : 0);
      break;
    case OpCode::kReceiveProvided:
      io_uring_prep_recv(entry, op->fd, nullptr, 0, 0);
      entry->flags |= IOSQE_BUFFER_SELECT;
      entry->buf_group = ProvidedRing::kGroup;
      break;
    case OpCode::kSend:
      PrepareSend(entry, op);
      break;
    case OpCode::kPoll:
      io_uring_prep_poll_add(entry, op->fd, op->poll_events);
      break;
    case OpCode::kSplice:
      io_uring_prep_splice(entry, op->fd, op->position, op->fd2, op->position2,
                           static_cast<unsigned>(std::min<int64_t>(op->length, 1 << 30)),
                           (op->flags & kMore) != 0 ? SPLICE_F_MORE : 0);
      break;
    default:
      RT_CHECK(false && "unknown operation");
  }
}

void UringBackend::PrepareSend(io_uring_sqe* entry, Op* op) {
  int flags = MSG_NOSIGNAL;
  if ((op->flags & kMore) != 0) flags |= MSG_MORE;
  if ((op->flags & kWaitAll) != 0) flags |= MSG_WAITALL;
  const bool zero_copy = (op->flags & kZeroCopy) != 0 && features_.send_zero_copy;
  if (op->vector_count == 1) {
    if (zero_copy) {
      io_uring_prep_send_zc(entry, op->fd, op->vectors->iov_base, op->vectors->iov_len, flags, 0);
    } else {
      io_uring_prep_send(entry, op->fd, op->vectors->iov_base, op->vectors->iov_len, flags);
    }
    return;
  }
  op->message = {};
  op->message.msg_iov = const_cast<iovec*>(op->vectors);
  op->message.msg_iovlen = op->vector_count;
  if (zero_copy) {
    io_uring_prep_sendmsg_zc(entry, op->fd, &op->message, static_cast<unsigned>(flags));
  } else {
    io_uring_prep_sendmsg(entry, op->fd, &op->message, static_cast<unsigned>(flags));
  }
}

bool UringBackend::KernelFlagged() const {
  return (IO_URING_READ_ONCE(*ring_.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

size_t UringBackend::Poll(base::Nanos deadline) {
  ++counters_.polls;
  const bool may_wait = completed_.empty() && io_uring_cq_ready(&ring_) == 0 && deadline > Now();
  int result = 0;
  if (may_wait) {
    ++counters_.waits;
    result = EnterWaiting(deadline);
  } else if (io_uring_sq_ready(&ring_) > 0) {
    // The kernel's own thread, where there is one, needs no call unless it sleeps.
    const bool kernel_submits = (ring_.flags & IORING_SETUP_SQPOLL) != 0;
    result = kernel_submits ? io_uring_submit(&ring_) : io_uring_submit_and_get_events(&ring_);
  } else if (KernelFlagged()) {
    result = io_uring_get_events(&ring_);
  }
  RT_CHECK(result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
           result == -EBUSY);
  Reap();
  while (io_uring_cq_has_overflow(&ring_)) {
    ++counters_.overflows;
    if (io_uring_get_events(&ring_) < 0) break;
    Reap();
  }
  return Dispatch();
}

int UringBackend::EnterWaiting(base::Nanos deadline) {
  io_uring_cqe* first = nullptr;
  if (deadline == base::kNever) {
    return io_uring_submit_and_wait_timeout(&ring_, &first, 1, nullptr, nullptr);
  }
  const base::Nanos wait_ns = std::max<base::Nanos>(deadline - Now(), 1);
  __kernel_timespec timeout = {};
  timeout.tv_sec = wait_ns / base::kNanosPerSecond;
  timeout.tv_nsec = wait_ns % base::kNanosPerSecond;
  return io_uring_submit_and_wait_timeout(&ring_, &first, 1, &timeout, nullptr);
}

void UringBackend::Reap() {
  unsigned head;
  unsigned count = 0;
  const io_uring_cqe* completion;
  io_uring_for_each_cqe(&ring_, head, completion) {
    TakeCompletion(*completion);
    ++count;
  }
  io_uring_cq_advance(&ring_, count);
  if (wake_read_due_) {
    wake_read_due_ = false;
    StageWakeRead();
  }
}

void UringBackend::TakeCompletion(const io_uring_cqe& completion) {
  switch (completion.user_data & kTagMask) {
    case kTagOp:
      TakeOpCompletion(reinterpret_cast<Op*>(completion.user_data), completion);
      break;
    case kTagWakeFailed:
      // The target's ring could not take the message; its eventfd always can.
      if (completion.res < 0) SignalEvent(static_cast<int>(completion.user_data >> 3));
      break;
    case kTagWakeRead:
      wake_read_due_ = completion.res != -ECANCELED;
      break;
    default:  // that it came is all there is to a wake
      break;
  }
}

void UringBackend::TakeOpCompletion(Op* op, const io_uring_cqe& completion) {
  if ((completion.flags & IORING_CQE_F_NOTIF) != 0) {
    // Zero copy: the result came before; now the memory may be reused.
    completed_.push_back(op);
    return;
  }
  op->result = completion.res;
  if ((completion.flags & IORING_CQE_F_BUFFER) != 0) {
    const auto id = static_cast<uint16_t>(completion.flags >> IORING_CQE_BUFFER_SHIFT);
    if (completion.res > 0) {
      op->provided = {id, provided_.Data(id)};
    } else {
      provided_.Release(id);
    }
  }
  if ((completion.flags & IORING_CQE_F_MORE) != 0) return;  // a notification follows
  completed_.push_back(op);
}

size_t UringBackend::Dispatch() {
  const size_t count = completed_.size();
  size_t done = 0;
  for (size_t i = 0; i < count; ++i) {
    Op* op = completed_[i];
    if (op->result == -EOPNOTSUPP && op->backend_state == kStateUncached) {
      // This file system has no uncached I/O: do it the ordinary way.
      op->flags &= ~static_cast<uint32_t>(kDontCache);
      op->backend_state = 0;
      Prepare(TakeEntry(), op);
      continue;
    }
    ++done;
    --in_flight_;
    if (op->waiter) {
      task::Scheduler::Current().Ready(op->waiter);
    } else if (op->on_complete != nullptr) {
      op->on_complete(op);
    }
  }
  counters_.completed += done;
  completed_.erase(completed_.begin(), completed_.begin() + static_cast<ptrdiff_t>(count));
  return done;
}

void UringBackend::DropOperations() {
  // Twice a second for at most ten seconds: only a disk that does not answer outlasts a cancel, and
  // then the process is not going to end properly either.
  constexpr int kTriesMax = 20;
  for (int tries = 0; in_flight_ > 0 && tries < kTriesMax; ++tries) {
    io_uring_sqe* entry = TakeEntry();
    io_uring_prep_cancel(entry, nullptr, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    io_uring_sqe_set_data64(entry, kTagIgnored);
    const base::Nanos end = Now() + base::kNanosPerSecond / 2;
    while (in_flight_ > 0 && Now() < end) {
      const int result = EnterWaiting(end);
      if (result == -EEXIST) return;  // not the ring's thread: that one's exit has ended them all
      Reap();
      in_flight_ -= completed_.size();
      for (Op* op : completed_) {
        const bool made_descriptor = op->code == OpCode::kAccept || op->code == OpCode::kOpen;
        if (made_descriptor && op->result >= 0) close(op->result);
      }
      completed_.clear();
    }
  }
  RT_CHECK(in_flight_ == 0);
}

void UringBackend::ReleaseProvided(ProvidedBuffer buffer) { provided_.Release(buffer.id); }

void UringBackend::StageWakeRead() {
  io_uring_sqe* entry = TakeEntry();
  io_uring_prep_read(entry, wake_event_, &wake_count_, sizeof(wake_count_), 0);
  io_uring_sqe_set_data64(entry, kTagWakeRead);
}

void UringBackend::Wake(Backend& target) {
  auto& other = static_cast<UringBackend&>(target);
  ++counters_.wakes_sent;
  if (!features_.message_ring) return SignalEvent(other.wake_event_);
  io_uring_sqe* entry = TakeEntry();
  io_uring_prep_msg_ring(entry, other.ring_.ring_fd, 0, kTagWakeArrived, 0);
  entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(entry, (static_cast<uint64_t>(other.wake_event_) << 3) | kTagWakeFailed);
}

void UringBackend::WakeFromAnyThread() { SignalEvent(wake_event_); }

}  // namespace ringtail::io
