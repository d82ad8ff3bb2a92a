// One simulated core with nothing but a scheduler and a backend: what tests of engine/ below the
// core run on. See SimBroker (cluster.h) for whole groups of cores.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "engine/base/check.h"
#include "engine/task/scheduler.h"
#include "engine/task/task.h"
#include "tests/sim/backend.h"
#include "tests/sim/world.h"

namespace ringtail::sim {

class SimNode : public Actor {
 public:
  // Several nodes of one process share its fds, as threads do.
  SimNode(SimWorld& world, SimProcess& process, const SimBackendOptions& options = {})
      : world_(world),
        process_(process),
        backend_(world, process, options),
        scheduler_(std::in_place) {
    scheduler_->AdvanceTo(world.now());
    world.AddActor(this);
  }
  // Ends the process if it lives: nothing is left in flight when frames are destroyed.
  ~SimNode() override {
    world_.RemoveActor(this);
    if (process_.alive()) world_.Kill(process_);
    scheduler_.reset();
  }

  SimWorld& world() { return world_; }
  SimBackend& io() { return backend_; }
  task::Scheduler& scheduler() { return *scheduler_; }

  void Start(const char* name, task::Task<void> task) {
    const task::Scheduler::Scope scope(*scheduler_);
    task::Spawn(name, std::move(task));
  }

  // Runs the world until `task` has ended; its value. nullopt: it did not end (the world was
  // paused, the process ended, nothing could happen any more, or the step limit was reached).
  template <class T>
  std::optional<T> TryRun(task::Task<T> task, uint64_t steps_max = SimWorld::kStepsDefault) {
    auto value = std::make_shared<std::optional<T>>();
    Start("test", Keep(std::move(task), value));
    world_.RunUntil([&] { return value->has_value(); }, steps_max);
    return std::move(*value);
  }
  // The same for a task that has to end.
  template <class T>
  T Run(task::Task<T> task, uint64_t steps_max = SimWorld::kStepsDefault) {
    std::optional<T> value = TryRun(std::move(task), steps_max);
    RT_CHECK(value.has_value());
    return *std::move(value);
  }
  void Run(task::Task<void> task, uint64_t steps_max = SimWorld::kStepsDefault) {
    Run(Then(std::move(task)), steps_max);
  }

  int process() const override { return process_.id(); }
  bool Turn() override {
    const task::Scheduler::Scope scope(*scheduler_);
    scheduler_->AdvanceTo(world_.Tick());
    const size_t ran = scheduler_->RunReady(64);
    return ran + backend_.Poll(0) > 0;
  }
  bool Runnable() const override {
    return process_.alive() && (scheduler_->ready_count() > 0 || backend_.HasWork());
  }
  base::Nanos Deadline() const override {
    return process_.alive() ? scheduler_->next_deadline() : base::kNever;
  }

 private:
  template <class T>
  static task::Task<void> Keep(task::Task<T> task, std::shared_ptr<std::optional<T>> value) {
    value->emplace(co_await std::move(task));
  }
  static task::Task<bool> Then(task::Task<void> task) {
    co_await std::move(task);
    co_return true;
  }

  SimWorld& world_;
  SimProcess& process_;
  SimBackend backend_;
  std::optional<task::Scheduler> scheduler_;
};

}  // namespace ringtail::sim
