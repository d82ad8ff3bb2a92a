#include "server/frame_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"

namespace ringtail::server {
namespace {

// Below this, what is left of a body is received into a lent buffer, with what follows it.
constexpr size_t kDirectBytesMin = 8 << 10;
constexpr base::Nanos kNoBufferDelay = base::kNanosPerMilli;

}  // namespace

Frame& Frame::operator=(Frame&& other) noexcept {
  if (this == &other) return *this;
  Reset();
  buffer_ = std::move(other.buffer_);
  connection_budget_ = std::exchange(other.connection_budget_, nullptr);
  core_budget_ = std::exchange(other.core_budget_, nullptr);
  connection_charge_ = std::exchange(other.connection_charge_, 0);
  core_charge_ = std::exchange(other.core_charge_, {});
  return *this;
}

void Frame::Reset() {
  buffer_.Reset();
  if (connection_budget_ != nullptr) {
    std::exchange(connection_budget_, nullptr)->Release(connection_charge_);
  }
  if (core_budget_ != nullptr) std::exchange(core_budget_, nullptr)->Release(core_charge_);
}

FrameReader::FrameReader(core::Core& core, int socket, const FrameFormat& format,
                         const FrameTimeouts& timeouts, task::ByteSemaphore& connection_budget,
                         ReceiveBudget& core_budget)
    : core_(core),
      socket_(socket),
      format_(format),
      timeouts_(timeouts),
      connection_budget_(connection_budget),
      core_budget_(core_budget),
      watchdog_(*this) {
  RT_CHECK(format.prefix_bytes() <= kPrefixBytesMax);
}

FrameReader::~FrameReader() {
  if (holds_lent_) core_.io().ReleaseProvided(lent_);
}

void FrameReader::Watchdog::Fire(Timer* timer) {
  auto* self = static_cast<Watchdog*>(timer);
  self->fired = true;
  self->reader_.core_.io().ShutdownSocket(self->reader_.socket_);
}

absl::Status FrameReader::Broken(int64_t result, absl::string_view where) const {
  if (watchdog_.fired) {
    return absl::DeadlineExceededError(absl::StrCat("nothing, or too little, came ", where));
  }
  if (result == 0) return absl::UnavailableError(absl::StrCat("the peer closed ", where));
  return absl::UnavailableError(
      absl::StrCat("receive failed ", where, ": ", std::strerror(static_cast<int>(-result))));
}

size_t FrameReader::Consume(uint8_t* to, size_t bytes_max) {
  const size_t count = std::min(bytes_max, unread_.size());
  std::memcpy(to, unread_.data(), count);
  unread_ = unread_.subspan(count);
  return count;
}

void FrameReader::ReleaseLent() {
  if (!holds_lent_) return;
  kept_.assign(unread_.begin(), unread_.end());
  unread_ = kept_;
  core_.io().ReleaseProvided(lent_);
  holds_lent_ = false;
}

task::Task<absl::StatusOr<bool>> FrameReader::Refill(base::Nanos deadline) {
  if (holds_lent_) {
    core_.io().ReleaseProvided(lent_);
    holds_lent_ = false;
  }
  kept_ = {};
  watchdog_.Arm(core_.scheduler(), deadline);
  io::Op op;
  while (true) {
    op = {.code = io::OpCode::kReceiveProvided, .fd = socket_};
    const int32_t result = co_await io::Run(core_.io(), &op);
    if (result == -ENOBUFS && !watchdog_.fired) {
      co_await core_.scheduler().SleepUntil(core_.now() + kNoBufferDelay);
      continue;
    }
    watchdog_.Disarm();
    if (result == 0 && !watchdog_.fired) co_return false;
    if (result <= 0) co_return Broken(result, "between or inside frames");
    lent_ = op.provided;
    holds_lent_ = true;
    unread_ = base::ByteView(lent_.data, static_cast<size_t>(result));
    bytes_received_ += static_cast<uint64_t>(result);
    co_return true;
  }
}

task::Task<absl::Status> FrameReader::TakeMemory(size_t bytes, Frame* frame) {
  if (!connection_budget_.TryAcquire(bytes, &frame->connection_charge_)) {
    ReleaseLent();
    frame->connection_charge_ = co_await connection_budget_.Acquire(bytes);
  }
  frame->connection_budget_ = &connection_budget_;
  if (!core_budget_.TryAcquire(bytes, &frame->core_charge_)) {
    ReleaseLent();
    frame->core_charge_ = co_await core_budget_.Acquire(bytes);
  }
  frame->core_budget_ = &core_budget_;
  frame->buffer_ = core_.buffers().Take(bytes);
  co_return absl::OkStatus();
}

task::Task<absl::Status> FrameReader::ReceiveBody(Frame* frame, size_t have) {
  const size_t total = frame->buffer_.size();
  size_t piece_end = 0;  // of the piece that `deadline` is for
  base::Nanos deadline = 0;
  while (have < total) {
    if (have >= piece_end) {
      piece_end = std::min(have + kPieceBytes, total);
      deadline = core_.now() + timeouts_.piece_ns;
    }
    if (unread_.empty() && total - have < kDirectBytesMin) {
      RT_CO_ASSIGN_OR_RETURN(const bool more, co_await Refill(deadline));
      if (!more) co_return Broken(0, "inside a frame");
    }
    if (!unread_.empty()) {
      have += Consume(frame->buffer_.data() + have, total - have);
      continue;
    }
    ReleaseLent();
    watchdog_.Arm(core_.scheduler(), deadline);
    iovec vector{.iov_base = frame->buffer_.data() + have, .iov_len = piece_end - have};
    io::Op op{.code = io::OpCode::kReceive,
              .flags = io::kWaitAll,
              .fd = socket_,
              .vectors = &vector,
              .vector_count = 1};
    const int32_t result = co_await io::Run(core_.io(), &op);
    watchdog_.Disarm();
    if (result <= 0) co_return Broken(result, "inside a frame");
    have += static_cast<size_t>(result);
    bytes_received_ += static_cast<uint64_t>(result);
  }
  co_return absl::OkStatus();
}

task::Task<absl::StatusOr<Frame>> FrameReader::Next() {
  uint8_t prefix[kPrefixBytesMax];
  const size_t prefix_bytes = format_.prefix_bytes();
  size_t have = 0;
  base::Nanos deadline = core_.now() + timeouts_.idle_ns;
  while (have < prefix_bytes) {
    if (unread_.empty()) {
      RT_CO_ASSIGN_OR_RETURN(const bool more, co_await Refill(deadline));
      if (!more && have == 0) co_return Frame();
      if (!more) co_return Broken(0, "inside a frame's prefix");
    }
    have += Consume(prefix + have, prefix_bytes - have);
    deadline = core_.now() + timeouts_.piece_ns;
  }
  RT_CO_ASSIGN_OR_RETURN(const size_t total,
                         format_.FrameBytes(base::ByteView(prefix, prefix_bytes)));
  RT_CHECK(total >= prefix_bytes);
  Frame frame;
  RT_CO_RETURN_IF_ERROR(co_await TakeMemory(total, &frame));
  std::memcpy(frame.buffer_.data(), prefix, prefix_bytes);
  RT_CO_RETURN_IF_ERROR(co_await ReceiveBody(&frame, prefix_bytes));
  co_return frame;
}

}  // namespace ringtail::server
