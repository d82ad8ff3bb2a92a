// One core's server: its broker, its listeners, its connections. Made on the core's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/core/core.h"
#include "engine/io/sender.h"
#include "server/broker.h"
#include "server/connection.h"
#include "server/endpoints.h"
#include "server/group/coordinator.h"
#include "server/live_options.h"

namespace ringtail::server {

struct CoreServerOptions {
  ConnectionLimits connection;
  size_t core_bytes_max = 256u << 20;  // of requests in flight on the core
  size_t connections_max = 10'000;     // per core; more are closed at once
  log::LogOptions log;
  io::SenderOptions sender;
  group::GroupOptions groups;
};

struct ListenerCounters {
  uint64_t accepted = 0;
  uint64_t refused = 0;          // over connections_max
  uint64_t accept_failures = 0;  // out of descriptors or memory
};

class CoreServer {
 public:
  using SessionFactory = std::function<std::unique_ptr<Session>(ListenerKind, Broker&)>;

  CoreServer(core::Core& core, BrokerGroup& group, const CoreServerOptions& options,
             SessionFactory factory);

  // What may change while it runs, from now on. On the core's thread.
  void SetOptions(const LiveOptions& options);

  Broker& broker() { return broker_; }
  group::Coordinator& groups() { return groups_; }
  core::Core& core() { return core_; }
  io::Sender& sender() { return sender_; }
  const ListenerCounters& listener_counters() const { return counters_; }
  size_t connection_count() const { return connection_count_; }
  const ReceiveBudget& budget() const { return budget_; }

  // Binds; the port in *port is what was asked for (0: any) and becomes what it is.
  absl::Status Listen(const std::string& host, bool share, ListenerKind kind, uint16_t* port);
  void StartAccepting();
  // No more connections and requests; those in flight are answered until `deadline`, then cut.
  task::Task<void> StopServing(base::Nanos deadline);

  template <class Visit>
  void ForEachConnection(Visit visit) {
    connections_.ForEach(visit);
  }

 private:
  struct ListeningSocket {
    int fd;
    ListenerKind kind;
  };

  task::Task<void> AcceptLoop(ListeningSocket socket);
  task::Task<void> Serve(int fd, ListenerKind kind);

  core::Core& core_;
  CoreServerOptions options_;
  Broker broker_;
  group::Coordinator groups_;
  io::Sender sender_;
  ReceiveBudget budget_;
  SessionFactory factory_;
  std::vector<ListeningSocket> listening_;
  task::IntrusiveList<Connection> connections_;
  size_t connection_count_ = 0;
  size_t accept_loops_ = 0;
  bool stopping_ = false;
  task::WaitList ended_;  // a connection or an accept loop
  ListenerCounters counters_;
};

}  // namespace ringtail::server
