// What a reply of a 64-byte header and a hot file range costs by each path of io::Sender, over
// loopback TCP to a process that drains it: the CPU column is the core's thread; what the ring
// hands to kernel workers (all of splice) is not in it. The default io::SendRule comes from here.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/base/check.h"
#include "engine/core/core.h"
#include "engine/io/sender.h"
#include "engine/io/uring_backend.h"
#include "engine/task/task.h"
#include "perf/lib/os.h"

namespace ringtail {
namespace {

using io::SendPath;

constexpr int64_t kFileBytes = 64 << 20;

int MakeHotFile() {
  const int file = open(perf::ScratchParent().c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
  RT_CHECK(file >= 0);
  const std::string piece(1 << 20, 'x');
  for (int64_t at = 0; at < kFileBytes; at += 1 << 20) {
    RT_CHECK(pwrite(file, piece.data(), piece.size(), at) == 1 << 20);
  }
  return file;
}

void Drain(int listener) {
  perf::PinToCpu(perf::kClientCpu);
  const perf::Fd socket(accept(listener, nullptr, nullptr));
  std::vector<char> bytes(1 << 20);
  while (read(socket.get(), bytes.data(), bytes.size()) > 0) {
  }
}

struct Job {
  int socket;
  int file;
  int64_t bytes;
  SendPath path;
  bool stop = false;
  bool go = false;
  task::WaitList started;
};

task::Task<void> SendReplies(io::Sender* sender, Job* job) {
  int64_t position = 0;
  char header[64] = {};
  while (true) {
    while (!job->go && !job->stop) co_await job->started.Wait();
    if (job->stop) co_return;
    iovec span = {header, sizeof(header)};
    RT_CHECK((co_await sender->SendSpans(job->socket, {&span, 1}, true, base::kNever)).ok());
    RT_CHECK((co_await sender->SendFileRange(job->socket, job->file, position, job->bytes,
                                             job->path, base::kNever))
                 .ok());
    position = position + 2 * job->bytes > kFileBytes ? 0 : position + job->bytes;
    job->go = false;
  }
}

void BM_Reply(benchmark::State& state) {
  const perf::Listener listener = perf::ListenLoopback();
  const perf::Child peer = perf::Child::Fork([&] { Drain(listener.fd.get()); });
  perf::PinToCpu(perf::kServerCpu);
  const perf::Fd socket = perf::ConnectLoopback(listener.port);
  perf::SetNonBlocking(socket.get());
  static const perf::Fd file(MakeHotFile());  // the same for all

  core::CoreGroup group(1);
  auto backend = io::UringBackend::Create({});
  RT_CHECK(backend.ok());
  core::Core core(base::CoreId(0), group, *std::move(backend), {});
  group.Install(base::CoreId(0), &core);
  io::Sender sender(core.io(), core.buffers(), {});
  const task::Scheduler::Scope scope(core.scheduler());
  Job job{socket.get(), file.get(), state.range(0), static_cast<SendPath>(state.range(1))};
  task::Spawn("replies", SendReplies(&sender, &job));
  for (auto _ : state) {
    job.go = true;
    job.started.NotifyAll();
    while (job.go) core.Turn(/*may_wait=*/core.io().in_flight() > 0);
  }
  job.stop = true;
  job.started.NotifyAll();
  while (core.scheduler().root_count() > 0) core.Turn(/*may_wait=*/false);
  const auto path = io::SendPathName(job.path);
  state.SetLabel(std::string(path.data(), path.size()));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Reply)
    ->ArgNames({"bytes", "path"})
    ->ArgsProduct({{1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 256 << 10, 1 << 20},
                   {static_cast<int>(SendPath::kCopy), static_cast<int>(SendPath::kSendfile),
                    static_cast<int>(SendPath::kMapped), static_cast<int>(SendPath::kSplice),
                    static_cast<int>(SendPath::kSendZeroCopy)}});

}  // namespace
}  // namespace ringtail

BENCHMARK_MAIN();
