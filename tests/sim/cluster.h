// A whole broker's worth of cores in the test's thread: a core::CoreGroup whose cores are turned by
// a SimWorld. Programs (a broker, a client with cores of its own) are started on it as tasks.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/core.h"
#include "engine/task/task.h"
#include "tests/sim/backend.h"
#include "tests/sim/world.h"

namespace ringtail::sim {

struct SimBrokerOptions {
  uint32_t cores = 1;
  core::CoreOptions core;  // busy_poll_ns is 0 in a simulation
  SimBackendOptions backend;
  SimDisk* disk = nullptr;  // nullptr: the world's first
  std::string host = "127.0.0.1";
  SimBrokerOptions() { core.busy_poll_ns = 0; }
};

class SimBroker {
 public:
  SimBroker(SimWorld& world, std::string name, const SimBrokerOptions& options);
  // Kills the process if it lives, then destroys all cores.
  ~SimBroker();
  SimBroker(const SimBroker&) = delete;
  SimBroker& operator=(const SimBroker&) = delete;

  SimWorld& world() { return world_; }
  SimProcess& process() { return process_; }
  core::CoreGroup& group() { return *group_; }
  core::Core& core(uint32_t id) { return *cores_[id]->core; }
  SimBackend& io(uint32_t id) { return *cores_[id]->backend; }
  uint32_t core_count() const { return static_cast<uint32_t>(cores_.size()); }
  bool alive() const { return process_.alive(); }

  // Runs `program` on a core: it is called there (Core::Current() is set) and its task spawned. The
  // function object lives as long as the broker, so a lambda coroutine may capture.
  void Start(uint32_t core, std::function<task::Task<void>()> program);
  // Starts it and runs the world until it has ended. False: it did not (see SimWorld::RunUntil).
  bool Run(uint32_t core, std::function<task::Task<void>()> program,
           uint64_t steps_max = SimWorld::kStepsDefault);
  // The same for a task with a value.
  template <class T>
  std::optional<T> Get(uint32_t core, std::function<task::Task<T>()> program,
                       uint64_t steps_max = SimWorld::kStepsDefault) {
    auto value = std::make_shared<std::optional<T>>();
    auto kept = std::make_shared<std::function<task::Task<T>()>>(std::move(program));
    Start(core, [value, kept]() -> task::Task<void> { return Keep<T>(kept, value); });
    world_.RunUntil([value, this] { return value->has_value() || !alive(); }, steps_max);
    return std::move(*value);
  }
  // kill -9. The cores' frames live until the SimBroker is destroyed; nothing runs any more.
  void Kill() { world_.Kill(process_); }
  // What all cores' tasks wait for.
  std::string DumpTasks();

 private:
  struct Slot;
  struct Program;
  template <class T>
  static task::Task<void> Keep(std::shared_ptr<std::function<task::Task<T>()>> program,
                               std::shared_ptr<std::optional<T>> value) {
    value->emplace(co_await (*program)());
  }

  SimWorld& world_;
  SimProcess& process_;
  std::vector<std::unique_ptr<Program>> programs_;  // outlives the tasks that run in them
  std::unique_ptr<core::CoreGroup> group_;
  std::vector<std::unique_ptr<Slot>> cores_;

  struct Slot : Actor {
    SimWorld* world = nullptr;
    SimProcess* owner = nullptr;
    SimBackend* backend = nullptr;  // the core owns it
    std::unique_ptr<core::Core> core;
    int process() const override { return owner->id(); }
    bool Turn() override;
    bool Runnable() const override;
    base::Nanos Deadline() const override;
  };
};

}  // namespace ringtail::sim
