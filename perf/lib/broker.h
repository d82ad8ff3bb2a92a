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
  explicit Broker(const std::string& program, const std::vector<std::string>& flags = {},
                  const std::string& parent_directory = ScratchParent());

  // kill -9: what it had not synced is in the page cache, its journal on the device.
  void Kill();
  // Ends it as a service manager would: everything is synced.
  void Stop() { child_.Stop(); }
  // Starts it again over what it left, and waits until it serves.
  void Restart();

  pid_t pid() const { return child_.pid(); }
  const std::string& data_directory() const { return data_directory_; }
  // The native protocol's port: the shared one.
  uint16_t native_port() const { return native_port_; }
  // The Kafka protocol's: likewise.
  uint16_t kafka_port() const { return kafka_port_; }
  // Of the last start: from before the process was made until its ports file was there.
  double start_to_ready_ms() const { return start_to_ready_ms_; }

 private:
  void WaitUntilReady();

  ScratchDir directory_;  // outlives the process
  std::string data_directory_;
  std::string ports_file_;
  std::string log_file_;
  std::vector<std::string> arguments_;
  Child child_;
  uint16_t native_port_ = 0;
  uint16_t kafka_port_ = 0;
  double start_to_ready_ms_ = 0;
};

}  // namespace ringtail::perf
