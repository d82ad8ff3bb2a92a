#include "tools/client/connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/result.h"

namespace ringtail::client {
namespace {

constexpr uint32_t kProtoVersion = 1;
constexpr int kReadsPerTurn = 16;

absl::Status WasLate() {
  return absl::DeadlineExceededError("no reply from the broker within the deadline");
}

}  // namespace

Connection::Connection(EventLoop* loop, std::vector<Address> addresses,
                       const ConnectionOptions* options, BufferPool* pool)
    : loop_(loop),
      addresses_(std::move(addresses)),
      options_(options),
      pool_(pool),
      random_(static_cast<uint64_t>(Now()) ^ reinterpret_cast<uintptr_t>(this)),
      reader_(options->limits, pool) {
  RT_CHECK(!addresses_.empty());
  loop_->Add(this);
}

Connection::~Connection() {
  if (fd_ >= 0) {
    loop_->Unwatch(fd_, this);
    close(fd_);
  }
  loop_->Remove(this);
}

std::string Connection::Name() const { return addresses_[address_index_].ToString(); }

void Connection::Call(wire::RequestHeader* request, std::span<const base::ByteView> payload,
                      Nanos deadline, OnReply on_reply) {
  Enqueue(request, payload, deadline, std::move(on_reply), true);
}

void Connection::Post(wire::RequestHeader* request, std::span<const base::ByteView> payload,
                      Nanos deadline, OnReply on_sent) {
  Enqueue(request, payload, deadline, std::move(on_sent), false);
}

void Connection::Enqueue(wire::RequestHeader* request, std::span<const base::ByteView> payload,
                         Nanos deadline, OnReply on_reply, bool has_reply) {
  request->set_correlation_id(next_correlation_id_++);
  const Nanos left = std::clamp<Nanos>(deadline - Now(), base::kNanosPerMilli,
                                       int64_t{INT32_MAX} * base::kNanosPerMilli);
  request->set_deadline_ms(static_cast<uint32_t>(left / base::kNanosPerMilli));
  size_t payload_bytes = 0;
  for (const base::ByteView part : payload) payload_bytes += part.size();
  Request& queued = queued_.emplace_back();
  queued.correlation_id = request->correlation_id();
  queued.deadline = deadline;
  queued.on_reply = std::move(on_reply);
  queued.has_reply = has_reply;
  queued.head = EncodeFrame(*request, payload_bytes);
  queued.payload.assign(payload.begin(), payload.end());
  queued.bytes = queued.head.size() + payload_bytes;
  wake_at = std::min(wake_at, deadline);
  // What goes wrong here is found again by the loop, so that no callback runs inside Call.
  if (state_ == State::kReady) {
    if (queued_.size() == 1 && !Flush().ok()) wake_at = 0;
  } else if (state_ == State::kIdle || state_ == State::kRefused) {
    wake_at = 0;
  }
}

void Connection::Connect() {
  if (state_ != State::kConnecting && state_ != State::kReady) StartConnect();
}

void Connection::StartConnect() {
  state_ = State::kConnecting;
  saying_hello_ = false;
  connect_deadline_ = Now() + options_->connect_timeout;
  absl::StatusOr<std::vector<SocketAddress>> found = Resolve(addresses_[address_index_]);
  if (!found.ok()) return Lose(found.status());
  candidates_.assign(found->rbegin(), found->rend());
  const absl::Status status = ConnectNext();
  if (!status.ok()) return Lose(status);
  SetWake();
}

// Starts on the next candidate; an error once there is none left.
absl::Status Connection::ConnectNext() {
  absl::Status status = absl::UnavailableError("no address");
  while (!candidates_.empty()) {
    const SocketAddress address = candidates_.back();
    candidates_.pop_back();
    fd_ = socket(address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) {
      status = absl::UnavailableError(absl::StrCat("no socket: ", strerror(errno)));
      continue;
    }
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&address.storage), address.length) == 0 ||
        errno == EINPROGRESS) {
      watched_ = EPOLLOUT;
      loop_->Watch(fd_, watched_, this);
      return absl::OkStatus();
    }
    status = absl::UnavailableError(strerror(errno));
    close(fd_);
    fd_ = -1;
  }
  return status;
}

void Connection::OnConnected() {
  int error = 0;
  socklen_t length = sizeof(error);
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) {
    loop_->Unwatch(fd_, this);
    close(fd_);
    fd_ = -1;
    if (candidates_.empty()) return Lose(absl::UnavailableError(strerror(error)));
    const absl::Status status = ConnectNext();
    if (!status.ok()) Lose(status);
    return;
  }
  SendHello();
}

