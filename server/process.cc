#include "server/process.h"

#include <google/protobuf/stubs/logging.h>
#include <pthread.h>
#include <sched.h>

#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/io/uring_backend.h"
#include "engine/log/data_directory.h"
#include "server/kafka/session.h"

namespace ringtail::server {
namespace {

constexpr int64_t kStopMarginMs = 15'000;

// A function of the control thread, run on a core.
struct ControlCall : core::Message {
  explicit ControlCall(std::function<void()> fn) : function(std::move(fn)) { run = &Run; }
  static void Run(core::Message* message) {
    std::unique_ptr<ControlCall> call(static_cast<ControlCall*>(message));
    call->function();
  }
  std::function<void()> function;
};

void PinThread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0) {
    RT_LOG(kWarn, "cannot pin a core's thread to CPU {}; it may move", cpu);
  }
}

task::Task<void> RunAndReport(task::Task<absl::Status> task,
                              std::shared_ptr<std::promise<absl::Status>> done) {
  done->set_value(co_await task);
}

}  // namespace

struct Process::CoreThread {
  std::thread thread;
  std::unique_ptr<core::Core> core;  // made, used and destroyed on the thread
  std::unique_ptr<CoreServer> server;
  std::promise<absl::Status> made;
  std::promise<void> go;  // all cores are made: the loop may start, or (not ok) the thread ends
  bool run = false;
};

Process::Process(ProcessOptions options)
    : options_(std::move(options)), group_(static_cast<uint32_t>(options_.cpus.size())) {
  brokers_.data_directory = options_.data_directory;
  brokers_.topic_defaults = options_.topic_defaults;
  brokers_.brokers.resize(options_.cpus.size());
  endpoints_.advertise_cores = options_.advertise_cores;
  endpoints_.host =
      options_.advertise_host.empty() ? options_.listen_host : options_.advertise_host;
  endpoints_.shared = options_.shared_ports;
  endpoints_.cores.resize(options_.cpus.size());
}

Process::~Process() = default;

absl::Status Process::MakeCore(uint32_t index) {
  CoreThread& self = *threads_[index];
  if (options_.pin_threads) PinThread(options_.cpus[index]);
  io::UringOptions uring = options_.uring;
  uring.data_directory = options_.data_directory;
  RT_ASSIGN_OR_RETURN(std::unique_ptr<io::Backend> backend, io::UringBackend::Create(uring));
  if (index == 0) RT_LOG(kInfo, "{}", backend->features().description);
  const base::CoreId id(index);
  self.core = std::make_unique<core::Core>(id, group_, std::move(backend), options_.core);
  group_.Install(id, self.core.get());
  self.server = std::make_unique<CoreServer>(
      *self.core, brokers_, options_.server,
      [this](ListenerKind kind, Broker& broker) -> std::unique_ptr<Session> {
        if (kind == ListenerKind::kKafka) {
          return std::make_unique<kafka::Session>(broker, endpoints_);
        }
        return std::make_unique<native::Session>(broker, endpoints_, options_.native);
      });
  brokers_.brokers[index] = &self.server->broker();
  return absl::OkStatus();
}

void Process::RunThread(uint32_t index) {
  CoreThread& self = *threads_[index];
  pthread_setname_np(pthread_self(), absl::StrCat("core-", index).c_str());
  self.made.set_value(MakeCore(index));
  self.go.get_future().wait();
  if (self.run) self.core->Run();
  // The core's tasks refer to the server, and the server's members to the core's buffers.
  if (self.core != nullptr) self.core->DropTasks();
  self.server.reset();
  self.core.reset();
}

absl::StatusOr<std::unique_ptr<Process>> Process::Start(ProcessOptions options) {
  // It writes a line to stderr for each malformed message: peers could fill a disk with them. What
  // cannot be parsed is told by whoever parses it.
  google::protobuf::SetLogHandler(nullptr);
  std::unique_ptr<Process> process(new Process(std::move(options)));
  const uint32_t count = process->group_.count();
  for (uint32_t index = 0; index < count; ++index) {
    process->threads_.push_back(std::make_unique<CoreThread>());
  }
  absl::Status made;
  for (uint32_t index = 0; index < count; ++index) {
    Process* self = process.get();
    process->threads_[index]->thread = std::thread([self, index] { self->RunThread(index); });
    made.Update(process->threads_[index]->made.get_future().get());
  }
  // One thread after the other has made its core: from here on all may call each other.
  for (auto& thread : process->threads_) {
    thread->run = made.ok();
    thread->go.set_value();
  }
  if (!made.ok()) {
    process->JoinThreads();
    return made;
  }
  const absl::Status booted = process->RunOnFirstCore(&Process::BootTask).get();
  if (!booted.ok()) {
    for (auto& thread : process->threads_) thread->core->RequestStop();
    process->JoinThreads();
    return booted;
  }
  return process;
}

void Process::JoinThreads() {
  for (auto& thread : threads_) {
    if (thread->thread.joinable()) thread->thread.join();
  }
}

std::future<absl::Status> Process::RunOnFirstCore(task::Task<absl::Status> (Process::*make)()) {
  auto done = std::make_shared<std::promise<absl::Status>>();
  SendToCore(base::CoreId(0), [this, make, done](CoreServer&) {
    task::Spawn("control", RunAndReport((this->*make)(), done));
  });
  return done->get_future();
}

void Process::SendToCore(base::CoreId core, std::function<void(CoreServer&)> function) {
  CoreServer* server = threads_[core.value()]->server.get();
  const std::lock_guard<std::mutex> lock(control_mutex_);
  group_.SendFromControl(
      core, new ControlCall([server, function = std::move(function)] { function(*server); }));
}

// --- Start, on core 0.

