// What the process does on core 0: start in order, checkpoints while it serves, stop in order.
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/data_directory.h"
#include "server/cluster/deletions.h"
#include "server/core_thread.h"
#include "server/process.h"

namespace ringtail::server {
namespace {

constexpr base::Nanos kCheckpointEvery = 60 * base::kNanosPerSecond;

// The cores share a port by SO_REUSEPORT, which would share it with another broker of this user,
// too: each would get some of the other's connections.
absl::Status CheckPortIsFree(io::Backend& io, const std::string& host, uint16_t port) {
  if (port == 0) return absl::OkStatus();
  RT_ASSIGN_OR_RETURN(const int fd, io.Listen(host, port, /*share=*/false));
  io.CloseInline(fd);
  return absl::OkStatus();
}

// All cores at once: none takes new work while another still answers.
task::Task<void> StopServing(CoreServer* server, base::Nanos deadline, task::Latch* latch) {
  co_await core::CallOn(server->core().id(),
                        [server, deadline] { return server->StopServing(deadline); });
  latch->Done();
}

}  // namespace

// --- Start, on core 0.

// A checkpoint names partitions by topic name: before a name is used again, what it says of the
// deleted topic must be gone.
bool Process::ReusesName(const Image& image) const {
  const ImagePtr& before = brokers_.brokers[0]->image();
  if (before == nullptr) return false;  // starting: the checkpoints are this catalog's
  for (const TopicImage& topic : image.topics()) {
    if (before->FindById(topic.id) != nullptr) continue;
    const auto next = written_.recovery.lower_bound({topic.name, 0});
    if (next != written_.recovery.end() && next->first.first == topic.name) return true;
  }
  return false;
}

task::Task<void> Process::PublishImage(ImagePtr image) {
  if (ReusesName(*image)) {
    const absl::Status written = co_await WriteCheckpoints();
    if (!written.ok()) RT_LOG(kWarn, "checkpoints: {}", written.message());
  }
  const ImagePtr& before = brokers_.brokers[0]->image();
  if (before == nullptr || before->settings() != image->settings()) {
    co_await TakeOver(image->settings());
  }
  co_await ApplyImageOnAll(brokers_, std::move(image));
}

task::Task<absl::Status> Process::OpenCatalog() {
  io::Backend& io = core::Core::Current().io();
  auto catalog = co_await LocalCatalog::Open(io, options_.data_directory, options_.broker_id);
  if (!catalog.ok()) co_return catalog.status();
  catalog_ = *std::move(catalog);
  catalog_->set_publish([this](ImagePtr image) { return PublishImage(std::move(image)); });
  catalog_->set_check_settings([this](const Settings& set) { return options_.live->Check(set); });
  brokers_.catalog = catalog_.get();
  const std::string& directory = options_.data_directory;
  // The marker goes only when the broker is about to serve: a start that fails changes no log.
  brokers_.opened_clean = io.StatPath(absl::StrCat(directory, "/", log::kCleanShutdownFile)).ok();
  RT_CO_ASSIGN_OR_RETURN(brokers_.recovery_points, co_await log::ReadOffsetCheckpoint(
                                                       io, directory, log::kRecoveryPointFile));
  RT_CO_ASSIGN_OR_RETURN(brokers_.log_starts,
                         co_await log::ReadOffsetCheckpoint(io, directory, log::kLogStartFile));
  RT_CO_ASSIGN_OR_RETURN(brokers_.clean_ends,
                         co_await log::ReadOffsetCheckpoint(io, directory, log::kCleanEndFile));
  written_ = {.recovery = brokers_.recovery_points,
              .start = brokers_.log_starts,
              .clean = brokers_.clean_ends};
  const absl::Status meta = (co_await log::ReadMetaProperties(io, directory)).status();
  // A damaged one is written anew, as all that it says is in the catalog.
  co_return absl::IsFailedPrecondition(meta) ? meta : absl::OkStatus();
}

task::Task<absl::Status> Process::BeginRun() {
  RT_CO_RETURN_IF_ERROR(co_await catalog_->BeginRun());
  co_return co_await log::WriteMetaProperties(
      core::Core::Current().io(), options_.data_directory,
      {.cluster_id = catalog_->image()->cluster_id().ToString(),
       .directory_id = catalog_->directory_id(),
       .node_id = options_.broker_id});
}

absl::Status Process::Bind(uint32_t core) {
  CoreServer& server = *threads_[core]->server;
  CorePorts& ports = endpoints_.cores[core];
  const auto offset = static_cast<uint16_t>(1 + core);
  const CorePorts& base = options_.shared_ports;
  ports.kafka = base.kafka == 0 ? 0 : static_cast<uint16_t>(base.kafka + offset);
  ports.native = base.native == 0 ? 0 : static_cast<uint16_t>(base.native + offset);
  const std::string& host = options_.listen_host;
  if (core == 0) {
    RT_RETURN_IF_ERROR(CheckPortIsFree(server.core().io(), host, base.kafka));
    RT_RETURN_IF_ERROR(CheckPortIsFree(server.core().io(), host, base.native));
  }
  // The first core settles a port that the kernel picks; the others share it.
  RT_RETURN_IF_ERROR(server.Listen(host, true, ListenerKind::kKafka, &endpoints_.shared.kafka));
  RT_RETURN_IF_ERROR(server.Listen(host, true, ListenerKind::kNative, &endpoints_.shared.native));
  RT_RETURN_IF_ERROR(server.Listen(host, false, ListenerKind::kKafka, &ports.kafka));
  return server.Listen(host, false, ListenerKind::kNative, &ports.native);
}

task::Task<absl::Status> Process::BindAll() {
  for (uint32_t core = 0; core < group_.count(); ++core) {
    const absl::Status bound = co_await core::CallOn(
        base::CoreId(core), [this, core]() -> task::Task<absl::Status> { co_return Bind(core); });
    if (!bound.ok()) co_return bound;
  }
  co_return absl::OkStatus();
}

task::Task<void> Process::StartAccepting() {
  for (auto& thread : threads_) {
    CoreServer* server = thread->server.get();
    co_await core::CallOn(server->core().id(), [server]() -> task::Task<void> {
      server->broker().StartRetention();
      server->broker().StartCompaction();
      server->StartAccepting();
      co_return;
    });
  }
}

task::Task<absl::Status> Process::BootTask() {
  RT_CO_RETURN_IF_ERROR(co_await OpenCatalog());
  RT_CO_RETURN_IF_ERROR(co_await OpenJournals(brokers_, options_.journal, sync_thread_.get(),
                                              options_.recovery_progress));
  RT_CO_RETURN_IF_ERROR(co_await BeginRun());
  co_await FinishDeletions(core::Core::Current().io(), options_.data_directory, *catalog_);
  co_await PublishImage(catalog_->image());
  RT_CO_RETURN_IF_ERROR(co_await JournalsAreInUse(brokers_));
  // They are about the partitions of the last run, not of topics that are made from now on.
  brokers_.opened_clean = false;
  brokers_.recovery_points.clear();
  brokers_.log_starts.clear();
  brokers_.clean_ends.clear();
  brokers_.recovered.reset();
  RT_CO_RETURN_IF_ERROR(co_await BindAll());
  const auto taken =
      co_await log::TakeCleanShutdown(core::Core::Current().io(), options_.data_directory);
  if (!taken.ok()) co_return taken.status();
  co_await StartAccepting();
  task::Spawn("checkpoints", CheckpointLoop());
  co_return absl::OkStatus();
}

// --- Stop, on core 0.

task::Task<absl::Status> Process::WriteIfChanged(const char* file, log::OffsetCheckpoint offsets,
                                                 log::OffsetCheckpoint* written) {
  if (offsets == *written) co_return absl::OkStatus();
  const absl::Status status = co_await log::WriteOffsetCheckpoint(
      core::Core::Current().io(), options_.data_directory, file, offsets);
  if (status.ok()) *written = std::move(offsets);
  co_return status;
}

task::Task<absl::Status> Process::WriteCheckpoints() {
  co_await checkpoint_mutex_.Lock();
  const task::AsyncMutex::Held held(checkpoint_mutex_);
  log::OffsetCheckpoint recovery, start, clean, replication;
  for (Broker* broker : brokers_.brokers) {
    auto status = co_await core::CallOn(broker->core().id(),
                                        [broker]() -> task::Task<std::vector<PartitionStatus>> {
                                          co_return broker->LocalStatus();
                                        });
    for (const PartitionStatus& partition : status) {
      if (!partition.offline_reason.empty()) continue;
      const std::pair<std::string, int32_t> key(partition.topic, partition.id.partition);
      recovery[key] = partition.recovery_point;
      replication[key] = partition.high_watermark;
      if (partition.log_start.value() > 0) start[key] = partition.log_start;
      if (partition.clean_end.value() > 0) clean[key] = partition.clean_end;
    }
  }
  RT_CO_RETURN_IF_ERROR(
      co_await WriteIfChanged(log::kRecoveryPointFile, std::move(recovery), &written_.recovery));
  RT_CO_RETURN_IF_ERROR(
      co_await WriteIfChanged(log::kLogStartFile, std::move(start), &written_.start));
  RT_CO_RETURN_IF_ERROR(
      co_await WriteIfChanged(log::kCleanEndFile, std::move(clean), &written_.clean));
  co_return co_await WriteIfChanged(log::kReplicationFile, std::move(replication),
                                    &written_.replication);
}

task::Task<void> Process::CheckpointLoop() {
  while (!co_await stopping_.WaitUntil(core::Core::Current().now() + kCheckpointEvery)) {
    const absl::Status written = co_await WriteCheckpoints();
    if (!written.ok()) {
      RT_LOG(kWarn, "checkpoints: {}; the next start may have to scan more", written.message());
    }
  }
}

task::Task<absl::Status> Process::StopTask() {
  stopping_.Set();
  const base::Nanos deadline = core::Core::Current().now() + options_.shutdown_grace_ns;
  task::Latch latch;
  for (auto& thread : threads_) {
    latch.Add();
    task::Spawn("stop serving", StopServing(thread->server.get(), deadline, &latch));
  }
  co_await latch.Wait();
  const bool clean = co_await CloseAllOnAll(brokers_);
  if (!clean) co_return absl::UnavailableError("not all partitions were closed cleanly");
  RT_CO_RETURN_IF_ERROR(co_await CloseJournals(brokers_));
  RT_CO_RETURN_IF_ERROR(co_await WriteCheckpoints());
  co_return co_await log::MarkCleanShutdown(core::Core::Current().io(), options_.data_directory);
}

}  // namespace ringtail::server
