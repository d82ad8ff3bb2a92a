// The simulated network: listeners, byte streams between them, and pipes. Semantics are Linux's, as
// a program sees them; bytes travel in segments of seeded size and delay, through bounded buffers.
//
// Everything that can be waited on is a *channel*, named by a number that is never reused. Calls
// return values >= 0 or -errno (-EAGAIN: wait); whoever waits is told by `on_change`.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/types.h"
#include "tests/sim/random.h"

namespace ringtail::sim {

struct NetworkOptions {
  int64_t send_buffer_bytes = 0;     // 0: seeded for each connection, 8 to 256 KiB
  int64_t receive_buffer_bytes = 0;  // the same
  int64_t segment_bytes_max = 0;     // 0: seeded for each segment, mostly whole, sometimes 1 byte
  base::Nanos delay_ns_least = 5'000;
  base::Nanos delay_ns_most = 60'000;
};

using Channel = uint64_t;

class SimNetwork {
 public:
  // `at` calls a function at a time from now.
  using At = std::function<void(base::Nanos delay, const char* label, std::function<void()>)>;
  SimNetwork(const NetworkOptions& options, Rng rng, At at);

  // Called when operations waiting on the channel should try again.
  std::function<void(Channel)> on_change;

  // `host` is the address of the machine that the process runs on.
  int64_t Listen(int process, absl::string_view host, uint16_t port, bool share);
  Channel NewSocket(int process, absl::string_view host);
  // Ends with connected() or an error from Receive, Send or TakeError.
  int Connect(Channel channel, absl::string_view host, uint16_t port);
  int64_t Accept(Channel listener);  // -> channel
  void Close(Channel channel);       // listener, stream or end of a pipe

  int64_t Receive(Channel channel, const iovec* vectors, size_t count);
  int64_t Send(Channel channel, const iovec* vectors, size_t count);
  int Shutdown(Channel channel);
  void EndSending(Channel channel);
  void Abort(
      Channel channel);  // as connect(2) to AF_UNSPEC: nothing queued is sent, the peer gets an RST
  uint32_t Poll(Channel channel) const;  // POLLIN ... that hold now
  bool connected(Channel channel) const;
  int TakeError(Channel channel);  // 0 or an errno, once
  int64_t unacknowledged(Channel channel) const;
  // Bytes taken from the sender, and bytes that have reached the peer, since the start.
  uint64_t sent_total(Channel channel) const;
  uint64_t acknowledged_total(Channel channel) const;
  int64_t received_bytes_ready(Channel channel) const;
  bool at_end(Channel channel) const;  // no more bytes will become ready
  uint16_t local_port(Channel channel) const;
  std::string peer_name(Channel channel) const;

  // {read end, write end}.
  std::pair<Channel, Channel> NewPipe(int64_t capacity_bytes);
  // One slot of the pipe holds a page, or a part of one: `position` aligns the first.
  int64_t PipeRoom(Channel writer, int64_t position) const;
  int64_t PipeWrite(Channel writer, absl::string_view bytes, int64_t position);
  int64_t PipePeek(Channel reader, int64_t bytes_max, std::string* bytes) const;
  void PipeConsume(Channel reader, int64_t bytes);
  int64_t pipe_capacity(Channel pipe) const;

  // --- For tests. Processes by their number; -1: any.
  // RST: both ends see -ECONNRESET. Returns how many connections were cut.
  int Reset(int process, int peer_process = -1);
  // Nothing arrives between the two any more, and nobody is told, until Heal(). New connections
  // wait.
  void Cut(int process, int peer_process = -1);
  void Heal();
  // The machine of the process lost power: its ends vanish, peers get an RST some time later.
  void Vanish(int process);
  size_t connection_count() const { return streams_.size(); }

 private:
  struct Listener {
    int process;
    std::string host;
    uint16_t port;
    bool share;
    bool shut = false;
    std::deque<Channel> backlog;
  };
  struct Stream {
    int process;
    std::string host;
    uint16_t port = 0;
    Channel peer = 0;  // 0: none, or gone
    std::string peer_name = "?";
    bool connecting = false;
    bool connected = false;
    bool closed = false;  // by its program; it stays until its bytes are delivered
    bool shut = false;    // ShutdownSocket
    bool mute = false;    // that, or EndSending
    bool fin_sent = false;
    bool fin_received = false;  // or the connection was reset
    bool ended = false;         // by a FIN: readers see the end, then and for ever (SOCK_DONE)
    bool stalled = false;
    bool delivering = false;
    int error = 0;
    std::string out;  // taken from the program, not yet at the peer
    size_t out_head = 0;
    std::string in;  // arrived, not yet read
    size_t in_head = 0;
    int64_t send_buffer = 0;
    int64_t receive_buffer = 0;
    uint64_t sent = 0;
    uint64_t acknowledged = 0;

    int64_t out_bytes() const { return static_cast<int64_t>(out.size() - out_head); }
    int64_t in_bytes() const { return static_cast<int64_t>(in.size() - in_head); }
  };
  struct Pipe {
    int64_t slots;
    std::deque<std::string> pages;
    bool reader_open = true;
    bool writer_open = true;
    Channel reader = 0;
    Channel writer = 0;
    int64_t bytes() const;
  };

  Stream* Find(Channel channel);
  const Stream* Find(Channel channel) const;
  const Pipe* FindPipe(Channel channel) const;
  void InitBuffers(Stream& stream);
  void Establish(Channel client, const std::string& host, uint16_t port);
  void StartDelivery(Channel from);
  void Deliver(Channel from);
  void ResetStream(Channel channel, int error);
  void EraseIfDone(Channel channel);
  void Changed(Channel channel) {
    if (on_change) on_change(channel);
  }
  base::Nanos Delay() { return rng_.Latency(options_.delay_ns_least, options_.delay_ns_most); }
  uint16_t FreePort(const std::string& host);
  bool IsCut(int process, int peer_process) const;

  NetworkOptions options_;
  Rng rng_;
  At at_;
  Channel next_channel_ = 1;
  uint16_t next_port_ = 40000;
  std::vector<std::pair<int, int>> cuts_;
  std::map<Channel, Listener> listeners_;
  std::map<Channel, Stream> streams_;
  std::map<Channel, Channel> pipe_ends_;  // end -> pipe
  std::map<Channel, Pipe> pipes_;
};

}  // namespace ringtail::sim
