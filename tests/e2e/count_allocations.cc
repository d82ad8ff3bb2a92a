// Preloaded into a program, counts what it takes from the heap: into the file that
// COUNT_ALLOCATIONS_FILE names, as a native uint64. The second uint64 of that file, if a tester
// sets it, is how many of the next allocations are shown on stderr with their callers.
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

// glibc's own, whatever is preloaded.
extern "C" {
void* __libc_malloc(size_t bytes);                      // NOLINT
void* __libc_calloc(size_t count, size_t bytes);        // NOLINT
void* __libc_realloc(void* memory, size_t bytes);       // NOLINT
void* __libc_memalign(size_t alignment, size_t bytes);  // NOLINT
}

namespace {

struct Counters {
  std::atomic<uint64_t> allocations;
  std::atomic<int64_t> to_show;
};

std::atomic<Counters*> counters{nullptr};
thread_local bool showing = false;

__attribute__((constructor)) void Map() {
  const char* path = std::getenv("COUNT_ALLOCATIONS_FILE");
  if (path == nullptr) return;
  const int fd = open(path, O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(Counters)) != 0) return;
  void* memory = mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (memory != MAP_FAILED) counters.store(static_cast<Counters*>(memory));
}

void Count() {
  Counters* mapped = counters.load(std::memory_order_relaxed);
  if (mapped == nullptr || showing) return;
  mapped->allocations.fetch_add(1, std::memory_order_relaxed);
  if (mapped->to_show.load(std::memory_order_relaxed) <= 0) return;
  mapped->to_show.fetch_sub(1, std::memory_order_relaxed);
  showing = true;
  void* frames[24];
  backtrace_symbols_fd(frames, backtrace(frames, 24), STDERR_FILENO);
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, "--\n", 3);
  showing = false;
}

}  // namespace

extern "C" {

void* malloc(size_t bytes) {
  Count();
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) {
  Count();
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, size_t bytes) {
  Count();
  return __libc_realloc(memory, bytes);
}
void* memalign(size_t alignment, size_t bytes) {
  Count();
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  Count();
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  Count();
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}

}  // extern "C"
