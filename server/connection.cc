#include "server/connection.h"

#include <utility>

#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"

namespace ringtail::server {
namespace {

constexpr size_t kSpansMax = 64;
constexpr int64_t kGatherBytesMax = 256 << 10;
constexpr base::Nanos kLingerTime = base::kNanosPerSecond;

}  // namespace

Connection::Connection(const ConnectionEnvironment& environment, int socket, ListenerKind listener,
                       std::string peer)
    : environment_(environment),
      socket_(socket),
      listener_(listener),
      peer_(std::move(peer)),
      opened_at_(environment.core.now()),
      budget_(environment.limits.bytes_max),
      account_(*this) {}

Connection::~Connection() = default;

Connection::Account::Account(Connection& connection)
    : WorkLedger::Account(connection.environment_.core_budget.work()), connection_(connection) {}

void Connection::Account::End(size_t used, size_t max) {
  RT_LOG_EVERY(
      1, kWarn,
      "connection {} ({}): closed: its requests and unsent replies hold {} bytes, the most "
      "of the {} on core {}, where {} are allowed; let it ask for less at a time and read "
      "its replies, or raise --core_bytes_max",
      connection_.peer_, connection_.session_->client_id(), held(), used,
      connection_.environment_.core.id().value(), max);
  connection_.Abort();
}

void Connection::Abort() {
  if (aborted_) return;
  aborted_ = true;
  cancel_.Cancel();
  environment_.core.io().ShutdownSocket(socket_);
  changed_.NotifyAll();
  has_room_.NotifyAll();
}

void Connection::Drain() {
  if (draining_) return;
  draining_ = true;
  cancel_.Cancel();
  changed_.NotifyAll();
}

void Connection::LogEnd(const absl::Status& why) {
  // Cancelled: its session has already said why.
  if (why.ok() || aborted_ || absl::IsCancelled(why)) return;
  RT_LOG_EVERY(1, kInfo, "connection {} ({}): closed: {}", peer_, session_->client_id(),
               why.message());
}

task::Task<void> Connection::Run() {
  reader_ =
      std::make_unique<FrameReader>(environment_.core, socket_, *session_,
                                    environment_.limits.frames, budget_, environment_.core_budget);
  task::Spawn("connection reader", ReadLoop());
  const absl::Status written = co_await WriteLoop();
  if (written.ok() && draining_) co_await Linger();
  Abort();
  while (reading_ || running_ > 0) co_await changed_.Wait();
  reader_.reset();
  environment_.core.io().CloseInline(socket_);
}

task::Task<void> Connection::Linger() {
  environment_.core.io().EndSending(socket_);
  const base::Nanos end = environment_.core.now() + kLingerTime;
  while (reading_ && !aborted_ && co_await changed_.WaitUntil(end)) {
  }
}

task::Task<void> Connection::ReadLoop() {
  absl::Status why;
  while (!aborted_) {
    if (queued_ >= environment_.limits.exchanges_max ||
        account_.held() > environment_.limits.reply_bytes_max) {
      reader_->ReleaseLent();
      co_await has_room_.Wait();
      continue;
    }
    absl::StatusOr<Frame> frame = co_await reader_->Next();
    counters_.bytes_in = reader_->bytes_received();
    if (!frame.ok()) {
      why = frame.status();
      break;
    }
    if (frame->empty()) break;
    if (draining_) continue;
    ++counters_.requests;
    // At once, so that what it makes is known before the next one is read.
    task::SpawnNow("request", RunExchange(NewExchange(*std::move(frame))));
    // The writer looks at the deadline of the first in line once its handler has set it.
    if (queued_ == 1) changed_.NotifyAll();
  }
  if (!draining_) LogEnd(why);
  if (absl::IsInvalidArgument(why)) {
    if (!draining_) Refuse(why);
  } else if (!why.ok()) {
    Abort();
  }
  // A peer that has ended its stream may still read the replies, but waits for no more data.
  cancel_.Cancel();
  reading_ = false;
  changed_.NotifyAll();
}

// What came before is answered still; the refusal is the last reply.
void Connection::Refuse(const absl::Status& why) {
  Exchange* exchange = NewExchange(Frame());
  --running_;
  exchange->finished = true;
  exchange->reply.close_after = true;
  session_->FillRefused(why, &exchange->reply);
  Answer(exchange);
}

Exchange* Connection::NewExchange(Frame frame) {
  if (spare_.empty()) {
    exchanges_.push_back(std::make_unique<Exchange>());
    spare_.push_back(exchanges_.back().get());
  }
  Exchange* exchange = spare_.back();
  spare_.pop_back();
  exchange->connection = this;
  exchange->context = {.client_id = session_->client_id(),
                       .listener = listener_,
                       .bytes = frame.size(),
                       .cancel = &cancel_};
  exchange->frame = std::move(frame);
  exchange->answered = exchange->finished = exchange->sent = false;
  queue_.PushBack(*exchange);
  ++queued_;
  ++running_;
  return exchange;
}

void Connection::Recycle(Exchange* exchange) {
  if (!exchange->finished || !exchange->sent) return;
  exchange->frame.Reset();
  exchange->reply.Clear();
  account_.Release(std::exchange(exchange->reply_bytes, 0));
  spare_.push_back(exchange);
  has_room_.NotifyAll();
}

void Connection::ChargeWork(Exchange* exchange, size_t bytes) {
  exchange->work_bytes += bytes;
  account_.Charge(bytes);
}

task::Task<void> Connection::RunExchange(Exchange* exchange) {
  co_await session_->Handle(exchange);
  exchange->finished = true;
  exchange->frame.Reset();
  account_.Release(std::exchange(exchange->work_bytes, 0));
  if (!exchange->answered) Answer(exchange);
  --running_;
  Recycle(exchange);
  has_room_.NotifyAll();
  if (running_ == 0) changed_.NotifyAll();
}

void Connection::Answer(Exchange* exchange) {
  exchange->answered = true;
  exchange->reply_bytes = exchange->reply.memory_bytes();
  account_.Charge(exchange->reply_bytes);
  if (!queue_.empty() && &queue_.front() == exchange) changed_.NotifyAll();
}

task::Task<bool> Connection::WaitAnswered(Exchange* exchange) {
  while (!exchange->answered && !aborted_) {
    const base::Nanos deadline = exchange->context.deadline;
    if (co_await changed_.WaitUntil(deadline)) continue;
    if (exchange->answered || exchange->context.deadline > environment_.core.now()) continue;
    // The task may still write into exchange->reply: the late answer gets one of its own.
    Reply late;
    if (!session_->FillTimedOut(exchange, &late)) {
      Abort();
      co_return false;
    }
    absl::Status sent = co_await SendReply(&late);
    if (sent.ok()) sent = co_await FlushSpans(false);
    if (!sent.ok()) Abort();
    co_return false;
  }
  co_return true;
}

// Ok: all is answered and no more will be asked.
task::Task<absl::Status> Connection::WriteLoop() {
  absl::Status sent;
  while (!aborted_) {
    if (queue_.empty()) {
      if (!reading_ || draining_) co_return absl::OkStatus();
      co_await changed_.Wait();
      continue;
    }
    // A timed out request leaves its task working on the frame; the stream goes on only if the
    // answer could be given, and its own reply is dropped.
    Exchange* exchange = &queue_.front();
    const bool answered = co_await WaitAnswered(exchange);
    if (aborted_) break;
    if (!answered) {
      exchange->Unlink();
      --queued_;
      exchange->answered = true;
      exchange->sent = true;
      Recycle(exchange);
      has_room_.NotifyAll();
      continue;
    }
    sent = co_await SendReady();
    if (!sent.ok()) {
      LogEnd(sent);
      break;
    }
  }
  while (Exchange* exchange = queue_.PopFront()) {
    --queued_;
    exchange->answered = true;
    exchange->sent = true;
    Recycle(exchange);
  }
  co_return sent;
}

task::Task<absl::Status> Connection::SendReady() {
  // Replies of memory alone are gathered into one send.
  int64_t gathered = 0;
  bool close = false;
  absl::Status status;
  while (!queue_.empty() && queue_.front().answered && !close && gathered < kGatherBytesMax &&
         spans_.size() < kSpansMax) {
    Exchange* exchange = queue_.PopFront();
    --queued_;
    sending_.push_back(exchange);
    close = exchange->reply.close_after;
    status = co_await SendReply(&exchange->reply);
    if (!status.ok()) break;
    for (const ReplyPiece& piece : exchange->reply.pieces) gathered += piece.bytes;
  }
  if (status.ok()) status = co_await FlushSpans(false);
  spans_.clear();
  for (Exchange* exchange : sending_) {
    exchange->sent = true;
    Recycle(exchange);
  }
  sending_.clear();
  has_room_.NotifyAll();
  if (status.ok() && close) status = absl::CancelledError("closed after the last reply");
  co_return status;
}

task::Task<absl::Status> Connection::SendReply(Reply* reply) {
  for (const ReplyPiece& piece : reply->pieces) {
    counters_.bytes_out += static_cast<uint64_t>(piece.bytes);
    if (piece.file < 0) {
      spans_.push_back({.iov_base = const_cast<uint8_t*>(piece.data),
                        .iov_len = static_cast<size_t>(piece.bytes)});
      if (spans_.size() >= kSpansMax) RT_CO_RETURN_IF_ERROR(co_await FlushSpans(false));
      continue;
    }
    RT_CO_RETURN_IF_ERROR(co_await FlushSpans(true));
    RT_CO_RETURN_IF_ERROR(
        co_await environment_.sender.SendFileRange(socket_, piece.file, piece.position, piece.bytes,
                                                   environment_.limits.send_path, SendDeadline()));
  }
  co_return absl::OkStatus();
}

base::Nanos Connection::SendDeadline() const {
  return environment_.core.now() + environment_.limits.send_timeout_ns;
}

task::Task<absl::Status> Connection::FlushSpans(bool more) {
  if (spans_.empty()) co_return absl::OkStatus();
  const absl::Status status =
      co_await environment_.sender.SendSpans(socket_, spans_, more, SendDeadline());
  spans_.clear();
  co_return status;
}

}  // namespace ringtail::server