void Connection::SendHello() {
  saying_hello_ = true;
  reader_.~FrameReader();
  new (&reader_) FrameReader(options_->limits, pool_);
  wire::RequestHeader request;
  request.set_correlation_id(0);
  request.set_deadline_ms(static_cast<uint32_t>(options_->connect_timeout / base::kNanosPerMilli));
  wire::HelloRequest* hello = request.mutable_hello();
  hello->set_proto_min(kProtoVersion);
  hello->set_proto_max(kProtoVersion);
  hello->set_client_id(options_->client_id);
  hello->set_software_name("ringtail-cpp");
  hello->set_software_version("0.1.0");
  const std::string frame = EncodeFrame(request, 0);
  // An empty send buffer takes a frame of this size whole.
  const ssize_t sent = send(fd_, frame.data(), frame.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(frame.size())) {
    return Lose(absl::UnavailableError(absl::StrCat("send failed: ", strerror(errno))));
  }
  WatchFor(EPOLLIN);
}

absl::Status Connection::OnHello(const wire::ResponseHeader& response) {
  if (response.has_error() && response.error().code() != wire::Error::OK) {
    return ToStatus(response.error(), "handshake refused");
  }
  if (!response.has_hello() || response.hello().proto() != kProtoVersion) {
    return absl::UnimplementedError(
        absl::StrCat("handshake: this client speaks version ", kProtoVersion,
                     " of the native protocol, the broker chose ", response.hello().proto()));
  }
  hello_ = response.hello();
  saying_hello_ = false;
  state_ = State::kReady;
  connect_deadline_ = base::kNever;
  failures_ = 0;
  ++connects_;
  candidates_.clear();
  return Flush();
}

void Connection::WatchFor(uint32_t events) {
  if (watched_ == events) return;
  watched_ = events;
  loop_->Rewatch(fd_, events, this);
}

absl::Status Connection::Flush() {
  while (!queued_.empty()) {
    iovec parts[64];
    int count = 0;
    size_t skip = front_sent_;
    size_t total = 0;
    const auto add = [&](const void* data, size_t size) {
      if (skip >= size) {
        skip -= size;
        return;
      }
      if (count == 64) return;
      parts[count++] = {static_cast<uint8_t*>(const_cast<void*>(data)) + skip, size - skip};
      total += size - skip;
      skip = 0;
    };
    for (const Request& request : queued_) {
      if (count == 64) break;
      add(request.head.data(), request.head.size());
      for (const base::ByteView part : request.payload) add(part.data(), part.size());
    }
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    const ssize_t sent = sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        WatchFor(EPOLLIN | EPOLLOUT);
        return absl::OkStatus();
      }
      return absl::UnavailableError(absl::StrCat("send failed: ", strerror(errno)));
    }
    Sent(static_cast<size_t>(sent));
  }
  WatchFor(EPOLLIN);
  return absl::OkStatus();
}

void Connection::Sent(size_t bytes) {
  front_sent_ += bytes;
  while (!queued_.empty() && front_sent_ >= queued_.front().bytes) {
    Request& request = queued_.front();
    front_sent_ -= request.bytes;
    request.head = std::string();
    request.payload = {};
    awaiting_.push_back(std::move(request));
    queued_.pop_front();
    // Called back by the loop: this may be inside Call.
    if (!awaiting_.back().has_reply) wake_at = 0;
  }
}

absl::Status Connection::ReadReplies() {
  for (int i = 0; i < kReadsPerTurn; ++i) {
    RT_ASSIGN_OR_RETURN(const bool read, reader_.Read(fd_));
    if (!read) break;
    while (true) {
      base::ByteView header;
      Buffer payload;
      RT_ASSIGN_OR_RETURN(const bool whole, reader_.NextFrame(&header, &payload));
      if (!whole) break;
      RT_RETURN_IF_ERROR(OnFrame(header, std::move(payload)));
    }
  }
  return absl::OkStatus();
}

absl::Status Connection::OnFrame(base::ByteView header, Buffer payload) {
  arena_.Reset();
  Reply reply;
  reply.header = google::protobuf::Arena::CreateMessage<wire::ResponseHeader>(&arena_);
  reply.payload = std::move(payload);
  if (!reply.header->ParseFromArray(header.data(), static_cast<int>(header.size()))) {
    return absl::InvalidArgumentError("the reply's header is not valid protobuf");
  }
  if (saying_hello_) return OnHello(*reply.header);
  while (!awaiting_.empty() && !awaiting_.front().has_reply) {
    Request posted = std::move(awaiting_.front());
    awaiting_.pop_front();
    Reply nothing = {};
    posted.on_reply(absl::OkStatus(), &nothing);
  }
  if (awaiting_.empty() || awaiting_.front().correlation_id != reply.header->correlation_id()) {
    // A broker that gives up on the connection says why, with the id of what it could not answer.
    if (reply.header->has_error()) {
      const wire::Error& error = reply.header->error();
      return absl::UnavailableError(
          absl::StrCat("the broker gave up on the connection: ", error.message(), " (",
                       wire::Error::Code_Name(error.code()), ")"));
    }
    return absl::InvalidArgumentError(
        absl::StrCat("reply ", reply.header->correlation_id(), " is out of order"));
  }
  Request request = std::move(awaiting_.front());
  awaiting_.pop_front();
  const absl::Status status = ToStatus(reply.header->error(), "");
  request.on_reply(status, status.ok() ? &reply : nullptr);
  pool_->Give(std::move(reply.payload));
  return absl::OkStatus();
}

