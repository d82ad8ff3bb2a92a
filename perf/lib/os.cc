#include "perf/lib/os.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"

namespace ringtail::perf {
namespace {

// A client on the same CPU may connect this often before the server accepts.
constexpr int kBacklog = 1024;
constexpr int64_t kStopTimeoutNs = 30 * kNsPerSecond;

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// The CPUs this program was started on, whatever it pinned itself to since.
const cpu_set_t& AllowedCpus() {
  static const cpu_set_t allowed = [] {
    cpu_set_t set;
    CheckCall(sched_getaffinity(0, sizeof(set), &set), "sched_getaffinity");
    return set;
  }();
  return allowed;
}

void DieWithParent(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // it ended before the request was made
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Fd::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Listener ListenLoopback() {
  Listener listener;
  listener.fd = Fd(CheckCall(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  CheckCall(bind(listener.fd.get(), generic, size), "bind");
  CheckCall(listen(listener.fd.get(), kBacklog), "listen");
  CheckCall(getsockname(listener.fd.get(), generic, &size), "getsockname");
  listener.port = ntohs(address.sin_port);
  return listener;
}

Fd ConnectLoopback(uint16_t port) {
  Fd fd(CheckCall(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  const sockaddr_in address = Loopback(port);
  CheckCall(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
            "connect");
  SetNoDelay(fd.get());
  return fd;
}

void SetNonBlocking(int fd) {
  const int flags = CheckCall(fcntl(fd, F_GETFL), "fcntl");
  CheckCall(fcntl(fd, F_SETFL, flags | O_NONBLOCK), "fcntl");
}

void SetNoDelay(int fd) {
  const int on = 1;
  CheckCall(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), "TCP_NODELAY");
}

void SendAll(int fd, const void* data, size_t size) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t sent = CheckCall(send(fd, next, size, MSG_NOSIGNAL), "send");
    next += sent;
    size -= static_cast<size_t>(sent);
  }
}

bool ReceiveAll(int fd, void* data, size_t size) {
  char* next = static_cast<char*>(data);
  const size_t wanted = size;
  while (size > 0) {
    const ssize_t received = CheckCall(recv(fd, next, size, MSG_WAITALL), "recv");
    if (received == 0 && size == wanted) return false;
    Require(received > 0, "the peer closed the connection in the middle of a message");
    next += received;
    size -= static_cast<size_t>(received);
  }
  return true;
}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    Stop();
    pid_ = std::exchange(other.pid_, -1);
  }
  return *this;
}

Child Child::Fork(const std::function<void()>& body) {
  const pid_t parent = getpid();
  std::fflush(nullptr);
  const pid_t pid = CheckCall(fork(), "fork");
  if (pid != 0) return Child(pid);
  DieWithParent(parent);
  // A signal ends it, whatever its parent does with one; a peer that is gone is an error of the
  // call.
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  signal(SIGPIPE, SIG_IGN);
  try {
    body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "child process: %s\n", error.what());
    _exit(1);
  }
  _exit(0);
}

Child Child::Spawn(const std::vector<std::string>& arguments, const std::string& log_path) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const cpu_set_t& cpus = AllowedCpus();
  const pid_t parent = getpid();
  const pid_t pid = CheckCall(fork(), "fork");
  if (pid != 0) return Child(pid);
  DieWithParent(parent);
  sched_setaffinity(0, sizeof(cpus), &cpus);
  const int log = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (log >= 0) {
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
  }
  execv(argv[0], argv.data());
  std::fprintf(stderr, "%s: %s\n", argv[0], std::strerror(errno));
  _exit(127);
}

int Child::Wait() {
  int status = 0;
  CheckCall(waitpid(pid_, &status, 0), "waitpid");
  pid_ = -1;
  return status;
}

bool Child::Running() {
  if (pid_ < 0) return false;
  if (waitpid(pid_, nullptr, WNOHANG) == 0) return true;
  pid_ = -1;
  return false;
}

void Child::Stop() {
  if (!Running()) return;
  kill(pid_, SIGTERM);
  const int64_t deadline_ns = NowNs() + kStopTimeoutNs;
  while (Running()) {
    if (NowNs() > deadline_ns) return Kill();
    usleep(1000);
  }
}

void Child::Kill() {
  if (!Running()) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

ScratchDir::ScratchDir(const std::string& parent)
    : path_(parent + "/ringtail-perf-XXXXXX"), owner_(getpid()) {
  if (mkdtemp(path_.data()) == nullptr) {
    throw std::system_error(errno, std::generic_category(), "mkdtemp in " + parent);
  }
}

ScratchDir::~ScratchDir() {
  std::error_code ignored;
  if (getpid() == owner_) std::filesystem::remove_all(path_, ignored);
}

std::string ScratchParent() {
  const char* chosen = std::getenv("RINGTAIL_PERF_DIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : "/var/tmp";
}

void PinToCpu(int n) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(CpuNumber(n), &one);
  CheckCall(sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
}

int CpuCount() { return CPU_COUNT(&AllowedCpus()); }

int CpuNumber(int n) {
  int cpu = 0;
  for (int left = n % CpuCount();; ++cpu) {
    if (CPU_ISSET(cpu, &AllowedCpus()) && left-- == 0) return cpu;
  }
}

Buffer::Buffer(size_t size) : size_(size) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  data_ = static_cast<char*>(memory);
  uint64_t state = 0x9e3779b97f4a7c15u;
  for (size_t i = 0; i + 8 <= size; i += 8) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::memcpy(data_ + i, &state, 8);
  }
}

Buffer::~Buffer() { munmap(data_, size_); }

}  // namespace ringtail::perf
