#include "tests/sim/network.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace ringtail::sim {
namespace {

constexpr size_t kBacklogMax = 4096;

}  // namespace

SimNetwork::SimNetwork(const NetworkOptions& options, Rng rng, At at)
    : options_(options), rng_(rng), at_(std::move(at)) {}

SimNetwork::Stream* SimNetwork::Find(Channel channel) {
  const auto found = streams_.find(channel);
  return found == streams_.end() ? nullptr : &found->second;
}

const SimNetwork::Stream* SimNetwork::Find(Channel channel) const {
  const auto found = streams_.find(channel);
  return found == streams_.end() ? nullptr : &found->second;
}

uint16_t SimNetwork::FreePort(const std::string& host) {
  while (true) {
    const uint16_t port = next_port_++;
    if (next_port_ > 65000) next_port_ = 40000;
    const auto taken = [&](const auto& entry) {
      return entry.second.port == port && entry.second.host == host;
    };
    if (std::none_of(listeners_.begin(), listeners_.end(), taken)) return port;
  }
}

int64_t SimNetwork::Listen(int process, absl::string_view host, uint16_t port, bool share) {
  for (const auto& [channel, listener] : listeners_) {
    if (port == 0 || listener.port != port || listener.host != host) continue;
    if (!share || !listener.share) return -EADDRINUSE;
  }
  const std::string name(host);
  if (port == 0) port = FreePort(name);
  listeners_[next_channel_] = {process, name, port, share, false, {}};
  return static_cast<int64_t>(next_channel_++);
}

void SimNetwork::InitBuffers(Stream& stream) {
  stream.send_buffer =
      options_.send_buffer_bytes > 0 ? options_.send_buffer_bytes : int64_t{8192} << rng_.Below(6);
  stream.receive_buffer = options_.receive_buffer_bytes > 0 ? options_.receive_buffer_bytes
                                                            : int64_t{8192} << rng_.Below(6);
}

Channel SimNetwork::NewSocket(int process, absl::string_view host) {
  Stream& stream = streams_[next_channel_];
  stream.process = process;
  stream.host = std::string(host);
  InitBuffers(stream);
  return next_channel_++;
}

int SimNetwork::Connect(Channel channel, absl::string_view host, uint16_t port) {
  Stream* stream = Find(channel);
  if (stream == nullptr) return -ENOTSOCK;
  if (stream->connected) return -EISCONN;
  if (stream->connecting) return -EALREADY;
  stream->connecting = true;
  std::string target(host);
  if (target == "127.0.0.1" || target == "::1") target = stream->host;
  at_(Delay(), "connect", [this, channel, target, port] { Establish(channel, target, port); });
  return 0;
}

void SimNetwork::Establish(Channel client, const std::string& host, uint16_t port) {
  Stream* stream = Find(client);
  if (stream == nullptr || !stream->connecting) return;
  std::vector<Channel> candidates;
  for (const auto& [channel, listener] : listeners_) {
    if (listener.port == port && listener.host == host && !listener.shut &&
        listener.backlog.size() < kBacklogMax) {
      candidates.push_back(channel);
    }
  }
  if (!candidates.empty() && IsCut(stream->process, listeners_[candidates[0]].process)) {
    // The SYN is lost; TCP sends it again.
    return at_(base::kNanosPerSecond, "connect", [=, this] { Establish(client, host, port); });
  }
  stream->connecting = false;
  if (candidates.empty()) {
    stream->error = ECONNREFUSED;
    return Changed(client);
  }
  const Channel chosen = candidates[rng_.Below(candidates.size())];
  Listener& listener = listeners_[chosen];
  const Channel server = NewSocket(listener.process, host);
  stream = Find(client);
  Stream& other = *Find(server);
  stream->port = FreePort(stream->host);
  other.port = port;
  stream->peer = server;
  other.peer = client;
  stream->peer_name = absl::StrCat(host, ":", port);
  other.peer_name = absl::StrCat(stream->host, ":", stream->port);
  stream->connected = other.connected = true;
  listener.backlog.push_back(server);
  Changed(client);
  at_(Delay(), "backlog", [this, chosen] { Changed(chosen); });
}

int64_t SimNetwork::Accept(Channel channel) {
  const auto found = listeners_.find(channel);
  if (found == listeners_.end() || found->second.shut) return -EINVAL;
  if (found->second.backlog.empty()) return -EAGAIN;
  const Channel accepted = found->second.backlog.front();
  found->second.backlog.pop_front();
  return static_cast<int64_t>(accepted);
}

