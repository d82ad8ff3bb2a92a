// SimBackend: sockets, pipes and splices.
#include <arpa/inet.h>
#include <poll.h>

#include <algorithm>

#include "engine/base/check.h"
#include "tests/sim/backend.h"

namespace ringtail::sim {
namespace {

using io::Op;
using io::OpCode;

// "address" and port of an AF_INET or AF_INET6 address.
bool ReadAddress(const Op& op, std::string* host, uint16_t* port) {
  if (op.address == nullptr) return false;
  char text[INET6_ADDRSTRLEN] = {};
  if (op.address->ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(op.address);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
    *port = ntohs(v4->sin_port);
  } else if (op.address->ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(op.address);
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
    *port = ntohs(v6->sin6_port);
  } else {
    return false;
  }
  *host = text;
  return true;
}

}  // namespace

// 0: no such fd, or of another kind.
Channel SimBackend::ChannelOf(int fd, SimProcess::Fd::Kind kind) {
  const SimProcess::Fd* entry = dead_ ? nullptr : process_.Find(fd);
  return entry != nullptr && entry->kind == kind ? entry->channel : 0;
}

void SimBackend::BeginSocketOp(Flight& flight) {
  const Op& op = *flight.op;
  const SimProcess::Fd* fd = process_.Find(op.fd);
  if (fd == nullptr) return Complete(flight, -EBADF);
  if (op.code == OpCode::kSplice) return Complete(flight, DoSplice(op));
  if (fd->channel == 0) return Complete(flight, -ENOTSOCK);
  // The result may be there at once; whether the operation looks now or waits for the next change
  // is no difference to its core, which polls again anyway.
  flight.stage = Stage::kWaiting;
  flight.channel = fd->channel;
  world_.WaitOn(flight.channel, id_, flight.id);
  const base::Nanos delay =
      flight.hit.kind == FaultKind::kDelay ? flight.hit.delay_ns : world_.rng().Between(0, 2'000);
  world_.After(delay, "try", [world = &world_, backend = id_, id = flight.id] {
    if (SimBackend* self = world->FindBackend(backend)) {
      const auto found = self->flights_.find(id);
      if (found == self->flights_.end()) return;
      if (found->second.hit.kind == FaultKind::kDelay) found->second.hit = {};
      self->Retry(id);
    }
  });
}

void SimBackend::Retry(uint64_t id) {
  const auto found = flights_.find(id);
  if (found == flights_.end() || found->second.stage != Stage::kWaiting) return;
  if (found->second.hit.kind == FaultKind::kDelay) return;
  const int64_t result = TrySocketOp(found->second);
  if (result != -EAGAIN) Complete(found->second, result);
}

int64_t SimBackend::TrySocketOp(Flight& flight) {
  const Op& op = *flight.op;
  const SimProcess::Fd* fd = process_.Find(op.fd);
  RT_CHECK(fd != nullptr);
  SimNetwork& network = world_.network();
  switch (op.code) {
    case OpCode::kAccept: {
      const int64_t accepted = network.Accept(fd->channel);
      if (accepted < 0) return accepted;
      SimProcess::Fd entry;
      entry.kind = SimProcess::Fd::kStream;
      entry.channel = static_cast<Channel>(accepted);
      return process_.Add(std::move(entry));
    }
    case OpCode::kConnect:
      return TryConnect(flight, fd->channel);
    case OpCode::kReceive:
      return TryReceive(flight, fd->channel);
    case OpCode::kReceiveProvided:
      return TryReceiveProvided(flight, fd->channel);
    case OpCode::kSend:
      return TrySend(flight, fd->channel);
    case OpCode::kPoll: {
      const uint32_t always = POLLERR | POLLHUP | POLLNVAL;
      const uint32_t events = network.Poll(fd->channel) & (op.poll_events | always);
      return events == 0 ? -EAGAIN : static_cast<int64_t>(events);
    }
    default:
      return -EINVAL;
  }
}

int64_t SimBackend::TryConnect(Flight& flight, Channel channel) {
  SimNetwork& network = world_.network();
  if (!flight.connecting) {
    std::string host;
    uint16_t port = 0;
    if (!ReadAddress(*flight.op, &host, &port)) return -EAFNOSUPPORT;
    flight.connecting = true;
    const int result = network.Connect(channel, host, port);
    if (result < 0) return result;
  }
  if (network.connected(channel)) return 0;
  const int error = network.TakeError(channel);
  return error == 0 ? -EAGAIN : -error;
}

int64_t SimBackend::TryReceive(Flight& flight, Channel channel) {
  const Op& op = *flight.op;
  const int64_t wanted = TotalBytes(op.vectors, op.vector_count) - flight.moved;
  const std::vector<iovec> rest = Slice(op.vectors, op.vector_count, flight.moved, wanted);
  int64_t bytes = wanted;
  if (flight.hit.kind == FaultKind::kShort && bytes > 1) bytes = world_.rng().Between(1, bytes - 1);
  const std::vector<iovec> part = Slice(rest.data(), rest.size(), 0, bytes);
  const int64_t got = world_.network().Receive(channel, part.data(), part.size());
  if (!(op.flags & io::kWaitAll)) return got;
  // MSG_WAITALL: all, unless the stream ends or fails; what came before counts first.
  if (got > 0) flight.moved += got;
  if (flight.moved == TotalBytes(op.vectors, op.vector_count)) return flight.moved;
  if (got > 0) {
    // io_uring tries again at once; an error that it meets then is consumed, and not reported.
    const bool ended = world_.network().at_end(channel);
    if (ended) world_.network().Receive(channel, part.data(), 1);
    return ended ? flight.moved : -EAGAIN;
  }
  if (got == -EAGAIN) return got;
  return flight.moved > 0 ? flight.moved : got;
}

int64_t SimBackend::TryReceiveProvided(Flight& flight, Channel channel) {
  SimNetwork& network = world_.network();
  if (network.received_bytes_ready(channel) == 0) {
    const iovec none{nullptr, 0};
    return network.Receive(channel, &none, 1);
  }
  if (provided_free_.empty()) return -ENOBUFS;
  const uint16_t buffer = provided_free_.back();
  provided_free_.pop_back();
  uint8_t* data = provided_memory_.data() + buffer * options_.provided_bytes;
  const iovec vector{data, options_.provided_bytes};
  const int64_t got = network.Receive(channel, &vector, 1);
  RT_CHECK(got > 0);
  flight.provided = {buffer, data};
  return got;
}

int64_t SimBackend::TrySend(Flight& flight, Channel channel) {
  const Op& op = *flight.op;
  SimNetwork& network = world_.network();
  if (flight.ack_target != 0) {
    return network.acknowledged_total(channel) >= flight.ack_target ? flight.moved : -EAGAIN;
  }
  const int64_t total = TotalBytes(op.vectors, op.vector_count);
  int64_t bytes = total - flight.moved;
  if (flight.hit.kind == FaultKind::kShort && bytes > 1) bytes = world_.rng().Between(1, bytes - 1);
  const std::vector<iovec> rest = Slice(op.vectors, op.vector_count, flight.moved, bytes);
  const int64_t sent = network.Send(channel, rest.data(), rest.size());
  if (sent < 0) {
    return flight.moved > 0 && sent != -EAGAIN ? flight.moved : sent;
  }
  flight.moved += sent;
  if ((op.flags & io::kWaitAll) && flight.moved < total) return -EAGAIN;
  if (!(op.flags & io::kZeroCopy)) return flight.moved;
  flight.ack_target = network.sent_total(channel);
  return network.acknowledged_total(channel) >= flight.ack_target ? flight.moved : -EAGAIN;
}

int64_t SimBackend::DoSplice(const Op& op) {
  const SimProcess::Fd* from = process_.Find(op.fd);
  const SimProcess::Fd* to = process_.Find(op.fd2);
  if (from == nullptr || to == nullptr) return -EBADF;
  if (to->kind == SimProcess::Fd::kPipe) return SpliceToPipe(op, *from, to->channel);
  if (from->kind == SimProcess::Fd::kPipe) return SpliceFromPipe(op, from->channel, *to);
  return -EINVAL;
}

int64_t SimBackend::SpliceToPipe(const Op& op, const SimProcess::Fd& from, Channel pipe) {
  SimNetwork& network = world_.network();
  const bool is_file = from.kind == SimProcess::Fd::kFile;
  const int64_t room = network.PipeRoom(pipe, is_file ? op.position : 0);
  if (room < 0) return room;
  std::string bytes(static_cast<size_t>(std::min(room, op.length)), '\0');
  const iovec vector{bytes.data(), bytes.size()};
  int64_t got = 0;
  if (is_file) {
    got = process_.disk().Read(from.inode, &vector, 1, op.position, false, false);
  } else if (from.kind == SimProcess::Fd::kStream) {
    got = network.Receive(from.channel, &vector, 1);
  } else {
    return -EINVAL;
  }
  if (got <= 0) return got;
  bytes.resize(static_cast<size_t>(got));
  return network.PipeWrite(pipe, bytes, is_file ? op.position : 0);
}

int64_t SimBackend::SpliceFromPipe(const Op& op, Channel pipe, const SimProcess::Fd& to) {
  SimNetwork& network = world_.network();
  std::string bytes;
  const int64_t there = network.PipePeek(pipe, op.length, &bytes);
  if (there <= 0) return there;
  const iovec vector{bytes.data(), bytes.size()};
  int64_t moved = 0;
  if (to.kind == SimProcess::Fd::kStream) {
    moved = network.Send(to.channel, &vector, 1);
  } else if (to.kind == SimProcess::Fd::kFile) {
    moved = process_.disk().Write(to.inode, &vector, 1, op.position2, world_.wall_ms());
  } else {
    return -EINVAL;
  }
  if (moved > 0) network.PipeConsume(pipe, moved);
  return moved;
}

absl::StatusOr<int> SimBackend::Listen(const std::string& host, uint16_t port, bool share) {
  if (dead_) return ErrorStatus(-EBADF, "listen", host);
  in6_addr address;
  if (inet_pton(AF_INET, host.c_str(), &address) != 1 &&
      inet_pton(AF_INET6, host.c_str(), &address) != 1) {
    return absl::InvalidArgumentError("listen " + host + ": not an address");
  }
  const int64_t channel = world_.network().Listen(process_.id(), process_.host(), port, share);
  if (channel < 0) return ErrorStatus(channel, "listen", host + ":" + std::to_string(port));
  SimProcess::Fd fd;
  fd.kind = SimProcess::Fd::kListener;
  fd.channel = static_cast<Channel>(channel);
  return process_.Add(std::move(fd));
}

absl::StatusOr<uint16_t> SimBackend::LocalPort(int fd) {
  const SimProcess::Fd* entry = dead_ ? nullptr : process_.Find(fd);
  if (entry == nullptr || entry->channel == 0) return ErrorStatus(-EBADF, "getsockname", "fd");
  return world_.network().local_port(entry->channel);
}

std::string SimBackend::PeerName(int fd) {
  return world_.network().peer_name(ChannelOf(fd, SimProcess::Fd::kStream));
}

absl::StatusOr<int> SimBackend::StreamSocket(bool v6) {
  if (dead_) return ErrorStatus(-EBADF, "socket", "");
  SimProcess::Fd fd;
  fd.kind = SimProcess::Fd::kStream;
  fd.channel = world_.network().NewSocket(process_.id(), process_.host());
  return process_.Add(std::move(fd));
}

void SimBackend::ShutdownSocket(int fd) {
  const SimProcess::Fd* entry = dead_ ? nullptr : process_.Find(fd);
  if (entry != nullptr && entry->channel != 0) world_.network().Shutdown(entry->channel);
}

void SimBackend::EndSending(int fd) {
  const Channel channel = ChannelOf(fd, SimProcess::Fd::kStream);
  if (channel != 0) world_.network().EndSending(channel);
}

void SimBackend::AbortSocket(int fd) {
  const Channel channel = ChannelOf(fd, SimProcess::Fd::kStream);
  if (channel != 0) world_.network().Abort(channel);
}

int64_t SimBackend::SendfileNowait(int socket, int file, int64_t position, int64_t length) {
  const Channel channel = ChannelOf(socket, SimProcess::Fd::kStream);
  const SimProcess::Fd* fd = process_.Find(file);
  if (channel == 0 || fd == nullptr || fd->kind != SimProcess::Fd::kFile) return -EBADF;
  Faults::Hit hit;
  int64_t result = 0;
  if (InlineFault(OpCode::kRead, fd->path, &hit, &result)) return result;
  if (!process_.disk().Resident(fd->inode, position, length)) ++cold_touches_;
  constexpr int64_t kChunkBytes = 64 << 10;
  std::string bytes(static_cast<size_t>(std::min(length, kChunkBytes)), '\0');
  iovec vector{bytes.data(), bytes.size()};
  int64_t there = process_.disk().ReadResident(fd->inode, &vector, 1, position);
  if (there == -EAGAIN) {
    there = process_.disk().Read(fd->inode, &vector, 1, position, false, false);
  }
  if (there <= 0) return there;
  vector.iov_len = static_cast<size_t>(there);
  return world_.network().Send(channel, &vector, 1);
}

int64_t SimBackend::SendNowait(int socket, const iovec* vectors, int count, bool more) {
  const Channel channel = ChannelOf(socket, SimProcess::Fd::kStream);
  if (channel == 0) return -EBADF;
  return world_.network().Send(channel, vectors, static_cast<size_t>(count));
}

int64_t SimBackend::UnacknowledgedBytes(int socket) {
  return world_.network().unacknowledged(ChannelOf(socket, SimProcess::Fd::kStream));
}

absl::StatusOr<std::pair<int, int>> SimBackend::Pipe(int64_t capacity_bytes) {
  if (dead_) return ErrorStatus(-EBADF, "pipe", "");
  const auto [reader, writer] = world_.network().NewPipe(capacity_bytes);
  SimProcess::Fd fd;
  fd.kind = SimProcess::Fd::kPipe;
  fd.channel = reader;
  const int read_end = process_.Add(fd);
  fd.channel = writer;
  return std::pair(read_end, process_.Add(fd));
}

int64_t SimBackend::PipeCapacity(int pipe) {
  return world_.network().pipe_capacity(ChannelOf(pipe, SimProcess::Fd::kPipe));
}

}  // namespace ringtail::sim
