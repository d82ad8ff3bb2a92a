// What the program does with the host it runs on, beside serving: its lock on the data directory,
// the ports file, the service manager, its version. All on the control thread, before or after
// serving.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/endpoints.h"

namespace ringtail::server {

inline constexpr char kVersion[] = "0.1.0";

// "0.1.0 (build 1a2b...)": the linker's build id tells two builds of a version apart.
std::string VersionWithBuildId();

// Makes the directory and its parents (0750). What is missing is said by name.
absl::Status MakeDataDirectory(const std::string& path);

// An exclusive lock (flock) on `<directory>/.lock`, as Kafka has it; released when destroyed.
class DirectoryLock {
 public:
  // FailedPrecondition: another process holds it; the message names it.
  static absl::StatusOr<DirectoryLock> Take(const std::string& directory);
  DirectoryLock(DirectoryLock&& other) noexcept;
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

// {"kafka":N,"native":N,"admin":N,"cores":[{"kafka":N,"native":N}]}
std::string EncodePorts(const Endpoints& endpoints, uint16_t admin_port);
// Atomically: a reader sees the whole file or none.
absl::Status WritePortsFile(const std::string& path, const Endpoints& endpoints,
                            uint16_t admin_port);

// Tells the service manager that started this process, if one did (sd_notify(3)): "READY=1", ...
void NotifyServiceManager(const std::string& state);

}  // namespace ringtail::server
