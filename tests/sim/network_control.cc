// SimNetwork: pipes, what can be asked about a channel, and what tests do to connections.
#include <algorithm>
#include <cerrno>

#include "engine/base/check.h"
#include "tests/sim/network.h"

namespace ringtail::sim {
namespace {

constexpr int64_t kSlotBytes = 4096;

}  // namespace

bool SimNetwork::connected(Channel channel) const {
  const Stream* stream = Find(channel);
  return stream != nullptr && stream->connected;
}

int SimNetwork::TakeError(Channel channel) {
  Stream* stream = Find(channel);
  return stream == nullptr ? ENOTSOCK : std::exchange(stream->error, 0);
}

int64_t SimNetwork::unacknowledged(Channel channel) const {
  const Stream* stream = Find(channel);
  return stream == nullptr ? 0 : stream->out_bytes();
}

uint64_t SimNetwork::sent_total(Channel channel) const {
  const Stream* stream = Find(channel);
  return stream == nullptr ? 0 : stream->sent;
}

uint64_t SimNetwork::acknowledged_total(Channel channel) const {
  const Stream* stream = Find(channel);
  return stream == nullptr ? UINT64_MAX : stream->acknowledged;
}

int64_t SimNetwork::received_bytes_ready(Channel channel) const {
  const Stream* stream = Find(channel);
  return stream == nullptr ? 0 : stream->in_bytes();
}

bool SimNetwork::at_end(Channel channel) const {
  const Stream* stream = Find(channel);
  return stream == nullptr || stream->fin_received || stream->shut || stream->error != 0;
}

uint16_t SimNetwork::local_port(Channel channel) const {
  if (const auto found = listeners_.find(channel); found != listeners_.end()) {
    return found->second.port;
  }
  const Stream* stream = Find(channel);
  return stream == nullptr ? 0 : stream->port;
}

std::string SimNetwork::peer_name(Channel channel) const {
  const Stream* stream = Find(channel);
  return stream == nullptr || stream->peer == 0 ? "?" : stream->peer_name;
}

int64_t SimNetwork::Pipe::bytes() const {
  int64_t sum = 0;
  for (const std::string& page : pages) sum += static_cast<int64_t>(page.size());
  return sum;
}

const SimNetwork::Pipe* SimNetwork::FindPipe(Channel channel) const {
  const auto end = pipe_ends_.find(channel);
  return end == pipe_ends_.end() ? nullptr : &pipes_.at(end->second);
}

std::pair<Channel, Channel> SimNetwork::NewPipe(int64_t capacity_bytes) {
  const Channel id = next_channel_++;
  Pipe& pipe = pipes_[id];
  // The kernel rounds up to a power of two pages.
  pipe.slots = 1;
  while (pipe.slots * kSlotBytes < capacity_bytes) pipe.slots *= 2;
  pipe.reader = next_channel_++;
  pipe.writer = next_channel_++;
  pipe_ends_[pipe.reader] = id;
  pipe_ends_[pipe.writer] = id;
  return {pipe.reader, pipe.writer};
}

int64_t SimNetwork::pipe_capacity(Channel channel) const {
  const Pipe* pipe = FindPipe(channel);
  return pipe == nullptr ? -EBADF : pipe->slots * kSlotBytes;
}

int64_t SimNetwork::PipeRoom(Channel writer, int64_t position) const {
  const Pipe* pipe = FindPipe(writer);
  if (pipe == nullptr || writer != pipe->writer) return -EBADF;
  if (!pipe->reader_open) return -EPIPE;
  const int64_t free = pipe->slots - static_cast<int64_t>(pipe->pages.size());
  return free == 0 ? -EAGAIN : free * kSlotBytes - position % kSlotBytes;
}

int64_t SimNetwork::PipeWrite(Channel writer, absl::string_view bytes, int64_t position) {
  const int64_t room = PipeRoom(writer, position);
  if (room < 0) return room;
  Pipe& pipe = pipes_[pipe_ends_[writer]];
  const auto length = static_cast<size_t>(std::min(room, static_cast<int64_t>(bytes.size())));
  for (size_t done = 0; done < length;) {
    const int64_t in_page = (position + static_cast<int64_t>(done)) % kSlotBytes;
    const size_t now = std::min(length - done, static_cast<size_t>(kSlotBytes - in_page));
    pipe.pages.emplace_back(bytes.substr(done, now));
    done += now;
  }
  const Channel reader = pipe.reader;
  Changed(reader);
  return static_cast<int64_t>(length);
}

int64_t SimNetwork::PipePeek(Channel reader, int64_t bytes_max, std::string* bytes) const {
  const Pipe* pipe = FindPipe(reader);
  if (pipe == nullptr || reader != pipe->reader) return -EBADF;
  for (const std::string& page : pipe->pages) {
    const int64_t left = bytes_max - static_cast<int64_t>(bytes->size());
    if (left <= 0) break;
    bytes->append(page, 0, static_cast<size_t>(left));
  }
  if (!bytes->empty()) return static_cast<int64_t>(bytes->size());
  return pipe->writer_open ? -EAGAIN : 0;
}

void SimNetwork::PipeConsume(Channel reader, int64_t bytes) {
  Pipe& pipe = pipes_[pipe_ends_[reader]];
  while (bytes > 0) {
    RT_CHECK(!pipe.pages.empty());
    std::string& page = pipe.pages.front();
    const auto now = std::min(bytes, static_cast<int64_t>(page.size()));
    page.erase(0, static_cast<size_t>(now));
    if (page.empty()) pipe.pages.pop_front();
    bytes -= now;
  }
  Changed(pipe.writer);
}

int SimNetwork::Reset(int process, int peer_process) {
  std::vector<Channel> chosen;
  for (const auto& [channel, stream] : streams_) {
    const Stream* peer = Find(stream.peer);
    if (peer == nullptr || (process >= 0 && stream.process != process)) continue;
    if (peer_process >= 0 && peer->process != peer_process) continue;
    chosen.push_back(channel);
  }
  int cut = 0;
  for (const Channel channel : chosen) {
    const Stream* stream = Find(channel);
    if (stream == nullptr || stream->peer == 0) continue;
    ++cut;
    ResetStream(channel, ECONNRESET);
  }
  return cut;
}

bool SimNetwork::IsCut(int process, int peer_process) const {
  const auto fits = [](int wanted, int actual) { return wanted < 0 || wanted == actual; };
  return std::ranges::any_of(cuts_, [&](const std::pair<int, int>& cut) {
    return (fits(cut.first, process) && fits(cut.second, peer_process)) ||
           (fits(cut.first, peer_process) && fits(cut.second, process));
  });
}

void SimNetwork::Cut(int process, int peer_process) {
  cuts_.emplace_back(process, peer_process);
  for (auto& [channel, stream] : streams_) {
    Stream* peer = Find(stream.peer);
    if (peer == nullptr || (process >= 0 && stream.process != process)) continue;
    if (peer_process >= 0 && peer->process != peer_process) continue;
    stream.stalled = peer->stalled = true;
  }
}

void SimNetwork::Heal() {
  cuts_.clear();
  std::vector<Channel> all;
  for (auto& [channel, stream] : streams_) {
    if (std::exchange(stream.stalled, false)) all.push_back(channel);
  }
  for (const Channel channel : all) StartDelivery(channel);
}

void SimNetwork::Vanish(int process) {
  std::vector<Channel> gone;
  for (auto& [channel, stream] : streams_) {
    if (stream.process == process) gone.push_back(channel);
  }
  for (const Channel channel : gone) {
    const Channel other = Find(channel)->peer;
    streams_.erase(channel);
    Stream* peer = Find(other);
    if (peer == nullptr) continue;
    // The machine answers again after its restart, or a router says that it is gone.
    peer->stalled = true;
    at_(rng_.Between(1'000'000, 2'000'000'000), "reset",
        [this, other] { ResetStream(other, ECONNRESET); });
  }
  std::erase_if(listeners_,
                [process](const auto& entry) { return entry.second.process == process; });
}

}  // namespace ringtail::sim
