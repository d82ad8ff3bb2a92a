#include "server/admin/admin_server.h"

#include <chrono>
#include <utility>

#include "engine/base/result.h"
#include "server/admin/metrics.h"
#include "server/admin/pages.h"

namespace ringtail::server::admin {
namespace {

constexpr char kIndex[] =
    "/healthz\n/readyz\n/metrics\n/v1/cores\n/v1/partitions\n/v1/groups\n/v1/connections\n/v1/"
    "config\n"
    "/v1/tasks\n";
constexpr char kText[] = "text/plain; charset=utf-8";
constexpr char kJson[] = "application/json";

}  // namespace

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Start(AdminOptions options) {
  std::unique_ptr<AdminServer> server(new AdminServer(std::move(options)));
  AdminServer* self = server.get();
  RT_ASSIGN_OR_RETURN(
      server->http_,
      HttpServer::Start(self->options_.host, self->options_.port,
                        std::chrono::milliseconds(self->options_.request_ms),
                        [self](const std::string& path) { return self->Answer(path); }));
  return server;
}

void AdminServer::SetServing(SnapshotSource* source) {
  const std::lock_guard lock(mutex_);
  source_ = source;
  reason_.clear();
}

void AdminServer::SetNotReady(std::string reason) {
  const std::lock_guard lock(mutex_);
  source_ = nullptr;
  reason_ = std::move(reason);
}

HttpReply AdminServer::Answer(const std::string& path) {
  if (path == "/") return {200, kText, kIndex};
  const std::lock_guard lock(mutex_);
  if (path == "/v1/config") {
    return {200, kJson, source_ == nullptr ? options_.config_json : source_->ConfigJson()};
  }
  if (path == "/healthz") return Health();
  if (path == "/metrics") return Metrics();
  if (path == "/readyz" && source_ != nullptr) return {200, kJson, StatusJson("ready", "")};
  if (path == "/readyz") return {503, kJson, StatusJson("not ready", reason_)};
  return Page(path);
}

HttpReply AdminServer::Health() {
  const std::string stuck = source_ == nullptr ? "" : source_->StuckReason();
  if (!stuck.empty()) return {503, kJson, StatusJson("stuck", stuck)};
  return {200, kJson, StatusJson("ok", "")};
}

HttpReply AdminServer::Metrics() {
  MetricsInput input{.version = options_.version, .ready = source_ != nullptr};
  if (source_ != nullptr) {
    input.cores = source_->Cores(options_.core_timeout_ms);
    Answers<PartitionSnapshot> partitions = source_->Partitions(options_.core_timeout_ms);
    input.lags = LagsOf(source_->Groups(options_.metrics_lags_max, options_.core_timeout_ms).items,
                        partitions.items, options_.metrics_lags_max, &input.lags_omitted);
    if (partitions.items.size() > options_.metrics_partitions_max) {
      input.partitions_omitted = partitions.items.size();
    } else {
      input.partitions = std::move(partitions.items);
    }
  }
  return {200, "text/plain; version=0.0.4; charset=utf-8", MetricsText(input)};
}

HttpReply AdminServer::Page(const std::string& path) {
  const int64_t timeout_ms = options_.core_timeout_ms;
  const bool known = path == "/v1/cores" || path == "/v1/partitions" || path == "/v1/groups" ||
                     path == "/v1/connections" || path == "/v1/tasks";
  if (!known) return {404, kJson, StatusJson("no such page", "GET / lists the pages")};
  if (source_ == nullptr) return {503, kJson, StatusJson("not ready", reason_)};
  if (path == "/v1/cores") return {200, kJson, CoresJson(source_->Cores(timeout_ms))};
  if (path == "/v1/tasks") return {200, kText, TasksText(source_->Tasks(timeout_ms))};
  if (path == "/v1/partitions") {
    return {200, kJson, PartitionsJson(source_->Partitions(timeout_ms))};
  }
  if (path == "/v1/groups") {
    const Answers<PartitionSnapshot> partitions = source_->Partitions(timeout_ms);
    return {200, kJson,
            GroupsJson(source_->Groups(options_.page_offsets_max, timeout_ms), partitions.items)};
  }
  return {200, kJson, ConnectionsJson(source_->Connections(timeout_ms))};
}

}  // namespace ringtail::server::admin