task::Task<void> Process::PublishImage(ImagePtr image) {
  for (Broker* broker : brokers_.brokers) {
    co_await core::CallOn(broker->core().id(),
                          [broker, &image] { return broker->ApplyImage(image); });
  }
}

task::Task<absl::Status> Process::OpenCatalog() {
  io::Backend& io = core::Core::Current().io();
  auto catalog = co_await LocalCatalog::Open(io, options_.data_directory, options_.broker_id);
  if (!catalog.ok()) co_return catalog.status();
  catalog_ = *std::move(catalog);
  catalog_->set_publish([this](ImagePtr image) { return PublishImage(std::move(image)); });
  brokers_.catalog = catalog_.get();
  auto clean = co_await log::TakeCleanShutdown(io, options_.data_directory);
  if (!clean.ok()) co_return clean.status();
  brokers_.opened_clean = *clean;
  co_return co_await log::WriteMetaProperties(
      io, options_.data_directory,
      {.cluster_id = catalog_->image()->cluster_id().ToString(),
       .directory_id = catalog_->directory_id(),
       .node_id = options_.broker_id});
}

task::Task<absl::Status> Process::FinishDeletions() {
  io::Backend& io = core::Core::Current().io();
  const proto::catalog::CatalogFile file = catalog_->file();
  for (const auto& tombstone : file.gone()) {
    base::Uuid id;
    if (!base::Uuid::FromBytes(base::AsBytes(tombstone.topic_id()), &id)) continue;
    for (uint32_t partition = 0; partition < tombstone.partitions(); ++partition) {
      const std::string directory =
          absl::StrCat(options_.data_directory, "/", tombstone.name(), "-", partition);
      // A topic made anew has the same directories and another id.
      auto owner = co_await log::ReadPartitionMetadata(io, directory);
      if (!owner.ok() || *owner != id) continue;
      RT_CO_RETURN_IF_ERROR(co_await io::RemoveDirectoryWithFiles(io, directory));
    }
    co_await catalog_->ForgetTopic(id);
  }
  co_return absl::OkStatus();
}

absl::Status Process::Bind(uint32_t core) {
  CoreServer& server = *threads_[core]->server;
  CorePorts& ports = endpoints_.cores[core];
  const auto offset = static_cast<uint16_t>(1 + core);
  const CorePorts& base = options_.shared_ports;
  ports.kafka = base.kafka == 0 ? 0 : static_cast<uint16_t>(base.kafka + offset);
  ports.native = base.native == 0 ? 0 : static_cast<uint16_t>(base.native + offset);
  const std::string& host = options_.listen_host;
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
  for (uint32_t core = 0; core < group_.count(); ++core) {
    CoreServer* server = threads_[core]->server.get();
    co_await core::CallOn(base::CoreId(core), [server]() -> task::Task<void> {
      server->StartAccepting();
      co_return;
    });
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> Process::BootTask() {
  RT_CO_RETURN_IF_ERROR(co_await OpenCatalog());
  RT_CO_RETURN_IF_ERROR(co_await FinishDeletions());
  co_await PublishImage(catalog_->image());
  co_return co_await BindAll();
}

// --- Stop, on core 0.

task::Task<absl::Status> Process::WriteCheckpoints() {
  io::Backend& io = core::Core::Current().io();
  log::OffsetCheckpoint recovery, start, replication;
  for (Broker* broker : brokers_.brokers) {
    auto status = co_await core::CallOn(broker->core().id(),
                                        [broker]() -> task::Task<std::vector<PartitionStatus>> {
                                          co_return broker->LocalStatus();
                                        });
    for (const PartitionStatus& partition : status) {
      if (!partition.offline_reason.empty()) continue;
      const std::pair<std::string, int32_t> key(partition.topic, partition.id.partition);
      recovery[key] = partition.log_end;
      replication[key] = partition.high_watermark;
      if (partition.log_start.value() > 0) start[key] = partition.log_start;
    }
  }
  const std::string& directory = options_.data_directory;
  RT_CO_RETURN_IF_ERROR(co_await log::WriteOffsetCheckpoint(io, directory, log::kRecoveryPointFile,
                                                            std::move(recovery)));
  RT_CO_RETURN_IF_ERROR(
      co_await log::WriteOffsetCheckpoint(io, directory, log::kLogStartFile, std::move(start)));
  RT_CO_RETURN_IF_ERROR(co_await log::WriteOffsetCheckpoint(io, directory, log::kReplicationFile,
                                                            std::move(replication)));
  co_return co_await log::MarkCleanShutdown(io, directory);
}

task::Task<absl::Status> Process::StopTask() {
  const base::Nanos deadline = core::Core::Current().now() + options_.shutdown_grace_ns;
  for (auto& thread : threads_) {
    CoreServer* server = thread->server.get();
    co_await core::CallOn(server->core().id(),
                          [server, deadline] { return server->StopServing(deadline); });
  }
  bool clean = true;
  for (Broker* broker : brokers_.brokers) {
    clean &= co_await core::CallOn(broker->core().id(), [broker] { return broker->CloseAll(); });
  }
  if (!clean) co_return absl::UnavailableError("not all partitions were closed cleanly");
  co_return co_await WriteCheckpoints();
}

absl::Status Process::Stop() {
  std::future<absl::Status> future = RunOnFirstCore(&Process::StopTask);
  const auto limit = std::chrono::nanoseconds(options_.shutdown_grace_ns) +
                     std::chrono::milliseconds(kStopMarginMs);
  if (future.wait_for(limit) != std::future_status::ready) {
    return absl::DeadlineExceededError(
        "the disk did not answer in time; stopping without closing the logs");
  }
  const absl::Status status = future.get();
  for (auto& thread : threads_) thread->core->RequestStop();
  JoinThreads();
  return status;
}

}  // namespace ringtail::server
