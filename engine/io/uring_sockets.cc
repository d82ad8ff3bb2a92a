// The calls of UringBackend on sockets and pipes that need no ring.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "engine/io/file.h"
#include "engine/io/uring_backend.h"

namespace ringtail::io {
namespace {

constexpr int kListenBacklog = 4096;  // the kernel caps it at net.core.somaxconn
constexpr int64_t kPipeBytesMin = 4096;

// False where `host` is not an address literal.
bool ParseAddress(const std::string& host, uint16_t port, sockaddr_storage* address,
                  socklen_t* length) {
  *address = {};
  auto* v4 = reinterpret_cast<sockaddr_in*>(address);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    *length = sizeof(*v4);
    return true;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(address);
  if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    *length = sizeof(*v6);
    return true;
  }
  return false;
}

void SetOption(int fd, int level, int name) {
  const int on = 1;
  setsockopt(fd, level, name, &on, sizeof(on));
}

}  // namespace

absl::StatusOr<int> UringBackend::Listen(const std::string& host, uint16_t port, bool share) {
  const std::string name = absl::StrCat(host, ":", port);
  sockaddr_storage address;
  socklen_t length = 0;
  if (!ParseAddress(host, port, &address, &length)) {
    return absl::InvalidArgumentError(absl::StrCat("listen ", name, ": not an address literal"));
  }
  const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus(errno, "socket for", name);
  auto closer = absl::MakeCleanup([fd] { close(fd); });
  SetOption(fd, SOL_SOCKET, SO_REUSEADDR);
  if (share) SetOption(fd, SOL_SOCKET, SO_REUSEPORT);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0) {
    return ErrnoStatus(errno, "bind", name);
  }
  if (listen(fd, kListenBacklog) != 0) return ErrnoStatus(errno, "listen", name);
  std::move(closer).Cancel();
  return fd;
}

absl::StatusOr<uint16_t> UringBackend::LocalPort(int fd) {
  sockaddr_storage address = {};
  socklen_t length = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return ErrnoStatus(errno, "getsockname", "descriptor");
  }
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

std::string UringBackend::PeerName(int fd) {
  sockaddr_storage address = {};
  socklen_t length = sizeof(address);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return "?";
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET6) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
    return absl::StrCat("[", text, "]:", ntohs(v6->sin6_port));
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address);
  inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
  return absl::StrCat(text, ":", ntohs(v4->sin_port));
}

absl::StatusOr<int> UringBackend::StreamSocket(bool v6) {
  const int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus(errno, "socket", v6 ? "v6" : "v4");
  return fd;
}

void UringBackend::SetNoDelay(int fd) { SetOption(fd, IPPROTO_TCP, TCP_NODELAY); }

void UringBackend::ShutdownSocket(int fd) { shutdown(fd, SHUT_RDWR); }
void UringBackend::EndSending(int fd) { shutdown(fd, SHUT_WR); }

void UringBackend::AbortSocket(int fd) {
  // Connecting to nowhere disconnects a TCP socket and empties its send queue (connect(2)).
  sockaddr nowhere = {};
  nowhere.sa_family = AF_UNSPEC;
  if (connect(fd, &nowhere, sizeof(nowhere)) != 0) ShutdownSocket(fd);
}

void UringBackend::CloseInline(int fd) { close(fd); }

int64_t UringBackend::SendfileNowait(int socket, int file, int64_t position, int64_t length) {
  off_t offset = position;
  const ssize_t bytes = sendfile(socket, file, &offset, static_cast<size_t>(length));
  return bytes < 0 ? -errno : bytes;
}

int64_t UringBackend::SendNowait(int socket, const iovec* vectors, int count, bool more) {
  msghdr message = {};
  message.msg_iov = const_cast<iovec*>(vectors);
  message.msg_iovlen = static_cast<size_t>(count);
  const ssize_t bytes =
      sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
  return bytes < 0 ? -errno : bytes;
}

int64_t UringBackend::UnacknowledgedBytes(int socket) {
  int bytes = 0;
  return ioctl(socket, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

absl::StatusOr<std::pair<int, int>> UringBackend::Pipe(int64_t capacity_bytes) {
  int ends[2];
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe", "");
  // EPERM: above /proc/sys/fs/pipe-max-size, or the user's pipe-user-pages are used up.
  for (int64_t wanted = capacity_bytes; wanted >= kPipeBytesMin; wanted /= 2) {
    if (fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(wanted)) >= 0) break;
  }
  return std::pair<int, int>(ends[0], ends[1]);
}

int64_t UringBackend::PipeCapacity(int pipe) {
  return std::max(fcntl(pipe, F_GETPIPE_SZ), static_cast<int>(kPipeBytesMin));
}

}  // namespace ringtail::io