void SimNetwork::Close(Channel channel) {
  if (const auto found = listeners_.find(channel); found != listeners_.end()) {
    const std::deque<Channel> backlog = found->second.backlog;
    listeners_.erase(found);
    for (const Channel waiting : backlog) {
      if (Stream* stream = Find(waiting)) {
        stream->closed = true;
        ResetStream(waiting, ECONNRESET);
      }
    }
    return;
  }
  if (const auto end = pipe_ends_.find(channel); end != pipe_ends_.end()) {
    Pipe& pipe = pipes_[end->second];
    (channel == pipe.reader ? pipe.reader_open : pipe.writer_open) = false;
    const Channel other = channel == pipe.reader ? pipe.writer : pipe.reader;
    if (!pipe.reader_open && !pipe.writer_open) pipes_.erase(end->second);
    pipe_ends_.erase(end);
    return Changed(other);
  }
  Stream* stream = Find(channel);
  RT_CHECK(stream != nullptr && !stream->closed);
  stream->closed = true;
  if (stream->in_bytes() > 0 && stream->peer != 0) {
    return ResetStream(channel, ECONNRESET);  // tcp_close: unread bytes mean an RST
  }
  stream->shut = stream->mute = true;
  StartDelivery(channel);
  EraseIfDone(channel);
}

void SimNetwork::EraseIfDone(Channel channel) {
  const Stream* stream = Find(channel);
  if (stream == nullptr || !stream->closed) return;
  if (stream->peer == 0 || (stream->out_bytes() == 0 && stream->fin_sent)) {
    if (Stream* peer = Find(stream->peer)) {
      // What the peer sends from now on meets a closed port; Deliver() sees that.
      if (peer->closed) peer->peer = 0;
    }
    const Channel other = stream->peer;
    streams_.erase(channel);
    if (Find(other) != nullptr) EraseIfDone(other);
  }
}

// Both ends end with `error`; what has arrived can still be read.
void SimNetwork::ResetStream(Channel channel, int error) {
  Stream* stream = Find(channel);
  if (stream == nullptr) return;
  const Channel other = stream->peer;
  for (const Channel each : {channel, other}) {
    Stream* one = Find(each);
    if (one == nullptr) continue;
    one->error = one->fin_received && error == ECONNRESET ? EPIPE : error;
    one->peer = 0;
    one->connected = false;
    one->fin_received = true;
    one->shut = one->mute = true;
    one->out.clear();
    one->out_head = 0;
    one->acknowledged = one->sent;
    const bool closed = one->closed;
    if (closed) streams_.erase(each);
    if (!closed) Changed(each);
  }
}

int64_t SimNetwork::Receive(Channel channel, const iovec* vectors, size_t count) {
  Stream* stream = Find(channel);
  if (stream == nullptr) return -ENOTSOCK;
  int64_t done = 0;
  for (size_t i = 0; i < count && stream->in_bytes() > 0; ++i) {
    const int64_t take = std::min(stream->in_bytes(), static_cast<int64_t>(vectors[i].iov_len));
    std::memcpy(vectors[i].iov_base, stream->in.data() + stream->in_head,
                static_cast<size_t>(take));
    stream->in_head += static_cast<size_t>(take);
    done += take;
  }
  if (done > 0) {
    if (stream->in_bytes() == 0) {
      stream->in.clear();
      stream->in_head = 0;
    }
    if (stream->peer != 0) StartDelivery(stream->peer);
    return done;
  }
  if (stream->ended) return 0;
  if (stream->error != 0) return -std::exchange(stream->error, 0);
  if (stream->fin_received || stream->shut) return 0;
  if (!stream->connected) return -ENOTCONN;
  return -EAGAIN;
}

int64_t SimNetwork::Send(Channel channel, const iovec* vectors, size_t count) {
  Stream* stream = Find(channel);
  if (stream == nullptr) return -ENOTSOCK;
  if (stream->error != 0) return -std::exchange(stream->error, 0);
  if (stream->mute) return -EPIPE;
  if (!stream->connected) return -EPIPE;
  int64_t room = stream->send_buffer - stream->out_bytes();
  if (room <= 0) return -EAGAIN;
  int64_t done = 0;
  for (size_t i = 0; i < count && room > 0; ++i) {
    const int64_t take = std::min(room, static_cast<int64_t>(vectors[i].iov_len));
    stream->out.append(static_cast<const char*>(vectors[i].iov_base), static_cast<size_t>(take));
    room -= take;
    done += take;
  }
  stream->sent += static_cast<uint64_t>(done);
  StartDelivery(channel);
  return done;
}

void SimNetwork::StartDelivery(Channel from) {
  Stream* stream = Find(from);
  if (stream == nullptr || stream->delivering || stream->peer == 0 || stream->stalled) return;
  const bool fin_due = stream->mute && !stream->fin_sent;
  if (stream->out_bytes() == 0 && !fin_due) return;
  const Stream* peer = Find(stream->peer);
  const bool full = peer != nullptr && !peer->closed && peer->in_bytes() >= peer->receive_buffer;
  if (stream->out_bytes() > 0 && full) return;  // its Receive starts it again
  stream->delivering = true;
  at_(Delay(), "segment", [this, from] { Deliver(from); });
}

