// A scheduler over the real ring, driven by the test's own thread.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "engine/base/check.h"
#include "engine/io/backend.h"
#include "engine/io/uring_backend.h"
#include "engine/task/scheduler.h"
#include "engine/task/task.h"

namespace ringtail::io {

class TestLoop {
 public:
  TestLoop() : TestLoop(UringOptions{}) {}
  explicit TestLoop(UringOptions options) {
    // The same tests again with a kernel thread that submits.
    if (const char* idle = std::getenv("RINGTAIL_TEST_SQPOLL_MS"); idle != nullptr) {
      options.sqpoll_idle_ms = static_cast<uint32_t>(std::atoi(idle));
    }
    auto made = UringBackend::Create(options);
    if (!made.ok()) fprintf(stderr, "%s\n", made.status().ToString().c_str());
    RT_CHECK(made.ok());
    backend_ = *std::move(made);
  }
  ~TestLoop() {
    const task::Scheduler::Scope scope(*scheduler_);
    backend_->DropOperations();
    scheduler_.reset();
  }

  Backend& backend() { return *backend_; }
  task::Scheduler& scheduler() { return *scheduler_; }

  // Fires timers, runs what is ready, polls once: until something happens if `may_wait`.
  size_t Turn(bool may_wait) {
    const task::Scheduler::Scope scope(*scheduler_);
    scheduler_->AdvanceTo(backend_->Now());
    scheduler_->RunReady(1000);
    const bool wait = may_wait && scheduler_->ready_count() == 0 && scheduler_->root_count() > 0;
    return backend_->Poll(wait ? scheduler_->next_deadline() : 0);
  }
  void Spawn(task::Task<void> task) {
    const task::Scheduler::Scope scope(*scheduler_);
    task::Spawn("test", std::move(task));
  }
  // Until all spawned tasks have ended.
  void RunAll() {
    while (scheduler_->root_count() > 0) Turn(/*may_wait=*/true);
  }
  void Run(task::Task<void> task) {
    Spawn(std::move(task));
    RunAll();
  }

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<task::Scheduler> scheduler_ = std::make_unique<task::Scheduler>();
};

// A fresh directory for one test; Bazel removes it.
inline std::string MakeTestDirectory() {
  const char* base = getenv("TEST_TMPDIR");
  std::string path = std::string(base == nullptr ? "/tmp" : base) + "/ringtail_XXXXXX";
  RT_CHECK(mkdtemp(path.data()) != nullptr);
  return path;
}

inline Op MakeOp(OpCode code, int fd) {
  Op op;
  op.code = code;
  op.fd = fd;
  return op;
}

// A connected pair over loopback TCP: {client, server}.
inline task::Task<std::pair<int, int>> ConnectPair(Backend& backend) {
  const int listener = *backend.Listen("127.0.0.1", 0, false);
  const int client = *backend.StreamSocket(false);
  sockaddr_storage address = {};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address);
  v4->sin_family = AF_INET;
  v4->sin_port = htons(*backend.LocalPort(listener));
  v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Op connect = MakeOp(OpCode::kConnect, client);
  connect.address = &address;
  connect.address_length = sizeof(*v4);
  RT_CHECK(co_await io::Run(backend, &connect) == 0);
  Op accept = MakeOp(OpCode::kAccept, listener);
  const int server = co_await io::Run(backend, &accept);
  RT_CHECK(server >= 0);
  backend.CloseInline(listener);
  backend.SetNoDelay(client);
  backend.SetNoDelay(server);
  co_return std::pair<int, int>(client, server);
}

}  // namespace ringtail::io
