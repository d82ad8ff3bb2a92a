// A broker of our own: the shipped program with its default flags, on ports that the kernel picks,
// over a fresh data directory that goes away with it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "perf/lib/os.h"

namespace ringtail::perf {

class Broker {
 public:
  // Starts `program` and waits until it serves. `flags` come after those that this class needs;
  // none of them makes it another broker than the shipped one. Throws, with the end of its log,
  // where it does not come up.
  explicit Broker(const std::string& program, const std::vector<std::string>& flags = {});

  pid_t pid() const { return child_.pid(); }
  // The native protocol's port: the shared one.
  uint16_t native_port() const { return native_port_; }
  // From before the process was made until its ports file was there.
  double start_to_ready_ms() const { return start_to_ready_ms_; }

 private:
  void WaitUntilReady(const std::string& ports_file, const std::string& log_file);

  ScratchDir directory_;  // outlives the process
  Child child_;
  uint16_t native_port_ = 0;
  double start_to_ready_ms_ = 0;
};

}  // namespace ringtail::perf