void SimNetwork::Deliver(Channel from) {
  Stream* stream = Find(from);
  if (stream == nullptr) return;
  stream->delivering = false;
  if (stream->peer == 0 || stream->stalled) return;
  Stream* peer = Find(stream->peer);
  // Bytes for an end that was closed, or shut for reading, are answered with an RST.
  const bool deaf = peer == nullptr || peer->closed || peer->shut;
  if (stream->out_bytes() > 0 && deaf) return ResetStream(from, ECONNRESET);
  if (stream->out_bytes() > 0) {
    int64_t segment = std::min(stream->out_bytes(), peer->receive_buffer - peer->in_bytes());
    if (options_.segment_bytes_max > 0) {
      segment = std::min(segment, options_.segment_bytes_max);
    } else if (segment > 1 && rng_.Chance(0.4)) {
      segment = rng_.Between(1, rng_.Chance(0.3) ? std::min<int64_t>(segment, 8) : segment);
    }
    if (segment <= 0) return;
    peer->in.append(stream->out, stream->out_head, static_cast<size_t>(segment));
    stream->out_head += static_cast<size_t>(segment);
    stream->acknowledged += static_cast<uint64_t>(segment);
    if (stream->out_bytes() == 0) {
      stream->out.clear();
      stream->out_head = 0;
    }
    const Channel to = stream->peer;
    StartDelivery(from);
    Changed(to);
    return Changed(from);
  }
  if (!stream->mute || stream->fin_sent) return;
  stream->fin_sent = true;
  const Channel to = stream->peer;
  if (peer != nullptr) peer->fin_received = peer->ended = true;
  EraseIfDone(from);
  Changed(to);
}

int SimNetwork::Shutdown(Channel channel) {
  if (const auto found = listeners_.find(channel); found != listeners_.end()) {
    found->second.shut = true;
    for (const Channel waiting : std::exchange(found->second.backlog, {})) {
      if (Stream* stream = Find(waiting)) stream->closed = true;
      ResetStream(waiting, ECONNRESET);
    }
    Changed(channel);
    return 0;
  }
  Stream* stream = Find(channel);
  if (stream == nullptr) return -ENOTSOCK;
  if (stream->connecting) stream->error = ECONNRESET;
  stream->connecting = false;
  stream->shut = stream->mute = true;
  StartDelivery(channel);
  Changed(channel);
  return 0;
}

void SimNetwork::EndSending(Channel channel) {
  Stream* stream = Find(channel);
  if (stream == nullptr || !stream->connected) return;
  stream->mute = true;
  StartDelivery(channel);
  Changed(channel);
}

void SimNetwork::Abort(Channel channel) {
  Stream* stream = Find(channel);
  if (stream == nullptr) return static_cast<void>(Shutdown(channel));
  // tcp_disconnect(): both queues are thrown away, and the socket is as if never connected.
  stream->in.clear();
  stream->in_head = 0;
  const bool open = stream->connected && !(stream->fin_sent && stream->fin_received);
  const int error = stream->error;
  ResetStream(channel, ECONNRESET);
  stream->error = open ? ECONNRESET : error;
  stream->connecting = stream->shut = stream->mute = stream->ended = false;
  stream->fin_received = stream->fin_sent = false;
  Changed(channel);
}

uint32_t SimNetwork::Poll(Channel channel) const {
  if (const auto found = listeners_.find(channel); found != listeners_.end()) {
    if (found->second.shut) return POLLIN | POLLHUP;
    return found->second.backlog.empty() ? 0 : POLLIN;
  }
  if (const auto end = pipe_ends_.find(channel); end != pipe_ends_.end()) {
    const Pipe& pipe = pipes_.at(end->second);
    if (channel == pipe.reader) {
      return (pipe.bytes() > 0 ? POLLIN : 0) | (pipe.writer_open ? 0 : POLLHUP);
    }
    const bool room = static_cast<int64_t>(pipe.pages.size()) < pipe.slots;
    return (room ? POLLOUT : 0) | (pipe.reader_open ? 0 : POLLERR);
  }
  const Stream* stream = Find(channel);
  if (stream == nullptr) return POLLNVAL;
  uint32_t events = 0;
  if (stream->in_bytes() > 0 || stream->fin_received || stream->shut) events |= POLLIN;
  if (stream->fin_received || stream->shut) events |= POLLRDHUP;
  if (stream->shut || (stream->mute && stream->fin_received)) events |= POLLHUP;
  if (!stream->connected && !stream->connecting) events |= POLLHUP | POLLOUT;
  if (stream->error != 0) events |= POLLERR;
  // sk_stream_is_writeable: at least a third of the buffer is free.
  const bool room = stream->out_bytes() * 3 <= stream->send_buffer * 2;
  if (stream->mute || (stream->connected && room)) events |= POLLOUT;
  return events;
}

}  // namespace ringtail::sim
