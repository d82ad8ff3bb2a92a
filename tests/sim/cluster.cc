#include "tests/sim/cluster.h"

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace ringtail::sim {

struct SimBroker::Program : core::Message {
  std::function<task::Task<void>()> body;
};

bool SimBroker::Slot::Turn() {
  if (!owner->alive()) return false;
  return core->Turn(/*may_wait=*/true);
}

bool SimBroker::Slot::Runnable() const {
  return owner->alive() && (core->scheduler().ready_count() > 0 || backend->HasWork());
}

base::Nanos SimBroker::Slot::Deadline() const {
  if (!owner->alive()) return base::kNever;
  return std::min(core->scheduler().next_deadline(), backend->poll_deadline());
}

SimBroker::SimBroker(SimWorld& world, std::string name, const SimBrokerOptions& options)
    : world_(world),
      process_(world.NewProcess(std::move(name), options.disk, options.host)),
      group_(std::make_unique<core::CoreGroup>(options.cores)) {
  for (uint32_t i = 0; i < options.cores; ++i) {
    auto slot = std::make_unique<Slot>();
    auto backend = std::make_unique<SimBackend>(world, process_, options.backend);
    slot->world = &world;
    slot->owner = &process_;
    slot->backend = backend.get();
    slot->core =
        std::make_unique<core::Core>(base::CoreId(i), *group_, std::move(backend), options.core);
    group_->Install(base::CoreId(i), slot->core.get());
    world.AddActor(slot.get());
    cores_.push_back(std::move(slot));
  }
}

SimBroker::~SimBroker() {
  for (const auto& slot : cores_) world_.RemoveActor(slot.get());
  if (process_.alive()) world_.Kill(process_);
  for (const auto& slot : cores_) slot->core.reset();
}

void SimBroker::Start(uint32_t core, std::function<task::Task<void>()> program) {
  RT_CHECK(alive());
  programs_.push_back(std::make_unique<Program>());
  Program* message = programs_.back().get();
  message->body = std::move(program);
  message->run = [](core::Message* received) {
    task::Spawn("program", static_cast<Program*>(received)->body());
  };
  group_->SendFromControl(base::CoreId(core), message);
  cores_[core]->backend->WakeFromAnyThread();
}

bool SimBroker::Run(uint32_t core, std::function<task::Task<void>()> program, uint64_t steps_max) {
  auto body = std::make_shared<std::function<task::Task<void>()>>(std::move(program));
  return Get<bool>(
             core,
             [body]() -> task::Task<bool> {
               co_await (*body)();
               co_return true;
             },
             steps_max)
      .has_value();
}

std::string SimBroker::DumpTasks() {
  std::string text;
  for (const auto& slot : cores_) {
    absl::StrAppend(&text, "core ", slot->core->id().value(), ":\n",
                    slot->core->scheduler().DumpTasks());
  }
  return text;
}

}  // namespace ringtail::sim
