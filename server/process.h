// The broker as a whole: its core threads, their start in order and their stop in order. Used by
// main() on the control thread, and by tests.
//
//   Start: threads and rings -> catalog -> journals recovered -> partitions opened -> listeners
//   Stop:  listeners and connections -> logs closed -> journals closed, checkpoints, clean marker
//          -> threads end
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/core/core.h"
#include "engine/core/watchdog.h"
#include "engine/io/uring_ring_setup.h"
#include "engine/log/data_directory.h"
#include "engine/log/journal/file_system_sync.h"
#include "server/cluster/local_catalog.h"
#include "server/core_server.h"
#include "server/journals.h"
#include "server/kafka/core_state.h"
#include "server/live_config.h"
#include "server/native/session.h"

namespace ringtail::server {

struct ProcessOptions {
  std::string data_directory;  // exists, and is locked by the caller
  std::string listen_host = "127.0.0.1";
  std::vector<int> cpus;  // one core each
  CorePorts shared_ports{.kafka = 9092, .native = 7092};
  bool advertise_cores = true;
  std::string advertise_host;  // empty: listen_host
  int32_t broker_id = 0;
  base::Nanos shutdown_grace_ns = 10 * base::kNanosPerSecond;
  io::UringOptions uring;
  CoreServerOptions server;
  std::shared_ptr<const LiveConfig> live;  // what may change, with or without changes
  log::Durability durability = log::Durability::kJournal;
  JournalSettings journal;
  log::RecoveryProgress* recovery_progress = nullptr;  // outlives the start
  native::SessionOptions native;
  kafka::FetchSessionLimits fetch_sessions;
};

class Process {
 public:
  // Ends when the broker serves, or says why it does not.
  static absl::StatusOr<std::unique_ptr<Process>> Start(ProcessOptions options);
  ~Process();  // Stop() has been called

  // Orderly; at most the grace time and a little. An error: the next start has to look closer.
  absl::Status Stop();

  const Endpoints& endpoints() const { return endpoints_; }
  ImagePtr first_image() const { return catalog_->image(); }

  // Asks every core at once, from any control thread: runs `ask(CoreServer&)`, which must not
  // suspend, on each and waits until all have answered, `timeout_ms` at most. By core; nullopt: no
  // answer in time. `ask` is copied to the cores and owns what it captures.
  template <class T>
  std::vector<std::optional<T>> Ask(std::function<T(CoreServer&)> ask, int64_t timeout_ms);
  // On that core only.
  const kafka::CoreState& kafka_state(base::CoreId core) const;
  // Thread-safe. -1: not pinned.
  int CpuOf(uint32_t core) const { return live()->pin_threads ? options_.cpus[core] : -1; }
  // Thread-safe: what holds now of what may change.
  std::shared_ptr<const LiveOptions> live() const;
  uint32_t core_count() const { return group_.count(); }
  // Thread-safe, at once: which cores have not come back for long; empty: none.
  std::string StuckReason() const { return watchdog_.StuckReason(); }

 private:
  struct CoreThread;
  struct Boot;

  explicit Process(ProcessOptions options);
  void RunThread(uint32_t index);
  absl::Status MakeCore(uint32_t index);
  task::Task<absl::Status> BootTask();
  task::Task<absl::Status> OpenCatalog();
  task::Task<absl::Status> BeginRun();
  task::Task<void> PublishImage(ImagePtr image);
  // What is set from now on holds on every core when this ends.
  task::Task<void> TakeOver(const Settings& settings);
  void set_live(std::shared_ptr<const LiveOptions> live);
  bool ReusesName(const Image& image) const;
  absl::Status Bind(uint32_t core);
  task::Task<absl::Status> BindAll();
  task::Task<void> StartAccepting();
  task::Task<absl::Status> StopTask();
  // Kafka's three offset checkpoints, where they have changed.
  task::Task<absl::Status> WriteCheckpoints();
  task::Task<absl::Status> WriteIfChanged(const char* file, log::OffsetCheckpoint offsets,
                                          log::OffsetCheckpoint* written);
  task::Task<void> CheckpointLoop();
  // Runs `function` on a core. From any control thread: the mailbox has one producer, so they take
  // turns.
  void SendToCore(base::CoreId core, std::function<void(CoreServer&)> function);
  // Starts `make` on core 0.
  std::future<absl::Status> RunOnFirstCore(task::Task<absl::Status> (Process::*make)());
  void JoinThreads();

  ProcessOptions options_;
  core::CoreGroup group_;
  core::Watchdog watchdog_;  // looks from when all cores are there until they are asked to stop
  std::unique_ptr<log::SyncThread> sync_thread_;  // outlives the cores' journals
  BrokerGroup brokers_;
  Endpoints endpoints_;
  std::unique_ptr<LocalCatalog> catalog_;  // used on core 0
  std::vector<std::unique_ptr<CoreThread>> threads_;
  std::mutex control_mutex_;
  mutable std::mutex live_mutex_;
  std::shared_ptr<const LiveOptions> live_;

  // On core 0.
  struct WrittenCheckpoints {
    log::OffsetCheckpoint recovery, start, clean, replication;
  };
  task::Event stopping_;
  task::AsyncMutex checkpoint_mutex_;
  WrittenCheckpoints written_;
};

template <class T>
std::vector<std::optional<T>> Process::Ask(std::function<T(CoreServer&)> ask, int64_t timeout_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  std::vector<std::future<T>> answers;
  for (uint32_t core = 0; core < core_count(); ++core) {
    auto promise = std::make_shared<std::promise<T>>();
    answers.push_back(promise->get_future());
    SendToCore(base::CoreId(core),
               [promise, ask](CoreServer& server) { promise->set_value(ask(server)); });
  }
  std::vector<std::optional<T>> values;
  for (std::future<T>& answer : answers) {
    const bool ready = answer.wait_until(deadline) == std::future_status::ready;
    values.push_back(ready ? std::optional<T>(answer.get()) : std::nullopt);
  }
  return values;
}

}  // namespace ringtail::server
