// A process on a machine, for tests of the log: over the simulation or over the real ring.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "engine/base/check.h"
#include "engine/io/backend.h"
#include "engine/io/file.h"
#include "engine/task/task.h"
#include "tests/engine/io/test_loop.h"
#include "tests/sim/node.h"
#include "tests/sim/world.h"

namespace ringtail::log {

class Machine {
 public:
  virtual ~Machine() = default;
  virtual io::Backend& io() = 0;
  virtual std::string data_dir() const = 0;
  // Ends the process as kill -9 does. What its tasks refer to must still be alive.
  virtual void Kill() = 0;
  // Ends it with a power cut, where the machine has one; `choice` picks what the disk keeps.
  virtual void PowerCut(uint64_t choice) { Kill(); }
  virtual void Start() = 0;
  // Starts a task; Run() returns when its own task has ended, or the world is paused.
  virtual void Spawn(task::Task<void> task) = 0;
  virtual void RunUntil(const std::function<bool()>& done) = 0;

  template <class T>
  std::optional<T> TryRun(task::Task<T> task) {
    auto value = std::make_shared<std::optional<T>>();
    Spawn(Keep(std::move(task), value));
    RunUntil([&] { return value->has_value(); });
    return std::move(*value);
  }
  template <class T>
  T Run(task::Task<T> task) {
    std::optional<T> value = TryRun(std::move(task));
    RT_CHECK(value.has_value());
    return *std::move(value);
  }

 private:
  template <class T>
  static task::Task<void> Keep(task::Task<T> task, std::shared_ptr<std::optional<T>> value) {
    value->emplace(co_await std::move(task));
  }
};

class SimMachine : public Machine {
 public:
  explicit SimMachine(uint64_t seed) : world_(seed) {
    world_.disk().Put("/data/keep", "");
    Start();
  }
  explicit SimMachine(const sim::SimOptions& options) : world_(options) {
    world_.disk().Put("/data/keep", "");
    Start();
  }
  sim::SimWorld& world() { return world_; }
  io::Backend& io() override { return node_->io(); }
  std::string data_dir() const override { return "/data"; }
  void Kill() override { node_.reset(); }
  void PowerCut(const sim::PowerCutPolicy& policy) {
    world_.PowerCut(policy);
    node_.reset();
  }
  void PowerCut(uint64_t choice) override {
    PowerCut(sim::PowerCutPolicy{static_cast<sim::PowerCutPolicy::Kept>(choice % 5),
                                 choice / 5 % 2 == 0 ? sim::kSectorBytes : sim::kPageBytes});
  }
  void Start() override {
    world_.Resume();
    node_.emplace(world_, world_.NewProcess("broker"));
  }
  void Spawn(task::Task<void> task) override { node_->Start("test", std::move(task)); }
  // What hangs, since its disk does, is given up after an hour of the world's time: timers go on.
  void RunUntil(const std::function<bool()>& done) override {
    const base::Nanos end = world_.now() + kHung;
    world_.RunUntil([&] { return done() || world_.now() >= end; });
  }
  task::Scheduler& scheduler() { return node_->scheduler(); }

 private:
  static constexpr base::Nanos kHung = 3600 * base::kNanosPerSecond;

  sim::SimWorld world_;
  std::optional<sim::SimNode> node_;
};

class RingMachine : public Machine {
 public:
  RingMachine() : directory_(io::MakeTestDirectory()) { Start(); }
  io::Backend& io() override { return loop_->backend(); }
  std::string data_dir() const override { return directory_; }
  void Kill() override { loop_.reset(); }
  void Start() override { loop_.emplace(); }
  void Spawn(task::Task<void> task) override { loop_->Spawn(std::move(task)); }
  void RunUntil(const std::function<bool()>& done) override {
    while (!done()) loop_->Turn(/*may_wait=*/true);
  }

 private:
  std::string directory_;
  std::optional<io::TestLoop> loop_;
};

}  // namespace ringtail::log
