// One core's thread, as the control thread sees it. Private to Process.
#pragma once

#include <future>
#include <memory>
#include <thread>

#include "server/process.h"

namespace ringtail::server {

struct Process::CoreThread {
  std::thread thread;
  std::unique_ptr<core::Core> core;  // made, used and destroyed on the thread
  std::unique_ptr<kafka::CoreState> kafka;
  std::unique_ptr<CoreServer> server;
  std::promise<absl::Status> made;
  std::promise<void> go;  // all cores are made: the loop may start, or (not ok) the thread ends
  bool run = false;
};

// The calling thread, on that CPU alone; on all CPUs of the process.
void PinThread(int cpu);
void UnpinThread();

}  // namespace ringtail::server
