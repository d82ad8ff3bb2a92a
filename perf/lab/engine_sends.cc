#include "perf/lab/engine_sends.h"

#include <fcntl.h>

#include <utility>
#include <vector>

#include "engine/base/result.h"
#include "engine/core/core.h"
#include "engine/io/file.h"
#include "engine/io/run_until.h"
#include "engine/task/sync.h"
#include "perf/lib/check.h"
#include "perf/lib/engine_core.h"
#include "perf/lib/os.h"

namespace ringtail::lab {
namespace {

class Server {
 public:
  Server(const raw::ChunkOptions& options, io::SendPath path, std::vector<perf::Fd> sockets)
      : options_(options), path_(path), sockets_(std::move(sockets)) {}

  task::Task<absl::Status> Run() {
    core::Core& core = core::Core::Current();
    io::Sender sender(core.io(), core.buffers(), {});
    RT_CO_ASSIGN_OR_RETURN(const int file,
                           co_await io::OpenFile(core.io(), options_.file, O_RDONLY));
    RT_CO_ASSIGN_OR_RETURN(const io::FileInfo info, core.io().Stat(file));
    file_bytes_ = info.size_bytes / options_.chunk_bytes * options_.chunk_bytes;
    for (size_t i = 0; i < sockets_.size(); ++i) {
      perf::SendAll(sockets_[i].get(), "R", 1);
      perf::SetNonBlocking(sockets_[i].get());
    }
    open_ = sockets_.size();
    for (size_t i = 0; i < sockets_.size(); ++i) task::Spawn("sends", Serve(&sender, file, i));
    while (open_ > 0) co_await closed_.Wait();
    core.io().CloseInline(file);
    co_return absl::OkStatus();
  }

 private:
  // Until the peer is gone.
  task::Task<void> Serve(io::Sender* sender, int file, size_t index) {
    io::Backend& io = core::Core::Current().io();
    const int socket = sockets_[index].get();
    int64_t position = raw::StartOf(options_, file_bytes_, static_cast<int>(index));
    int64_t request_bytes = 0;
    bool gone = false;
    while (!gone) {
      char requests[4096];
      const iovec vector = {requests, sizeof(requests)};
      io::Op receive;
      receive.code = io::OpCode::kReceive;
      receive.fd = socket;
      receive.vectors = &vector;
      receive.vector_count = 1;
      const int32_t received = co_await io::Run(io, &receive);
      if (received <= 0) break;
      request_bytes += received;
      for (; request_bytes >= raw::kFetchRequestBytes && !gone;
           request_bytes -= raw::kFetchRequestBytes) {
        gone = !(co_await sender->SendFileRange(socket, file, position, options_.chunk_bytes, path_,
                                                base::kNever))
                    .ok();
        position = (position + options_.chunk_bytes) % file_bytes_;
      }
    }
    --open_;
    closed_.NotifyAll();
  }

  const raw::ChunkOptions& options_;
  const io::SendPath path_;
  const std::vector<perf::Fd> sockets_;
  int64_t file_bytes_ = 0;
  size_t open_ = 0;
  task::WaitList closed_;
};

}  // namespace

void ServeByEngine(const raw::ChunkOptions& options, io::SendPath path, int listener) {
  Server server(options, path, raw::AcceptAll(options, listener));
  perf::RunOnCore([&server] { return server.Run(); });
}

}  // namespace ringtail::lab
