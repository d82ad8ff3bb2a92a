#include "server/core_server.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/logging.h"
#include "engine/base/result.h"

namespace ringtail::server {
namespace {

constexpr base::Nanos kAcceptRetryDelay = 100 * base::kNanosPerMilli;

}  // namespace

CoreServer::CoreServer(core::Core& core, BrokerGroup& group, const CoreServerOptions& options,
                       SessionFactory factory)
    : core_(core),
      options_(options),
      broker_(core, group, options.log),
      groups_(broker_, group, options_.groups),
      sender_(core.io(), core.buffers(), options.sender),
      budget_(options.core_bytes_max),
      factory_(std::move(factory)) {}

void CoreServer::SetOptions(const LiveOptions& options) {
  core_.SetOptions(options.core);
  core_.io().LimitWorkers(options.workers);
  options_.connection.send_path = options.send_path;
  options_.connection.frames.idle_ns = options.connection_idle_ns;
  options_.connection.send_timeout_ns = options.send_timeout_ns;
  options_.connections_max = options.connections_max;
  sender_.SetRule(options.send_rule);
  sender_.SetColdReadsAtOnce(options.cold_reads_at_once);
  broker_.SetOptions(options.broker);
}

absl::Status CoreServer::Listen(const std::string& host, bool share, ListenerKind kind,
                                uint16_t* port) {
  RT_ASSIGN_OR_RETURN(const int fd, core_.io().Listen(host, *port, share));
  listening_.push_back({.fd = fd, .kind = kind});
  RT_ASSIGN_OR_RETURN(*port, core_.io().LocalPort(fd));
  return absl::OkStatus();
}

void CoreServer::StartAccepting() {
  for (const ListeningSocket& socket : listening_) {
    ++accept_loops_;
    task::Spawn("accept", AcceptLoop(socket));
  }
}

task::Task<void> CoreServer::AcceptLoop(ListeningSocket socket) {
  while (!stopping_) {
    io::Op op{.code = io::OpCode::kAccept, .fd = socket.fd};
    const int32_t fd = co_await io::Run(core_.io(), &op);
    if (stopping_) {
      if (fd >= 0) core_.io().CloseInline(fd);
      break;
    }
    if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
      ++counters_.accept_failures;
      RT_LOG_EVERY(10, kError,
                   "core {}: cannot accept connections: {}; raise the descriptor limit (ulimit -n, "
                   "LimitNOFILE=) or lower --open_files_max; connections that are open are served",
                   core_.id().value(), std::strerror(-fd));
      co_await core_.scheduler().SleepUntil(core_.now() + kAcceptRetryDelay);
      continue;
    }
    if (fd < 0) continue;  // the peer gave up before it was accepted
    if (connection_count_ >= options_.connections_max) {
      ++counters_.refused;
      RT_LOG_EVERY(10, kWarn,
                   "core {}: {} connections, a further one from {} is refused; see "
                   "--connections_max and the limit of descriptors (ulimit -n)",
                   core_.id().value(), connection_count_, core_.io().PeerName(fd));
      core_.io().CloseInline(fd);
      continue;
    }
    ++counters_.accepted;
    ++connection_count_;
    task::Spawn("connection", Serve(fd, socket.kind));
  }
  core_.io().CloseInline(socket.fd);
  --accept_loops_;
  ended_.NotifyAll();
}

task::Task<void> CoreServer::Serve(int fd, ListenerKind kind) {
  core_.io().SetNoDelay(fd);
  {
    Connection connection(
        {.core = core_, .sender = sender_, .core_budget = budget_, .limits = options_.connection},
        fd, kind, core_.io().PeerName(fd));
    connection.SetSession(factory_(kind, broker_));
    connections_.PushBack(connection);
    if (stopping_) connection.Drain();
    co_await connection.Run();
  }
  --connection_count_;
  ended_.NotifyAll();
}

task::Task<void> CoreServer::StopServing(base::Nanos deadline) {
  stopping_ = true;
  for (const ListeningSocket& socket : listening_) core_.io().ShutdownSocket(socket.fd);
  connections_.ForEach([](Connection& connection) { connection.Drain(); });
  while (connection_count_ > 0 || accept_loops_ > 0) {
    if (co_await ended_.WaitUntil(deadline)) continue;
    if (core_.now() < deadline) continue;
    connections_.ForEach([](Connection& connection) { connection.Abort(); });
    break;
  }
  // Aborted connections still wait for their requests, which end when the disk answers.
  const base::Nanos last = core_.now() + base::kNanosPerSecond;
  while (connection_count_ > 0 && co_await ended_.WaitUntil(last)) {
  }
}

}  // namespace ringtail::server
