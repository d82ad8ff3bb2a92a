#include "engine/io/sender.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/io/run_until.h"
#include "engine/task/scheduler.h"

namespace ringtail::io {
namespace {

constexpr int64_t kPageBytes = 4096;
constexpr size_t kVectorsPerCall = 1024;  // IOV_MAX
// As long a piece that was read stays for a peer that takes nothing, though others want its memory.
constexpr base::Nanos kKeepColdPiece = 100 * base::kNanosPerMilli;

constexpr std::array<absl::string_view, kSendFallbackCount> kFallbackNames = {
    "not_resident", "no_pipe", "unsupported", "map_failed"};

absl::Status FileEnded(int64_t position) {
  return absl::DataLossError(absl::StrCat("file ends at ", position, ", within a range to send"));
}

absl::Status ReadFailed(int64_t result) {
  return absl::DataLossError(ErrnoStatus(static_cast<int>(-result), "read", "to send").message());
}

Op PollForRoom(int socket) {
  Op poll;
  poll.code = OpCode::kPoll;
  poll.fd = socket;
  poll.poll_events = POLLOUT;
  return poll;
}

// Skips `bytes`; returns what is left.
std::span<iovec> Skip(std::span<iovec> spans, size_t bytes) {
  while (!spans.empty() && bytes >= spans.front().iov_len) {
    bytes -= spans.front().iov_len;
    spans = spans.subspan(1);
  }
  if (!spans.empty()) {
    spans.front().iov_base = static_cast<uint8_t*>(spans.front().iov_base) + bytes;
    spans.front().iov_len -= bytes;
  }
  return spans;
}

}  // namespace

absl::string_view SendFallbackName(SendFallback reason) {
  return kFallbackNames[static_cast<size_t>(reason)];
}

Sender::Sender(Backend& backend, BufferPool& buffers, const SenderOptions& options)
    : backend_(backend),
      buffers_(buffers),
      options_(options),
      copy_bytes_max_(std::min(options.rule.copy_bytes_max(), options.read_bytes)),
      pipes_(backend, options.pipes_max, options.pipe_bytes),
      cold_(backend, options.cold, counters_.cold) {
  RT_CHECK(options.chunk_bytes > 0 && options.read_bytes > 0 && options.yield_after_bytes > 0);
}

void Sender::SetRule(SendRule rule) {
  options_.rule = std::move(rule);
  copy_bytes_max_ = std::min(options_.rule.copy_bytes_max(), options_.read_bytes);
}

absl::Status Sender::SocketError(int socket, int64_t result) {
  if (result == -ETIME) {
    return absl::DeadlineExceededError(
        absl::StrCat("send to ", backend_.PeerName(socket), ": the peer does not read"));
  }
  return ErrnoStatus(static_cast<int>(-result), "send to", backend_.PeerName(socket));
}

Sender::Patience::Patience(Backend& backend, int socket, base::Nanos deadline,
                           base::Nanos at_least_rate_ns)
    : backend_(backend),
      socket_(socket),
      allowance_ns_(deadline - task::Scheduler::Current().now()),
      deadline_(deadline),
      last_deadline_(deadline == base::kNever ? base::kNever : deadline + at_least_rate_ns) {}

void Sender::Patience::BeginWait() {
  if (deadline_ == base::kNever) return;
  unacknowledged_bytes_ = backend_.UnacknowledgedBytes(socket_);
}

void Sender::Patience::Progressed() {
  if (deadline_ == base::kNever) return;
  deadline_ = std::min(task::Scheduler::Current().now() + allowance_ns_, last_deadline_);
}

// A large socket buffer may take longer than the allowance to have room again, and a zero-copy send
// to end, while the bytes do arrive.
base::Nanos Sender::Patience::Extend() {
  const int64_t left = backend_.UnacknowledgedBytes(socket_);
  if (left < 0 || left == unacknowledged_bytes_ || deadline_ >= last_deadline_) return 0;
  unacknowledged_bytes_ = left;
  Progressed();
  return deadline_;
}

Sender::Patience Sender::PatienceFor(int socket, int64_t bytes, base::Nanos deadline) {
  const double seconds = static_cast<double>(bytes) / static_cast<double>(options_.bytes_per_s_min);
  return {backend_, socket, deadline,
          static_cast<base::Nanos>(seconds * static_cast<double>(base::kNanosPerSecond))};
}

task::Task<absl::Status> Sender::WaitWritable(int socket, Patience& patience) {
  ++counters_.socket_waits;
  patience.BeginWait();
  Op poll = PollForRoom(socket);
  const int32_t result = co_await RunUntil(backend_, &poll, patience.deadline(), &patience);
  if (result < 0) co_return SocketError(socket, result);
  co_return absl::OkStatus();  // an error of the socket is told by the next send
}

task::Task<absl::Status> Sender::SendSpans(int socket, std::span<iovec> spans, bool more,
                                           base::Nanos deadline) {
  int64_t since_yield = 0;
  spans = Skip(spans, 0);
  int64_t bytes = 0;
  for (const iovec& span : spans) bytes += static_cast<int64_t>(span.iov_len);
  Patience patience = PatienceFor(socket, bytes, deadline);
  while (!spans.empty()) {
    const size_t count = std::min(spans.size(), kVectorsPerCall);
    const bool follows = more || count < spans.size();
    const int64_t sent =
        backend_.SendNowait(socket, spans.data(), static_cast<int>(count), follows);
    if (sent == -EAGAIN) {
      RT_CO_RETURN_IF_ERROR(co_await WaitWritable(socket, patience));
      continue;
    }
    if (sent == -EINTR) continue;
    if (sent < 0) co_return SocketError(socket, sent);
    counters_.span_bytes += static_cast<uint64_t>(sent);
    patience.Progressed();
    spans = Skip(spans, static_cast<size_t>(sent));
    since_yield += sent;
    if (since_yield >= options_.yield_after_bytes && !spans.empty()) {
      since_yield = 0;
      co_await task::Yield();
    }
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> Sender::SendFileRange(int socket, int file, int64_t position,
                                               int64_t bytes, SendPath path, base::Nanos deadline) {
  Range range{socket, file, position, bytes, PatienceFor(socket, bytes, deadline)};
  if (path == SendPath::kAuto && bytes <= copy_bytes_max_ && CopyAtOnce(range)) {
    co_return absl::OkStatus();
  }
  while (range.left > 0) {
    if (range.since_yield >= options_.yield_after_bytes) {
      range.since_yield = 0;
      co_await task::Yield();
    }
    const int64_t chunk = std::min(range.left, options_.chunk_bytes);
    absl::Status status;
    switch (PathOfNextChunk(range, path, chunk)) {
      case SendPath::kSendfile:
        status = co_await SendfileChunk(range, chunk);
        break;
      case SendPath::kMapped:
        status = co_await MappedChunk(range, chunk, /*zero_copy=*/false);
        break;
      case SendPath::kSendZeroCopy:
        status = co_await MappedChunk(range, chunk, /*zero_copy=*/true);
        break;
      case SendPath::kSplice:
        status = co_await SpliceChunk(range);
        break;
      case SendPath::kAuto:
      case SendPath::kCopy:
        status = co_await CopyChunk(range);
        break;
    }
    RT_CO_RETURN_IF_ERROR(status);
  }
  co_return absl::OkStatus();
}

SendPath Sender::Supported(SendPath path) {
  if (path != SendPath::kSendZeroCopy || backend_.features().send_zero_copy) return path;
  CountFallback(SendFallback::kUnsupported);
  return SendPath::kCopy;
}

// What was asked for where it can serve; kCopy otherwise.
SendPath Sender::PathOfNextChunk(const Range& range, SendPath asked, int64_t chunk) {
  switch (asked) {
    case SendPath::kCopy:
    case SendPath::kSplice:
      return asked;
    case SendPath::kAuto:
      return Supported(
          options_.rule.Choose(range.left, range.left > copy_bytes_max_ && Hot(range, chunk)));
    default:
      asked = Supported(asked);
      if (asked == SendPath::kCopy) return asked;
  }
  if (backend_.Resident(range.file, range.position, chunk)) return asked;
  CountFallback(SendFallback::kNotResident);
  return SendPath::kCopy;
}

void Sender::Sent(Range& range, SendPath path, int64_t bytes) {
  RT_CHECK(bytes <= range.left);
  range.position += bytes;
  range.left -= bytes;
  range.since_yield += bytes;
  range.patience.Progressed();
  counters_.bytes[static_cast<size_t>(path)] += static_cast<uint64_t>(bytes);
}

// A small range that is resident, to a socket with room: two system calls and no suspension. What
// it did not do is left in `range`.
bool Sender::CopyAtOnce(Range& range) {
  Buffer buffer = buffers_.Take(static_cast<size_t>(range.left));
  iovec vector = {buffer.data(), buffer.size()};
  const int64_t read = backend_.ReadNowait(range.file, &vector, 1, range.position);
  if (read <= 0) return range.left == 0;
  vector.iov_len = static_cast<size_t>(read);
  const int64_t sent = backend_.SendNowait(range.socket, &vector, 1, read < range.left);
  if (sent > 0) Sent(range, SendPath::kCopy, sent);
  return range.left == 0;
}

task::Task<absl::Status> Sender::SendfileChunk(Range& range, int64_t bytes) {
  const int64_t sent = backend_.SendfileNowait(range.socket, range.file, range.position, bytes);
  if (sent > 0) {
    Sent(range, SendPath::kSendfile, sent);
    if (sent == bytes) co_return absl::OkStatus();
    co_return co_await WaitWritable(range.socket, range.patience);
  }
  if (sent == -EAGAIN) co_return co_await WaitWritable(range.socket, range.patience);
  if (sent == -EINTR) co_return absl::OkStatus();
  if (sent == 0) co_return FileEnded(range.position);
  if (sent == -EINVAL || sent == -ENOSYS) {  // this file system's files cannot be spliced
    CountFallback(SendFallback::kUnsupported);
    co_return co_await CopyChunk(range);
  }
  if (sent == -EIO) co_return ReadFailed(sent);
  co_return SocketError(range.socket, sent);
}

task::Task<absl::Status> Sender::MappedChunk(Range& range, int64_t bytes, bool zero_copy) {
  const absl::StatusOr<const uint8_t*> map = backend_.Map(range.file, range.position, bytes);
  if (!map.ok()) {
    CountFallback(SendFallback::kMapFailed);
    co_return co_await CopyChunk(range);
  }
  iovec vector = {const_cast<uint8_t*>(*map), static_cast<size_t>(bytes)};
  Op send;
  send.code = OpCode::kSend;
  send.fd = range.socket;
  send.vectors = &vector;
  send.vector_count = 1;
  // A zero-copy send ends when the peer has acknowledged its bytes: a last segment that is held
  // back until more follows would keep itself waiting.
  send.flags = zero_copy ? kZeroCopy : bytes < range.left ? kMore : 0;
  range.patience.BeginWait();
  const int32_t sent =
      co_await RunUntil(backend_, &send, range.patience.deadline(), &range.patience);
  backend_.Unmap(*map, bytes);
  if (sent > 0) {
    Sent(range, zero_copy ? SendPath::kSendZeroCopy : SendPath::kMapped, sent);
    co_return absl::OkStatus();
  }
  if (sent == -EINTR || sent == -EAGAIN) co_return absl::OkStatus();
  // Pages beyond the end of the file cannot be read from a mapping.
  if (sent == -EFAULT) co_return FileEnded(range.position);
  if (sent == -ENOMEM || sent == -EOPNOTSUPP) {  // locked memory is used up; no zero copy here
    CountFallback(SendFallback::kUnsupported);
    co_return co_await CopyChunk(range);
  }
  co_return SocketError(range.socket, sent == 0 ? -EPIPE : sent);
}

// Splice does not poll, so the socket is waited for before a pipe is taken. The two halves are
// linked; a short first half cancels the second and leaves its bytes in the pipe, from where they
// are drained.
task::Task<absl::Status> Sender::SpliceChunk(Range& range) {
  RT_CO_RETURN_IF_ERROR(co_await WaitWritable(range.socket, range.patience));
  PipePool::Lease pipe = pipes_.Take();
  if (!pipe.held()) {
    CountFallback(SendFallback::kNoPipe);
    co_return co_await CopyChunk(range);
  }
  // A range that does not begin on a page takes one more of the pipe's pages.
  const int64_t bytes =
      std::min(range.left, std::max(pipe.ends().capacity_bytes - kPageBytes, kPageBytes));
  Op fill;
  fill.code = OpCode::kSplice;
  fill.fd = range.file;
  fill.fd2 = pipe.ends().write_end;
  fill.position = range.position;
  fill.position2 = -1;
  fill.length = bytes;
  Op drain;
  drain.code = OpCode::kSplice;
  drain.fd = pipe.ends().read_end;
  drain.fd2 = range.socket;
  drain.position = drain.position2 = -1;
  drain.length = bytes;
  drain.flags = bytes < range.left ? kMore : 0;
  const auto [filled, drained] = co_await LinkedPair(backend_, fill, drain);
  if (filled == 0) co_return FileEnded(range.position);
  if (filled == -EAGAIN || filled == -EINTR || filled == -ECANCELED) co_return absl::OkStatus();
  if (filled == -EINVAL) {
    CountFallback(SendFallback::kUnsupported);
    co_return co_await CopyChunk(range);
  }
  if (filled < 0) co_return ReadFailed(filled);
  pipe.Filled(filled);
  if (drained > 0) {
    pipe.Drained(drained);
    Sent(range, SendPath::kSplice, drained);
  } else if (drained < 0 && drained != -EAGAIN && drained != -EINTR && drained != -ECANCELED) {
    co_return SocketError(range.socket, drained);
  }
  co_return co_await DrainPipe(range, pipe);
}

task::Task<absl::Status> Sender::DrainPipe(Range& range, PipePool::Lease& pipe) {
  while (pipe.content_bytes() > 0) {
    Op drain;
    drain.code = OpCode::kSplice;
    drain.fd = pipe.ends().read_end;
    drain.fd2 = range.socket;
    drain.position = drain.position2 = -1;
    drain.length = pipe.content_bytes();
    drain.flags = pipe.content_bytes() < range.left ? kMore : 0;
    const int32_t drained = co_await Run(backend_, &drain);
    if (drained > 0) {
      pipe.Drained(drained);
      Sent(range, SendPath::kSplice, drained);
    } else if (drained == -EAGAIN) {
      RT_CO_RETURN_IF_ERROR(co_await WaitWritable(range.socket, range.patience));
    } else if (drained != -EINTR) {
      co_return SocketError(range.socket, drained == 0 ? -EPIPE : drained);
    }
  }
  co_return absl::OkStatus();
}

// Bytes by way of a buffer; of resident ones, what the socket does not take is read again later
// rather than kept, so that a peer that reads slowly holds no memory.
task::Task<absl::Status> Sender::CopyChunk(Range& range) {
  const int64_t bytes = std::min(range.left, options_.read_bytes);
  // Asked first, because a read that does not wait still starts to fill the page cache.
  if (bytes > copy_bytes_max_ && !Hot(range, bytes)) co_return co_await SendCold(range);
  int64_t sent = 0;
  {
    Buffer buffer = buffers_.Take(static_cast<size_t>(bytes));
    iovec vector = {buffer.data(), buffer.size()};
    const int64_t read = backend_.ReadNowait(range.file, &vector, 1, range.position);
    if (read == -EAGAIN) {
      buffer.Reset();
      co_return co_await SendCold(range);
    }
    if (read == 0) co_return FileEnded(range.position);
    if (read < 0) co_return ReadFailed(read);
    vector.iov_len = static_cast<size_t>(read);
    sent = backend_.SendNowait(range.socket, &vector, 1, read < range.left);
    if (sent > 0) Sent(range, SendPath::kCopy, sent);
    if (sent == read) co_return absl::OkStatus();
  }
  if (sent > 0 || sent == -EAGAIN) co_return co_await WaitWritable(range.socket, range.patience);
  if (sent == -EINTR) co_return absl::OkStatus();
  co_return SocketError(range.socket, sent == 0 ? -EPIPE : sent);
}

// As long as what follows is not in the page cache.
task::Task<absl::Status> Sender::SendCold(Range& range) {
  RT_CO_RETURN_IF_ERROR(co_await WaitWritable(range.socket, range.patience));
  ColdReader::Piece pieces[] = {ColdReader::Piece(cold_), ColdReader::Piece(cold_)};
  co_await pieces[0].Reserve();
  const ColdReader::File file = co_await cold_.Open(range.file);
  const absl::Status status = co_await SendPieces(range, file, pieces);
  co_await cold_.Close(file);
  co_return status;
}

// The next piece is read while one is sent. pieces[0] is reserved.
task::Task<absl::Status> Sender::SendPieces(Range& range, ColdReader::File file,
                                            std::span<ColdReader::Piece, 2> pieces) {
  co_await pieces[0].Begin(file, range.position, range.left);
  absl::Status status;
  for (size_t turn = 0; pieces[turn % 2].begun(); ++turn) {
    ColdReader::Piece& piece = pieces[turn % 2];
    ColdReader::Piece& next = pieces[(turn + 1) % 2];
    const int64_t read = co_await piece.Finish();
    const int64_t end = range.position + read;
    // Read in vain: what lies before was not sent.
    if (!status.ok() || piece.position() != range.position) break;
    if (read <= 0) co_return read == 0 ? FileEnded(range.position) : ReadFailed(read);
    const int64_t left = range.left - read;
    if (left > 0 && !backend_.Resident(range.file, end, std::min(left, options_.read_bytes))) {
      next.TryBegin(file, end, left);
    }
    status = co_await SendPiece(range, piece);
    piece.Drop();
  }
  co_return status;
}

// All of it, unless others need its memory while the peer takes nothing.
task::Task<absl::Status> Sender::SendPiece(Range& range, ColdReader::Piece& piece) {
  const base::ByteView bytes = piece.bytes();
  iovec left = {const_cast<uint8_t*>(bytes.data()), bytes.size()};
  while (left.iov_len > 0) {
    const int64_t sent = backend_.SendNowait(range.socket, &left, 1,
                                             static_cast<int64_t>(left.iov_len) < range.left);
    if (sent == -EAGAIN) {
      RT_CO_ASSIGN_OR_RETURN(const bool kept, co_await WaitWithPiece(range));
      if (!kept) co_return absl::OkStatus();
    } else if (sent > 0) {
      Sent(range, SendPath::kCopy, sent);
      counters_.cold_bytes += static_cast<uint64_t>(sent);
      left.iov_base = static_cast<uint8_t*>(left.iov_base) + sent;
      left.iov_len -= static_cast<size_t>(sent);
    } else if (sent != -EINTR) {
      co_return SocketError(range.socket, sent == 0 ? -EPIPE : sent);
    }
  }
  co_return absl::OkStatus();
}

// Until the socket has room; false: others wait for the memory of what is to be sent, and it is
// better read again.
task::Task<absl::StatusOr<bool>> Sender::WaitWithPiece(Range& range) {
  ++counters_.socket_waits;
  Patience& patience = range.patience;
  patience.BeginWait();
  while (true) {
    Op poll = PollForRoom(range.socket);
    const base::Nanos kept_until = task::Scheduler::Current().now() + kKeepColdPiece;
    const int32_t result =
        co_await RunUntil(backend_, &poll, std::min(kept_until, patience.deadline()));
    if (result >= 0) co_return true;  // an error of the socket is told by the next send
    if (result != -ETIME) co_return SocketError(range.socket, result);
    if (cold_.contended()) {
      cold_.NoteDrop();
      co_return false;
    }
    if (task::Scheduler::Current().now() >= patience.deadline() && patience.Extend() == 0) {
      co_return SocketError(range.socket, result);
    }
  }
}

}  // namespace ringtail::io
