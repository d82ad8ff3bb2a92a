// What changes while the process runs, on core 0.
#include <sched.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/logging.h"
#include "server/core_thread.h"
#include "server/process.h"

namespace ringtail::server {
namespace {

std::string ToText(const Settings& settings) {
  std::string text;
  for (const auto& [name, value] : settings) absl::StrAppend(&text, " ", name, "=", value);
  return text.empty() ? " nothing" : text;
}

}  // namespace

void PinThread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  if (sched_setaffinity(0, sizeof(set), &set) != 0) {
    RT_LOG(kWarn, "cannot pin a core's thread to CPU {}; it may move", cpu);
  }
}

void UnpinThread() {
  cpu_set_t set;
  // The process's first thread is never pinned.
  if (sched_getaffinity(getpid(), sizeof(set), &set) != 0 ||
      sched_setaffinity(0, sizeof(set), &set) != 0) {
    RT_LOG(kWarn, "cannot take a core's thread off its CPU; it stays there");
  }
}

task::Task<void> Process::TakeOver(const Settings& settings) {
  std::vector<std::string> left_out;
  const std::shared_ptr<const LiveOptions> next = options_.live->Under(settings, &left_out);
  for (const std::string& why : left_out) RT_LOG(kWarn, "what was set is left out: {}", why);
  const bool starting = brokers_.brokers[0]->image() == nullptr;
  if (!starting || !settings.empty()) {
    RT_LOG(kInfo, "set beside the configuration:{}", ToText(settings));
  }
  const bool pins_change = next->pin_threads != live()->pin_threads;
  for (uint32_t index = 0; index < group_.count(); ++index) {
    CoreServer* server = threads_[index]->server.get();
    const int cpu = options_.cpus[index];
    co_await core::CallOn(base::CoreId(index), [&]() -> task::Task<void> {
      // Its kernel workers go where it is.
      if (pins_change && next->pin_threads) PinThread(cpu);
      if (pins_change && !next->pin_threads) UnpinThread();
      server->SetOptions(*next);
      co_return;
    });
  }
  base::SetLogLevel(next->log_level);
  set_live(next);
}

}  // namespace ringtail::server
