// ringtaild: the broker. This thread is the control thread: it reads the configuration, starts the
// cores, answers the admin pages, waits for a signal, and stops the cores.
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/backtrace.h"
#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "server/admin/admin_server.h"
#include "server/config.h"
#include "server/host.h"
#include "server/process.h"
#include "server/process_options.h"
#include "server/process_snapshots.h"

namespace ringtail::server {
namespace {

constexpr int kExitUsage = 2;

// Blocked in every thread; read by the control thread alone.
int BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

// The broker takes all the descriptors that it may have; returns how many.
size_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<size_t>(limit.rlim_cur);
}

int WaitForSignal(int signal_fd) {
  signalfd_siginfo info{};
  while (read(signal_fd, &info, sizeof(info)) != sizeof(info)) {
  }
  return static_cast<int>(info.ssi_signo);
}

// A start may take long where logs must be scanned. A signal ends the program then at once: nothing
// has been acknowledged yet, and what recovery changes may be done again.
absl::StatusOr<std::unique_ptr<Process>> StartUnlessSignalled(ProcessOptions options, int signal_fd,
                                                              admin::AdminServer* admin) {
  log::RecoveryProgress progress;
  options.recovery_progress = &progress;
  constexpr int kLookEveryMs = 20;
  auto starting = std::async(std::launch::async, [&options] { return Process::Start(options); });
  pollfd signalled{.fd = signal_fd, .events = POLLIN};
  while (starting.wait_for(std::chrono::milliseconds(kLookEveryMs)) != std::future_status::ready) {
    admin->SetNotReady(absl::StrCat("starting: read ", progress.bytes_read.load(), " of ",
                                    progress.bytes_total.load(), " bytes of journals, recovered ",
                                    progress.partitions_done.load(), " of ",
                                    progress.partitions_total.load(), " partitions"));
    if (poll(&signalled, 1, 0) <= 0) continue;
    RT_LOG(kInfo, "asked to stop while starting");
    base::FlushLogs();
    _exit(0);
  }
  return starting.get();
}

absl::Status Serve(const LoadedConfig& loaded, int signal_fd) {
  const Config& config = loaded.config;
  RT_RETURN_IF_ERROR(MakeDataDirectory(config.data_dir()));
  RT_ASSIGN_OR_RETURN(const DirectoryLock lock, DirectoryLock::Take(config.data_dir()));
  RT_ASSIGN_OR_RETURN(const std::unique_ptr<admin::AdminServer> admin,
                      admin::AdminServer::Start({.host = config.admin_listen(),
                                                 .port = static_cast<uint16_t>(config.admin_port()),
                                                 .version = VersionWithBuildId(),
                                                 .config_json = ConfigJson(loaded)}));
  RT_ASSIGN_OR_RETURN(const std::unique_ptr<Process> process,
                      StartUnlessSignalled(ToProcessOptions(loaded, RaiseDescriptorLimit()),
                                           signal_fd, admin.get()));
  ProcessSnapshots snapshots(*process);
  admin->SetServing(&snapshots);
  if (!config.ports_file().empty()) {
    const absl::Status written =
        WritePortsFile(config.ports_file(), process->endpoints(), admin->port());
    if (!written.ok()) {
      // Whoever asked for the file could not find the broker.
      admin->SetNotReady("stopping");
      process->Stop().IgnoreError();
      return written;
    }
  }
  const CorePorts& shared = process->endpoints().shared;
  RT_LOG(kInfo, "serving {} on {}: kafka {}, native {}, admin {}; {} cores", config.data_dir(),
         config.listen(), shared.kafka, shared.native, admin->port(), process->core_count());
  NotifyServiceManager("READY=1");
  const int signal = WaitForSignal(signal_fd);
  RT_LOG(kInfo, "{}: stopping", signal == SIGINT ? "interrupted" : "asked to stop");
  NotifyServiceManager("STOPPING=1");
  admin->SetNotReady("stopping");
  const absl::Status stopped = process->Stop();
  if (absl::IsDeadlineExceeded(stopped)) {
    // Threads may be stuck in the kernel: nothing can be torn down in order.
    RT_LOG(kError, "{}", stopped.message());
    base::FlushLogs();
    _exit(1);
  }
  return stopped;
}

int Main(int argc, char** argv) {
  if (!__builtin_cpu_supports("x86-64-v2")) {
    std::fprintf(stderr, "ringtaild: this build needs a CPU of level x86-64-v2 (SSE4.2, POPCNT)\n");
    return 1;
  }
  base::InstallCrashHandler(argv[0]);
  const int signal_fd = BlockSignals();
  const absl::StatusOr<LoadedConfig> loaded =
      LoadConfig(argc, argv, ConfigEnvironment::OfThisProcess(VersionWithBuildId()));
  if (!loaded.ok()) {
    std::fprintf(stderr, "ringtaild: %s\n", std::string(loaded.status().message()).c_str());
    return kExitUsage;
  }
  if (!loaded->answer.empty()) {
    std::printf("%s", loaded->answer.c_str());
    return 0;
  }
  base::LogOptions logging{.json = loaded->config.log_json()};
  RT_CHECK(base::ParseLogLevel(loaded->config.log_level(), &logging.level));
  base::StartLogging(logging);
  RT_LOG(kInfo, "ringtaild {}: {}", VersionWithBuildId(), ConfigSummary(*loaded));
  for (const std::string& warning : loaded->warnings) RT_LOG(kWarn, "{}", warning);
  const absl::Status served = Serve(*loaded, signal_fd);
  if (!served.ok()) RT_LOG(kError, "{}", served.message());
  if (served.ok()) RT_LOG(kInfo, "stopped");
  base::FlushLogs();
  return served.ok() ? 0 : 1;
}

}  // namespace
}  // namespace ringtail::server

int main(int argc, char** argv) { return ringtail::server::Main(argc, argv); }
