#include "perf/compare/engine_core.h"

#include <string>
#include <utility>

#include "engine/core/core.h"
#include "engine/io/uring_backend.h"
#include "perf/lib/check.h"

namespace ringtail::compare {
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

void RunOnCore(const std::function<task::Task<absl::Status>()>& body) {
  Start start;
  start.body = &body;
  start.run = [](core::Message* message) {
    task::Spawn("measured", RunAndStop(static_cast<Start*>(message)));
  };
  auto backend = io::UringBackend::Create(io::UringOptions{});
  perf::Require(backend.ok(), "no ring: " + std::string(backend.status().message()));
  core::CoreGroup group(1);
  core::Core core(base::CoreId(0), group, *std::move(backend), core::CoreOptions{});
  group.Install(base::CoreId(0), &core);
  group.SendFromControl(base::CoreId(0), &start);
  core.Run();
  core.DropTasks();
  perf::Require(start.status.ok(), std::string(start.status.message()));
}

}  // namespace ringtail::compare
