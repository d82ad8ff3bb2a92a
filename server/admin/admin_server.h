// The admin pages: health, metrics and what the cores are doing, as JSON. Started before the cores
// and stopped after them, so that /readyz can say what the broker waits for.
//
//   /            the list of pages
//   /healthz     200 as long as the process answers and no core is stuck; else 503 with the reason
//   /readyz      200 while the broker serves; else 503 with the reason
//   /metrics     Prometheus' text format
//   /v1/cores /v1/partitions /v1/groups /v1/connections /v1/config   JSON
//   /v1/tasks    what every suspended task waits for, as text
//
// Signals and the like are the caller's: block them before Start, which makes a thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "server/admin/http.h"
#include "server/admin/snapshot.h"

namespace ringtail::server::admin {

struct AdminOptions {
  std::string host = "127.0.0.1";  // an address
  uint16_t port = 0;               // 0: the kernel picks
  std::string version;
  std::string config_json;               // /v1/config until it serves, see ConfigJson()
  int64_t core_timeout_ms = 1000;        // for one answer of all cores
  int64_t request_ms = 1000;             // for a request to come in, and for its reply to go out
  size_t metrics_partitions_max = 1000;  // more than this have no series of their own
  size_t metrics_lags_max = 1000;        // committed offsets that have
  size_t page_offsets_max = 100'000;     // that /v1/groups shows of a core
};

class AdminServer {
 public:
  static absl::StatusOr<std::unique_ptr<AdminServer>> Start(AdminOptions options);
  ~AdminServer() { Stop(); }

  uint16_t port() const { return http_->port(); }

  // From now on ready; `source` is asked on this server's thread, one call at a time.
  void SetServing(SnapshotSource* source);
  // Not ready, because of `reason` ("starting: opening 12 partitions"). When it returns, the source
  // is in no call and is called no more: waits for a page in progress, core_timeout_ms at most.
  void SetNotReady(std::string reason);
  // Ends the thread.
  void Stop() {
    if (http_ != nullptr) http_->Stop();
  }

 private:
  explicit AdminServer(AdminOptions options) : options_(std::move(options)) {}

  HttpReply Answer(const std::string& path);
  HttpReply Health();
  HttpReply Metrics();
  HttpReply Page(const std::string& path);

  const AdminOptions options_;
  // Between the caller's thread and the pages'; held while the source is asked.
  std::mutex mutex_;
  SnapshotSource* source_ = nullptr;
  std::string reason_ = "starting";
  std::unique_ptr<HttpServer> http_;  // its thread uses all of the above
};

}  // namespace ringtail::server::admin
