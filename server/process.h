// The broker as a whole: its core threads, their start in order and their stop in order. Used by
// main() on the control thread, and by tests.
//
//   Start: threads and rings -> catalog -> partitions opened (recovery) -> listeners -> serving
//   Stop:  listeners and connections -> logs closed -> checkpoints, clean marker -> threads end
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/core/core.h"
#include "engine/io/uring_ring_setup.h"
#include "server/cluster/local_catalog.h"
#include "server/core_server.h"
#include "server/native/session.h"

namespace ringtail::server {

struct ProcessOptions {
  std::string data_directory;  // exists, and is locked by the caller
  std::string listen_host = "127.0.0.1";
  std::vector<int> cpus;  // one core each
  bool pin_threads = true;
  CorePorts shared_ports{.kafka = 9092, .native = 7092};
  bool advertise_cores = true;
  std::string advertise_host;  // empty: listen_host
  int32_t broker_id = 0;
  base::Nanos shutdown_grace_ns = 10 * base::kNanosPerSecond;
  core::CoreOptions core;
  io::UringOptions uring;
  CoreServerOptions server;
  TopicDefaults topic_defaults;
  native::SessionOptions native;
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

  // Runs fn(CoreServer&), which must not suspend, on a core, from the control thread, and waits
  // until `timeout_ms`; false: the core did not answer. What it captures must be owned by `fn`
  // itself.
  bool RunOn(base::CoreId core, std::function<void(CoreServer&)> fn, int64_t timeout_ms);
  uint32_t core_count() const { return group_.count(); }

 private:
  struct CoreThread;
  struct Boot;

  explicit Process(ProcessOptions options);
  void RunThread(uint32_t index);
  absl::Status MakeCore(uint32_t index);
  task::Task<absl::Status> BootTask();
  task::Task<absl::Status> OpenCatalog();
  task::Task<absl::Status> FinishDeletions();
  task::Task<void> PublishImage(ImagePtr image);
  absl::Status Bind(uint32_t core);
  task::Task<absl::Status> BindAll();
  task::Task<absl::Status> StopTask();
  task::Task<absl::Status> WriteCheckpoints();
  // Starts `make` on core 0 from the control thread and waits for its status.
  absl::Status RunOnFirstCore(task::Task<absl::Status> (Process::*make)());
  void JoinThreads();

  ProcessOptions options_;
  core::CoreGroup group_;
  BrokerGroup brokers_;
  Endpoints endpoints_;
  std::unique_ptr<LocalCatalog> catalog_;  // used on core 0
  std::vector<std::unique_ptr<CoreThread>> threads_;
};

}  // namespace ringtail::server
