// One connection to a broker: handshake, pipelined requests, replies in order, reconnects.
//
// Life: made idle; connects when first used, says Hello, and then sends whatever was queued. When
// the connection is lost every request on it fails with kUnavailable (kDeadlineExceeded where its
// time was up), and the next use waits for a backoff that doubles with every failure, with jitter.
// Nothing is sent twice by itself: whether a lost request may be repeated is for its owner to say.
// Used by the thread that turns its loop.
#pragma once

#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/arena.h"
#include "proto/client.pb.h"
#include "tools/client/address.h"
#include "tools/client/error.h"
#include "tools/client/event_loop.h"
#include "tools/client/frame.h"

namespace ringtail::client {

struct ConnectionOptions {
  std::string client_id = "ringtail";
  Nanos connect_timeout = 5 * base::kNanosPerSecond;  // with the handshake
  Nanos backoff_min = 20 * base::kNanosPerMilli;
  Nanos backoff_max = 2 * base::kNanosPerSecond;
  FrameReader::Limits limits;
};

struct Reply {
  wire::ResponseHeader* header;  // gone when the callback returns
  Buffer payload;                // may be moved out
};

// `reply` is null unless `status` is OK. A request without a reply (Post) has an empty one, once
// its last byte was given to the kernel. Must not destroy the connection; may Call on it.
using OnReply = std::function<void(const absl::Status& status, Reply* reply)>;

class Connection : public EventLoop::Handler {
 public:
  enum class State { kIdle, kConnecting, kReady, kWaiting, kRefused };

  // `addresses` are tried in turn. All pointers outlive the connection.
  Connection(EventLoop* loop, std::vector<Address> addresses, const ConnectionOptions* options,
             BufferPool* pool);
  ~Connection() override;

  // Queues a request and sends what the socket takes. Fills in its correlation id and deadline. The
  // bytes of `payload` stay in place until on_reply ran, which it does once, never before Call
  // returns.
  void Call(wire::RequestHeader* request, std::span<const base::ByteView> payload, Nanos deadline,
            OnReply on_reply);
  // The same for a request that has no reply.
  void Post(wire::RequestHeader* request, std::span<const base::ByteView> payload, Nanos deadline,
            OnReply on_sent);

  // Starts connecting now, unless connected or connecting.
  void Connect();

  State state() const { return state_; }
  // Requests queued or waiting for their reply.
  size_t outstanding() const { return queued_.size() + awaiting_.size(); }
  // How often in a row connecting failed, or the connection was lost before any reply.
  int failures() const { return failures_; }
  // Why the connection was last lost.
  const absl::Status& last_error() const { return last_error_; }
  // What the broker said; valid from the first time ready.
  const wire::HelloResponse& hello() const { return hello_; }
  // How often it became ready.
  uint64_t connects() const { return connects_; }
  std::string Name() const;

  void OnReady(uint32_t events) override;
  void OnTime(Nanos now) override;

 private:
  struct Request {
    uint64_t correlation_id;
    Nanos deadline;
    OnReply on_reply;
    bool has_reply;
    std::string head;  // prefix and header
    std::vector<base::ByteView> payload;
    size_t bytes;  // of all of it
  };

  void Enqueue(wire::RequestHeader* request, std::span<const base::ByteView> payload,
               Nanos deadline, OnReply on_reply, bool has_reply);
  void StartConnect();
  absl::Status ConnectNext();
  void OnConnected();
  void SendHello();
  absl::Status OnHello(const wire::ResponseHeader& response);
  absl::Status Flush();
  void Sent(size_t bytes);
  absl::Status ReadReplies();
  absl::Status OnFrame(base::ByteView header, Buffer payload);
  // Closes, and fails all requests with `why`, or with kDeadlineExceeded those past their time.
  void Lose(const absl::Status& why, bool for_good = false);
  void ExpireQueued(Nanos now);
  void WatchFor(uint32_t events);
  void SetWake();
  Nanos Backoff();

  EventLoop* const loop_;
  const std::vector<Address> addresses_;
  const ConnectionOptions* const options_;
  BufferPool* const pool_;

  State state_ = State::kIdle;
  size_t address_index_ = 0;
  std::vector<SocketAddress> candidates_;  // resolved and not yet tried, last first
  int fd_ = -1;
  uint32_t watched_ = 0;
  bool saying_hello_ = false;
  std::string hello_frame_;
  Nanos connect_deadline_ = base::kNever;
  Nanos next_attempt_ = 0;
  int failures_ = 0;
  uint64_t connects_ = 0;
  uint64_t random_;
  absl::Status last_error_;
  wire::HelloResponse hello_;

  FrameReader reader_;
  google::protobuf::Arena arena_;
  uint64_t next_correlation_id_ = 1;
  std::deque<Request> queued_;    // not wholly sent
  size_t front_sent_ = 0;         // bytes of queued_.front() that were
  std::deque<Request> awaiting_;  // sent, in order
};

}  // namespace ringtail::client
