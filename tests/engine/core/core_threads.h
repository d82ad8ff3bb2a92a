// Real cores on real threads and rings, for tests and benchmarks of engine/core.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "engine/base/check.h"
#include "engine/core/core.h"
#include "engine/io/uring_backend.h"

namespace ringtail::core {

class CoreThreads {
 public:
  explicit CoreThreads(uint32_t count, const CoreOptions& options = {}) : group_(count) {
    for (uint32_t i = 0; i < count; ++i) {
      threads_.emplace_back([this, i, count, options] {
        io::UringOptions uring;
        uring.submission_entries = 128;
        uring.completion_entries = 1024;
        uring.provided_buffers = 16;
        auto backend = io::UringBackend::Create(uring);
        RT_CHECK(backend.ok());
        Core core(base::CoreId(i), group_, *std::move(backend), options);
        group_.Install(base::CoreId(i), &core);
        Meet(&made_, count);  // no core runs before all are there
        core.Run();
        Meet(&ended_, count);  // none is destroyed while another may wake it
      });
    }
    while (made_.load() < count) std::this_thread::yield();
  }
  ~CoreThreads() {
    Stop();
    for (std::thread& thread : threads_) thread.join();
  }

  CoreGroup& group() { return group_; }
  uint32_t count() const { return group_.count(); }

  // Runs `make()` as a task on core `id`; returns at once.
  void Spawn(uint32_t id, std::function<task::Task<void>()> make) {
    starts_.push_back(std::make_unique<Start>());
    Start* start = starts_.back().get();
    start->make = std::move(make);
    start->run = [](Message* message) {
      task::Spawn("started by the test", static_cast<Start*>(message)->make());
    };
    group_.SendFromControl(base::CoreId(id), start);
  }
  // The same, and waits until it has ended.
  void Run(uint32_t id, std::function<task::Task<void>()> make) {
    std::atomic<bool> done = false;
    Spawn(id, [&]() -> task::Task<void> { return ThenSet(make, &done); });
    done.wait(false);
  }
  void Stop() {
    for (uint32_t i = 0; i < count(); ++i) group_.core(base::CoreId(i)).RequestStop();
  }

 private:
  struct Start : Message {
    std::function<task::Task<void>()> make;
  };
  static task::Task<void> ThenSet(std::function<task::Task<void>()> make, std::atomic<bool>* done) {
    co_await make();
    done->store(true);
    done->notify_all();
  }
  static void Meet(std::atomic<uint32_t>* arrived, uint32_t count) {
    ++*arrived;
    while (arrived->load() < count) std::this_thread::yield();
  }

  // Of the thread that spawns: a core that stops may leave some in its mailbox.
  std::vector<std::unique_ptr<Start>> starts_;
  CoreGroup group_;
  std::atomic<uint32_t> made_{0};
  std::atomic<uint32_t> ended_{0};
  std::vector<std::thread> threads_;
};

}  // namespace ringtail::core
