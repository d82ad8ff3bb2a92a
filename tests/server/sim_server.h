// A whole broker in the simulation: what server/process.cc puts together on threads and rings, here
// on a SimBroker's cores. Its data directory is /data on the world's disk, so a second SimServer in
// the same world is the restart of the first.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/cluster/local_catalog.h"
#include "server/core_server.h"
#include "server/journals.h"
#include "server/kafka/core_state.h"
#include "server/live_config.h"
#include "server/native/session.h"
#include "tests/sim/cluster.h"

namespace ringtail::server {

struct SimServerOptions {
  uint32_t cores = 1;
  CoreServerOptions server;
  BrokerOptions broker;                    // until `live` says otherwise
  std::shared_ptr<const LiveConfig> live;  // null: nothing can be set while it runs
  sim::SimBackendOptions backend;
  bool advertise_cores = true;
  bool listen = true;
  kafka::FetchSessionLimits fetch_sessions;
  bool syncs_at_once = false;  // there is a syncfs
  log::Durability durability = log::Durability::kJournal;
  JournalSettings journal = {.file_bytes = 1 << 20, .bytes_max = 4 << 20};
};

// What syncfs does, in no time.
class SimFileSystemSync : public log::FileSystemSync {
 public:
  explicit SimFileSystemSync(sim::SimDisk& disk) : disk_(disk) {}
  bool available(int64_t) const override { return true; }
  task::Task<absl::Status> Sync() override {
    disk_.SyncEverything();
    ++passes;
    co_return absl::OkStatus();
  }
  int passes = 0;

 private:
  sim::SimDisk& disk_;
};

class SimServer {
 public:
  SimServer(sim::SimWorld& world, const SimServerOptions& options);
  ~SimServer();  // kill -9, unless it was stopped

  // Ends when it serves. Unavailable: the simulation ended before it did.
  absl::Status Start();
  // Orderly, as SIGTERM does it; the process is gone afterwards. Whether all went well.
  bool Stop(base::Nanos grace_ns = base::kNanosPerSecond);
  // kill -9; operations in flight are done or not. Nothing of it may be called any more.
  void Kill();

  sim::SimBroker& sim() { return *sim_; }
  Broker& broker(uint32_t core) { return servers_[core]->broker(); }
  CoreServer& server(uint32_t core) { return *servers_[core]; }
  kafka::CoreState& kafka(uint32_t core) { return *kafka_[core]; }
  LocalCatalog& catalog() { return *catalog_; }
  BrokerGroup& group() { return brokers_; }
  const Endpoints& endpoints() const { return endpoints_; }

  ProposalResult CreateTopic(const std::string& name, uint32_t partitions = 1,
                             std::map<std::string, std::string> configs = {});
  // nullopt: the world was paused, or the process ended.
  std::optional<std::vector<ProposalResult>> AlterTopics(std::vector<AlterTopicProposal> proposals);
  ProposalResult DeleteTopic(const std::string& name);
  ProposalResult AlterSettings(AlterSettingsProposal proposal, uint32_t core = 0);
  // Of the current image; CHECKs that the topic is there.
  partition::PartitionId IdOf(const std::string& topic, int32_t partition = 0);
  uint32_t CoreOf(const partition::PartitionId& id);

 private:
  task::Task<absl::Status> Boot();
  task::Task<absl::Status> OpenCatalog();
  task::Task<void> Publish(ImagePtr image);
  task::Task<absl::Status> ListenAll();
  task::Task<bool> Close(base::Nanos grace_ns);
  void End();

  SimServerOptions options_;
  BrokerGroup brokers_;
  Endpoints endpoints_;
  native::SessionOptions native_;
  std::unique_ptr<LocalCatalog> catalog_;
  SimFileSystemSync file_system_sync_;
  std::unique_ptr<sim::SimBroker> sim_;
  std::vector<std::unique_ptr<kafka::CoreState>> kafka_;  // by core; outlive its sessions
  std::vector<std::unique_ptr<CoreServer>> servers_;
};

}  // namespace ringtail::server