void Connection::OnReady(uint32_t events) {
  if (state_ == State::kConnecting && !saying_hello_) return OnConnected();
  absl::Status status;
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) status = ReadReplies();
  if (status.ok() && (events & EPOLLOUT) && state_ == State::kReady) status = Flush();
  if (status.ok()) return SetWake();
  if (saying_hello_) {
    const bool refused =
        ErrorCodeOf(status) == wire::Error::UNSUPPORTED_VERSION || absl::IsUnimplemented(status);
    if (!refused) {
      status = absl::UnavailableError(
          absl::StrCat(status.message(),
                       " during the handshake; is this the port of Ringtail's native protocol "
                       "(7092 unless configured; Kafka clients use another)?"));
    }
    return Lose(status, refused);
  }
  Lose(status);
}

Nanos Connection::Backoff() {
  const int doublings = std::min(std::max(failures_ - 1, 0), 16);
  const Nanos full = std::min(options_->backoff_max, options_->backoff_min << doublings);
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return full / 2 + static_cast<Nanos>(random_ % static_cast<uint64_t>(full / 2 + 1));
}

void Connection::Lose(const absl::Status& why, bool for_good) {
  if (fd_ >= 0) {
    loop_->Unwatch(fd_, this);
    close(fd_);
    fd_ = -1;
  }
  const Nanos now = Now();
  last_error_ = absl::Status(for_good ? why.code() : absl::StatusCode::kUnavailable,
                             absl::StrCat(Name(), ": ", why.message()));
  ++failures_;
  address_index_ = (address_index_ + 1) % addresses_.size();
  next_attempt_ = now + Backoff();
  state_ = for_good ? State::kRefused : State::kWaiting;
  saying_hello_ = false;
  connect_deadline_ = base::kNever;
  front_sent_ = 0;
  std::deque<Request> lost = std::move(awaiting_);
  for (Request& request : queued_) lost.push_back(std::move(request));
  awaiting_.clear();
  queued_.clear();
  const absl::Status error = last_error_;
  for (Request& request : lost) {
    request.on_reply(request.deadline <= now ? Annotate(WasLate(), error.message()) : error,
                     nullptr);
  }
  SetWake();
}

void Connection::ExpireQueued(Nanos now) {
  // What was begun must be sent whole; the rest can still be taken back.
  for (size_t i = front_sent_ > 0 ? 1 : 0; i < queued_.size();) {
    if (queued_[i].deadline > now) {
      ++i;
      continue;
    }
    Request late = std::move(queued_[i]);
    queued_.erase(queued_.begin() + static_cast<ptrdiff_t>(i));
    late.on_reply(last_error_.ok() ? WasLate() : Annotate(WasLate(), last_error_.message()),
                  nullptr);
  }
}

void Connection::OnTime(Nanos now) {
  while (!awaiting_.empty() && !awaiting_.front().has_reply) {
    Request posted = std::move(awaiting_.front());
    awaiting_.pop_front();
    Reply nothing = {};
    posted.on_reply(absl::OkStatus(), &nothing);
  }
  ExpireQueued(now);
  if (now >= connect_deadline_) {
    return Lose(absl::UnavailableError("no connection within the time allowed"));
  }
  const bool late = std::any_of(awaiting_.begin(), awaiting_.end(), [&](const Request& request) {
    return request.has_reply && request.deadline <= now;
  });
  // Replies come in order: a reply that is late holds up all that follow.
  if (late) return Lose(WasLate());
  if (state_ == State::kReady && !queued_.empty()) {
    const absl::Status status = Flush();
    if (!status.ok()) return Lose(status);
  }
  if (!queued_.empty() && (state_ == State::kIdle || state_ == State::kRefused ||
                           (state_ == State::kWaiting && now >= next_attempt_))) {
    return StartConnect();
  }
  if (state_ == State::kWaiting && now >= next_attempt_) state_ = State::kIdle;
  SetWake();
}

void Connection::SetWake() {
  wake_at = connect_deadline_;
  if (state_ == State::kWaiting) wake_at = std::min(wake_at, next_attempt_);
  if (!queued_.empty() && (state_ == State::kIdle || state_ == State::kRefused)) wake_at = 0;
  for (const Request& request : queued_) wake_at = std::min(wake_at, request.deadline);
  for (const Request& request : awaiting_) {
    wake_at = std::min(wake_at, request.has_reply ? request.deadline : 0);
  }
}

}  // namespace ringtail::client
