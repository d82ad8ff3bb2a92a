// The plain system objects that the raw loops and the load generators are made of: descriptors,
// loopback sockets, child processes, scratch directories. All of them clean up after themselves.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace ringtail::perf {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd() { Close(); }

  int get() const { return fd_; }
  void Close();

 private:
  int fd_ = -1;
};

// Listens on loopback at a port that the kernel picks.
struct Listener {
  Fd fd;
  uint16_t port = 0;
};
Listener ListenLoopback();

// A connected TCP socket with TCP_NODELAY; blocking.
Fd ConnectLoopback(uint16_t port);

void SetNonBlocking(int fd);
void SetNoDelay(int fd);

// Blocks until all `size` bytes went out. Throws where the peer is gone.
void SendAll(int fd, const void* data, size_t size);

// Blocks until `size` bytes came in; false at the peer's end of stream before the first byte.
bool ReceiveAll(int fd, void* data, size_t size);

// A process of our own. The destructor sends SIGTERM, waits up to 30 s, and then kills.
class Child {
 public:
  Child() = default;
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&& other) noexcept;
  ~Child() { Stop(); }

  // Runs `body` in a forked process, which ends with it (exit status 1, with a message, if it
  // throws). It dies with its parent.
  static Child Fork(const std::function<void()>& body);

  // Starts a program; its stdout and stderr go to `log_path`. It may use every CPU that this
  // program was started on, even where this one is pinned.
  static Child Spawn(const std::vector<std::string>& arguments, const std::string& log_path);

  pid_t pid() const { return pid_; }
  // Waits for its end, however long that takes; its wait status (waitpid(2)).
  int Wait();
  // Whether the process has not ended yet; one that has ended is reaped here.
  bool Running();
  void Stop();
  // SIGKILL.
  void Kill();

 private:
  explicit Child(pid_t pid) : pid_(pid) {}

  pid_t pid_ = -1;
};

// A directory of its own under `parent`, removed with all it holds when the object dies.
class ScratchDir {
 public:
  explicit ScratchDir(const std::string& parent);
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;
  ~ScratchDir();

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  pid_t owner_;
};

// A directory for scratch data on a disk file system: $RINGTAIL_PERF_DIR, else /var/tmp (which,
// unlike /tmp, is nowhere a tmpfs by default).
std::string ScratchParent();

// Keeps the calling thread, and the children it makes later, on one CPU (the n-th of those allowed,
// modulo their number). Without it the scheduler moves server and client together and apart, and
// rounds differ by a factor.
void PinToCpu(int n);

// How many CPUs this program was allowed when it began.
int CpuCount();

// The kernel's number of the n-th of them, modulo their count.
int CpuNumber(int n);

// Where the raw servers and the load generators stand. The broker pins its core c to the c-th CPU
// itself, so a comparison talks to core 0.
inline constexpr int kServerCpu = 0;
inline constexpr int kClientCpu = 1;

// A thread that sleeps. With it the process's descriptors belong to several threads, as those of a
// broker with several cores do, and looking one up costs each system call what it costs there.
class SharedDescriptors {
 public:
  SharedDescriptors() : sleeper_([this] { ending_.wait(false); }) {}
  SharedDescriptors(const SharedDescriptors&) = delete;
  SharedDescriptors& operator=(const SharedDescriptors&) = delete;
  ~SharedDescriptors() {
    ending_ = true;
    ending_.notify_one();
    sleeper_.join();
  }

 private:
  std::atomic<bool> ending_{false};
  std::thread sleeper_;
};

// `size` bytes of page-aligned memory, touched, so that no first use is measured.
class Buffer {
 public:
  explicit Buffer(size_t size);
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  char* data_;
  size_t size_;
};

}  // namespace ringtail::perf
