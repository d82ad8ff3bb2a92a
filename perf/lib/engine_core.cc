#include "perf/lib/engine_core.h"

#include <string>
#include <utility>

#include "engine/core/core.h"
#include "engine/io/uring_backend.h"
#include "perf/lib/check.h"

namespace ringtail::perf {
namespace {

struct Start : core::Message {
  const std::function<task::Task<absl::Status>()>* body = nullptr;
  absl::Status status;
};

task::Task<void> RunAndStop(Start* start) {
  start->status = co_await (*start->body)();
  core::Core::Current().RequestStop();
}

}  // namespace

std::unique_ptr<io::Backend> MakeBackend() {
  auto backend = io::UringBackend::Create(io::UringOptions{});
  if (!backend.ok()) throw Unavailable("no ring: " + std::string(backend.status().message()));
  return *std::move(backend);
}

void RunOnCore(const std::function<task::Task<absl::Status>()>& body) {
  Start start;
  start.body = &body;
  start.run = [](core::Message* message) {
    task::Spawn("measured", RunAndStop(static_cast<Start*>(message)));
  };
  core::CoreGroup group(1);
  core::Core core(base::CoreId(0), group, MakeBackend(), core::CoreOptions{});
  group.Install(base::CoreId(0), &core);
  group.SendFromControl(base::CoreId(0), &start);
  core.Run();
  core.DropTasks();
  Require(start.status.ok(), std::string(start.status.message()));
}

}  // namespace ringtail::perf
