#include "server/host.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/io/file.h"

namespace ringtail::server {
namespace {

constexpr mode_t kDirectoryMode = 0750;

// Looks for the NT_GNU_BUILD_ID note of the program itself, the first object that is visited.
int FindBuildId(struct dl_phdr_info* info, size_t, void* out) {
  constexpr size_t kAlign = 4;
  const auto align = [](size_t bytes) { return (bytes + kAlign - 1) & ~(kAlign - 1); };
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* at = reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr);
    const char* end = at + segment.p_memsz;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      const auto* note = reinterpret_cast<const ElfW(Nhdr)*>(at);
      const char* value = at + sizeof(*note) + align(note->n_namesz);
      if (note->n_type == NT_GNU_BUILD_ID && value + note->n_descsz <= end) {
        *static_cast<std::string*>(out) =
            absl::BytesToHexString(absl::string_view(value, note->n_descsz));
        return 1;
      }
      at = value + align(note->n_descsz);
    }
  }
  return 1;
}

absl::Status WriteAll(int fd, absl::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0) return io::ErrnoStatus(errno, "write", path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace

std::string VersionWithBuildId() {
  std::string build_id;
  dl_iterate_phdr(&FindBuildId, &build_id);
  return absl::StrCat(kVersion, " (build ", build_id.empty() ? "unknown" : build_id, ")");
}

absl::Status MakeDataDirectory(const std::string& path) {
  for (size_t slash = path.find('/', 1); true; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (mkdir(part.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
      return io::ErrnoStatus(errno, "cannot make the data directory", part);
    }
    if (slash == std::string::npos) break;
  }
  if (access(path.c_str(), R_OK | W_OK | X_OK) != 0) {
    return io::ErrnoStatus(errno, "cannot use the data directory", path);
  }
  return absl::OkStatus();
}

absl::StatusOr<DirectoryLock> DirectoryLock::Take(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/.lock");
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) return io::ErrnoStatus(errno, "cannot open the lock file", path);
  DirectoryLock lock(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    char holder[32] = {};
    const ssize_t got = pread(fd, holder, sizeof(holder) - 1, 0);
    const absl::string_view pid =
        got > 0 ? absl::StripAsciiWhitespace(holder) : absl::string_view("unknown");
    return absl::FailedPreconditionError(
        absl::StrCat("the data directory ", directory, " is in use by process ", pid,
                     "; stop it, or start with another --data_dir"));
  }
  const std::string pid = absl::StrCat(getpid(), "\n");
  if (ftruncate(fd, 0) != 0) return io::ErrnoStatus(errno, "truncate", path);
  const absl::Status written = WriteAll(fd, pid, path);
  if (!written.ok()) return written;
  return lock;
}

DirectoryLock::DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) close(fd_);
}

std::string EncodePorts(const Endpoints& endpoints, uint16_t admin_port) {
  nlohmann::ordered_json ports;
  ports["kafka"] = endpoints.shared.kafka;
  ports["native"] = endpoints.shared.native;
  ports["admin"] = admin_port;
  ports["cores"] = nlohmann::ordered_json::array();
  for (const CorePorts& core : endpoints.cores) {
    ports["cores"].push_back({{"kafka", core.kafka}, {"native", core.native}});
  }
  return ports.dump();
}

absl::Status WritePortsFile(const std::string& path, const Endpoints& endpoints,
                            uint16_t admin_port) {
  const std::string temporary = absl::StrCat(path, ".tmp");
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return io::ErrnoStatus(errno, "cannot write the ports file", temporary);
  const absl::Status written =
      WriteAll(fd, absl::StrCat(EncodePorts(endpoints, admin_port), "\n"), temporary);
  close(fd);
  if (!written.ok()) return written;
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return io::ErrnoStatus(errno, "cannot write the ports file", path);
  }
  return absl::OkStatus();
}

void NotifyServiceManager(const std::string& state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un address{.sun_family = AF_UNIX};
  const size_t length = std::strlen(path);
  if (length >= sizeof(address.sun_path)) return;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract socket
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  // Best effort: a manager that is gone needs no news.
  (void)!sendto(fd, state.data(), state.size(), MSG_NOSIGNAL,
                reinterpret_cast<const sockaddr*>(&address), bytes);
  close(fd);
}

}  // namespace ringtail::server
