// One client connection, on the core that accepted it. A reader cuts frames and starts a task for
// each; a writer sends the replies in request order, as many as are ready in one go.
//
//   socket -> FrameReader -> Session::Handle (a task per request) -> Exchange::reply -> writer ->
//   socket
//
// What a request can cost is bounded: its frame is charged to the connection's and the core's byte
// budget until its reply has been made, what it is made into to their work ledger until its reply
// has been sent, and at most `exchanges_max` wait for their turn. A peer
// that stops reading is closed after the send timeout; a request past its deadline is answered so,
// while its task lives on until nothing refers to its frame.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/core.h"
#include "engine/io/sender.h"
#include "engine/partition/fetch_wait.h"
#include "engine/task/sync.h"
#include "server/frame_reader.h"
#include "server/reply.h"
#include "server/request_context.h"

namespace ringtail::server {

class Connection;

// A request and its reply. Owned by its connection, reused.
struct Exchange : task::ListNode {
  Connection* connection = nullptr;
  Frame frame;
  Reply reply;
  RequestContext context;
  size_t work_bytes = 0;   // charged for what the handler makes, while it runs
  size_t reply_bytes = 0;  // charged for the reply
  bool answered = false;   // `reply` is complete; may be set before the task has ended
  bool finished = false;   // the task has ended
  bool sent = false;       // the writer is done with it
};

// A protocol's side of one connection.
class Session : public FrameFormat {
 public:
  // Fills exchange->reply (empty pieces: nothing is sent). It may answer early with
  // Connection::Answer and work on. Requests that append do so before they first suspend: their
  // order is the order of the stream.
  virtual task::Task<void> Handle(Exchange* exchange) = 0;
  // The reply of a request whose deadline has passed; false: nothing can be said, close.
  // Called while Handle still runs: uses nothing but the frame and `reply`.
  virtual bool FillTimedOut(Exchange* exchange, Reply* reply) = 0;
  // The last words to a peer whose bytes are no frame of this protocol; false: none are understood.
  virtual bool FillRefused(const absl::Status& why, Reply* reply) { return false; }
  // What the client calls itself, for logs; "" if unknown.
  virtual absl::string_view client_id() const = 0;
};

struct ConnectionLimits {
  size_t bytes_max = 100u << 20;  // of requests in flight; one larger frame is taken alone
  size_t exchanges_max = 128;
  // Of what requests are made into and of replies not yet sent; beyond it no request is read.
  size_t reply_bytes_max = 1u << 20;
  FrameTimeouts frames;
  // Without progress of the reply; the sender's least rate bounds it in all.
  base::Nanos send_timeout_ns = 60 * base::kNanosPerSecond;
  io::SendPath send_path = io::SendPath::kAuto;
};

struct ConnectionCounters {
  uint64_t requests = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

// What the connections of one core share.
struct ConnectionEnvironment {
  core::Core& core;
  io::Sender& sender;
  ReceiveBudget& core_budget;
  const ConnectionLimits& limits;
};

class Connection : public task::ListNode {
 public:
  Connection(const ConnectionEnvironment& environment, int socket, ListenerKind listener,
             std::string peer);
  ~Connection();  // Run has ended, or the core drops its tasks

  // Before Run.
  void SetSession(std::unique_ptr<Session> session) { session_ = std::move(session); }

  // Serves until the connection ends; closes the socket.
  task::Task<void> Run();
  // Ends the connection: requests in flight are cancelled, nothing more is sent.
  void Abort();
  // Takes no more requests. Once those in flight are answered the peer is told of the end and has a
  // second to close: closed at once, with bytes unread, the socket would take back what it sent.
  void Drain();

  // The reply is complete: it may leave, in its turn.
  void Answer(Exchange* exchange);
  // The handler is about to make so many bytes more of this request. It may end this connection:
  // the request is then cancelled, as with Abort.
  void ChargeWork(Exchange* exchange, size_t bytes);

  const std::string& peer() const { return peer_; }
  ListenerKind listener() const { return listener_; }
  const Session& session() const { return *session_; }
  const ConnectionCounters& counters() const { return counters_; }
  size_t in_flight() const { return queued_; }
  size_t bytes_charged() const { return budget_.used(); }
  size_t work_bytes() const { return account_.held(); }
  base::Nanos opened_at() const { return opened_at_; }

 private:
  class Account final : public WorkLedger::Account {
   public:
    explicit Account(Connection& connection);

   private:
    void End(size_t used, size_t max) override;
    Connection& connection_;
  };

  task::Task<void> ReadLoop();
  task::Task<absl::Status> WriteLoop();
  task::Task<void> Linger();
  task::Task<void> RunExchange(Exchange* exchange);
  task::Task<bool> WaitAnswered(Exchange* exchange);
  task::Task<absl::Status> SendReady();
  task::Task<absl::Status> SendReply(Reply* reply);
  task::Task<absl::Status> FlushSpans(bool more);
  base::Nanos SendDeadline() const;
  void Refuse(const absl::Status& why);
  void LogEnd(const absl::Status& why);
  Exchange* NewExchange(Frame frame);
  void Recycle(Exchange* exchange);

  ConnectionEnvironment environment_;
  int socket_;
  ListenerKind listener_;
  std::string peer_;
  base::Nanos opened_at_;
  std::unique_ptr<Session> session_;
  task::ByteSemaphore budget_;
  Account account_;
  std::unique_ptr<FrameReader> reader_;
  ConnectionCounters counters_;
  partition::CancelToken cancel_;

  task::IntrusiveList<Exchange> queue_;  // not yet sent, in request order
  size_t queued_ = 0;
  size_t running_ = 0;                                // tasks of exchanges that have not ended
  std::vector<std::unique_ptr<Exchange>> exchanges_;  // all
  std::vector<Exchange*> spare_;
  std::vector<Exchange*> sending_;
  std::vector<iovec> spans_;
  task::WaitList changed_;   // a reply is ready, the reader is done, or the connection aborts
  task::WaitList has_room_;  // an exchange was sent or given back, or has finished
  bool reading_ = true;
  bool draining_ = false;
  bool aborted_ = false;
};

}  // namespace ringtail::server
