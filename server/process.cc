#include "server/process.h"

#include <google/protobuf/stubs/logging.h>
#include <pthread.h>

#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/uring_backend.h"
#include "server/core_thread.h"
#include "server/kafka/session.h"

namespace ringtail::server {
namespace {

// Past the grace time the logs are closed; a stop takes 30 s at most.
constexpr int64_t kCloseMs = 15'000;
constexpr int64_t kStopMs = 29'000;

// A function of the control thread, run on a core.
struct ControlCall : core::Message {
  explicit ControlCall(std::function<void()> fn) : function(std::move(fn)) { run = &Run; }
  static void Run(core::Message* message) {
    std::unique_ptr<ControlCall> call(static_cast<ControlCall*>(message));
    call->function();
  }
  std::function<void()> function;
};

void ReportStuck(base::CoreId core, base::Nanos stuck_ns, const std::string& doing) {
  RT_LOG(kError, "core {}: has not come back to its loop for {} s; {}", core.value(),
         stuck_ns / base::kNanosPerSecond, doing);
}

task::Task<void> RunAndReport(task::Task<absl::Status> task,
                              std::shared_ptr<std::promise<absl::Status>> done) {
  done->set_value(co_await task);
}

}  // namespace

Process::Process(ProcessOptions options)
    : options_(std::move(options)),
      group_(static_cast<uint32_t>(options_.cpus.size())),
      watchdog_(group_, {.on_report = &ReportStuck}),
      live_(options_.live->Under({})) {
  brokers_.data_directory = options_.data_directory;
  brokers_.durability = options_.durability;
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
  const std::shared_ptr<const LiveOptions> live = this->live();
  if (live->pin_threads) PinThread(options_.cpus[index]);
  io::UringOptions uring = options_.uring;
  uring.data_directory = options_.data_directory;
  uring.workers = live->workers;
  RT_ASSIGN_OR_RETURN(std::unique_ptr<io::Backend> backend, io::UringBackend::Create(uring));
  if (index == 0) RT_LOG(kInfo, "{}", backend->features().description);
  CoreServerOptions server = options_.server;
  if (server.log.reserve.bytes == 0) {
    RT_ASSIGN_OR_RETURN(const io::DiskSpace space, backend->Space(options_.data_directory));
    server.log.reserve.bytes = log::DiskReserve::DefaultBytes(space.total_bytes);
  }
  const base::CoreId id(index);
  self.core = std::make_unique<core::Core>(id, group_, std::move(backend), live->core);
  group_.Install(id, self.core.get());
  self.kafka = std::make_unique<kafka::CoreState>(options_.fetch_sessions);
  kafka::CoreState* kafka_state = self.kafka.get();
  self.server = std::make_unique<CoreServer>(
      *self.core, brokers_, server,
      [this, kafka_state](ListenerKind kind, Broker& broker) -> std::unique_ptr<Session> {
        if (kind == ListenerKind::kKafka) {
          return std::make_unique<kafka::Session>(broker, endpoints_, *kafka_state);
        }
        return std::make_unique<native::Session>(broker, endpoints_, options_.native);
      });
  brokers_.brokers[index] = &self.server->broker();
  return absl::OkStatus();
}

std::shared_ptr<const LiveOptions> Process::live() const {
  const std::lock_guard<std::mutex> lock(live_mutex_);
  return live_;
}

void Process::set_live(std::shared_ptr<const LiveOptions> live) {
  const std::lock_guard<std::mutex> lock(live_mutex_);
  live_ = std::move(live);
}

const kafka::CoreState& Process::kafka_state(base::CoreId core) const {
  return *threads_[core.value()]->kafka;
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
  self.kafka.reset();
  self.core.reset();
}

absl::StatusOr<std::unique_ptr<Process>> Process::Start(ProcessOptions options) {
  // It writes a line to stderr for each malformed message: peers could fill a disk with them. What
  // cannot be parsed is told by whoever parses it.
  google::protobuf::SetLogHandler(nullptr);
  std::unique_ptr<Process> process(new Process(std::move(options)));
  RT_ASSIGN_OR_RETURN(process->sync_thread_,
                      log::SyncThread::Start(process->options_.data_directory));
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
  process->watchdog_.Start();
  const absl::Status booted = process->RunOnFirstCore(&Process::BootTask).get();
  if (!booted.ok()) {
    process->watchdog_.Stop();
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

absl::Status Process::Stop() {
  std::future<absl::Status> future = RunOnFirstCore(&Process::StopTask);
  const int64_t limit_ms =
      std::min(kStopMs, options_.shutdown_grace_ns / base::kNanosPerMilli + kCloseMs);
  if (future.wait_for(std::chrono::milliseconds(limit_ms)) != std::future_status::ready) {
    return absl::DeadlineExceededError(
        "the disk did not answer in time; stopping without closing the logs");
  }
  const absl::Status status = future.get();
  sync_thread_->Stop();
  watchdog_.Stop();  // before the cores go
  for (auto& thread : threads_) thread->core->RequestStop();
  JoinThreads();
  return status;
}

}  // namespace ringtail::server
