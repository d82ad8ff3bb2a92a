// What it costs to receive messages, by the kernel's ways and by the engine's two: into buffers
// that the backend lends (requests' heads, small requests), and straight to their place (the bodies
// of large ones).
#include <deque>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/core/core.h"
#include "engine/io/op.h"
#include "engine/task/sync.h"
#include "engine/task/task.h"
#include "perf/lab/families.h"
#include "perf/lib/engine_core.h"
#include "perf/lib/isolated.h"
#include "perf/lib/os.h"
#include "perf/lib/report.h"
#include "perf/raw/message_load.h"
#include "perf/raw/receive_paths.h"

namespace ringtail::lab {
namespace {

using core::Core;
using task::Task;

enum class EnginePath { kProvided, kInPlace };

// One task per connection, on one core.
struct Server {
  explicit Server(raw::MessageSource& source) : source(source), places(source) {}

  raw::MessageSource& source;
  raw::MessagePlaces places;
  size_t open = 0;
  absl::Status status;
  task::WaitList ended;
};

// What `body`, which throws, returns; where it throws, into `status`.
template <typename Body>
int64_t Checked(absl::Status& status, const Body& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    status = absl::DataLossError(error.what());
    return 0;
  }
}

absl::Status Acknowledge(Server& server, int socket, int64_t messages) {
  if (messages == 0) return absl::OkStatus();
  const perf::Bytes acks = server.source.Acks(messages);
  const iovec vector = {const_cast<char*>(acks.data), acks.size};
  const int64_t sent = Core::Current().io().SendNowait(socket, &vector, 1, /*more=*/false);
  return sent == static_cast<int64_t>(acks.size)
             ? absl::OkStatus()
             : absl::UnavailableError("the engine could not send an acknowledgement");
}

absl::Status EndOf(int32_t result, bool amid_message) {
  if (result == 0 && !amid_message) return absl::OkStatus();
  return absl::UnavailableError("the engine's receive ended with " + std::to_string(result));
}

Task<absl::Status> ReceiveProvided(Server* server, int socket) {
  io::Backend& io = Core::Current().io();
  raw::MessageAssembler assembler(server->places);
  absl::Status status;
  while (status.ok()) {
    io::Op op;
    op.code = io::OpCode::kReceiveProvided;
    op.fd = socket;
    const int32_t received = co_await io::Run(io, &op);
    if (received == -ENOBUFS) {
      co_await task::Yield();
      continue;
    }
    if (received <= 0) co_return EndOf(received, assembler.amid_message());
    const int64_t messages = Checked(status, [&] {
      return assembler.Received(reinterpret_cast<const char*>(op.provided.data),
                                static_cast<size_t>(received));
    });
    io.ReleaseProvided(op.provided);
    if (status.ok()) status = Acknowledge(*server, socket, messages);
  }
  co_return status;
}

Task<absl::Status> ReceiveInPlace(Server* server, int socket) {
  const perf::Buffer place(static_cast<size_t>(server->source.load().message_bytes));
  const iovec vector = {place.data(), place.size()};
  absl::Status status;
  while (status.ok()) {
    io::Op op;
    op.code = io::OpCode::kReceive;
    op.flags = io::kWaitAll;
    op.fd = socket;
    op.vectors = &vector;
    op.vector_count = 1;
    const int32_t received = co_await io::Run(Core::Current().io(), &op);
    if (received != server->source.load().message_bytes) co_return EndOf(received, received > 0);
    const int64_t messages = Checked(status, [&] {
      server->source.Take(place.data());
      return 1;
    });
    if (status.ok()) status = Acknowledge(*server, socket, messages);
  }
  co_return status;
}

Task<void> ServeConnection(Server* server, int socket, EnginePath path) {
  absl::Status status = path == EnginePath::kProvided ? co_await ReceiveProvided(server, socket)
                                                      : co_await ReceiveInPlace(server, socket);
  if (!status.ok()) server->status = status;
  if (--server->open == 0 || !status.ok()) server->ended.NotifyAll();
}

Task<absl::Status> ServeAll(Server* server, EnginePath path) {
  server->open = server->source.count();
  for (size_t i = 0; i < server->source.count(); ++i) {
    task::Spawn("connection", ServeConnection(server, server->source.socket(i), path));
  }
  while (server->open > 0 && server->status.ok()) co_await server->ended.Wait();
  co_return server->status;
}

perf::Figures RunEngine(EnginePath path, const raw::MessageLoad& load) {
  raw::MessageSource source(load);
  for (size_t i = 0; i < source.count(); ++i) perf::SetNonBlocking(source.socket(i));
  Server server(source);
  perf::RunOnCore([&] { return ServeAll(&server, path); });
  return source.Finish();
}

Cell MakeCell(const std::string& path, bool engine, const raw::MessageLoad& load,
              std::function<perf::Figures(const raw::MessageLoad&)> run) {
  return {path, engine, Promise::kNone, [=, run = std::move(run)](double seconds) {
            raw::MessageLoad this_load = load;
            this_load.seconds = seconds;
            return perf::RunIsolated([&] { return run(this_load); },
                                     perf::DeadlineSeconds(seconds));
          }};
}

Group MakeGroup(int64_t message_bytes, int connections) {
  Group group;
  group.family = "receive";
  group.parameters = {{"size", message_bytes, perf::SizeName(message_bytes)},
                      {"connections", connections, std::to_string(connections)}};
  raw::MessageLoad load;
  load.message_bytes = message_bytes;
  load.connections = connections;
  for (const raw::ReceivePath path : raw::ReceivePaths(connections)) {
    group.cells.push_back(MakeCell(
        raw::Name(path), /*engine=*/false, load,
        [path](const raw::MessageLoad& these) { return raw::RunReceivePath(path, these); }));
  }
  for (const EnginePath path : {EnginePath::kProvided, EnginePath::kInPlace}) {
    const char* name = path == EnginePath::kProvided ? "through a core, provided buffers"
                                                     : "through a core, to its place";
    group.cells.push_back(
        MakeCell(name, /*engine=*/true, load,
                 [path](const raw::MessageLoad& these) { return RunEngine(path, these); }));
  }
  return group;
}

}  // namespace

std::vector<Group> ReceiveGroups(const Selection& selection) {
  constexpr int64_t kKib = 1 << 10;
  constexpr int kMany = 64;
  std::vector<Group> groups;
  if (!selection.size_bytes.empty() || !selection.quick) {
    const std::vector<int64_t> sizes = !selection.size_bytes.empty()
                                           ? selection.size_bytes
                                           : std::vector<int64_t>{kKib, 64 * kKib, 1024 * kKib};
    for (const int64_t size : sizes) {
      for (const int connections : {1, kMany}) groups.push_back(MakeGroup(size, connections));
    }
    return groups;
  }
  return {MakeGroup(kKib, kMany), MakeGroup(64 * kKib, 1), MakeGroup(64 * kKib, kMany)};
}

}  // namespace ringtail::lab
