// Answers the admin pages: asks each core, by message, for copies of its counters.
#pragma once

#include "server/admin/snapshot.h"
#include "server/config.h"
#include "server/process.h"

namespace ringtail::server {

class ProcessSnapshots : public admin::SnapshotSource {
 public:
  explicit ProcessSnapshots(Process& process) : process_(process) {}

  std::vector<admin::CoreSnapshot> Cores(int64_t timeout_ms) override;
  admin::Answers<admin::PartitionSnapshot> Partitions(int64_t timeout_ms) override;
  admin::Answers<admin::GroupSnapshot> Groups(size_t offsets_max, int64_t timeout_ms) override;
  admin::Answers<admin::ConnectionSnapshot> Connections(int64_t timeout_ms) override;
  admin::Answers<admin::TaskSnapshot> Tasks(int64_t timeout_ms) override;
  std::string ConfigJson() override { return server::ConfigJson(process_.live()->config); }
  std::string StuckReason() override { return process_.StuckReason(); }

 private:
  Process& process_;
};

}  // namespace ringtail::server
